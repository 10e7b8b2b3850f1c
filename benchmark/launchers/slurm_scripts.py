"""The text of the batch scripts. They run outside any container, so they are plain bash."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmark.launchers.site_profile import Site

RUN_CELL = """\
# Runs one cell: line $SLURM_ARRAY_TASK_ID + $1 (from 0) of cells.txt. docs/slurm.md explains.
row=$((SLURM_ARRAY_TASK_ID + $1))
IFS=$'\\t' read -r processes cell < <(sed -n "$((row + 1))p" "$submission/cells.txt")
job="${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
say() { echo "$(date +%FT%T) job $job, start $((${SLURM_RESTART_COUNT:-0} + 1)): $*"; }

give_up() {
    say "$1"
    "${python[@]}" -m benchmark.launchers.slurm_end "$cell" "$1"
    exit 1
}
requeue() {
    say "$1; requeued, it resumes from the last whole epoch"
    scontrol requeue "$job" && sleep 600  # SLURM ends this script here
    give_up "$1, and scontrol requeue failed"
}
near_time_limit() {
    trap '' USR1
    # A cell that cannot finish one epoch in a job would be requeued for ever.
    saved=$(find "$cell/checkpoints" -newer "$started" -name '*.ckpt' -print -quit 2> /dev/null)
    if [ -n "$saved" ]; then
        requeue "the time limit is near"
    fi
    if [ -n "$step" ]; then kill -TERM "$step"; wait "$step"; fi
    give_up "time limit: no checkpoint in a whole job; raise time in the site profile"
}

mkdir -p "$submission/started" "$submission/killed" "$submission/srun"
started="$submission/started/$row" killed="$submission/killed/$row" told="$submission/srun/$row"
touch "$started"
step=""
trap near_time_limit USR1
# The first process listens here; below the range from which systems give out ports.
address=$(scontrol show node "$SLURMD_NODENAME" | sed -n 's/.*NodeAddr=\\([^ ]*\\).*/\\1/p')
export MASTER_ADDR="${address:-$(hostname)}"
port=$((10000 + (SLURM_JOB_ID * 17 + ${SLURM_RESTART_COUNT:-0} * 5) % 20000))
while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
export MASTER_PORT=$port LUNGBENCH_SRUN=1

if [ "$processes" = one ]; then shape=(1 1); else shape=("$nodes" "$per_node"); fi
say "$cell on $SLURM_JOB_NODELIST, ${shape[0]} nodes with ${shape[1]} processes each"
srun --nodes="${shape[0]}" --ntasks-per-node="${shape[1]}" \\
    --ntasks=$((shape[0] * shape[1])) --cpus-per-task="$cpus" \\
    --kill-on-bad-exit=1 --open-mode=append --output="${cell//%/%%}/log.txt" \\
    "${python[@]}" -m benchmark fit --config "$cell/config.yaml" --out "$cell" \\
    --checkpoint-every "$every" \\
    --trainer.num_nodes="${shape[0]}" --trainer.devices="${shape[1]}" 2> "$told" &
step=$!
wait "$step"
code=$?
trap '' USR1
cat "$told"
if [ $code -eq 0 ]; then say "done"; exit 0; fi
# The process that ended first is the cause; srun ends the others by signals.
first=$(grep -m 1 -o 'task.*: .*' "$told")
if [[ $code -lt 128 || $first == *"Exited with exit code"* ]]; then
    why=$(tail -n 100 "$cell/log.txt" | grep '^lungbench: ' | tail -n 1)
    give_up "${first:-exit code $code}${why:+; }${why#lungbench: }"
fi
echo "$code" >> "$killed"
times=$(wc -l < "$killed")
why="a process was killed from outside (${first:-exit code $code}; out of memory?)"
if [ "$times" -le "$retries" ]; then requeue "$why"; fi
give_up "$why, $times times"
"""

SYNC = """\
for run in {suite}/cells/*/*/seed-*/wandb/offline-run-*/; do  # written where no internet is
    if [ -d "$run" ] && ! compgen -G "$run*.synced" > /dev/null; then
        "${{python[@]}}" -m wandb sync "$run" || code=1
    fi
done"""


def cell_script(site: Site, name: str, submission: Path, per_node: int) -> str:
    """Return the script of the array; its argument is the row of its first task.

    Args:
        site: the site profile.
        name: the job's name.
        submission: the submission's folder.
        per_node: processes of a cell on each node.
    """
    options = _common(site, name, submission / "logs" / "%A_%a.txt", site.partition, site.sbatch)
    options[1:1] = [f"--nodes={site.nodes}", f"--ntasks-per-node={per_node}"]
    if site.gpus_per_node:
        options.append(f"--gpus-per-node={site.gpus_per_node}")
    options += ["--requeue", "--open-mode=append", f"--signal=B:USR1@{site.signal_seconds}"]
    values = {
        "submission": submission, "nodes": site.nodes, "per_node": per_node,
        "cpus": site.cpus_per_task, "retries": site.retries, "every": site.checkpoint_seconds,
    }  # fmt: skip
    assigned = " ".join(f"{key}={shlex.quote(str(value))}" for key, value in values.items())
    return "\n".join([*_head(site, options, site.internet), assigned, RUN_CELL])


def finish_script(site: Site, name: str, submission: Path, commands: Sequence[str]) -> str:
    """Return the script of the job that comes last.

    Args:
        site: the site profile.
        name: the job's name.
        submission: the submission's folder.
        commands: shell text to follow ``python -m``; each runs, whatever became of the others.
    """
    partition = site.finish_partition or site.partition
    output = submission / "logs" / "finish-%j.txt"
    options = _common(site, name, output, partition, site.finish_sbatch)
    options[1:1] = ["--nodes=1", "--ntasks=1"]
    options += ["--requeue", "--open-mode=append"]
    online = site.internet or bool(site.finish_partition)
    lines = ["code=0"]
    if online and not site.internet:
        lines.append(SYNC.format(suite=shlex.quote(str(submission.parent.parent))))
    lines += [f'"${{python[@]}}" -m {command} || code=1' for command in commands]
    return "\n".join([*_head(site, options, online), *lines, "exit $code", ""])


def _common(
    site: Site, name: str, output: Path, partition: str, further: Sequence[str]
) -> list[str]:
    wanted = {
        "job-name": name, "partition": partition, "account": site.account, "qos": site.qos,
        "cpus-per-task": site.cpus_per_task, "mem": site.memory, "time": site.time,
    }  # fmt: skip
    options = [f"--{key}={value}" for key, value in wanted.items() if value]
    place = str(output.parent).replace("%", "%%") + f"/{output.name}"
    return [*options, f'--output="{place}"', *further]


def _head(site: Site, options: Sequence[str], online: bool) -> list[str]:
    """Return the lines that every script begins with."""
    python = site.python or ("python" if site.container else shlex.quote(sys.executable))
    lines = ["#!/bin/bash", *(f"#SBATCH {option}" for option in options), ""]
    lines += [f"module load {module}" for module in site.modules]
    lines += list(site.environment)
    threads = site.cpus_per_task
    lines.append(f"export OMP_NUM_THREADS={threads} MKL_NUM_THREADS={threads}")
    if not online:
        lines.append('export WANDB_MODE="${WANDB_MODE:-offline}"  # no internet here')
    lines.append(f"python=({f'{site.container} {python}'.strip()})")
    return lines

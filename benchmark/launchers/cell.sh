# shellcheck shell=bash
# Runs one cell: line $SLURM_ARRAY_TASK_ID + $1 (from 0) of cells.txt. docs/slurm.md explains.
: "${submission:?}" "${nodes:?}" "${per_node:?}" "${cpus:?}" "${retries:?}" "${every:?}" "${start:?}"
row=$((SLURM_ARRAY_TASK_ID + $1))
IFS=$'\t' read -r processes accelerator cell < <(sed -n "$((row + 1))p" "$submission/cells.txt")
job="${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
say() { echo "$(date +%FT%T) job $job, start $((${SLURM_RESTART_COUNT:-0} + 1)): $*"; }

give_up() {
    say "$1"
    "${start[@]}" benchmark.launchers.slurm_end "$cell" "$1"
    exit 1
}
requeue() {
    say "$1; requeued, it resumes from the last whole epoch"
    scontrol requeue "$job" && sleep 600  # SLURM ends this script here
    give_up "$1, and scontrol requeue failed"
}
# shellcheck disable=SC2317  # the trap below calls it
near_time_limit() {
    trap '' USR1
    # A cell that cannot finish one epoch in a job would be requeued for ever.
    saved=$(find "$cell/checkpoints" -newer "$started" -name '*.ckpt' -print -quit 2> /dev/null)
    if [ -n "$saved" ]; then
        requeue "the time limit is near"
    fi
    if [ -n "$step" ]; then kill -TERM "$step"; wait "$step"; fi
    give_up "time limit: no checkpoint in a whole job; raise time, or lower gpu_tflops, in the site profile"
}

mkdir -p "$submission/started" "$submission/killed" "$submission/srun"
started="$submission/started/$row" killed="$submission/killed/$row" told="$submission/srun/$row"
touch "$started"
step=""
trap near_time_limit USR1
# The first process listens here; below the range from which systems give out ports.
address=$(scontrol show node "$SLURMD_NODENAME" | sed -n 's/.*NodeAddr=\([^ ]*\).*/\1/p')
export MASTER_ADDR="${address:-$(hostname)}"
port=$((10000 + (SLURM_JOB_ID * 17 + ${SLURM_RESTART_COUNT:-0} * 5) % 20000))
while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
export MASTER_PORT=$port LUNGBENCH_SRUN=1

if [ "$processes" = one ]; then shape=(1 1); else shape=("$nodes" "$per_node"); fi
say "$cell on $SLURM_JOB_NODELIST, ${shape[0]} nodes with ${shape[1]} processes each"
srun --nodes="${shape[0]}" --ntasks-per-node="${shape[1]}" \
    --ntasks=$((shape[0] * shape[1])) --cpus-per-task="$cpus" \
    --kill-on-bad-exit=1 --open-mode=append --output="${cell//%/%%}/log.txt" \
    "${start[@]}" benchmark fit --config "$cell/config.yaml" --out "$cell" \
    --checkpoint-every "$every" \
    --trainer.num_nodes="${shape[0]}" --trainer.devices="${shape[1]}" \
    --trainer.accelerator="$accelerator" 2> "$told" &
step=$!
wait "$step"
code=$?
trap '' USR1
cat "$told"
if [ $code -eq 0 ]; then say "done"; exit 0; fi
# The process that ended first is the cause (srun ends the others by signals), and only srun's
# words tell which that was.
first=$(grep -m 1 -o 'task.*: .*' "$told")
# One that aborts has met a fault (NCCL ends it so when another process fails): no kill from outside.
if [[ $code -lt 128 || $first == *"Exited with exit code"* || $first == *Aborted* ]]; then
    why=$(tail -n 100 "$cell/log.txt" | grep '^lungbench: ' | tail -n 1)
    give_up "${first:-exit code $code}${why:+; }${why#lungbench: }"
fi
echo "$code" >> "$killed"
times=$(wc -l < "$killed")
why="a process was killed from outside (${first:-exit code $code}; out of memory?)"
if [ "$times" -le "$retries" ]; then requeue "$why"; fi
give_up "$why, $times times"

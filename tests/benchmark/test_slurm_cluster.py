"""On a real SLURM cluster of two nodes: rows as if nothing had happened."""

import json
import os
import resource
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from cluster import Cluster, missing
from strangers import write_strangers

from benchmark.launchers.slurm_queue import Submission, look

ROOT = Path(__file__).parents[2]
HELPERS = ROOT / "tests" / "helpers"

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "a cluster can be started")


@pytest.fixture
def cluster():
    with Cluster(max_array=400) as started:
        yield started


class Suite:
    """A suite on a cluster: runs the project's commands, reads states, waits for moments."""

    def __init__(self, cluster: Cluster, folder: Path, root: Path, path: Path) -> None:
        self.cluster, self.folder, self.path = cluster, folder, path
        self.runs = folder / "runs"
        self.arguments = ["--suite", str(path), "--runs", str(self.runs), "--data-root", str(root)]
        cluster.environment |= {
            "OMP_NUM_THREADS": "1",
            "WANDB_MODE": "disabled",
            "PYTHONPATH": str(HELPERS),
            "REAL_PYTHON": sys.executable,
            "LUNGBENCH_SITE": str(folder / "site.yaml"),
        }

    def command(self, name: str, *more: str) -> str:
        command = [sys.executable, "-m", "benchmark", name, *self.arguments, *more]
        return self.cluster.run(*command)

    def cells(self) -> dict[str, dict]:
        return {cell["system"]: cell for cell in json.loads(self.command("status", "--json"))}

    def folder_of(self, system: str) -> Path:
        return self.runs / "tiny" / "cells" / system / "m_to_s" / "seed-0"

    def strike(self, system: str, moment: str, *command: str) -> None:
        """Run a command when the cell is in the middle of an epoch."""
        mark = self.folder / system / moment
        self.cluster.wait(mark.exists, 300, f"epoch {moment} of {system}", told=self.told)
        self.cluster.run(*command)

    def let_go_on(self, job: str, restarts: int) -> None:
        """Wait until a job waits in the queue again, and spare it SLURM's two minutes there."""
        show = ["scontrol", "show", "job", job]
        told = ("JobState=PENDING", f"Restarts={restarts} ")
        waits = lambda: all(word in self.cluster.run(*show) for word in told)  # noqa: E731
        self.cluster.wait(waits, 120, f"{job} requeued", told=self.told)
        self.cluster.run("scontrol", "update", f"JobId={job}", "StartTime=now")

    def wait_begun(self, job: str) -> None:
        logs = "tiny/slurm/*/logs/" + job + ".txt"
        begun = lambda: any(" on n[1-2]" in log.read_text() for log in self.runs.glob(logs))  # noqa: E731
        self.cluster.wait(begun, 60, f"{job} begun", told=self.told)

    def wait_for_end(self) -> None:
        over = lambda: not self.cluster.run("squeue", "-h").strip()  # noqa: E731
        self.cluster.wait(over, 400, "end", told=self.told)

    def told(self) -> str:
        logs = [*self.runs.glob("tiny/slurm/*/logs/*"), *self.runs.glob("tiny/cells/*/*/*/log.txt")]
        return "\n".join(f"{path}:\n{path.read_text()[-3000:]}" for path in logs)

    def rows(self, folder: Path) -> pd.DataFrame:
        return pd.read_parquet(folder / "cases.parquet").drop(columns="system")


@pytest.mark.slow
@pytest.mark.timeout(1500)  # its waits name what they wait for
def test_a_disturbed_cluster_gives_the_rows_of_this_machine(
    cluster, write_suite, phantom_root, tmp_path
):
    for name, moment in (("moved", "2-0"), ("killed", "3-0")):
        settings = {"moments": [moment], "marks": str(tmp_path / name)}
        callback = {"class_path": "pausing.PauseAt", "init_args": settings}
        system = {"extends": "adversarial_attention_unet", "trainer": {"callbacks": [callback]}}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(system))
    site = {"nodes": 2, "checkpoint_seconds": 0}
    site["environment"] = [f"cd {write_strangers(tmp_path / 'work')}"]
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site))
    path = write_suite(systems=["moved.yaml", "killed.yaml"])
    suite = Suite(cluster, tmp_path, phantom_root, path)
    make = ["make", "-C", str(ROOT), "--old-file=setup", "benchmark"]
    make += [f"BIN={Path(sys.executable).parent}", f"SUITE={path}", f"RUNS={suite.runs}"]
    make += [f"DATA_ROOT={phantom_root}"]
    assert "submitted 2 cells as job array" in cluster.run(*make)
    assert "2 cells are queued" in (again := cluster.run(*make)) or "running" in again
    assert "nothing to submit" in again
    cells = suite.cells()
    assert {cell["state"] for cell in cells.values()} <= {"queued", "running"}
    moved, killed = cells["moved"]["job"], cells["killed"]["job"]

    suite.strike("moved", "2-0", "scontrol", "requeue", moved)
    suite.let_go_on(moved, 1)
    suite.strike("killed", "3-0", "scancel", "--signal=KILL", killed)

    # Meanwhile the same by the local launcher, never disturbed; so many jobs get a thread each.
    here = tmp_path / "here" / path.name
    here.parent.mkdir()
    content = yaml.safe_load(path.read_text()) | {"systems": ["adversarial_attention_unet"]}
    here.write_text(yaml.safe_dump(content))
    cluster.run(
        sys.executable, "-m", "benchmark", "run", "--suite", str(here), "--runs", str(here.parent),
        "--data-root", str(phantom_root), "--launcher", "local", "--devices", "2",
        "--jobs", str(os.cpu_count()),
    )  # fmt: skip
    (undisturbed,) = here.parent.glob("tiny/cells/*/*/*")
    expected = suite.rows(undisturbed)

    suite.wait_for_end()
    states = {name: cell["state"] for name, cell in suite.cells().items()}
    assert states == {"moved": "done", "killed": "done"}, suite.told()
    for name, epoch in (("moved", 2), ("killed", 3)):
        record = json.loads((suite.folder_of(name) / "cell.json").read_text())
        assert record["processes"] == 2 and record["threads"] == 1
        pd.testing.assert_frame_equal(suite.rows(suite.folder_of(name)), expected, check_exact=True)
        log = (suite.folder_of(name) / "log.txt").read_text()
        assert f"resuming from epoch-0000{epoch}.ckpt" in log
    board = suite.runs / "tiny" / "leaderboard" / "leaderboard.csv"
    assert set(pd.read_csv(board)["system"]) == {"moved", "killed"}
    finishes = sorted(suite.runs.glob("tiny/slurm/*/logs/finish-*.txt"))
    assert len(finishes) == 2 and "1 cells vanished" in finishes[0].read_text()


@pytest.mark.slow
def test_every_end_of_a_process_is_told_from_the_others(
    cluster, write_suite, phantom_root, tmp_path, monkeypatch
):
    """The batch script on real nodes; in the place of training stands a script that ends so."""
    names = ("raises", "dies", "begins", "trains")
    for name in names:
        system = {"extends": "adversarial_attention_unet", "notes": name}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(system))
    site = {"nodes": 2, "retries": 1, "python": str(HELPERS / "stand_in.sh")}
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site))
    path = write_suite(systems=[f"{name}.yaml" for name in names])
    suite = Suite(cluster, tmp_path, phantom_root, path)
    suite.command("run")
    jobs = {name: cell["job"] for name, cell in suite.cells().items()}
    near_limit = ("scancel", "--batch", "--signal=USR1")

    suite.let_go_on(jobs["dies"], 1)  # killed once, requeued; the second time it stays
    suite.wait_begun(jobs["begins"])
    cluster.run(*near_limit, jobs["begins"])
    saved = suite.folder_of("trains") / "checkpoints" / "epoch-00001.ckpt"
    cluster.wait(saved.exists, 60, "a checkpoint", told=suite.told)
    cluster.run(*near_limit, jobs["trains"])
    waits = ["squeue", "-rhj", jobs["trains"], "-o", "%T %r"]
    cluster.wait(lambda: "BeginTime" in cluster.run(*waits), 60, "requeue", told=suite.told)
    over = ["squeue", "-rho", "%i"]
    cluster.wait(
        lambda: cluster.run(*over).split()[0] == jobs["trains"], 60, "the others", told=suite.told
    )
    ends = {name: (cell["state"], cell["reason"]) for name, cell in suite.cells().items()}
    assert ends["raises"][0] == ends["dies"][0] == ends["begins"][0] == "failed", ends
    assert ends["raises"][1] == "task 1: Exited with exit code 1; ValueError: planted fault"
    assert "task 1: Killed" in ends["dies"][1] and ends["dies"][1].endswith("2 times")
    assert ends["begins"][1].startswith("time limit: no checkpoint in a whole job")
    assert ends["trains"] == ("queued", f"job {jobs['trains']} (BeginTime)")
    assert "the time limit is near; requeued" in suite.told()
    assert "1 cells taken back" in suite.command("cancel")
    assert suite.cells()["trains"]["state"] == "pending"

    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    folder = tmp_path / "long ago" / "slurm" / "1"
    folder.mkdir(parents=True)
    Submission(folder, ["cells/a"], ["hash"], arrays=[("99999", 0, 1)]).save()
    (ticket,) = look(folder.parents[1]).tickets.values()
    assert ticket.state == "gone"  # alone, it is an error to squeue


def busy_seconds() -> float:
    """Return the CPU seconds of all commands so far: other tests share this machine's clock."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


@pytest.mark.slow
def test_a_thousand_cells_are_submitted_and_shown_in_seconds(
    cluster, write_suite, phantom_root, tmp_path
):
    (tmp_path / "site.yaml").write_text(yaml.safe_dump({"sbatch": ["--hold"], "max_parallel": 8}))
    path = write_suite(seeds=list(range(1000)))
    suite = Suite(cluster, tmp_path, phantom_root, path)
    began = busy_seconds()
    said = suite.command("run")
    submitted = busy_seconds() - began
    assert "submitted 1000 cells as job arrays" in said and submitted < 10, (submitted, said)
    began = busy_seconds()
    cells = json.loads(suite.command("status", "--json"))
    shown = busy_seconds() - began
    assert [cell["state"] for cell in cells] == ["queued"] * 1000 and shown < 3, shown
    assert len({cell["job"] for cell in cells}) == 1000
    print(f"CPU seconds: submit {submitted:.1f}, status {shown:.1f}")
    arrays = cluster.run("squeue", "-ho", "%i").split()
    assert sum("[" in job for job in arrays) == 3  # MaxArraySize is 400
    assert "1000 cells are queued and 0 running" in suite.command("run")
    assert "1 cells taken back" in suite.command("cancel", "--seeds", "7")
    (tmp_path / "site.yaml").write_text(yaml.safe_dump({"finish_partition": "absent"}))
    with pytest.raises(AssertionError, match="sbatch: found 'invalid partition specified: absent"):
        suite.command("run")  # submits seed 7, but not the job that comes last
    assert "999 cells taken back" in suite.command("cancel")
    cluster.wait(lambda: not cluster.run("squeue", "-h").strip(), 20, "an empty queue")
    cells = json.loads(suite.command("status", "--json"))
    assert {cell["state"] for cell in cells} == {"pending"}

"""Killed at ten random moments of a cell's life and started again each time: as if undisturbed."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

HELPERS = Path(__file__).parents[1] / "helpers"
CRITIC_TURNS = ("2-1", "3-0", "3-2", "4-1")
"""Epoch and batch of the critic's steps, one after every two of the generator's."""


def draw(random_: random.Random) -> tuple[list[str], list[str]]:
    """Draw moments spread over a cell of 2 + 3 epochs of 3 batches.

    Returns:
        those that a callback meets, and temporary files in whose writing the process dies.
    """
    pick = random_.choice
    early, late = [0, 1], [2, 3, 4]
    moments = [
        f"generator-{pick(early)}-{pick([0, 1, 2])}",
        f"train-{pick(early)}-{pick([0, 1])}",
        *(f"generator-{epoch}-{pick([0, 1, 2])}" for epoch in random_.sample(late, 2)),
        *(f"critic-{turn}" for turn in random_.sample(CRITIC_TURNS, 2)),
        f"validation-{pick(early + late)}",
        f"test-{pick([0, 1, 2])}",
    ]
    files = [f"write-.epoch-0000{pick(late)}", pick(["rename-.last.ckpt", "rename-.cases.parquet"])]
    return moments, files


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_ten_kills_leave_the_rows_of_an_undisturbed_run(tiny_cell, rows, tmp_path):
    moments, files = draw(random.Random(20200831))
    marks, out = tmp_path / "marks", tmp_path / "killed"
    arguments = {"moments": moments, "marks": str(marks)}
    callback = {"class_path": "killing.KillAt", "init_args": arguments}
    config = tiny_cell()
    settings = yaml.safe_load(config.read_text())
    settings["trainer"]["callbacks"] = [callback]
    config.write_text(yaml.safe_dump(settings))
    environment = {"PYTHONPATH": str(HELPERS), "WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, str(HELPERS / "attempts.py"), str(config), str(out), str(marks)],
        input=json.dumps([f"wait-{name}" for name in files]), env=os.environ | environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    told = ended.stdout + ended.stderr
    assert ended.returncode == 0, told
    assert json.loads(ended.stdout.splitlines()[-1]) == [0, *[-9] * 10, 0], told
    assert sorted(mark.name for mark in marks.iterdir()) == sorted(
        [*moments, *(f"killed-{name}" for name in files)]
    )
    undisturbed = tmp_path / "undisturbed"
    pd.testing.assert_frame_equal(rows(undisturbed), rows(out), check_exact=True)
    record = json.loads((out / "cell.json").read_text())
    assert record["wall_s"] > record["finished"] - record["started"] + 1  # all starts count
    runs = list((out / "wandb").glob("offline-run-*"))
    assert len(runs) > 5  # one a start
    assert {run.name.rsplit("-", 1)[1] for run in runs} == {record["wandb_id"]}

    def kept(folder: Path) -> set[str]:
        files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        return {str(file) for file in files if file.parts[0] != "wandb"}

    assert kept(out) == kept(undisturbed)

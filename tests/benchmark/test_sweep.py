"""docs/sweeps.md: what an agent would start is a cell whose run is the sweep's trial."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import wandb
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args
from wandb_files import read_run

from benchmark.__main__ import main
from benchmark.tracking import wandb_place

PAGE = (Path(__file__).parents[2] / "docs/sweeps.md").read_text("utf-8")
SWEEP = yaml.safe_load(re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1])
TRIAL = "3fk2x9ab"


def drawn() -> dict[str, float]:
    """A value of every parameter: the last of a list, or the upper bound."""
    return {
        name: spec["values"][-1] if "values" in spec else spec["max"]
        for name, spec in SWEEP["parameters"].items()
    }


def what_the_agent_starts(values: dict[str, float]) -> list[str]:
    """The command, filled in as ``wandb agent`` does."""
    args = {"args": {name: {"value": value} for name, value in values.items()}}
    filled = create_sweep_command_args(args)
    words = []
    for word in create_sweep_command(SWEEP["command"]):
        macro = re.fullmatch(r"\$\{(\w+)\}", word)
        words += filled[macro[1]] if macro else [word]
    return words


def arguments_that_arrive(words: list[str], folder: Path) -> list[str]:
    """What ``lungbench`` gets from the shell that the agent starts."""
    stand_in = folder / "bin" / "lungbench"
    stand_in.parent.mkdir()
    stand_in.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    stand_in.chmod(0o755)
    path = {"PATH": f"{stand_in.parent}:{os.environ['PATH']}", wandb_place.RUN: TRIAL}
    done = subprocess.run(
        words, env={**os.environ, **path}, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.fixture
def process_of_a_trial():
    """W&B reads its environment once in a process."""
    wandb.teardown()
    yield
    wandb.teardown()


@pytest.mark.slow
@pytest.mark.usefixtures("process_of_a_trial")
def test_a_trial_is_a_cell_and_its_run_is_the_sweeps(tiny_cell, tmp_path, monkeypatch):
    values = drawn()
    arguments = arguments_that_arrive(what_the_agent_starts(values), tmp_path)
    monkeypatch.chdir(tmp_path)
    config = Path(arguments[arguments.index("--config") + 1])
    config.parent.mkdir(parents=True)
    network = {"preprocessing.size": 32, "trainer.max_epochs": 2}
    network |= {"model.init_args.generator.init_args.widths": [4, 8]}
    tiny_cell(systems=["unet"], overrides=network).rename(config)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv(wandb_place.SWEEP, "s1")
    monkeypatch.setenv(wandb_place.RUN, TRIAL)
    assert main(arguments) == 0
    (path,) = (tmp_path / "sweep" / TRIAL / "wandb").glob("offline-run-*/*.wandb")
    ids, _, histories, _, told = read_run(path)
    assert ids == {TRIAL} and told["config"]["reduced"]
    for name, value in values.items():
        place = told["config"]
        for part in name.split("."):
            place = place[part]
        assert place == value, name
    assert any(SWEEP["metric"]["name"] in history for history in histories)
    record = json.loads((tmp_path / "sweep" / TRIAL / "cell.json").read_text())
    assert record["state"] == "done" and record["wandb_id"] == TRIAL


def test_a_sweep_looks_at_validation_alone():
    assert SWEEP["metric"]["name"].startswith("val/")


def test_without_an_agent_a_run_has_an_id_of_its_own(monkeypatch):
    monkeypatch.delenv(wandb_place.SWEEP, raising=False)
    monkeypatch.setenv(wandb_place.RUN, TRIAL)
    assert wandb_place.run_of_sweep() is None
    monkeypatch.setenv(wandb_place.SWEEP, "s1")
    assert wandb_place.run_of_sweep() == TRIAL

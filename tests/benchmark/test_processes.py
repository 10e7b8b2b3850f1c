"""Rule 5 and the wiring of pairs: two processes do exactly what one does."""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from benchmark.cell.fit import fit
from contract.rows import METRICS
from datamodules.phantoms import write_montgomery, write_shenzhen

HELPERS = Path(__file__).parents[1] / "helpers"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def run(*command: str) -> None:
    ended = subprocess.run(
        [sys.executable, *command], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    """The steps of all cases, on one process and on two."""
    out = tmp_path_factory.mktemp("gradients")
    run(str(HELPERS / "gradients.py"), str(out))
    return [torch.load(out / f"{devices}.pt", weights_only=True) for devices in (1, 2)]


CASES = ["cross_entropy", "penalty", "batch_norm", "batch_norm_in_parts"]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_gradients_on_two_processes_equal_one_on_the_joint_batch(steps, case):
    one, two = (cases[case] for cases in steps)
    # 3 batches an epoch: 1 epoch alone, then 6 generator steps with 3 turns of the critic.
    owners = [step["owner"] for step in one]
    assert owners == [step["owner"] for step in two]
    assert owners == ["generator"] * 5 + ["critic", "generator", "generator", "critic"] + [
        "generator", "generator", "critic", "end",
    ]  # fmt: skip
    for a, b in zip(one, two, strict=True):
        for name, gradient in a["gradients"].items():
            if name.startswith(a["owner"]):
                assert gradient.any() or "bias" in name
                torch.testing.assert_close(b["gradients"][name], gradient, rtol=0, atol=1e-8)
            else:
                assert gradient is None and b["gradients"][name] is None
        for name, weight in a["weights"].items():
            torch.testing.assert_close(b["weights"][name], weight, rtol=0, atol=1e-8)
    parameters = one[0]["gradients"]
    for before, after in pairwise(one):
        moved = {
            name.split(".")[0]
            for name, weight in before["weights"].items()
            if name in parameters and not torch.equal(weight, after["weights"][name])
        }
        assert moved == {before["owner"]}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_step_exchanges_its_own_networks_gradients_once(steps, case):
    one, two = (cases[case] for cases in steps)
    assert {step["bytes"] for step in one} == {0}
    for step in two:
        own = [step["weights"][n] for n, g in step["gradients"].items() if g is not None]
        assert step["bytes"] == sum(weight.nbytes for weight in own)


@pytest.mark.slow
def test_566_cases_are_scored_once_each_by_one_and_by_two_processes(write_suite, rows, tmp_path):
    from benchmark.planning.plan import make_plan

    root = tmp_path / "data"
    write_montgomery(root, 8, size=64)
    write_shenzhen(root, 566, size=64)
    cell = make_plan(str(write_suite()), tmp_path / "runs", root).cells[0]
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(cell.config))
    fit(config, tmp_path / "one", ["--trainer.max_epochs=3"])
    weights = tmp_path / "one" / "checkpoints" / "best.ckpt"
    run(
        "-m", "benchmark", "test", "--config", str(config), "--checkpoint", str(weights),
        "--out", str(tmp_path / "two"), "--trainer.devices=2",
    )  # fmt: skip
    one, two = rows(tmp_path / "one"), rows(tmp_path / "two")
    assert one["case_id"].nunique() == len(one) == 566
    pd.testing.assert_frame_equal(one.drop(columns=list(METRICS)), two.drop(columns=list(METRICS)))
    for metric in METRICS:
        np.testing.assert_allclose(two[metric], one[metric], atol=1e-6, err_msg=metric)

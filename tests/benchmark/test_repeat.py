"""Rule 12: same config, seed and machine, same rows, whatever happens in between."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from benchmark.cell.fit import fit
from contract.errors import UserError


def test_a_repeated_cell_has_identical_rows(tiny_cell, rows, tmp_path):
    config = tiny_cell()
    fit(config, tmp_path / "one")
    fit(config, tmp_path / "two")
    pd.testing.assert_frame_equal(rows(tmp_path / "one"), rows(tmp_path / "two"), check_exact=True)
    record = json.loads((tmp_path / "one" / "cell.json").read_text())
    assert record["state"] == "done" and record["phantom"] is True
    weights = torch.load(tmp_path / "one" / "checkpoints" / "last.ckpt", weights_only=True)
    generator = [v for k, v in weights["state_dict"].items() if k.startswith("generator.")]
    learnt = sum(v.numel() for v in generator if v.is_floating_point())
    assert 0.8 * learnt < record["parameters"] < learnt  # less the norms' running statistics
    assert record["n_test"] == 20 == len(rows(tmp_path / "one").query("structure == 'lungs'"))


def test_another_seed_gives_other_rows(tiny_cell, rows, tmp_path):
    fit(tiny_cell(), tmp_path / "one")
    fit(tiny_cell("other", seeds=[1]), tmp_path / "two")
    assert not rows(tmp_path / "one")["dice"].equals(rows(tmp_path / "two")["dice"])


def test_the_written_config_repeats_the_cell(tiny_cell, rows, tmp_path):
    """A cell run by hand writes its resolved config, and that one repeats it too."""
    fit(tiny_cell(), tmp_path / "one")
    resolved = tmp_path / "one" / "config.yaml"
    assert yaml.safe_load(resolved.read_text())["cell"]["system"] == "adversarial_attention_unet"
    fit(resolved, tmp_path / "two")
    pd.testing.assert_frame_equal(rows(tmp_path / "one"), rows(tmp_path / "two"), check_exact=True)


def test_a_finished_cell_is_left_alone(tiny_cell, tmp_path, capsys):
    config = tiny_cell()
    fit(config, tmp_path / "one")
    written = (tmp_path / "one" / "cases.parquet").stat().st_mtime_ns
    fit(config, tmp_path / "one")
    assert "nothing to do" in capsys.readouterr().out
    assert (tmp_path / "one" / "cases.parquet").stat().st_mtime_ns == written


def test_a_folder_of_another_cell_is_refused(tiny_cell, tmp_path):
    fit(tiny_cell(), tmp_path / "one")
    with pytest.raises(UserError, match="choose another --out"):
        fit(tiny_cell("other", seeds=[1]), tmp_path / "one")


@pytest.mark.slow
def test_killed_anywhere_and_started_again_gives_the_same_rows(tiny_cell, rows, tmp_path):
    marks = tmp_path / "marks"
    moments = ["epoch-1", "train-3-1", "validation-4", "test-1"]
    callback = {
        "class_path": "killing.KillAt",
        "init_args": {"moments": moments, "marks": str(marks)},
    }
    overrides = yaml.safe_load(tiny_cell().with_name("tiny.yaml").read_text())["overrides"]
    config = tiny_cell("killed", overrides={**overrides, "trainer.callbacks": [callback]})
    here = str(Path(__file__).parents[1] / "helpers")
    command = [sys.executable, "-m", "benchmark", "fit", "--config", str(config)]
    command += ["--checkpoint-every", "0"]
    environment = {**os.environ, "PYTHONPATH": here, "OMP_NUM_THREADS": "1"}

    def start(out: Path) -> int:
        ended = subprocess.run(
            [*command, "--out", str(out)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        print(ended.stdout, ended.stderr)
        return ended.returncode

    assert start(tmp_path / "undisturbed") == 0
    marks.mkdir()
    codes = [start(tmp_path / "killed") for _ in range(len(moments) + 1)]
    assert codes == [-9] * len(moments) + [0]
    assert sorted(mark.name for mark in marks.iterdir()) == sorted(moments)
    pd.testing.assert_frame_equal(
        rows(tmp_path / "undisturbed"), rows(tmp_path / "killed"), check_exact=True
    )
    leftovers = [p for p in (tmp_path / "killed").rglob(".*") if p.is_file()]
    assert not leftovers

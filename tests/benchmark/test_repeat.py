"""Rule 12: same config, seed and machine, same rows, whatever happens in between."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from benchmark.cell.fit import fit
from benchmark.launchers.slots import Slot
from benchmark.launchers.warm import WarmStarts
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
def test_killed_anywhere_and_started_again_gives_the_same_rows(
    tiny_cell, rows, tmp_path, monkeypatch
):
    marks = tmp_path / "marks"
    moments = ["epoch-1", "train-3-1", "validation-4", "test-1"]
    callback = {
        "class_path": "killing.KillAt",
        "init_args": {"moments": moments, "marks": str(marks)},
    }
    overrides = yaml.safe_load(tiny_cell().with_name("tiny.yaml").read_text())["overrides"]
    config = tiny_cell("killed", overrides={**overrides, "trainer.callbacks": [callback]})
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "helpers"))
    words = ["fit", "--config", str(config), "--checkpoint-every", "0", "--out"]
    cold = [sys.executable, "-m", "benchmark", *words, str(tmp_path / "undisturbed")]
    subprocess.run(cold, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True)
    marks.mkdir()
    nursery = WarmStarts()  # libraries are loaded once

    def start(number: int) -> int:
        log = tmp_path / f"{number}.txt"
        environment = {**os.environ, **Slot((), 1).limits()}
        started = nursery.start(
            [*words, str(tmp_path / "killed")], environment, log, threading.Event()
        )
        code = started.wait(300)
        print(log.read_text())
        return code

    try:
        codes = [start(number) for number in range(len(moments) + 1)]
    finally:
        nursery.close()
    assert codes == [-9] * len(moments) + [0]
    assert sorted(mark.name for mark in marks.iterdir()) == sorted(moments)
    pd.testing.assert_frame_equal(
        rows(tmp_path / "undisturbed"), rows(tmp_path / "killed"), check_exact=True
    )
    leftovers = [p for p in (tmp_path / "killed").rglob(".*") if p.is_file()]
    assert not leftovers

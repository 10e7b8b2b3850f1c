"""Whole processes of the project, as a person starts them: cells, suites, predictions."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmark.performance.lines import Setting
from benchmark.planning.plan import make_plan
from benchmark.start import command
from contract.cell_folder import CellFolder
from datamodules.phantoms import write_montgomery, write_shenzhen

TEST_FILMS = 12
"""Phantom films of the set that a cell tests on."""
ON_ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def write_cell(
    setting: Setting, name: str, size: int, batch: int, films: int = 12, epochs: int = 1
) -> Path:
    """Write the config of a small cell of ``unet`` on phantoms; return the file.

    Args:
        setting: where to.
        name: the name of its folder.
        size: side of the network's square.
        batch: joint batch size.
        films: of the hospital that it trains and validates on.
        epochs: that it trains.
    """
    changes: Mapping[str, Any] = {
        "preprocessing.size": size,
        "batch_size": batch,
        "model.init_args.generator.init_args.widths?": [8, 16, 32, 64],
        "trainer.max_epochs": epochs,
        "trainer.limit_train_batches": None,
    }
    folder = setting.place(name)
    write_montgomery(folder / "films", films, size=256)
    write_shenzhen(folder / "films", TEST_FILMS, size=256)
    plan = make_plan("quick", folder / "runs", folder / "films", changes)
    cell = next(c for c in plan.cells if (c.system, c.protocol) == ("unet", "m_to_s"))
    config = folder / "cell.yaml"
    config.write_text(yaml.safe_dump(cell.config))
    return config


def fitted(config: Path, out: Path, *words: str) -> CellFolder:
    """Train and test a cell in a process of its own.

    Args:
        config: its config.
        out: its folder.
        words: further arguments of ``fit``.

    Raises:
        subprocess.CalledProcessError: if it fails.
    """
    told = command("benchmark", "fit", "--config", str(config), "--out", str(out), *words)
    run_process(told)
    return CellFolder(out)


def images_a_second(config: Path, out: Path, devices: int) -> float:
    """Return the training images a second that a cell's record tells."""
    record = fitted(config, out, f"--trainer.devices={devices}").record
    assert record.images_per_s is not None  # a trained cell has some
    return record.images_per_s


def run_process(told: list[str]) -> None:
    """Run a process with one thread, each of its children too; what it says shows if it fails.

    Raises:
        RuntimeError: with the end of what it said, if it fails.
    """
    ended = subprocess.run(
        told, check=False, capture_output=True, text=True, env={**os.environ, **ON_ONE_THREAD}
    )
    if ended.returncode:
        said = (ended.stdout + ended.stderr)[-2000:]
        raise RuntimeError(f"{' '.join(told)} ended with {ended.returncode}: {said}")

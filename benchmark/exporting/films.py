"""The films that an exported model is compared with PyTorch on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.planning.library import Settings
from benchmark.progress import say
from contract.cell_folder import CellFolder
from contract.errors import DataError, UserError
from datamodules.base import ProtocolDataModule
from datamodules.phantoms import write_montgomery
from datamodules.preprocessing import Preprocessing
from datamodules.sources import open_sources
from datamodules.sources.montgomery import MontgomerySource
from lightning_modules.descriptions import build_from_config

FILMS_COMPARED = 10
PHANTOM_SIZE = 256
"""Long side of a synthetic film in pixels."""


def films_for(cell: CellFolder, config: Settings) -> tuple[Tensor, str]:
    """Return films as the cell's network sees them: its test cases, else synthetic ones.

    Args:
        cell: a finished cell.
        config: its config.

    Returns:
        Images ``(10, 1, size, size)``, and in words what they are.

    Raises:
        UserError: if the cell's rows cannot be read.
    """
    keys = _spread(cell)
    try:
        films, told = list(_test_cases(keys, cell, config)), f"{len(keys)} of its test cases"
    except UserError as error:
        say(f"the cell's own films cannot be read ({error}); comparing on phantoms")
        films, told = [], ""
    if missing := FILMS_COMPARED - len(films):
        films += _phantoms(missing)
        told = " and ".join(filter(None, [told, f"{missing} phantoms (synthetic films)"]))
    preprocessing = Preprocessing(**config["data"]["init_args"]["preprocessing"])
    images = [preprocessing.to_range(preprocessing.prepare_image(film)) for film in films]
    return torch.from_numpy(np.stack(images))[:, None], told


def _spread(cell: CellFolder) -> list[tuple[str, str]]:
    """Return data set and id of at most ten test cases, evenly from all of them."""
    rows = cell.read_rows().select(["test_on", "case_id"]).to_pylist()
    keys = list(dict.fromkeys((row["test_on"], row["case_id"]) for row in rows))
    places = np.linspace(0, len(keys) - 1, min(FILMS_COMPARED, len(keys))).round().astype(int)
    return [keys[place] for place in places]


def _test_cases(
    keys: list[tuple[str, str]], cell: CellFolder, config: Settings
) -> Iterator[NDArray[np.uint8]]:
    data = build_from_config(ProtocolDataModule, config["data"], cell.config)
    root = Path(config["data"]["init_args"]["root"])
    sources = {s.name: s for s in open_sources(data.protocol.datasets, root).values()}
    cases = {
        name: {case.case_id: case for case in sources[name].cases()}
        for name in dict.fromkeys(name for name, _ in keys)
    }
    for name, case_id in keys:
        if case_id not in cases[name]:
            raise DataError(sources[name].folder, f"no case {case_id}", "the cell's test cases")
        yield sources[name].read_image(cases[name][case_id])


def _phantoms(count: int) -> list[NDArray[np.uint8]]:
    with tempfile.TemporaryDirectory(prefix="lungbench-phantoms-") as folder:
        write_montgomery(Path(folder), count, size=PHANTOM_SIZE)
        source = MontgomerySource(Path(folder))
        return [source.read_image(case) for case in source.cases()]

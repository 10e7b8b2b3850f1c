"""Trained cells as networks that predict: found below a runs folder, loaded without training."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor

from benchmark.cell.loading import build_module, load_tested, read_config
from benchmark.prediction.memory_format import lay_out_kernels
from benchmark.prediction.predictor import require_finite
from contract.cell_folder import LAYOUT, CellFolder, cells_of, suite_folders
from contract.errors import DataError, UserError
from datamodules.preprocessing import Preprocessing
from datamodules.sources import CT_SOURCES, SOURCES
from lightning_modules.activations import Activation
from lightning_modules.adversarial import AdversarialSegmenter
from lightning_modules.segmenter import Segmenter


@dataclass(frozen=True)
class Trained:
    """The finished cells of one system and protocol, which predict together.

    Attributes:
        suite: the suite's name.
        system: the system's name.
        protocol: the protocol's name.
        folders: the cells' folders, by seed.
        phantom: whether they were trained on synthetic films.
        unit: what they were trained on, an ``image`` (a film) or a CT ``scan``.
    """

    suite: str
    system: str
    protocol: str
    folders: tuple[Path, ...]
    phantom: bool
    unit: str

    @property
    def name(self) -> str:
        """``suite/system/protocol``, for people and as a key."""
        return f"{self.suite}/{self.system}/{self.protocol}"

    @property
    def label(self) -> str:
        """System, protocol, suite and how many seeds, for people who choose."""
        seeds = [f"{len(self.folders)} seeds"] if len(self.folders) > 1 else []
        return " · ".join([self.system, self.protocol, self.suite, *seeds])

    def load(self, device: str = "auto") -> Networks:
        """Return them ready to predict; see ``load_networks``."""
        return load_networks(self, device)


def finished(runs: Path) -> list[Trained]:
    """Return what a runs folder holds that can predict, by name."""
    cells = [cell for suite in suite_folders(runs) for cell in cells_of(suite)]
    done = [cell for cell in cells if cell.record.is_done]
    done.sort(key=lambda cell: (cell.suite_folder, cell.key))
    alike = groupby(done, key=lambda cell: (cell.suite_folder, cell.key[:2]))
    return [trained([cell.path for cell in seeds]) for _, seeds in alike]


def _sees_scans(cell: CellFolder) -> bool:
    """Tell whether a finished cell was trained on CT scans.

    The names of the sets tell; of sets of a user's own the rows do.
    """
    names = set((cell.record.train_on or "").split("+"))
    if names & set(CT_SOURCES) or names <= set(SOURCES):
        return bool(names & set(CT_SOURCES))
    try:
        return "scan" in cell.read_rows()["unit"].to_pylist()
    except DataError:  # such a cell is damaged, which others tell
        return False


def trained(folders: Sequence[Path]) -> Trained:
    """Return cells that predict together.

    Raises:
        UserError: if one is no finished cell, or they are not of one system and protocol.
    """
    records = [CellFolder(folder).record for folder in folders]
    for folder, record in zip(folders, records, strict=True):
        if not record.is_done:
            found = f"a cell that is {record.state}" if record.state else "no cell"
            expected = f"a finished cell, <runs>/<suite>/{LAYOUT}"
            raise UserError(folder, found, expected, "see `lungbench status` for finished ones")
    names = {(str(record.suite), record.system, record.protocol) for record in records}
    if len(names) > 1:
        told = ", ".join(" ".join(name) for name in sorted(names))
        raise UserError("--cell", f"different cells: {told}", "seeds of one system and protocol")
    units = {"scan" if _sees_scans(CellFolder(folder)) else "image" for folder in folders}
    if len(units) > 1:
        raise UserError("--cell", "a cell of CT beside one of films", "cells of one of the two")
    phantom = any(record.phantom for record in records)
    return Trained(*names.pop(), tuple(folders), phantom, units.pop())


def choose_cells(
    runs: Path, suite: str | None, system: str | None, protocol: str | None
) -> Trained:
    """Return the only finished system and protocol that fits.

    Args:
        runs: the runs folder.
        suite: a suite's name, or any.
        system: a system's name, or any.
        protocol: a protocol's name, or any.

    Raises:
        UserError: if none or several fit; it lists those.
    """
    every = finished(runs)
    wanted = {"suite": suite, "system": system, "protocol": protocol}
    named = {key: value for key, value in wanted.items() if value is not None}
    fitting = [one for one in every if all(getattr(one, k) == v for k, v in named.items())]
    if len(fitting) == 1:
        return fitting[0]
    asked = " ".join(f"--{key} {value}" for key, value in named.items()) or "no --system named"
    if not every:
        todo = "train one with `lungbench run`, or name another --runs"
        raise UserError(runs, "no finished cell", todo=todo)
    shown = [one.name for one in (fitting or every)]
    listed = ", ".join(shown[:12]) + (f" … {len(shown)} in all" if len(shown) > 12 else "")
    found = f"{len(fitting)} finished systems" if fitting else "no finished cell"
    raise UserError(
        asked, f"{found} below {runs}", f"one of suite/system/protocol: {listed}",
        "name it with --suite, --system and --protocol",
    )  # fmt: skip


class Networks:
    """The networks of some cells, which predict together.

    Args:
        modules: one a seed and fold, of the same output.
        preprocessing: film to network input, the same for all.
        device: where they predict.
    """

    def __init__(
        self, modules: Sequence[Segmenter], preprocessing: Preprocessing, device: torch.device
    ) -> None:
        self._modules = [module.to(device).eval() for module in modules]
        for module in self._modules:
            if type(module) is AdversarialSegmenter:  # a subclass may call `view` on the logits
                lay_out_kernels(module.generator, device)
        self.preprocessing, self._device = preprocessing, device
        self.structures: tuple[str, ...] = modules[0].structures
        self.activation: Activation = modules[0].activation
        self._one_at_a_time = threading.Lock()

    def __len__(self) -> int:
        return len(self._modules)

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return each network's probabilities ``(M, N, C, H, W)`` for ``(N, 1, H, W)``.

        The second are those for the mirror images, mirrored back.

        Raises:
            UserError: if an output is not finite.
        """
        with self._one_at_a_time, torch.inference_mode():
            images = images.to(self._device)
            views = [module.views(images) for module in self._modules]
            own, mirrored = (torch.stack(view) for view in zip(*views, strict=True))
        require_finite(own, mirrored)
        return own, mirrored


def load_networks(cells: Trained, device: str = "auto") -> Networks:
    """Load the weights that each cell was tested with, all folds of it.

    Args:
        cells: what to load. Their configs name code to run, so they must be trusted.
        device: a torch device, or ``auto`` for the first GPU where there is one.

    Raises:
        UserError: if a config or a checkpoint is missing or damaged, the cells differ in
            preprocessing or structures, or there is no such device.
    """
    place_of_work = _find_device(device)
    modules, preprocessings = [], []
    for folder in cells.folders:
        cell = CellFolder(folder)
        config = read_config(cell.config)
        tested = config["cell"].get("checkpoint", "best")
        preprocessings.append(Preprocessing(**config["data"]["init_args"]["preprocessing"]))
        for checkpoints in cell.every_checkpoints():
            module = build_module(cell.config, config)
            load_tested(module, checkpoints.weights(tested))
            modules.append(module)
    for what, values in (
        ("preprocessing", preprocessings),
        ("structures", [(module.structures, module.activation) for module in modules]),
    ):
        if any(value != values[0] for value in values):
            raise UserError(cells.name, f"cells that differ in {what}", "alike cells", "name one")
    return Networks(modules, preprocessings[0], place_of_work)


def _find_device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError) as error:  # torch asserts where it was built without
        found = f"a device that torch cannot use ({str(error).splitlines()[0]})"
        raise UserError(f"--device {name}", found, "auto, cpu, cuda or cuda:<n>") from None

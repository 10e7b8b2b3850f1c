"""A finished cell as objects: its module with the tested weights, and its data."""

from __future__ import annotations

from pathlib import Path

from benchmark.cell.checkpoints import load_weights
from benchmark.cell.config_check import check_keys
from benchmark.planning.library import Settings
from benchmark.start import add_code_folders
from contract.cell_folder import CellFolder
from contract.errors import UserError
from contract.yaml_files import read_yaml
from datamodules.base import ProtocolDataModule
from lightning_modules.descriptions import build_from_config
from lightning_modules.segmenter import Segmenter


def load_cell(folder: Path | str, fold: int = 0) -> tuple[Segmenter, ProtocolDataModule]:
    """Return a cell's module with the weights that were tested, and its DataModule.

    Args:
        folder: the cell's folder, in any suite. Its config names code to run, so it must be
            trusted.
        fold: which of the protocol's folds.

    Raises:
        UserError: if the config or the checkpoint is missing or damaged.
    """
    cell = CellFolder(Path(folder))
    config = read_config(cell.config)
    module = build_module(cell.config, config)
    tested = config["cell"].get("checkpoint", "best")
    load_tested(module, cell.checkpoints(fold).weights(tested))
    data = config["data"]
    placed = {**data, "init_args": {**data["init_args"], "fold": fold}}
    return module, build_from_config(ProtocolDataModule, placed, cell.config)


def read_config(path: Path) -> Settings:
    """Return a cell's config.

    Raises:
        UserError: if there is none, or it is none.
    """
    config = read_yaml(path)
    check_keys(path, config)
    return dict(config)


def build_module(path: Path, config: Settings) -> Segmenter:
    """Build a cell's module with fresh weights.

    Raises:
        UserError: if that cannot be done.
    """
    add_code_folders(config["cell"].get("code_folders", []))
    module: Segmenter = Segmenter.from_config(config["model"], path)
    return module


def load_tested(module: Segmenter, weights: Path) -> None:
    """Load a cell's weights.

    Raises:
        UserError: if the file is missing, damaged, or of another network.
    """
    try:
        load_weights(module, weights)
    except UserError as error:
        expected, todo = "the weights of this cell's network", "train the cell again"
        raise UserError(weights, error.found, expected, todo) from None

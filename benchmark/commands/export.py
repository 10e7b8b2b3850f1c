"""The command ``export``: a finished cell's network as a file that needs no cell."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmark.commands.arguments import Commands, add_command
from contract.cell_folder import LAYOUT
from contract.files import folder_to_write


def add(commands: Commands) -> None:
    """Add ``export``."""
    text = "write a finished cell's network as one file that needs no cell, with a model card"
    parser = add_command(commands, "export", text, _export)
    parser.add_argument(
        "cell", type=Path, metavar="CELL",
        help=f"a finished cell, .../{LAYOUT}; its config names code to run, so trust it",
    )  # fmt: skip
    parser.add_argument(
        "--format", choices=["onnx", "torchscript", "safetensors"], default="onnx",
        help="onnx needs the extra `onnx`; safetensors holds weights alone [onnx]",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, metavar="PATH",
        help="the file to write: .onnx, .pt or .safetensors [called after the cell]",
    )  # fmt: skip


def _export(given: argparse.Namespace, extra: Sequence[str]) -> int:
    if given.output is not None:
        folder_to_write("--output", given.output.parent)
    from benchmark.exporting.export import export

    export(given.cell, given.format, given.output)
    return 0

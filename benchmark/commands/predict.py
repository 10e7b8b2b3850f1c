"""The commands ``predict`` and ``serve``: trained systems on a user's own films and CT scans."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.commands.arguments import Commands, add_command, plain_path
from benchmark.garbage import collect_as_usual
from contract.cell_folder import LAYOUT
from contract.errors import UserError
from contract.files import folder_to_write

if TYPE_CHECKING:
    from benchmark.prediction.predictor import Model


def add(commands: Commands) -> None:
    """Add ``predict`` and ``serve``."""
    text = (
        "segment a folder of your own films (PNG, JPEG, TIFF, BMP, DICOM), or, with a cell that "
        "was trained on CT, of CT scans (DICOM series, NIfTI)"
    )
    parser = add_command(commands, "predict", text, _predict)
    parser.add_argument(
        "--images", type=Path, required=True, help="folder of films, or of CT scans"
    )
    parser.add_argument(
        "--out", default="predictions", metavar="FOLDER", help="the folder to write [predictions]"
    )
    parser.add_argument(
        "--cell", type=Path, nargs="+", action="extend", metavar="FOLDER", dest="cells",
        help=f"a finished cell, .../{LAYOUT}; several seeds predict "
        "together; its config names code to run, so trust it [a small network that comes with "
        "the package, see docs/predict.md]",
    )  # fmt: skip
    parser.add_argument(
        "--model", type=Path, metavar="FILE",
        help="instead of a cell: what `lungbench export` wrote, .onnx (which needs the extra "
        "`onnx` and runs no code), .safetensors or .pt",
    )  # fmt: skip
    parser.add_argument("--runs", type=plain_path, help="instead of --cell: a runs folder [runs]")
    for name in ("suite", "system", "protocol"):
        text = f"instead of --cell: all seeds of this {name} [the only one]"
        parser.add_argument(f"--{name}", help=text)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1 [auto]")
    parser.add_argument(
        "--bits", type=int, choices=range(9, 17), metavar="N",
        help="significant bits of 16-bit PNG and TIFF files [those that the file's values need]",
    )  # fmt: skip
    parser.add_argument(
        "--force", action="store_true",
        help="segment DICOM files too that are no frontal film of a chest by their header",
    )  # fmt: skip
    parser.add_argument(
        "--dicom-seg", action="store_true",
        help="write a DICOM segmentation too for each DICOM film; it carries the patient's "
        "identity as the film's file states it",
    )  # fmt: skip

    text = "a local web page that segments one film at a time, on this machine only"
    parser = add_command(commands, "serve", text, _serve)
    parser.add_argument(
        "--runs", type=plain_path, default=Path("runs"), help="the runs folder [runs]"
    )
    parser.add_argument("--port", type=int, default=8000, help="0 for any free one [8000]")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1 [auto]")


def _predict(given: argparse.Namespace, extra: Sequence[str]) -> int:
    out = folder_to_write("--out", given.out)
    model = _chosen(given)
    if model.unit == "scan":
        _refuse_options_for_films(given)
        from benchmark.prediction.scans import predict_scans

        collect_as_usual()
        return 1 if predict_scans(model, given.images, out, given.device) else 0
    from benchmark.prediction.predict import predict

    collect_as_usual()
    failed = predict(
        model, given.images, out, given.device, given.bits, given.force, given.dicom_seg
    )
    return 1 if failed else 0


def _refuse_options_for_films(given: argparse.Namespace) -> None:
    """Refuse what would do nothing: a CT's slices have 16 bits, its masks are NIfTI files."""
    for option, value in (
        ("--bits", given.bits),
        ("--force", given.force),
        ("--dicom-seg", given.dicom_seg),
    ):
        if value:
            found = "it with a cell that was trained on CT"
            raise UserError(option, found, "it with films alone", "leave it out")


def _chosen(given: argparse.Namespace) -> Model:
    """Return the cells or the exported model that the arguments name."""
    if given.model is not None:
        if given.cells or given.suite or given.system or given.protocol:
            found = "a cell beside it"
            raise UserError(f"--model {given.model}", found, "either a model or a cell")
        from benchmark.prediction.exported import open_model

        return open_model(given.model)
    if not any((given.cells, given.runs, given.suite, given.system, given.protocol)):
        from benchmark.prediction.shipped import shipped_model

        return shipped_model()
    from benchmark.prediction.networks import choose_cells, trained

    if given.cells:
        return trained(given.cells)
    return choose_cells(given.runs or Path("runs"), given.suite, given.system, given.protocol)


def _serve(given: argparse.Namespace, extra: Sequence[str]) -> int:
    from benchmark.progress import say

    say("loading the libraries; the page's address comes next")
    from benchmark.prediction.serve import serve

    collect_as_usual()
    serve(given.runs, given.port, given.device)
    return 0

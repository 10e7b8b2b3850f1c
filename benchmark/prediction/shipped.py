"""The trained model that comes with the package, for who names none."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

from benchmark.prediction.exported import ExportedModel, open_model
from contract.errors import UserError

SHIPPED = Path(str(files("lungbench"))) / "weights" / "lung_baseline.safetensors"
"""Its model card lies beside it."""


@cache
def shipped_model() -> ExportedModel:
    """Return the model that comes with the package, opened once.

    Raises:
        UserError: if its file is missing or damaged.
    """
    try:
        return open_model(SHIPPED)
    except UserError as error:
        todo = "install lungbench again"
        raise UserError(error.where, error.found, error.expected, todo) from None

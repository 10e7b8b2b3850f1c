"""Which precisions a cell may train in: one rule, for plans and for the cell itself."""

from __future__ import annotations

from contract.errors import UserError
from contract.names import in_short

HALVES = ("16-mixed", "16-true", "16", "transformer-engine-float16", 16)
"""Lightning's names of trainings in float16."""


def require_precision(stated: object, where: str) -> None:
    """Refuse 16-bit floats that need a scaler, or do without one.

    Lightning scales the losses of both optimisers by one factor, and passes over a step whose
    gradients overflow: of the generator, say, and not of the critic. What counts whose turn it is
    would count that step as made.

    Args:
        stated: what the Trainer is to be told, if anything.
        where: what the message is to name: file and key.

    Raises:
        UserError: naming what serves instead.
    """
    if isinstance(stated, str | int) and stated in HALVES:
        raise UserError(
            where,
            f"{in_short(stated)}: float16 overflows, and its scaler then leaves out a step of one "
            "network alone, which the order of generator and critic counts as made",
            "32-true, or bf16-mixed, whose range needs no scaler",
            "--set trainer.precision=bf16-mixed",
        )

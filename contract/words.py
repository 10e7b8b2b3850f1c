"""The project's vocabulary, used in code, YAML files, table columns and pages alike."""

from __future__ import annotations

from collections.abc import Sequence

BACKGROUND = "background"
STRUCTURES = ("lungs", "left_lung", "right_lung", "heart")
"""Structures that are scored. ``left_lung`` is the patient's left, at the image's right."""

CLASS_MEAN = "lungs_and_heart"
"""Not a mask, but the mean of a case's scores of ``lungs`` and ``heart``: a row of leaderboards."""

REFERENCES = ("plain", "dilated", "automatic", "pseudo")
UNITS = ("image", "slice", "scan")
STATES = ("pending", "queued", "running", "done", "failed", "no_data", "stale")
GALLERY_FORMAT = 1
"""The form of a cell's ``gallery.json``, which the page must know to show it."""


def check_structures(structures: Sequence[str], activation: str) -> None:
    """Refuse output channels that cannot be scored.

    Args:
        structures: the channels in order.
        activation: the output's kind, ``softmax``, ``sigmoid`` or ``tanh``.

    Raises:
        ValueError: if softmax lacks a background, another output has one, or no lung is there.
    """
    if (BACKGROUND in structures) != (activation == "softmax"):
        raise ValueError(f"{activation} output with channels {list(structures)}: softmax needs "
                         f"a {BACKGROUND} channel, sigmoid and tanh must not have one")  # fmt: skip
    if not {"lungs", "left_lung", "right_lung"} & set(structures):
        raise ValueError(f"no lung among the output's channels {list(structures)}")


LABEL_PATTERN = r"^(#[0-9A-Fa-f]{6}|[Pp]age ?[1-9][0-9]*|[Aa]lpha)$"
"""What a structure in mask files may be called beside whole numbers."""
LABEL_RULE = "a colour such as '#ff0000', a page such as 'page 2', or 'alpha'"

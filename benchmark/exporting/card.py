"""A model card: what an exported model is, its data and terms, its scores, what it is not for."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

import jinja2
import pandas as pd
import pyarrow as pa

from benchmark.exporting.comparison import Comparison
from benchmark.exporting.facts import ModelFacts
from contract.words import BACKGROUND
from datamodules.preprocessing import Preprocessing
from leaderboards.statistics.intervals import arrange, summarise
from leaderboards.statistics.quality import POOR, find_poor
from leaderboards.texts import escape, grid, number

METRICS_OF_CARD = {
    "dice": ("Dice", 4), "iou": ("IoU", 4), "nsd": ("NSD", 4),
    "hausdorff95_px": ("HD95 (px)", 2), "assd_px": ("ASSD (px)", 2),
}  # fmt: skip
"""Titles and digits."""


def model_card(
    facts: ModelFacts, rows: pa.Table, file: str, digest: str, comparison: Comparison
) -> str:
    """Return a model's card as Markdown.

    Args:
        facts: what the model is.
        rows: the cell's rows, in ``contract.rows.CASE_SCHEMA``.
        file: the model's file.
        digest: its SHA-256.
        comparison: how far it is from PyTorch.
    """
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters["md"] = escape
    template = (files("benchmark.exporting") / "card.md.j2").read_text("utf-8")
    frame: pd.DataFrame = rows.to_pandas()
    return environment.from_string(template).render(
        facts=facts,
        file=file,
        digest=digest,
        comparison=comparison,
        structures=[n.replace("_", " ") for n in facts.structures if n != BACKGROUND],
        steps=list(_steps(facts.preprocessing)),
        scores=_scores(frame, ["test_on", "structure", "reference"], list(METRICS_OF_CARD)),
        findings=_scores(
            frame[(frame["structure"] == "lungs") & frame["finding"].notna()],
            ["test_on", "finding"], ["dice"],
        ),
        flags=_flags(rows),
        poor=POOR,
    )  # fmt: skip


def _steps(how: Preprocessing) -> Iterator[str]:
    """The preprocessing in words, in its order."""
    clahe = f"CLAHE (OpenCV, clip {how.clahe_clip}, {how.clahe_tiles} × {how.clahe_tiles} tiles)"
    if how.clahe == "before_resize":
        yield clahe
    kept = ", its sides in proportion, centred on black" if how.keep_aspect else ""
    yield f"resized by area (when growing bilinearly) to {how.size} × {how.size}{kept}"
    if how.clahe == "after_resize":
        yield clahe
    low, high = how.value_range
    yield f"0 to 255 mapped to {low} to {high}"


def _scores(rows: pd.DataFrame, keys: Sequence[str], metrics: Sequence[str]) -> str:
    """Return a table of means with intervals, a line for each value of the keys."""
    lines = []
    for key, group in rows.groupby(list(keys), sort=True):
        summary = summarise(arrange(group, tuple(metrics)))
        means = [
            f"{number(summary.mean[0, m], digits)} [{number(summary.ci_low[0, m], digits)}, "
            f"{number(summary.ci_high[0, m], digits)}]"
            for m, digits in enumerate(METRICS_OF_CARD[metric][1] for metric in metrics)
        ]
        lines.append([*(escape(value) for value in key), str(len(group)), *means])
    if not lines:
        return ""
    titles = [METRICS_OF_CARD[metric][0] for metric in metrics]
    return grid([*(key.replace("_", " ") for key in keys), "films", *titles], lines, len(keys))


def _flags(rows: pa.Table) -> str:
    found = find_poor(rows)
    lines = [[*map(str, (row["n_predictions"], row["n_poor"], row["n_flagged"])), *_rates(row)]
             for row in found.to_dict("records")]  # fmt: skip
    header = ["masks", "poor", "flagged", "poor ones flagged", "flagged ones poor"]
    return grid(header, lines, 0) if lines else ""


def _rates(row: Mapping[Hashable, Any]) -> list[str]:
    return [
        f"{number(row[name], 2)} [{number(row[f'{name}_ci_low'], 2)}, "
        f"{number(row[f'{name}_ci_high'], 2)}]"
        for name in ("sensitivity", "ppv")
    ]

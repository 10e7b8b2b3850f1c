"""The leaderboard's tables for LaTeX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from contract.rows import LOWER_IS_BETTER, TABLE_KEYS
from leaderboards import markdown, texts, wording
from leaderboards.manuscript import bibliography
from leaderboards.markdown import Meta
from leaderboards.statistics import insights
from leaderboards.statistics.comparisons import PRACTICALLY_EQUAL
from leaderboards.texts import number

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$",
    "#": r"\#", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "→": r"$\rightarrow$", "≈": r"$\approx$",
    "–": "--", "†": r"\textdagger{}",
}  # fmt: skip
_NOT_PRINTED = {"hausdorff_rowvector", "nodule_pixel_coverage", "pleural_nodule_pixel_coverage"}
"""Means that a column of text has no room for; they stand in the CSV. Nor has it room for distances
in pixels beside those in mm."""
_HEAD = r"""% \usepackage{booktabs, graphicx}
% Tables shrink to the column of text; where a page has two, table* gives them its whole width."""
_FITTED = r"""\setlength{\tabcolsep}{4pt}%
\resizebox{\ifdim\width>\columnwidth\columnwidth\else\width\fi}{!}{%"""
"""Opens a box no wider than the column of text, whatever it holds."""


def latex_escape(text: object) -> str:
    """Make any text harmless in LaTeX, on one line."""
    line = (sign for sign in " ".join(str(text).split()) if sign.isprintable())
    return "".join(_LATEX.get(sign, sign) for sign in line)


def latex(table: pd.DataFrame, meta: Meta) -> str:
    """One ``booktabs`` table for each protocol, structure, reference and unit.

    The first mean and those practically equal to it are bold. A table that is wider than its
    column of text is shrunk to it.

    Args:
        table: rows in ``contract.rows.LEADERBOARD_SCHEMA``, as ``tables.build`` orders them.
        meta: what surrounds them.
    """
    parts = [_HEAD]
    for key, rows in table.groupby(list(TABLE_KEYS), sort=False):
        parts.append(_latex_table(dict(zip(TABLE_KEYS, key, strict=True)), rows, meta))
    return "\n\n".join(parts) + "\n"


def _latex_table(keys: Mapping[str, Any], rows: pd.DataFrame, meta: Meta) -> str:
    shown = [entry for entry in markdown.shown_metrics(rows) if entry[1] not in _NOT_PRINTED]
    if any(metric.endswith("_mm") for _, metric, _ in shown):
        shown = [entry for entry in shown if not entry[1].endswith("_px")]
    best = rows.loc[rows["rank"] == 1, "dice_mean"].max()
    arrow = {metric: "down" if metric in LOWER_IS_BETTER else "up" for _, metric, _ in shown}
    header = ["", "System", r"Dice $\uparrow$ [95\,\% CI]"]
    header += [rf"{latex_escape(name)} $\{arrow[metric]}arrow$" for name, metric, _ in shown]
    title = meta.protocols.get(keys["protocol"], keys["protocol"])
    warning = r"\textbf{PHANTOM DATA}: synthetic images. " if keys["phantom"] else ""
    first = rows.iloc[0]
    caption = (
        f"{warning}{latex_escape(title)}: {latex_escape(wording.heading(keys))}. Means over "
        f"{first['n_cases']} cases; intervals from a bootstrap over patients and seeds. Bold: less "
        f"than {PRACTICALLY_EQUAL} Dice behind the first."
    )
    reduced = [f"{wording.REDUCED_MEANS}."] if rows["reduced"].any() else []
    remarks = [*reduced, *wording.one_seed(rows), *meta.chosen_in_sight(rows["system"])]
    caption += "".join(f" {latex_escape(remark)}" for remark in remarks)
    cells = [_latex_row(row, best, shown, meta) for row in insights.records(rows)]
    grid = pd.DataFrame(cells, columns=header).style.hide(axis="index")
    tabular = grid.to_latex(hrules=True, column_format=f"rll{'r' * len(shown)}").rstrip()
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption}}}\medskip",
        _FITTED,
        f"{tabular}}}",
    ]
    return "\n".join([*lines, r"\end{table}"])


def _latex_row(
    row: Mapping[str, Any], best: float, shown: Sequence[tuple[str, str, int]], meta: Meta
) -> list[str]:
    ranked = pd.notna(row["rank"])
    dice = number(row["dice_mean"], 4)
    if ranked and best - row["dice_mean"] < PRACTICALLY_EQUAL:
        dice = rf"\textbf{{{dice}}}"
    keys = bibliography.of_system(row["system"])
    cited = rf"~\cite{{{','.join(keys)}}}" if keys else ""
    limits = f"{number(row['dice_ci_low'], 4)}, {number(row['dice_ci_high'], 4)}"
    return [
        str(row["rank"]) if ranked else "--",
        latex_escape(meta.called(row["system"], row["protocol"])) + cited,
        latex_escape(dice) if not ranked else f"{dice} [{limits}]",
        *(latex_escape(texts.mean_text(row, metric, digits)) for _, metric, digits in shown),
    ]

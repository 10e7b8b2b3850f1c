"""What a paper takes over: a LaTeX table, a methods paragraph and its references."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from contract.rows import LOWER_IS_BETTER, TABLE_KEYS
from leaderboards import markdown, wording
from leaderboards.manuscript import bibliography
from leaderboards.markdown import FLOOR, Meta, number
from leaderboards.statistics import insights
from leaderboards.statistics.comparisons import PRACTICALLY_EQUAL

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$",
    "#": r"\#", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "→": r"$\rightarrow$", "≈": r"$\approx$",
    "–": "--",
}  # fmt: skip


@dataclass(frozen=True)
class DataSets:
    """The data sets of a suite, as its rows name them."""

    train: tuple[str, ...]
    test: tuple[str, ...]

    @classmethod
    def of(cls, transferred: Iterable[tuple[str | None, str]]) -> DataSets:
        """Collect the names from pairs (``train_on``, ``test_on``) of rows."""
        pairs = list(transferred)
        train = {name for names, _ in pairs if names for name in names.split("+")}
        return cls(tuple(sorted(train)), tuple(sorted({test for _, test in pairs})))


def latex_escape(text: object) -> str:
    """Make any text harmless in LaTeX, on one line."""
    return "".join(_LATEX.get(character, character) for character in " ".join(str(text).split()))


def latex(table: pd.DataFrame, meta: Meta) -> str:
    """One ``booktabs`` table for each protocol, structure, reference and unit.

    The first mean and those practically equal to it are bold.

    Args:
        table: rows in ``contract.rows.LEADERBOARD_SCHEMA``, as ``tables.build`` orders them.
        meta: what surrounds them.
    """
    parts = [r"% \usepackage{booktabs}"]
    for key, rows in table.groupby(list(TABLE_KEYS), sort=False):
        parts.append(_latex_table(dict(zip(TABLE_KEYS, key, strict=True)), rows, meta))
    return "\n\n".join(parts) + "\n"


def _latex_table(keys: Mapping[str, Any], rows: pd.DataFrame, meta: Meta) -> str:
    shown = markdown.shown_metrics(rows)
    best = rows.loc[rows["rank"] == 1, "dice_mean"].max()
    arrow = {metric: "down" if metric in LOWER_IS_BETTER else "up" for _, metric, _ in shown}
    header = ["", "System", r"Dice $\uparrow$ [95\,\% CI]"]
    header += [rf"{latex_escape(name)} $\{arrow[metric]}arrow$" for name, metric, _ in shown]
    lines = [
        " & ".join(_latex_row(row, best, shown, meta)) + r" \\" for row in insights.records(rows)
    ]
    title = meta.protocols.get(keys["protocol"], keys["protocol"])
    warning = r"\textbf{PHANTOM DATA}: synthetic images. " if keys["phantom"] else ""
    first = rows.iloc[0]
    caption = (
        f"{warning}{latex_escape(title)}: {latex_escape(wording.heading(keys))}. Means over "
        f"{first['n_cases']} cases; intervals from a bootstrap over patients and seeds. Bold: less "
        f"than {PRACTICALLY_EQUAL} Dice behind the first."
    )
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            f"  \\caption{{{caption}}}",
            rf"  \begin{{tabular}}{{rll{'r' * len(shown)}}}",
            r"    \toprule",
            f"    {' & '.join(header)} \\\\",
            r"    \midrule",
            *(f"    {line}" for line in lines),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
        ]
    )


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
        latex_escape(meta.called(row["system"])) + cited,
        latex_escape(dice) if not ranked else f"{dice} [{limits}]",
        *(latex_escape(markdown.mean_text(row, metric, digits)) for _, metric, digits in shown),
    ]


def methods(table: pd.DataFrame, meta: Meta, data: DataSets) -> str:
    """A methods section as Markdown, with citations as Pandoc reads them (``[@key]``)."""
    systems = sorted(set(table["system"]) - {FLOOR})
    protocols = list(dict.fromkeys(table["protocol"]))
    seeds = sorted(set(table["n_seeds"]))
    parts = ["# Methods"]
    if table["phantom"].any():
        parts.append(markdown.PHANTOM_BANNER)
    named = "; ".join(_cited(name, bibliography.of_system(name)) for name in systems)
    trained = _listed(_cited(name, bibliography.of_data_set(name)) for name in data.train)
    tested = _listed(_cited(name, bibliography.of_data_set(name)) for name in data.test)
    floor = (
        f" The mean training mask (`{FLOOR}`) is the floor."
        if FLOOR in set(table["system"])
        else ""
    )
    parts.append(
        f"We compared {_count(len(systems), 'system')} under {_count(len(protocols), 'protocol')}"
        f" ({', '.join(f'`{name}`' for name in protocols)}). Networks were trained on {trained} and"
        f" tested on {tested}, with {_range(seeds, 'training seed')} each. Splits were fixed before"
        f" training and were the same for all systems; no test case chose a checkpoint, a threshold"
        f" or an epoch.{floor} The systems: {named}."
    )
    parts.append(
        "Every metric was computed per case from hard masks on the reference's own grid, averaged"
        " over seeds within a case and then over cases. Surface Dice (NSD)"
        f" {_keys('surface_dice')} has a tolerance of 2 mm, or the same share of the image's"
        " diagonal where the spacing is unknown. A case in which exactly one of prediction and"
        " reference is empty counts with Dice 0 and the image's diagonal as distance."
        + "".join(f" {said}" for said in _of_scans(table))
    )
    parts.append(
        f"Intervals are 95 % percentile intervals of a bootstrap {_keys('bootstrap')} with"
        f" {meta.draws:,} draws over patients and seeds, the same draws for all systems. Systems"
        f" were compared in pairs by simultaneous (max-T) intervals {_keys('simultaneous')} and by"
        " Wilcoxon's signed-rank test over patients with Holm's correction over all pairs of a"
        f" table {_keys('signed_rank')}. Differences under {PRACTICALLY_EQUAL} Dice are called"
        " practically equal. Where areas, volumes or cardiothoracic ratios were measured, agreement"
        f" with the reference is given as bias and limits of agreement {_keys('agreement')}."
    )
    facts = {name: markdown.escape(text) for name, text in markdown.facts(meta).items() if text}
    parts.append(
        "Provenance: "
        + "; ".join(f"{name}: {text}" for name, text in facts.items() if name != "bootstrap")
        + "."
    )
    return "\n\n".join(parts) + "\n"


def _of_scans(table: pd.DataFrame) -> list[str]:
    """What a reader of CT results must know of cases and masks."""
    said = []
    if table["unit"].eq("scan").any():
        said.append(
            "CT scans were segmented slice by slice and scored as volumes, a scan a case, with"
            " distances in mm; their slices were scored apart and are not ranked."
        )
    notes = {"automatic": wording.AUTOMATIC, "pseudo": wording.PSEUDO}
    return said + [note for kind, note in notes.items() if table["reference"].eq(kind).any()]


def references(table: pd.DataFrame, data: DataSets) -> str:
    """BibTeX of the systems and data sets of a leaderboard, and of the methods behind it."""
    cited = [bibliography.of_system(name) for name in table["system"].unique()]
    cited += [bibliography.of_data_set(name) for name in (*data.train, *data.test)]
    cited += [bibliography.of_method(name) for name in bibliography.uses()["methods"]]
    return bibliography.bibtex(key for keys in cited for key in keys or ())


def _keys(method: str) -> str:
    return _bracket(bibliography.of_method(method))


def _bracket(keys: Iterable[str]) -> str:
    return "[" + "; ".join(f"@{key}" for key in keys) + "]"


def _cited(name: str, keys: tuple[str, ...] | None) -> str:
    said = markdown.escape(name)
    return f"{said} {_bracket(keys)}" if keys else said


def _listed(names: Iterable[str]) -> str:
    *first, last = list(names) or ["no data set"]
    return f"{', '.join(first)} and {last}" if first else last


def _count(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _range(counts: Sequence[int], word: str) -> str:
    if len(counts) < 2:
        return _count(counts[0] if counts else 0, word)
    return f"{counts[0]} to {_count(counts[-1], word)}"

"""Which figures the page draws, and what stands under them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from contract.words import CLASS_MEAN
from leaderboards.markdown import FLOOR, Meta
from leaderboards.page import figures, forests
from leaderboards.page.grids import sizes
from leaderboards.page.parts import Panel
from leaderboards.statistics.comparisons import PRACTICALLY_EQUAL
from leaderboards.statistics.insights import Insight

Called = Callable[[str], str]
"""A system's name as it stands on the page."""
BEST = 6
"""Systems whose train × test heat map is drawn."""


def heat_panels(transferred: pd.DataFrame, called: Called) -> list[Panel]:
    """Train × test heat maps of the systems measured on most pairs, the best first.

    A single pair is no matrix: it stands in the figure beside.
    """
    if transferred.empty:
        return []
    scored = transferred[transferred["system"] != FLOOR]
    pairs = scored.groupby("system").agg(n=("dice", "size"), dice=("dice", "mean"))
    pairs = pairs.sort_values(["n", "dice"], ascending=False, kind="stable")
    best = list(pairs.index[pairs["n"] > 1][:BEST])
    shown = scored[scored["system"].isin(best)]
    low, high = shown["dice"].min(), shown["dice"].max()
    return [
        Panel(
            f"transfer-{place + 1}",
            "",
            figures.heat_map(called(name), shown[shown["system"] == name], low, high),
        )
        for place, name in enumerate(best)
    ]


def gap_panels(found: pd.DataFrame, called: Called) -> list[Panel]:
    """Each system inside and across data sets."""
    shown = found[found["system"] != FLOOR]
    svg = forests.gap_plot(_named(shown, called)) if len(found) else None
    return [Panel("generalisation", "", svg)] if svg else []


def published_panels(values: Sequence[Mapping[str, Any]]) -> list[Panel]:
    """Measured against published Dice, of the lungs and of the mean of lungs and heart."""
    shown = ("lungs", CLASS_MEAN)
    svg = forests.published_plot([row for row in values if row["structure"] in shown])
    return [Panel("published", "", svg)] if svg else []


def _named(frame: pd.DataFrame, called: Called, *columns: str) -> pd.DataFrame:
    """The rows with systems as they are called on the page."""
    return frame.assign(**{name: frame[name].map(called) for name in ("system", *columns)})


def distribution_panels(
    identity: str, insight: Insight, systems: Sequence[str], called: Called
) -> list[Panel]:
    """Dice and Hausdorff distance over a table's cases."""
    names = [called(name) for name in systems]
    wanted = (("dice", "Dice", False), ("hausdorff95_px", "HD95 px (log scale)", True))
    panels = []
    for metric, label, logarithmic in wanted:
        quantiles = insight.quantiles[metric].rename(index=called)
        svg = figures.strips(quantiles, names, label, logarithmic)
        panels += [Panel(f"{identity}--{metric}", "", svg)] if svg else []
    return panels


def comparison_panels(identity: str, insight: Insight, called: Called) -> list[Panel]:
    """How firm a table's order is: rank intervals, all pairs."""
    if insight.ranks is None or insight.pairs is None:
        return []
    ranked, compared = _named(insight.ranks, called), _named(insight.pairs, called, "other")
    systems = list(ranked["system"])
    ranks = (
        "Rank by mean Dice (dot) and its 95 % interval over draws of patients and seeds; the share "
        "of draws that a system leads; the mean of its ranks in single cases, and the rank that "
        "follows from that mean."
    )
    behind = (
        "Mean Dice minus the first's, with intervals that hold for all pairs of the table at once "
        f"(max-T, 95 %). Inside the grey band (±{PRACTICALLY_EQUAL}) systems are practically "
        "equal; an interval that crosses 0 cannot be told from the first."
    )
    pairs = (
        "▲ the row's system is better than the column's, ▼ worse (Wilcoxon's signed-rank test over "
        f"patients, Holm over all pairs, p < {figures.ALPHA}); ≈ practically equal (means differ "
        f"by less than {PRACTICALLY_EQUAL}); ≠ the test favours the one with the lower mean, "
        "which is better on most patients and far worse on some; blank: not told apart."
    )
    leader = forests.leader_plot(compared, systems)
    return [
        *([Panel(f"{identity}--behind", behind, leader)] if leader else []),
        Panel(f"{identity}--ranks", ranks, figures.rank_plot(ranked)),
        Panel(f"{identity}--pairs", pairs, figures.significance_map(compared, systems)),
    ]


def cost_panels(
    identity: str, keys: Mapping[str, Any], rows: pd.DataFrame, meta: Meta
) -> list[Panel]:
    """Accuracy against parameters, speed and hours; of the lungs alone."""
    if keys["structure"] != "lungs":
        return []
    cells = [c for c in meta.cells if c.protocol == keys["protocol"] and c.system != FLOOR]
    by_size = sizes(Meta(meta.suite, cells))
    ranked = rows[rows["rank"].notna()]
    dice = dict(zip(ranked["label"], ranked["dice_mean"], strict=True))
    labels = dict(zip(ranked["system"], ranked["label"], strict=True))

    def by_system(name: str) -> dict[str, float]:
        return {
            labels.get(size["system"], size["system"]): size[name]
            for size in by_size
            if size[name] is not None
        }

    hours = figures.Cost("GPU-hours", by_system("gpu_hours"))
    if not any(hours.values.values()):
        wall = {name: seconds / 3600 for name, seconds in by_system("wall_s").items()}
        hours = figures.Cost("hours on the CPU", wall)
    costs = {
        "parameters": figures.Cost("parameters", by_system("parameters")),
        "speed": figures.Cost("training images/s", by_system("images_per_s"), True),
        "hours": hours,
    }
    drawn = {name: figures.cost_plot(cost, dice) for name, cost in costs.items()}
    return [Panel(f"{identity}--{name}", "", svg) for name, svg in drawn.items() if svg]

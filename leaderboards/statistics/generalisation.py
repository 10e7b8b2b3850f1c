"""Does a system hold on data sets that its training did not see?

Means over such sets, and the gap to sets that it saw, which only those met both ways can tell.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from contract.rows import RANKED_UNITS
from leaderboards.statistics import intervals
from leaderboards.statistics.intervals import Floats

_MEANS = ("across", "worst", "inside", "across_both", "gap")
GAP_COLUMNS = (
    "system", "phantom", "n_seeds", "pairs", "hospitals",
    *(f"{name}{suffix}" for name in _MEANS[:2] for suffix in ("", "_ci_low", "_ci_high")),
    "worst_on", "both_ways",
    *(f"{name}{suffix}" for name in _MEANS[2:] for suffix in ("", "_ci_low", "_ci_high")),
)  # fmt: skip
BETWEEN_NAMES = ", "
"""Joins names of data sets, and of pairs of them, in one column."""


def transfer(cases: pa.Table, systems: Iterable[str] | None = None) -> pd.DataFrame:
    """Mean Dice of the lungs by system, training set and test set.

    Only plain masks scored by image or scan count. Where several protocols train and test on
    the same sets (variants, whose names carry a suffix), the shortest name stands for them.

    Returns:
        columns ``system protocol train_on test_on phantom dice n n_seeds``; seeds are averaged
        within a case, cases then.
    """
    names = ["system", "protocol", "train_on", "test_on", "case_id", "scan_id", "phantom"]
    frame: pd.DataFrame = lung_rows(cases, [*names, "seed", "dice"]).to_pandas()
    if systems is not None:
        frame = frame[frame["system"].isin(list(systems))]
    of_case = frame.groupby(names, dropna=False, sort=True)["dice"].mean().reset_index()
    cell = ["system", "protocol", "train_on", "test_on", "phantom"]
    means = of_case.groupby(cell, sort=True)["dice"].agg(["mean", "size"]).reset_index()
    means = means.rename(columns={"mean": "dice", "size": "n"})
    seeds = frame.groupby(cell, sort=True)["seed"].nunique().rename("n_seeds").reset_index()
    means = means.merge(seeds, on=cell)
    means = means.assign(_length=means["protocol"].str.len())
    means = means.sort_values([*cell[:1], *cell[2:], "_length", "protocol"])
    first = means.drop_duplicates(["system", "train_on", "test_on", "phantom"])
    return first.drop(columns="_length").reset_index(drop=True)


def gaps(
    cases: pa.Table, transferred: pd.DataFrame, draws: int = intervals.FEWER_DRAWS
) -> pd.DataFrame:
    """Each system's mean Dice on data sets that it did not train on, and what a new one costs.

    Only systems measured on all pairs of sets that the most widely measured one has are kept.
    ``across`` is over all pairs whose test set was not seen in training: within a test set the mean
    over its training sets, then the mean over test sets, so that each hospital counts alike;
    ``worst`` is the lowest of these test sets, ``worst_on``. The gap needs test sets met both ways:
    ``gap`` is ``inside`` minus ``across_both``, both over those sets alone; null where there are
    none. Intervals are 95 % percentile intervals over draws of patients and seeds, a data set's
    patients drawn alike on both sides.

    Args:
        cases: rows in ``contract.rows.CASE_SCHEMA``.
        transferred: what ``transfer`` made of them.
        draws: number of bootstrap draws.

    Returns:
        one row a system, in ``GAP_COLUMNS``, by falling ``across``.
    """
    frame = _compared(transferred)
    if frame.empty:
        return pd.DataFrame(columns=list(GAP_COLUMNS))
    systems = sorted(frame["system"].unique())
    drawn = _drawn(cases, frame, draws)
    unseen = frame[~frame["within"]]
    met = frame.groupby("test_on")["within"].nunique()
    both = frame[frame["test_on"].map(met) == 2]
    found: dict[str, object] = {
        "system": systems,
        "phantom": bool(frame["phantom"].iloc[0]),
        "n_seeds": unseen.groupby("system")["n_seeds"].min().loc[systems].to_list(),
        "pairs": _listed(unseen["pair"]),
        "hospitals": _listed(unseen["test_on"]),
        "both_ways": _listed(both["test_on"]) or None,
    }
    sides = {"across": unseen, "inside": both[both["within"]],
             "across_both": both[~both["within"]]}  # fmt: skip
    means: dict[str, Floats] = {}
    samples: dict[str, Floats] = {}
    for name, side in sides.items():
        of_set = side.groupby(["system", "test_on"])["dice"].mean()
        means[name] = of_set.groupby("system").mean().reindex(systems).to_numpy(np.float64)
        samples[name] = _mean_of_sets(drawn, side, systems, draws)
    of_hospital = unseen.groupby(["system", "test_on"])["dice"].mean().unstack().loc[systems]
    worst_on = of_hospital.idxmin(axis=1)
    worst = unseen[unseen["test_on"] == unseen["system"].map(worst_on)]
    found["worst_on"] = list(worst_on)
    means["worst"] = of_hospital.min(axis=1).to_numpy(np.float64)
    samples["worst"] = _mean_of_sets(drawn, worst, systems, draws)
    means["gap"] = means["inside"] - means["across_both"]
    samples["gap"] = samples["inside"] - samples["across_both"]
    for name, mean in means.items():
        low, high = intervals.percentile_interval(samples[name])
        found |= {name: mean, f"{name}_ci_low": low, f"{name}_ci_high": high}
    table = pd.DataFrame(found, columns=list(GAP_COLUMNS))
    return table.sort_values(["across", "system"], ascending=[False, True], ignore_index=True)


def _listed(names: pd.Series) -> str:
    return BETWEEN_NAMES.join(sorted(names.unique()))


def _compared(transferred: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``transferred`` that can be compared, with the columns ``pair`` and ``within``.

    None where no system was tested on a set that its training did not see.
    """
    frame = transferred.assign(pair=transferred["train_on"] + " → " + transferred["test_on"])
    frame["within"] = [
        test in train.split("+")
        for train, test in zip(frame["train_on"], frame["test_on"], strict=True)
    ]
    if frame.empty or frame["within"].all():
        return frame[:0]
    own = frame.groupby("system")["pair"].agg(set)
    wanted = max(own, key=len)
    frame = frame[frame["system"].isin([name for name, has in own.items() if has >= wanted])]
    frame = frame[frame["pair"].isin(wanted)]
    return frame[:0] if frame["within"].all() else frame


def _drawn(cases: pa.Table, frame: pd.DataFrame, draws: int) -> dict[tuple[str, str, str], Floats]:
    """Bootstrapped means, (draws,), by system, protocol and test set."""
    names = ["system", "seed", "patient_id", *intervals.CASE_KEY, "dice"]
    measured = lung_rows(cases, [*names, "protocol", "phantom"])
    measured = measured.filter(pc.equal(measured["phantom"], bool(frame["phantom"].iloc[0])))
    drawn: dict[tuple[str, str, str], Floats] = {}
    for (protocol, test_on), cells in frame.groupby(["protocol", "test_on"]):
        of_protocol = pc.equal(measured["protocol"], protocol)
        chosen = pc.and_(of_protocol, pc.equal(measured["test_on"], test_on))
        rows: pd.DataFrame = measured.filter(chosen).select(names).to_pandas()
        scores = intervals.arrange(rows[rows["system"].isin(cells["system"])], ("dice",))
        means = intervals.bootstrap_means(scores, draws)[..., 0]
        for place, system in enumerate(scores.systems):
            drawn[system, str(protocol), str(test_on)] = means[:, place]
    return drawn


def _mean_of_sets(
    drawn: dict[tuple[str, str, str], Floats], side: pd.DataFrame, systems: list[str], draws: int
) -> Floats:
    """Mean over test sets of the mean over their training sets, (draws, S)."""
    means = np.full((draws, len(systems)), np.nan)
    for system, rows in side.groupby("system"):
        of_set = [
            np.mean([drawn[str(system), one, str(test_on)] for one in of["protocol"]], axis=0)
            for test_on, of in rows.groupby("test_on")
        ]
        means[:, systems.index(str(system))] = np.mean(of_set, axis=0)
    return means


def lung_rows(cases: pa.Table, names: list[str]) -> pa.Table:
    """Rows of the lungs, on plain masks, scored by image or scan, of a known training set.

    Args:
        cases: rows in ``contract.rows.CASE_SCHEMA``.
        names: the columns to keep.
    """
    kept = pc.and_(pc.equal(cases["structure"], "lungs"), pc.equal(cases["reference"], "plain"))
    kept = pc.and_(kept, pc.is_in(cases["unit"], pa.array(sorted(RANKED_UNITS))))
    return cases.select(names).filter(pc.and_(kept, cases["train_on"].is_valid()))

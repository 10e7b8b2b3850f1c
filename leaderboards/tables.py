"""From rows of cases to the leaderboard: one row per protocol, system and structure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from contract.cell_record import CellRecord
from contract.errors import DataError
from contract.rows import (
    ALL_SLICES,
    CASE_SCHEMA,
    LEADERBOARD_COLUMNS,
    LEADERBOARD_SCHEMA,
    METRICS,
    RANKED_REFERENCES,
    RANKED_UNITS,
    STATISTICS,
    TABLE_KEYS,
)
from contract.words import STRUCTURES
from leaderboards import wording
from leaderboards.derived import class_means
from leaderboards.published import reported
from leaderboards.statistics import insights, intervals

ALL_STATISTICS = ("mean", "median")
FALSE_POSITIVES = "false_positive_slice_rate"

SuspectCases = Collection[tuple[str, str]]
"""Pairs (data set, case id) whose reference mask an audit doubts."""


@dataclass(frozen=True)
class SplitFacts:
    """What a protocol's cells trained on: number of training cases, hash of the split."""

    n_train: int | None = None
    split_hash: str | None = None


@dataclass(frozen=True)
class CellFacts:
    """What the finished cells of a system and protocol record of themselves.

    Attributes:
        changes: what they do otherwise than the system's file says.
        epochs: epochs that the tested weights had trained, of every seed and fold.
        n_validation: validation cases that they looked at; None where that is not known.
    """

    changes: str = ""
    epochs: tuple[int, ...] = ()
    n_validation: int | None = None


def cell_facts(cells: Iterable[CellRecord]) -> dict[tuple[str, str], CellFacts]:
    """Collect them by system and protocol."""
    told: dict[tuple[str, str], CellFacts] = {}
    for cell in cells:
        if cell.is_done:
            known = told.get((cell.system, cell.protocol), CellFacts())
            texts = {known.changes, wording.changes_text(cell.changes)} - {""}
            told[cell.system, cell.protocol] = CellFacts(
                " | ".join(sorted(texts)),
                known.epochs + tuple(cell.tested_epochs),
                cell.n_validation,
            )
    return told


def leaderboard(
    rows: pd.DataFrame | pa.Table | Path | str | Sequence[Path | str],
    draws: int = intervals.DRAWS,
) -> pd.DataFrame:
    """Return the leaderboard of rows, wherever they come from.

    Args:
        rows: a frame or table with the columns of ``contract.rows.CASE_SCHEMA``, or the path (or
            paths) of ``cases.parquet``.
        draws: number of bootstrap draws.

    Returns:
        what ``build`` returns.

    Raises:
        DataError: if a file cannot be read, or a column is missing.
    """
    if isinstance(rows, pd.DataFrame | pa.Table):
        frame: pd.DataFrame = rows.to_pandas() if isinstance(rows, pa.Table) else rows
    else:
        paths = [rows] if isinstance(rows, Path | str) else rows
        frame = pd.concat([_read(Path(path)) for path in paths], ignore_index=True)
    missing = [name for name in CASE_SCHEMA.names if name not in frame.columns]
    if missing:
        raise DataError("rows", f"no column {', '.join(missing)}", "the columns of CASE_SCHEMA")
    for name in ("system", "protocol", "seed", "phantom"):
        if frame[name].isna().any():
            raise DataError(f"rows, column {name}", "an empty value", "a value in every row")
    told = frame["reduced"].eq(True)  # rows of a plain Trainer tell nothing of it
    return build(frame.assign(reduced=told), draws=draws)


def _read(path: Path) -> pd.DataFrame:
    try:
        frame: pd.DataFrame = pq.read_table(path).to_pandas()
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(path, str(error), "a cases.parquet", "name the file itself") from None
    return frame


def build(
    cases: pd.DataFrame | pa.Table,
    splits: Mapping[str, SplitFacts] | None = None,
    suspects: SuspectCases | None = None,
    draws: int = intervals.DRAWS,
    cells: Iterable[CellRecord] = (),
) -> pd.DataFrame:
    """Build the leaderboard.

    Args:
        cases: rows of ``cases.parquet`` of all cells.
        splits: by protocol, what its cells trained on.
        suspects: cases left out of the ``*_mean_clean`` columns; None: no audit was made, and
            these columns are null.
        draws: number of bootstrap draws.
        cells: records of the cells behind the rows; without them ``changes`` and
            ``tested_epoch_*`` are null.

    Returns:
        a frame with the columns of ``contract.rows.LEADERBOARD_SCHEMA``, tables in the order of
        protocol and structure, ranked rows first. Ranked, by mean Dice, are rows with a plain
        or automatic reference, scored by image or scan, on every case of their table; other rows
        have a null rank. ``lungs_and_heart``, the mean of a case's two, is a table of its own, and
        never ranked.
    """
    frame: pd.DataFrame = cases.to_pandas() if isinstance(cases, pa.Table) else cases
    means = class_means(frame)
    frame = pd.concat([frame, means], ignore_index=True) if len(means) else frame
    parts = [
        _one_table(dict(zip(TABLE_KEYS, keys, strict=True)), rows, suspects, draws)
        for keys, rows in frame.groupby(list(TABLE_KEYS), sort=True)
    ]
    if not parts:
        return _typed(LEADERBOARD_SCHEMA.empty_table())
    table = pd.concat(parts, ignore_index=True)
    split = {name: (splits or {}).get(name, SplitFacts()) for name in table["protocol"].unique()}
    table["n_train"] = [split[name].n_train for name in table["protocol"]]
    table["split_hash"] = [split[name].split_hash for name in table["protocol"]]
    table["label"] = list(map(wording.label, table["system"], table["reduced"]))
    told = cell_facts(cells)
    keys = zip(table["system"], table["protocol"], strict=True)
    of_rows = [told.get(key, CellFacts()) for key in keys]
    validated = [facts.n_validation for facts in of_rows]
    table["n_validation"] = pd.array(validated, dtype="Int64")
    table["n_labelled"] = table["n_train"].astype("Int64") + table["n_validation"]
    table["changes"] = [facts.changes or None for facts in of_rows]
    table["tested_epoch_min"] = [min(facts.epochs, default=None) for facts in of_rows]
    table["tested_epoch_max"] = [max(facts.epochs, default=None) for facts in of_rows]
    published = [reported.beside_row(row) for row in insights.records(table)]
    table["published_dice"] = [value.value if value else np.nan for value in published]
    table["published_source"] = [value.label if value else None for value in published]
    return _ordered(table)


def _dtype(kind: pa.DataType) -> pd.api.extensions.ExtensionDtype | None:
    return pd.Int64Dtype() if kind == pa.int64() else None


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    order = {name: place for place, name in enumerate(STRUCTURES)}
    table = table.assign(
        _structure=table["structure"].map(order).fillna(len(order)),
        _unranked=~table["reference"].isin(RANKED_REFERENCES),
    )
    tables = ["protocol", "phantom", "_structure", "_unranked", "reference", "unit"]
    table = table.sort_values(
        [*tables, "rank", "dice_mean", "system"],
        ascending=[*(True for _ in tables), True, False, True],
        ignore_index=True,
        na_position="last",
    )
    rows = pa.Table.from_pandas(
        table[list(LEADERBOARD_COLUMNS)], schema=LEADERBOARD_SCHEMA, preserve_index=False
    )
    return _typed(rows)


def _typed(rows: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = rows.to_pandas(types_mapper=_dtype)
    return frame


def _one_table(
    keys: dict[str, Any], rows: pd.DataFrame, suspects: SuspectCases | None, draws: int
) -> pd.DataFrame:
    """The rows of one table: one protocol, structure, reference and unit."""
    scored = rows[~rows["empty_reference"]] if keys["unit"] == "slice" else rows
    if scored.empty:
        where = f"protocol {keys['protocol']}, structure {keys['structure']}"
        raise DataError(where, "no slice with the structure in it", "at least one")
    scores = intervals.arrange(scored, METRICS)
    systems = pd.Index(scores.systems, name="system")
    reduced = rows.groupby("system")["reduced"].any().reindex(scores.systems)
    columns: dict[str, Any] = {"system": list(scores.systems), **keys, "reduced": list(reduced)}
    columns |= _metric_columns(scores, suspects, draws)
    columns |= _counts(scores, scored, systems)
    columns |= _slice_columns(rows, systems, keys["unit"])
    table = pd.DataFrame(columns)
    table["rank"] = _ranks(table, keys, len(scores.cases))
    return table.reset_index(drop=True)


def _metric_columns(
    scores: intervals.Scores, suspects: SuspectCases | None, draws: int
) -> dict[str, Any]:
    summary = intervals.summarise(scores, draws)
    clean = np.full(summary.mean.shape, np.nan)
    n_clean: Any = None
    if suspects is not None:
        doubted = set(suspects)
        pairs = zip(scores.cases["test_on"], scores.cases["case_id"], strict=True)
        kept = np.array([pair not in doubted for pair in pairs])
        clean = intervals.nan_mean(scores.case_values[:, kept], axis=1)
        n_clean = (~np.isnan(scores.case_values[:, kept, METRICS.index("dice")])).sum(axis=1)
    columns: dict[str, Any] = {"n_cases_clean": n_clean}
    for place, metric in enumerate(METRICS):
        for statistic in STATISTICS:
            values = clean if statistic == "mean_clean" else getattr(summary, statistic)
            columns[f"{metric}_{statistic}"] = values[:, place]
    return columns


def _counts(scores: intervals.Scores, scored: pd.DataFrame, systems: pd.Index) -> dict[str, Any]:
    dice = np.round(scores.case_values[..., METRICS.index("dice")], 12)
    present = ~np.isnan(dice)
    failed = scored[scored["empty_prediction"] != scored["empty_reference"]]
    failed = failed.drop_duplicates(["system", *intervals.CASE_KEY])
    return {
        "n_cases": present.sum(axis=1),
        "n_patients": np.logical_or.reduceat(present, scores.first_of_patient, axis=1).sum(axis=1),
        "n_seeds": scores.n_seeds,
        "n_failed": _per_system(failed.groupby("system").size(), systems, 0),
        "n_below_90": (dice < 0.9).sum(axis=1),
        "n_below_80": (dice < 0.8).sum(axis=1),
    }


def _slice_columns(rows: pd.DataFrame, systems: pd.Index, unit: str) -> dict[str, Any]:
    """What all slices say, lung-free ones too, and in what share of these something was found."""
    if unit != "slice":
        names = [f"{metric}_{name}_all_slices" for metric in ALL_SLICES for name in ALL_STATISTICS]
        return dict.fromkeys((*names, FALSE_POSITIVES), np.nan)
    everything = intervals.arrange(rows, ALL_SLICES)
    columns: dict[str, Any] = {}
    for place, metric in enumerate(ALL_SLICES):
        # A system a column, so that what is undefined is passed over without a warning.
        values = pd.DataFrame(everything.case_values[..., place].T, columns=everything.systems)
        for name in ALL_STATISTICS:
            column = _per_system(values.agg(name), systems, np.nan)
            columns[f"{metric}_{name}_all_slices"] = column
    free = rows[rows["empty_reference"]]
    found = (~free["empty_prediction"].astype(bool)).groupby(free["system"]).mean()
    columns[FALSE_POSITIVES] = _per_system(found, systems, np.nan)
    return columns


def _per_system(values: pd.Series, systems: pd.Index, absent: float) -> pd.Series:
    return values.reindex(systems).fillna(absent).reset_index(drop=True)


def _ranks(table: pd.DataFrame, keys: dict[str, Any], n_cases: int) -> pd.Series:
    ranks = pd.Series(pd.NA, index=table.index, dtype="Int64")
    ranked = keys["reference"] in RANKED_REFERENCES and keys["unit"] in RANKED_UNITS
    if ranked and keys["structure"] in STRUCTURES:
        whole = table["n_cases"] == n_cases
        ranks[whole] = intervals.min_ranks(table.loc[whole, "dice_mean"].to_numpy())
    return ranks

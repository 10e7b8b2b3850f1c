"""A leaderboard's folder as one W&B run: tables, figures and an artifact of all files.

Pictures of patients stay behind unless they are asked for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import wandb

from contract.rows import LEADERBOARD_SCHEMA, RANKED_REFERENCES, RANKED_UNITS, TABLE_KEYS
from leaderboards.page.html import PAGE_TO_SHARE
from leaderboards.writers import PAGE

MAX_ROWS = 10_000
"""W&B shows no more rows of a table."""

CASE_METRICS = ("dice", "iou", "nsd", "hausdorff95_px", "assd_px")
CASE_KEYS = (*TABLE_KEYS, "system", "test_on", "case_id", "scan_id", "slice_index")
OWN = ("wandb", "published.json")
"""What publishing itself keeps in the leaderboard's folder."""


def files_of(folder: Path) -> list[Path]:
    """Return the files of a leaderboard that are published, sorted.

    Of its two pages, with pictures of films and without, one is published under one name.

    Args:
        folder: ``<runs>/<suite>/leaderboard``.
    """
    hidden = {*OWN, PAGE_TO_SHARE}
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.relative_to(folder).parts[0] not in hidden
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def page_of(folder: Path, with_pictures: bool) -> str:
    """Return the HTML page.

    Args:
        folder: ``<runs>/<suite>/leaderboard``.
        with_pictures: whether it may show films.
    """
    without = folder / PAGE_TO_SHARE  # there only where the page shows real films
    path = folder / PAGE if with_pictures or not without.is_file() else without
    return path.read_text("utf-8")


def content_digest(folder: Path, files: Sequence[Path]) -> str:
    """Return a digest of the files' names and contents."""
    total = hashlib.blake2b(digest_size=16)
    for path in files:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(json.dumps([path.relative_to(folder).as_posix(), content]).encode())
    return total.hexdigest()


def leaderboard_rows(folder: Path) -> pd.DataFrame:
    """Return ``leaderboard.csv``, names as text and undefined values as None."""
    text = [field.name for field in LEADERBOARD_SCHEMA if pa.types.is_string(field.type)]
    frame = pd.read_csv(
        folder / "leaderboard.csv",
        dtype=dict.fromkeys(text, str),
        keep_default_na=False,
        na_values=[""],
    )
    return _without_nan(frame.dropna(axis="columns", how="all"))


def shown_cases(folder: Path, most: int = MAX_ROWS) -> tuple[pd.DataFrame, int]:
    """Return one row a case, table and system, its metrics averaged over seeds.

    Where there are more than ``most``, each system keeps an even share of its cases in each
    table, evenly spaced in the order of Dice, so that the distributions stay what they are.
    Patients' ids and attributes are left out.

    Args:
        folder: ``<runs>/<suite>/leaderboard``.
        most: rows at most, as long as one a system and table fits.

    Returns:
        the rows, and how many there were before the thinning.
    """
    rows = pq.read_table(folder / "cases.parquet", columns=[*CASE_KEYS, "seed", *CASE_METRICS])
    of_seeds = rows.to_pandas().groupby(list(CASE_KEYS), dropna=False, sort=True)
    cases = of_seeds[list(CASE_METRICS)].mean()
    cases["n_seeds"] = of_seeds["seed"].nunique()
    cases = cases.reset_index()
    total = len(cases)
    if total > most:
        groups = [*TABLE_KEYS, "system"]
        by_dice = cases.sort_values([*groups, "dice", "case_id"])
        share = max(1, most // by_dice.groupby(groups, dropna=False).ngroups)
        place = by_dice.groupby(groups, dropna=False).cumcount()
        size = by_dice.groupby(groups, dropna=False)["dice"].transform("size").clip(lower=1)
        step = (size / share).clip(lower=1)
        cases = by_dice[(place // step).diff().ne(0) | place.eq(0)].sort_index()
    return _without_nan(cases.dropna(axis="columns", how="all")), total


def _without_nan(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype(object).where(frame.notna(), None)


def leaders(table: pd.DataFrame) -> dict[str, Any]:
    """Return the first system of each ranked table and its mean Dice, for the run's summary."""
    told: dict[str, Any] = {}
    ranked = table[table["reference"].isin(RANKED_REFERENCES) & table["unit"].isin(RANKED_UNITS)]
    for row in ranked[ranked.get("rank", pd.Series(dtype=object)) == 1].to_dict("records"):
        name = f"{row['protocol']}/{row['structure']}"
        told[f"first/{name}/system"] = row["system"]
        told[f"first/{name}/dice_mean"] = row["dice_mean"]
    return told


def send(
    run: wandb.Run,
    folder: Path,
    cells: pd.DataFrame,
    aliases: Sequence[str],
    facts: Mapping[str, Any],
    with_pictures: bool = False,
) -> None:
    """Put a leaderboard into an open run.

    Args:
        run: the run.
        folder: ``<runs>/<suite>/leaderboard``.
        cells: a row a cell, with its run's id and address.
        aliases: names of this version of the artifact, beside ``latest``.
        facts: what run and artifact say of the measurement.
        with_pictures: whether pictures of films go along.
    """
    files = files_of(folder)
    page = page_of(folder, with_pictures)
    table, (cases, total) = leaderboard_rows(folder), shown_cases(folder)
    figures = {path.stem: path.read_text("utf-8") for path in files if path.suffix == ".svg"}
    run.log(
        {
            "leaderboard": _table(table),
            "cases": _table(cases),
            "cells": _table(_without_nan(cells)),
            "page": _html(page),
            **{f"figures/{name}": _html(drawing) for name, drawing in figures.items()},
        }
    )
    run.summary.update(leaders(table) | {"cases_total": total, "cases_shown": len(cases)})
    artifact = wandb.Artifact("leaderboard", type="leaderboard", metadata=dict(facts))
    for path in files:
        if path.name == PAGE:
            with artifact.new_file(PAGE, encoding="utf-8") as file:
                file.write(page)
        else:
            artifact.add_file(str(path), path.relative_to(folder).as_posix())
    run.log_artifact(artifact, aliases=list(dict.fromkeys(["latest", *aliases])))


def _html(text: str) -> wandb.Html:
    return wandb.Html(text, inject=False, data_is_not_path=True)


def _table(frame: pd.DataFrame) -> wandb.Table:
    return wandb.Table(columns=list(frame.columns), data=frame.to_numpy(), allow_mixed_types=True)

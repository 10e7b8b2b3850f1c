"""A suite's folder in, its leaderboard out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from contract.cell_record import CellKey, CellRecord
from contract.errors import DataError
from leaderboards.collect import collect
from leaderboards.markdown import Meta
from leaderboards.page.galleries import Album, read_galleries
from leaderboards.recipes import read_recipes
from leaderboards.statistics import intervals
from leaderboards.tables import SplitFacts, SuspectCases, build
from leaderboards.writers import write


def build_leaderboard(
    suite_folder: Path,
    *,
    protocols: Mapping[str, str] | None = None,
    suspects: SuspectCases | None = None,
    current: Mapping[CellKey, str] | None = None,
    planned: Iterable[CellRecord] = (),
    draws: int = intervals.DRAWS,
    gallery: bool = True,
    tell: Callable[[str], None] = warnings.warn,
) -> Path:
    """Collect a suite's cells, rank them and write the leaderboard.

    Args:
        suite_folder: ``<runs>/<suite>``.
        protocols: description by protocol, in the order of the page.
        suspects: (data set, case id) pairs whose reference mask an audit doubts.
        current: configuration hash of each cell as composed today; others are stale.
        planned: a record of each cell that the suite has; those without a folder are counted, and
            stand among the cells without a result.
        draws: number of bootstrap draws.
        gallery: whether the page shows the pictures that the cells kept.
        tell: is told of each cell, and gallery, whose files are faulty, in words.

    Returns:
        ``<runs>/<suite>/leaderboard``.

    Raises:
        UserError: the folder holds no cells.
        DataError: cells of one protocol used different splits.
    """
    cases, cells = collect(suite_folder, current, tell)
    splits = protocol_splits(suite_folder, cells)
    table = build(cases, splits, suspects, draws, cells)
    recipes = read_recipes(suite_folder, cells, tell)
    known = {cell.key for cell in cells}
    cells += [record for record in planned if record.key not in known]
    meta = Meta(suite_folder.name, tuple(cells), protocols or {}, draws, recipes)
    album = read_galleries(suite_folder, cells, tell) if gallery else Album(refused=True)
    return write(suite_folder / "leaderboard", cases, table, meta, album)


def protocol_splits(where: Path, cells: Iterable[CellRecord]) -> dict[str, SplitFacts]:
    """What each protocol's finished cells trained on.

    Protocols whose split follows the seed (few-shot draws) have several hashes, joined by
    ``+`` in the order of the seeds.

    Raises:
        DataError: two systems of one protocol and seed used different splits.
    """
    seen: dict[str, dict[int, CellRecord]] = {}
    done = [cell for cell in cells if cell.state == "done"]
    # What trained a system from elsewhere is not known: cells trained here speak first.
    for cell in sorted(done, key=lambda c: (c.external is not None, c.seed, c.system)):
        other = seen.setdefault(cell.protocol, {}).setdefault(cell.seed, cell)
        n_train = other.n_train if cell.external is not None else cell.n_train
        if (n_train, cell.split_hash) != (other.n_train, other.split_hash):
            found = f"{cell.protocol}: {cell.system} and {other.system} trained on different splits"
            todo = "run the suite again, or delete the folder of the outdated cell"
            raise DataError(where, found, "one split for all systems", todo)
    return {
        protocol: _joined([by_seed[seed] for seed in sorted(by_seed)])
        for protocol, by_seed in seen.items()
    }


def _joined(cells: list[CellRecord]) -> SplitFacts:
    hashes = dict.fromkeys(cell.split_hash for cell in cells if cell.split_hash)
    counts = [cell.n_train for cell in cells if cell.external is None]
    return SplitFacts(counts[0] if counts else None, "+".join(hashes) or None)

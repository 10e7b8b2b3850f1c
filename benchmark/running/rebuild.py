"""What a runs folder knows of itself: its suites, their data, and leaderboards from rows alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmark.planning.library import Suite, known_names, load_settings, load_suite
from benchmark.progress import say, shown
from contract.cell_folder import CELLS, cells_of, has_cells, suite_folders
from contract.errors import UserError
from contract.yaml_files import read_yaml

FIRST_SUITE = "smoke"
"""The suite that commands mean where nothing else tells."""


def suites_below(runs: Path, file: str = CELLS) -> list[str]:
    """Return the suites below a runs folder that hold a file or folder.

    Raises:
        UserError: if there is none.
    """
    found = sorted(path.parents[len(Path(file).parts) - 1].name for path in runs.glob(f"*/{file}"))
    if not found:
        todo = "run a suite, or name another --runs"
        raise UserError(runs, f"no suite with {file}", f"<runs>/<suite>/{file}", todo)
    return found


def recorded_root(folder: Path) -> Path | None:
    """Return the data root that a suite's cells were run on, where it still exists.

    Args:
        folder: ``<runs>/<suite>``.
    """
    roots = (Path(data["root"]) for data in _recorded_data(folder))
    return next((root for root in roots if root.is_dir()), None)


def _recorded_data(folder: Path) -> Iterator[dict[str, Any]]:
    """Give what one cell of each protocol says of its data; damaged configs are passed over."""
    seen = set()
    for cell in cells_of(folder):
        if cell.key[1] in seen:
            continue
        try:
            data = read_yaml(cell.config)["data"]["init_args"]
            _ = Path(data["root"]).exists(), {name.upper() for name in data["protocol"]["test"]}
        except (UserError, OSError, ValueError, TypeError, LookupError, AttributeError):
            continue
        seen.add(cell.key[1])
        yield data


def suite_of(name: str, runs: Path) -> Suite:
    """Return a suite; of one whose YAML file is a user's own, what its folder's name says.

    Raises:
        UserError: if there is neither such a suite nor such a folder.
    """
    if name not in known_names("suites") and has_cells(runs / name):
        return Suite(name, name, ())
    return load_suite(name)


def home_of(protocol: str, runs: Path) -> str:
    """Return the suite that masks of a protocol's test cases join where none is named.

    It is the one below the runs folder with cells of the protocol; without any, the project's first
    suite that holds the protocol, ``FIRST_SUITE`` before others.

    Raises:
        UserError: if several below the runs folder have such cells, or no suite holds it.
    """
    below = [folder.name for folder in suite_folders(runs, protocol)]
    if len(below) > 1:
        raise UserError("--suite", f"{protocol} in {', '.join(below)}", "one of them", "name it")
    if below:
        return below[0]
    for suite in dict.fromkeys((FIRST_SUITE, *known_names("suites"))):
        if protocol in load_suite(suite).protocols:
            return suite
    known = ", ".join(known_names("protocols"))
    raise UserError("--protocol", repr(protocol), f"one of {known}", "or name --suite")


def rebuild(
    folder: Path, runs: Path, gallery: bool = True, tell: Callable[[str], None] = say
) -> Path:
    """Build a suite's leaderboard from the rows that its cells left, whatever the suite is today.

    Args:
        folder: ``<runs>/<suite>``.
        runs: the runs folder, whose cache remembers the audit of reference masks.
        gallery: whether the page shows films.
        tell: is told of each cell, and gallery, whose files are faulty, in words.

    Returns:
        The leaderboard's folder.

    Raises:
        DataError: if cells of one protocol used different splits.
    """
    from leaderboards.board import build_leaderboard

    own = set(known_names("protocols"))
    ran = {cell.key[1] for cell in cells_of(folder)}
    titles = {
        name: load_settings("protocols", name).get("title", name) for name in sorted(ran & own)
    }
    doubted = _suspects(folder, runs)
    return build_leaderboard(folder, protocols=titles, suspects=doubted, gallery=gallery, tell=tell)


def _suspects(folder: Path, runs: Path) -> set[tuple[str, str]] | None:
    """Audit the recorded test sets' masks; None where they are not here any more."""
    from datamodules.checks.audit import suspects
    from datamodules.sources import open_source

    tested = {(name, data["root"]) for data in _recorded_data(folder)
              for name in data["protocol"]["test"]}  # fmt: skip
    try:
        sources = [open_source(name, Path(root)) for name, root in sorted(tested)]
        return suspects(sources, runs / "cache", shown) if sources else None
    except UserError as error:
        say(f"no audit of reference masks, so no `clean` columns: {error}")
        return None

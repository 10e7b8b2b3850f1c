"""The commands ``data check``, ``data audit`` and ``data phantoms``."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.commands.arguments import Commands, add_command
from contract.errors import MissingDataError, UserError

if TYPE_CHECKING:
    from datamodules.checks.integrity import Report
    from datamodules.protocol import Protocol
    from datamodules.sources import Source

SHOWN_PROBLEMS = 20
"""Further problems of a data set are only counted; ``--json`` lists all."""


def add(commands: Commands) -> None:
    """Add ``data`` with ``check``, ``audit`` and ``phantoms``."""
    data = add_command(commands, "data", "look after data sets", run_data_command)
    subparsers = data.add_subparsers(dest="data_command", required=True, metavar="what")
    root = argparse.ArgumentParser(add_help=False)
    root.add_argument(
        "--data-root", type=Path, required=True,
        help="folder that holds MontgomerySet/, ChinaSet_AllFiles/ …",
    )  # fmt: skip
    root.add_argument(
        "--dataset", nargs="+", action="extend", metavar="NAME", dest="datasets",
        help="data sets by name, or YAML files of your own [all official ones]",
    )  # fmt: skip
    text = "read every file and report what would make a benchmark wrong (exit code 1 then)"
    parser = subparsers.add_parser("check", help=text, description=text, parents=[root])
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    text = "list suspect reference masks as a table and as contact sheets"
    parser = subparsers.add_parser("audit", help=text, description=text, parents=[root])
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    text = "write small synthetic sets in official layouts"
    parser = subparsers.add_parser("phantoms", help=text, description=text)
    parser.add_argument("--out", type=Path, required=True, help="the data root to write")


def run_data_command(given: argparse.Namespace, extra: Sequence[str] = ()) -> int:
    """Run one of the commands and return its exit code.

    Raises:
        UserError: if the data root or a data set's name is wrong, or audited data is damaged.
    """
    if given.data_command == "phantoms":
        from datamodules.phantoms import write_ct_phantoms, write_phantoms

        write_phantoms(given.out)
        write_ct_phantoms(given.out)
        return 0
    if not given.data_root.is_dir():
        raise UserError(given.data_root, "no such folder", "a data root", "check --data-root")
    if given.data_command == "check":
        return _check(given.data_root, given.datasets, given.json)
    return _audit(given.data_root, given.datasets, given.out)


def _check(root: Path, datasets: Sequence[str] | None, as_json: bool) -> int:
    from benchmark.progress import shown
    from datamodules.checks.integrity import check
    from datamodules.digests import no_progress

    reports = check(root, datasets, _protocols(), no_progress if as_json else shown)
    if as_json:
        print(json.dumps([report.as_object() for report in reports], indent=1))
    else:
        _print(root, reports)
    usable = any(report.present for report in reports)
    return 0 if usable and all(report.sound for report in reports) else 1


def _protocols() -> dict[str, Protocol]:
    """Return all protocols that come with the benchmark, by name."""
    from benchmark.planning.compose import without_description
    from benchmark.planning.library import load_settings
    from datamodules.protocol import Protocol

    folder = Path(__file__).parents[1] / "protocols"
    loaded = [load_settings("protocols", path.stem) for path in sorted(folder.glob("*.yaml"))]
    return {settings["name"]: Protocol(**without_description(settings)) for settings in loaded}


def _print(root: Path, reports: Sequence[Report]) -> None:
    from rich.table import Table

    from benchmark.progress import console, say

    table = Table(title=f"data below {root}", title_justify="left")
    table.add_column("data set", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for column in ("images", "masks", "problems"):
        table.add_column(column, no_wrap=True, justify="right")
    for report in reports:
        state = "sound" if report.sound else "FAULTY"
        state = (state if report.present else "absent") + (" (PHANTOM)" if report.phantom else "")
        table.add_row(
            report.dataset,
            state,
            f"{report.images} of {report.images_expected}",
            f"{report.masks} of {report.masks_expected}",
            str(sum(problem.kind != "absent" for problem in report.problems)),
        )
    console.print(table)
    for report in reports:
        for problem in report.problems[:SHOWN_PROBLEMS]:
            say(f"{report.dataset}: {problem.kind}: {problem}")
        if len(report.problems) > SHOWN_PROBLEMS:
            kinds = Counter(problem.kind for problem in report.problems[SHOWN_PROBLEMS:])
            told = ", ".join(f"{number} {kind}" for kind, number in kinds.items())
            say(f"{report.dataset}: and further {told}; --json lists all")


def _audit(root: Path, datasets: Sequence[str] | None, out: Path) -> int:
    from rich.table import Table

    from benchmark.progress import console, say, shown
    from datamodules.checks.audit import FINDINGS, audit, write_audit
    from datamodules.checks.contact_sheets import write_contact_sheets

    sources = _present_sources(root, datasets)
    rows = audit(sources, progress=shown)
    write_audit(rows, out / "audit.csv")
    table = Table(title=f"reference masks below {root}", title_justify="left")
    for column in ("data set", "masks", *FINDINGS, "suspect"):
        table.add_column(column, no_wrap=True, justify="left" if column == "data set" else "right")
    for source in sources:
        write_contact_sheets(source, rows, out / "sheets")
        own = [row for row in rows if row.dataset == source.name]
        found = Counter(finding for row in own for finding in row.findings)
        counts = [len(own), *(found[name] for name in FINDINGS), sum(row.suspect for row in own)]
        name = source.name + (" (PHANTOM)" if source.phantom is not None else "")
        table.add_row(name, *map(str, counts))
    console.print(table)
    say(f"a line a mask: {out / 'audit.csv'}; pictures: {out / 'sheets'}")
    return 0


def _present_sources(root: Path, datasets: Sequence[str] | None) -> list[Source]:
    """Return the readers asked for, or those of all official data sets that are present."""
    from benchmark.progress import say
    from datamodules.sources import SOURCES, open_source

    if datasets:
        sources = [open_source(name, root) for name in datasets]
        for source in sources:
            if source.unit != "image":
                raise UserError("--dataset", source.name, "chest X-ray sets: CT is not audited")
        return sources
    present = []
    for name in SOURCES:
        source = open_source(name, root)
        try:
            source.require_folder()
        except MissingDataError as error:
            say(f"{name}: absent: {error}")
            continue
        present.append(source)
    if not present:
        raise MissingDataError(root, "no data set", f"one of {', '.join(sorted(SOURCES))}")
    return present

"""The command ``data``: ``check``, ``fetch``, ``audit``, ``splits`` and ``phantoms``."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.commands.arguments import Commands, add_command, plain_path, whole_number
from benchmark.commands.fetching import add_fetch, run_fetch
from contract.errors import MissingDataError, UserError
from contract.files import folder_to_write

if TYPE_CHECKING:
    from datamodules.checks.integrity import Report
    from datamodules.protocol import Protocol
    from datamodules.sources import Source

DATA_ROOT = "folder that holds MontgomerySet/, ChinaSet_AllFiles/ …"

SHOWN_PROBLEMS = 20
"""Further problems of a data set are only counted; ``--json`` lists all."""


def add(commands: Commands) -> None:
    """Add ``data`` with ``check``, ``fetch``, ``audit``, ``splits`` and ``phantoms``."""
    data = add_command(commands, "data", "look after data sets", run_data_command)
    subparsers = data.add_subparsers(dest="data_command", required=True, metavar="what")
    text = "read every file and report what would make a benchmark wrong (exit code 1 then)"
    parser = subparsers.add_parser("check", help=text, description=text)
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--data-root", type=plain_path, help=f"{DATA_ROOT}; own YAML files need none beside them"
    )
    what.add_argument(
        "--cache", action="store_true",
        help="check the decoded films in the runs folder instead: read them whole and compare them "
        "with the checksums of when they were written; a run builds damaged ones anew by itself",
    )  # fmt: skip
    _add_datasets(parser)
    parser.add_argument(
        "--runs", type=plain_path, default=Path("runs"), help="the runs folder, for --cache [runs]"
    )
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    add_fetch(subparsers, DATA_ROOT)
    text = "list suspect reference masks as a table and as contact sheets"
    parser = subparsers.add_parser("audit", help=text, description=text)
    parser.add_argument("--data-root", type=plain_path, required=True, help=DATA_ROOT)
    _add_datasets(parser)
    parser.add_argument("--out", metavar="FOLDER", required=True, help="the folder to write")
    text = (
        "write which cases a protocol trains, validates and tests on, a fold each: as CSV, and as "
    )
    text += "nnU-Net's splits_final.json; both may be a protocol's `lists`"
    parser = subparsers.add_parser("splits", help=text, description=text)
    parser.add_argument("--data-root", type=Path, required=True, help=DATA_ROOT)
    parser.add_argument(
        "--protocol", required=True, metavar="NAME", help="a protocol's name or YAML file"
    )
    parser.add_argument(
        "--seed",
        type=whole_number(0),
        default=0,
        help="the cells' seed, which may choose a draw [0]",
    )
    parser.add_argument("--out", metavar="FOLDER", required=True, help="the folder to write")
    text = "write small synthetic sets in official layouts"
    parser = subparsers.add_parser("phantoms", help=text, description=text)
    parser.add_argument("--out", metavar="FOLDER", required=True, help="the data root to write")


def _add_datasets(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dataset", nargs="+", action="extend", metavar="NAME", dest="datasets",
        help="data sets by name, or YAML files of your own [all official ones]",
    )  # fmt: skip


def run_data_command(given: argparse.Namespace, extra: Sequence[str] = ()) -> int:
    """Run one of the commands and return its exit code.

    Raises:
        UserError: if the data root or a data set's name is wrong, the folder to write cannot be
            written, or audited data is damaged.
    """
    if "out" in given:
        given.out = folder_to_write("--out", given.out)
    if given.data_command == "phantoms":
        from datamodules.phantoms import write_ct_phantoms, write_phantoms

        write_phantoms(given.out)
        write_ct_phantoms(given.out)
        return 0
    if given.data_command == "fetch":
        return run_fetch(given, _check)
    if given.data_command == "check" and given.cache:
        if given.datasets:
            raise UserError("--dataset", "it beside --cache", "one of both", "leave it out")
        return _check_caches(given.runs, given.json)
    if given.data_root is None:
        own = [name for name in given.datasets or () if name.endswith((".yaml", ".yml"))]
        if not own or len(own) < len(given.datasets):
            expected = "a folder of data sets; or --cache; or --dataset with YAML files alone"
            raise UserError("--data-root", "it missing", expected, "name the folder")
        given.data_root = Path(own[0]).parent
    if not given.data_root.is_dir():
        raise UserError(given.data_root, "no such folder", "a data root", "check --data-root")
    if given.data_command == "check":
        return _check(given.data_root, given.datasets, given.json)
    if given.data_command == "splits":
        return _splits(given.data_root, given.protocol, given.seed, given.out)
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


def _check_caches(runs: Path, as_json: bool) -> int:
    from rich.table import Table

    from benchmark.progress import say, shown
    from benchmark.terminal import console
    from datamodules.checks.caches import check_caches
    from datamodules.digests import no_progress

    if not runs.is_dir():
        raise UserError(runs, "no such folder", "a runs folder", "check --runs")
    reports = check_caches(runs / "cache", no_progress if as_json else shown)
    damaged = [report for report in reports if report.damage]
    if as_json:
        print(json.dumps([report.as_object() for report in reports], indent=1))
        return 1 if damaged else 0
    table = Table(title=f"decoded films below {runs / 'cache'}", title_justify="left")
    for column, justify in (("cache", "left"), ("MB", "right"), ("state", "left")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for report in reports:
        state = f"DAMAGED: {report.damage}" if report.damage else "sound"
        table.add_row(report.cache, f"{report.bytes / 1e6:.1f}", state)
    console.print(table)
    if damaged:
        say(f"{len(damaged)} of {len(reports)} damaged; the next run that needs them builds them "
            "anew by itself")  # fmt: skip
    return 1 if damaged else 0


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

    from benchmark.terminal import console

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
        _print_problems(report)


def _print_problems(report: Report) -> None:
    """Print a line a kind that one way of saving gives to many files, and a line for the others."""
    from benchmark.progress import say
    from datamodules.checks.problems import SYSTEMATIC

    single = [problem for problem in report.problems if problem.kind not in SYSTEMATIC]
    of_kinds = Counter(problem.kind for problem in report.problems if problem.kind in SYSTEMATIC)
    for kind, number in of_kinds.items():
        example = next(problem for problem in report.problems if problem.kind == kind)
        told = f"{number} files, such as {example}" if number > 1 else str(example)
        say(f"{report.dataset}: {kind}: {told}")
    for problem in single[:SHOWN_PROBLEMS]:
        say(f"{report.dataset}: {problem.kind}: {problem}")
    if len(single) > SHOWN_PROBLEMS:
        kinds = Counter(problem.kind for problem in single[SHOWN_PROBLEMS:])
        counted = ", ".join(f"{number} {kind}" for kind, number in kinds.items())
        say(f"{report.dataset}: and further {counted}; --json lists all")


def _audit(root: Path, datasets: Sequence[str] | None, out: Path) -> int:
    from rich.table import Table

    from benchmark.progress import say, shown
    from benchmark.terminal import console
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


def _splits(root: Path, name: str, seed: int, out: Path) -> int:
    from benchmark.planning.compose import without_description
    from benchmark.planning.library import load_settings
    from benchmark.progress import say
    from datamodules.case_lists import LISTED_SIDES, write_case_lists
    from datamodules.grounding import ground_divided

    settings = load_settings("protocols", name)
    divided = ground_divided(without_description(settings), Path(settings["folder"]), root)
    splits = divided.splits(seed)
    write_case_lists(
        out, [{side: getattr(split, side) for side in LISTED_SIDES} for split in splits]
    )
    for number, split in enumerate(splits):
        counts = ", ".join(f"{len(getattr(split, side))} {side}" for side in LISTED_SIDES)
        say(f"{settings['name']}, fold {number}: {counts}")
    say(f"written: {out / 'cases.csv'} and {out / 'splits_final.json'}")
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

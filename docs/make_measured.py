"""Writes docs/quick.md and docs/zoo.md from their suites' folders.

    python docs/make_measured.py --runs runs

takes what lies below the runs folder of these suites: records, configs, rows and the leaderboard.
Every number of the pages is one of those; what a person wrote stands in ``ABOUT``, without any.
Last on each page stands its digest, so that a number changed by hand is noticed.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.planning.library import load_suite
from contract.cell_folder import recorded_cells_of
from contract.cell_record import CellRecord
from leaderboards.markdown import FLOOR, Meta
from leaderboards.products import faults
from leaderboards.recipes import Recipe, read_recipes
from leaderboards.statistics.comparisons import PRACTICALLY_EQUAL
from leaderboards.texts import escape, grid
from leaderboards.wording import changes_text, labelled

HERE = Path(__file__).parent
CAVEAT = """\
The films were copies, reduced and squashed to a square, so that distances are in pixels of that
grid. Wall times were taken while the machine did other work, and say little of it."""
ABOUT = {
    "quick": f"""\
The recipe of `unet` (normalisation, augmentation, input size, epochs) was adjusted over several
trial runs whose Montgomery → Shenzhen test scores were seen, so its rows are a demonstration of
the pipeline, not an untouched test.

{CAVEAT}""",
    "zoo": f"""\
Networks are a fraction of their papers' width, trained on small pictures for a few epochs, most
with the same learning rate: this shows that every system trains, ends and is scored, and says
**nothing** about which of them is best at the size and schedule of its paper.

{CAVEAT}""",
}
"""What numbers cannot say, by suite; there is none in it."""
MOST_SHARED = 6
LARGEST_FALLS = 3
DIGEST = re.compile(r"<!-- written by docs/make_\w+\.py; digest (\w+) -->\n\Z")


class Measured:
    """What lies in a suite's folder.

    Args:
        folder: ``<runs>/<suite>``.

    Raises:
        SystemExit: cells are missing, or the leaderboard is not of their rows.
    """

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        found = {cell.key: cell.record for cell in recorded_cells_of(folder)}
        board = folder / "leaderboard"
        doubts = faults(board, {key: record if record.is_done else None
                                for key, record in found.items()})  # fmt: skip
        if not found or doubts:
            said = "; ".join(doubts) or "no cells"
            sys.exit(f"{folder}: {said}; run the suite, or `lungbench leaderboard --runs …`")
        self.cells: list[CellRecord] = list(found.values())
        self.done = [cell for cell in self.cells if cell.is_done]
        self.recipes = read_recipes(folder, self.done)
        self.table = pd.read_parquet(board / "leaderboard.parquet")
        self.rows = pd.read_parquet(board / "cases.parquet")
        self.added = pd.read_csv(board / "critics.csv")
        self.board = (board / "leaderboard.md").read_text("utf-8")

    @property
    def lungs(self) -> dict[str, pd.DataFrame]:
        """The ranked rows of the lungs, the first first, by protocol."""
        own = self.table[(self.table["structure"] == "lungs") & self.table["rank"].notna()]
        order = load_suite(self.name).protocols
        return {name: own[own["protocol"] == name].sort_values("rank", kind="stable")
                for name in order if (own["protocol"] == name).any()}  # fmt: skip

    @property
    def meta(self) -> Meta:
        """What surrounds the numbers; titles as the cells recorded them, in the suite's order."""
        titles = {recipe.protocol: _title(recipe) for recipe in self.recipes}
        order = load_suite(self.name).protocols
        shown = {name: titles[name] for name in order if name in titles}
        return Meta(self.name, self.cells, shown, recipes=self.recipes)


def facts(suite: Measured) -> list[tuple[str, str]]:
    """Return how a suite was measured, name by name."""
    protocols = list(suite.lungs)
    systems = {cell.system for cell in suite.cells}
    seeds = sorted({cell.seed for cell in suite.cells})
    trained = [cell for cell in suite.done if cell.external is None]  # on devices that are known
    threads = {(cell.processes or 0, cell.threads or 0) for cell in trained}
    longest = max(suite.done, key=lambda cell: cell.wall_s or 0)
    first = min(cell.started or 0 for cell in suite.done)
    last = max(cell.finished or 0 for cell in suite.done)
    spent = sum(cell.wall_s or 0 for cell in suite.done)
    settings = [recipe.config for recipe in suite.recipes if recipe.system != FLOOR]
    return [
        ("command", f"`make benchmark SUITE={suite.name} DATA_ROOT=/your/data`"),
        ("when", f"{_moment(first)} to {_moment(last)} UTC"),
        ("commit", _listed(sorted({cell.commit or "not recorded" for cell in suite.done}))),
        ("device", f"{_listed(sorted({cell.device or '' for cell in trained}))}, "
                   + _listed(f"{p} process(es) of {t} thread(s) a cell" for p, t in sorted(threads))
                   + f", {_at_once(suite.done)} cells at a time at most"),
        ("time", f"{_minutes(last - first)} from the first start to the last end, "
                 f"{_minutes(spent)} of all cells together; the longest took "
                 f"{_minutes(longest.wall_s or 0)}, {longest.system}"),
        ("cells", f"{len(suite.done)} of {len(suite.cells)} done; systems: {len(systems)}; "
                  f"protocols: {_listed(protocols)}; seeds: {_listed(map(str, seeds))}"),
        *((f"data of {name}", _data(suite, name)) for name in protocols),
        ("input", _counted(_at(one, "data", "preprocessing", "size") for one in settings)
                  + " pixels a side"),
        ("batch", _counted(_at(one, "data", "batch_size") for one in settings)),
        ("epochs", _counted(one["trainer"].get("max_epochs") for one in settings)),
        ("batches an epoch", _counted(one["trainer"].get("limit_train_batches") or "all"
                                      for one in settings)),
        ("changed", _changes(suite.done)),
    ]  # fmt: skip


def findings(suite: Measured) -> list[str]:
    """Return what the numbers alone say, a sentence each."""
    said = []
    for protocol, rows in suite.lungs.items():
        first, rest = rows.iloc[0], rows.iloc[1:]
        rest = rest[rest["system"] != FLOOR]
        near = rest[first["dice_mean"] - rest["dice_mean"] < PRACTICALLY_EQUAL]
        others = f"; {len(near)} of {len(rest)} others are less than {PRACTICALLY_EQUAL} below it"
        said.append(
            f"{protocol}: `{first['system']}` comes first with a Dice of {first['dice_mean']:.4f} "
            f"[{first['dice_ci_low']:.4f}, {first['dice_ci_high']:.4f}]"
            f"{'' if rest.empty else others}."
        )
        said += _beside_the_floor(protocol, rows)
        missed = rows[rows["n_failed"] > 0]
        told = _listed(f"`{name}` {count}" for name, count
                       in zip(missed["system"], missed["n_failed"], strict=True))  # fmt: skip
        said.append(f"{protocol}: cases of an empty mask: {told or 'none'}.")
        said += _falls(protocol, rows, suite.done)
        said += _equal_rows(protocol, rows)
        said += _added(protocol, suite.added)
    return said + _critics(suite)


def _beside_the_floor(protocol: str, rows: pd.DataFrame) -> list[str]:
    floor = rows[rows["system"] == FLOOR]
    if floor.empty:
        return []
    others = rows[rows["system"] != FLOOR]
    below = others[others["dice_ci_low"] <= floor.iloc[0]["dice_ci_high"]]
    names = _listed(f"`{name}`" for name in below["system"])
    above = f"{len(others) - len(below)} of {len(others)} systems"
    return [f"{protocol}: the intervals of {above} lie above the floor's"
            + (f", not those of {names}." if names else ".")]  # fmt: skip


def _falls(protocol: str, rows: pd.DataFrame, cells: Iterable[CellRecord]) -> list[str]:
    """The systems whose Dice falls most from validation to test."""
    seen: dict[str, list[float]] = {}
    for cell in cells:
        if cell.protocol == protocol and cell.val_dice is not None:
            seen.setdefault(cell.system, []).append(cell.val_dice)
    tested = dict(zip(rows["system"], rows["dice_mean"], strict=True))
    pairs = [(name, sum(own) / len(own), tested[name]) for name, own in seen.items()
             if name in tested and tested[name] < sum(own) / len(own)]  # fmt: skip
    pairs.sort(key=lambda pair: pair[2] - pair[1])
    told = _listed(f"`{name}` ({validated:.3f} → {test:.3f})"
                   for name, validated, test in pairs[:LARGEST_FALLS])  # fmt: skip
    return [f"{protocol}: the largest falls from Dice in validation, at the network's size, to the "
            f"lungs of the test films: {told}."] if told else []  # fmt: skip


def _equal_rows(protocol: str, rows: pd.DataFrame) -> list[str]:
    """Systems that no digit tells apart."""
    keys = ["dice_mean", "iou_mean", "nsd_mean", "hausdorff95_px_mean"]
    groups = [own["system"] for _, own in rows.groupby(keys) if len(own) > 1]
    return [f"{protocol}: {_listed(f'`{name}`' for name in names)} have equal rows, to the last "
            "digit." for names in groups]  # fmt: skip


def _added(protocol: str, added: pd.DataFrame) -> list[str]:
    """What critics add to the lungs' Dice, over the pairs of a protocol."""
    own = added[(added["protocol"] == protocol) & (added["structure"] == "lungs")]
    if own.empty:
        return []
    better, worse = own[own["ci_low"] > 0], own[own["ci_high"] < 0]
    ends = own.loc[[own["difference"].idxmax(), own["difference"].idxmin()]]
    most, least = (
        f"`{row.system}` {row.difference:+.4f} [{row.ci_low:+.4f}, {row.ci_high:+.4f}]"
        for row in ends.itertuples()
    )
    alone = ""
    if (own["n_seeds"] == 1).all():
        alone = " but know nothing of the spread between trainings, since each trained once"
    return [
        f"{protocol}: of {len(own)} pairs with a critic, the Dice of {len(better)} is higher than "
        f"that of the same generator alone and of {len(worse)} lower, by intervals that leave "
        f"zero out{alone}; the mean difference is {own['difference'].mean():+.4f}, the highest "
        f"that of {most}, the lowest that of {least}."
    ]


def _critics(suite: Measured) -> list[str]:
    """Which epochs were tested of systems with a critic."""
    joined = {(one.system, one.protocol): one.config["cell"].get("checkpoint_after")
              for one in suite.recipes}  # fmt: skip
    games = [(joined.get((cell.system, cell.protocol)), cell) for cell in suite.done]
    with_critic = [(after, cell) for after, cell in games if after]
    if not with_critic:
        return []
    tested = [epoch for _, cell in with_critic for epoch in cell.tested_epochs]
    late = sum(all(epoch > after for epoch in cell.tested_epochs) for after, cell in with_critic)
    return [
        f"Of {len(with_critic)} cells whose critic joins after pre-training (of "
        f"{_counted(after for after, _ in with_critic)} epochs), {late} were tested on weights of "
        f"an epoch in which it played: {min(tested)} to {max(tested)} epochs of training."
    ]


def _data(suite: Measured, protocol: str) -> str:
    cells = [cell for cell in suite.done if cell.protocol == protocol]
    rows = suite.rows[suite.rows["protocol"] == protocol]
    said = labelled({"system": cell.system, "n_train": cell.n_train,
                     "n_validation": cell.n_validation} for cell in cells)  # fmt: skip
    sizes = _listed(f"{h} × {w}" for (h, w), _ in rows.groupby(["height", "width"]))
    tested = _listed(sorted({str(cell.n_test) for cell in cells}))
    sets = _listed(sorted({f"{cell.train_on} → {cell.test_on}" for cell in cells}))
    return f"{sets}; {said}; {tested} test cases, scored on {sizes} pixels"


def _changes(cells: Iterable[CellRecord]) -> str:
    """What most systems have otherwise than their files say."""
    by_system = {cell.system: cell.changes for cell in cells}
    counts = Counter(
        changes_text([{**change, "from": ""}]).replace("  →", " →")
        for changes in by_system.values()
        for change in changes
    )
    shared = [(text, count) for text, count in counts.most_common(MOST_SHARED)
              if 2 * count >= len(by_system)]  # fmt: skip
    told = "; ".join(f"{escape(text)} ({n} of {len(by_system)} systems)" for text, n in shared)
    return "; ".join([*([told] if told else []), "every change of each system stands below"])


def _at(config: Mapping[str, Any], part: str, *names: str) -> Any:
    found: Any = config[part]["init_args"]
    for name in names:
        found = (found or {}).get(name)
    return found


def _at_once(cells: Sequence[CellRecord]) -> int:
    """Return how many cells ran side by side at most."""
    return max(
        sum((b.started or 0) <= (a.started or 0) < (b.finished or 0) for b in cells) for a in cells
    )


def _counted(values: Iterable[Any]) -> str:
    """Values, each once; how many have which, where there are several."""
    counts = Counter(str(value) for value in values)
    if len(counts) == 1:
        return next(iter(counts))
    return _listed(
        f"{value} ({count} of {counts.total()})" for value, count in counts.most_common()
    )


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def page(suite: Measured, about: str, script: str = Path(__file__).name) -> str:
    """Return a suite's page with its digest.

    Args:
        suite: what was measured.
        about: what numbers cannot say.
        script: the script that writes it.
    """
    rows = [(name, text) for name, text in facts(suite)]
    parts = [
        f"# {load_suite(suite.name).title}: the suite `{suite.name}`",
        f"Written by `python docs/{script}` from the suite's folder: every "
        "number is of its records, configs and rows.",
        about,
        grid(("what", "as recorded"), rows),
        "What the numbers say:",
        "\n".join(f"- {sentence}" for sentence in findings(suite)),
        "What follows is its `leaderboard.md`.",
        re.sub(r"^#", "##", suite.board, flags=re.MULTILINE).rstrip(),
    ]
    text = "\n\n".join(parts) + "\n\n"
    return f"{text}<!-- written by docs/{script}; digest {digest(text)} -->\n"


def digest(text: str) -> str:
    """Return what tells one text from another."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def is_as_written(text: str) -> bool:
    """Tell whether nobody changed a page since it was written."""
    found = DIGEST.search(text)
    return found is not None and digest(text[: found.start()]) == found[1]


def _title(recipe: Recipe) -> str:
    return str(recipe.config["cell"]["about"]["protocol"]["title"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the pages of those suites that the runs folder holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="the runs folder [runs]")
    runs = parser.parse_args(arguments).runs
    suites = [Measured(runs / name) for name in ABOUT if (runs / name).is_dir()]
    if not suites:
        sys.exit(f"{runs}: none of {', '.join(ABOUT)}; run one of them, or name another --runs")
    for suite in suites:
        (HERE / f"{suite.name}.md").write_text(page(suite, ABOUT[suite.name]), "utf-8")
        print(HERE / f"{suite.name}.md")


if __name__ == "__main__":
    main()

"""Writes docs/reproduction.md: what the papers print beside what was measured here.

    python docs/make_reproduction.py
    python docs/make_reproduction.py --trials TRIALS

Published numbers come from leaderboards/published, ours from the rows of the suite ``measured``
that are committed. The second first takes over the rows of DEFU-Net's trials, each in a runs
folder of its own below TRIALS. ``docs/make_committed.py`` is run before it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
from make_committed import BOARDS, derive
from make_measured import Measured, digest

from contract.cell_folder import recorded_cells_of
from contract.cell_record import CellRecord
from leaderboards.published.reported import PublishedValue, published_values
from leaderboards.texts import escape, grid
from leaderboards.wording import changes_text

HERE = Path(__file__).parent
PAGE = HERE / "reproduction.md"
SUITE = "measured"
TRIALS = BOARDS / SUITE / "defu_trials.parquet"
TRIED = "defu_net_dilated"
DILATED = "_dilated"
COLUMNS = ["trial", "protocol", "case_id", "dice", "hausdorff95_px", "assd_px"]
AS_MEASURED = "as in `measured`"
WHAT_WAS_CHANGED = {
    AS_MEASURED: "",
    "epochs60": "60 epochs instead of 20, which early stopping ends where it ended 20",
    "size192": "192 × 192 pixels instead of 96 × 96, masks dilated by 5 instead of 3 pixels",
    "wide": "levels of 16 to 128 channels instead of 8 to 64",
    "tone": "the augmentation of `lung_baseline`, with its wide changes of tone and place",
    "plain": "masks that are not dilated, neither for training nor for scoring: `defu_net`",
}
"""The trials of DEFU-Net, each with one change, in the order of the table."""
INTRODUCTION = """\
System by system: what its paper prints, what was measured here, and why the two may differ. All of
ours are reduced (small pictures, narrow networks, few epochs: [measured](measured.md) lists every
change), so that **no difference below tells whether a paper's number can be reached**; it tells how
far the reduced system is from it. Brackets are 95 % intervals over the patients of one training."""
AGAIN = """\
Any row of ours can be made again from what is committed.

`lungbench fit` with the `--config` of a cell in `leaderboards/measured/cells` and an `--out` of
one's own trains and tests it on the films below `/your/data`. With the same versions, threads and
kind of processor all columns of its rows come out the same, bit for bit, as those of
`adversarial_attention_unet`, `s_to_m`, seed 0, did when it was tried. Elsewhere sums are rounded
otherwise, and a training goes its own way: take a mean Dice within 0.005, which the leaderboards
call practically equal, for the same."""
ABOUT_TRIALS = """\
The reduced `defu_net_dilated` was trained again with one thing changed at a time, seed 0, the rest
as it stands. The test films are those of the protocols, so that these trials explain, and choose
nothing. What moves it most is the change of tone and place in training: with it the reduced network
comes near to the paper's Dice on both hospitals. Larger pictures alone do harm, since its channels,
and so the part of the film that it sees at once, stay; and the masks tell little of Montgomery →
Shenzhen, but much of the other way."""
NOT_MEASURED = "Not measured, so that there is no difference to tell:"
REASONS = {
    "defunet": """\
The paper trains and scores on dilated masks, and says neither by how much they are dilated nor how
much of the training films validates; a mask that is larger has a shorter border for its area, and
a higher Dice. Its Dice seems to be a mean over batches of a smoothed sum, ours is one over films.
Its networks see 512 × 512 pixels for up to 175 epochs, ours 96 × 96 for 20. Its Dice and F1 of
BCDU-Net on Montgomery contradict one another, and R2U-Net and Att-R2U-Net have equal cells there.
The seven train with hardly any change of tone, and with batch norm: that they fall from hospital to
hospital, and fall unevenly from one training to the next, is seen in the paper and here.""",
    "gaal2020": """\
All of its numbers are of JSRT, or of JSRT mixed with others. JSRT's films are not here (their terms
forbid passing them on), so none of its protocols was measured. Its split is not given, nor whether
± is over films or trainings.""",
    "maga2021": """\
As for Gaál et al.: JSRT alone, and the mean of lungs and heart, where ours are lungs. Its IoU and
Dice cannot both be means over the same masks.""",
    "ganunet": """\
JSRT alone, 160/40/40 films that sum to 240 of 247. Most of its table is quoted from other papers,
under other splits; SLGAN's critics are not described, and are built here as a family.""",
    "lgan": """\
CT slices of LIDC-IDRI and QIN, scored against masks that are not public. Its networks run here on
films, as systems among others, and on CT under the protocols of CT scans ([CT](ct.md)), where the
masks are LUNA16's or one's own.""",
}
"""The likely reason of the difference, by paper, in the order of the page."""


def take_over(trials: Path) -> pd.DataFrame:
    """Return the rows of the lungs of all trials below a folder.

    Args:
        trials: holds a runs folder for each trial, by its name.

    Returns:
        ``COLUMNS``, in the order of ``WHAT_WAS_CHANGED``.
    """
    found = [
        pd.read_parquet(cell.rows_file).assign(trial=name, protocol=cell.key[1])
        for name in WHAT_WAS_CHANGED
        for cell in recorded_cells_of(trials / name / SUITE)
        if cell.record.is_done
    ]
    rows = pd.concat(found, ignore_index=True)
    return rows.loc[rows["structure"] == "lungs", COLUMNS].reset_index(drop=True)


def measured_trials(suite: Measured) -> pd.DataFrame:
    """Return the suite's own rows that the trials are compared with, as ``take_over``."""
    named = {TRIED: AS_MEASURED, TRIED.removesuffix(DILATED): "plain"}
    rows = suite.rows[(suite.rows["structure"] == "lungs") & suite.rows["system"].isin(named)]
    rows = rows[(rows["seed"] == 0) & rows["protocol"].isin(["m_to_s", "s_to_m"])]
    return rows.assign(trial=rows["system"].map(named))[COLUMNS]


def trials_table(rows: pd.DataFrame) -> str:
    """Return the mean Dice of each trial under each protocol, beside what the paper prints.

    Args:
        rows: as ``take_over`` returned them, the suite's own among them.
    """
    protocols = sorted(rows["protocol"].unique())
    means = rows.groupby(["trial", "protocol"])["dice"].mean()
    lines = [
        [text or "nothing: the row of `measured`",
         *(f"{means[name, p]:.4f}" if (name, p) in means else "–" for p in protocols)]
        for name, text in WHAT_WAS_CHANGED.items()
        if name in means.index.get_level_values(0)
    ]  # fmt: skip
    printed = {v.protocol: v.printed for v in _test_values("defunet") if v.system == TRIED}
    lines.append(["the paper", *(printed[protocol] for protocol in protocols)])
    return grid(("what is changed", *(f"Dice, {name}" for name in protocols)), lines, left=1)


def _test_values(paper: str) -> Iterator[PublishedValue]:
    """The mean Dice, or IoU where a paper prints none, of systems that are built here."""
    own = [v for v in published_values() if v.paper == paper and not v.elsewhere and v.nearest]
    own = [v for v in own if v.split == "test" and v.statistic == "mean"]
    dice = {(v.system, v.protocol) for v in own if v.metric == "dice"}
    for value in own:
        other = (value.system, value.protocol) not in dice
        if value.metric == "dice" or (value.metric == "iou" and other):
            yield value


def _ours(value: PublishedValue, suite: Measured) -> pd.Series | None:
    """The row of the system, or of the same on plain masks."""
    rows = suite.table[(suite.table["structure"] == "lungs") & (suite.table["unit"] == "image")]
    rows = rows[rows["protocol"] == value.protocol].set_index("system")
    for name in (value.system, _plain_name(value.system)):
        if name in rows.index:
            return rows.loc[name]
    return None


def _plain_name(system: str) -> str:
    return system.removesuffix(DILATED)


def compared(paper: str, suite: Measured) -> list[list[str]]:
    """Return a line for each number of a paper whose protocol was measured.

    Args:
        paper: its key.
        suite: what was measured.

    Returns:
        system, protocol, what is printed, ours with its interval, our masks, the difference.
    """
    lines = []
    for value in _test_values(paper):
        row = _ours(value, suite)
        if row is None or value.metric != "dice":
            continue
        masks = "dilated" if row.name == value.system and DILATED in value.system else "plain"
        interval = f"[{row['dice_ci_low']:.4f}, {row['dice_ci_high']:.4f}]"
        lines.append([
            f"`{row.name}`", value.protocol, _printed(value), value.reference,
            f"{row['dice_mean']:.4f} {interval}", masks,
            f"{row['dice_mean'] - value.value:+.4f}",
        ])  # fmt: skip
    return lines


def unmeasured(paper: str, suite: Measured) -> list[list[str]]:
    """Return a line for each number of a paper whose protocol was not measured.

    Args:
        paper: its key.
        suite: what was measured.

    Returns:
        system, protocol, metric, what is printed, and what the system reaches under our protocols.
    """
    lines = []
    for value in _test_values(paper):
        if _ours(value, suite) is None:
            lines.append([
                f"`{value.system}`", value.protocol, f"{value.metric} of {value.structure}",
                _printed(value), _elsewhere(value.system, suite),
            ])  # fmt: skip
    return lines


def _printed(value: PublishedValue) -> str:
    return escape(value.printed) + (" (quoted)" if value.quoted else "")


def _elsewhere(system: str, suite: Measured) -> str:
    told = []
    for protocol, rows in suite.lungs.items():
        own = rows.set_index("system")["dice_mean"]
        for name in dict.fromkeys((system, _plain_name(system))):
            if name in own.index:
                told.append(f"{protocol} {own[name]:.4f}")
    return ", ".join(told) or "not measured"


def _how(cells: Sequence[CellRecord]) -> str:
    """What all reduced cells of films have otherwise, as far as they share it."""
    shared = [
        {changes_text([{**change, "from": ""}]).replace("  →", " →") for change in cell.changes}
        for cell in cells if cell.changes
    ]  # fmt: skip
    return "; ".join(sorted(set.intersection(*shared))) if shared else ""


def reproduction(suite: Measured, trials: pd.DataFrame) -> str:
    """Return the page with its digest.

    Args:
        suite: what was measured.
        trials: DEFU-Net's, as ``take_over`` returned them.
    """
    parts = [
        "# Published and measured",
        f"Written by `python docs/{Path(__file__).name}`: every number in a table is of the "
        "papers' tables or of committed rows.",
        INTRODUCTION,
        f"Changed in every reduced system: {escape(_how(suite.done))}.",
    ]
    cites = {value.paper: value.cite for value in published_values()}
    for paper, reason in REASONS.items():
        parts += [f"## {cites[paper]}", reason]
        if lines := compared(paper, suite):
            header = ("system", "protocol", "published Dice", "its masks", "ours [95 % CI]",
                      "our masks", "difference")  # fmt: skip
            parts.append(grid(header, lines, left=2))
        if lines := unmeasured(paper, suite):
            header = ("system", "protocol", "metric", "published", "ours elsewhere, Dice")
            parts += [NOT_MEASURED, grid(header, lines, left=3)]
        if paper == "defunet":
            parts += ["### Why `defu_net_dilated` differs: one change a row", ABOUT_TRIALS,
                      trials_table(pd.concat([measured_trials(suite), trials]))]  # fmt: skip
    parts += ["## A cell again", AGAIN]
    text = "\n\n".join(parts) + "\n\n"
    return f"{text}<!-- written by docs/{Path(__file__).name}; digest {digest(text)} -->\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=Path, help="take over the trials below this folder")
    given = parser.parse_args(arguments)
    if given.trials is not None:
        take_over(given.trials).to_parquet(TRIALS, index=False)
        print(TRIALS)
    with tempfile.TemporaryDirectory() as folder:
        page = reproduction(derive(SUITE, Path(folder)), pd.read_parquet(TRIALS))
    PAGE.write_text(page, encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()

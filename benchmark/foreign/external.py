"""Systems from elsewhere: masks that another tool predicted become a cell like any other."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.cell.ownership import Owner
from benchmark.planning.plan import Plan
from benchmark.progress import say
from contract.cell_folder import CellFolder, cell_name, cells_of
from contract.cell_record import NOTHING
from contract.errors import UserError
from contract.files import hash_of_text
from contract.names import require_name
from datamodules.digests import Digests, combined
from datamodules.division import DividedProtocol, split_hash
from datamodules.foreign.mask_files import find_masks
from datamodules.foreign.predicted_masks import labels_of
from datamodules.grounding import GroundedProtocol
from datamodules.preprocessing import Preprocessing
from datamodules.splits import Key

EXTERNAL_FORMAT = 1
"""Raised whenever the same masks would give other rows."""

SIZE = 64
"""Side in pixels of the films in a cache that is made for its references alone."""


@dataclass(frozen=True)
class Predictions:
    """Masks from elsewhere, as the user describes them.

    Attributes:
        folder: the folder of masks.
        system: the name under which they join the leaderboard.
        protocol: the protocol whose test cases they are of.
        seed: tells several trainings of one system apart.
        labels: ``structure=value`` pairs; none for binary masks or nnU-Net's ``dataset.json``.
        resize: whether masks of other sizes are stretched onto their films.
        tool: what predicted them, in words.
        train_on: the data sets that the tool was trained on, joined by ``+``, where that is known.
    """

    folder: Path
    system: str
    protocol: str
    seed: int = 0
    labels: Sequence[str] = field(default_factory=tuple)
    resize: bool = False
    tool: str = ""
    train_on: str | None = None


def score(plan: Plan, given: Predictions, cache: Path) -> bool:
    """Score masks from elsewhere and write their cell; a scored cell of the same masks stays.

    Args:
        plan: the suite's plan.
        given: the masks.
        cache: the folder of prepared references.

    Returns:
        whether anything was scored.

    Raises:
        UserError: if the names cannot be used.
        DataError: if a mask is missing or faulty; nothing has been written then.
    """
    protocol = _protocol(plan, given.protocol)
    folder = _folder(plan, given)
    if not given.folder.is_dir():
        raise UserError(given.folder, "no such folder", "a folder of masks", "check --masks")
    known = {(c.dataset, c.case_id): c for d in protocol.data.values() for c in d.cases}
    keys = [key for split in protocol.splits(given.seed) for key in split.test]
    files = find_masks(given.folder, [known[key] for key in keys])
    if files.extra:
        names = ", ".join(ascii(path.name)[1:-1] for path in files.extra)
        say(f"{len(files.extra)} files belong to no test case and are left alone: {names}")
    labels = labels_of(given.folder, given.labels)
    index = Digests(cache / "digests.json")
    about = {
        "masks": combined(index.of_file(files.of[key]) for key in keys),
        "labels": None if labels is None else {n: sorted(own) for n, own in labels.items()},
        "resize": given.resize,
        "train_on": given.train_on,
    }
    index.save()
    identity = identify(protocol, given.seed, about)
    record = folder.record
    if record.config_hash == identity and record.is_done:
        key = (given.system, given.protocol, given.seed)
        doubt = folder.doubt(record, key)
        if not doubt:
            say(f"{cell_name(*key)}: these masks are scored already")
            return False
        say(f"{cell_name(*key)}: {doubt}; scored again")
    started = time.time()
    from benchmark.cell.case_pictures import keep_pictures
    from benchmark.foreign.external_rows import Reading, ScoredCases

    cases = ScoredCases(protocol, keys, _preprocessing(plan, protocol), cache)
    reading = Reading(given.folder, files.of, labels, given.resize)
    by_case = cases.score(reading)
    rows = _rows(protocol, given.seed, by_case)
    with Owner(folder.path):
        if record.is_done:
            say(f"{folder.path}: scores of other masks or settings are replaced")
        shutil.rmtree(folder.gallery, ignore_errors=True)
        _write(folder, plan, protocol, given, rows, identity, about, started)
        keep_pictures(folder.gallery, lambda: cases.gallery(reading, by_case))
    return True


def current(plan: Plan) -> dict[tuple[str, str, int], str]:
    """Return the identity of each cell from elsewhere whose protocol and data are the plan's."""
    found = {}
    for cell in cells_of(plan.folder):
        record = cell.record
        protocol = plan.grounded.get(record.protocol)
        if not record.external or record.system in plan.systems:
            continue
        if protocol is not None and not protocol.problem:
            found[record.key] = identify(protocol, record.seed, record.external)
    return found


def identify(protocol: DividedProtocol, seed: int, about: Mapping[str, Any]) -> str:
    """Return the hash of what decides on the rows: the masks, their reading, split and data.

    Args:
        protocol: the protocol on its data.
        seed: the cell's seed, which may choose a draw.
        about: digest of the masks, labels, whether they are resized, and the stated training sets.
    """
    kept = {name: about.get(name) for name in ("masks", "labels", "resize", "train_on")}
    splits = [split.digest for split in protocol.splits(seed)]
    text = json.dumps([EXTERNAL_FORMAT, kept, splits, protocol.fingerprint], sort_keys=True)
    return hash_of_text(text)


def _protocol(plan: Plan, name: str) -> GroundedProtocol:
    if name not in plan.grounded:
        known = ", ".join(plan.grounded)
        raise UserError("--protocol", repr(name), f"of suite {plan.suite.name}: {known}")
    protocol = plan.grounded[name]
    if protocol.problem:
        raise UserError(f"protocol {name}", f"no data: {protocol.problem}")
    return protocol


def _folder(plan: Plan, given: Predictions) -> CellFolder:
    """Return the cell's folder.

    Raises:
        UserError: if its name is no name, or that of a system which is trained here.
    """
    require_name(given.system, "--system")
    folder = CellFolder.of(plan.folder, given.system, given.protocol, given.seed)
    known = given.system in plan.systems
    record = folder.record
    if known or (record != NOTHING and not record.external):
        found = f"the name of a system of suite {plan.suite.name}" if known else "a trained cell"
        todo = "choose another name, such as one that says the tool"
        raise UserError(f"--system {given.system}", found, "a name of its own", todo)
    return folder


def _preprocessing(plan: Plan, protocol: GroundedProtocol) -> Preprocessing:
    """Return settings of a system of the suite, so that its cache of references serves again."""
    for cell in plan.cells:
        if cell.config is not None and cell.protocol == protocol.name:
            settings = dict(cell.config["data"]["init_args"]["preprocessing"])
            settings["value_range"] = tuple(settings.get("value_range", (-1, 1)))
            found = Preprocessing(**settings)
            if found.dilate == 1:
                return found
    return Preprocessing(size=SIZE)


def _rows(
    protocol: DividedProtocol, seed: int, by_case: Mapping[Key, list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Return the rows in the order of the splits, every test case once."""
    from benchmark.cell.results import in_order

    return [
        row
        for split in protocol.splits(seed)
        for row in in_order([row for key in split.test for row in by_case[key]], split)
    ]


def _write(
    folder: CellFolder,
    plan: Plan,
    protocol: DividedProtocol,
    given: Predictions,
    rows: list[dict[str, Any]],
    identity: str,
    about: Mapping[str, Any],
    started: float,
) -> None:
    """Write rows and record; a crash in between leaves a cell that is not done."""
    from benchmark.cell.results import commit, versions, write_rows

    names: dict[str, Any] = {
        "suite": plan.suite.name,
        "system": given.system,
        "protocol": given.protocol,
        "seed": given.seed,
        "train_on": given.train_on,
    }
    folder.update(**names, state="running", reason="masks are being scored", external=about)
    vouched = write_rows(folder.path, rows, **names, phantom=protocol.phantom, reduced=False)
    splits = protocol.splits(given.seed)
    folder.update(
        state="done",
        reason="masks predicted elsewhere",
        external={**about, "tool": given.tool, "folder": str(given.folder.resolve())},
        test_on=protocol.test_on,
        config_hash=identity,
        n_train=None,
        n_validation=None,
        n_test=sum(len(split.test) for split in splits),
        folds=len(splits),
        split_hash=split_hash(splits),
        phantom=protocol.phantom,
        versions=versions(),
        commit=commit(),
        started=started,
        finished=time.time(),
        **vouched,
    )

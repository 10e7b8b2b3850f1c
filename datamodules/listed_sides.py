"""A user's lists of case ids meet the cases of a protocol's data sets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from contract.errors import UserError
from contract.suggestions import did_you_mean
from datamodules.case_lists import LISTED_SIDES, CaseLists, ListedKey
from datamodules.protocol import Protocol
from datamodules.sources.base import Case

IDS_SHOWN = 5
"""Ids that a message lists; the others are counted."""


def listed_sides(
    protocol: Protocol, lists: CaseLists, cases: Mapping[str, Sequence[Case]], fold: int
) -> tuple[list[Case], list[Case], list[Case], list[Case]]:
    """Return the cases that train, validate, test and do nothing in a fold.

    Args:
        protocol: the rules.
        lists: what its file of lists says.
        cases: each data set's cases, by the name that the protocol gives it.
        fold: which fold.

    Raises:
        UserError: naming the file and the ids, if the lists name a case that is not there or not
            all that are, let a set train or test that the protocol does not, or put a patient on
            two sides.
    """
    known = {(case.dataset, case.case_id): case for own in cases.values() for case in own}
    where = f"{lists.file}, fold {fold}" if len(lists.folds) > 1 else str(lists.file)
    found = _resolve(where, lists.folds[fold], known)
    for side, names in (("train", protocol.train), ("test", protocol.test)):
        allowed = {case.dataset for name in names for case in cases[name]}
        for key, own in found.items():
            wanted = "test" if own == "test" else "train"
            if own != "unused" and wanted == side and key[0] not in allowed:
                raise UserError(
                    where, f"case {' '.join(key)}: {own}", f"cases of {', '.join(sorted(allowed))}",
                    f"name the data set under the protocol's {side}, or mend the lists",
                )  # fmt: skip
    unlisted = sorted(set(known) - set(found))
    if unlisted and protocol.unlisted == "error":
        raise UserError(
            where, f"nothing about {_some(unlisted)}", "a place for every case",
            "list them, or state `unlisted: unused` in the protocol",
        )  # fmt: skip
    sides: dict[str, list[Case]] = {side: [] for side in LISTED_SIDES}
    for key, side in found.items():
        sides[side].append(known[key])
    sides["unused"] += [known[key] for key in unlisted]
    _require_whole_patients(where, sides)
    return sides["train"], sides["validation"], sides["test"], sides["unused"]


def _resolve(
    where: str, fold: Mapping[ListedKey, str], known: Iterable[ListedKey]
) -> dict[tuple[str, str], str]:
    """Return what each case does, by its data set and id."""
    owners: dict[str, list[str]] = defaultdict(list)
    for dataset, case_id in known:
        owners[case_id].append(dataset)
    found: dict[tuple[str, str], str] = {}
    strangers = []
    for (dataset, case_id), side in fold.items():
        homes = [home for home in owners.get(case_id, ()) if dataset in ("", home)]
        if not homes:
            strangers.append((dataset, case_id))
        elif len(homes) > 1:
            raise UserError(
                where, f"case {case_id}, which is in {' and '.join(sorted(homes))}",
                "a CSV file with a column `dataset`",
            )  # fmt: skip
        elif (homes[0], case_id) in found:
            told = f"case {homes[0]} {case_id} a second time"
            raise UserError(where, told, "each case once in a fold", "mend the lists")
        else:
            found[homes[0], case_id] = side
    if strangers:
        first = strangers[0][1]
        padded = [name for name in sorted(owners) if name.lstrip("0") == first.lstrip("0")]
        meant = f"did you mean {padded[0]!r}?" if padded else did_you_mean(first, owners)
        todo = "; ".join(filter(None, ("mend the ids", meant)))
        shown = ", ".join(map(repr, sorted(owners)[:IDS_SHOWN]))
        expected = f"ids of the data sets, which are {shown}" + " …" * (len(owners) > IDS_SHOWN)
        raise UserError(where, f"unknown {_some(strangers)}", expected, todo)
    return found


def _require_whole_patients(where: str, sides: Mapping[str, Sequence[Case]]) -> None:
    first: dict[tuple[str, str], tuple[str, Case]] = {}
    for side in ("train", "validation", "test"):
        for case in sides[side]:
            other, one = first.setdefault((case.dataset, case.patient_id), (side, case))
            if other != side:
                raise UserError(
                    where,
                    f"patient {case.patient_id} of {case.dataset} in {other} ({one.case_id}) and "
                    f"{side} ({case.case_id})",
                    "each patient on one side of the split",
                    "put all cases of a patient on one side",
                )


def _some(keys: Sequence[ListedKey]) -> str:
    shown = ", ".join(" ".join(part for part in key if part) for key in keys[:IDS_SHOWN])
    more = len(keys) - IDS_SHOWN
    counted = f"{len(keys)} cases: " if len(keys) > 1 else "case "
    return counted + shown + (f" and {more} more" if more > 0 else "")

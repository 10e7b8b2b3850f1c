"""Divides cases into training, validation and test lists by the protocol's rule.

Lists are made from sorted official ids with a fixed seed, stratified by finding and grouped by
patient, so that every system, seed and machine gets the same ones.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from contract.errors import DataError, UserError
from datamodules.listed_sides import listed_sides
from datamodules.protocol import Protocol
from datamodules.sources.base import Case
from datamodules.sources.jsrt import scr_fold

Key = tuple[str, str]
"""A case's data set and id."""


@dataclass(frozen=True)
class Split:
    """Disjoint lists of (data set, case id), each sorted; ``unused`` cases do nothing."""

    train: tuple[Key, ...]
    validation: tuple[Key, ...]
    test: tuple[Key, ...]
    unused: tuple[Key, ...] = ()

    @cached_property
    def digest(self) -> str:
        """Ten hexadecimal digits that name this split on leaderboards."""
        lists = json.dumps([self.train, self.validation, self.test])
        return hashlib.blake2b(lists.encode(), digest_size=5).hexdigest()


def make_split(
    protocol: Protocol,
    cases: Mapping[str, Sequence[Case]],
    scale: float = 1.0,
    draw: int = 0,
    fold: int = 0,
) -> Split:
    """Divide the cases of a protocol's data sets.

    Args:
        protocol: the rule.
        cases: each data set's cases, by the name that the protocol gives it.
        scale: cases present as a share of the official release, by which counts are scaled (1 for
            real data, less for phantoms).
        draw: which few-shot set trains, see ``Protocol.draw``; it changes no other list.
        fold: which fold tests, below ``Protocol.fold_count``.

    Raises:
        UserError: if the rule leaves a list empty.
        DataError: if a patient or an id would stand on both sides.
        ValueError: for a draw or fold that the protocol does not have.
    """
    if not (0 <= draw < protocol.draws and 0 <= fold < protocol.fold_count):
        raise ValueError(f"draw {draw} of {protocol.draws}, fold {fold} of {protocol.fold_count}")
    if protocol.case_lists is not None:
        train, validation, test, spare = listed_sides(protocol, protocol.case_lists, cases, fold)
        if not validation:
            validation = _take(train, protocol.validation, scale, protocol.split_seed + 1)
        return _split(protocol, train, validation, test, spare, scale, draw)
    shared = [name for name in protocol.train if name in protocol.test]
    everything = [case for name in shared for case in cases[name]]
    pool, scale = _patients(everything, protocol, scale)
    spare = _without(everything, pool)
    test = [case for name in protocol.test if name not in shared for case in cases[name]]
    if protocol.folds == "scr":
        held_out = [case for case in pool if scr_fold(case.case_id) == fold]
    elif protocol.folds is not None:
        held_out = _folds(pool, protocol.folds, protocol.split_seed)[fold]
    else:
        held_out = _take(pool, protocol.held_out, scale, protocol.split_seed)
    test += held_out
    train = _without([case for name in protocol.train for case in cases[name]], held_out + spare)
    validation = _take(train, protocol.validation, scale, protocol.split_seed + 1)
    return _split(protocol, train, validation, test, spare, scale, draw)


def _split(
    protocol: Protocol,
    train: Sequence[Case],
    validation: Sequence[Case],
    test: Sequence[Case],
    spare: Sequence[Case],
    scale: float,
    draw: int,
) -> Split:
    """Return the split whose training cases are what ``validation`` and ``train_size`` leave."""
    whole = _without(train, validation)
    train = _few(whole, protocol, scale, draw)
    _require_disjoint(train, validation, test)
    unused = _without(whole, train) + list(spare)
    return Split(_keys(train), _keys(validation), _keys(test), _keys(unused))


def _patients(cases: Sequence[Case], protocol: Protocol, scale: float) -> tuple[list[Case], float]:
    """Return the cases that take part, see ``Protocol.patients``, and the scale of counts."""
    wanted = protocol.patients
    if wanted is None:
        return list(cases), scale
    first: dict[tuple[str, str], Case] = {}
    for case in sorted(cases, key=_key):
        first.setdefault((case.dataset, case.patient_id), case)
    if scale == 1 and len(first) < wanted:
        raise UserError(
            "protocol: patients",
            f"{len(first)} patients with reference masks",
            f"{wanted}",
            "download the whole data set (a smaller split would not be comparable), or use a "
            "protocol without `patients`, which takes what is there (lidc_all)",
        )
    order = sorted(first, key=lambda patient: _lot(protocol.split_seed, *patient))
    chosen = [first[patient] for patient in order[:wanted]]
    return sorted(chosen, key=_key), len(chosen) / wanted


def _folds(pool: Sequence[Case], count: int, seed: int) -> list[list[Case]]:
    """Divide cases into folds: whole patients, each stratum and the whole in equal parts.

    Patients come by their number of cases, then stratum by stratum, in the order of their lots;
    each joins the fold that has fewest cases of its strata, then fewest in all. With one case a
    patient, the folds' sizes and their shares of a stratum differ by one at most.

    Raises:
        UserError: if there are fewer patients than folds.
    """
    patients: dict[tuple[str, str], list[Case]] = defaultdict(list)
    for case in sorted(pool, key=_key):
        patients[case.dataset, case.patient_id].append(case)
    if len(patients) < count:
        raise UserError(
            "protocol: folds", f"{count} folds of {len(patients)} patients", todo="lower folds"
        )
    strata = {who: sorted(map(_stratum, group)) for who, group in patients.items()}
    order = sorted(patients, key=lambda w: (-len(patients[w]), strata[w], _lot(seed, *w)))
    folds: list[list[Case]] = [[] for _ in range(count)]
    counted: list[Counter[str]] = [Counter() for _ in range(count)]
    for who in order:
        alike = [sum(own[stratum] for stratum in set(strata[who])) for own in counted]
        chosen = min(range(count), key=lambda k: (alike[k], len(folds[k]), k))
        folds[chosen] += patients[who]
        counted[chosen].update(strata[who])
    return folds


def _lot(seed: int, *names: str) -> str:
    """Return what a name draws: the same whatever else takes part."""
    return hashlib.blake2b(json.dumps([seed, *names]).encode(), digest_size=16).hexdigest()


def _without(cases: Sequence[Case], taken: Sequence[Case]) -> list[Case]:
    gone = {_key(case) for case in taken}
    return [case for case in cases if _key(case) not in gone]


def _few(cases: Sequence[Case], protocol: Protocol, scale: float, draw: int) -> list[Case]:
    """Return the first ``train_size`` cases of one draw's order, in which strata are interleaved.

    Counts are scaled for phantoms like all others, but not below half of the cases: a set of one
    film would fill no batch.
    """
    size = protocol.train_size
    if size is None:
        return list(cases)
    if scale < 1:
        size = min(
            len(cases), max(_count(size, len(cases), scale), min(size, (len(cases) + 1) // 2))
        )
    if size > len(cases):
        raise UserError(
            "protocol: train_size", f"{size} of {len(cases)} training cases", todo="lower it"
        )
    strata: dict[str, list[Case]] = defaultdict(list)
    for case in sorted(cases, key=_key):
        strata[_stratum(case)].append(case)
    luck = np.random.default_rng([protocol.split_seed, draw])
    ranked = []
    for stratum, members in sorted(strata.items()):
        order = luck.permutation(len(members))
        ranked += [((i + 0.5) / len(order), stratum, members[k]) for i, k in enumerate(order)]
    ranked.sort(key=lambda item: item[:2])
    return [case for _, _, case in ranked[:size]]


def _key(case: Case) -> Key:
    return (case.dataset, case.case_id)


def _keys(cases: Sequence[Case]) -> tuple[Key, ...]:
    return tuple(sorted(_key(case) for case in cases))


def _count(amount: float, available: int, scale: float) -> int:
    """Turn a share or a count of the official release into a count of the cases present."""
    if amount == 0:
        return 0
    wanted = amount * available if amount < 1 else amount * scale
    return max(1, round(wanted))


def _take(cases: Sequence[Case], amount: float, scale: float, seed: int) -> list[Case]:
    """Draw a share or a count of cases, whole patients only, each stratum in proportion.

    A share may come out smaller where patients with several films do not add up to it.
    """
    count = _count(amount, len(cases), scale)
    if count > len(cases):
        raise UserError(
            "protocol", f"{count} cases wanted of {len(cases)}", todo="lower held_out or validation"
        )
    patients: dict[tuple[str, str], list[Case]] = defaultdict(list)
    for case in sorted(cases, key=_key):
        patients[case.dataset, case.patient_id].append(case)
    groups = list(patients.values())
    luck = np.random.default_rng(seed)
    order = luck.permutation(len(groups))
    shuffled = sorted((groups[i] for i in order), key=len, reverse=True)
    quota = _quotas(Counter(_stratum(case) for case in cases), count)
    taken: list[Case] = []
    passed: list[list[Case]] = []
    for group in shuffled:
        # Patients with several films come first, and chance sends them in proportion.
        if _fits(group, quota) and (len(group) == 1 or luck.random() * len(cases) < count):
            quota.subtract(map(_stratum, group))
            taken += group
        else:
            passed.append(group)
    for within_strata in (True, False):
        left = []
        for group in passed:
            room = len(taken) + len(group) <= count
            if room and (not within_strata or _fits(group, quota)):
                quota.subtract(map(_stratum, group))
                taken += group
            else:
                left.append(group)
        passed = left
    if len(taken) != count and (amount >= 1 or not taken):
        raise UserError(
            "protocol",
            f"{len(taken)} of {count} cases could be drawn by patient",
            todo="state a share below 1 instead of a count, or another count",
        )
    return taken


def _fits(group: Sequence[Case], quota: Counter[str]) -> bool:
    wanted = Counter(_stratum(case) for case in group)
    return all(quota[stratum] >= number for stratum, number in wanted.items())


def _stratum(case: Case) -> str:
    return f"{case.dataset}/{case.stratum}"


def _quotas(sizes: Counter[str], count: int) -> Counter[str]:
    """Share ``count`` among strata in proportion to their sizes, by largest remainder."""
    total = sum(sizes.values())
    exact = {stratum: count * size / total for stratum, size in sizes.items()}
    quota = Counter({stratum: int(share) for stratum, share in exact.items()})
    remainders = sorted(exact, key=lambda stratum: (quota[stratum] - exact[stratum], stratum))
    for stratum in remainders[: count - quota.total()]:
        quota[stratum] += 1
    return quota


def _require_disjoint(
    train: Sequence[Case], validation: Sequence[Case], test: Sequence[Case]
) -> None:
    for name, part in (("train", train), ("validation", validation), ("test", test)):
        if not part and name != "validation":
            raise UserError("protocol", f"no case left for {name}", todo="change the protocol")
    sides: dict[tuple[str, str], str] = {}
    for side, part in (("train", train), ("validation", validation), ("test", test)):
        for case in part:
            patient = (case.dataset, case.patient_id)
            if sides.setdefault(patient, side) != side:
                raise DataError(
                    case.image,
                    f"patient {case.patient_id} in both {sides[patient]} and {side}",
                    "each patient on one side of the split",
                    "mend the table of patients",
                )

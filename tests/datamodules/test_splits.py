from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import DataError, UserError
from datamodules.base import another_for_each
from datamodules.protocol import Protocol
from datamodules.sources import SOURCES, Case
from datamodules.sources.jsrt import scr_fold
from datamodules.splits import Split, make_split

FIVE_FOLDS = ["daf0e4c7ef", "7d6ee6ec87", "d3c84ed24f", "fbcdf611f3", "57ec5782ef"]
"""Leaderboards are compared by them, so they never change."""

ONE = {"train": ("a",), "test": ("a",)}


def official_cases(name: str) -> list[Case]:
    source = SOURCES[name]
    return [
        Case(name, i, source.patient(i), source.stratum(i), Path(i), {})
        for i in source.released_ids()
    ]


OFFICIAL = {name: official_cases(name) for name in SOURCES}


def invented(dataset: str, films: Sequence[tuple[int, str]]) -> list[Case]:
    """Cases from (patient, stratum) pairs."""
    return [
        Case(dataset, f"{i:03d}", f"p{patient}", stratum, Path(str(i)), {})
        for i, (patient, stratum) in enumerate(films)
    ]


def sides(split: Split) -> list[set[tuple[str, str]]]:
    return [set(split.train), set(split.validation), set(split.test), set(split.unused)]


def strata(cases: Mapping[str, Sequence[Case]], keys: Sequence[tuple[str, str]]) -> Counter[str]:
    stratum = {(c.dataset, c.case_id): c.stratum for found in cases.values() for c in found}
    return Counter(f"{key[0]}/{stratum[key]}" for key in keys)


def require_sound(split: Split, cases: Mapping[str, Sequence[Case]]) -> None:
    parts = sides(split)
    for i, one in enumerate(parts):
        assert all(not one & other for other in parts[i + 1 :])
    everything = {(c.dataset, c.case_id) for found in cases.values() for c in found}
    assert set().union(*parts) == everything
    patient = {(c.dataset, c.case_id): (c.dataset, c.patient_id) for f in cases.values() for c in f}
    patients = [{patient[key] for key in part} for part in parts[:3]]
    assert not patients[0] & patients[1]
    assert not patients[0] & patients[2]
    assert not patients[1] & patients[2]
    assert not {patient[key] for key in split.unused} & (patients[1] | patients[2])


films = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from(["normal", "tb", "nodule"])),
    min_size=24,
    max_size=80,
)


@settings(max_examples=50, deadline=None)
@given(films=films, held=st.sampled_from([0.1, 0.2, 5, 7]), few=st.sampled_from([None, 3, 8]))
def test_lists_are_disjoint_and_keep_patients_together(
    films: list[tuple[int, str]], held: float, few: int | None
) -> None:
    cases = {"a": invented("a", films)}
    rule = Protocol(**ONE, held_out=held, validation=0.1, train_size=few)
    largest = Counter(patient for patient, _ in films).most_common(1)[0][1]
    wanted = held if held >= 1 else max(1, round(held * len(films)))
    try:
        split = make_split(rule, cases)
    except UserError as error:
        assert "could be drawn by patient" in str(error)
        assert largest > 1
        return
    require_sound(split, cases)
    assert wanted - largest < len(split.test) <= wanted
    if held >= 1 or largest == 1:
        assert len(split.test) == wanted
    if few is not None:
        assert len(split.train) == few


def test_a_set_where_every_patient_has_several_films_can_be_divided() -> None:
    cases = {"a": invented("a", [(i // 3, "normal" if i // 3 % 2 else "tb") for i in range(60)])}
    split = make_split(Protocol(**ONE, held_out=0.2, validation=0.1), cases)
    require_sound(split, cases)
    assert (len(split.test), len(split.validation)) == (12, 3)
    with pytest.raises(UserError, match="9 of 10 cases could be drawn by patient"):
        make_split(Protocol(**ONE, held_out=10), cases)


@settings(max_examples=15, deadline=None)
@given(order=st.randoms(use_true_random=False))
def test_the_order_of_cases_does_not_matter(order: random.Random) -> None:
    rule = Protocol(("montgomery", "jsrt"), ("jsrt",), 0.1, 38, train_size=50, draws=2)
    mixed = {name: list(OFFICIAL[name]) for name in rule.datasets}
    for cases in mixed.values():
        order.shuffle(cases)
    assert make_split(rule, mixed, draw=1) == make_split(rule, OFFICIAL, draw=1)


@pytest.mark.parametrize("name", sorted(OFFICIAL))
@pytest.mark.parametrize("held", [0.2, 19, 38])
def test_strata_are_in_proportion_within_one(name: str, held: float) -> None:
    split = make_split(Protocol((name,), (name,), 0.1, held), OFFICIAL)
    sizes = Counter(f"{name}/{case.stratum}" for case in OFFICIAL[name])
    drawn = strata(OFFICIAL, split.test)
    for stratum, size in sizes.items():
        assert abs(drawn[stratum] - size * len(split.test) / sizes.total()) <= 1


def test_strata_of_few_shot_sets_are_in_proportion_within_one() -> None:
    for size in (1, 5, 10, 20, 100):
        for draw in range(5):
            rule = Protocol(("jsrt",), ("jsrt",), 19, 38, train_size=size, draws=5)
            split = make_split(rule, OFFICIAL, draw=draw)
            whole = strata(OFFICIAL, [*split.train, *split.unused])
            drawn = strata(OFFICIAL, split.train)
            assert drawn.total() == size
            for stratum, members in whole.items():
                assert abs(drawn[stratum] - size * members / whole.total()) <= 1


def test_few_shot_sets_are_nested_and_draws_differ() -> None:
    whole = make_split(Protocol(("jsrt",), ("jsrt",), 19, 38), OFFICIAL)
    sets = {}
    for draw in range(5):
        for size in (10, 20, 190):
            rule = Protocol(("jsrt",), ("jsrt",), 19, 38, train_size=size, draws=5)
            split = make_split(rule, OFFICIAL, draw=draw)
            assert (split.validation, split.test) == (whole.validation, whole.test)
            assert set(split.train) | set(split.unused) == set(whole.train)
            sets[draw, size] = set(split.train)
        assert sets[draw, 10] < sets[draw, 20] < sets[draw, 190] == set(whole.train)
    assert len({frozenset(sets[draw, 10]) for draw in range(5)}) == 5


def test_a_seed_chooses_its_draw_and_nothing_else() -> None:
    rule = Protocol(("jsrt",), ("jsrt",), 19, 38, train_size=10, draws=5)
    assert [rule.draw(seed) for seed in (0, 4, 5, 11)] == [0, 4, 0, 1]
    assert Protocol(("a",), ("b",)).draw(7) == 0


def test_every_case_is_tested_once_over_scrs_folds() -> None:
    rule = Protocol(("jsrt",), ("jsrt",), 0.1, folds="scr")
    splits = [make_split(rule, OFFICIAL, fold=fold) for fold in range(rule.fold_count)]
    tested = [key for split in splits for key in split.test]
    assert sorted(tested) == sorted(("jsrt", i) for i in SOURCES["jsrt"].released_ids())
    assert [len(split.test) for split in splits] == [124, 123]
    for fold, split in enumerate(splits):
        require_sound(split, {"jsrt": OFFICIAL["jsrt"]})
        assert {scr_fold(case_id) for _, case_id in split.test} == {fold}
        assert {scr_fold(case_id) for _, case_id in split.train} == {1 - fold}
    assert splits[0].digest != splits[1].digest


@settings(max_examples=50, deadline=None)
@given(films=films, count=st.integers(2, 8))
def test_every_case_is_tested_once_over_any_number_of_folds(
    films: list[tuple[int, str]], count: int
) -> None:
    cases = {"a": invented("a", films)}
    rule = Protocol(**ONE, folds=count)
    assert rule.fold_count == count
    patients = len({patient for patient, _ in films})
    if patients < count:
        with pytest.raises(UserError, match="folds of"):
            make_split(rule, cases)
        return
    try:
        splits = [make_split(rule, cases, fold=fold) for fold in range(count)]
    except UserError as error:  # a fold may leave too few patients for training and validation
        assert "could be drawn by patient" in str(error) or "left for train" in str(error)
        assert patients < 24
        return
    tested = [key for split in splits for key in split.test]
    assert sorted(tested) == sorted(("a", case.case_id) for case in cases["a"])
    for split in splits:
        require_sound(split, cases)
    largest = Counter(patient for patient, _ in films).most_common(1)[0][1]
    sizes = [len(split.test) for split in splits]
    assert max(sizes) - min(sizes) <= largest + 2


@pytest.mark.parametrize("count", [2, 5, 10])
def test_folds_of_single_films_are_even_in_size_and_in_every_stratum(count: int) -> None:
    cases = {"a": invented("a", [(i, "tb" if i % 3 else "normal") for i in range(97)])}
    splits = [make_split(Protocol(**ONE, folds=count), cases, fold=k) for k in range(count)]
    drawn = [strata(cases, split.test) for split in splits]
    for numbers in ([d.total() for d in drawn], *([d[s] for d in drawn] for s in drawn[0])):
        assert max(numbers) - min(numbers) <= 1
    assert all(split.validation for split in splits)


def test_folds_follow_the_split_seed_and_nothing_else() -> None:
    rule = Protocol(("jsrt", "montgomery"), ("montgomery",), folds=5)
    folds = [make_split(rule, OFFICIAL, fold=fold) for fold in range(5)]
    assert [split.digest for split in folds] == FIVE_FOLDS
    assert {key for split in folds for key in split.test} == {
        ("montgomery", case.case_id) for case in OFFICIAL["montgomery"]
    }
    other = Protocol(("jsrt", "montgomery"), ("montgomery",), folds=5, split_seed=1)
    assert make_split(other, OFFICIAL).digest != FIVE_FOLDS[0]


def test_few_shot_sets_are_drawn_within_each_fold() -> None:
    rule = Protocol(("jsrt",), ("jsrt",), folds=4, train_size=10, draws=2)
    whole = Protocol(("jsrt",), ("jsrt",), folds=4)
    for fold in range(4):
        few, full = (make_split(r, OFFICIAL, fold=fold) for r in (rule, whole))
        assert len(few.train) == 10
        assert (few.test, few.validation) == (full.test, full.validation)
        assert set(few.train) < set(full.train)


def test_the_patients_that_take_part_are_divided_into_folds() -> None:
    rule = Protocol(("jsrt",), ("jsrt",), folds=3, patients=30)
    splits = [make_split(rule, OFFICIAL, fold=fold) for fold in range(3)]
    assert [len(split.test) for split in splits] == [10, 10, 10]
    assert all(len(split.unused) == 247 - 30 for split in splits)


def test_counts_shrink_with_phantoms_and_few_shot_sets_still_fill_a_batch() -> None:
    cases = {"jsrt": OFFICIAL["jsrt"][:12] + OFFICIAL["jsrt"][-12:]}
    few = Protocol(("jsrt",), ("jsrt",), 19, 38, train_size=10)
    split = make_split(few, cases, scale=24 / 247)
    assert (len(split.test), len(split.validation)) == (4, 2)
    assert len(split.train) >= 8
    large = Protocol(("jsrt",), ("jsrt",), 40, 40, train_size=160)
    split = make_split(large, cases, scale=24 / 247)
    assert [len(part) for part in sides(split)] == [16, 4, 4, 0]


def test_a_patient_on_both_sides_is_an_error() -> None:
    cases = {
        "a": [Case("x", "1", "p", "all", Path("1"), {}), Case("x", "2", "q", "all", Path("2"), {})],
        "b": [Case("x", "3", "p", "all", Path("3"), {})],
    }
    with pytest.raises(DataError, match="patient p in both"):
        make_split(Protocol(("a",), ("b",), 0), cases)


def test_films_of_one_patient_stay_together_in_every_official_set() -> None:
    for seed in range(30):
        for name in OFFICIAL:
            rule = Protocol((name,), (name,), 0.2, 0.3, split_seed=seed)
            require_sound(make_split(rule, OFFICIAL), {name: OFFICIAL[name]})


def test_too_large_a_training_set_is_an_error() -> None:
    rule = Protocol(("jsrt",), ("jsrt",), 19, 38, train_size=191)
    with pytest.raises(UserError, match="191 of 190"):
        make_split(rule, OFFICIAL)


@pytest.mark.parametrize(("draw", "fold"), [(1, 0), (-1, 0), (0, 1)])
def test_draws_and_folds_that_do_not_exist_are_refused(draw: int, fold: int) -> None:
    with pytest.raises(ValueError, match="draw"):
        make_split(Protocol(("jsrt",), ("montgomery",)), OFFICIAL, draw=draw, fold=fold)


def test_shuffled_masks_are_always_another_films() -> None:
    for count in (2, 3, 17, 124):
        partners = another_for_each(count, seed=1)
        assert sorted(partners) == list(range(count))
        assert all(partner != case for case, partner in enumerate(partners))
    assert another_for_each(40, 1) == another_for_each(40, 1) != another_for_each(40, 2)
    assert all(b != a + 1 for a, b in pairwise(another_for_each(124, 1))) is False

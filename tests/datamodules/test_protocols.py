from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.planning.compose import without_description
from benchmark.planning.library import known_names, load_settings
from contract.errors import UserError
from datamodules.division import DividedProtocol, OpenedSet
from datamodules.phantoms import write_ct_phantoms, write_phantoms
from datamodules.protocol import Protocol
from datamodules.sources import SOURCES, Case, open_sources
from datamodules.splits import Split, make_split

COUNTS = {
    "m_to_s": (124, 14, 566), "s_to_m": (509, 57, 138), "m_to_j": (124, 14, 247),
    "s_to_j": (509, 57, 247), "j_to_m": (222, 25, 138), "j_to_s": (222, 25, 566),
    "montgomery": (99, 11, 28), "shenzhen": (408, 45, 113), "jsrt": (111, 12, 124),
    "leave_jsrt_out": (634, 70, 247), "leave_montgomery_out": (732, 81, 138),
    "leave_shenzhen_out": (347, 38, 566), "all": (685, 76, 190), "all_to_jsrt": (822, 91, 38),
    "jsrt_209_38": (190, 19, 38), "jsrt_209_19_19": (209, 19, 19), "jsrt_160_40_40": (160, 40, 40),
    "jsrt_train10": (10, 19, 38), "jsrt_train20": (20, 19, 38), "mixed_m_s": (528, 76, 100),
    "m_to_s_shuffled": (124, 14, 566),
}  # fmt: skip
DIGESTS = {
    "m_to_s": "5d3812e03b",
    "s_to_m": "4f342ddefd",
    "mixed_m_s": "0e948855f4",
    "m_to_s_shuffled": "5d3812e03b",
    "jsrt": "33bb3b4ae5",
    "jsrt_209_38": "ea18e0845a",
    "jsrt_160_40_40": "75087a77a7",
    "jsrt_train10": "b4d7ca4182",
    "all_to_jsrt": "f6938e0c64",
}
"""Splits of the official releases; leaderboards are compared by them, so they never change."""


def protocol(name: str) -> Protocol:
    return Protocol(**without_description(load_settings("protocols", name)))


@pytest.fixture(scope="module")
def cases() -> dict[str, list[Case]]:
    return {
        name: [
            Case(name, i, source.patient(i), source.stratum(i), Path(i), {})
            for i in source.released_ids()
        ]
        for name, source in SOURCES.items()
    }


def split(name: str, cases: dict[str, list[Case]], draw: int = 0) -> Split:
    return make_split(protocol(name), cases, draw=draw)


def test_every_data_set_trains_and_tests_with_every_other() -> None:
    pairs = {(p.train, p.test) for p in map(protocol, known_names("protocols"))}
    sets = tuple(SOURCES)
    assert {((one,), (two,)) for one in sets for two in sets} <= pairs
    for left_out in sets:
        left = protocol(f"leave_{left_out}_out")
        assert (set(left.train), left.test) == (set(sets) - {left_out}, (left_out,))


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_official_counts(name: str, cases: dict[str, list[Case]]) -> None:
    found = split(name, cases)
    assert (len(found.train), len(found.validation), len(found.test)) == COUNTS[name]


@pytest.mark.parametrize("name", sorted(DIGESTS))
def test_official_splits_never_change(name: str, cases: dict[str, list[Case]]) -> None:
    assert split(name, cases).digest == DIGESTS[name]


def test_scrs_second_fold_never_changes(cases: dict[str, list[Case]]) -> None:
    assert make_split(protocol("jsrt"), cases, fold=1).digest == "27e7f7b9c0"


def test_seven_films_are_left_over_from_160_40_40(cases: dict[str, list[Case]]) -> None:
    assert len(split("jsrt_160_40_40", cases).unused) == 7


def test_jsrt_variants_share_their_test_films(cases: dict[str, list[Case]]) -> None:
    literal = split("jsrt_209_38", cases)
    assert split("all_to_jsrt", cases).test == literal.test
    for draw in range(5):
        ten, twenty = (split(f"jsrt_train{n}", cases, draw) for n in (10, 20))
        assert ten.test == twenty.test == literal.test
        assert ten.validation == twenty.validation == literal.validation
        assert set(ten.train) < set(twenty.train) < set(literal.train)


def test_in_domain_protocols_say_so() -> None:
    for name in ("all_to_jsrt", "all", "jsrt", "montgomery", "shenzhen"):
        assert "in-domain" in load_settings("protocols", name)["title"]


def test_every_protocol_has_a_title() -> None:
    assert all(load_settings("protocols", name).get("title") for name in known_names("protocols"))


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"train": ["a"], "test": ["a"]}, "held_out, folds or lists, which divide"),
        ({"train": ["a"], "test": ["b"], "held_out": 3}, "both trains and tests"),
        ({"train": [], "test": ["b"]}, "at least one data set"),
        ({"train": ["a", "a"], "test": ["b"]}, "train: found a more than once"),
        ({"train": ["a"], "test": ["b", "c", "b"]}, "test: found b more than once"),
        ({"train": ["a"], "test": ["a"], "folds": "scr"}, "jsrt as the only data set"),
        ({"train": ["jsrt"], "test": ["jsrt"], "folds": "ten"}, "a whole number above 1, or scr"),
        ({"train": ["a"], "test": ["a"], "folds": 1}, "a whole number above 1, or scr"),
        ({"train": ["a"], "test": ["a"], "folds": True}, "a whole number above 1, or scr"),
        ({"train": ["a"], "test": ["b"], "folds": 5}, "both trains and tests"),
        ({"train": ["a"], "test": ["a", "b"], "folds": 5}, "every fold would test anew"),
        ({"train": ["a"], "test": ["a"], "folds": 5, "lists": "l.csv"}, "one of them"),
        ({"train": ["a"], "test": ["a"], "held_out": 5, "lists": "l.csv"}, "one of them"),
        ({"train": ["a"], "test": ["a"], "patients": 5, "lists": "l.csv"}, "one of them"),
        ({"train": ["a"], "test": ["a"], "folds": 5, "unlisted": "unused"}, "no lists beside"),
        ({"train": ["a"], "test": ["a"], "lists": "l.csv", "unlisted": "no"}, "error or unused"),
        ({"train": ["jsrt"], "test": ["jsrt"], "folds": "scr", "held_out": 3}, "one of them"),
        ({"train": ["a"], "test": ["b"], "train_size": 0}, "at least 1"),
        ({"train": ["a"], "test": ["b"], "draws": 5}, "1 without train_size"),
        ({"train": ["a"], "test": ["b"], "validation": -1}, "a share or a count"),
    ],
)
def test_contradictory_rules_are_refused(rules: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Protocol(**rules)  # type: ignore[arg-type]


def test_every_protocol_works_on_phantoms(tmp_path: Path) -> None:
    write_phantoms(tmp_path, montgomery=24, shenzhen=32, jsrt=20, size=32, jsrt_size=64)
    write_ct_phantoms(tmp_path, size=32, slices=6)
    for name in known_names("protocols"):
        rule = protocol(name)
        sources = open_sources(rule.datasets, tmp_path)
        opened = {name: OpenedSet(source, source.cases()) for name, source in sources.items()}
        for split in DividedProtocol(rule, opened).splits(seed=0):
            scans = any(source.unit == "scan" for source in sources.values())
            assert len(split.train) >= (5 if scans else 8)
            assert split.validation
            assert split.test

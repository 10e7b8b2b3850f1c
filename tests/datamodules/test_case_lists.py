"""A user's own lists of case ids: read strictly, laid over the cases, and written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from contract.errors import UserError
from datamodules.case_lists import LISTED_SIDES, read_case_lists, write_case_lists
from datamodules.protocol import Protocol
from datamodules.sources import Case
from datamodules.splits import Split, make_split

FILMS = {"a": "p", "b": "p", "c": "q", "d": "r", "e": "s", "f": "t"}
"""Patients of films."""


def cases(dataset: str = "own", films: dict[str, str] = FILMS) -> list[Case]:
    return [Case(dataset, film, who, "all", Path(film), {}) for film, who in films.items()]


def written(folder: Path, content: Any) -> Path:
    if isinstance(content, str):
        path = folder / "lists.csv"
        path.write_text(content)
    else:
        path = folder / "splits_final.json"
        path.write_text(json.dumps(content))
    return path


def divided(path: Path, **rules: Any) -> list[Split]:
    rule = Protocol(("own",), ("own",), lists=str(path), **rules)
    return [make_split(rule, {"own": cases()}, fold=fold) for fold in range(rule.fold_count)]


def ids(keys: Sequence[tuple[str, str]]) -> str:
    return "".join(case_id for _, case_id in keys)


NNUNET = [{"train": ["c", "d", "e", "f"], "val": ["a", "b"]},
          {"train": ["a", "b", "e", "f"], "val": ["c", "d"]}]  # fmt: skip


def test_nnunets_val_is_tested_and_validation_comes_out_of_its_train(tmp_path: Path) -> None:
    first, second = divided(written(tmp_path, NNUNET), validation=1)
    assert (ids(first.test), ids(second.test)) == ("ab", "cd")
    for split, train in ((first, "cdef"), (second, "abef")):
        assert len(split.validation) == 1
        assert ids(sorted([*split.train, *split.validation])) == train


def test_a_table_may_say_who_validates_and_who_does_nothing(tmp_path: Path) -> None:
    table = "case_id;split\na;train\nb;train\nc;validation\nd;test\ne;unused\nf;train\n"
    (split,) = divided(written(tmp_path, table), validation=0.5)
    assert [ids(getattr(split, side)) for side in LISTED_SIDES] == ["abf", "c", "d", "e"]


def test_a_few_of_the_listed_training_cases_may_train(tmp_path: Path) -> None:
    table = "case_id,split\na,train\nb,train\nc,train\nd,test\ne,train\nf,validation\n"
    (split,) = divided(written(tmp_path, table), train_size=2)
    assert (len(split.train), ids(split.validation), len(split.unused)) == (2, "f", 2)


def test_both_formats_of_the_same_folds_have_one_digest(tmp_path: Path) -> None:
    lines = ["fold,split,case_id"]
    for fold, said in enumerate(NNUNET):
        lines += [f"{fold},train,{i}" for i in said["train"]]
        lines += [f"{fold},test,{i}" for i in said["val"]]
    table = read_case_lists(written(tmp_path, "\n".join(lines) + "\n"))
    assert table.digest == read_case_lists(written(tmp_path, NNUNET)).digest
    assert table.digest != read_case_lists(written(tmp_path, NNUNET[:1])).digest


def test_cases_that_are_not_listed_are_an_error_or_unused(tmp_path: Path) -> None:
    path = written(tmp_path, [{"train": ["c", "d"], "val": ["a", "b"]}])
    with pytest.raises(UserError, match=r"nothing about 2 cases: own e, own f.*unlisted: unused"):
        divided(path)
    (split,) = divided(path, unlisted="unused")
    assert ids(split.unused) == "ef"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            [{"train": ["b", "c", "d", "e", "f"], "val": ["a"]}],
            r"patient p of own in train \(b\) and test \(a\)",
        ),
        (
            "case_id,split\na,train\nb,validation\nc,test\nd,test\ne,test\nf,test\n",
            r"patient p of own in train \(a\) and validation \(b\)",
        ),
        (
            [{"train": ["c", "d", "e", "F_0000"], "val": ["a", "b"]}],
            "unknown case F_0000; expected ids of the data sets, which are 'a', 'b'",
        ),
        ([{"train": ["c", "c"], "val": ["a"]}], "fold 0: found case c a second time"),
        ([{"train": ["c", "a"], "val": ["a"]}], r"case a a second time \(train, then test\)"),
        ([NNUNET[0], NNUNET[0]], "case a tested in fold 0 and in fold 1"),
        ([], "found a list without folds"),
        ({"train": ["a"]}, "a mapping; expected a list of folds"),
        ([{"train": ["a"], "test": ["b"]}], r"fold 0: found \['test', 'train'\]"),
        ([{"train": [1], "val": ["b"]}], "fold 0: train"),
        ("case_id,split\na,training\n", "row 2: split: found 'training'; expected one of train"),
        ("case_id,fold\na,1\n", "case_id and split among them"),
        ("case_id,split,note\na,train,x\n", "columns .*note"),
        ("case_id,split\na\n", "row 2: found 1 cells"),
        ("case_id,split\n,train\n", "row 2: found no case_id"),
        ("case_id,split,fold\na,train,one\n", "row 2: fold: found 'one'"),
        ("case_id,split\n", "no line"),
        ("", "columns"),
        ('case_id,split\n"a,train\n', "no readable table"),
    ],
)
def test_faulty_lists_are_refused_by_file_place_and_ids(
    tmp_path: Path, content: Any, said: str
) -> None:
    path = written(tmp_path, content)
    with pytest.raises(UserError, match=said) as raised:
        divided(path)
    assert path.name in str(raised.value)


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    (tmp_path / "splits_final.pkl").write_bytes(b"\x80\x04\x95\xff")
    with pytest.raises(UserError, match=r"a pickle.*splits_final.json"):
        read_case_lists(tmp_path / "splits_final.pkl")
    with pytest.raises(UserError, match="no readable file"):
        read_case_lists(tmp_path / "absent.json")
    (tmp_path / "splits_final.json").write_text("[")
    with pytest.raises(UserError, match="no readable JSON"):
        read_case_lists(tmp_path / "splits_final.json")


def test_an_unknown_id_names_the_one_that_it_may_mean(tmp_path: Path) -> None:
    films = {f"{n:03d}": str(n) for n in range(8)}
    path = written(tmp_path, [{"train": [f"{n:03d}" for n in range(7)], "val": ["7"]}])
    rule = Protocol(("own",), ("own",), lists=str(path))
    with pytest.raises(UserError, match=r"unknown case 7;.*'000', '001'.*did you mean '007'"):
        make_split(rule, {"own": cases(films=films)})


def test_ids_that_two_sets_share_need_the_data_set(tmp_path: Path) -> None:
    both = {"own": cases(), "their": cases("their", {"a": "x", "b": "y"})}
    path = written(tmp_path, NNUNET[:1])
    rule = Protocol(("own", "their"), ("own",), lists=str(path))
    with pytest.raises(UserError, match=r"case [ab], which is in own and their"):
        make_split(rule, both)
    sides = ["test"] * 2 + ["train"] * 4
    lines = [f"own,{i},{side}" for i, side in zip("abcdef", sides, strict=True)]
    table = "dataset,case_id,split\n" + "\n".join(lines) + "\ntheir,a,train\ntheir,b,{}\n"
    rule = Protocol(("own", "their"), ("own",), lists=str(written(tmp_path, table.format("train"))))
    assert ("their", "a") in make_split(rule, both).train
    rule = Protocol(("own", "their"), ("own",), lists=str(written(tmp_path, table.format("test"))))
    with pytest.raises(UserError, match="case their b: test; expected cases of own"):
        make_split(rule, both)


def test_lists_that_changed_since_they_were_planned_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, NNUNET)
    pinned = read_case_lists(path).digest
    assert len(divided(path, lists_digest=pinned)) == 2
    written(tmp_path, NNUNET[::-1])
    with pytest.raises(UserError, match="other lists than those that were planned"):
        divided(path, lists_digest=pinned)


def test_written_lists_are_read_back_as_they_were(tmp_path: Path) -> None:
    rule = Protocol(("own",), ("own",), 1, folds=3)
    splits = [make_split(rule, {"own": cases()}, fold=fold) for fold in range(3)]
    folds = [{side: getattr(split, side) for side in LISTED_SIDES} for split in splits]
    write_case_lists(tmp_path / "out", folds)
    assert divided(tmp_path / "out" / "cases.csv") == splits
    assert divided(tmp_path / "out" / "splits_final.json", validation=1) == splits

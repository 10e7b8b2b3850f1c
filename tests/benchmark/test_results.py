"""Rule 5: each film, scan and slice once, in the split's order."""

import pytest

from benchmark.cell import results
from benchmark.cell.results import in_order
from datamodules.splits import Split

SPLIT = Split((), (), (("jsrt", "film"), ("lidc_idri", "a"), ("lidc_idri", "b")))


def row(unit, scan, place=None, structure="lungs"):
    case = scan if place is None else f"{scan}:{place:04d}"
    test_on = "jsrt" if unit == "image" else "lidc_idri"
    scan_id = None if unit == "image" else scan
    return {
        "test_on": test_on, "case_id": case, "unit": unit, "scan_id": scan_id,
        "slice_index": place, "structure": structure,
    }  # fmt: skip


def scan_rows(name, slices):
    return [row("scan", name), *(row("slice", name, place) for place in slices)]


FILM = [row("image", "film"), row("image", "film", structure="left_lung")]
WHOLE = [*scan_rows("b", [1, 0, 2]), *scan_rows("a", range(2)), *FILM]


def test_rows_come_in_the_splits_order_scans_before_their_slices():
    found = [(r["case_id"], r["structure"]) for r in in_order(WHOLE, SPLIT)]
    cases = ["a", "a:0000", "a:0001", "b", "b:0000", "b:0001", "b:0002"]
    assert found == [("film", "left_lung"), ("film", "lungs"), *((c, "lungs") for c in cases)]


@pytest.mark.parametrize(
    "rows",
    [
        [r for r in WHOLE if r["case_id"] != "a"],
        [*WHOLE, row("scan", "a")],
        [*WHOLE, row("scan", "foreign"), row("slice", "foreign", 0)],
        [*WHOLE, FILM[0]],
    ],
)
def test_a_case_missing_doubled_or_foreign_is_refused(rows):
    with pytest.raises(RuntimeError, match="3 in the split"):
        in_order(rows, SPLIT)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([r for r in WHOLE if r["case_id"] != "b:0001"], "scan b .* 2 slices scored"),
        ([*WHOLE, row("slice", "b", 1)], "4 slices scored, 3 different"),
        ([r for r in WHOLE if r["unit"] != "slice" or r["scan_id"] != "a"], "scan a .* 0 slices"),
        ([*WHOLE, row("slice", "foreign", 0)], "scan foreign"),
    ],
)
def test_slices_missing_doubled_or_without_their_scan_are_refused(rows, message):
    with pytest.raises(RuntimeError, match=message):
        in_order(rows, SPLIT)


def test_a_copy_without_git_is_told_its_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "__file__", str(tmp_path / "results.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.delenv("LUNGBENCH_COMMIT", raising=False)
    assert results.commit() is None
    monkeypatch.setenv("LUNGBENCH_COMMIT", "0123456789ab")
    assert results.commit() == "0123456789ab"

"""The means of a test, and the callback that keeps its rows."""

import pytest

from lightning_modules.case_rows import case_means


def test_means_are_over_scans_not_their_slices_and_over_what_is_defined():
    row = {"structure": "lungs", "dice": 0.5, "hausdorff_px": 3.0, "assd_mm": None}
    rows = [{**row, "unit": "slice"}, {**row, "unit": "image", "dice": 0.9}]
    rows.append({"structure": "lungs", "unit": "scan", "dice": 0.7, "assd_mm": 2.0})
    found = case_means(rows)
    assert found == pytest.approx(
        {"lungs/assd_mm": 2.0, "lungs/dice": 0.8, "lungs/hausdorff_px": 3.0}
    )


def test_means_leave_out_what_stands_beside_papers_only():
    row = {"structure": "heart", "unit": "image", "dice": 0.5, "hausdorff_rowvector": 3.0}
    assert case_means([row]) == {"heart/dice": 0.5}

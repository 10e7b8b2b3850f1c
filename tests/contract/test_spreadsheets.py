"""No text of a CSV file is a formula to a spreadsheet."""

from __future__ import annotations

import csv
import io

import pytest

from contract.spreadsheets import in_a_cell


@pytest.mark.parametrize(
    "text", ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1+1", "\r=1", "\n=1", "|x", "%x"]
)
def test_a_formula_becomes_text(text: str) -> None:
    assert in_a_cell(text) == f"'{text}"
    file = io.StringIO()
    csv.writer(file).writerow([in_a_cell(text)])
    assert file.getvalue().lstrip('"').startswith("'")


@pytest.mark.parametrize("value", ["a=b", "MCUCXR_0001", "", "-0.25", "+1e3", -0.25, 7, None, True])
def test_numbers_and_ordinary_text_stay(value: object) -> None:
    assert in_a_cell(value) is value

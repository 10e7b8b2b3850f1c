"""Text in CSV files, which a spreadsheet must not take for a formula."""

from __future__ import annotations

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")
"""What programs take for the beginning of a formula, or skip before they look for one."""


def in_a_cell(value: object) -> object:
    """Return a value as it stands in a CSV file: text that looks like a formula, behind a ``'``.

    Spreadsheets show what follows the apostrophe as plain text. Numbers, those in text too, stay
    as they are.
    """
    if not isinstance(value, str) or not value.startswith(_FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value

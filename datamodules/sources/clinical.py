"""What the clinical text files of the chest X-ray releases tell of a film.

The files were typed by people: the order, the labels and the units vary, and entries are missing.
What cannot be read with certainty is left out; no text is an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

LONGEST_TEXT = 1_000_000
"""No clinical file is near as long; a longer one is something else."""

OLDEST = 120

_LABELLED_SEX = re.compile(
    r"(?:patient'?s?\s*)?\b(?:sex|gender)\b\s*[:=]?\s*(female|male|f|m)\b", re.I
)
_SEX = re.compile(r"\b(female|male)\b", re.I)
_LABELLED_AGE = re.compile(r"(?:patient'?s?\s*)?\bage\b\s*[:=]?\s*([0-9]{1,3})\s*([a-z]*)", re.I)
_AGE = re.compile(
    r"(?<![a-z0-9.])([0-9]{1,3})\s*-?\s*(years?|yrs?|y|months?|mos?|weeks?|days?)\b"
    r"(?:[\s,-]*old\b)?",
    re.I,
)
_VIEW = re.compile(r"\bview(?:\s*position)?\s*[:=]\s*([a-z]{2,8})\b", re.I)
_JSRT_ID = re.compile(r"\b(JPC[LN]N[0-9]{3})\b", re.I)
_KINDS = ("malignant", "benign", "non-nodule")


def parse_reading(text: str) -> dict[str, str]:
    """Return ``sex`` (``F`` or ``M``), ``age`` (whole years), ``view`` and ``finding``.

    Understands ``Patient's Sex: F`` / ``Patient's Age: 027Y`` (Montgomery) and ``male 45yrs``
    (Shenzhen) with their irregular forms; all other words are the finding.
    """
    found: dict[str, str] = {}
    rest = text
    if match := _LABELLED_SEX.search(rest) or _SEX.search(rest):
        found["sex"] = match[1][0].upper()
        rest = _without(rest, match)
    if match := _LABELLED_AGE.search(rest) or _AGE.search(rest):
        age = years(int(match[1]), match[2].lower())
        if age is not None:
            found["age"] = str(age)
        rest = _without(rest, match)
    if match := _VIEW.search(rest):
        found["view"] = match[1].upper()
        rest = _without(rest, match)
    finding = " ".join(rest.split()).strip(" ,.;:")
    if finding:
        found["finding"] = finding
    return found


def parse_jsrt_table(text: str) -> dict[str, dict[str, str]]:
    """Return the attributes of each film of ``CLNDAT_EN.txt`` or ``CNNDAT_EN.TXT``.

    The columns are irregular, so each is known by what it holds: the sex by its word, the age as
    the number before it, the finding as ``malignant``, ``benign`` or ``non-nodule`` with the
    diagnosis in the last column.
    """
    table = {}
    for line in text.splitlines():
        fields = [part.strip() for part in re.split(r"\t+|\s{2,}", line.strip())]
        fields = line.split() if len(fields) == 1 else fields
        if not fields:
            continue
        if not (match := _JSRT_ID.match(fields[0])):
            continue
        words = [part.lower() for part in fields]
        found: dict[str, str] = {}
        place = next((i for i, word in enumerate(words) if word in ("male", "female")), None)
        if place is not None:
            found["sex"] = words[place][0].upper()
            age = re.fullmatch(r"([0-9]{1,3})(?:\s*y(?:rs?|ears?)?)?", words[place - 1])
            if age and int(age[1]) <= OLDEST:
                found["age"] = str(int(age[1]))
        kind = next((i for i, word in enumerate(words) if word in _KINDS), None)
        if kind is not None:
            diagnosis = fields[kind + 2 :]
            found["finding"] = ", ".join([words[kind], *filter(None, diagnosis)])
        table[match[1].upper()] = found
    return table


def read_clinical_texts(folder: Path) -> dict[str, dict[str, str]]:
    """Return the attributes of each ``<case id>.txt`` of a folder; none where it is absent."""
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".txt")
    except OSError:
        return {}
    return {path.stem: parse_reading(read_text(path)) for path in files}


def read_text(path: Path) -> str:
    """Return a clinical file's text, undecodable bytes replaced; empty where it is unreadable."""
    try:
        with path.open("rb") as file:
            return file.read(LONGEST_TEXT).decode("utf-8-sig", "replace").replace("\0", "")
    except OSError:
        return ""


def merge_attributes(*tables: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Return several tables as one, later ones adding what earlier ones left out."""
    merged: dict[str, dict[str, str]] = {}
    for table in tables:
        for case_id, found in table.items():
            merged[case_id] = {**found, **merged.get(case_id, {})}
    return merged


def _without(text: str, match: re.Match[str]) -> str:
    return f"{text[: match.start()]} {text[match.end() :]}"


def years(number: int, unit: str) -> int | None:
    """Return an age in whole years, or None where nobody is so old.

    Args:
        number: the age in its unit.
        unit: ``m`` or begins with ``mo``, ``w`` or ``d``; anything else means years.
    """
    if unit.startswith(("mo", "w", "d")) or unit == "m":
        number //= {"m": 12, "w": 52, "d": 365}[unit[0]]
    return number if number <= OLDEST else None

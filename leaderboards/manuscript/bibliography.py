"""What a suite cites: entries of ``bibliography.bib`` by system, data set and method."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@cache
def entries() -> dict[str, str]:
    """Every BibTeX entry by its key, in the order of the file."""
    text = files("leaderboards.manuscript").joinpath("bibliography.bib").read_text("utf-8")
    found = re.findall(r"^@\w+\{([^,]+),\n.*?^\}$", text, flags=re.MULTILINE | re.DOTALL)
    parts = [part.strip() for part in re.split(r"^(?=@)", text, flags=re.MULTILINE) if part.strip()]
    return dict(zip(found, parts, strict=True))


@cache
def uses() -> dict[str, Any]:
    """Keys by name under ``systems``, ``data_sets``, ``methods`` and ``parts``."""
    text = files("leaderboards.manuscript").joinpath("bibliography.yaml").read_text("utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    return content


def of_system(name: str) -> tuple[str, ...] | None:
    """Keys that a system cites: its own, or those of the longest name that it continues.

    Returns:
        None where nothing is known of it, as of a user's own network.
    """
    known: dict[str, list[str]] = uses()["systems"]
    words = name.split("_")
    for length in range(len(words), 0, -1):
        keys = known.get("_".join(words[:length]))
        if keys is not None:
            return tuple(keys)
    return None


def of_data_set(name: str) -> tuple[str, ...] | None:
    """Keys that a data set cites; None where nothing is known of it."""
    keys = uses()["data_sets"].get(name)
    return None if keys is None else tuple(keys)


def of_method(name: str) -> tuple[str, ...]:
    """Keys that a statistical method or metric cites.

    Raises:
        KeyError: there is no such method.
    """
    return tuple(uses()["methods"][name])


def of_part(name: str) -> tuple[str, ...]:
    """Keys that a class or an argument of a cell's config cites; none where nothing is known."""
    return tuple(uses()["parts"].get(name, ()))


def bibtex(keys: Iterable[str]) -> str:
    """The entries of some keys as a BibTeX file, each once, in the order of the bibliography.

    Raises:
        KeyError: a key has no entry.
    """
    wanted = set(keys)
    unknown = wanted - entries().keys()
    if unknown:
        raise KeyError(*sorted(unknown))
    return "\n\n".join(text for key, text in entries().items() if key in wanted) + "\n"

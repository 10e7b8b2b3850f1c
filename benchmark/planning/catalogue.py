"""What comes with the benchmark, for ``list``, and files as they are read, for ``show``."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import Any

from benchmark.planning.library import HERE, Settings, find, known_names, load_settings, load_suite
from contract.errors import UserError
from contract.names import in_short
from contract.suggestions import did_you_mean
from contract.yaml_files import read_yaml, yaml_text
from datamodules.sources import CT_SOURCES, SOURCES

SIZES = HERE / "systems" / "parameters.csv"
"""Parameters of each system's whole generator, the critic apart, as built for lungs alone."""
_TELLING = {"systems": ("model", "structures"), "protocols": ("train", "test"),
            "suites": ("protocols", "systems", "base")}  # fmt: skip


def catalogue(kind: str) -> list[dict[str, Any]]:
    """Return what there is of a kind, each as an object whose keys are columns.

    Args:
        kind: ``systems``, ``protocols``, ``suites`` or ``datasets``.
    """
    if kind == "datasets":
        return [
            {
                "name": name,
                "unit": "CT scans" if name in CT_SOURCES else "films",
                "structures": list(source.structures),
                "from": source.download,
            }
            for name, source in {**SOURCES, **CT_SOURCES}.items()
        ]
    describe = {"systems": _system, "protocols": _protocol, "suites": _suite}[kind]
    return [describe(name) for name in known_names(kind)]


def _system(name: str) -> dict[str, Any]:
    settings = load_settings("systems", name)
    return {
        "name": name,
        "title": settings.get("title", ""),
        "paper": settings.get("paper", ""),
        "parameters": _sizes()[name],
    }


@cache
def _sizes() -> dict[str, int]:
    """Return the parameters of what predicts, by system; counting them anew would load torch."""
    with SIZES.open(newline="", encoding="utf-8") as file:
        return {row["system"]: int(row["parameters"]) for row in csv.DictReader(file)}


def _protocol(name: str) -> dict[str, Any]:
    settings = load_settings("protocols", name)
    return {
        "name": name,
        "title": settings.get("title", ""),
        "train": settings["train"],
        "test": settings["test"],
    }


def _suite(name: str) -> dict[str, Any]:
    suite = load_suite(name)
    pairs = len(suite.generators) * len(suite.critics)
    under = [len(suite.system_protocols.get(s, suite.protocols)) for s in suite.systems]
    cells = (sum(under) + pairs * len(suite.protocols)) * len(suite.seeds)
    return {"name": name, "title": suite.title, "cells": cells}


def kind_of(name: str) -> str:
    """Return whether a name, or a YAML file, is of a system, protocol or suite.

    Raises:
        UserError: if it is none.
    """
    if name.endswith((".yaml", ".yml")):
        settings = read_yaml(find("systems", name))
        found = settings if isinstance(settings, dict) else {}
        told = [kind for kind, keys in _TELLING.items() if set(keys) & set(found)]
        base = found.get("extends")
        told += [kind for kind in _TELLING if isinstance(base, str) and base in known_names(kind)]
        if not told:
            raise UserError(name, "keys of no kind of file", "a system, protocol or suite")
        return told[0]
    for kind in _TELLING:
        if name in known_names(kind):
            return kind
    known = [one for kind in _TELLING for one in known_names(kind)]
    expected = "a system, protocol or suite, or a YAML file; see lungbench list"
    raise UserError("show", in_short(name), expected, did_you_mean(name, known))


def resolved(kind: str, name: str) -> str:
    """Return a file as YAML with all that it extends merged in, notes last."""
    settings: Settings = load_settings(kind, name)
    settings.pop("folder")
    notes = {key: settings.pop(key) for key in ("notes",) if key in settings}
    order = {"name": settings.pop("name"), **settings, **notes}
    head = f"# {kind.removesuffix('s')} {order['name']}, from {_shown(find(kind, name))}\n"
    return head + yaml_text(order, width=100, flow=None)


def _shown(path: Path) -> str:
    return str(path.relative_to(HERE.parent)) if path.is_relative_to(HERE.parent) else str(path)

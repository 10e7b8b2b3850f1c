"""What a cell does otherwise than its system's YAML file says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from benchmark.planning.compose import DESCRIPTIVE, filled
from benchmark.planning.library import Settings
from contract.cell_record import Change

HARDWARE = (
    "trainer.devices", "trainer.num_nodes", "trainer.accelerator", "trainer.profiler", "workers",
)  # fmt: skip
"""Where and how fast a cell runs, and how that is watched; neither moves its identity or rows."""
_NOT_THE_SYSTEM = (*HARDWARE, "trainer.strategy", "data.init_args.root", "data.init_args.cache")
_BESIDE = (*DESCRIPTIVE, "protocol_overrides")


def is_hardware(flag: str) -> bool:
    """Tell whether a key or flag leaves a cell's identity as it is."""
    return any(name in flag for name in HARDWARE)


def changes_between(said: Settings, done: Settings) -> list[Change]:
    """Return what differs between a system as its file says and as it is trained.

    Args:
        said: the system's settings.
        done: the same with all changes.

    Returns:
        each changed key with both values, as far as these say something else: a placeholder
        counts for what it stands for, and ``$epochs`` is no second change beside ``max_epochs``.
    """
    before, after = (dict(_leaves(_own(system))) for system in (said, done))
    found: list[Change] = []
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) == after.get(key) or any(name in key for name in _NOT_THE_SYSTEM):
            continue
        old, new = filled(before.get(key), said), filled(after.get(key), done)
        if old != new:
            found.append({"key": key, "from": old, "to": new})
    return found


def changes_by_flags(config: Settings, flags: Sequence[str]) -> list[Change]:
    """Return what arguments of ``fit`` (``--trainer.max_epochs=3``) change in a cell's config.

    Args:
        config: the cell's config.
        flags: the arguments, as given.
    """
    words = [part for flag in flags for part in flag.split("=", 1)]
    found: list[Change] = []
    for place, word in enumerate(words):
        if not word.startswith("--") or any(name in word for name in _NOT_THE_SYSTEM):
            continue
        following = words[place + 1] if place + 1 < len(words) else "null"
        old: Any = config
        for part in word[2:].split("."):
            old = old.get(part) if isinstance(old, dict) else None
        new = yaml.safe_load(following)
        if old != new:
            found.append({"key": word[2:], "from": old, "to": new})
    return found


def what_it_is(changes: Sequence[Change], baseline: str) -> dict[str, Any]:
    """Return what a record says of a cell beside its system's name.

    Args:
        changes: what it does otherwise than its system's file says.
        baseline: the system without a critic that it is compared with, of a pair.
    """
    return {"reduced": bool(changes), "changes": list(changes), "baseline": baseline}


def _own(system: Settings) -> Settings:
    return {key: value for key, value in system.items() if key not in _BESIDE}


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, json.loads(json.dumps(value))

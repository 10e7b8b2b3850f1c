"""Whether a cell's config is still the one that its hash was given to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from benchmark.planning.library import Settings
from contract.files import hash_of_text

_FREE = (
    ("cell", "seal"),
    ("cell", "about"),
    ("cell", "code_folders"),
    ("trainer", "devices"),
    ("trainer", "num_nodes"),
    ("trainer", "accelerator"),
    ("trainer", "strategy"),
    ("trainer", "profiler"),
    ("data", "init_args", "cache"),
    ("data", "init_args", "workers"),
)
"""Keys that leave rows as they are: where and how fast a cell runs, and what it tells readers."""
EDITED = {"key": "config", "from": "as composed", "to": "edited by hand"}
"""What a record says of a cell whose config is not the one that was composed."""


def seal_of(settings: Mapping[str, Any]) -> str:
    """Return the digest of all in a cell's config that rows depend on, however it is written down.

    Args:
        settings: the config.
    """
    kept = dict(settings)
    for *path, name in _FREE:
        place: Any = kept
        for part in path:
            if not isinstance(place.get(part), Mapping):
                break
            place[part] = dict(place[part])
            place = place[part]
        else:
            place.pop(name, None)
    try:
        text = json.dumps(kept, sort_keys=True, default=str)
    except TypeError:  # keys of several kinds
        text = json.dumps(_ordered(kept), default=str)
    return hash_of_text(text)


def _ordered(value: Any) -> Any:
    """Return a value whose mappings, keys of any kinds, stand in one order."""
    if isinstance(value, Mapping):
        return sorted([repr(key), _ordered(inner)] for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return [_ordered(inner) for inner in value]
    return value


def sealed(settings: Settings) -> Settings:
    """Return a cell's config with its seal.

    Args:
        settings: the config.
    """
    return {**settings, "cell": {**settings["cell"], "seal": seal_of(settings)}}


def identity_of_edited(identity: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Return what a cell is whose config may have been edited: another one, then.

    Args:
        identity: the config's ``cell`` section.
        settings: the whole config.

    Returns:
        the same where the seal is whole, or where no hash is claimed; otherwise with a hash of its
        own, and its changes say so.
    """
    found = dict(identity)
    claimed, seal = identity["config_hash"], seal_of(settings)
    if claimed and identity["seal"] != seal:
        text = json.dumps([claimed, seal])
        found["config_hash"] = hash_of_text(text)
        found["changes"] = [*identity["changes"], EDITED]
    return found

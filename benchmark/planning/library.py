"""Systems, protocols and suites as YAML files: the project's own and the user's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from contract.errors import UserError

HERE = Path(__file__).parents[1]
Settings = dict[str, Any]


@dataclass(frozen=True)
class Suite:
    """Systems by protocols by seeds.

    Attributes:
        name: the suite's name, which is its folder below the runs.
        title: one line for people.
        systems: names or YAML files of systems.
        protocols: names or YAML files of protocols.
        seeds: training seeds.
        overrides: changes to every system of the suite, by dotted key.
        system_overrides: further changes to single systems, by name.
        protocol_overrides: further changes to all systems under single protocols, by name.
        system_protocols: names of the protocols of single systems, by name; the others run
            under all.
        base: the system that all pairs of ``generators`` and ``critics`` start from.
        generators: networks that are crossed with ``critics``; see ``benchmark.planning.pairs``.
        critics: see ``generators``.
    """

    name: str
    title: str
    protocols: tuple[str, ...]
    systems: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    system_overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    protocol_overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    system_protocols: Mapping[str, Sequence[str]] = field(default_factory=dict)
    base: str = ""
    generators: Mapping[str, Settings] = field(default_factory=dict)
    critics: Mapping[str, Settings | None] = field(default_factory=dict)

    def layers(self, system: str, protocol: str) -> Iterator[Mapping[str, Any]]:
        """Give the suite's changes to a system under a protocol, the strongest last."""
        yield self.overrides
        yield self.system_overrides.get(system, {})
        yield self.protocol_overrides.get(protocol, {})


def known_names(kind: str) -> list[str]:
    """Return the names of the project's own files of a kind (``systems``, ``protocols`` …)."""
    return sorted(path.stem for path in (HERE / kind).glob("*.yaml"))


def find(kind: str, name: str) -> Path:
    """Return the file of a name, or of a path to the user's own YAML file.

    Raises:
        UserError: if there is none; names that exist are listed.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if path.is_file():
            return path.resolve()
        raise UserError(path, "no such file", f"a YAML file of {kind}")
    path = HERE / kind / f"{name}.yaml"
    if not path.is_file():
        raise UserError(
            kind, repr(name), f"one of {', '.join(known_names(kind))}, or a path to a YAML file"
        )
    return path


def load_settings(kind: str, name: str) -> Settings:
    """Return a file's settings, with those that it ``extends`` merged below.

    Raises:
        UserError: if the file is missing, no YAML mapping, or extends itself.
    """
    return _load(kind, find(kind, name), ())


def _load(kind: str, path: Path, seen: tuple[Path, ...]) -> Settings:
    if path in seen:
        raise UserError(path, "a file that extends itself", todo="mend `extends`")
    try:
        settings = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise UserError(path, f"no valid YAML ({error})", todo="mend the file") from None
    if not isinstance(settings, dict):
        raise UserError(path, "no mapping of keys to values", f"the keys of {kind}")
    base = settings.pop("extends", None)
    if base is not None:
        beside = path.parent / f"{base}.yaml"
        parent = beside if beside.is_file() else find(kind, base)
        settings = merge(_load(kind, parent, (*seen, path)), settings)
    settings.setdefault("name", path.stem)
    if base is not None:
        settings["name"] = path.stem
    settings["folder"] = str(path.parent)
    return dict(settings)


def load_suite(name: str) -> Suite:
    """Return a suite by name or by path.

    Raises:
        UserError: if a key is missing or unknown.
    """
    settings = load_settings("suites", name)
    folder = settings.pop("folder")
    known = set(Suite.__dataclass_fields__)
    pairs = {"base", "generators", "critics"}
    needed = {"protocols"} | (pairs if pairs & set(settings) else {"systems"})
    for missing in sorted(needed - set(settings)):
        raise UserError(find("suites", name), f"no key {missing!r}", f"{sorted(needed)}")
    for unknown in set(settings) - known:
        found = f"an unknown key {unknown!r}"
        raise UserError(find("suites", name), found, f"keys {sorted(known)}")
    for kind in ("systems", "protocols"):
        settings[kind] = tuple(_near(entry, folder) for entry in settings.get(kind, ()))
    if "base" in settings:
        settings["base"] = _near(settings["base"], folder)
    settings["seeds"] = tuple(settings.get("seeds", (0,)))
    return Suite(**{"title": settings["name"], **settings})


def _near(entry: str, folder: str) -> str:
    """Read a relative path to a YAML file from the folder of the file that names it."""
    path = Path(folder) / entry
    return str(path) if entry.endswith((".yaml", ".yml")) and path.is_file() else entry


def merge(below: Settings, above: Settings) -> Settings:
    """Return both mappings merged, ``above`` winning; other values are replaced whole.

    A mapping that names a ``class_path`` other than the one below replaces it whole, since
    another class has other arguments.
    """
    merged = deepcopy(below)
    for key, value in above.items():
        old = merged.get(key)
        other_class = (
            isinstance(old, dict)
            and isinstance(value, dict)
            and "class_path" in value
            and value["class_path"] != old.get("class_path")
        )
        if isinstance(old, dict) and isinstance(value, dict) and not other_class:
            merged[key] = merge(old, value)
        else:
            merged[key] = deepcopy(value)
    return merged


def override(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """Return the settings with dotted keys changed.

    Raises:
        UserError: if a key's parent is not a mapping.
    """
    changed = deepcopy(settings)
    for dotted, value in changes.items():
        *parents, last = dotted.split(".")
        place = changed
        for parent in parents:
            if place.get(parent) is None:
                place[parent] = {}
            place = place[parent]
            if not isinstance(place, dict):
                raise UserError(
                    f"--set {dotted}", f"{parent} is no mapping", "a key of the system's YAML"
                )
        place[last] = deepcopy(value)
    return changed


def parse_overrides(pairs: list[str]) -> Settings:
    """Read ``key=value`` pairs, values as YAML.

    Raises:
        UserError: if a pair has no ``=``.
    """
    changes = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator:
            raise UserError(f"--set {pair}", "no '='", "key=value, e.g. trainer.max_epochs=3")
        changes[key] = yaml.safe_load(value)
    return changes

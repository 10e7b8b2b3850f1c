"""Systems, protocols and suites as YAML files: the project's own and the user's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contract.errors import UserError
from contract.language import check_settings, documented_keys
from contract.names import in_short, require_name
from contract.suggestions import did_you_mean
from contract.yaml_files import parse_yaml, read_mapping

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
        file: the suite's YAML file.
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
    file: str = ""


def known_names(kind: str) -> list[str]:
    """Return the names of the project's own files of a kind (``systems``, ``protocols`` …)."""
    return sorted(path.stem for path in (HERE / kind).glob("*.yaml"))


def find(kind: str, name: str, where: object = "") -> Path:
    """Return the file of a name, or of a path to the user's own YAML file.

    Args:
        kind: ``systems``, ``protocols`` or ``suites``.
        name: the name or path.
        where: the file and key, or the option, that states it, for the message.

    Raises:
        UserError: if there is none; names that exist are listed.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if path.is_file():
            return path.resolve()
        found = "a folder" if path.is_dir() else "no such file"
        there = [f.name for f in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        todo = did_you_mean(path.name, there)
        expected = f"a YAML file of {kind}" + (f", named in {where}" if where else "")
        raise UserError(path, found, expected, todo)
    path = HERE / kind / f"{name}.yaml"
    if "/" in name or not path.is_file():
        known = known_names(kind)
        expected = f"one of {', '.join(known)}, or a path to a YAML file"
        raise UserError(where or kind, in_short(name), expected, did_you_mean(name, known))
    return path


def load_settings(kind: str, name: str, where: object = "") -> Settings:
    """Return a file's settings, with those that it ``extends`` merged below.

    Args:
        kind: ``systems``, ``protocols`` or ``suites``.
        name: a name, or the path of a YAML file.
        where: the file and key, or the option, that states it, for the message.

    Raises:
        UserError: if a file is missing, no YAML mapping, extends itself, or holds a key or value
            that files of its kind must not hold.
    """
    path = find(kind, name, where)
    parts = lineage(kind, path)
    settings: Settings = {}
    for _, own in reversed(parts):
        settings = merge(settings, {key: own[key] for key in own if key not in ("extends", "name")})
    settings["name"] = require_name(parts[0][1].get("name", path.stem), f"{path}: name")
    settings["folder"] = str(path.parent)
    return settings


def lineage(kind: str, path: Path) -> list[tuple[Path, Settings]]:
    """Return a file's own settings, then those of the file that it extends, and so on.

    Raises:
        UserError: as ``load_settings``.
    """
    from benchmark.planning.language import FILE_KINDS

    described = FILE_KINDS[kind.removesuffix("s")]
    parts: list[tuple[Path, Settings]] = []
    while True:
        if path in [file for file, _ in parts]:
            raise UserError(path, "a file that extends itself", todo="mend `extends`")
        settings = read_mapping(path, ", ".join(documented_keys(described)))
        check_settings(described, settings, path, whole=False)
        parts.append((path, settings))
        base = settings.get("extends")
        if base is None:
            return parts
        beside = [path.parent / name for name in (base, f"{base}.yaml")]
        near = next((file for file in beside if file.is_file() and file.suffix), None)
        path = near.resolve() if near else find(kind, base, f"{path}: extends")


def load_suite(name: str) -> Suite:
    """Return a suite by name or by path.

    Raises:
        UserError: if a key is missing or unknown.
    """
    settings = load_settings("suites", name, "--suite")
    folder, file = settings.pop("folder"), find("suites", name)
    pairs = {"base", "generators", "critics"}
    needed = {"protocols"} | (pairs if pairs & set(settings) else {"systems"})
    for missing in sorted(needed - set(settings)):
        raise UserError(file, f"no key {missing!r}", f"the keys {', '.join(sorted(needed))}")
    for kind in ("systems", "protocols"):
        settings[kind] = tuple(_near(entry, folder) for entry in settings.get(kind, ()))
    if "base" in settings:
        settings["base"] = _near(settings["base"], folder)
    settings["seeds"] = tuple(settings.get("seeds", (0,)))
    for seed in settings["seeds"]:
        if settings["seeds"].count(seed) > 1:
            raise UserError(f"{file}: seeds", f"{seed} twice", "each seed once")
    settings["file"] = str(file)
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


def override(settings: Settings, changes: Mapping[str, Any], where: object = "--set") -> Settings:
    """Return the settings with dotted keys changed.

    Args:
        settings: a system.
        changes: values by dotted key.
        where: the file and key, or the option, that states them, for the message.

    Raises:
        UserError: if a key's parent is not a mapping, or the key is a system's name.
    """
    changed = deepcopy(settings)
    for dotted, value in changes.items():
        *parents, last = dotted.split(".")
        if dotted in FIXED:
            todo = "write a YAML file of your own that `extends` it"
            raise UserError(f"{where} {dotted}", "a change of it", "a key of what is trained", todo)
        place = changed
        for parent in parents:
            if place.get(parent) is None:
                place[parent] = {}
            place = place[parent]
            if not isinstance(place, dict):
                raise UserError(
                    f"{where} {dotted}", f"{parent} is no mapping", "a key of the system's YAML"
                )
        place[last] = deepcopy(value)
    return changed


FIXED = ("name", "folder", "extends")
"""What a system is called, and where it stands, is no setting of it."""


def parse_overrides(pairs: list[str]) -> Settings:
    """Read ``key=value`` pairs, values as YAML.

    Raises:
        UserError: if a pair has no ``=``, no key, or a value that is no YAML.
    """
    changes = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            found = "no '='" if not separator else "no key before '='"
            raise UserError(f"--set {pair}", found, "key=value, e.g. trainer.max_epochs=3")
        changes[key] = parse_yaml(value, f"--set {pair}")
    return changes

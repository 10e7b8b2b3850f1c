"""A suite as its YAML files state it, read whole and checked before any data is touched."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.planning.compose import choose_structures, without_description
from benchmark.planning.library import (
    Settings,
    Suite,
    find,
    known_names,
    lineage,
    load_settings,
    load_suite,
    override,
)
from benchmark.planning.pairs import cross
from benchmark.planning.system_check import check_system, require_adversarial
from contract.errors import UserError
from contract.names import require_name
from contract.suggestions import did_you_mean
from datamodules.protocol import Protocol
from datamodules.sources import CT_SOURCES, SOURCES, open_source

Layer = tuple[str, Mapping[str, object]]
"""Where changes are stated, and the changes by dotted key."""


@dataclass
class Design:
    """A suite's files.

    Attributes:
        suite: the suite.
        changes: the user's changes to every system, by dotted key.
        systems: each system's settings, by name, before any change.
        files: each system's YAML file, by name.
        protocols: each protocol's settings, by name.
        faults: why systems cannot be used, by name.
        unwanted: the same of systems that nobody asked for.
    """

    suite: Suite
    changes: Mapping[str, object] = field(default_factory=dict)
    systems: dict[str, Settings] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    protocols: dict[str, Settings] = field(default_factory=dict)
    faults: dict[str, UserError] = field(default_factory=dict)
    unwanted: dict[str, UserError] = field(default_factory=dict)

    def layers(self, system: str, protocol: str) -> Iterator[Layer]:
        """Give the changes that apply to a system under a protocol, the strongest last."""
        suite = self.suite
        own = self.systems[system].get("protocol_overrides") or {}
        yield f"{self.files[system]}: protocol_overrides.{protocol}", own.get(protocol, {})
        yield f"{suite.file}: overrides", suite.overrides
        yield f"{suite.file}: system_overrides.{system}", suite.system_overrides.get(system, {})
        label = f"{suite.file}: protocol_overrides.{protocol}"
        yield label, suite.protocol_overrides.get(protocol, {})
        yield "--set", self.changes

    def changed(self, system: str, protocol: str) -> Settings:
        """Return a system with all changes that apply under a protocol."""
        settings = deepcopy(self.systems[system])
        for label, layer in self.layers(system, protocol):
            settings = apply(settings, label, layer)
        return settings

    def said(self, system: str, protocol: str) -> Settings:
        """Return a system as its own file has it under a protocol."""
        label, own = next(self.layers(system, protocol))
        return apply(deepcopy(self.systems[system]), label, own)

    def protocols_of(self, system: str) -> list[str]:
        """Return the names of the protocols under which a system runs."""
        limited = self.suite.system_protocols.get(system)
        return [name for name in self.protocols if limited is None or name in limited]

    def require_sound(self) -> None:
        """Raise the first system's fault, and name the others.

        Raises:
            UserError: if any system is faulty.
        """
        if not self.faults:
            return
        first, *others = self.faults
        fault = self.faults[first]
        if others:
            more = f"{', '.join(others)} {'is' if len(others) == 1 else 'are'} faulty, too"
            todo = f"{fault.todo}; {more}" if fault.todo else more
            raise UserError(fault.where, fault.found, fault.expected, todo)
        raise fault


def apply(system: Settings, label: str, layer: Mapping[str, object]) -> Settings:
    """Return a system with a layer of changes, itself where there are none.

    A key marked with ``?`` applies only where the system already has it; with a second key behind
    the mark, where it has that one.
    """
    kept: dict[str, object] = {}
    for marked, value in layer.items():
        dotted, mark, needed = marked.partition("?")
        place: object = system
        for part in (needed or dotted).split("."):
            place = place.get(part) if isinstance(place, dict) else None
        if not mark or place is not None:
            kept[dotted] = value
    return override(system, kept, label) if kept else system


def read_design(
    suite_name: str,
    changes: Mapping[str, object] | None = None,
    extra_systems: Sequence[str] = (),
    root: Path | None = None,
    keep_going: bool = False,
    wanted_systems: Collection[str] = (),
) -> Design:
    """Read and check everything that a suite names; no data is opened and nothing is written.

    Args:
        suite_name: the suite's name or YAML file.
        changes: overrides of every system, by dotted key.
        extra_systems: YAML files of systems that join the suite.
        root: the data root, where descriptions of a user's own data may lie.
        keep_going: keep a system's fault, which concerns no other, in ``faults``.
        wanted_systems: the systems that are meant, if not all; others that are faulty are left
            out, and of these it is no fault that no
            epoch is left to their critic.

    Raises:
        UserError: if the suite or a protocol is faulty, or a system and not ``keep_going``.
    """
    suite = load_suite(suite_name)
    require_name(suite.name, f"{suite.file}: name")
    design = Design(suite, changes or {})
    for name in suite.protocols:
        file = find("protocols", name, f"{suite.file}: protocols")
        protocol = load_settings("protocols", name)
        check_protocol(file, protocol, root)
        design.protocols[protocol["name"]] = protocol
    _read_systems(design, extra_systems)
    if not design.systems and not design.faults:
        raise UserError(f"{suite.file}: systems", "an empty list", "a system, here or by --with")
    _require_known(design)
    for name in design.systems:
        try:
            _check(design, name, not wanted_systems or name in wanted_systems)
        except UserError as fault:
            design.faults[name] = fault
    for name in list(design.faults):
        if wanted_systems and name not in wanted_systems:
            design.unwanted[name] = design.faults.pop(name)
            design.systems.pop(name, None)
    if not keep_going:
        design.require_sound()
    return design


def _read_systems(design: Design, extra_systems: Sequence[str]) -> None:
    suite = design.suite
    stated = [(name, f"{suite.file}: systems") for name in suite.systems]
    stated += [(name, "--with") for name in extra_systems]
    read: list[tuple[Path, Settings]] = []
    for name, where in dict(stated).items():
        file = find("systems", name, where)
        try:
            read.append((file, load_settings("systems", name, where)))
        except UserError as fault:
            design.faults[file.stem] = fault
    if suite.base:
        base = load_settings("systems", suite.base, f"{suite.file}: base")
        read += [(Path(suite.file), one) for one in cross(base, suite.generators, suite.critics)]
    for file, system in read:
        name = require_name(system["name"], f"{file}: name")
        if name in design.systems or name in design.faults:
            found = f"a second system called {name!r}"
            raise UserError(f"suite {suite.name}", found, "unique names", f"rename {file}")
        design.systems[name], design.files[name] = system, file


def _require_known(design: Design) -> None:
    """Refuse a suite that speaks of systems or protocols which it does not hold."""
    suite = design.suite
    limited = {name: "" for names in suite.system_protocols.values() for name in names}
    systems = {**design.systems, **design.faults}
    for kind, key, spoken, held in (
        ("system", "system_overrides", suite.system_overrides, systems),
        ("system", "system_protocols", suite.system_protocols, systems),
        ("protocol", "protocol_overrides", suite.protocol_overrides, design.protocols),
        ("protocol", "system_protocols", limited, design.protocols),
    ):
        for name in spoken:
            if name not in held:
                where, found = f"{suite.file}: {key}", f"settings for {name!r}"
                expected = f"names of its {kind}s only"
                raise UserError(where, found, expected, did_you_mean(name, held))


def check_protocol(file: Path, protocol: Settings, root: Path | None) -> None:
    """Refuse a protocol whose rules contradict one another or name unknown data sets.

    Args:
        file: its YAML file.
        protocol: its settings.
        root: the data root, if it is known.

    Raises:
        UserError: naming file and key.
    """
    for side in ("train", "test"):
        if side not in protocol:
            raise UserError(file, f"no key {side!r}", f"the data sets that {side}, as a list")
        for name in protocol[side]:
            _check_dataset(f"{file}: {side}", name, Path(protocol["folder"]), root)
    try:
        Protocol(**without_description(protocol))
    except UserError as fault:
        where = f"{file}: {fault.where.removeprefix('protocol: ')}"
        raise UserError(where, fault.found, fault.expected, fault.todo) from None


def _check_dataset(where: str, name: str, folder: Path, root: Path | None) -> None:
    official = [*SOURCES, *CT_SOURCES]
    if name in official:
        return
    if not name.lower().endswith((".yaml", ".yml")):
        expected = f"one of {', '.join(official)}, or a path to a YAML file"
        raise UserError(where, repr(name), expected, did_you_mean(name, official))
    places = [folder, *([root] if root else []), Path()]
    file = next((place / name for place in places if (place / name).is_file()), None)
    if file is None:
        looked = " or ".join(dict.fromkeys(str(place.resolve()) for place in places))
        there = [one.name for place in places for one in place.glob("*.y*ml")]
        raise UserError(where, repr(name), f"that file in {looked}", did_you_mean(name, there))
    open_source(str(file.resolve()), root or file.parent)


def _check(design: Design, name: str, wanted: bool) -> None:
    """Refuse a system that cannot be built as any protocol of the suite changes it.

    The message names whatever states the fault first: the file, or the changes to it.
    """
    file, seen = design.files[name], []
    known = sorted({*design.protocols, *known_names("protocols")})
    for stated in design.systems[name].get("protocol_overrides") or {}:
        todo = did_you_mean(str(stated), known)
        if stated not in known and todo:  # another name may be of another suite's protocol
            where, found = f"{file}: protocol_overrides", f"settings for {stated!r}"
            raise UserError(where, found, "names of protocols", todo)
    for protocol in design.protocols_of(name):
        layers = [(label, layer) for label, layer in design.layers(name, protocol) if layer]
        final = design.changed(name, protocol)
        if layers not in seen:
            seen.append(layers)
            try:
                check_system(final, file)
            except UserError as fault:
                raise _first_stated(design, name, layers, fault) from None
            if wanted:
                require_adversarial(final)
        available = _available(design.protocols[protocol])
        if available:
            choose_structures(final, available)


def _available(protocol: Settings) -> list[set[str]]:
    """Return the structures of the official training sets, in any order; own ones are unread."""
    known = {**SOURCES, **CT_SOURCES}
    return [set(known[name].structures) for name in protocol["train"] if name in known]


def _first_stated(
    design: Design, name: str, layers: Sequence[Layer], fault: UserError
) -> UserError:
    """Return the fault as of the file or the change that brings it about."""
    system, label, parts = design.systems[name], str(design.files[name]), []
    if design.files[name].suffix and str(design.files[name]) != design.suite.file:
        parts = lineage("systems", design.files[name])
    for stated, layer in [("", {}), *layers]:
        system, label = apply(system, stated, layer), stated or label
        try:
            check_system(system, label)
        except UserError as found:
            if (found.found, found.expected) == (fault.found, fault.expected):
                key = found.where.removeprefix(label).removeprefix(": ")
                file = label if stated else _stating(parts, key, label)
                where = f"{file}: {key}" if key else file
                return UserError(where, found.found, found.expected, found.todo)
    return fault


def _stating(parts: Sequence[tuple[Path, Settings]], key: str, file: str) -> str:
    """Return which of a system's file and those that it extends states what a key says.

    A file that names another class states all its arguments, those that it leaves out, too.
    """
    for path, own in parts:
        place: object = own
        for part in key.partition("[")[0].split("."):
            if not isinstance(place, dict) or part not in place:
                break
            place = place[part]
        else:
            return str(path)
        if isinstance(place, dict) and "class_path" in place:
            return str(path)
    return file

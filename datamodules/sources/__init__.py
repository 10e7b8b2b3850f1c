"""One reader per data set: official layout, or a user's own described in YAML, to cases."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from contract.errors import UserError
from datamodules.sources.base import Case, Source
from datamodules.sources.ct.scan import CTSource
from datamodules.sources.jsrt import JSRTSource
from datamodules.sources.lidc_idri import LIDCIDRISource
from datamodules.sources.montgomery import MontgomerySource
from datamodules.sources.official_source import OfficialSource
from datamodules.sources.own_data import OwnData
from datamodules.sources.own_description import read_description
from datamodules.sources.own_scans import OwnScans
from datamodules.sources.qin_lung_ct import QINLungCTSource
from datamodules.sources.shenzhen import ShenzhenSource

SOURCES: dict[str, type[OfficialSource]] = {
    source.name: source for source in (MontgomerySource, ShenzhenSource, JSRTSource)
}
"""Chest X-ray sets."""

CT_SOURCES: dict[str, type[CTSource]] = {
    source.name: source for source in (LIDCIDRISource, QINLungCTSource)
}
"""CT sets, whose cases are scans."""

__all__ = [
    "CT_SOURCES",
    "SOURCES",
    "CTSource",
    "Case",
    "OfficialSource",
    "OwnData",
    "OwnScans",
    "Source",
    "open_source",
    "open_sources",
    "require_own_name",
]


def open_source(name: str, root: Path, cache: Path | None = None) -> Source:
    """Return the reader of one data set.

    Args:
        name: a key of ``SOURCES`` or ``CT_SOURCES``, or the path of a YAML file that describes a
            user's own data set (see ``own_data``), from the data root or the current folder.
        root: the data root, which holds the official folders side by side.
        cache: a folder in which CT sets remember their files' headers, or none.

    Raises:
        UserError: if no data set has that name, or the YAML file is absent or wrong.
        DataError: if a folder that the YAML file names does not exist.
    """
    if name in CT_SOURCES:
        scans = CT_SOURCES[name](root)
        scans.memory = cache
        return scans
    if name in SOURCES:
        return SOURCES[name](root)
    official = {**SOURCES, **CT_SOURCES}
    if Path(name).suffix.lower() not in (".yaml", ".yml"):
        known = ", ".join(sorted(official))
        raise UserError("data set", repr(name), f"one of {known}, or a path to a YAML file")
    places = [place for place in (Path(root) / name, Path(name)) if place.is_file()]
    if not places:
        raise UserError(
            "data set", repr(name), f"that file in {root} or in {Path.cwd()}", "mend the path"
        )
    file = places[0].resolve()
    kind = OwnScans if read_description(file, root).unit == "scan" else OwnData
    source: Source = kind(file, root)
    if source.name in official:
        raise UserError(
            places[0], f"a data set called {source.name!r}", "another name than an official set's"
        )
    return source


def open_sources(names: Iterable[str], root: Path, cache: Path | None = None) -> dict[str, Source]:
    """Return the readers of several data sets by the names that were asked for.

    Args:
        names: as for ``open_source``.
        root: the data root.
        cache: as for ``open_source``.

    Raises:
        UserError: if two different files describe data sets of one name, or as ``open_source``.
    """
    sources = {name: open_source(name, root, cache) for name in names}
    asked: dict[str, str] = {}
    for name, source in sources.items():
        require_own_name(source, name, asked)
    return sources


def require_own_name(source: Source, asked: str, known: dict[str, str]) -> None:
    """Refuse two descriptions of one name: tables would take them for one data set.

    Args:
        source: a reader.
        asked: the name or file by which it was asked for.
        known: the same of other readers by their names; this one's is added.

    Raises:
        UserError: if another one has its name.
    """
    other = known.setdefault(source.name, asked)
    if other != asked:
        raise UserError(
            asked,
            f"a data set called {source.name!r}, as is {other}",
            "names of their own",
            "give one of them another `name`",
        )

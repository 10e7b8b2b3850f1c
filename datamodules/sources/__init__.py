"""One reader per data set: official layout, or a user's own described in YAML, to cases."""

from __future__ import annotations

from pathlib import Path

from contract.errors import UserError
from datamodules.sources.base import Case, Source
from datamodules.sources.jsrt import JSRT
from datamodules.sources.montgomery import Montgomery
from datamodules.sources.official_source import OfficialSource
from datamodules.sources.own_data import OwnData
from datamodules.sources.shenzhen import Shenzhen

SOURCES: dict[str, type[OfficialSource]] = {
    source.name: source for source in (Montgomery, Shenzhen, JSRT)
}

__all__ = ["SOURCES", "Case", "OfficialSource", "OwnData", "Source", "open_source"]


def open_source(name: str, root: Path) -> Source:
    """Return the reader of one data set.

    Args:
        name: a key of ``SOURCES``, or the path of a YAML file that describes a user's own data
            set (see ``own_data``), from the data root or the current folder.
        root: the data root, which holds the official folders side by side.

    Raises:
        UserError: if no data set has that name, or the YAML file is absent or wrong.
        DataError: if a folder that the YAML file names does not exist.
    """
    if name in SOURCES:
        return SOURCES[name](root)
    if Path(name).suffix.lower() not in (".yaml", ".yml"):
        known = ", ".join(sorted(SOURCES))
        raise UserError("data set", repr(name), f"one of {known}, or a path to a YAML file")
    places = [place for place in (Path(root) / name, Path(name)) if place.is_file()]
    if not places:
        raise UserError(
            "data set", repr(name), f"that file in {root} or in {Path.cwd()}", "mend the path"
        )
    source = OwnData(places[0].resolve(), root)
    if source.name in SOURCES:
        raise UserError(
            places[0], f"a data set called {source.name!r}", "another name than an official set's"
        )
    return source

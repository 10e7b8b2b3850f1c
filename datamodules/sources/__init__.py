"""One reader per data set: official layout to cases."""

from __future__ import annotations

from pathlib import Path

from contract.errors import UserError
from datamodules.sources.base import Case, OfficialSource, Source
from datamodules.sources.jsrt import JSRT
from datamodules.sources.montgomery import Montgomery
from datamodules.sources.shenzhen import Shenzhen

SOURCES: dict[str, type[OfficialSource]] = {
    source.name: source for source in (Montgomery, Shenzhen, JSRT)
}

__all__ = ["SOURCES", "Case", "Source", "open_source"]


def open_source(name: str, root: Path) -> Source:
    """Return the reader of one data set below a data root.

    Args:
        name: the data set's name, a key of ``SOURCES``.
        root: the data root, which holds the official folders side by side.

    Raises:
        UserError: if no data set has that name.
    """
    if name not in SOURCES:
        raise UserError("data set", repr(name), f"one of {', '.join(sorted(SOURCES))}")
    return SOURCES[name](root)

"""LIDC-IDRI's XML: what four radiologists outlined, one reading session each.

Armato et al., "The Lung Image Database Consortium (LIDC) and Image Database Resource Initiative
(IDRI)", Medical Physics 38(2), 2011. Nodules of 3 mm and more are outlined in every slice; smaller
ones and non-nodules are marked with a single point, and are left out here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from contract.errors import DataError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

CT_ROOT = "LidcReadMessage"
"""The root of a CT's readings; a radiograph's are an ``IdriReadMessage``."""

LARGEST_XML = 64 << 20
"""Larger files are refused; the release's largest has a few megabytes."""

Contour = tuple[tuple[int, int], ...]
"""Pixels (column, row), counted from 0 at the top left."""


@dataclass(frozen=True)
class Outline:
    """One closed contour in one slice.

    Attributes:
        instance: the slice's SOPInstanceUID.
        contour: the outline, which runs just outside of what it encloses.
        inclusion: False where what it encloses is no part of the nodule (a hole).
    """

    instance: str
    contour: Contour
    inclusion: bool


@dataclass(frozen=True)
class ReaderNodule:
    """What one reader outlined of one nodule.

    Attributes:
        reader: the reading session's number in the file, from 0.
        name: the reader's own name for it.
        outlines: its contours, of at least two points each.
    """

    reader: int
    name: str
    outlines: tuple[Outline, ...]


@dataclass(frozen=True)
class Readings:
    """A file's readings: the series they belong to, and every reader's outlined nodules."""

    series: str
    readers: int
    nodules: tuple[ReaderNodule, ...]


def read_nodule_readings(path: Path) -> Readings | None:
    """Return a file's readings; None for XML of another kind, as that of a radiograph.

    Raises:
        DataError: if the file is no XML, holds entities (which can explode), is truncated or has
            no such structure.
    """
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, parse

    try:
        if path.stat().st_size > LARGEST_XML:
            raise DataError(path, f"{path.stat().st_size} bytes", "a reading of a few megabytes")
        root = parse(path).getroot()
    except DefusedXmlException as error:
        raise DataError(
            path,
            f"XML that declares entities ({type(error).__name__}), which may explode",
            "a LIDC reading without a DTD",
            "download the file from TCIA again",
        ) from None
    except (ParseError, ValueError, LookupError) as error:
        raise DataError(
            path, f"no whole XML ({error})", "a LIDC reading", "download it again"
        ) from None
    except OSError as error:
        raise DataError(path, f"an unreadable file ({error.strerror})") from None
    if _tag(root) != CT_ROOT:
        return None
    series = next((_text(e) for e in root.iter() if _tag(e) == "SeriesInstanceUid"), "")
    sessions = [element for element in root if _tag(element) == "readingSession"]
    found = (_nodules(path, number, session) for number, session in enumerate(sessions))
    return Readings(series, len(sessions), tuple(nodule for own in found for nodule in own))


def _nodules(path: Path, reader: int, session: Element) -> Iterator[ReaderNodule]:
    for element in _children(session, "unblindedReadNodule"):
        name = next((_text(e) for e in _children(element, "noduleID")), "")
        regions = (_outline(path, region) for region in _children(element, "roi"))
        outlines = tuple(region for region in regions if len(region.contour) > 1)
        if outlines:
            yield ReaderNodule(reader, name, outlines)


def _outline(path: Path, region: Element) -> Outline:
    instance = next((_text(e) for e in _children(region, "imageSOP_UID")), "")
    inclusion = next((_text(e) for e in _children(region, "inclusion")), "TRUE").upper()
    if not instance or inclusion not in ("TRUE", "FALSE"):
        raise DataError(
            path,
            f"a region of slice {instance!r}, inclusion {inclusion!r}",
            "both as LIDC has them",
        )
    contour = tuple(_point(path, edge) for edge in _children(region, "edgeMap"))
    return Outline(instance, contour, inclusion == "TRUE")


def _point(path: Path, edge: Element) -> tuple[int, int]:
    texts = [next((_text(e) for e in _children(edge, key)), "") for key in ("xCoord", "yCoord")]
    try:
        column, row = (int(text) for text in texts)
    except ValueError:
        raise DataError(path, f"a point at {texts}", "two whole numbers") from None
    return column, row


def _children(element: Element, tag: str) -> Iterator[Element]:
    return (child for child in element if _tag(child) == tag)


def _tag(element: Element) -> str:
    """Return the tag without its namespace."""
    return str(element.tag).rpartition("}")[2]


def _text(element: Element) -> str:
    return (element.text or "").strip()

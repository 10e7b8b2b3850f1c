"""The pictures that cells kept of their best, median and worst cases, made ready for the page.

A picture is embedded once, with its reference's outline, however many systems show it; each
system adds the outline of its own prediction. What would make the page too heavy stays out, the
lower ranks first, and the page says so.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from markupsafe import Markup

from contract.cell_folder import CellFolder
from contract.cell_record import CellRecord
from contract.errors import DataError
from contract.words import GALLERY_FORMAT
from leaderboards.page.svg import element, side_by_side

KINDS = ("worst", "median", "best")
BUDGET = 8_000_000
"""Characters that pictures and outlines may add to the page."""
_NAME = re.compile(r"[0-9a-f]{32}\.webp")
_HALVES = 2
"""Outlines are drawn in half pixels of the picture, in whole numbers."""


@dataclass(frozen=True)
class Picture:
    """A film with its reference's outline, as the page embeds it.

    Attributes:
        identity: of the film and the outline together.
        width: in half pixels.
        height: in half pixels.
        film: WebP in base 64.
        outline: of the reference, an SVG path in half pixels.
    """

    identity: str
    width: int
    height: int
    film: str
    outline: str

    @property
    def svg(self) -> Markup:
        """The group that every tile of this film refers to."""
        film = element("image", href=f"data:image/webp;base64,{self.film}",
                       width=self.width, height=self.height)  # fmt: skip
        outline = element("path", d=self.outline, class_="reference")
        return element("g", film + outline, id=f"p{self.identity}")


@dataclass(frozen=True)
class Tile:
    """One case of one system.

    Attributes:
        kind: one of ``KINDS``.
        case: the case's name.
        test_on: its data set.
        numbers: Dice and Hausdorff distance in words.
        picture: the film.
        outline: of the prediction, an SVG path in half pixels.
        left_out: outlines too many to draw, specks as a rule.
    """

    kind: str
    case: str
    test_on: str
    numbers: str
    picture: Picture
    outline: str
    left_out: int

    @property
    def svg(self) -> Markup:
        """The film, the reference's outline and the prediction's."""
        parts = [element("use", href=f"#p{self.picture.identity}")]
        parts.append(element("path", d=self.outline, class_="prediction"))
        box = f"0 0 {self.picture.width} {self.picture.height}"
        said = f"{self.case}: {self.numbers}"
        return element(
            "svg", side_by_side(parts), viewBox=box, role="img", aria_label=said, class_="tile"
        )


@dataclass(frozen=True)
class CellGallery:
    """What one cell kept.

    Attributes:
        system: name.
        protocol: name.
        seed: of the training.
        phantom: synthetic films.
        tiles: worst, median and best cases.
        terms: where real films come from, and under which terms, by data set.
    """

    system: str
    protocol: str
    seed: int
    phantom: bool
    tiles: tuple[Tile, ...]
    terms: Mapping[str, str]

    def of_kind(self, kind: str) -> list[Tile]:
        """The tiles of one kind, the most telling first."""
        return [tile for tile in self.tiles if tile.kind == kind]


@dataclass(frozen=True)
class Album:
    """The galleries that a page shows, and those that it does not.

    Attributes:
        cells: shown galleries.
        over_budget: systems and protocols whose pictures would make the page too heavy.
        without: systems and protocols whose cell kept no pictures.
        refused: the user asked for a page without pictures.
    """

    cells: tuple[CellGallery, ...] = ()
    over_budget: tuple[tuple[str, str], ...] = ()
    without: tuple[tuple[str, str], ...] = ()
    refused: bool = False

    @cached_property
    def pictures(self) -> list[Picture]:
        """Every film of the shown galleries, once."""
        found = {tile.picture.identity: tile.picture for cell in self.cells for tile in cell.tiles}
        return list(found.values())

    @property
    def terms(self) -> dict[str, str]:
        """Terms of the real data sets among the pictures."""
        return {name: text for cell in self.cells for name, text in sorted(cell.terms.items())}

    def of(self, protocol: str, systems: Sequence[str]) -> list[CellGallery]:
        """One protocol's galleries, in the order of the systems."""
        place = {system: k for k, system in enumerate(systems)}
        found = [c for c in self.cells if c.protocol == protocol and c.system in place]
        return sorted(found, key=lambda cell: place[cell.system])


def read_galleries(
    suite_folder: Path, cells: Iterable[CellRecord], tell: Callable[[str], None] = warnings.warn
) -> Album:
    """Read each system's and protocol's gallery, of the lowest seed that finished.

    Args:
        suite_folder: ``<runs>/<suite>``.
        cells: its cells.
        tell: is told of each damaged gallery, in words; the page is made without its pictures.
    """
    lowest: dict[tuple[str, str], CellRecord] = {}
    for cell in sorted((c for c in cells if c.state == "done"), key=lambda c: c.seed):
        lowest.setdefault((cell.system, cell.protocol), cell)
    found, without = [], []
    reader = _Reader()
    for (system, protocol), cell in lowest.items():
        folder = CellFolder.of(suite_folder, system, protocol, cell.seed).gallery
        try:
            if (folder / "gallery.json").is_file():
                found.append(reader.read(folder, cell))
                continue
        except DataError as error:
            tell(str(error))
        without.append((system, protocol))
    return Album(tuple(found), without=tuple(without))


def within_budget(
    album: Album, ranks: Mapping[tuple[str, str], int], budget: int = BUDGET
) -> Album:
    """Keep as many galleries as the page may carry, the best ranks of all protocols first.

    Args:
        album: all galleries.
        ranks: rank of the lungs by (system, protocol); what has none comes last.
        budget: characters that pictures and outlines may take.
    """
    last = max(ranks.values(), default=0) + 1
    order = sorted(album.cells, key=lambda c: ranks.get((c.system, c.protocol), last))
    kept: list[CellGallery] = []
    embedded: set[str] = set()
    spent = 0
    for cell in order:
        pictures = {tile.picture.identity: tile.picture for tile in cell.tiles}
        new = {name: one for name, one in pictures.items() if name not in embedded}
        spent += sum(len(tile.svg) for tile in cell.tiles) + sum(len(p.svg) for p in new.values())
        if spent > budget:
            break
        kept.append(cell)
        embedded |= new.keys()
    over = tuple((cell.system, cell.protocol) for cell in order[len(kept) :])
    return Album(tuple(kept), over, album.without, album.refused)


@dataclass
class _Reader:
    """Reads galleries; a film that several share is read once."""

    _pictures: dict[str, Picture] = field(default_factory=dict)

    def read(self, folder: Path, cell: CellRecord) -> CellGallery:
        path = folder / "gallery.json"
        try:
            content = json.loads(path.read_text("utf-8"))
            if content["format"] != GALLERY_FORMAT:
                raise ValueError(f"format {content['format']!r}")
            tiles = tuple(self._tile(folder, case) for case in content["cases"])
            terms = {str(name): str(text) for name, text in content["terms"].items()}
        except (
            OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError,
            RecursionError,
        ) as error:  # fmt: skip
            found = f"{type(error).__name__}: {error}"
            todo = "test the cell again; until then the page is made without these pictures"
            raise DataError(path, found, "a gallery as a cell writes it", todo) from error
        return CellGallery(cell.system, cell.protocol, cell.seed, cell.phantom, tiles, terms)

    def _tile(self, folder: Path, case: Mapping[str, Any]) -> Tile:
        if case["kind"] not in KINDS:
            raise ValueError(f"kind {case['kind']!r}")
        name = str(case["case_id"])
        if case.get("slice_index") is not None:
            name = f"{case['scan_id']}, slice {case['slice_index']}"
        return Tile(
            kind=case["kind"],
            case=name,
            test_on=str(case["test_on"]),
            numbers=_numbers(case),
            picture=self._picture(folder, case),
            outline=svg_path(case["prediction_contours"]),
            left_out=int(case["contours_left_out"]),
        )

    def _picture(self, folder: Path, case: Mapping[str, Any]) -> Picture:
        name, drawn = str(case["picture"]), svg_path(case["reference_contours"])
        identity = hashlib.blake2b(f"{name} {drawn}".encode(), digest_size=6).hexdigest()
        if identity not in self._pictures:
            if not _NAME.fullmatch(name):
                raise ValueError(f"picture {name!r}")
            content = (folder / name).read_bytes()
            if content[:4] != b"RIFF" or content[8:12] != b"WEBP":
                raise ValueError(f"{name} is no WebP picture")
            width, height = (_HALVES * int(case[side]) for side in ("width", "height"))
            film = base64.b64encode(content).decode()
            self._pictures[identity] = Picture(identity, width, height, film, drawn)
        return self._pictures[identity]


def _numbers(case: Mapping[str, Any]) -> str:
    in_mm = case["hausdorff_mm"] is not None
    distance = float(case["hausdorff_mm" if in_mm else "hausdorff_px"])
    return f"Dice {float(case['dice']):.3f}, HD {distance:.0f} {'mm' if in_mm else 'px'}"


def svg_path(polygons: Iterable[Sequence[float]]) -> str:
    """Polygons ``[x0, y0, x1, y1, …]`` in pixels as an SVG path in whole half pixels.

    Raises:
        ValueError: a polygon has no point, or a coordinate without its partner.
    """
    parts = []
    for polygon in polygons:
        places = [round(_HALVES * float(value)) for value in polygon]
        if not places or len(places) % 2:
            raise ValueError(f"an outline of {len(places)} coordinates")
        points = list(zip(places[::2], places[1::2], strict=True))
        steps = [(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(points)]
        line = "".join(f"{value:+d}" for step in steps or [(1, 0)] for value in step)
        parts.append(f"M{points[0][0]} {points[0][1]}l{_shorter(line)}z")
    return "".join(parts)


def _shorter(numbers: str) -> str:
    """A minus sign parts two numbers as well as a blank; a plus sign is none."""
    return numbers.replace("+", " ").strip()

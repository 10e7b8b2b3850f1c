"""Draws docs/pictures/overlays.png: three synthetic films, segmented by the network that ships.

    python docs/make_overlays.py

writes phantoms, has `lungbench predict` segment them as any user's films, and draws its outlines
beside those that the phantoms were made with. It is drawn anew when the weights change; a test
fails where it was not.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from make_pictures import PICTURES, save_small
from markupsafe import Markup
from numpy.typing import NDArray

from benchmark.cell.case_pictures import contours, small_picture
from benchmark.prediction.predict import predict
from benchmark.prediction.shipped import SHIPPED, shipped_model
from contract.arrays import Mask
from datamodules.phantoms import write_montgomery, write_shenzhen
from datamodules.sources import open_source
from datamodules.sources.masks import read_mask
from leaderboards.page import pdf, svg
from leaderboards.page.galleries import svg_path
from lightning_modules.metrics.case_metrics import overlap_metrics

PICTURE = PICTURES / "overlays.png"
PHANTOMS = {"montgomery": (write_montgomery, 1), "shenzhen": (write_shenzhen, 2)}
"""The writer of each data set's phantoms, and how many of its films are shown, the first ones."""
SIDE = 512
"""Of the phantoms, in pixels; one of a film's sides may be shorter."""
STRUCTURE = "lungs"
WARNING = "PHANTOM: synthetic films, no patients, segmented by a network trained on real films"
SCALE, GAP, MARGIN = 1.0, 12.0, 8.0
"""Pixels of the picture to a unit of the drawing; room between films, and at the sides."""
THICK = 3
"""Outlines, in half pixels."""


@dataclass(frozen=True)
class Overlay:
    """A film with what was predicted and what is right.

    Attributes:
        name: what is said below it, before its Dice.
        film: grey values ``(H, W)``.
        predicted: ``(H, W)``.
        reference: ``(H, W)``.
    """

    name: str
    film: NDArray[np.uint8]
    predicted: Mask
    reference: Mask

    @property
    def caption(self) -> str:
        """Its name and its Dice."""
        dice = overlap_metrics(self.predicted, self.reference)["dice"]
        return f"{self.name}, Dice {dice:.3f}"


def overlays(folder: Path) -> Iterator[Overlay]:
    """Write phantoms, segment them as a user would, and yield what was found.

    Args:
        folder: an empty folder.
    """
    sources = {}
    for name, (write, count) in PHANTOMS.items():
        write(folder, count, size=SIDE)
        sources[name] = open_source(name, folder)
    chosen = [
        (source, case)
        for name, source in sources.items() for case in source.cases()[: PHANTOMS[name][1]]
    ]  # fmt: skip
    films, found = folder / "films", folder / "found"
    films.mkdir()
    for _, case in chosen:
        shutil.copy(case.image, films)
    failed = predict(shipped_model(), films, found, device="cpu")
    assert not failed
    for source, case in chosen:
        film = source.read_image(case)
        predicted = read_mask(found / "masks" / STRUCTURE / f"{case.image.stem}.png")
        reference = source.read_masks(case, film.shape)[STRUCTURE]
        yield Overlay(f"phantom in {case.dataset.title()}'s layout", film, predicted, reference)


def drawn(shown: Sequence[Overlay]) -> str:
    """Draw films side by side with both outlines, and say that they are phantoms.

    Args:
        shown: at least one film.

    Returns:
        a whole SVG file; the same films give the same text.
    """
    parts: list[Markup] = []
    pictures = [small_picture(one.film) for one in shown]
    below = max(height for *_, (height, _) in pictures)
    x = MARGIN
    for one, (_, content, size) in zip(shown, pictures, strict=True):
        height, width = size
        y = below - height
        href = f"data:image/webp;base64,{base64.b64encode(content).decode()}"
        parts.append(svg.element("image", href=href, x=x, y=y, width=width, height=height))
        place = f"translate({x:.1f} {y:.1f}) scale(0.5)"
        thick = f"stroke-width: {THICK}"
        for mask, kind in ((one.reference, "reference"), (one.predicted, "prediction")):
            path = svg_path(contours(mask, size)[0])  # in half pixels
            parts.append(svg.element("path", d=path, class_=kind, style=thick, transform=place))
        parts.append(svg.text(x, below + 18, one.caption))
        x += width + GAP
    for left, kind, said in ((0, "reference", "reference"), (110, "prediction", "predicted")):
        parts.append(svg.line(MARGIN + left, below + 38.0, MARGIN + left + 26, below + 38.0, kind))
        parts.append(svg.text(MARGIN + left + 32, below + 42.0, said))
    label = f"{WARNING}: predicted and reference outlines of the lungs"
    return svg.standalone(svg.drawing(x - GAP + MARGIN, below + 50, parts, label), WARNING)


def weights_digest() -> str:
    """Return what tells the shipped weights from others."""
    return hashlib.blake2b(SHIPPED.read_bytes(), digest_size=8).hexdigest()


def main() -> None:
    """Segment the films and draw the picture."""
    with TemporaryDirectory() as folder:
        content = pdf.pixels_of_svg(drawn(list(overlays(Path(folder)))), SCALE)
    save_small(content, PICTURE, colours=256, drawn_from=weights_digest())
    print(PICTURE)


if __name__ == "__main__":
    main()

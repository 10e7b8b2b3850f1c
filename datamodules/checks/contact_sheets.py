"""Contact sheets: many small films with their mask's outline on one page, to be looked through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from datamodules.checks.audit import FINDINGS, AuditRow
from datamodules.preprocessing import resize, resize_mask
from datamodules.sources import Case, Source

TILE = 280
FILMS_A_ROW = 6
ROWS = 5
OUTLINE = (255, 220, 0)


def write_contact_sheets(
    source: Source, rows: Sequence[AuditRow], folder: Path, tile: int = TILE
) -> list[Path]:
    """Write the sheets of one data set, for each finding as many pages as it takes.

    Args:
        source: the reader of the data set.
        rows: the audit's rows; those of other data sets are left out.
        folder: where ``<data set>-<finding>-<page>.png`` are written.
        tile: side of one film in pixels.

    Returns:
        The files.
    """
    cases = {case.case_id: case for case in source.cases()}
    own = [row for row in rows if row.dataset == source.name and row.case_id in cases]
    folder.mkdir(parents=True, exist_ok=True)
    drawn: dict[str, NDArray[np.uint8]] = {}
    written = []
    for finding in FINDINGS:
        found = [row for row in own if finding in row.findings]
        for page, start in enumerate(range(0, len(found), FILMS_A_ROW * ROWS), 1):
            shown = found[start : start + FILMS_A_ROW * ROWS]
            for row in shown:
                if row.case_id not in drawn:
                    drawn[row.case_id] = draw_case(source, cases[row.case_id], tile)
            path = folder / f"{source.name}-{finding}-{page}.png"
            _page(shown, drawn, tile).save(path)
            written.append(path)
    return written


def draw_case(source: Source, case: Case, side: int = TILE) -> NDArray[np.uint8]:
    """Return the film, squashed to a square, with its lungs' outline: ``(side, side, 3)`` RGB."""
    film = source.read_image(case)
    lungs = source.read_masks(case, (film.shape[0], film.shape[1]))["lungs"]
    canvas = np.repeat(resize(film, (side, side))[:, :, None], 3, axis=2)
    small = resize_mask(lungs, (side, side)).astype(np.uint8)
    contours, _ = cv2.findContours(small, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, contours, -1, OUTLINE, 1)
    return canvas


def _page(
    rows: Sequence[AuditRow], drawn: Mapping[str, NDArray[np.uint8]], tile: int
) -> Image.Image:
    lines = -(-len(rows) // FILMS_A_ROW)
    page = Image.new("RGB", (FILMS_A_ROW * tile, lines * tile))
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(size=max(9, tile // 20))
    for index, row in enumerate(rows):
        corner = (index % FILMS_A_ROW * tile, index // FILMS_A_ROW * tile)
        page.paste(Image.fromarray(drawn[row.case_id]), corner)
        text = f"{row.case_id}\n{' '.join(row.findings)}"
        pen.text((corner[0] + 4, corner[1] + 3), text, (0, 255, 0), font, stroke_width=1,
                 stroke_fill=(0, 0, 0))  # fmt: skip
    return page

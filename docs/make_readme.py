"""Writes what the README shows of the suite `measured` from the rows that are committed.

    python docs/make_readme.py

fills in the head of its leaderboard and draws docs/pictures/heat_map.png. With it
docs/make_overlays.py draws its picture anew. It is run after docs/make_committed.py; a test fails
where it was not.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from make_committed import derive
from make_measured import Measured, digest
from make_pictures import PICTURES, save_small
from marks import filled

from leaderboards.head import head_of
from leaderboards.page import pdf, svg
from leaderboards.page.score_map import score_map

PICTURE = PICTURES / "heat_map.png"
SUITE = "measured"
SCALE = 1.5
"""Pixels of the picture to a unit of the drawing."""
README = Path(__file__).parents[1] / "README.md"
SHOWN = 4
"""Systems a protocol, and the floor."""


def with_rows(readme: str, suite: Measured) -> str:
    """Return the README as the rows want it.

    Args:
        readme: its text.
        suite: what was measured.
    """
    return filled(readme, suite.name, head_of(suite.table, suite.meta, SHOWN))


def heat_map(suite: Measured) -> str:
    """Return the heat map of a suite as a whole SVG file."""
    drawing = score_map(suite.table, suite.meta)
    assert drawing is not None, "nothing is ranked"
    return svg.standalone(drawing, "PHANTOM DATA" if suite.table["phantom"].any() else "")


def main() -> None:
    """Write the README's head and draw its pictures."""
    from make_overlays import main as draw_overlays  # loads torch

    with tempfile.TemporaryDirectory() as folder:
        suite = derive(SUITE, Path(folder))
    README.write_text(with_rows(README.read_text("utf-8"), suite), encoding="utf-8")
    drawn = heat_map(suite)
    save_small(pdf.pixels_of_svg(drawn, SCALE), PICTURE, drawn_from=digest(drawn))
    print(README, PICTURE, sep="\n")
    draw_overlays()


if __name__ == "__main__":
    main()

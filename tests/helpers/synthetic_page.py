"""A leaderboard of a suite that nobody ran, with hostile names in it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
from synthetic_gallery import films, write_galleries
from synthetic_rows import MATRIX, suite_cells, suite_rows

from contract.cell_record import CellRecord
from contract.rows import CASE_SCHEMA
from leaderboards.markdown import Meta
from leaderboards.page.galleries import read_galleries
from leaderboards.recipes import Recipe
from leaderboards.tables import SplitFacts, build
from leaderboards.writers import write

EVIL = "<img src=x onerror=alert(1)>"
SYSTEMS = ["unet", "gan_unet", "scan", EVIL, "mean_shape"]
TERMS = {"shenzhen": f"cite the authors {EVIL}"}


def ct_rows(rows: pa.Table) -> list[pa.Table]:
    """The lungs of one protocol as scans and as slices, with every metric that these have."""
    frame: pd.DataFrame = rows.to_pandas()
    frame = frame[(frame["protocol"] == "m_to_s") & (frame["structure"] == "lungs")]
    known = {"hausdorff95_mm": 12.345, "assd_mm": 3.456, "reference": "automatic"}
    nodules = ("nodule_coverage", "nodule_pixel_coverage", "pleural_nodule_coverage",
               "pleural_nodule_pixel_coverage")  # fmt: skip
    scans = frame.assign(protocol="lidc", unit="scan", **known, **dict.fromkeys(nodules, 0.987))
    slices = frame.assign(protocol="lidc", unit="slice", hausdorff_rowvector=5.831, **known)
    return [
        pa.Table.from_pandas(part, schema=CASE_SCHEMA, preserve_index=False)
        for part in (scans, slices)
    ]


def make_page(
    folder: Path, systems: list[str], n_cases: int, phantom: bool = False, ct: bool = False
) -> Path:
    """Write a leaderboard with galleries and return its page.

    Args:
        folder: where it is written.
        systems: names.
        n_cases: cases of each test set.
        phantom: synthetic data.
        ct: with tables of scans and slices, the widest that there are.
    """
    rows = suite_rows(systems, MATRIX, 2, n_cases, ("lungs", "heart"), phantom)
    cells = suite_cells(systems, MATRIX, 2, phantom)
    if ct:
        rows = pa.concat_tables([rows, *ct_rows(rows)])
    terms = {} if phantom else TERMS
    write_galleries(folder / "suite", rows, films(20), terms, odd_case=EVIL)
    shutil.rmtree(folder / "suite" / "cells" / systems[len(systems) // 2] / "m_to_s")
    album = read_galleries(folder / "suite", cells)
    cells.append(CellRecord("lgan_basic", "m_to_s", 0, "failed", f"out of memory {EVIL}"))
    about = {"title": "U-Net", "notes": {"norm": f"instance {EVIL}"}, "chosen_on": ["m_to_s"]}
    config = {"cell": {"checkpoint": "best", "about": {"system": about}}}
    titles = {"m_to_s": "Montgomery → Shenzhen"}
    meta = Meta(f"suite </script>{EVIL}", cells, titles, 200, [Recipe("unet", "m_to_s", config)])
    table = build(rows, {name: SplitFacts(138, "5f3a9c1d") for name in MATRIX}, draws=200)
    return write(folder / "board", rows, table, meta, album) / "leaderboard.html"

"""Writes what docs/predict.md tells of the flag's limit from the rows that are committed.

    python docs/make_flag.py

The limit on disagreement was tuned on test films of hospitals whose other films had trained, those
of ``mixed_m_s``: it is the smallest, in steps of .01, by which at most one of twenty sound masks is
flagged. What it finds on films of other hospitals stands beside, and chose nothing. A test fails
where the rows say otherwise.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from make_committed import derive
from marks import filled

from leaderboards.markdown import FLOOR
from leaderboards.statistics.quality import POOR
from leaderboards.texts import grid
from lightning_modules.metrics.quality import MOST_DISAGREEMENT

SUITE = "measured"
PAGE = Path(__file__).parent / "predict.md"
SEEN, UNSEEN = ("mixed_m_s",), ("m_to_s", "s_to_m")
"""Protocols whose test films are of hospitals that trained, and of others."""
LIMITS = np.arange(3, 16) / 100
MOST_ALARMS = 0.05
"""Share of sound masks that may be flagged."""


def judged(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the masks of the lungs that the limit is tuned on and reported for.

    Args:
        rows: ``cases.parquet`` of the suite.
    """
    lungs = (rows["structure"] == "lungs") & (rows["reference"] == "plain")
    kept = rows[lungs & (rows["system"] != FLOOR) & rows["disagreement"].notna()]
    return kept.assign(poor=kept["dice"] < POOR)


def share_flagged(masks: pd.DataFrame, limit: float) -> float:
    """Return the share of masks whose disagreement is above a limit, each system counted alike."""
    return float((masks["disagreement"] > limit).groupby(masks["system"]).mean().mean())


def tuned_limit(rows: pd.DataFrame) -> float:
    """Return the smallest limit that flags at most ``MOST_ALARMS`` of the sound masks.

    Args:
        rows: as for ``judged``.
    """
    masks = judged(rows)
    sound = masks[masks["protocol"].isin(SEEN) & ~masks["poor"]]
    return next(float(one) for one in LIMITS if share_flagged(sound, one) <= MOST_ALARMS)


def flag_table(rows: pd.DataFrame) -> str:
    """Return what limits would flag, in Markdown; the one that holds is marked.

    Args:
        rows: as for ``judged``.
    """
    masks = judged(rows)
    places = [masks[masks["protocol"].isin(names)] for names in (SEEN, UNSEEN)]
    lines = [
        [f"{limit:.2f}" + (" (kept)" if limit == MOST_DISAGREEMENT else ""),
         *(f"{share_flagged(own[own['poor'] == poor], limit):.2f}"
           for own in places for poor in (False, True))]
        for limit in LIMITS
    ]  # fmt: skip
    header = ("limit", "sound ones flagged, same hospitals", "poor ones",
              "sound ones flagged, other hospitals", "poor ones")  # fmt: skip
    return grid(header, lines, left=1)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        found = derive(SUITE, Path(folder)).rows
    told = filled(PAGE.read_text("utf-8"), "flag", flag_table(found))
    PAGE.write_text(told, encoding="utf-8")
    print(f"the limit is {MOST_DISAGREEMENT}, tuned {tuned_limit(found)}")

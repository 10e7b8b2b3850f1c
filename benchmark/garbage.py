"""When Python looks for objects that only refer to each other, of which loading makes none.

With Python's own thresholds a sixth of the time in which libraries load goes into looking.
"""

from __future__ import annotations

import gc

USUAL = gc.get_threshold()
SELDOM = (100_000, USUAL[1], USUAL[2])


def collect_seldom() -> None:
    """Let 100,000 new objects pass between two looks: for a command that loads and tells."""
    gc.set_threshold(*SELDOM)


def collect_as_usual() -> None:
    """Look as often as Python does unless told: where objects may hold tensors."""
    gc.set_threshold(*USUAL)

"""What scripts write into pages that are otherwise written by hand.

It stands between two comments, each on a line of its own: ``<!-- name -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import re
import sys


def between(page: str, name: str) -> str:
    """Return what stands between the marks of a name; nothing where nothing does.

    Raises:
        SystemExit: the page has no such marks, or has them twice.
    """
    found = _marked(name).findall(page)
    if len(found) != 1:
        sys.exit(
            f"found the marks <!-- {name} --> … <!-- end --> {len(found)} times, expected them "
            "once; set them where the text belongs"
        )
    return str(found[0][1]).strip("\n")


def filled(page: str, name: str, text: str) -> str:
    """Return the page with another text between the marks of a name.

    Raises:
        SystemExit: as ``between``.
    """
    between(page, name)
    inside = f"\n{text}\n\n" if text else ""
    return _marked(name).sub(lambda found: f"{found[1]}{inside}{found[3]}", page)


def _marked(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {re.escape(name)} -->\n)(.*?)(<!-- end -->)", re.DOTALL)

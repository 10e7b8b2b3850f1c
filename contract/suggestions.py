"""What a person may have meant by a word that is not known."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher

CLOSE = 0.6
"""The similarity from which on a word is suggested, as difflib measures it."""


def nearest(
    word: object, known: Iterable[object], count: int = 3, alike: float = CLOSE
) -> list[str]:
    """Return the known words most like another one, the most alike first.

    Words that contain the other, or stand in it, count as alike: ``optimizer`` is often meant for
    ``generator_optimizer``.

    Args:
        word: what was found.
        known: what could have stood there.
        count: how many to return at most.
        alike: the least similarity, 0 to 1.
    """
    asked = str(word).lower()
    scored = []
    for candidate in dict.fromkeys(map(str, known)):
        other = candidate.lower()
        found = SequenceMatcher(None, asked, other).ratio()
        if min(len(asked), len(other)) > 3 and (asked in other or other in asked):
            found = max(found, CLOSE)
        if found >= alike:
            scored.append((-found, candidate))
    return [candidate for _, candidate in sorted(scored)[:count]]


def did_you_mean(word: object, known: Iterable[object]) -> str:
    """Return ``did you mean 'x'?``, or nothing where no known word is alike."""
    found = nearest(word, known)
    return f"did you mean {' or '.join(map(repr, found))}?" if found else ""

"""Small SVG drawings by hand: elements with escaped text, linear and logarithmic axes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files

from markupsafe import Markup, escape

ABOVE = 22
"""Room for a warning above a drawing."""

CHARACTER = 7.1
"""Width of an average character of the figures' font, in the drawing's units."""


def element(name: str, content: object = "", **attributes: object) -> Markup:
    """One element; ``class_`` stands for ``class``, ``_`` in a name for ``-``.

    Numbers are rounded to a tenth, attributes that are None are left out, and all text that
    is not markup already is escaped.
    """
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
    text = "".join(f' {k}="{escape(_short(v))}"' for k, v in given.items() if v is not None)
    return Markup(f"<{name}{text}>{escape(content)}</{name}>")


def _short(value: object) -> object:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value


def side_by_side(parts: Iterable[Markup]) -> Markup:
    """Elements side by side."""
    return Markup("").join(parts)


def text(x: float, y: float, content: object, class_: str = "", anchor: str = "start") -> Markup:
    """A line of text whose baseline starts, is centred or ends at a point."""
    shown = None if anchor == "start" else anchor
    return element("text", content, x=x, y=y, class_=class_ or None, text_anchor=shown)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def rectangle(x: float, y: float, width: float, height: float, class_: str) -> Markup:
    """A filled rectangle."""
    return element("rect", x=x, y=y, width=width, height=height, class_=class_)


def circle(x: float, y: float, radius: float, class_: str, title: str = "") -> Markup:
    """A dot, which may name itself."""
    content = element("title", title) if title else ""
    return element("circle", content, cx=x, cy=y, r=radius, class_=class_)


def drawing(width: float, height: float, parts: Iterable[Markup], label: str) -> Markup:
    """A whole drawing that shrinks with its page and tells a screen reader what it is."""
    return element(
        "svg",
        side_by_side(parts),
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=f"{width:.0f}",
        height=f"{height:.0f}",
        role="img",
        aria_label=label,
        xmlns="http://www.w3.org/2000/svg",
    )


def standalone(svg: Markup, warning: str = "") -> str:
    """The drawing as a file of its own, with its style inside.

    Args:
        svg: what ``drawing`` returned.
        warning: words above it, which must not be lost when the file is passed on.
    """
    style = files("leaderboards.page").joinpath("figures.css").read_text("utf-8")
    if warning:
        size = re.search(r'viewBox="0 0 (\d+) (\d+)"', str(svg))
        assert size is not None
        width, height = map(int, size.groups())
        inner = Markup(str(svg).replace("<svg ", f'<svg y="{ABOVE}" ', 1))
        above = text(8, ABOVE - 6, warning, "title")
        svg = drawing(width, height + ABOVE, [above, inner], warning)
    head, tail = str(svg).split(">", 1)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}><style>{style}</style>{tail}\n'


_MARKS = re.compile(r"(?: \((?:reduced|floor|external)\))*(?: †)?$")
"""What ``Meta.called`` sets behind a system's name."""


def shortened(name: str, limit: int = 30) -> str:
    """A name that fits its place; the whole name belongs into a title.

    Its middle goes, so that names which differ in their ends stay apart, and marks such as
    (reduced) stay.
    """
    if len(name) <= limit:
        return name
    found = _MARKS.search(name)
    marks = found[0] if found else ""
    bare = name.removesuffix(marks)
    kept = max(2, limit - 1 - len(marks))
    return f"{bare[: kept - kept // 2]}…{bare[len(bare) - kept // 2 :]}{marks}"


def gutter(names: Sequence[str], limit: int = 30) -> float:
    """Room for the longest of the shortened names."""
    return 14 + CHARACTER * max((len(shortened(name, limit)) for name in names), default=0)


@dataclass(frozen=True)
class Axis:
    """Values to places; values outside come to the nearer end.

    Attributes:
        low: value at ``start``.
        high: value at ``end``, above ``low``.
        start: place of ``low``.
        end: place of ``high``.
        logarithmic: the scale; then ``low`` is positive.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Where a value stands."""
        inside = min(max(value, self.low), self.high)
        share = (self._scale(inside) - self._scale(self.low)) / (
            self._scale(self.high) - self._scale(self.low)
        )
        return self.start + share * (self.end - self.start)

    def _scale(self, value: float) -> float:
        return math.log(value) if self.logarithmic else value

    def ticks(self, most: int = 6) -> list[float]:
        """Round values along the axis."""
        if self.logarithmic:
            return self._decades(most)
        rough = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        return [k * step for k in range(first, int(self.high / step + 1e-9) + 1)]

    def _decades(self, most: int) -> list[float]:
        found: list[float] = []
        for parts in ((1,), (1, 3), (1, 2, 5), tuple(range(1, 10))):
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            every = [p * 10.0**k for k in powers for p in parts]
            inside = [v for v in every if self.low * 0.999 <= v <= self.high * 1.001]
            if found and len(inside) > most:
                break
            found = inside or found
        return found[:: math.ceil(len(found) / most)] if len(found) > most else found


def spread(
    values: Iterable[float], start: float, end: float, logarithmic: bool = False
) -> Axis | None:
    """An axis that holds all values with a little room; None where there is no value."""
    known = [v for v in values if math.isfinite(v) and (v > 0 or not logarithmic)]
    if not known:
        return None
    low, high = min(known), max(known)
    if logarithmic:
        room = max((high / low) ** 0.06, 1.15)
        return Axis(low / room, high * room, start, end, True)
    room = max((high - low) * 0.06, 0.002)
    return Axis(low - room, high + room, start, end)


def compact(value: float) -> str:
    """A number as short as it can be read: 0.95, 3, 45.6M."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"

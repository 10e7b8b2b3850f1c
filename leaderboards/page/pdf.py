"""Figures as PDF, which LaTeX takes where it takes no SVG, and as PNG for a README.

Typst reads the SVG and embeds its own fonts, so that a figure is the same from every machine.
"""

from __future__ import annotations

import html
import re
from typing import Any, Literal

import typst

_PAGE = b"""\
#set document(date: none)
#set page(width: auto, height: auto, margin: 0pt, fill: white)
#image(bytes(sys.inputs.svg), format: "svg", alt: sys.inputs.alt)
"""
_DARK = re.compile(r"@media[^{]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}")
_LABEL = re.compile(r'aria-label="([^"]*)"')
_UNITS_AN_INCH = 96
"""SVG's."""


def from_svg(svg: str) -> bytes:
    """One page of the figure's size: vectors, with embedded fonts and text that can be selected.

    Args:
        svg: what ``svg.standalone`` returned.

    Returns:
        a PDF 1.5, which every LaTeX of the last ten years includes without a warning.
    """
    return _set(svg, "pdf", pdf_standards="1.5")


def pixels_of_svg(svg: str, scale: float) -> bytes:
    """The figure as a PNG file on white.

    Args:
        svg: what ``svg.standalone`` returned.
        scale: pixels to a unit of the drawing.
    """
    return _set(svg, "png", ppi=_UNITS_AN_INCH * scale)


def _set(svg: str, kind: Literal["pdf", "png"], **settings: Any) -> bytes:
    label = _LABEL.search(svg)
    content: bytes = typst.compile(
        _PAGE,
        ignore_system_fonts=True,
        format=kind,
        sys_inputs={"svg": on_paper(svg), "alt": html.unescape(label[1]) if label else ""},
        **settings,
    )
    return content


def on_paper(svg: str) -> str:
    """The figure in its light colours, without variables and media queries, which Typst lacks."""
    light = _DARK.sub("", svg)
    colours = dict(re.findall(r"--([\w-]+): ([^;]+);", light))
    return re.sub(r"var\(--([\w-]+)\)", lambda used: colours[used[1]], light)

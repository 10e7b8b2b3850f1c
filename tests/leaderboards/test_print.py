"""The page on paper and at the width of a laptop: nothing is cut off."""

from __future__ import annotations

import base64
import io
import unicodedata
from collections.abc import Iterator

import pytest
from browser import start_chromium
from pypdf import PageObject, PdfReader
from selenium import webdriver
from synthetic_page import make_page

SYSTEMS = ["unet", "adversarial_attention_bcdu_net", "monai_swin_unetr", "mean_shape"]
PAPERS = {"A4": (8.27, 11.69), "Letter": (8.5, 11.0)}
"""Width and height in inches."""
MARGIN = 28.3
"""Points in 10 mm, the style's margin."""
TABLES = """
return [...document.querySelectorAll("table")].filter((t) => t.offsetParent).map((t) => ({
  headings: [...t.tHead.rows[0].cells].map((c) => c.textContent),
  right: Math.max(...[...t.rows].map((r) => [...r.cells].at(-1).getBoundingClientRect().right)),
  room: t.parentElement.getBoundingClientRect().right,
  last: [...t.tBodies[0].rows].map((r) => [...r.cells].at(-1).textContent),
}))"""


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    chrome = start_chromium(tmp_path_factory.mktemp("chromium"))
    chrome.get(make_page(tmp_path_factory.mktemp("board"), SYSTEMS, 20, ct=True).as_uri())
    yield chrome
    chrome.quit()


def printed(chrome: webdriver.Chrome, paper: str) -> PdfReader:
    width, height = PAPERS[paper]
    options = {"paperWidth": width, "paperHeight": height, "preferCSSPageSize": False}
    answer = chrome.execute_cdp_cmd("Page.printToPDF", options)
    return PdfReader(io.BytesIO(base64.b64decode(answer["data"])))


def inside(page: PageObject) -> str:
    """The text of a page whose every piece begins and ends within the paper's margins."""
    pieces: list[str] = []
    edge = float(page.mediabox.right) - MARGIN / 2

    def keep(text: str, cm: list[float], tm: list[float], _font: object, size: float) -> None:
        start = cm[0] * tm[4] + cm[4]
        end = start + 0.3 * size * abs(cm[0] * tm[0]) * len(text.strip())  # no letters are narrower
        if text.strip() and start >= MARGIN / 2 and end <= edge:
            pieces.append(text)

    page.extract_text(visitor_text=keep)
    return squeezed("".join(pieces))


def squeezed(text: str) -> str:
    """Text without blanks, and with ligatures taken apart."""
    return "".join(unicodedata.normalize("NFKC", text).split())


@pytest.mark.parametrize("paper", PAPERS)
def test_every_column_is_on_the_paper(chrome: webdriver.Chrome, paper: str) -> None:
    tables = chrome.execute_script(TABLES)
    assert len(tables) > 10
    text = "".join(inside(page) for page in printed(chrome, paper).pages)
    for table in tables:
        for heading in table["headings"]:
            assert squeezed(heading) in text, heading
        for value in table["last"]:
            assert squeezed(value) in text, value


@pytest.mark.parametrize("paper", PAPERS)
def test_no_table_is_wider_than_the_paper(chrome: webdriver.Chrome, paper: str) -> None:
    room = round((PAPERS[paper][0] - 2 / 2.54) * 96)  # CSS pixels between margins of 10 mm
    size = {"width": room, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        tables = chrome.execute_script(TABLES)
        assert max(table["right"] for table in tables) <= room
    finally:
        chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
        chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_no_column_is_cut_off_on_a_laptop(chrome: webdriver.Chrome) -> None:
    size = {"width": 1400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        for table in chrome.execute_script(TABLES):
            assert table["right"] <= table["room"] + 0.5, table["headings"]
    finally:
        chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_galleries_and_figures_are_printed_though_they_are_closed(chrome: webdriver.Chrome) -> None:
    closed = chrome.execute_script("return document.querySelectorAll('details:not([open])').length")
    assert closed > 10
    text = squeezed("".join(page.extract_text() for page in printed(chrome, "A4").pages))
    for said in ("median", "best", "Athinlinefromthe5%", "MeansovertheProtocol'scells"):
        assert said.lower() in text.lower(), said

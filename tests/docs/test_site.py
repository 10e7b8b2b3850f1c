"""The documentation site: built strictly, from this checkout, and needing nobody else's server."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LOADS = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?(https?:)?//"
    r"|<link\b(?=[^>]*\brel=\"?(?:stylesheet|preconnect|preload|icon))[^>]*\bhref=\"?(https?:)?//"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "-d", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_built_without_a_warning(site):
    pages = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    sources = (ROOT / "docs").rglob("*.md")
    wanted = {path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for path in sources}
    assert wanted | {"index.html", "contributing.html", "changelog.html", "license.html"} <= pages


def test_every_page_is_in_the_menu():
    text = (ROOT / "mkdocs.yml").read_text()
    menu = text[text.index("nav:") :]
    absent = [
        path.name
        for path in (ROOT / "docs").rglob("*.md")
        if f"- {path.relative_to(ROOT / 'docs').as_posix()}\n" not in menu
    ]
    assert not absent, f"add to nav in mkdocs.yml: {absent}"
    assert yaml.safe_load(menu)["nav"][0] == "index.md"


def test_no_page_loads_anything_from_elsewhere(site):
    for page in site.rglob("*.html"):
        assert not LOADS.search(page.read_text()), page


def test_docstrings_are_on_the_api_pages(site):
    page = (site / "api/lightning_modules.html").read_text()
    for name in ("adversarial.AdversarialSegmenter", "generators.unet.UNet", "losses.SoftDice"):
        assert f'id="lightning_modules.{name}"' in page, name
    assert "names of the output channels in order" in page

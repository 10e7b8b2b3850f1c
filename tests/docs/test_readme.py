"""What the README shows is what was measured, and its picture can be made again."""

import importlib.util
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PICTURE = ROOT / "docs/pictures/leaderboard.png"


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_its_table_has_the_numbers_of_the_measured_page():
    page = (ROOT / "docs/quick.md").read_text(encoding="utf-8")
    measured = {tuple(row[i] for i in (2, 5, 10)) for row in rows(page) if len(row) > 11}
    table = README[README.index("| trained → tested") : README.index("That is the suite")]
    shown = [tuple(row[2:5]) for row in rows(table)[2:]]
    assert len(shown) == len(measured) - 2 == 4  # the page's two tables have a heading and a rule
    assert set(shown) <= measured


def test_its_picture_is_small_and_shows_phantoms_alone():
    assert f"]({PICTURE.relative_to(ROOT).as_posix()})" in README
    assert "marked PHANTOM DATA" in README
    assert PICTURE.stat().st_size < 300_000
    assert Image.open(PICTURE).width == 1100


def test_the_script_of_the_picture_photographs_a_page(tmp_path):
    if shutil.which("chromium") is None:
        pytest.skip("needs the Debian package chromium")
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "docs/make_pictures.py")
    pictures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pictures)
    (tmp_path / "page.html").write_text("<body style='margin:0;background:#0a0;height:9999px'>")
    pictures.take_picture(tmp_path / "page.html", tmp_path / "deep" / "picture.png")
    image = Image.open(tmp_path / "deep" / "picture.png").convert("RGB")
    assert image.size == (pictures.WIDTH, pictures.HEIGHT)
    assert image.getpixel((500, 500)) == (0, 0xAA, 0)


def test_every_link_leads_to_a_file():
    for page in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        targets = re.findall(r"\]\(([^)\s]+)\)", text)
        headings = {
            re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")
            for line in text.splitlines()
            if line.startswith("#")
        }
        for target in targets:
            if target.startswith("#"):
                assert target[1:] in headings, f"{page}: {target}"
            elif not target.startswith("https://"):
                assert (ROOT / target.split("#")[0]).is_file(), f"{page}: {target}"

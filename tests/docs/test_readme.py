"""What the README shows is what was measured, and its picture can be made again."""

import re
import shutil

import pytest
from docs_scripts import ROOT, docs_script
from PIL import Image

README = (ROOT / "README.md").read_text(encoding="utf-8")
PICTURE = ROOT / "docs/pictures/leaderboard.png"


def test_its_pictures_exist_and_are_small():
    pictures = re.findall(r"^!\[[^\]]+\]\((docs/pictures/[^)]+)\)$", README, re.MULTILINE)
    assert {"heat_map.png", "overlays.png"} <= {name.rpartition("/")[2] for name in pictures}
    assert sorted(pictures) == sorted(f"docs/pictures/{p.name}" for p in PICTURE.parent.iterdir())
    for name in pictures:
        Image.open(ROOT / name).load()
        assert (ROOT / name).stat().st_size < 150_000, name


def test_its_picture_of_a_page_shows_phantoms_alone():
    assert f"]({PICTURE.relative_to(ROOT).as_posix()})" in README
    assert "marked PHANTOM DATA" in README
    assert Image.open(PICTURE).width == 1100


def test_the_script_of_the_picture_photographs_a_page(tmp_path):
    if shutil.which("chromium") is None:
        pytest.skip("needs the Debian package chromium")
    pictures = docs_script("make_pictures")
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

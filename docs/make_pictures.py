"""Makes the README's picture: the page that `make benchmark` leaves, on phantoms.

    python docs/make_pictures.py --runs runs

runs what is not done of the suite ``smoke`` (minutes), and photographs it with Chromium or Chrome.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH, HEIGHT = 1100, 1030
PICTURES = Path(__file__).parent / "pictures"
PICTURE = PICTURES / "leaderboard.png"
DRAWN_FROM = "Source"
"""The keyword of a PNG file under which it says what it was drawn from."""


def take_picture(page: Path, picture: Path) -> None:
    """Write the top of an HTML page as a PNG file of 64 colours.

    Raises:
        SystemExit: no browser is found, or it wrote nothing.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"found none of {', '.join(BROWSERS)}; install one of them")
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        subprocess.run(
            [
                browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                f"--user-data-dir={folder}/profile", f"--window-size={WIDTH},{HEIGHT}",
                f"--screenshot={shot}", page.resolve().as_uri(),
            ],
            check=True, capture_output=True,
        )  # fmt: skip
        if not shot.is_file():
            sys.exit(f"{browser} took no picture of {page}")
        content = shot.read_bytes()
    save_small(content, picture)


def save_small(content: bytes, picture: Path, colours: int = 64, drawn_from: str = "") -> None:
    """Write a picture as a PNG file of few colours.

    Args:
        content: a picture file.
        picture: the file to write; its folder is made where absent.
        colours: how many it may have.
        drawn_from: kept in the file, so that a test can tell whether it is of today's numbers.
    """
    few = Image.open(io.BytesIO(content)).convert("RGB").quantize(colours, dither=Image.Dither.NONE)
    told = PngInfo()
    if drawn_from:
        told.add_text(DRAWN_FROM, drawn_from)
    picture.parent.mkdir(parents=True, exist_ok=True)
    few.save(picture, optimize=True, pnginfo=told)


def main() -> None:
    """Run what is missing of the suite, then take the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="the runs folder [runs]")
    runs = parser.parse_args().runs
    command = [sys.executable, "-m", "benchmark", "run", "--suite", "smoke", "--launcher", "local"]
    subprocess.run([*command, "--runs", str(runs)], check=True)
    take_picture(runs / "smoke" / "leaderboard" / "leaderboard.html", PICTURE)
    print(PICTURE)


if __name__ == "__main__":
    main()

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

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH, HEIGHT = 1100, 1030
PICTURE = Path(__file__).parent / "pictures" / "leaderboard.png"


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
        content = io.BytesIO(shot.read_bytes())
    colours = Image.open(content).convert("RGB").quantize(64, dither=Image.Dither.NONE)
    picture.parent.mkdir(parents=True, exist_ok=True)
    colours.save(picture, optimize=True)


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

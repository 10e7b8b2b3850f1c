"""The lock resolves on every system and Python that the project names."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text().splitlines()
SYSTEMS = (
    "aarch64-apple-darwin",
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "x86_64-pc-windows-msvc",
)
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def test_the_lock_pins_everything_exactly_and_names_no_index():
    pins = [line for line in LOCK if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9.-]+==[\w.]+( ; .+)?", pin) for pin in pins)
    options = [word for line in LOCK for word in line.split() if word.startswith(("-", "http"))]
    assert not [word for word in options if "index" in word and word != "--no-emit-index-url"]
    assert "://" not in "".join(LOCK)


def test_what_only_linux_has_is_marked_so():
    of_cuda = [line for line in LOCK if line.startswith(("nvidia-", "cuda-", "triton"))]
    assert of_cuda and all("sys_platform == 'linux'" in line for line in of_cuda)


def dry_run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed")
    command = [uv, "pip", "install", "--dry-run", "--target", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> None:
    if dry_run(tmp_path_factory.mktemp("none"), "--refresh-package=idna", "idna").returncode:
        pytest.skip("no package index can be reached")


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_the_lock_resolves_to_ready_built_packages(system, python, index, tmp_path):
    words = ["-r", str(ROOT / "requirements.lock"), "--only-binary=:all:"]
    words += [f"--python-platform={system}", f"--python-version={python}"]
    if python == "3.14":
        words.append("--no-binary=pyjpegls")  # there alone it is built; docs/installing.md says so
    ended = dry_run(tmp_path, *words)
    assert ended.returncode == 0, ended.stderr

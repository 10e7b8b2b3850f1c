"""The built wheel is whole, and works where the working directory is full of alike names."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pandas as pd
import pytest
import yaml
from strangers import write_strangers

from benchmark import start

ROOT = Path(__file__).parents[1]

ROWS = {("leaderboards", "measured"), ("leaderboards", "pairings_small")}
"""What is committed of measured suites, which no installed program reads."""

NETWORK = """
from losses import WIDTH
from utils import convolution


class Net(convolution):
    def __init__(self, classes: int) -> None:
        super().__init__(1, classes, WIDTH, padding=WIDTH // 2)
"""


def run(*words: object, cwd: Path, code: int = 0) -> str:
    left_out = ("PYTHONPATH", "PYTHONSAFEPATH", "VIRTUAL_ENV")
    environment = {k: v for k, v in os.environ.items() if k not in left_out}
    environment |= {"OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled", "CUDA_VISIBLE_DEVICES": ""}
    ended = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=environment, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert ended.returncode == code, ended.stdout
    return ended.stdout


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """Return the Python of an environment that has the libraries and not the project."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    libraries = next(path for path in sys.path if path.endswith("site-packages"))
    place = run(python, "-c", "import site; print(site.getsitepackages()[0])", cwd=home).strip()
    Path(place, "libraries.pth").write_text(libraries)  # its own .pth files are not followed
    run(python, "-P", "-c", "import benchmark", cwd=home, code=1)
    return python


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Return the wheel, built from a copy of what is kept."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed")
    home = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, home)
    for name in start.PACKAGES:
        if (ROOT / name).exists():
            leave = shutil.ignore_patterns("__pycache__", "*.pyc")
            shutil.copytree(ROOT / name, home / name, ignore=leave)
    words = ("build", "--wheel", "--no-build-isolation", "--offline", "--python", sys.executable)
    run(uv, *words, "--out-dir", home / "dist", cwd=home)
    (built,) = (home / "dist").glob("*.whl")
    return built


def test_every_file_of_the_packages_is_in_the_wheel(wheel, tmp_path):
    shutil.unpack_archive(wheel, tmp_path, "zip")
    for name in start.PACKAGES:
        there, here = (
            {str(p.relative_to(root)) for p in (root / name).rglob("*") if p.is_file()}
            for root in (tmp_path, wheel.parents[1])
        )
        assert {path for path in here if Path(path).parts[:2] not in ROWS} <= there
        assert not {path for path in there if Path(path).parts[:2] in ROWS}


def test_packages_that_are_found_beside_the_project_are_all_that_are_installed():
    settings = (ROOT / "pyproject.toml").read_text()
    declared = {name for name in start.PACKAGES if f'"{name}*"' in settings}
    assert declared == {n for n in start.PACKAGES if (ROOT / n / "__init__.py").exists()}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_wheel_makes_a_leaderboard_of_a_user_s_network_among_strangers(
    wheel, bare, phantom_root, tmp_path
):
    here = write_strangers(tmp_path)
    (here / "net.py").write_text(NETWORK)
    (here / "losses.py").write_text("WIDTH = 3\n")
    (here / "utils.py").write_text("from torch.nn import Conv2d as convolution\n")
    network = {"class_path": "net.Net", "init_args": {"classes": "$classes"}}
    system = {"extends": "unet", "model": {"init_args": {"generator": network}}}
    (here / "mine.yaml").write_text(yaml.safe_dump(system))
    overrides = {"preprocessing.size": 32, "trainer.max_epochs": 1, "batch_size": 2}
    suite = {"systems": ["mine.yaml"], "protocols": ["m_to_s"], "overrides": overrides}
    (here / "mine_suite.yaml").write_text(yaml.safe_dump(suite))
    run(
        shutil.which("uv"),
        "pip",
        "install",
        "--offline",
        "--no-deps",
        "--python",
        bare,
        wheel,
        cwd=here,
    )
    words = ("--launcher", "local", "--devices", 2, "--data-root", phantom_root)
    command = bare.with_name("lungbench")
    said = run(command, "run", "--suite", "mine_suite.yaml", *words, cwd=here)
    board = pd.read_csv(here / "runs" / "mine_suite" / "leaderboard" / "leaderboard.csv")
    assert set(board["system"]) == {"mine"}, said
    assert not list(here.glob("*/__pycache__"))


def test_a_checkout_that_is_not_installed_starts_its_own_copy_among_strangers(bare, tmp_path):
    here = write_strangers(tmp_path)
    assert "lungbench" in run(bare, "-P", start.FILE, "benchmark", "--help", cwd=here)
    # As Lightning starts its further processes: without -P, by the variable alone.
    assert "lungbench" in run(bare, start.FILE, "benchmark", "--help", cwd=here)

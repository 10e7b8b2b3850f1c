"""A full disk, a read-only folder, vanished data: a clear word, and earlier results untouched."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from benchmark.__main__ import main
from benchmark.planning.plan import make_plan

LOCAL = ["--launcher", "local"]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 96 KiB with an earlier result on it; read-only after ``remount("ro")``."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(*options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(place)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            pytest.skip(f"a disk of its own cannot be mounted here: {ended.stderr.strip()}")

    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    mount("size=96k")
    (place / "earlier").mkdir()
    (place / "earlier" / "cell.json").write_text('{"state": "done"}')
    try:
        yield place, mount
        assert (place / "earlier" / "cell.json").read_text() == '{"state": "done"}'
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_named_and_leaves_no_rubbish(small_disk, tiny_cell, capsys):
    place, _ = small_disk
    out = place / "cell"
    assert main(["fit", "--config", str(tiny_cell()), "--out", str(out)]) == 1
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "lungbench:" in line]
    assert "the disk is full" in said and "free some space" in said
    record = json.loads((out / "cell.json").read_text())
    assert record["state"] == "failed" and record["reason"].startswith("the disk is full")
    assert not (out / "owner").exists()
    assert not [path for path in out.rglob(".*") if path.is_file()]


def test_a_read_only_folder_is_named(small_disk, tiny_cell, write_suite, phantom_root, capsys):
    place, mount = small_disk
    config = tiny_cell()
    mount("remount", "ro")
    given = ["--suite", str(write_suite()), "--runs", str(place), "--data-root", str(phantom_root)]
    assert main(["status", *given]) == 0  # looking writes nothing
    capsys.readouterr()
    fit = ["fit", "--config", str(config), "--out", str(place / "cell")]
    for command in (fit, ["run", *given, *LOCAL]):
        assert main(command) == 1
        said = capsys.readouterr().err.strip()
        assert said.startswith("lungbench: the folder is read-only (" + str(place))
        assert "choose another" in said and len(said.splitlines()) == 1


def test_data_that_vanishes_midway_is_named(write_suite, phantom_root, tmp_path, capsys):
    root = tmp_path / "data"
    shutil.copytree(phantom_root, root)
    overrides = {"preprocessing.size": 32}
    suite = write_suite("mean", systems=["mean_shape"], seeds=[0, 1], overrides=overrides)
    runs = tmp_path / "runs"
    given = ["--suite", str(suite), "--runs", str(runs), "--data-root", str(root)]
    configs = write_configs(given, runs)
    first, second = (config.parent for config in configs)
    assert main(["fit", "--config", str(configs[0]), "--out", str(first)]) == 0
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*")}
    root.rename(tmp_path / "gone")
    assert main(["fit", "--config", str(configs[1]), "--out", str(second)]) == 2
    assert str(root) in capsys.readouterr().err
    record = json.loads((second / "cell.json").read_text())
    assert record["state"] == "failed" and str(root) in record["reason"]
    for command in (["run", *LOCAL], ["leaderboard"]):
        assert main([*command, *given]) == 2
        assert f"lungbench: {root}: found no such folder" in capsys.readouterr().err
    (tmp_path / "gone").rename(root)
    assert main(["fit", "--config", str(configs[1]), "--out", str(second)]) == 0
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*")} == before


def write_configs(given: list[str], runs: Path) -> list[Path]:
    """Plan a suite and write each cell's config where ``run`` would."""
    configs = []
    for cell in make_plan(given[1], runs, Path(given[-1])).cells:
        cell.folder.mkdir(parents=True)
        configs.append(cell.folder / "config.yaml")
        configs[-1].write_text(yaml.safe_dump(cell.config))
    return configs

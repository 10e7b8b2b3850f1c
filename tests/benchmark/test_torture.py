"""The soak test, in short: kills and damages, the same rows; and it notices where they are not."""

import re
import subprocess

import pyarrow.compute as pc
import pytest

from benchmark.start import command
from benchmark.torture.disk import SmallDisk
from benchmark.torture.scene import Scene, rows_apart
from benchmark.torture.torture import Figures


@pytest.mark.timeout(600)
def test_tortured_cells_give_the_rows_of_undisturbed_ones(tmp_path):
    # In a process of its own: threads that other tests started would be lost in its forks.
    home = tmp_path / "home"
    asked = ["--minutes", "0.35", "--seed", "7", "--short", "--home", str(home)]
    done = subprocess.run(command("benchmark", "torture", *asked), capture_output=True, text=True)
    told = done.stdout + done.stderr
    assert done.returncode == 0 and "nothing lost, nothing believed" in told, told
    figures = dict(re.findall(r"^([a-z ]+?)  +(\d+)", done.stdout, re.MULTILINE))
    assert int(figures["kills"]) >= 1 and int(figures["faults planted"]) >= 1, told
    answered = int(figures["faults named"]) + int(figures["mended by itself"])
    assert answered == int(figures["faults planted"]) and figures["rows"] == "20", told
    scene = Scene(home, pairs=False, seeds=(0,))
    scene.remember(scene.plan(home / "undisturbed").cells)
    cells = scene.plan().cells
    assert rows_apart(scene, cells) == (0, 0)
    rows = cells[0].files.read_rows()
    place = rows.column_names.index("dice")
    other = rows.set_column(place, "dice", pc.subtract(rows["dice"], 1e-9))
    cells[0].files.update(**cells[0].files.write_rows(other))
    assert rows_apart(scene, cells) == (0, 10)
    cells[1].files.rows_file.unlink()
    assert rows_apart(scene, cells) == (10, 10)


@pytest.mark.parametrize(
    "amiss", [{"lost": 1}, {"different": 1}, {"unnoticed": ["x"]}, {"wrong": ["x"]}], ids=str
)
def test_anything_amiss_makes_a_torture_end_badly(amiss):
    assert Figures().is_well and not Figures(**amiss).is_well


def test_a_small_disk_fills_to_its_last_byte_and_is_taken_away(tmp_path):
    disk = SmallDisk(tmp_path / "disk")
    if disk.missing:
        pytest.skip(disk.missing)
    try:
        disk.fill()
        with pytest.raises(OSError, match="No space left"):
            (tmp_path / "disk" / "more").write_bytes(bytes(5000))
        disk.free()
        (tmp_path / "disk" / "more").write_bytes(bytes(5000))
    finally:
        disk.close()
    assert not list((tmp_path / "disk").iterdir())

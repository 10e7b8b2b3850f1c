"""The soak test, in short: kills and damages, the same rows; and it notices where they are not."""

import pyarrow.compute as pc
import pytest

from benchmark.torture.disk import SmallDisk
from benchmark.torture.scene import rows_apart
from benchmark.torture.torture import Figures, Torture


@pytest.mark.timeout(600)
def test_tortured_cells_give_the_rows_of_undisturbed_ones(tmp_path):
    torture = Torture(tmp_path, minutes=0.35, seed=7, short=True)
    figures = torture.torture()
    told = "\n".join(figures.lines())
    assert figures.is_well, told
    assert figures.kills.total() >= 1 and figures.faults.total() >= 1, told
    assert figures.named + figures.mended == figures.faults.total() and figures.rows == 20
    cells = torture.scene.plan().cells
    assert rows_apart(torture.scene, cells) == (0, 0)
    rows = cells[0].files.read_rows()
    place = rows.column_names.index("dice")
    other = rows.set_column(place, "dice", pc.subtract(rows["dice"], 1e-9))
    cells[0].files.update(**cells[0].files.write_rows(other))
    assert rows_apart(torture.scene, cells) == (0, 10)
    cells[1].files.rows_file.unlink()
    assert rows_apart(torture.scene, cells) == (10, 10)


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

"""The code of docs/python.md runs as it is written, block after block, on small phantoms."""

import re
from pathlib import Path

import platformdirs
import pytest
import yaml

from benchmark.cell.fit import fit
from benchmark.planning.plan import make_plan
from datamodules.phantoms import write_montgomery, write_shenzhen

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


def test_the_whole_way_is_shown_in_twelve_lines():
    shown = next(block for block in BLOCKS if "trainer.fit" in block)
    assert all(word in shown for word in ("test(", "predict(", "load_from_checkpoint("))
    assert len([line for line in shown.splitlines() if line.strip()]) <= 12


@pytest.mark.slow
def test_every_block_of_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cache = tmp_path / "cache"
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *names, **options: cache)
    write_montgomery(tmp_path / "data", 20, size=64)
    write_shenzhen(tmp_path / "data", 6, size=64)
    (cell,) = [c for c in make_plan("smoke", Path("runs"), Path("data")).cells
               if (c.system, c.protocol) == ("mean_shape", "m_to_s")]  # fmt: skip
    Path("cell.yaml").write_text(yaml.safe_dump(cell.config))
    fit(Path("cell.yaml"), cell.folder)
    names: dict = {}
    for block in BLOCKS:
        exec(compile(block, str(PAGE), "exec"), names)
    assert cache.is_dir()
    told = capsys.readouterr().out
    assert "my_network" in told and re.search(r"^\((64, \d+|\d+, 64)\)$", told, re.MULTILINE)

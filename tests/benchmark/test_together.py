"""Two runs of one suite, started together: every cell is run once."""

import json
import re
import subprocess
import sys

import pandas as pd
import pytest
import yaml


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_two_runs_share_the_cells(tmp_path, phantom_root):
    suite = tmp_path / "shared.yaml"
    settings = {"systems": ["mean_shape"], "protocols": ["m_to_s"], "seeds": [0, 1]}
    suite.write_text(yaml.safe_dump({**settings, "overrides": {"preprocessing.size": 32}}))
    command = [sys.executable, "-m", "benchmark", "run", "--suite", str(suite), "--jobs", "1"]
    runs = str(tmp_path / "runs")
    command += ["--launcher", "local", "--runs", runs, "--data-root", str(phantom_root)]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    told = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    folder = tmp_path / "runs" / "shared"
    cells = sorted(folder.glob("cells/*/*/seed-*"))
    assert len(cells) == 2
    done = re.findall(r"(seed-\d): done in (\S+)", "".join(told))
    assert {seed for seed, _ in done} == {"seed-0", "seed-1"}
    for cell in cells:
        assert json.loads((cell / "cell.json").read_text())["state"] == "done"
        log = (cell / "log.txt").read_text()
        assert log.count("epoch 1/1") == 1 and "works on" not in log, log
        assert not [path for path in cell.iterdir() if path.name.startswith((".", "owner"))]
        assert len(pd.read_parquet(cell / "cases.parquet")) == 20
    board = pd.read_parquet(folder / "leaderboard" / "cases.parquet")
    assert sorted(board["seed"].unique()) == [0, 1] and len(board) == 40
    assert not [path for path in folder.rglob(".*") if path.is_file()]

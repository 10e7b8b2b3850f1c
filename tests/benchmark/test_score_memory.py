"""Masks of any content through ``score``: refused in words, and in bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import bombs
import pytest
from PIL import Image

from datamodules.foreign.mask_files import ENDINGS
from datamodules.sources import open_source

OWN_MIB = 900
"""Beside what the libraries take once they are loaded, which processors differ in."""
MEASURE = """
import json, sys
sys.path.insert(0, sys.argv[1])
import memory, torch
import benchmark.foreign.external_rows, benchmark.running.run
from benchmark.__main__ import main
torch.set_num_threads(1)
loaded = memory.now_mib()
for labels in ([], ["--labels", "left_lung=1", "right_lung=2"]):
    memory.forget_peak()
    code = main([*sys.argv[2:], *labels])
    print("MEASURED", json.dumps({"code": code, "own": memory.peak_mib() - loaded}))
"""
"""Run in a process of its own, since a peak is one of the process."""


@pytest.mark.slow
def test_no_mask_takes_more_memory_than_a_laptop_has(trained_runs, phantom_root, tmp_path):
    masks, cases = tmp_path / "masks", open_source("shenzhen", phantom_root).cases()
    masks.mkdir()
    written = bombs.write_bombs(tmp_path)
    ends = ENDINGS[::-1]  # ``.nii.gz`` before ``.nii``
    named = [(path, next((e for e in ends if path.name.endswith(e)), None)) for path in written]
    hostile = [(path, end) for path, end in named if end is not None]
    assert 15 < len(hostile) <= len(cases)
    for case, (path, end) in zip(cases, hostile, strict=False):
        path.rename(masks / f"{case.case_id}{end}")
    for path, end in named:
        if end is None:  # DICOM files, which are no masks
            path.rename(masks / path.name)
    for case in cases[len(hostile) :]:
        Image.new("L", (64, 64)).save(masks / f"{case.case_id}.png")
    asked = [
        "score", "--suite", trained_runs.parent / "tiny.yaml", "--runs", tmp_path / "runs",
        "--data-root", phantom_root, "--protocol", "m_to_s", "--system", "tool", "--masks", masks,
        "--resize",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, bombs.__file__.rpartition("/")[0], *map(str, asked)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    reports = [json.loads(line.removeprefix("MEASURED"))
               for line in done.stdout.splitlines() if line.startswith("MEASURED")]  # fmt: skip
    assert len(reports) == 2
    for report in reports:
        assert report["code"] == 2 and 0 < report["own"] < OWN_MIB, report
    told = done.stderr.splitlines()
    assert len(told) == 2, done.stderr
    assert all(str(masks) in line and "expected" in line for line in told), done.stderr
    assert done.stdout.count("files belong to no test case") == 2 and ".dcm" in done.stdout
    assert not list((tmp_path / "runs" / "tiny").rglob("cases.parquet"))

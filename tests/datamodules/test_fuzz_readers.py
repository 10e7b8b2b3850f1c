"""Damaged files give clear errors: no crash, no hang, no dark image, no flood of memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import fuzzing
import numpy as np
import pytest
from PIL import Image

from contract.errors import DataError
from datamodules.phantoms import write_phantoms
from datamodules.sources.files import MAX_PIXELS, MAX_SIDE, read_deep_pixels, read_pixels

FILES = 2000
SECONDS_A_FILE = 1.0
MEMORY_MIB = 1024
HERE = Path(__file__).resolve()


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantoms")
    write_phantoms(root, montgomery=4, shenzhen=6, jsrt=2, size=64, jsrt_size=64)
    return root


def test_two_thousand_mutated_files_give_arrays_or_clear_errors(phantoms, tmp_path):
    paths = [str(HERE.parents[2]), os.environ.get("PYTHONPATH", "")]
    command = [
        sys.executable,
        fuzzing.__file__,
        str(phantoms),
        str(tmp_path),
        str(FILES),
        "20200831",
    ]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout)
    assert report["faults"] == []
    assert sum(report["outcomes"].values()) == FILES
    for suffix in (".png", ".gif", ".IMG"):
        assert report["outcomes"][f"{suffix} error"] > 20
        assert report["outcomes"][f"{suffix} array"] > 3
    assert report["slowest_s"] < SECONDS_A_FILE
    assert report["peak_mib"] < MEMORY_MIB


@pytest.mark.filterwarnings("ignore:Corrupt EXIF:UserWarning")
@pytest.mark.parametrize("suffix", [".png", ".gif", ".jpg", ".tif"])
def test_no_truncated_file_comes_out_as_another_image(tmp_path, suffix):
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 256, (16, 12), dtype=np.uint8)).save(whole)
    expected, content = read_pixels(whole), whole.read_bytes()
    refused = 0
    for length in range(len(content)):
        cut.write_bytes(content[:length])
        try:
            assert np.array_equal(read_pixels(cut), expected)
        except DataError:
            refused += 1
    assert refused > 0.9 * len(content)


@pytest.mark.parametrize(
    ("width", "height"),
    [(MAX_SIDE + 1, 1), (1, MAX_SIDE + 1), (MAX_SIDE, MAX_PIXELS // MAX_SIDE + 1)],
)
def test_stated_sizes_beyond_reason_are_refused_unread(tmp_path, width, height):
    path = tmp_path / "large.png"
    path.write_bytes(fuzzing.png(width, height, whole=False))
    for reader in (read_pixels, read_deep_pixels):
        with pytest.raises(DataError, match=f"{width}×{height} pixels"):
            reader(path)

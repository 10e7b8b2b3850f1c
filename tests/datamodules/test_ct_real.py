"""The real LIDC-IDRI series, read as its own files state it; skipped where it is absent."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ct_roots import REAL, REAL_SERIES, write_mask
from pydicom import dcmread

from benchmark.__main__ import main
from contract.errors import DataError
from datamodules.sources.ct.nodules import fill
from datamodules.sources.ct.pseudo_masks import pseudo_mask
from datamodules.sources.lidc_idri import LIDCIDRISource

pytestmark = pytest.mark.skipif(
    not (REAL / "LIDC-IDRI").is_dir(), reason="no real LIDC-IDRI series on this machine"
)


@pytest.fixture(scope="module")
def scan():
    (found,) = LIDCIDRISource(REAL).scans()
    return found


@pytest.fixture(scope="module")
def volume(scan):
    return np.stack([scan.series.read_slice(index) for index in range(len(scan.series))])


def test_140_slices_from_below_with_spacing_and_hu_values(scan, volume):
    series = scan.series
    assert (scan.case_id, scan.patient_id, len(series)) == (REAL_SERIES, "LIDC-IDRI-0003", 140)
    stated = [dcmread(path, stop_before_pixels=True) for path in series.files]
    heights = [float(read.ImagePositionPatient[2]) for read in stated]
    assert heights == sorted(heights) and np.allclose(heights, series.positions)
    assert [int(read.InstanceNumber) for read in stated] == list(range(140, 0, -1))
    assert series.spacing == (0.820312, 0.820312)
    assert series.slice_mm == pytest.approx(2.5)
    assert volume.shape == (140, 512, 512)
    middle = dcmread(series.files[70])
    raw = middle.pixel_array.astype(int) * int(middle.RescaleSlope) + int(middle.RescaleIntercept)
    assert np.array_equal(volume[70], np.maximum(raw, -1024))
    assert raw.min() == -2048 and volume.min() == -1024
    assert volume.max() == max(
        int(read.pixel_array.max()) - 1024 for read in map(dcmread, series.files)
    )
    assert (volume[:, 0, 0] == -1024).all()


def test_nodule_outlines_are_those_of_its_xml(scan, volume):
    """Regular expressions count what the file states, apart from the reader under test."""
    text = scan.readings.read_text()
    sessions = re.findall(r"<readingSession>(.*?)</readingSession>", text, re.S)
    nodule_text = r"<unblindedReadNodule>(.*?)</unblindedReadNodule>"
    assert len(sessions) == 4
    votes = Counter()
    for session in sessions:
        enclosed = set()
        for nodule in re.findall(nodule_text, session, re.S):
            for roi in re.findall(r"<roi>(.*?)</roi>", nodule, re.S):
                points = re.findall(r"<xCoord>(\d+)</xCoord>\s*<yCoord>(\d+)</yCoord>", roi)
                assert "TRUE" in roi
                if len(points) > 1:
                    uid = re.search(r"<imageSOP_UID>(.*?)</imageSOP_UID>", roi)[1]
                    z = float(re.search(r"<imageZposition>(.*?)</imageZposition>", roi)[1])
                    index = scan.series.slice_of[uid]
                    assert scan.series.positions[index] == pytest.approx(z)
                    contour = tuple((int(x), int(y)) for x, y in points)
                    mask = fill(contour, (512, 512), with_outline=False)
                    enclosed |= {(index, int(p)) for p in np.flatnonzero(mask)}
        votes.update(enclosed)
    found = LIDCIDRISource(REAL).nodules(scan)
    ours = {(i, int(p)) for n in found for i, pixels in n.pixels.items() for p in pixels}
    assert found and all(1 <= nodule.readers <= 4 for nodule in found)
    # What half of all four readers enclosed is in, whoever saw it; what nobody enclosed is not.
    assert {key for key, count in votes.items() if count >= 2} <= ours
    assert ours <= set(votes)
    for nodule in found:
        inside = [volume[i].ravel()[pixels] for i, pixels in nodule.pixels.items()]
        assert -700 < np.concatenate(inside).mean() < 200


def test_data_check_accepts_it_and_says_that_it_has_no_lung_mask(capsys):
    code = main(["data", "check", "--data-root", str(REAL), "--dataset", "lidc_idri", "--json"])
    (report,) = json.loads(capsys.readouterr().out)
    assert code == 0
    assert (report["images"], report["masks"], report["sound"]) == (1, 0, True)
    (problem,) = report["problems"]
    assert "no lung mask" in problem["found"] and REAL_SERIES in problem["found"]
    assert "seg-lungs-LUNA16" in problem["todo"]


def test_training_on_it_says_which_mask_is_missing():
    with pytest.raises(DataError, match="no lung mask") as raised:
        LIDCIDRISource(REAL).cases()
    assert REAL_SERIES in str(raised.value) and "LUNA16" in raised.value.todo


PREPARE = """
import sys, time
from pathlib import Path
import pydicom.pixels, SimpleITK
from datamodules.cache import prepare
from datamodules.preprocessing import Preprocessing
from datamodules.sources import open_source
from memory import peak_mib
source = open_source("lidc_idri", Path(sys.argv[1]))
wall, cpu = time.perf_counter(), time.process_time()
prepared = prepare(source, source.cases(), Preprocessing(size=224), Path(sys.argv[2]))
print(len(prepared.images), time.perf_counter() - wall, time.process_time() - cpu, peak_mib())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="pins a process to one core")
def test_preparing_it_takes_at_most_3_s_and_1_gib_on_one_core(scan, volume, tmp_path):
    """CPU seconds, so that a busy machine does not fail it."""
    mask = pseudo_mask(volume, scan.series.spacing, scan.series.slice_mm)
    assert 3000 < mask.sum() * np.prod([*scan.series.spacing, 2.5]) / 1000 < 9000
    write_mask(
        tmp_path / "LUNA16" / "seg-lungs-LUNA16" / f"{REAL_SERIES}.mhd", scan.series, mask * 3
    )
    (tmp_path / "LIDC-IDRI").symlink_to(REAL / "LIDC-IDRI")
    helpers = Path(__file__).parents[1] / "helpers"
    command = ["taskset", "-c", "0", sys.executable, "-c", PREPARE, tmp_path, tmp_path / "cache"]
    paths = {"PYTHONPATH": f"{helpers.parents[1]}:{helpers}", "PATH": "/usr/bin:/bin"}
    said = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=True,
        env={"OMP_NUM_THREADS": "1", **paths},
    )
    slices, wall, cpu, peak = map(float, said.stdout.split())
    print(f"{wall:.2f} s, {cpu:.2f} CPU s, {peak:.0f} MiB")
    assert slices == 140
    assert cpu <= 3
    assert peak <= 1024

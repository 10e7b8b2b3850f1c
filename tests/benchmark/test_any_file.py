"""Any file at all through ``predict`` and ``serve``: a mask, or one line of words, in bounds."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import bombs
import numpy as np
import pandas as pd
import pydicom.data
import pytest
from films import save_dicom, write_16_bit
from pydicom import dcmread

from benchmark.__main__ import main
from benchmark.prediction import segmentation
from benchmark.prediction.networks import load_networks, trained
from benchmark.prediction.segmentation import segment
from datamodules.sources.films import Film, read_film

CELL = "tiny/cells/unet/m_to_s/seed-0"
PEAK_MIB = 1536
NOT_FOR_USERS = re.compile(r"\w+Error\b|force=True|Traceback|object at 0x|pydicom|Pillow|PIL\b")
HERE = Path(__file__).resolve()

MEASURE = """
import io, json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import memory, torch
from benchmark.__main__ import main
from benchmark.prediction.networks import load_networks, trained
from benchmark.prediction.serve import create_app
torch.set_num_threads(1)
cell, folder, out = map(Path, sys.argv[2:5])
code = main(["predict", "--cell", str(cell), "--images", str(folder), "--out", str(out)])
predicted = memory.peak_mib()
memory.forget_peak()
client = create_app(cell.parents[4], "cpu").test_client()
for path in [folder / name for name in sys.argv[5:]]:
    form = {"system": "tiny/unet/m_to_s", "image": (io.BytesIO(path.read_bytes()), path.name)}
    reply = client.post("/segment", data=form, base_url="http://localhost:80")
    assert reply.status_code in (200, 415), (path.name, reply.status_code, reply.text)
    del reply, form
print(json.dumps({"code": code, "predict": predicted, "serve": memory.peak_mib()}))
"""
"""Run in a process of its own, since a peak is one of the process."""

SERVED = ("whole_film_rgba_16_bit.png", "deflated_film.dcm", "rle_large.dcm", "empty_items.dcm")
"""Those that take most; ``serve`` reads films as ``predict`` does."""


@pytest.mark.slow
def test_no_bomb_takes_more_memory_than_a_laptop_has(trained_runs, tmp_path):
    films = tmp_path / "films"
    films.mkdir()
    written = bombs.write_bombs(films)
    assert len(written) > 30
    assert max(path.stat().st_size for path in written) < 32 << 20
    arguments = [
        bombs.__file__.rpartition("/")[0],
        trained_runs / CELL,
        films,
        tmp_path / "out",
        *SERVED,
    ]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, arguments)],
        cwd=HERE.parents[2], capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["code"] == 1
    assert report["predict"] < PEAK_MIB and report["serve"] < PEAK_MIB, report
    rows = pd.read_csv(tmp_path / "out" / "predictions.csv").set_index("file")
    assert len(rows) == len(written)
    assert rows["error"].notna().sum() > 20
    assert not [text for text in rows["error"].dropna() if NOT_FOR_USERS.search(text)]


def examples() -> list[Path]:
    """pydicom's own test files and those of ``pydicom-data``."""
    from data_store import DataStore  # type: ignore[import-not-found]

    homes = [Path(pydicom.data.__file__).parent, Path(DataStore().data_path)]
    return [path for home in homes for path in sorted(home.rglob("*")) if path.is_file()]


def test_pydicoms_files_are_segmented_passed_over_or_refused_in_one_line(
    trained_runs, tmp_path, capsys
):
    films = tmp_path / "films"
    for number, path in enumerate(examples()):
        (films / str(number)).mkdir(parents=True)
        shutil.copy(path, films / str(number))
    cell = ["--cell", str(trained_runs / CELL), "--out", str(tmp_path / "out")]
    assert main(["predict", *cell, "--images", str(films)]) == 1
    lines = capsys.readouterr().out.splitlines()
    rows = pd.read_csv(tmp_path / "out" / "predictions.csv")
    rows["name"] = rows["file"].map(lambda file: Path(file).name)
    errors = dict(rows.dropna(subset="error")[["name", "error"]].to_numpy())
    segmented = set(rows[rows["error"].isna()]["name"])
    passed = {line.split(":")[0].rpartition("/")[2] for line in lines if "passed over" in line}
    assert {"RG1_UNCR.dcm", "RG1_UNCI.dcm", "RG1_J2KR.dcm", "RG1_J2KI.dcm"} <= segmented
    assert {"DICOMDIR", "test-SR.dcm", "rtplan.dcm", "waveform_ecg.dcm"} <= passed
    assert "Modality CT" in errors["CT_small.dcm"] and "Modality MR" in errors["MR_small.dcm"]
    assert "PALETTE COLOR" in errors["OT-PAL-8-face.dcm"]
    assert "BodyPartExamined" in errors["RG3_UNCR.dcm"]
    told = [*errors.values(), *(line for line in lines if "passed over" in line)]
    assert not [text for text in told if "\n" in text or NOT_FOR_USERS.search(text)]


def test_a_disc_with_one_good_film_ends_well(trained_runs, tmp_path, capsys):
    disc = tmp_path / "disc"
    (disc / "DICOM").mkdir(parents=True)
    grey = np.tile(np.arange(80, dtype=np.uint8) * 3, (90, 1))
    save_dicom(disc / "DICOM" / "IM000001", grey.astype(np.uint16) * 16, Modality="DX")
    kinds = {"DICOMDIR": "1.3.10", "SR1": "5.1.4.1.1.88.11", "PDF1": "5.1.4.1.1.104.1"}
    for name, kind in kinds.items():
        save_dicom(disc / name, grey.astype(np.uint16), SOPClassUID=f"1.2.840.10008.{kind}")
        data = dcmread(disc / name)
        del data.PixelData
        data.save_as(disc / name)
    (disc / "autorun.inf").write_text("[autorun]\nopen=viewer.exe\n")
    (disc / "viewer.exe").write_bytes(b"MZ" + bytes(500))
    cell = ["--cell", str(trained_runs / CELL), "--out", str(tmp_path / "out")]
    assert main(["predict", *cell, "--images", str(disc)]) == 0
    out = capsys.readouterr().out
    assert out.count("passed over") == 4 and "1 of 1 films segmented" in out
    (disc / "DICOM" / "IM000001").unlink()
    assert main(["predict", *cell, "--images", str(disc)]) == 2


def test_force_segments_what_is_no_chest_film_and_flags_it(trained_runs, tmp_path):
    films = tmp_path / "films"
    films.mkdir()
    grey = np.tile(np.arange(80, dtype=np.uint16) * 40, (90, 1))
    save_dicom(films / "a.dcm", grey, Modality="CT")
    cell = ["--cell", str(trained_runs / CELL), "--images", str(films)]
    out = ["--out", str(tmp_path / "out")]
    assert main(["predict", *cell, *out]) == 1
    assert main(["predict", *cell, *out, "--force"]) == 0
    (row,) = pd.read_csv(tmp_path / "out" / "predictions.csv").to_dict("records")
    assert row["flagged"] and "Modality CT" in row["reasons"]


def test_bands_give_the_masks_of_the_whole(trained_runs, phantom_root, tmp_path, monkeypatch):
    source = sorted((phantom_root / "MontgomerySet" / "CXR_png").iterdir())[0]
    grey = np.kron(read_film(source).pixels, np.ones((5, 6), np.uint8))
    write_16_bit(tmp_path / "film.png", grey)
    networks = load_networks(trained([trained_runs / CELL]))
    film = Film(grey, None)
    whole = segment(networks, film).masks
    monkeypatch.setattr(segmentation, "MANY_PIXELS", 100)
    banded = segment(networks, film).masks
    assert whole.keys() == banded.keys()
    for name, mask in whole.items():
        assert np.count_nonzero(mask != banded[name]) <= 3
    assert whole["lungs"].sum() > 0

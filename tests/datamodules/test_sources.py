from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from contract.errors import DataError, UserError
from datamodules.sources import open_source
from datamodules.sources.clinical import (
    parse_jsrt_table,
    parse_reading,
    read_clinical_texts,
    read_text,
    years,
)
from datamodules.sources.files import read_deep_pixels, read_pixels
from datamodules.sources.mask_labels import read_labels


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Patient's Sex: F\nPatient's Age: 027Y\nnormal\n", ("F", "27", "normal")),
        ("Patient's Sex: M\r\nPatient's Age: 008M\r\n", ("M", "0", None)),
        ("Patient's Sex: O\nPatient's Age: 000Y\nTB", (None, "0", "Patient's Sex: O TB")),
        ("male 45yrs\nnormal", ("M", "45", "normal")),
        ("female 30yrs\n bilateral PTB", ("F", "30", "bilateral PTB")),
        ("Female, 33 years old\nright upper PTB.", ("F", "33", "right upper PTB")),
        ("male 20yr 1 month ago", ("M", "20", "1 month ago")),
        ("female 14 months", ("F", "1", None)),
        ("Sex: male Age: 61", ("M", "61", None)),
        ("45yrs male\nPTB", ("M", "45", "PTB")),
        ("male", ("M", None, None)),
        ("male 450yrs", ("M", None, None)),
        ("", (None, None, None)),
        ("pneumonia", (None, None, "pneumonia")),
    ],
)
def test_readings(text: str, expected: tuple[str | None, ...]) -> None:
    found = parse_reading(text)
    assert tuple(found.get(key) for key in ("sex", "age", "finding")) == expected


def test_a_view_is_read_where_it_is_told() -> None:
    assert parse_reading("male 45yrs\nView: PA\nnormal")["view"] == "PA"
    assert "view" not in parse_reading("male 45yrs\nnormal view")


@given(st.text() | st.from_regex(r"(?i)(sex|age|male|[0-9]+ ?yrs?|[: ,\n])*"))
def test_no_text_crashes_the_parsers(text: str) -> None:
    found = parse_reading(text)
    assert set(found) <= {"sex", "age", "view", "finding"}
    assert found.get("sex", "F") in "FM"
    assert 0 <= int(found.get("age", "0")) <= 120
    for attributes in parse_jsrt_table(f"JPCLN001.IMG\t{text}\n{text}").values():
        assert 0 <= int(attributes.get("age", "0")) <= 120


@given(st.binary())
def test_no_bytes_crash_the_reader(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.txt"
        path.write_bytes(content)
        assert isinstance(parse_reading(read_text(path)), dict)


def test_absent_or_unreadable_files_tell_nothing(tmp_path: Path) -> None:
    assert read_clinical_texts(tmp_path / "absent") == {}
    (tmp_path / "a.txt").mkdir()
    assert read_clinical_texts(tmp_path) == {"a": {}}
    assert (years(200, "y"), years(3, "w")) == (None, 0)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "JPCLN001.IMG\t5\t15\t53\tMale\t1634\t692\tmalignant\tl.upper lobe\tlung cancer",
            {"sex": "M", "age": "53", "finding": "malignant, lung cancer"},
        ),
        (
            "JPCLN002.IMG\t5\t30\t?\tFemale\t1634\t692\tbenign\tr.hilar",
            {"sex": "F", "finding": "benign"},
        ),
        (
            "JPCNN001.IMG\t50\tFemale\tnon-nodule",
            {"sex": "F", "age": "50", "finding": "non-nodule"},
        ),
        ("JPCNN001 50 Female non-nodule", {"sex": "F", "age": "50", "finding": "non-nodule"}),
        ("jpcnn001.img\t\t", {}),
    ],
)
def test_rows_of_jsrts_tables(line: str, expected: dict[str, str]) -> None:
    ((case_id, found),) = parse_jsrt_table(f"some heading\n\n{line}\n").items()
    assert case_id == line[:8].upper()
    assert found == expected


@pytest.mark.parametrize("name", ["montgomery", "shenzhen"])
def test_clinical_files_become_attributes(name: str, phantom_root: Path) -> None:
    cases = open_source(name, phantom_root).cases()
    assert all(case.attributes["sex"] in "FM" for case in cases)
    assert all(0 < int(case.attributes["age"]) < 100 for case in cases)
    normal = [case for case in cases if case.stratum == "normal"]
    assert normal
    assert all(case.attributes["finding"] == "normal" for case in normal)


def test_unknown_names_are_listed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="jsrt, lidc_idri, montgomery, qin_lung_ct, shenzhen"):
        open_source("chestx", tmp_path)
    with pytest.raises(UserError, match="mend the path"):
        open_source("mine.yaml", tmp_path)


def deep(path: Path, values: np.ndarray) -> Path:
    Image.fromarray(values.astype(np.uint16)).save(path)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_files_are_scaled_by_the_full_range(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 257, 4095], [32768, 65278, 65535]])
    path = deep(tmp_path / f"a{suffix}", values)
    assert read_deep_pixels(path).tolist() == [[0, 1, 16], [128, 254, 255]]
    assert read_deep_pixels(path, bits=12).tolist() == [[0, 16, 255], [255, 255, 255]]
    assert np.array_equal(read_deep_pixels(path, twelve_bits=True), read_deep_pixels(path))
    with pytest.raises(DataError, match="I;16"):
        read_pixels(path)


def test_12_bits_are_known_by_their_range_where_asked(tmp_path: Path) -> None:
    path = deep(tmp_path / "a.png", np.array([[0, 2048, 4095]]))
    assert read_deep_pixels(path, twelve_bits=True).tolist() == [[0, 128, 255]]
    assert read_deep_pixels(path).tolist() == [[0, 8, 16]]


def test_a_tiff_whose_zero_is_white_is_inverted(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    values = np.array([[0, 65535]], np.uint16)
    Image.fromarray(values).save(path, tiffinfo={262: 0})
    with Image.open(path) as image:
        assert image.tag_v2[262] == 0
    assert read_deep_pixels(path).tolist() == [[255, 0]]


def test_floating_point_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(np.ones((4, 4), np.float32)).save(path)
    with pytest.raises(DataError, match="mode F"):
        read_deep_pixels(path)


def test_labels_are_palette_indices_and_never_lossy(tmp_path: Path) -> None:
    labels = np.array([[0, 1], [2, 3]], np.uint8)
    image = Image.fromarray(labels)
    image.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0, 0, 0, 200])
    image.save(tmp_path / "a.png")
    assert read_labels(tmp_path / "a.png").tolist() == labels.tolist()
    Image.fromarray(labels).save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="lossless"):
        read_labels(tmp_path / "a.jpg")

"""One film, written in the ways in which scanners and archives write it, comes out alike."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from films import save_dicom
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from contract.errors import DataError
from datamodules.sources.dicom.objects import NoFilmError, looks_like_dicom
from datamodules.sources.films import Film, is_dicom, read_film

INPUTS = os.environ.get("LUNGBENCH_INPUTS")
Grey = NDArray[np.uint8]


@pytest.fixture(scope="module")
def grey(phantom_root: Path) -> Grey:
    """A phantom film, higher than it is wide, with values from 0 to 255."""
    path = sorted((phantom_root / "MontgomerySet" / "CXR_png").iterdir())[0]
    with Image.open(path) as image:
        film = np.asarray(image.convert("L"))[:, 8:120].astype(float)
    low, high = film.min(), film.max()
    return np.rint((film - low) / (high - low) * 255).astype(np.uint8)


def deep(grey: Grey, bits: int = 12) -> NDArray[np.uint16]:
    return np.rint(grey * (((1 << bits) - 1) / 255)).astype(np.uint16)


def table(entries: Any, bits: int, first: int = 0, count: int | None = None) -> Dataset:
    item = Dataset()
    length = len(entries) if count is None else count
    item.LUTDescriptor = [length % 65536, first, bits]
    item.add_new("LUTData", "OW", np.asarray(entries, "<u2").tobytes())
    return item


WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}
IDENTITY = np.arange(4096)
CASES: dict[str, Callable[[Grey], tuple[NDArray[Any], dict[str, Any]]]] = {
    "12 bits": lambda g: (deep(g), {}),
    "12 bits in 16, no window": lambda g: (deep(g), {"BitsStored": 16, "HighBit": 15}),
    "14 bits in 16, no window": lambda g: (deep(g, 14), {"BitsStored": 16, "HighBit": 15}),
    "10 bits in 12, no window": lambda g: (deep(g, 10), {}),
    "10 bits in 16, a dead pixel": lambda g: (
        np.where(np.arange(g.size).reshape(g.shape) == 99, 65535, deep(g, 10)),
        {"BitsStored": 16, "HighBit": 15},
    ),
    "values far from zero": lambda g: (20000 + deep(g, 10), {"BitsStored": 16, "HighBit": 15}),
    "signed, none below zero": lambda g: (
        deep(g), {"BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1}
    ),
    "signed, around zero": lambda g: (
        (deep(g).astype(int) - 2048) & 0xFFFF, {"PixelRepresentation": 1}
    ),
    "signed 12 bits, high bits cleared": lambda g: (
        (deep(g).astype(int) - 2048) & 0xFFF, {"PixelRepresentation": 1}
    ),
    "left-aligned": lambda g: (deep(g) << 4, {"HighBit": 15}),
    "left-aligned 14 bits": lambda g: (deep(g, 14) << 2, {"BitsStored": 14, "HighBit": 15}),
    "high bit wrong": lambda g: (deep(g) | 1, {"HighBit": 15}),
    "bits understated": lambda g: (deep(g), {"BitsStored": 10, "HighBit": 9}),
    "bits of zero": lambda g: (deep(g), {"BitsStored": 0}),
    "8 bits": lambda g: (g, {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}),
    "MONOCHROME1": lambda g: (4095 - deep(g), {"PhotometricInterpretation": "MONOCHROME1"}),
    "window": lambda g: (deep(g), WINDOW),
    "window of fractions": lambda g: (deep(g), {"WindowCenter": 2047.5, "WindowWidth": 4095.5}),
    "several windows": lambda g: (
        deep(g), {"WindowCenter": [2048, 10], "WindowWidth": [4096, 20]}
    ),
    "window of width 0": lambda g: (deep(g), {"WindowCenter": 5, "WindowWidth": 0}),
    "window of negative width": lambda g: (deep(g), {"WindowCenter": 5, "WindowWidth": -9}),
    "first window useless, second good": lambda g: (
        deep(g), {"WindowCenter": [5, 2048], "WindowWidth": [0, 4096]}
    ),
    "window beside the values": lambda g: (deep(g), {"WindowCenter": 60000, "WindowWidth": 9}),
    "window without width": lambda g: (deep(g), {"WindowCenter": 5}),
    "empty window": lambda g: (deep(g), {"WindowCenter": None, "WindowWidth": None}),
    "unknown window function": lambda g: (deep(g), {**WINDOW, "VOILUTFunction": "CUBIC"}),
    "empty VOI sequence": lambda g: (deep(g), {**WINDOW, "VOILUTSequence": []}),
    "VOI item without data": lambda g: (deep(g), {**WINDOW, "VOILUTSequence": [table([], 12)]}),
    "VOI item without anything": lambda g: (deep(g), {**WINDOW, "VOILUTSequence": [Dataset()]}),
    "VOI says 16 bits, ends at 4095": lambda g: (
        deep(g), {"VOILUTSequence": [table(IDENTITY, 16)]}
    ),
    "VOI says 8 bits, ends at 4095": lambda g: (
        deep(g), {"VOILUTSequence": [table(IDENTITY, 8)]}
    ),
    "VOI of 14 bits": lambda g: (deep(g), {"VOILUTSequence": [table(IDENTITY * 4, 14)]}),
    "VOI of 16 bits": lambda g: (deep(g), {"VOILUTSequence": [table(IDENTITY * 16, 16)]}),
    "VOI from 1000 on": lambda g: (
        deep(g) + 1000, {"BitsStored": 16, "HighBit": 15,
                         "VOILUTSequence": [table(IDENTITY, 12, first=1000)]}
    ),
    "VOI of 65536 entries": lambda g: (
        deep(g, 16), {"BitsStored": 16, "HighBit": 15,
                      "VOILUTSequence": [table(np.arange(65536), 16)]}
    ),
    "modality table of 12 bits": lambda g: (
        deep(g), {"ModalityLUTSequence": [table(IDENTITY, 12)]}
    ),
    "modality table of 12 bits in 16": lambda g: (
        deep(g), {"ModalityLUTSequence": [table(IDENTITY, 16)]}
    ),
    "modality table that inverts": lambda g: (
        4095 - deep(g), {"ModalityLUTSequence": [table(IDENTITY[::-1], 12)], **WINDOW}
    ),
    "rescale empty": lambda g: (
        deep(g), {**WINDOW, "RescaleSlope": None, "RescaleIntercept": None}
    ),
    "rescale without slope": lambda g: (
        deep(g), {"WindowCenter": 1048, "WindowWidth": 4096, "RescaleIntercept": -1000}
    ),
    "rescale of slope 0": lambda g: (deep(g), {**WINDOW, "RescaleSlope": 0}),
    "rescale negative": lambda g: (4095 - deep(g), {"RescaleSlope": -1, "RescaleIntercept": 4095}),
    "spacing of 0": lambda g: (deep(g), {"PixelSpacing": [0, 0]}),
    "mirrored": lambda g: (deep(g)[:, ::-1], {"PatientOrientation": ["R", "F"]}),
    "upside down": lambda g: (deep(g)[::-1], {"PatientOrientation": ["L", "H"]}),
    "half turned": lambda g: (deep(g)[::-1, ::-1], {"PatientOrientation": ["R", "H"]}),
    "head at the left": lambda g: (np.rot90(deep(g)), {"PatientOrientation": ["F", "R"]}),
    "head at the right": lambda g: (np.rot90(deep(g), -1), {"PatientOrientation": ["H", "L"]}),
    "head at the left, stated otherwise": lambda g: (
        np.rot90(deep(g)), {"PatientOrientation": ["H", "L"]}
    ),
    "transposed": lambda g: (deep(g).T, {"PatientOrientation": ["F", "L"]}),
    "upright, and said so": lambda g: (deep(g), {"PatientOrientation": ["L", "F"]}),
    "compound directions": lambda g: (deep(g)[:, ::-1], {"PatientOrientation": ["RF", "FL"]}),
    "orientation without sense": lambda g: (deep(g), {"PatientOrientation": ["X", ""]}),
    "one frame": lambda g: (deep(g), {"NumberOfFrames": 1}),
    "RGB": lambda g: (
        np.repeat(g[..., None], 3, axis=2),
        {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3, "PlanarConfiguration": 0,
         "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7},
    ),
    "unknown body part": lambda g: (deep(g), {"BodyPartExamined": "PORT CHEST"}),
    "drawing in the unused bits": lambda g: (
        deep(g) | (np.arange(g.shape[1]) % 2 << 15).astype(np.uint16),
        {"add": (0x60000102, "US", 15)},
    ),
    "padding darker than zero": lambda g: (
        padded(deep(g) + 100, 0), {"PixelPaddingValue": 0, "WindowCenter": 2148,
                                   "WindowWidth": 4096, "BitsStored": 16, "HighBit": 15}
    ),
    "MONOCHROME1 with padding": lambda g: (
        padded(20000 - deep(g), 0),
        {"PixelPaddingValue": 0, "PhotometricInterpretation": "MONOCHROME1", "BitsStored": 16,
         "HighBit": 15},
    ),
    "MONOCHROME1 with a range of padding": lambda g: (
        padded(4095 - deep(g), 65000),
        {"PixelPaddingValue": 65000, "PixelPaddingRangeLimit": 65535, "BitsStored": 16,
         "HighBit": 15, "PhotometricInterpretation": "MONOCHROME1"},
    ),
    "MONOCHROME2 with padding of -2000": lambda g: (
        padded(deep(g), 65536 - 2000), {"PixelPaddingValue": -2000, "PixelRepresentation": 1,
                                        "BitsStored": 16, "HighBit": 15}
    ),
}  # fmt: skip
PADDED = 6
"""Columns of padding at the left."""


def padded(values: NDArray[Any], value: int) -> NDArray[Any]:
    out = values.copy()
    out[:, :PADDED] = value
    return out


def written(path: Path, name: str, grey: Grey) -> Path:
    values, tags = CASES[name](grey)
    more = tags.pop("add", None)
    rows, columns = values.shape[:2]
    kind = "u1" if tags.get("BitsAllocated") == 8 else "<u2"
    save_dicom(path, np.zeros((rows, columns), np.uint16), **tags)
    data = dcmread(path)
    if more:
        data.add_new(*more)
    data.PixelData = np.ascontiguousarray(values, kind).tobytes()
    data.save_as(path)
    return path


def require_alike(film: Film, grey: Grey, padding: bool = False, dead_pixel: bool = False) -> None:
    assert film.shape == grey.shape
    differ = np.abs(film.pixels.astype(int) - grey)
    if dead_pixel:
        assert differ.flat[99] > 3
        differ.flat[99] = 0
    if padding:
        assert (film.pixels[:, :PADDED] == 0).all()
        differ = differ[:, PADDED:]
    assert differ.max() <= 3 and differ.mean() < 1.2


@pytest.mark.parametrize("name", CASES)
def test_a_film_comes_out_alike_however_it_is_written(tmp_path: Path, grey: Grey, name: str):
    film = read_film(written(tmp_path / "film.dcm", name, grey))
    require_alike(film, grey, padding="adding" in name, dead_pixel="dead" in name)
    assert film.spacing is None
    turned = "PatientOrientation" in CASES[name](grey)[1]
    upright = name in ("upright, and said so", "orientation without sense")
    assert bool(film.remarks) == (turned and not upright)
    assert bool(film.doubts) == (name == "head at the left, stated otherwise")


def preambleless(path: Path) -> None:
    path.write_bytes(path.read_bytes()[132:])


def without_meta(path: Path) -> None:
    """Leave the elements behind group 2 alone, as old archives do."""
    data = dcmread(path)
    bare = Dataset({element.tag: element for element in data})
    bare.save_as(path, implicit_vr=True, little_endian=True)


def without_syntax(path: Path) -> None:
    content = path.read_bytes()
    start = content.index(b"\x02\0\x10\0UI")
    length = int.from_bytes(content[start + 6 : start + 8], "little")
    path.write_bytes(content[:start] + content[start + 8 + length :])


@pytest.mark.parametrize("damage", [preambleless, without_meta, without_syntax])
def test_files_without_preamble_or_syntax_are_read(tmp_path: Path, grey: Grey, damage: Any):
    path = written(tmp_path / "IM0001", "window", grey)
    damage(path)
    assert is_dicom(path)
    require_alike(read_film(path), grey)


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless,
     JPEG2000Lossless, JPEGLSLossless],
)  # fmt: skip
def test_every_installed_compression_is_read(tmp_path: Path, grey: Grey, syntax: Any):
    path = written(tmp_path / "film.dcm", "window", grey)
    data = dcmread(path)
    if syntax.is_encapsulated:
        data.compress(syntax)
        data.save_as(path)
    elif syntax == ExplicitVRBigEndian:
        data.PixelData = np.frombuffer(data.PixelData, "<u2").astype(">u2").tobytes()
        bare = Dataset({element.tag: element for element in data})
        bare.file_meta = data.file_meta
        bare.file_meta.TransferSyntaxUID = syntax
        bare.save_as(path, enforce_file_format=True)
    else:
        data.file_meta.TransferSyntaxUID = syntax
        data.save_as(path, implicit_vr=syntax.is_implicit_VR, little_endian=True)
    require_alike(read_film(path), grey)


@pytest.mark.parametrize(
    ("syntax", "named"),
    [("1.2.840.10008.1.2.4.100", "MPEG2"), ("1.2.840.10008.1.2.4.107", "HEVC"),
     ("1.2.3.4", "an unknown method")],
)  # fmt: skip
def test_unknown_compressions_are_named(tmp_path: Path, grey: Grey, syntax: str, named: str):
    path = written(tmp_path / "film.dcm", "window", grey)
    content = path.read_bytes()
    known = b"1.2.840.10008.1.2.1\0"
    start = content.index(known)
    padded_uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    head = content[: start - 2] + len(padded_uid).to_bytes(2, "little") + padded_uid
    path.write_bytes(head + content[start + len(known) :])
    with pytest.raises(DataError, match=named) as caught:
        read_film(path)
    assert syntax in str(caught.value)


@pytest.mark.parametrize(
    "tags",
    [{"Modality": "CT"}, {"Modality": "MR"}, {"Modality": "US"}, {"BodyPartExamined": "HAND"},
     {"BodyPartExamined": "SKULL"}, {"ViewPosition": "LL"}, {"ViewPosition": "LATERAL"},
     {"PatientOrientation": ["A", "F"]}],
)  # fmt: skip
def test_what_is_no_frontal_chest_film_is_refused_unless_forced(
    tmp_path: Path, grey: Grey, tags: dict[str, Any]
):
    path = tmp_path / "film.dcm"
    save_dicom(path, deep(grey), **tags)
    with pytest.raises(DataError, match="--force") as caught:
        read_film(path)
    assert next(iter(tags)) in str(caught.value)
    forced = read_film(path, force=True)
    require_alike(forced, grey)
    assert len(forced.doubts) == 1


@pytest.mark.parametrize(
    "tags",
    [{"Modality": "DX"}, {"Modality": "CR", "BodyPartExamined": "CHEST", "ViewPosition": "PA"},
     {"BodyPartExamined": "CHEST ABDOMEN"}, {"ViewPosition": "AP"}, {"BodyPartExamined": "?"}],
)  # fmt: skip
def test_chest_films_are_not_doubted(tmp_path: Path, grey: Grey, tags: dict[str, Any]):
    save_dicom(tmp_path / "film.dcm", deep(grey), **tags)
    assert read_film(tmp_path / "film.dcm").doubts == ()


@pytest.mark.parametrize(
    ("tags", "spacing"),
    [
        ({"PixelSpacing": [0.2, 0.3], "ImagerPixelSpacing": [0.1, 0.1]}, (0.2, 0.3)),
        ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.1, 0.1]}, (0.1, 0.1)),
        ({"NominalScannedPixelSpacing": [0.1, 0.2]}, (0.1, 0.2)),
        ({"PixelSpacing": [0.2, -1]}, None),
        ({"PixelSpacing": 0.2}, None),
        ({"PixelSpacing": [0.2, 0.3], "PatientOrientation": ["F", "L"]}, (0.3, 0.2)),
    ],
)
def test_spacing_is_that_of_the_upright_film(
    tmp_path: Path, grey: Grey, tags: dict[str, Any], spacing: Any
):
    save_dicom(tmp_path / "film.dcm", deep(grey), **tags)
    assert read_film(tmp_path / "film.dcm").spacing == spacing


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("1.2.840.10008.1.3.10", "DICOMDIR"),
        ("1.2.840.10008.5.1.4.1.1.88.11", "a report"),
        ("1.2.840.10008.5.1.4.1.1.11.1", "a presentation state"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "an encapsulated document"),
        ("1.2.840.10008.5.1.4.1.1.66", "Raw Data Storage"),
    ],
)
def test_objects_without_pixels_are_no_films(tmp_path: Path, grey: Grey, kind: str, told: str):
    path = tmp_path / "object.dcm"
    save_dicom(path, deep(grey), SOPClassUID=kind)
    data = dcmread(path)
    del data.PixelData
    data.save_as(path)
    with pytest.raises(NoFilmError, match=told):
        read_film(path)


def test_a_film_without_its_pixels_is_damaged(tmp_path: Path, grey: Grey):
    save_dicom(tmp_path / "film.dcm", deep(grey))
    content = (tmp_path / "film.dcm").read_bytes()
    for length in (0, 100, 140, 300, 500, len(content) - 5000, len(content) - 2):
        (tmp_path / "film.dcm").write_bytes(content[:length])
        with pytest.raises(DataError) as caught:
            read_film(tmp_path / "film.dcm")
        assert not isinstance(caught.value, NoFilmError)
        assert "Error" not in str(caught.value) and "force=True" not in str(caught.value)


def test_other_files_are_not_taken_for_dicom():
    for head in (
        b"",
        b"\x08\0",
        b"BM" + bytes(200),
        b"\x08\0\xff\xff" + b"\xff" * 200,
        b"text" * 40,
    ):
        assert not looks_like_dicom(head[:132])
    assert looks_like_dicom(bytes(128) + b"DICM")


@pytest.mark.skipif(not INPUTS, reason="LUNGBENCH_INPUTS names no folder of films")
def test_films_that_failed_come_out_alike():
    paths = sorted(Path(str(INPUTS), "dicom").glob("*.dcm"))
    films = [read_film(path) for path in paths]
    assert len(films) == 10
    for path, film in zip(paths, films, strict=True):
        assert np.abs(film.pixels.astype(int) - films[0].pixels).max() <= 3, path.name

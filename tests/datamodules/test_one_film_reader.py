"""Whatever file the readers accept, ``predict``, training and scoring see the same pixels."""

from __future__ import annotations

import struct
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from films import save_dicom
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ExifTags, Image
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from benchmark.prediction.finding import find_films
from contract.errors import DataError
from datamodules.checks.integrity import check
from datamodules.decoding import decode_all
from datamodules.preprocessing import Preprocessing
from datamodules.sources import open_source
from datamodules.sources.files import turn_pixels
from datamodules.sources.films import read_film
from datamodules.sources.masks import read_mask

SHAPE = (40, 48)
Grey = NDArray[np.uint8]


def film() -> Grey:
    """A film of 256 grey values, none like another turned."""
    rows, columns = np.indices(SHAPE)
    return ((rows * 5 + columns * 3 + (rows > 30) * 20) % 256).astype(np.uint8)


def lying(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return pixels that an EXIF orientation turns into these."""
    back = {6: 8, 8: 6}.get(orientation, orientation)
    return turn_pixels(pixels, back)


def save_picture(path: Path, colours: str, bits: int, orientation: int) -> None:
    grey = lying(film(), orientation)
    deep = np.rint(grey * (((1 << bits) - 1) / 255)).astype(np.uint16)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    if colours == "deep RGB":
        coded = cv2.imencode(".png", np.repeat(deep[..., None], 3, axis=2))[1].tobytes()
        end = coded.index(b"IDAT") - 4
        turned = exif.tobytes().removeprefix(b"Exif\0\0")
        chunk = struct.pack(">I", len(turned)) + b"eXIf" + turned
        chunk += struct.pack(">I", zlib.crc32(b"eXIf" + turned))
        path.write_bytes(coded[:end] + chunk + coded[end:])
        return
    image = {
        "deep": lambda: Image.fromarray(deep),
        "grey": lambda: Image.fromarray(grey),
        "RGB": lambda: Image.fromarray(grey).convert("RGB"),
        "RGBA": lambda: Image.fromarray(grey).convert("RGBA"),
        "LA": lambda: Image.fromarray(grey).convert("LA"),
        "palette": lambda: Image.fromarray(grey).convert("P"),
    }[colours]()
    if path.suffix == ".bmp":
        image.save(path)
    else:
        image.save(path, exif=exif)


def save_scan(path: Path, bits: int, stored: int, syntax: Any, inverted: bool, turn: Any) -> None:
    values = np.rint(film() * (((1 << bits) - 1) / 255)).astype(np.uint16)
    white = (1 << bits) - 1
    orientation, directions = turn
    values = lying(white - values if inverted else values, orientation)
    kind = "MONOCHROME1" if inverted else "MONOCHROME2"
    tags = {"PhotometricInterpretation": kind, "BitsStored": stored, "HighBit": stored - 1}
    tags |= {"WindowCenter": white / 2 + 0.5, "WindowWidth": white + 1}
    save_dicom(path, values, PatientOrientation=directions, **tags)
    if syntax is not None:
        data = dcmread(path)
        data.compress(syntax)
        data.save_as(path)


TURNS = [(1, ["L", "F"]), (2, ["R", "F"]), (1, []), (5, ["F", "L"])]
pictures = st.tuples(
    st.sampled_from(["grey", "RGB", "RGBA", "LA", "palette", "deep", "deep RGB"]),
    st.sampled_from([8, 10, 12, 14, 16]),
    st.integers(1, 8),
    st.sampled_from([".png", ".tif", ".bmp"]),
)
scans = st.tuples(
    st.sampled_from([8, 10, 12, 14, 16]),
    st.sampled_from([12, 14, 16]),
    st.sampled_from([None, RLELossless, JPEG2000Lossless, JPEGLSLossless]),
    st.booleans(),
    st.sampled_from(TURNS),
)


def write_set(home: Path, kind: Any) -> Path:
    """An own data set of one film, its mask drawn upright."""
    for folder in ("films", "masks"):
        (home / folder).mkdir()
    if len(kind) == 4:
        colours, bits, orientation, ending = kind
        if ending == ".bmp":
            colours, orientation = {"RGB": "RGB"}.get(colours, "grey"), 1
        ending = ".png" if colours == "deep RGB" or (ending, colours) == (".tif", "LA") else ending
        save_picture(home / "films" / f"a{ending}", colours, bits, orientation)
    else:
        bits, stored, syntax, inverted, turn = kind
        save_scan(home / "films" / "a.dcm", min(bits, stored), stored, syntax, inverted, turn)
    mask = np.zeros(SHAPE, np.uint8)
    mask[8:30, 6:40] = 255
    Image.fromarray(mask).save(home / "masks" / "a.png")
    (home / "own.yaml").write_text("images: films\nmasks: masks\n")
    return home / "own.yaml"


@settings(max_examples=60, deadline=None)
@given(kind=st.one_of(pictures, scans))
def test_predict_training_and_scoring_see_the_same_pixels(kind: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        source = open_source(str(write_set(home, kind)), home)
        (case,) = source.cases()
        (job,) = find_films(home / "films", home / "out")
        predicted = read_film(job.path).pixels
        trained = source.read_image(case)
        assert np.array_equal(predicted, trained)
        assert predicted.shape == SHAPE
        assert np.abs(predicted.astype(int) - film()).max() <= 1
        whole = Preprocessing(size=64)
        with ThreadPoolExecutor(1) as pool:
            ((cached,),) = decode_all(pool, 1, source, [case], [whole])
        assert np.array_equal(cached.image, whole.prepare_image(predicted))
        masks = source.read_masks(case, (SHAPE[0], SHAPE[1]))
        assert masks["lungs"].shape == SHAPE


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_with_an_orientation_mark_are_turned_too(tmp_path: Path, orientation: int) -> None:
    mask = (film() > 100) * np.uint8(255)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    for ending in (".png", ".tif"):
        path = tmp_path / f"mask{ending}"
        Image.fromarray(lying(mask, orientation)).save(path, exif=exif)
        assert np.array_equal(read_mask(path), mask > 0)


def test_alpha_that_varies_lies_over_black(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    grey, alpha = film(), np.full(SHAPE, 255, np.uint8)
    alpha[:, :10] = 0
    Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)]).save(path)
    assert np.array_equal(read_film(path).pixels, np.where(alpha > 0, grey, 0))
    flat = Image.fromarray(np.full(SHAPE, 255, np.uint8))
    Image.merge("LA", [flat, Image.fromarray(grey)]).save(path)
    with pytest.raises(DataError, match="alpha channel"):
        read_film(path)


def test_fractions_and_white_zero_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for scale in (1 / 255, 1.0, 4095 / 255, 65535 / 255):
        Image.fromarray(film().astype(np.float32) * np.float32(scale)).save(path)
        assert np.abs(read_film(path).pixels.astype(int) - film()).max() <= 1
    Image.fromarray(film().astype(np.float32) - np.float32(100)).save(path)
    assert np.abs(read_film(path).pixels.astype(int) - film()).max() <= 1
    Image.fromarray(film().astype(np.uint16) * np.uint16(16)).save(path, tiffinfo={262: 0})
    assert np.abs(read_film(path).pixels.astype(int) - (255 - film())).max() <= 1
    broken = film().astype(np.float32)
    broken[3, 3] = np.nan
    Image.fromarray(broken).save(path)
    with pytest.raises(DataError, match="no numbers"):
        read_film(path)


def test_pages_are_named_and_smaller_copies_passed_over(tmp_path: Path) -> None:
    path, image = tmp_path / "a.tif", Image.fromarray(film())
    image.save(path, save_all=True, append_images=[image, image])
    with pytest.raises(DataError, match="3 pages"):
        read_film(path)
    copy = image.resize((24, 20))
    copy.encoderinfo = {"tiffinfo": {254: 1}}
    image.save(path, save_all=True, append_images=[copy])
    assert np.array_equal(read_film(path).pixels, film())


def test_told_bits_go_before_the_files_own(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(film().astype(np.uint16) * np.uint16(16)).save(path)
    assert read_film(path).bits == 12
    assert read_film(path, bits=16).pixels.max() <= 16


def test_a_postscript_file_of_any_name_starts_no_other_program(tmp_path: Path) -> None:
    content = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 60 60\n%%EndComments\nshowpage\n"
    for name in ("a.png", "a.tif", "a.eps"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match="PostScript"):
            read_film(tmp_path / name)
        with pytest.raises(DataError, match="no PNG, JPEG, TIFF, BMP or GIF"):
            read_mask(tmp_path / name)


def test_films_of_one_set_that_differ_in_depth_are_told(tmp_path: Path) -> None:
    for folder in ("films", "masks"):
        (tmp_path / folder).mkdir()
    for name, factor in (("a", 16), ("b", 16), ("c", 257)):
        deep = np.roll(film(), ord(name), axis=1).astype(np.uint16) * np.uint16(factor)
        Image.fromarray(deep).save(tmp_path / "films" / f"{name}.png")
        mask = np.zeros(SHAPE, np.uint8)
        mask[8:30, 6:40] = 255
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name}.png")
    file = tmp_path / "own.yaml"
    file.write_text("images: films\nmasks: masks\n")
    (report,) = check(tmp_path, [str(file)])
    (problem,) = [problem for problem in report.problems if problem.kind == "reading"]
    assert not problem.breaks and report.sound
    assert "2 films of 12 bits" in problem.found and "1 film of 16 bits" in problem.found
    file.write_text("images: films\nmasks: masks\nbits: 16\n")
    (report,) = check(tmp_path, [str(file)])
    assert report.problems == []

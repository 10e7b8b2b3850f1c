"""Films and masks in NIfTI files, as nnU-Net writes its 2-D cases."""

import json

import bombs
import numpy as np
import pytest
import SimpleITK
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from contract.errors import DataError
from datamodules.sources import OwnData
from datamodules.sources.films import read_film, stated_pixels
from datamodules.sources.flat_volumes import read_whole_numbers
from datamodules.sources.masks import read_mask

SHAPE = (48, 40)
NIBABEL = (-1, -1, 1)
"""The directions, from the patient's right and back, of nibabel's ``np.eye(4)``."""


def film(seed=0, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, 256, SHAPE).astype(dtype)


def lungs():
    mask = np.zeros(SHAPE, np.uint8)
    mask[8:40, 4:16], mask[8:38, 24:36] = 1, 1
    return mask


def save(path, values, spacing=(1.0, 1.0), direction=None):
    """Save as SimpleITK does; values ``(H, W)`` or ``(1, H, W)``."""
    image = SimpleITK.GetImageFromArray(values)
    image.SetSpacing([*spacing[::-1], 999.0][: image.GetDimension()])
    if direction is not None:
        image.SetDirection(np.diag(direction).astype(float).ravel().tolist())
    SimpleITK.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".mha", ".nrrd"])
@pytest.mark.parametrize("axes", ["x y", "x y 1"])
def test_a_film_is_what_was_saved(tmp_path, ending, axes):
    grey = film()
    values = grey if axes == "x y" else grey[None]
    path = save(tmp_path / f"film{ending}", values, spacing=(0.25, 0.2))
    read = read_film(path)
    assert np.array_equal(read.pixels, grey) and read.spacing == (0.25, 0.2)
    assert stated_pixels(path) == grey.size


def test_one_millimetre_each_way_is_no_statement(tmp_path):
    assert read_film(save(tmp_path / "film.nii.gz", film()[None])).spacing is None


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 99),
    kind=st.sampled_from(["uint8", "uint16", "int16", "int32", "float32", "float64"]),
    turned=st.sampled_from([(1, 1), (1, -1), (-1, 1)]),
)
def test_number_types_and_turned_headers_show_the_same_film(tmp_path_factory, seed, kind, turned):
    grey = film(seed)
    grey[0, :2] = 0, 255
    stored = grey[:: turned[1], :: turned[0]].astype(kind)
    path = tmp_path_factory.mktemp("films") / "film.nii.gz"
    save(path, stored[None], direction=(*turned, 1))
    assert np.array_equal(read_film(path).pixels, grey)


def test_what_nibabel_writes_unasked_turns_nothing(tmp_path):
    path, grey = tmp_path / "film.nii.gz", film()
    save(path, grey[None], direction=NIBABEL)
    assert np.array_equal(read_film(path).pixels, grey)


def test_twelve_bits_are_scaled_as_in_other_files(tmp_path):
    deep = film().astype(np.uint16) * 16
    deep[0, 0] = 4095
    Image.fromarray(deep).save(tmp_path / "film.png")
    one, other = read_film(tmp_path / "film.png"), read_film(save(tmp_path / "f.nii", deep[None]))
    assert one.bits == other.bits == 12 and np.array_equal(one.pixels, other.pixels)


@pytest.mark.parametrize("values", [lungs(), lungs() * 255, lungs().astype(np.float32)])
def test_masks_hold_whole_numbers_of_any_type(tmp_path, values):
    assert np.array_equal(read_mask(save(tmp_path / "m.nii.gz", values[None])), lungs() > 0)


def broken(path):
    save(path, film()[None])
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


FAULTS = {
    "a CT volume": (lambda p: save(p, np.zeros((5, 48, 40), np.int16)),
                    "a volume of 40 × 48 × 5; expected one film.*unit: scan"),
    "colours": (lambda p: SimpleITK.WriteImage(
                    SimpleITK.GetImageFromArray(np.zeros((48, 40, 3), np.uint8), isVector=True),
                    str(p)), "3 values a pixel"),
    "half a file": (broken, "no readable volume"),
    "an empty file": (lambda p: p.write_bytes(b""), "an empty file"),
    "a picture": (lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n"), "no readable volume"),
    "a bomb": (lambda p: p.write_bytes(bombs.nifti(30000, 2, 8, bytes(4))),
               "30000×30000 pixels"),
    "doubles": (lambda p: p.write_bytes(bombs.nifti(5000, 64, 64, bytes(8 * 5000))),
                "5000×5000 pixels of 8 bytes, 190 MiB; expected at most 128 MiB unpacked"),
    "negative values": (lambda p: save(p, film().astype(np.int16)[None] - 100), "values from -100"),
    "a thumbnail": (lambda p: save(p, np.zeros((1, 8, 8), np.uint8)), "8×8 pixels"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_no_film_is_told_in_words(tmp_path, fault):
    make, told = FAULTS[fault]
    path = tmp_path / "film.nii.gz"
    make(path)
    with pytest.raises(DataError, match=told):
        read_film(path)


def test_probabilities_are_no_mask(tmp_path):
    path = save(tmp_path / "mask.nii.gz", np.full((1, *SHAPE), 0.4, np.float32))
    with pytest.raises(DataError, match=r"fractions; expected whole numbers"):
        read_whole_numbers(path)


def describe(home, **keys):
    (home / "set.yaml").write_text(yaml.safe_dump({"name": "ward", **keys}))
    return OwnData(home / "set.yaml", home)


def test_nnunets_own_ending_is_read_like_png(tmp_path):
    for kind in ("png", "nii.gz"):
        home = tmp_path / kind / "raw"
        for folder in ("imagesTr", "labelsTr"):
            (home / folder).mkdir(parents=True)
        for number in range(3):
            files = (home / f"imagesTr/c{number}_0000.{kind}", film(number)), (
                home / f"labelsTr/c{number}.{kind}", lungs())  # fmt: skip
            for path, values in files:
                if kind == "png":
                    Image.fromarray(values).save(path)
                else:
                    save(path, values[None])
        about = {"labels": {"background": 0, "lung": 1}, "file_ending": f".{kind}"}
        (home / "dataset.json").write_text(json.dumps(about))
    one, other = (describe(tmp_path / kind, nnunet="raw") for kind in ("png", "nii.gz"))
    assert one.official_ids == other.official_ids == ("c0", "c1", "c2")
    for mine, theirs in zip(one.cases(), other.cases(), strict=True):
        assert np.array_equal(one.read_image(mine), other.read_image(theirs))
        assert other.film_shape(theirs) == one.film_shape(mine) == SHAPE
        masks = one.read_masks(mine, SHAPE)["lungs"], other.read_masks(theirs, SHAPE)["lungs"]
        assert np.array_equal(*masks) and masks[0].any()


def test_the_spacing_comes_from_the_header_unless_it_is_stated(tmp_path):
    (tmp_path / "films").mkdir()
    (tmp_path / "masks").mkdir()
    save(tmp_path / "films/a.nii.gz", film()[None], spacing=(0.3, 0.25))
    save(tmp_path / "masks/a.nii.gz", lungs()[None])
    folders = {"images": "films", "masks": "masks"}
    (case,) = describe(tmp_path, **folders).cases()
    assert case.spacing == (0.3, 0.25)
    (case,) = describe(tmp_path, **folders, spacing_mm=0.5).cases()
    assert case.spacing == (0.5, 0.5)


def test_arrays_of_rows_saved_by_nibabel_are_found_by_their_lungs(tmp_path):
    for folder, values in (("films", film()), ("masks", lungs())):
        (tmp_path / folder).mkdir()
        save(tmp_path / folder / "a.nii.gz", values.T[None], direction=NIBABEL)
    source = describe(tmp_path, images="films", masks="masks")
    (case,) = source.cases()
    with pytest.raises(DataError, match=r"one lung above the other.*nibabel wants the transpose"):
        source.read_masks(case, SHAPE[::-1])


def test_volumes_of_scans_among_films_are_refused_at_once(tmp_path):
    (tmp_path / "films").mkdir()
    (tmp_path / "masks").mkdir()
    save(tmp_path / "films/a.nii.gz", np.zeros((4, *SHAPE), np.int16))
    with pytest.raises(DataError, match="unit: scan"):
        describe(tmp_path, images="films", masks="masks").official_ids  # noqa: B018


def test_a_folder_without_films_is_told_with_what_it_holds(tmp_path):
    (tmp_path / "films/patient 1").mkdir(parents=True)
    (tmp_path / "masks").mkdir()
    source = describe(tmp_path, images="films", masks="masks")
    with pytest.raises(DataError, match=r"1 folders, which are not entered: patient 1"):
        source.official_ids  # noqa: B018
    (tmp_path / "films/a.webp").touch()
    source = describe(tmp_path, images="films", masks="masks")
    with pytest.raises(DataError, match=r"1 files: a\.webp"):
        source.official_ids  # noqa: B018

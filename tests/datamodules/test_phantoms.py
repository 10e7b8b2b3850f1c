from __future__ import annotations

import hashlib
import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from contract.errors import DataError
from datamodules.phantoms import (
    PHANTOM_MARKER,
    write_jsrt,
    write_montgomery,
    write_phantoms,
    write_shenzhen,
)
from datamodules.sources.montgomery import MontgomerySource
from datamodules.sources.shenzhen import ShenzhenSource

SIZE, JSRT_SIZE = 128, 256
SCR = ("left lung", "right lung", "heart", "left clavicle", "right clavicle")
UNMASKED = "CHNCXR_0025_0"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantoms(
        folder, montgomery=12, shenzhen=16, jsrt=8, size=SIZE, jsrt_size=JSRT_SIZE, seed=3
    )
    return folder


def files_of(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name != PHANTOM_MARKER}


def marker_of(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / PHANTOM_MARKER).read_text()))


def grey_of(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("L"))


def raw_of(path: Path) -> NDArray[np.uint16]:
    return np.fromfile(path, ">u2").reshape(JSRT_SIZE, JSRT_SIZE).astype(np.uint16)


def scr_masks(root: Path, case_id: str) -> dict[str, NDArray[np.bool_]]:
    fold = "fold1" if int(case_id[5:]) % 2 else "fold2"
    home = root / "scratch" / fold / "masks"
    return {name: grey_of(home / name / f"{case_id}.gif") > 127 for name in SCR}


def centre_x(mask: NDArray[np.bool_]) -> float:
    return float(np.nonzero(mask)[1].mean() / mask.shape[1])


def official(name: str) -> list[str]:
    return (resources.files("datamodules.sources.official") / name).read_text().split()


def test_official_ids_are_sorted_and_complete() -> None:
    counts = {"montgomery": 138, "shenzhen": 662, "shenzhen_masks": 566, "jsrt": 247}
    for name, count in counts.items():
        ids = official(f"{name}.txt")
        assert ids == sorted(set(ids))
        assert len(ids) == count
    unmasked = set(official("shenzhen.txt")) - set(official("shenzhen_masks.txt"))
    assert {UNMASKED, "CHNCXR_0181_0", "CHNCXR_0565_1"} <= unmasked
    assert len(unmasked) == 96


def test_markers_state_what_was_written(root: Path) -> None:
    for folder, count, size in (("MontgomerySet", 12, SIZE), ("All247images", 8, JSRT_SIZE)):
        marker = marker_of(root / folder)
        assert marker["phantom"] is True
        assert (marker["seed"], marker["size"]) == (3, size)
        assert isinstance(marker["ids"], list)
        assert len(marker["ids"]) == count
    marker = marker_of(root / "ChinaSet_AllFiles")
    assert isinstance(marker["ids"], list)
    assert isinstance(marker["masks"], list)
    assert set(marker["ids"]) - set(marker["masks"]) == {UNMASKED, "CHNCXR_0036_0"}
    assert len(marker["masks"]) == 16


def test_half_of_the_cases_are_abnormal(root: Path) -> None:
    for folder in ("MontgomerySet", "ChinaSet_AllFiles"):
        readings = sorted((root / folder / "ClinicalReadings").iterdir())
        sick = [path for path in readings if path.stem.endswith("_1")]
        masked = [path for path in readings if path.stem in official("shenzhen_masks.txt")]
        assert len(sick) == (len(masked) or len(readings)) // 2
        for path in readings:
            assert ("normal" in path.read_text()) == path.stem.endswith("_0")
    assert len(list((root / "All247images").glob("JPCLN*.IMG"))) == 4


def test_montgomery_layout(root: Path) -> None:
    home = root / "MontgomerySet"
    images = names_in(home / "CXR_png")
    assert len(images) == 12
    assert "MCUCXR_0001_0.png" in images
    for side in ("leftMask", "rightMask"):
        assert names_in(home / "ManualMask" / side) == images
    reading = (home / "ClinicalReadings" / "MCUCXR_0001_0.txt").read_text().splitlines()
    assert reading[0] in ("Patient's Sex: F", "Patient's Sex: M")
    assert reading[1].startswith("Patient's Age: 0")
    assert reading[1].endswith("Y")


def test_montgomery_files_are_grey_in_both_orientations(root: Path) -> None:
    shapes = set()
    for path in sorted((root / "MontgomerySet").rglob("*.png")):
        image = Image.open(path)
        assert image.mode == "L"
        shapes.add(image.size)
        if path.parent.name != "CXR_png":
            assert set(np.unique(np.asarray(image))) == {0, 255}
    short = round(SIZE * 4020 / 4892)
    assert shapes == {(SIZE, short), (short, SIZE)}


def test_the_patients_left_lung_is_at_the_images_right(root: Path) -> None:
    masks = root / "MontgomerySet" / "ManualMask"
    for path in sorted((masks / "leftMask").iterdir()):
        right = grey_of(masks / "rightMask" / path.name) > 127
        left = grey_of(path) > 127
        assert not (left & right).any()
        assert centre_x(right) < 0.5 < centre_x(left)
    for path in sorted((root / "All247images").glob("*.IMG")):
        found = scr_masks(root, path.stem)
        assert centre_x(found["right lung"]) < 0.5 < centre_x(found["left lung"])
        assert centre_x(found["right clavicle"]) < 0.5 < centre_x(found["left clavicle"])
        assert centre_x(found["heart"]) > 0.5


def test_montgomerys_right_lungs_are_larger(root: Path) -> None:
    masks = root / "MontgomerySet" / "ManualMask"
    areas = [
        [(grey_of(path) > 127).mean() for path in sorted((masks / side).iterdir())]
        for side in ("rightMask", "leftMask")
    ]
    assert np.mean(areas[0]) > np.mean(areas[1])


def test_shenzhen_layout(root: Path) -> None:
    home = root / "ChinaSet_AllFiles"
    images = {name.removesuffix(".png") for name in names_in(home / "CXR_png")}
    masks = {name.removesuffix("_mask.png") for name in names_in(home / "mask")}
    assert len(masks) == 16
    assert UNMASKED in images - masks
    assert {f"{name}.txt" for name in images} == names_in(home / "ClinicalReadings")
    sex, age = (home / "ClinicalReadings" / "CHNCXR_0001_0.txt").read_text().split()[:2]
    assert sex in ("male", "female")
    assert age.endswith("yrs")


def test_shenzhen_mixes_image_modes_and_sizes(root: Path) -> None:
    home = root / "ChinaSet_AllFiles"
    images = [Image.open(path) for path in sorted((home / "CXR_png").iterdir())]
    assert {image.mode for image in images} == {"L", "RGB", "P"}
    assert len({image.size for image in images}) > 4
    for path in sorted((home / "mask").iterdir()):
        mask = Image.open(path)
        image = home / "CXR_png" / path.name.replace("_mask", "")
        assert mask.mode == "L"
        assert mask.size == Image.open(image).size


def test_palette_files_decode_to_the_film_not_to_their_indices(root: Path) -> None:
    images = sorted((root / "ChinaSet_AllFiles" / "CXR_png").iterdir())
    palettes = [path for path in images if Image.open(path).mode == "P"]
    for path in palettes:
        indices = np.asarray(Image.open(path)).astype(int)
        assert (grey_of(path) == 255 - indices).all()


def test_jsrt_images_are_big_endian_inverted_and_12_bit(root: Path) -> None:
    for path in sorted((root / "All247images").glob("*.IMG")):
        assert path.stat().st_size == 2 * JSRT_SIZE**2
        raw = raw_of(path)
        assert raw.max() <= 4095
        assert np.fromfile(path, "<u2").max() > 4095
        masks = scr_masks(root, path.stem)
        lungs = np.asarray(
            Image.fromarray(masks["left lung"] | masks["right lung"]).resize(raw.shape)
        )
        spine = raw[:, JSRT_SIZE // 2 - 8 : JSRT_SIZE // 2 + 8]
        assert raw[lungs].mean() > spine.mean() + 400


def test_jsrt_folds_hold_odd_and_even_numbers(root: Path) -> None:
    ids = sorted(path.stem for path in (root / "All247images").glob("*.IMG"))
    expected = {"fold1": [i for i in ids if int(i[5:]) % 2], "fold2": []}
    expected["fold2"] = [i for i in ids if i not in expected["fold1"]]
    for fold, members in expected.items():
        assert members
        for structure in SCR:
            folder = root / "scratch" / fold / "masks" / structure
            assert sorted(path.stem for path in folder.glob("*.gif")) == members


def test_jsrt_masks_are_half_as_large_with_heart_and_lungs_overlapping(root: Path) -> None:
    for path in sorted((root / "All247images").glob("*.IMG")):
        masks = scr_masks(root, path.stem)
        assert {mask.shape for mask in masks.values()} == {(JSRT_SIZE // 2, JSRT_SIZE // 2)}
        assert all(mask.any() for mask in masks.values())
        overlap = masks["heart"] & (masks["left lung"] | masks["right lung"])
        assert 0 < overlap.sum() < 0.15 * masks["heart"].sum()


def test_jsrt_clinical_tables(root: Path) -> None:
    rows = (root / "All247images" / "CLNDAT_EN.txt").read_text().splitlines()
    assert [row.split("\t")[0] for row in rows] == [f"JPCLN{i:03d}.IMG" for i in range(1, 5)]
    for row in rows:
        _, subtlety, _, _, sex, x, y, kind, *_ = row.split("\t")
        assert 1 <= int(subtlety) <= 5
        assert sex in ("Male", "Female")
        assert kind in ("benign", "malignant")
        case_id = row[:8]
        lungs = scr_masks(root, case_id)
        both = lungs["left lung"] | lungs["right lung"] | lungs["heart"]
        assert both[int(y) // 2, int(x) // 2]
    normal = (root / "All247images" / "CNNDAT_EN.TXT").read_text().splitlines()
    assert all(row.endswith("\tnon-nodule") for row in normal)


def test_official_jsrt_size(tmp_path: Path) -> None:
    write_jsrt(tmp_path, 1)
    (image,) = (tmp_path / "All247images").glob("*.IMG")
    assert image.stat().st_size == 2 * 2048**2
    (heart,) = (tmp_path / "scratch").rglob("heart/*.gif")
    assert Image.open(heart).size == (1024, 1024)
    assert marker_of(tmp_path / "All247images")["size"] == 2048


def test_every_lung_mask_has_a_lungs_size(root: Path) -> None:
    masks = [*(root / "MontgomerySet" / "ManualMask").rglob("*.png")]
    shares = [(grey_of(path) > 127).mean() for path in masks]
    assert all(0.04 < share < 0.30 for share in shares)
    both = [(grey_of(path) > 127).mean() for path in (root / "ChinaSet_AllFiles/mask").iterdir()]
    assert all(0.08 < share < 0.60 for share in both)


def test_lungs_are_darker_than_what_surrounds_them(root: Path) -> None:
    home = root / "ChinaSet_AllFiles"
    for path in sorted((home / "mask").iterdir()):
        film, lungs = grey_of(home / "CXR_png" / path.name.replace("_mask", "")), grey_of(path)
        spine = film[:, film.shape[1] // 2 - 4 : film.shape[1] // 2 + 4]
        assert film[lungs > 127].mean() < spine.mean()


def test_manufacturers_differ(root: Path) -> None:
    def histogram(films: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
        each = [np.histogram(film, 16, (0, 256))[0] / film.size for film in films]
        return np.asarray(np.mean(each, axis=0))

    montgomery = [grey_of(path) for path in sorted((root / "MontgomerySet/CXR_png").iterdir())]
    shenzhen = [grey_of(path) for path in sorted((root / "ChinaSet_AllFiles/CXR_png").iterdir())]
    jsrt = [
        (255 - raw_of(path) // 16).astype(np.uint8)
        for path in sorted((root / "All247images").glob("*.IMG"))
    ]

    def distance(one: list[NDArray[np.uint8]], two: list[NDArray[np.uint8]]) -> float:
        return float(np.abs(histogram(one) - histogram(two)).sum() / 2)

    assert distance(montgomery[::2], montgomery[1::2]) < 0.15
    assert distance(montgomery, shenzhen) > 0.3
    assert distance(montgomery, jsrt) > 0.2
    assert distance(shenzhen, jsrt) > 0.2


def test_mean_shape_is_neither_useless_nor_enough(root: Path) -> None:
    masks = []
    for path in sorted((root / "ChinaSet_AllFiles/mask").iterdir()):
        masks.append(np.asarray(Image.open(path).resize((64, 64), Image.Resampling.BOX)) > 127)
    shape = np.mean(masks, axis=0) > 0.5
    dice = [2 * (mask & shape).sum() / (mask.sum() + shape.sum()) for mask in masks]
    assert 0.70 < np.mean(dice) < 0.90


def test_the_real_readers_accept_the_phantoms(root: Path) -> None:
    for source, count in ((MontgomerySource(root), 12), (ShenzhenSource(root), 16)):
        cases = source.cases()
        assert len(cases) == count
        for case in cases:
            image = source.read_image(case)
            masks = source.read_masks(case, (image.shape[0], image.shape[1]))
            assert set(masks) == set(source.structures)


def test_same_seed_same_bytes(root: Path, tmp_path: Path) -> None:
    write_phantoms(
        tmp_path, montgomery=12, shenzhen=16, jsrt=8, size=SIZE, jsrt_size=JSRT_SIZE, seed=3
    )
    assert files_of(tmp_path) == files_of(root)


def test_another_seed_gives_other_films(root: Path, tmp_path: Path) -> None:
    write_montgomery(tmp_path, 2, size=SIZE, seed=4)
    film = "MontgomerySet/CXR_png/MCUCXR_0001_0.png"
    assert (tmp_path / film).read_bytes() != (root / film).read_bytes()


def test_a_smaller_set_holds_the_same_films(root: Path, tmp_path: Path) -> None:
    write_shenzhen(tmp_path, 4, size=SIZE, seed=3)
    small, large = files_of(tmp_path), files_of(root)
    films = [name for name in small if name.endswith(".png")]
    assert len(films) == 4 + 4 + 1
    assert {name: small[name] for name in films}.items() <= large.items()


def test_all_566_masked_shenzhen_cases(tmp_path: Path) -> None:
    write_shenzhen(tmp_path, 566, size=32)
    masks = names_in(tmp_path / "ChinaSet_AllFiles" / "mask")
    assert masks == {f"{case_id}_mask.png" for case_id in official("shenzhen_masks.txt")}


def test_zero_omits_a_set(tmp_path: Path) -> None:
    write_phantoms(tmp_path, montgomery=0, shenzhen=0, jsrt=2, jsrt_size=64)
    assert {path.name for path in tmp_path.iterdir()} == {"All247images", "scratch"}


def test_more_cases_than_the_release_has_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="139 cases"):
        write_montgomery(tmp_path, 139)


def test_phantoms_may_be_overwritten(tmp_path: Path) -> None:
    write_montgomery(tmp_path, 6, size=64, seed=1)
    write_montgomery(tmp_path, 2, size=64, seed=0)
    assert len(names_in(tmp_path / "MontgomerySet" / "CXR_png")) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"MontgomerySet"}


@pytest.mark.parametrize("name", ["MontgomerySet", "ChinaSet_AllFiles", "All247images", "scratch"])
def test_real_data_is_never_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "precious.png").write_bytes(b"film")
    with pytest.raises(DataError, match="no phantom"):
        write_phantoms(tmp_path, montgomery=2, shenzhen=2, jsrt=2, size=64, jsrt_size=64)
    assert (tmp_path / name / "precious.png").read_bytes() == b"film"


def test_an_interrupted_writer_leaves_no_folder_that_looks_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 0

    def stop_at_the_second_reading(self: Path, text: str, *args: object) -> int:
        nonlocal written
        written += 1
        if written == 2:
            raise KeyboardInterrupt
        return self.write_bytes(text.encode())

    monkeypatch.setattr(Path, "write_text", stop_at_the_second_reading)
    with pytest.raises(KeyboardInterrupt):
        write_montgomery(tmp_path, 4, size=64)
    assert list(tmp_path.iterdir()) == []

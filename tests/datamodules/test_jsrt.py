from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from contract.errors import DataError, MissingDataError
from datamodules import jsrt
from datamodules.base import ProtocolDataModule
from datamodules.cache import PLANES, prepare
from datamodules.datasets import CaseList, EvaluationSet
from datamodules.phantoms import write_jsrt
from datamodules.preprocessing import Preprocessing
from datamodules.protocol import Protocol
from datamodules.sources import open_source
from datamodules.sources.base import Case
from datamodules.sources.jsrt import JSRTSource, raw_to_grey, scr_fold
from datamodules.targets import to_channels

SIDE = 256


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("jsrt")
    write_jsrt(root, 6, size=SIDE, seed=5)
    return root


@pytest.fixture
def root(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "data"))


def read(root: Path) -> dict[str, tuple[NDArray[np.uint8], dict[str, NDArray[np.bool_]]]]:
    source = open_source("jsrt", root)
    found = {}
    for case in source.cases():
        image = source.read_image(case)
        found[case.case_id] = (image, source.read_masks(case, (image.shape[0], image.shape[1])))
    return found


def same(one: Path, two: Path) -> bool:
    first, second = read(one), read(two)
    return set(first) == set(second) and all(
        np.array_equal(first[i][0], second[i][0])
        and all(np.array_equal(first[i][1][s], second[i][1][s]) for s in JSRTSource.structures)
        for i in first
    )


def convert(root: Path, suffix: str, depth: int = 8, invert: bool = False) -> None:
    for path in sorted((root / "All247images").glob("*.IMG")):
        raw = np.fromfile(path, ">u2").reshape(SIDE, SIDE)
        bright = (4095 - np.minimum(raw, 4095)).astype(np.uint16)
        if depth == 16:
            bright = (bright.astype(np.uint32) * 65535 // 4095).astype(np.uint16)
        if depth == 8:
            bright = raw_to_grey(raw.astype(np.uint16))  # type: ignore[assignment]
        if invert:
            bright = np.iinfo(bright.dtype).max - bright
        Image.fromarray(bright).save(path.with_suffix(suffix))
        path.unlink()


def first_case(root: Path) -> tuple[JSRTSource, Case]:
    source = JSRTSource(root)
    return source, source.cases()[0]


def test_an_official_film_reads_back_to_the_exact_pixel(tmp_path: Path) -> None:
    write_jsrt(tmp_path, 1)
    (case,) = (source := JSRTSource(tmp_path)).cases()
    values = np.random.default_rng(0).integers(0, 4096, (2048, 2048), dtype=np.uint16)
    values[0, :4] = (0, 4095, 1, 2048)
    case.image.write_bytes(b"".join(int(v).to_bytes(2, "big") for v in values[0]))
    with case.image.open("ab") as file:
        file.write(values[1:].astype(">u2").tobytes())
    assert case.image.stat().st_size == 8388608

    grey = source.read_image(case)

    expected = np.floor((4095 - values.astype(np.int64)) * 255 / 4095 + 0.5)
    assert np.array_equal(grey, expected)
    assert grey[0, :4].tolist() == [255, 0, 255, 127]
    assert source.spacing((2048, 2048)) == (0.175, 0.175)
    masks = source.read_masks(case, (2048, 2048))
    assert {mask.shape for mask in masks.values()} == {(1024, 1024)}
    with Image.open(case.masks["heart"][0]) as heart:
        assert np.array_equal(np.asarray(heart.convert("L")) == 255, masks["heart"])


def test_every_16_bit_value_is_clipped_at_12_bits() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.floor((4095 - np.minimum(values, 4095).astype(int)) * 255 / 4095 + 0.5)
    assert np.array_equal(raw_to_grey(values), expected)


def test_reading_equalising_and_resizing_a_film_is_quick(tmp_path: Path) -> None:
    write_jsrt(tmp_path, 1)
    source, case = first_case(tmp_path)
    preprocessing = Preprocessing(size=512, clahe="before_resize")
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        times = []
        for _ in range(7):
            start = time.process_time()
            preprocessing.prepare_image(source.read_image(case))
            times.append(time.process_time() - start)
    finally:
        cv2.setNumThreads(threads)
    assert min(times) < 0.120


def test_cases_tell_patient_stratum_fold_and_clinic(root: Path) -> None:
    cases = JSRTSource(root).cases()
    assert [c.stratum for c in cases] == ["nodule"] * 3 + ["normal"] * 3
    assert all(c.attributes["sex"] in "FM" for c in cases)
    assert cases[0].attributes["finding"].startswith(("malignant", "benign"))
    assert cases[-1].attributes["finding"] == "non-nodule"
    assert (
        JSRTSource.patient("JPCNN036")
        == JSRTSource.patient("JPCNN012")
        != JSRTSource.patient("JPCNN013")
    )
    assert (scr_fold("JPCLN001"), scr_fold("JPCNN092")) == (0, 1)


def test_folds_divide_the_release_as_published() -> None:
    folds = [scr_fold(case_id) for case_id in JSRTSource.released_ids()]
    assert (folds.count(0), folds.count(1)) == (124, 123)


def test_lungs_are_the_raw_union_under_the_heart(root: Path) -> None:
    for _, masks in read(root).values():
        assert np.array_equal(masks["lungs"], masks["left_lung"] | masks["right_lung"])
        assert (masks["lungs"] & masks["heart"]).any()
        columns = [np.nonzero(masks[side])[1].mean() for side in ("right_lung", "left_lung")]
        assert columns[0] < SIDE / 4 < columns[1]


def test_exchanged_sides_are_an_error(root: Path) -> None:
    masks = root / "scratch" / "fold1" / "masks"
    (masks / "left lung").rename(masks / "aside")
    (masks / "right lung").rename(masks / "left lung")
    (masks / "aside").rename(masks / "right lung")
    source, case = first_case(root)
    with pytest.raises(DataError, match="patient's left lung at the image's right"):
        source.read_masks(case, (SIDE, SIDE))


def move_to_jsrt(root: Path) -> None:
    (root / "JSRT").mkdir()
    (root / "All247images").rename(root / "JSRT" / "All247images")


def move_scratch_too(root: Path) -> None:
    move_to_jsrt(root)
    (root / "scratch").rename(root / "JSRT" / "scratch")


def lower_case(root: Path) -> None:
    for path in sorted((root / "All247images").glob("*.IMG")):
        path.rename(path.with_suffix(".img"))
    for path in sorted((root / "scratch").rglob("*.gif")):
        path.rename(path.with_suffix(".GIF"))


def folds_at_the_root(root: Path) -> None:
    for fold in ("fold1", "fold2"):
        (root / "scratch" / fold).rename(root / fold)
    shutil.rmtree(root / "scratch")


def nest_twice(root: Path) -> None:
    (root / "All247images").rename(root / "aside")
    (root / "All247images").mkdir()
    (root / "aside").rename(root / "All247images" / "All247images")


def call_it_scr(root: Path) -> None:
    (root / "scratch").rename(root / "SCR")


def scratch_inside_scr(root: Path) -> None:
    (root / "SCR").mkdir()
    (root / "scratch").rename(root / "SCR" / "scratch")


@pytest.mark.parametrize(
    "rearrange",
    [
        move_to_jsrt, move_scratch_too, lower_case, folds_at_the_root, nest_twice, call_it_scr,
        scratch_inside_scr,
    ],
)  # fmt: skip
def test_layouts_in_circulation_read_alike(root: Path, written: Path, rearrange: object) -> None:
    assert callable(rearrange)
    rearrange(root)
    assert same(root, written)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
def test_8_bit_conversions_read_alike(root: Path, written: Path, suffix: str) -> None:
    convert(root, suffix)
    assert same(root, written)


@pytest.mark.parametrize("depth", [12, 16])
def test_deep_conversions_read_alike(root: Path, written: Path, depth: int) -> None:
    convert(root, ".png", depth=depth)
    expected = read(written)
    for case_id, (image, _) in read(root).items():
        assert np.abs(image.astype(int) - expected[case_id][0]).max() <= 1


def test_jpeg_conversions_are_read(root: Path, written: Path) -> None:
    convert(root, ".jpg")
    expected = read(written)
    for case_id, (image, _) in read(root).items():
        assert np.abs(image.astype(int) - expected[case_id][0]).mean() < 8


def test_a_conversion_with_bone_dark_is_an_error(root: Path) -> None:
    convert(root, ".png", invert=True)
    source, case = first_case(root)
    with pytest.raises(DataError, match="darker than the lungs"):
        source.read_image(case)


def test_a_cropped_conversion_is_an_error(root: Path) -> None:
    convert(root, ".png")
    source, case = first_case(root)
    with Image.open(case.image) as image:
        image.crop((0, 0, SIDE, SIDE - 8)).save(case.image)
    with pytest.raises(DataError, match="a square film"):
        source.read_image(case)


def test_two_kinds_of_films_are_an_error(root: Path) -> None:
    path = next((root / "All247images").glob("*.IMG"))
    Image.new("L", (SIDE, SIDE)).save(path.with_suffix(".png"))
    with pytest.raises(DataError, match="img, png"):
        JSRTSource(root).cases()


@pytest.mark.parametrize("change", [-2, -1, 2, 1024])
def test_another_length_is_an_error_naming_both(root: Path, change: int) -> None:
    source, case = first_case(root)
    raw = case.image.read_bytes()
    case.image.write_bytes(raw[:change] if change < 0 else raw + bytes(change))
    with pytest.raises(DataError) as caught:
        source.read_image(case)
    assert str(2 * SIDE**2 + change) in caught.value.found
    assert str(2 * SIDE**2) in caught.value.expected


def test_a_real_film_must_be_2048_pixels_wide(root: Path) -> None:
    _, case = first_case(root)
    (root / "All247images" / "PHANTOM_DATA.json").unlink()
    with pytest.raises(DataError, match="8388608"):
        JSRTSource(root).read_image(case)


def test_a_film_in_the_other_fold_is_an_error(root: Path) -> None:
    masks = root / "scratch"
    shutil.copy(masks / "fold1/masks/heart/JPCLN001.gif", masks / "fold2/masks/heart/JPCLN001.gif")
    with pytest.raises(DataError, match="odd numbers in fold 1"):
        JSRTSource(root).cases()


def test_a_mask_of_another_size_is_an_error(root: Path) -> None:
    source, case = first_case(root)
    path = case.masks["heart"][0]
    with Image.open(path) as mask:
        mask.convert("L").resize((SIDE, SIDE)).save(path)
    with pytest.raises(DataError, match=f"SCR's {SIDE // 2}×{SIDE // 2}"):
        source.read_masks(case, (SIDE, SIDE))


def test_one_mask_in_two_files_is_an_error(root: Path) -> None:
    hearts = root / "scratch/fold1/masks/heart"
    shutil.copy(hearts / "JPCLN001.gif", hearts / "JPCLN001.GIF")
    with pytest.raises(DataError, match="the same mask as"):
        JSRTSource(root).cases()


def test_clinical_tables_are_found_beside_the_films(root: Path) -> None:
    expected = [case.attributes for case in JSRTSource(root).cases()]
    (root / "Clinical Information").mkdir()
    for name in ("CLNDAT_EN.txt", "CNNDAT_EN.TXT"):
        (root / "All247images" / name).rename(root / "Clinical Information" / name)
    assert [case.attributes for case in JSRTSource(root).cases()] == expected
    shutil.rmtree(root / "Clinical Information")
    assert [case.attributes for case in JSRTSource(root).cases()] == [{}] * len(expected)


def test_a_missing_mask_is_named(root: Path) -> None:
    (root / "scratch/fold1/masks/heart/JPCLN003.gif").unlink()
    with pytest.raises(DataError, match="JPCLN003 mask \\(heart\\)"):
        JSRTSource(root).cases()


def test_absent_masks_absent_films_and_two_copies(root: Path) -> None:
    shutil.copytree(root / "scratch", root / "scr")
    with pytest.raises(DataError, match="one copy"):
        JSRTSource(root).cases()
    shutil.rmtree(root / "scr")
    shutil.copytree(root / "All247images", root / "JSRT" / "All247images")
    with pytest.raises(DataError, match="one folder"):
        JSRTSource(root).cases()
    shutil.rmtree(root / "JSRT")
    shutil.rmtree(root / "scratch")
    with pytest.raises(DataError, match="films without masks"):
        JSRTSource(root).cases()
    shutil.rmtree(root / "All247images")
    with pytest.raises(MissingDataError, match="the data set jsrt"):
        JSRTSource(root).cases()


def evaluated(root: Path, cache: Path, structures: list[str]) -> tuple[dict[str, Any], Any]:
    """The first film as an item that is tested, and what the cache records of it."""
    source = JSRTSource(root)
    cases = source.cases()
    preprocessing = Preprocessing(size=64)
    prepared = prepare(source, cases, preprocessing, cache)
    listed = CaseList(
        [("jsrt", cases[0].case_id)], {"jsrt": prepared}, {"jsrt": {cases[0].case_id: cases[0]}}
    )
    item = EvaluationSet(listed, preprocessing, structures, references=True)[0]
    return item, prepared.entries[0]


def test_a_tested_film_brings_its_lungs_uncut_though_its_target_gives_them_to_the_heart(
    root: Path, tmp_path: Path
) -> None:
    structures = ["background", "left_lung", "right_lung", "heart"]
    item, _ = evaluated(root, tmp_path / "cache", structures)
    target = item["target"].numpy() > 0
    cut, heart = target[1] | target[2], target[3]
    assert item["lungs"].shape == (64, 64)
    assert (item["lungs"] & heart).any()
    assert (item["lungs"] == cut | (item["lungs"] & heart)).all()


def test_the_reference_grid_has_its_own_spacing(root: Path, tmp_path: Path) -> None:
    item, entry = evaluated(root, tmp_path / "cache", ["background", "lungs"])
    assert entry.film_shape == (SIDE, SIDE)
    assert item["references"]["heart"].shape == (SIDE // 2, SIDE // 2)
    film_mm = 2048 * 0.175
    assert item["spacing"] == pytest.approx((film_mm / (SIDE // 2),) * 2)
    assert JSRTSource(root).spacing((SIDE, SIDE)) == pytest.approx((film_mm / SIDE,) * 2)
    assert JSRTSource(root).spacing((100, 100)) is None


@pytest.mark.parametrize(
    "order", [("left_lung", "right_lung", "heart"), ("heart", "left_lung", "right_lung")]
)
def test_the_heart_has_priority_in_the_target_and_not_in_the_reference(
    root: Path, order: tuple[str, ...]
) -> None:
    for _, masks in read(root).values():
        planes = np.zeros(masks["heart"].shape, np.uint8)
        for name, mask in masks.items():
            planes[mask] |= PLANES[name]
        structures = ("background", *order)
        channels = dict(zip(structures, to_channels(planes, structures), strict=True))
        assert np.array_equal(channels["heart"] > 0, masks["heart"])
        assert np.array_equal(channels["left_lung"] > 0, masks["left_lung"] & ~masks["heart"])
        assert np.array_equal(sum(channels.values()), np.ones(planes.shape))


def test_the_datamodule_divides_jsrt_by_itself(root: Path, tmp_path: Path) -> None:
    structures = ("background", "right_lung", "left_lung", "heart")
    data = jsrt.JSRT(
        root,
        cache=tmp_path / "cache",
        preprocessing=Preprocessing(size=32),
        structures=structures,
        batch_size=2,
    )
    data.prepare_data()
    data.setup("fit")
    (batch, *_) = data.train_dataloader()
    assert batch["target"].shape == (2, 4, 32, 32)
    (tested,) = data.test_dataloader()
    assert set(tested["references"][0]) == set(JSRTSource.structures)


def test_the_datamodule_tests_every_film_once_over_the_folds(root: Path, tmp_path: Path) -> None:
    rule = Protocol(("jsrt",), ("jsrt",), 0.1, folds="scr")
    tested = []
    for fold in range(rule.fold_count):
        data = ProtocolDataModule(
            root, rule, tmp_path / "cache", Preprocessing(size=32), batch_size=1, fold=fold
        )
        data.setup("test")
        tested += [i["case_id"] for b in data.test_dataloader() for i in b["identity"]]
    assert sorted(tested) == list(JSRTSource(root).official_ids)


def test_seeds_train_on_their_draws(root: Path, tmp_path: Path) -> None:
    rule = Protocol(("jsrt",), ("jsrt",), 0.1, 0.2, train_size=2, draws=3)
    trained = []
    for seed in range(4):
        data = ProtocolDataModule(
            root, rule, tmp_path / "cache", Preprocessing(size=32), batch_size=1, seed=seed
        )
        data.setup("fit")
        assert data.split is not None
        trained.append(data.split.train)
    assert trained[0] == trained[3]
    assert len(set(trained)) > 1

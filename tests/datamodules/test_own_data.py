from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from films import save_dicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset

from contract.errors import DataError, UserError
from datamodules.base import ProtocolDataModule
from datamodules.preprocessing import Preprocessing
from datamodules.protocol import Protocol
from datamodules.sources import OwnData, open_source, open_sources

SHAPE = (48, 40)
IDS = [f"film {i}" for i in range(6)]


def film(case_id: str) -> NDArray[np.uint8]:
    """Grey values that differ from case to case, dark lungs in a bright chest."""
    random = np.random.default_rng(IDS.index(case_id))
    grey = random.integers(150, 256, SHAPE, dtype=np.uint8)
    grey[labels() > 0] //= 4
    return grey


def labels() -> NDArray[np.uint8]:
    """Right lung 1, left lung 2, heart 3; the patient's left at the image's right."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[8:40, 4:16], mask[8:40, 24:36], mask[24:40, 18:28] = 1, 2, 3
    return mask


def save_8_bit(suffix: str) -> Callable[[Path, NDArray[np.uint8]], None]:
    return lambda stem, grey: Image.fromarray(grey).save(f"{stem}{suffix}")


def save_16_bit(suffix: str) -> Callable[[Path, NDArray[np.uint8]], None]:
    def save(stem: Path, grey: NDArray[np.uint8]) -> None:
        Image.fromarray(grey.astype(np.uint16) * np.uint16(257)).save(f"{stem}{suffix}")

    return save


def save_as_dicom(stem: Path, grey: NDArray[np.uint8]) -> None:
    save_dicom(Path(f"{stem}.dcm"), grey.astype(np.uint16) * 16 + 5)


FORMATS = {
    "png": save_8_bit(".png"),
    "tiff": save_8_bit(".tif"),
    "bmp": save_8_bit(".bmp"),
    "png16": save_16_bit(".png"),
    "tiff16": save_16_bit(".tiff"),
    "dicom": save_as_dicom,
}


def write(home: Path, about: dict[str, Any] | None = None, save: Any = FORMATS["png"]) -> Path:
    """A folder of images, one of masks, and a YAML file."""
    for folder in ("films", "masks"):
        (home / folder).mkdir(parents=True)
    for case_id in IDS:
        save(home / "films" / case_id, film(case_id))
        Image.fromarray(labels()).save(home / "masks" / f"{case_id}.png")
    return describe(home, about)


def describe(home: Path, about: dict[str, Any] | None = None, name: str = "clinic") -> Path:
    sides = {"right_lung": 1, "left_lung": 2, "heart": 3}
    keys = {"images": "films", "masks": "masks", "labels": sides, **(about or {})}
    file = home / f"{name}.yaml"
    file.write_text(yaml.safe_dump({k: v for k, v in keys.items() if v is not None}))
    return file


def write_nnunet(home: Path, names: dict[str, Any], save: Any = FORMATS["png"]) -> Path:
    data = home / "Dataset007"
    for folder in ("imagesTr", "labelsTr"):
        (data / folder).mkdir(parents=True)
    for case_id in IDS:
        save(data / "imagesTr" / f"{case_id}_0000", film(case_id))
        Image.fromarray(labels()).save(data / "labelsTr" / f"{case_id}.png")
    content = {"labels": names, "channel_names": {"0": "X-ray"}, "file_ending": ".png"}
    (data / "dataset.json").write_text(json.dumps(content))
    (home / "clinic.yaml").write_text("nnunet: Dataset007\n")
    return home / "clinic.yaml"


def require_whole(file: Path, exact: bool = True) -> OwnData:
    source = open_source(str(file), file.parent)
    assert isinstance(source, OwnData)
    cases = source.cases()
    assert [case.case_id for case in cases] == IDS
    for case in cases:
        image = source.read_image(case)
        difference = np.abs(image.astype(int) - film(case.case_id))
        assert difference.max() <= 1 if exact else difference.mean() < 12
        masks = source.read_masks(case, SHAPE)
        assert tuple(masks) == source.structures
        assert np.array_equal(masks["lungs"], np.isin(labels(), [1, 2]))
        if "left_lung" in masks:
            assert np.array_equal(masks["left_lung"], labels() == 2)
            assert np.array_equal(masks["heart"], labels() == 3)
    return source


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_folders_of_every_format(tmp_path: Path, kind: str) -> None:
    source = require_whole(write(tmp_path, save=FORMATS[kind]))
    assert source.name == "clinic"
    assert source.structures == ("lungs", "left_lung", "right_lung", "heart")
    assert source.official_share == 1


@pytest.mark.parametrize("kind", ["png", "png16"])
@pytest.mark.parametrize(
    "names",
    [
        {"background": 0, "right lung": 1, "left lung": 2, "heart": 3},
        {"0": "background", "1": "Lung_Right", "2": "left_lung", "3": "heart"},
        {"background": 0, "lungs": [1, 2], "cardiac": 3},
    ],
)
def test_nnunets_layout(tmp_path: Path, kind: str, names: dict[str, Any]) -> None:
    require_whole(write_nnunet(tmp_path, names, FORMATS[kind]))


def test_nnunets_layout_with_labels_of_ones_own(tmp_path: Path) -> None:
    file = write_nnunet(tmp_path, {"background": 0, "foreground": 1})
    with pytest.raises(DataError, match="state `labels`"):
        open_source(str(file), tmp_path)
    file.write_text("nnunet: Dataset007\nlabels: {lungs: [1, 2]}\n")
    assert require_whole(file).structures == ("lungs",)


def test_jpeg_images(tmp_path: Path) -> None:
    def save(stem: Path, grey: NDArray[np.uint8]) -> None:
        Image.fromarray(grey).save(f"{stem}.JPG", quality=95)

    require_whole(write(tmp_path, save=save), exact=False)


def test_12_significant_bits(tmp_path: Path) -> None:
    def save(stem: Path, grey: NDArray[np.uint8]) -> None:
        Image.fromarray(grey.astype(np.uint16) * np.uint16(16) + np.uint16(5)).save(f"{stem}.png")

    require_whole(write(tmp_path, {"bits": 12}, save))


def test_binary_masks_and_name_patterns(tmp_path: Path) -> None:
    file = write(tmp_path, {"labels": None, "mask_name": "{id}_mask.png"})
    for path in sorted((tmp_path / "masks").iterdir()):
        lungs = np.isin(np.asarray(Image.open(path)), [1, 2])
        Image.fromarray(lungs * np.uint8(255)).save(path.with_name(f"{path.stem}_mask.png"))
    (tmp_path / "films" / "notes.txt").write_text("no image")
    assert require_whole(file).structures == ("lungs",)


def test_a_mask_folder_for_each_structure(tmp_path: Path) -> None:
    folders = {"left_lung": "left", "right_lung": "right", "heart": "hearts"}
    file = write(tmp_path)
    for (structure, folder), value in zip(folders.items(), (2, 1, 3), strict=True):
        (tmp_path / folder).mkdir()
        for case_id in IDS:
            mask = (labels() == value).astype(np.uint8)
            Image.fromarray(mask).save(tmp_path / folder / f"{case_id}.png")
        assert structure in folders
    require_whole(describe(tmp_path, {"masks": folders, "labels": None}))
    file.write_text("images: films\nmasks: {left_lung: left}\n")
    with pytest.raises(UserError, match="lungs, or left_lung and right_lung"):
        open_source(str(file), tmp_path)


def test_paths_may_lie_below_the_data_root(tmp_path: Path) -> None:
    write(tmp_path / "data")
    (tmp_path / "settings").mkdir()
    file = describe(tmp_path / "settings", name="own")
    assert open_source(str(file), tmp_path / "data").name == "own"
    shutil.move(file, tmp_path / "data" / "own.yaml")
    assert len(open_source("own.yaml", tmp_path / "data").cases()) == len(IDS)


TABLE = """case_id;patient_id;subgroup;sex;age;spacing_row;spacing_col
film 0;a;copd;F;40;0.2;0.3
film 1;a;copd;F;41;;
film 2;;well;M;;0.1;0.1

film 3;d;well;;;;
film 4;e;well;M;7;;
film 5;f;well;M;8;;
"""


def test_the_table_tells_patient_group_attributes_and_spacing(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\ufeff" + TABLE)
    file = write(tmp_path, {"table": "t.csv", "spacing_mm": 0.5})
    source = open_source(str(file), tmp_path)
    cases = source.cases()
    assert [case.patient_id for case in cases] == ["a", "a", "film 2", "d", "e", "f"]
    assert [case.stratum for case in cases] == ["copd", "copd", "well", "well", "well", "well"]
    assert cases[0].attributes == {"subgroup": "copd", "sex": "F", "age": "40"}
    assert cases[3].attributes == {"subgroup": "well"}
    spacings = [source.spacing_of(case, SHAPE) for case in cases]
    assert spacings == [(0.2, 0.3), (0.5, 0.5), (0.1, 0.1), *[(0.5, 0.5)] * 3]
    assert set(cases[0].described_by) == {file, tmp_path / "t.csv"} <= set(cases[0].files)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("patient_id\na\n", "case_id among them"),
        ("", "case_id among them"),
        (f"case_id\n{'x' * 200_000}\n", "no readable table"),
        (TABLE + "film 9;g;well;;;;\n", "no image for 1 cases: film 9"),
        (TABLE.replace("film 5;f;well;M;8;;\n", ""), "no line for 1 cases: film 5"),
        (TABLE + "film 0;g;well;;;;\n", "each case once"),
        (TABLE.replace("0.2;0.3", "0.2;wide"), "in mm"),
        (TABLE.replace("0.2;0.3", "0.2;"), "in mm"),
        (TABLE.replace("0.2;0.3", "0;0.3"), "in mm"),
        (TABLE.replace("0.2;0.3", "0.2"), "6 cells"),
    ],
)
def test_wrong_tables_are_named(tmp_path: Path, table: str, said: str) -> None:
    (tmp_path / "t.csv").write_text(table)
    file = write(tmp_path, {"table": "t.csv"})
    with pytest.raises(DataError, match=said) as caught:
        open_source(str(file), tmp_path).cases()
    assert "t.csv" in caught.value.where


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"image": "films"}, "found an unknown key 'image'"),
        ({"images": None}, "images: found it missing"),
        ({"masks": "elsewhere"}, "masks: found nothing there"),
        ({"images": 3}, "images: found 3"),
        ({"name": "a b"}, "name: found 'a b'"),
        ({"name": "jsrt"}, "another name than an official"),
        ({"labels": {"lung": 1}}, "labels: found an unknown key 'lung'"),
        ({"labels": {"heart": 1}}, "labels: found heart"),
        ({"labels": {"lungs": -1}}, r"labels\.lungs: found -1"),
        ({"labels": {"lungs": "one"}}, r"labels\.lungs: found 'one'.*a page such as 'page 2'"),
        ({"labels": {"lungs": "page 0"}}, r"labels\.lungs: found 'page 0'"),
        ({"labels": {"lungs": [1, "#ff0000"]}}, "labels: found colour and value side by side"),
        ({"masks": "films"}, "mask_name: found .* for two kinds of files"),
        ({"labels": [1]}, "labels: found"),
        ({"mask_name": "mask.png"}, "mask_name: found"),
        ({"nnunet": "films"}, "images: found it beside nnunet"),
        ({"spacing_mm": -1}, "spacing_mm: found -1"),
        ({"spacing_mm": [1, 2, 3]}, "spacing_mm: found"),
        ({"bits": 20}, "bits: found 20"),
        ({"table": "none.csv"}, "table: found nothing there"),
        ({"masks": {"left_lung": "masks", "lung": "masks"}}, "masks: found an unknown key 'lung'"),
        ({"masks": {"lungs": "masks"}}, "labels: found labels beside"),
    ],
)
def test_wrong_keys_are_named(tmp_path: Path, about: dict[str, Any], said: str) -> None:
    file = write(tmp_path, about)
    with pytest.raises(UserError, match=said) as caught:
        open_source(str(file), tmp_path)
    assert "clinic.yaml" in caught.value.where


@pytest.mark.parametrize("text", ["- a\n", "a: [\n", "", "\x00"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UserError, match=r"a\.yaml"):
        open_source("a.yaml", tmp_path)


def test_images_and_masks_must_match(tmp_path: Path) -> None:
    file = write(tmp_path)
    (tmp_path / "masks" / "film 3.png").unlink()
    with pytest.raises(DataError, match="no mask for 1 cases: film 3"):
        open_source(str(file), tmp_path).cases()
    (tmp_path / "films" / "film 3.png").rename(tmp_path / "films" / "film 2.bmp")
    with pytest.raises(DataError, match="the same case as"):
        open_source(str(file), tmp_path).cases()
    (tmp_path / "films" / "film 2.bmp").unlink()
    (tmp_path / "films" / "film 1.png").unlink()
    with pytest.raises(DataError, match="no image for 1 cases: film 1"):
        open_source(str(file), tmp_path).cases()


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (np.zeros(SHAPE, np.uint8), r"without lungs; its values are \[0\]"),
        (labels()[:, ::-1], "patient's left lung at the image's right"),
        (labels()[:-1], "a mask of 40×47 pixels"),
    ],
)
def test_wrong_masks_are_named(tmp_path: Path, mask: NDArray[np.uint8], said: str) -> None:
    file = write(tmp_path)
    Image.fromarray(np.ascontiguousarray(mask)).save(tmp_path / "masks" / "film 0.png")
    source = open_source(str(file), tmp_path)
    with pytest.raises(DataError, match=said):
        source.read_masks(source.cases()[0], SHAPE)


VALUES = np.array([[0, 1000, 1500, 2000, 4095]], np.uint16)


def shown(path: Path, **tags: Any) -> list[int]:
    from datamodules.sources.dicom import read_dicom

    save_dicom(path, VALUES, **tags)
    (row,) = read_dicom(path).tolist()
    return list(row)


def test_dicom_is_shown_as_it_asks_to_be(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    window = {"WindowCenter": 1500, "WindowWidth": 1001}
    assert shown(path) == [0, 62, 93, 125, 255]
    assert shown(path, PhotometricInterpretation="MONOCHROME1") == [255, 193, 162, 130, 0]
    assert shown(path, **window) == [0, 0, 128, 255, 255]
    assert shown(path, WindowCenter=[1500, 9], WindowWidth=[1001, 9]) == [0, 0, 128, 255, 255]
    exact = {"WindowCenter": 1500, "WindowWidth": 1000, "VOILUTFunction": "LINEAR_EXACT"}
    assert shown(path, **exact) == [0, 0, 128, 255, 255]
    assert shown(path, **window, VOILUTFunction="SIGMOID")[2] == 128
    rescaled = {"RescaleSlope": 2, "RescaleIntercept": -1000}
    assert shown(path, **rescaled, WindowCenter=2000, WindowWidth=2001) == [0, 0, 128, 255, 255]
    assert shown(path, RescaleSlope=-1, RescaleIntercept=4095) == [255, 193, 162, 130, 0]


def test_a_dicom_lookup_table_goes_before_the_window(tmp_path: Path) -> None:
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 12]
    table.add_new("LUTData", "OW", np.arange(4095, -1, -1, dtype="<u2").tobytes())
    found = shown(tmp_path / "a.dcm", VOILUTSequence=[table], WindowCenter=1500, WindowWidth=1001)
    assert found == [255, 193, 162, 130, 0]


def test_dicom_headers_tell_spacing_patient_and_attributes(tmp_path: Path) -> None:
    def save(stem: Path, grey: NDArray[np.uint8]) -> None:
        tags: dict[str, Any] = {"PatientID": stem.name[:-1], "PatientAge": "045Y"}
        tags |= {"PatientSex": "F", "ViewPosition": "PA", "ImagerPixelSpacing": [0.14, 0.15]}
        if stem.name == IDS[1]:
            tags["PixelSpacing"] = [0.2, 0.2]
        save_dicom(Path(f"{stem}.dcm"), grey.astype(np.uint16) * 16 + 5, **tags)

    cases = require_whole(write(tmp_path, save=save)).cases()
    assert cases[0].attributes == {"sex": "F", "age": "45", "view": "PA"}
    assert [case.spacing for case in cases[:2]] == [(0.14, 0.15), (0.2, 0.2)]
    assert len({case.patient_id for case in cases}) == 1
    assert "film" not in cases[0].patient_id


@pytest.mark.parametrize(
    "tags",
    [
        {"PhotometricInterpretation": "RGB"},
        {"NumberOfFrames": 2},
        {"Rows": 60000, "Columns": 60000},
        {"Rows": 100},
    ],
)
def test_other_dicom_files_are_refused(tmp_path: Path, tags: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"a\.dcm"):
        shown(tmp_path / "a.dcm", **tags)


def test_what_is_no_dicom_file_is_named(tmp_path: Path) -> None:
    file = write(tmp_path, save=FORMATS["dicom"])
    (tmp_path / "films" / "film 4.dcm").write_bytes(b"DICM?")
    with pytest.raises(DataError, match=r"film 4\.dcm"):
        open_source(str(file), tmp_path).cases()


def test_phantoms_are_known_as_such(phantom_root: Path, tmp_path: Path) -> None:
    masks = {f"{side}_lung": f"MontgomerySet/ManualMask/{side}Mask" for side in ("left", "right")}
    file = tmp_path / "copy.yaml"
    file.write_text(yaml.safe_dump({"images": "MontgomerySet/CXR_png", "masks": masks}))
    own = open_source(str(file), phantom_root)
    official = open_source("montgomery", phantom_root)
    assert own.phantom == official.phantom is not None
    assert [c.case_id for c in own.cases()] == [c.case_id for c in official.cases()]


@pytest.mark.parametrize("direction", ["from", "to", "alone"])
def test_own_data_goes_through_a_protocol(
    phantom_root: Path, tmp_path: Path, direction: str
) -> None:
    (tmp_path / "t.csv").write_text(TABLE)
    file = str(write(tmp_path, {"table": "t.csv"}))
    rule = {
        "from": Protocol((file,), ("montgomery",), 0.2),
        "to": Protocol(("montgomery",), (file,), 0.2),
        "alone": Protocol((file,), (file,), 0.2, 0.4),
    }[direction]
    data = ProtocolDataModule(
        phantom_root, rule, tmp_path / "cache", Preprocessing(size=32), batch_size=2
    )
    data.prepare_data()
    data.setup("fit")
    (batch, *_) = data.train_dataloader()
    assert batch["image"].shape == (2, 1, 32, 32)
    tested = [i["test_on"] for b in data.test_dataloader() for i in b["identity"]]
    assert set(tested) == {"montgomery" if direction == "from" else "clinic"}
    assert data.split is not None
    assert len(tested) == len(data.split.test)


def test_two_sets_of_one_name_are_refused(tmp_path: Path) -> None:
    for home in ("one", "two"):
        write(tmp_path / home)
    files = [f"{home}/clinic.yaml" for home in ("one", "two")]
    assert list(open_sources(files[:1], tmp_path)) == files[:1]
    with pytest.raises(UserError, match="names of their own"):
        open_sources(files, tmp_path)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (lambda n: str(n), "lost zeros before the number"),
        (lambda n: f"{n:04}.png", "have endings"),
        (lambda n: f"films/{n:04}.png", "have folders"),
        (lambda n: f"{n:04}.0", "are fractions"),
    ],
)
def test_ids_that_a_table_writes_otherwise_are_shown_on_both_sides(
    tmp_path: Path, written: Callable[[int], str], said: str
) -> None:
    file = write(tmp_path, {"table": "t.csv"})
    for folder in ("films", "masks"):
        for number, path in enumerate(sorted((tmp_path / folder).iterdir()), 1):
            path.rename(path.with_name(f"{number:04}.png"))
    lines = [f"{written(number)},p{number},," for number in range(1, 7)]
    (tmp_path / "t.csv").write_text("\ufeffcase_id,patient_id\n" + "\n".join(lines))
    with pytest.raises(DataError, match=said) as caught:
        open_source(str(file), tmp_path).cases()
    assert written(1) in caught.value.found and "0001" in caught.value.found


def test_a_missing_patient_is_not_one_of_that_name(tmp_path: Path) -> None:
    words = ("nan", "NA", "None", "", "p\u2028q", "NaN")
    lines = [f"{i},{word},none,nan" for i, word in zip(IDS, words, strict=True)]
    text = "case_id,patient_id,finding,spacing_mm\n" + "\n".join(lines)
    (tmp_path / "t.csv").write_text(text, encoding="utf-16")
    cases = open_source(str(write(tmp_path, {"table": "t.csv"})), tmp_path).cases()
    assert [case.patient_id for case in cases] == [*IDS[:4], "p\u2028q", IDS[5]]
    assert cases[0].attributes == {"finding": "none"} and cases[0].spacing is None


def test_a_doubled_id_names_both_lines(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("case_id\nfilm 0\nfilm 0\n")
    with pytest.raises(DataError, match="line 3: found case_id 'film 0', as in line 2"):
        open_source(str(write(tmp_path, {"table": "t.csv"})), tmp_path).cases()

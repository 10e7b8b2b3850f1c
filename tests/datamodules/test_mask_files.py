"""Which file is whose, and what its values mean."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from contract.errors import DataError
from datamodules.foreign.mask_files import NAME_ENDINGS, find_masks
from datamodules.foreign.predicted_masks import labels_of, read_structures
from datamodules.sources.base import Case


def case(case_id, dataset="clinic"):
    return Case(dataset, case_id, case_id, "normal", Path(f"{case_id}.png"), {})


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize("ending", [".png", ".PNG", ".nii.gz", ".tif", ".mhd"])
@pytest.mark.parametrize("suffix", NAME_ENDINGS)
def test_a_case_is_found_by_its_id_with_any_suffix(tmp_path, suffix, ending):
    touch(tmp_path, f"1.2.3{suffix}{ending}", "plans.json", "1.2.3.npz", ".hidden.png")
    found = find_masks(tmp_path, [case("1.2.3")])
    assert found.of == {("clinic", "1.2.3"): tmp_path / f"1.2.3{suffix}{ending}"}
    assert found.extra == ()


def test_an_id_that_looks_like_a_suffixed_one_keeps_its_own_file(tmp_path):
    touch(tmp_path, "a.png", "a_mask.png")
    found = find_masks(tmp_path, [case("a"), case("a_mask")])
    assert {key[1]: path.name for key, path in found.of.items()} == {
        "a": "a.png", "a_mask": "a_mask.png",
    }  # fmt: skip


def test_ids_that_two_sets_share_lie_in_folders_of_the_sets(tmp_path):
    touch(tmp_path, "north/1.png", "south/1.png", "2.png")
    cases = [case("1", "north"), case("1", "south"), case("2", "south")]
    found = find_masks(tmp_path, cases)
    names = {key: path.relative_to(tmp_path).as_posix() for key, path in found.of.items()}
    assert names == {
        ("north", "1"): "north/1.png", ("south", "1"): "south/1.png", ("south", "2"): "2.png",
    }  # fmt: skip
    (tmp_path / "south" / "1.png").rename(tmp_path / "1.png")
    with pytest.raises(DataError, match=r"no mask of 1; .*in a folder of its name"):
        find_masks(tmp_path, cases)


def test_nnunets_labels_are_read_and_its_other_structures_are_background(tmp_path):
    named = {"background": 0, "left lung": 1, "right_lung": [2, 3], "clavicle": 4}
    for labels in (named, {"0": "background", "1": "lung_left", "2": "lung_right"}):
        (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
        read = labels_of(tmp_path, ())
        assert read["left_lung"] == {1} and 2 in read["right_lung"]
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": named}))
    Image.fromarray(np.array([[0, 1, 2, 3, 4]], np.uint8)).save(tmp_path / "a.png")
    masks = read_structures(tmp_path / "a.png", labels_of(tmp_path, ()))
    assert masks["lungs"].tolist() == [[False, True, True, True, False]]
    assert masks["right_lung"].sum() == 2


@given(st.lists(st.integers(1, 9), min_size=2, max_size=4, unique=True), st.data())
def test_values_become_exactly_the_structures_that_they_are_said_to_be(tmp_path_factory, own, data):
    names = ["left_lung", "right_lung", "heart", "background"][: len(own)]
    labels = labels_of(Path("nowhere"), [f"{n}={v}" for n, v in zip(names, own, strict=True)])
    pixels = data.draw(st.lists(st.sampled_from([0, *own]), min_size=12, max_size=12))
    values = np.array(pixels, np.uint8).reshape(3, 4)
    path = tmp_path_factory.mktemp("values") / "a.png"
    Image.fromarray(values).save(path)
    masks = read_structures(path, labels)
    for name, value in zip(names, own, strict=True):
        if name != "background":
            assert np.array_equal(masks[name], values == value)
    assert np.array_equal(masks["lungs"], np.isin(values, own[:2]))
    assert "background" not in masks

"""The cache is keyed by content and settings, and safe when several processes build it."""

import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from contract.errors import DataError, MissingDataError
from datamodules.cache import PLANES, prepare, prepare_all
from datamodules.preprocessing import Preprocessing
from datamodules.sources import open_source

SMALL = Preprocessing(size=32, clahe="before_resize")


@pytest.fixture
def montgomery(phantom_root, tmp_path):
    """A private copy of the Montgomery phantoms."""
    shutil.copytree(phantom_root / "MontgomerySet", tmp_path / "data" / "MontgomerySet")
    return open_source("montgomery", tmp_path / "data")


def folders(cache):
    return sorted(path.name for path in cache.iterdir() if path.is_dir())


def test_pixels_and_references_are_those_of_the_files(montgomery, tmp_path):
    cases = montgomery.cases()
    prepared = prepare(montgomery, cases, SMALL, tmp_path / "cache")
    for index, case in enumerate(cases[:3]):
        film = montgomery.read_image(case)
        masks = montgomery.read_masks(case, film.shape)
        assert np.array_equal(prepared.images[index], SMALL.prepare_image(film))
        for name, mask in masks.items():
            assert np.array_equal(prepared.reference(index)[name], mask)
            small = (prepared.masks[index] & PLANES[name]) > 0
            assert np.array_equal(small, SMALL.prepare_mask(mask))


def test_a_second_call_decodes_nothing_and_changed_content_or_settings_do(montgomery, tmp_path):
    cache, cases = tmp_path / "cache", montgomery.cases()
    prepare(montgomery, cases, SMALL, cache)
    before = folders(cache)
    prepare(montgomery, cases, SMALL, cache)
    prepare(montgomery, cases, Preprocessing(32, "before_resize", value_range=(0, 1)), cache)
    assert folders(cache) == before and len(before) == 1
    prepare(montgomery, cases, Preprocessing(32), cache)
    assert len(folders(cache)) == 2
    cases[1].image.write_bytes(cases[1].image.read_bytes() + b"\0")
    prepare(montgomery, cases, SMALL, cache)
    assert len(folders(cache)) == 3


def test_several_sizes_are_decoded_once_and_are_those_of_each_alone(
    montgomery, tmp_path, monkeypatch
):
    cases, read = montgomery.cases(), []
    wanted = [
        SMALL,
        Preprocessing(48, "before_resize"),
        Preprocessing(48, "before_resize", clahe_clip=4.0, dilate=3),
        Preprocessing(32, "after_resize", keep_aspect=True, dilate=3),
        Preprocessing(32, value_range=(0.0, 1.0)),
    ]
    alone = {one: prepare(montgomery, cases, one, tmp_path / "alone") for one in wanted}
    prepare(montgomery, cases, wanted[1], tmp_path / "together")  # is there already
    decode = montgomery.read_image
    monkeypatch.setattr(montgomery, "read_image", lambda case: read.append(case) or decode(case))
    together = prepare_all(montgomery, cases, wanted, tmp_path / "together")
    assert len(read) == len(cases) and list(together) == wanted
    assert folders(tmp_path / "together") == folders(tmp_path / "alone")
    for folder in (tmp_path / "alone").glob("montgomery-*"):
        for part in folder.iterdir():
            same = tmp_path / "together" / folder.name / part.name
            assert same.read_bytes() == part.read_bytes(), part
    for one in wanted:
        assert np.array_equal(together[one].images, alone[one].images)


def test_a_damaged_film_leaves_none_of_several_caches(montgomery, tmp_path):
    film = montgomery.cases()[3].image
    film.write_bytes(film.read_bytes()[:200])
    with pytest.raises(DataError, match=film.name):
        prepare_all(montgomery, montgomery.cases(), [SMALL, Preprocessing(48)], tmp_path / "cache")
    assert folders(tmp_path / "cache") == []


def test_processes_that_build_it_together_leave_one_whole_cache(montgomery, tmp_path):
    code = (
        "import sys; from pathlib import Path; from datamodules.cache import prepare\n"
        "from datamodules.preprocessing import Preprocessing\n"
        "from datamodules.sources import open_source\n"
        "s = open_source('montgomery', Path(sys.argv[1]))\n"
        "p = prepare(s, s.cases(), Preprocessing(size=32), Path(sys.argv[2]))\n"
        "print(int(p.images.sum()), int(p.masks.sum()), p.reference(0)['lungs'].sum())"
    )
    command = [sys.executable, "-c", code, str(montgomery.root), str(tmp_path / "cache")]
    builders = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = {builder.communicate()[0] for builder in builders}
    assert len(said) == 1 and all(builder.returncode == 0 for builder in builders)
    assert len(folders(tmp_path / "cache")) == 1


def test_a_damaged_film_leaves_no_cache(montgomery, tmp_path):
    film = montgomery.cases()[3].image
    film.write_bytes(film.read_bytes()[:200])
    with pytest.raises(DataError, match=film.name):
        prepare(montgomery, montgomery.cases(), SMALL, tmp_path / "cache")
    assert folders(tmp_path / "cache") == []


def test_what_killed_builders_left_is_removed_and_what_others_are_building_is_not(
    montgomery, tmp_path
):
    for name, days in (("killed", 9), ("building", 1)):
        folder = tmp_path / "cache" / f".montgomery-32-0.{name}"
        folder.mkdir(parents=True)
        (folder / "images.npy").touch()
        os.utime(folder, (time.time() - days * 86400,) * 2)
    prepare(montgomery, montgomery.cases(), SMALL, tmp_path / "cache")
    hidden = [name for name in folders(tmp_path / "cache") if name.startswith(".")]
    assert hidden == [".montgomery-32-0.building"]


def test_an_absent_set_is_told_apart_from_a_damaged_one(tmp_path):
    with pytest.raises(MissingDataError, match="download it"):
        open_source("shenzhen", tmp_path).cases()

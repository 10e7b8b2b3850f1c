"""Every planted fault is named by ``check``; most stop the readers too (see test_data_commands)."""

import os
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from faults import FAULTS, plant
from PIL import Image

from contract.errors import DataError, MissingDataError
from datamodules.cache import prepare
from datamodules.checks.integrity import check
from datamodules.checks.twins import pixel_digest, require_distinct, sides_of, twins
from datamodules.phantoms import write_phantoms
from datamodules.preprocessing import Preprocessing
from datamodules.protocol import Protocol
from datamodules.sources import open_source
from datamodules.splits import Split

M_TO_S = Protocol(("montgomery",), ("shenzhen",))
FILMS = ("montgomery", "shenzhen", "jsrt")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    root = tmp_path_factory.mktemp("pristine")
    write_phantoms(root, montgomery=10, shenzhen=10, jsrt=4, size=64, jsrt_size=64)
    return root


@pytest.fixture
def root(pristine, tmp_path):
    return Path(shutil.copytree(pristine, tmp_path / "root"))


def by_name(root, datasets=FILMS, **options):
    return {report.dataset: report for report in check(root, datasets, **options)}


def the_problem(root, dataset, **options):
    reports = by_name(root, **options)
    others = [p for name, r in reports.items() if name != dataset for p in r.problems]
    assert not others
    (problem,) = reports[dataset].problems
    return problem


def test_sound_data_has_no_problem(root):
    reports = by_name(root, protocols={"m_to_s": M_TO_S})
    assert all(report.sound and not report.problems for report in reports.values())
    assert all(report.present and report.phantom for report in reports.values())
    counts = {
        name: (r.images, r.images_expected, r.masks, r.masks_expected)
        for name, r in reports.items()
    }
    assert counts == {
        "montgomery": (10, 10, 10, 10),
        "shenzhen": (11, 11, 10, 10),
        "jsrt": (4, 4, 4, 4),
    }


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_named(root, fault):
    path = plant(fault, root)
    problem = the_problem(root, fault.dataset)
    assert problem.kind == fault.kind
    assert problem.breaks
    assert str(path) in problem.path
    assert fault.told in problem.found
    assert problem.expected and problem.todo
    assert not by_name(root)[fault.dataset].sound


def test_a_root_with_spaces_and_umlauts_is_fine(pristine, tmp_path):
    root = Path(shutil.copytree(pristine, tmp_path / "Röntgen bilder 胸部"))
    assert all(report.sound and not report.problems for report in check(root, FILMS))
    source = open_source("shenzhen", root)
    prepared = prepare(source, source.cases(), Preprocessing(size=16), tmp_path / "ä cache")
    assert len(prepared.images) == 10


def test_odd_file_names_are_told_and_break_nothing(root):
    images = root / "MontgomerySet" / "CXR_png"
    first = sorted(images.glob("*.png"))[0]
    odd = images / f"{first.stem} (1) Kopie für Bärbel.png"
    shutil.copy(first, odd)
    problem = the_problem(root, "montgomery")
    assert (problem.kind, problem.path, problem.breaks) == ("odd_name", str(odd), False)


def test_the_same_image_under_two_names_is_found_though_encoded_anew(root):
    first, second = sorted((root / "ChinaSet_AllFiles" / "CXR_png").glob("*.png"))[1:3]
    with Image.open(first) as image:
        grey = image.convert("L")
    Image.fromarray(np.asarray(grey)).convert("RGB").save(second, compress_level=9)
    masks = root / "ChinaSet_AllFiles" / "mask"
    shutil.copy(masks / f"{first.stem}_mask.png", masks / f"{second.stem}_mask.png")
    assert first.read_bytes() != second.read_bytes()
    problem = the_problem(root, "shenzhen")
    assert problem.kind == "duplicated"
    assert first.stem in problem.found
    assert second.stem in problem.path


def copy_across(root):
    """Put one Montgomery film with its mask into Shenzhen; return both names."""
    montgomery, shenzhen = (open_source(name, root) for name in ("montgomery", "shenzhen"))
    here, there = montgomery.cases()[0], shenzhen.cases()[0]
    shutil.copy(here.image, there.image)
    masks = montgomery.read_masks(here, montgomery.read_image(here).shape)
    Image.fromarray(masks["lungs"].astype(np.uint8) * 255).save(there.masks["lungs"][0])
    return here.case_id, there.case_id


def test_the_same_image_in_two_data_sets_leaks_from_training_into_testing(root):
    here, there = copy_across(root)
    reports = by_name(root, protocols={"m_to_s": M_TO_S})
    assert not reports["montgomery"].problems
    duplicated, leaking = reports["shenzhen"].problems
    assert (duplicated.kind, leaking.kind) == ("duplicated", "leaking")
    assert "m_to_s" in leaking.path
    for name in (here, there):
        assert name in leaking.found


def test_one_patient_on_both_sides_of_a_split_is_found(root, tmp_path):
    """A user's own data of the films that a protocol trains on: the patients are the same."""
    home = root / "MontgomerySet"
    own = {"name": "own", "images": str(home / "CXR_png")}
    own["masks"] = {
        "left_lung": str(home / "ManualMask" / "leftMask"),
        "right_lung": str(home / "ManualMask" / "rightMask"),
    }
    described = root / "own.yaml"
    described.write_text(yaml.safe_dump(own))
    protocol = Protocol(("montgomery",), (str(described),))
    reports = by_name(
        root, datasets=["montgomery", str(described)], protocols={"m_to_own": protocol}
    )
    leaks = [p for r in reports.values() for p in r.problems if p.kind == "leaking"]
    assert len(leaks) == 10
    assert "in test" in leaks[0].found


@pytest.mark.parametrize("dataset", ["montgomery", "shenzhen", "jsrt"])
def test_an_absent_set_is_told_with_its_source_and_terms(root, dataset):
    folder = open_source(dataset, root).folder
    shutil.rmtree(folder)
    report = by_name(root)[dataset]
    (problem,) = report.problems
    assert not report.present
    assert report.sound
    assert problem.kind == "absent"
    assert "cite" in problem.todo
    assert "free for research" in report.download or "no redistribution" in report.download
    assert report.masks_expected == {"montgomery": 138, "shenzhen": 566, "jsrt": 247}[dataset]


def test_missing_files_are_counted_and_each_is_named(root):
    home = root / "MontgomerySet"
    first, second = sorted((home / "CXR_png").glob("*.png"))[:2]
    first.unlink()
    (home / "ManualMask" / "leftMask" / second.name).unlink()
    report = by_name(root)["montgomery"]
    assert (report.images, report.masks) == (9, 9)
    assert {first.stem, second.stem} == {p.path.split()[-1] for p in report.problems}


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs a uid to give up")
def test_a_folder_without_permission_is_damaged_not_absent():
    """Root may read everything, so that the reading is done by a child under another uid."""
    with tempfile.TemporaryDirectory() as shared:
        Path(shared).chmod(0o755)
        closed = Path(shared) / "MontgomerySet"
        closed.mkdir(mode=0o700)
        reader, writer = os.pipe()
        source = open_source("montgomery", Path(shared))
        child = os.fork()
        if child == 0:
            try:
                os.setuid(65534)
                source.require_folder()
                said = "nothing"
            except MissingDataError:
                said = "absent"
            except DataError as error:
                said = f"damaged: {error}"
            os.write(writer, said.encode())
            os._exit(0)
        os.close(writer)
        os.waitpid(child, 0)
        with os.fdopen(reader) as answer:
            said = answer.read()
    assert said.startswith("damaged")
    assert "Permission denied" in said


def test_a_packed_data_set_is_to_be_unpacked(root):
    home = root / "MontgomerySet"
    shutil.rmtree(home)
    with zipfile.ZipFile(root / "MontgomerySet.zip", "w") as archive:
        archive.writestr("MontgomerySet/readme.txt", "")
    problem = the_problem(root, "montgomery")
    assert problem.kind == "folder"
    assert "unpack" in problem.todo
    with pytest.raises(DataError, match="packed archive"):
        open_source("montgomery", root).cases()


def test_twins_are_groups_of_one_digest():
    keyed = [(("b", "2"), "x"), (("a", "1"), "x"), (("a", "2"), "y"), (("c", "3"), "x")]
    assert twins(keyed) == [(("a", "1"), ("b", "2"), ("c", "3"))]


def test_a_pixel_digest_knows_shape_and_values():
    pixels = np.arange(12, dtype=np.uint8)
    same = np.arange(24, dtype=np.uint8)[::2] // 2
    assert pixel_digest(pixels) == pixel_digest(same)
    assert pixel_digest(pixels.reshape(3, 4)) != pixel_digest(pixels.reshape(4, 3))
    changed = pixels.copy()
    changed[5] += 1
    assert pixel_digest(changed) != pixel_digest(pixels)


def test_sides_name_every_case_of_a_split():
    split = Split((("m", "1"),), (("m", "2"),), (("s", "1"),))
    assert sides_of(split) == {
        ("m", "1"): "train",
        ("m", "2"): "validation",
        ("s", "1"): "test",
    }


def test_prepared_sets_must_be_distinct(root, tmp_path):
    def prepared():
        sources = [open_source(name, root) for name in ("montgomery", "shenzhen")]
        settings = Preprocessing(size=32, clahe="after_resize")
        return {s.name: prepare(s, s.cases(), settings, tmp_path / "cache") for s in sources}

    require_distinct(prepared())
    here, there = copy_across(root)
    with pytest.raises(DataError, match="the same image") as raised:
        require_distinct(prepared())
    assert here in str(raised.value)
    assert there in str(raised.value)


def test_jsrt_with_bytes_exchanged_is_its_own_kind(root):
    films = sorted((root / "All247images").glob("*.IMG"))
    for film in films:
        film.write_bytes(np.fromfile(film, ">u2").astype("<u2").tobytes())
    problems = by_name(root)["jsrt"].problems
    assert [problem.kind for problem in problems] == ["bytes_exchanged"] * len(films)


def test_montgomery_with_left_and_right_exchanged_is_its_own_kind(root):
    masks = root / "MontgomerySet" / "ManualMask"
    (masks / "leftMask").rename(masks / "kept")
    (masks / "rightMask").rename(masks / "leftMask")
    (masks / "kept").rename(masks / "rightMask")
    problems = by_name(root)["montgomery"].problems
    assert [problem.kind for problem in problems] == ["sides_exchanged"] * 10

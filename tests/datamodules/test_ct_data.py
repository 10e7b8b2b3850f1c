"""CT scans from cache to batches: slices in order, whole scans on one process, bounded memory."""

import json
import shutil
import sys

import numpy as np
import pytest
from ct_roots import lidc_series
from memory import forget_peak, now_mib, peak_mib
from pydicom import dcmread

from contract.errors import DataError, UserError
from datamodules.base import ProtocolDataModule
from datamodules.cache import PLANES, prepare
from datamodules.checks.integrity import check
from datamodules.checks.twins import require_distinct
from datamodules.digests import Digests
from datamodules.lidc_idri import LIDCIDRI
from datamodules.phantoms import write_lidc, write_qin
from datamodules.preprocessing import DEFAULT_HU_WINDOW, Preprocessing
from datamodules.protocol import Protocol
from datamodules.qin_lung_ct import QINLungCT
from datamodules.samplers import ShardSampler
from datamodules.sources import Case, open_source
from datamodules.splits import make_split

SMALL = Preprocessing(size=32, value_range=(0, 1))
SLICES = 10


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    root = tmp_path_factory.mktemp("ct")
    write_lidc(root, 6, size=48, slices=SLICES)
    write_qin(root, 5, size=48, slices=SLICES)
    return root


@pytest.fixture
def root(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "root")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def opened(root, cache, **rules):
    protocol = Protocol(("lidc_idri",), ("lidc_idri",), 1, 0.5, **rules)
    data = ProtocolDataModule(root, protocol, cache, SMALL, ("lungs",), 4)
    data.prepare_data()
    data.setup("test")
    return data


def test_prepared_slices_are_those_of_the_files_in_the_window(pristine, cache):
    source = open_source("lidc_idri", pristine)
    cases = source.cases()
    settings = Preprocessing(size=32, hu_window=(-900, 100))
    prepared = prepare(source, cases, settings, cache)
    default = prepare(source, cases, SMALL, cache)
    assert prepared.images.shape == (6 * SLICES, 32, 32)
    for case in cases[:2]:
        scan = source.open(case)
        assert prepared.slice_mm[case.case_id] == pytest.approx(24)
        for index, place in enumerate(prepared.places[case.case_id]):
            grey = np.clip((scan.hu(index) + 900) / 1000 * 255, 0, 255)
            assert np.array_equal(
                prepared.images[place], settings.prepare_image(np.rint(grey).astype(np.uint8))
            )
            assert np.array_equal(prepared.reference(place)["lungs"], scan.lungs[index])
            small = (prepared.masks[place] & PLANES["lungs"]) > 0
            assert np.array_equal(small, settings.prepare_mask(scan.lungs[index]))
            assert prepared.entries[place].empty == (not scan.lungs[index].any())
            found = dict(prepared.nodules(place))
            masks = {n.identity: n.mask(index, (48, 48)) for n in scan.nodules if index in n.pixels}
            assert found.keys() == masks.keys()
            assert all(np.array_equal(found[name], masks[name]) for name in found)
    assert not np.array_equal(default.images, prepared.images)
    same = prepare(source, cases, Preprocessing(size=32, hu_window=DEFAULT_HU_WINDOW), cache)
    assert np.array_equal(same.images, default.images)
    require_distinct({"lidc_idri": prepared})


def test_the_window_maps_its_ends_to_black_and_white():
    hu = np.array([[-2000, -1000, -300, 400, 3000]], np.int16)
    assert Preprocessing().window(hu).tolist() == [[0, 0, 128, 255, 255]]
    with pytest.raises(UserError, match="hu_window"):
        Preprocessing(hu_window=(400, -1000))
    assert hash(Preprocessing(hu_window=[-1000, 400])) == hash(
        Preprocessing(hu_window=(-1000, 400))
    )


def test_films_keep_their_cache_whatever_the_window(phantom_root, tmp_path):
    source = open_source("montgomery", phantom_root)
    cases = source.cases()[:2]
    prepare(source, cases, Preprocessing(size=16), tmp_path)
    prepare(source, cases, Preprocessing(size=16, hu_window=(0, 1)), tmp_path)
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 1


def test_test_items_are_slices_from_below_with_scan_and_nodules(pristine, cache):
    data = opened(pristine, cache)
    seen = []
    for batch in data.test_dataloader():
        parts = (batch[key] for key in ("identity", "scan", "nodules", "references", "spacing"))
        for identity, scan, nodules, references, spacing in zip(*parts, strict=True):
            assert identity["case_id"] == f"{scan['scan_id']}:{identity['slice_index']:04d}"
            assert (identity["unit"], identity["reference"]) == ("slice", "automatic")
            assert identity["scan_id"] == scan["scan_id"]
            assert scan["n_slices"] == SLICES and scan["slice_mm"] == pytest.approx(24)
            assert spacing == pytest.approx((340 / 48, 340 / 48), abs=1e-5)
            assert all(mask.shape == references["lungs"].shape for _, mask in nodules)
            seen.append((scan["scan_id"], identity["slice_index"], len(nodules)))
    scans = [key[1] for key in data.split.test]
    assert [s[:2] for s in seen] == [(uid, index) for uid in scans for index in range(SLICES)]
    assert sum(count for *_, count in seen) >= 2 * len(scans)


def test_films_carry_no_scan(phantom_root, tmp_path):
    protocol = Protocol(("montgomery",), ("montgomery",), 2, 4)
    data = ProtocolDataModule(phantom_root, protocol, tmp_path, SMALL, ("lungs",), 4)
    data.setup("test")
    batch = next(iter(data.test_dataloader()))
    assert batch["scan"] == [None] * len(batch["scan"])
    assert batch["nodules"] == [[]] * len(batch["scan"])
    assert {identity["unit"] for identity in batch["identity"]} == {"image"}
    assert all("finding" in identity for identity in batch["identity"])


@pytest.mark.parametrize("processes", [1, 2, 3, 4])
def test_each_scan_is_tested_whole_and_in_order_on_one_process(processes):
    groups = [range(0, 5), range(5, 6), range(6, 14), range(14, 17)]
    shards = [list(ShardSampler(groups, rank, processes)) for rank in range(processes)]
    assert sorted(index for shard in shards for index in shard) == list(range(17))
    for group in groups:
        (shard,) = (s for s in shards if group.start in s)
        at = shard.index(group.start)
        assert shard[at : at + len(group)] == list(group)
    films = [range(i, i + 1) for i in range(17)]
    assert list(ShardSampler(films, 0, processes)) == list(range(0, 17, processes))


def test_lung_slices_train_while_all_slices_validate_and_test(pristine, cache):
    every, lung = opened(pristine, cache), opened(pristine, cache, slices="lung")
    assert every.split == lung.split
    assert len(every.train_cases) == 2 * SLICES
    kept = [lung.train_cases.pixels(i)[1].any() for i in range(len(lung.train_cases))]
    assert all(kept) and 0 < len(kept) < 2 * SLICES
    for side in ("validation_cases", "test_cases"):
        assert len(getattr(lung, side)) == len(getattr(every, side))


def test_data_modules_of_single_sets(pristine, cache):
    for module, reference in ((LIDCIDRI, "automatic"), (QINLungCT, "pseudo")):
        data = module(pristine, 2, 1, cache, SMALL, structures=("lungs",), batch_size=4)
        data.setup("fit")
        batch = next(iter(data.train_dataloader()))
        assert batch["image"].shape == (4, 1, 32, 32) and batch["target"].shape == (4, 1, 32, 32)
        identity = next(iter(data.val_dataloader()))["identity"][0]
        assert identity["reference"] == reference
        assert data.phantom


def scans(patients, each=1, dataset="lidc_idri"):
    return [
        Case(dataset, f"{p:04d}.{i}", f"P{p:04d}", "scan", None, {})
        for p in patients
        for i in range(each)
    ]


LGAN = Protocol(("lidc_idri",), ("lidc_idri",), 18, 40, patients=220)


def test_lgans_patients_are_180_and_40_with_one_scan_each():
    split = make_split(LGAN, {"lidc_idri": scans(range(888), 2)})
    assert [len(p) for p in (split.train, split.validation, split.test)] == [162, 18, 40]
    chosen = [key[1] for part in (split.train, split.validation, split.test) for key in part]
    assert all(case_id.endswith(".0") for case_id in chosen)
    assert len(split.unused) == 888 * 2 - 220


def test_a_patient_more_exchanges_no_more_than_one():
    def chosen(patients):
        split = make_split(LGAN, {"lidc_idri": scans(patients)})
        return set(split.train) | set(split.validation) | set(split.test)

    assert len(chosen(range(888)) - chosen(range(889))) <= 1


def test_too_few_real_patients_are_an_error_and_phantoms_are_scaled():
    with pytest.raises(UserError, match="found 219 patients"):
        make_split(LGAN, {"lidc_idri": scans(range(219))})
    split = make_split(LGAN, {"lidc_idri": scans(range(11))}, 11 / 1018)
    assert [len(p) for p in (split.train, split.validation, split.test)] == [8, 1, 2]


@pytest.mark.parametrize(
    "rules", [{"patients": 1}, {"slices": "some"}, {"patients": 9, "test": ("b",), "held_out": 0}]
)
def test_rules_for_scans_are_checked(rules):
    with pytest.raises(UserError, match=r"patients|slices"):
        Protocol(**{"train": ("a",), "test": ("a",), "held_out": 2, **rules})


def reports(root):
    return {report.dataset: report for report in check(root, ["lidc_idri", "qin_lung_ct"])}


def test_data_check_of_sound_phantoms(pristine):
    found = reports(pristine)
    assert all(r.sound and r.phantom and not r.problems for r in found.values())
    assert [(r.images, r.images_expected, r.masks) for r in found.values()] == [
        (6, 6, 6), (5, 5, 5),
    ]  # fmt: skip


def truncate(root):
    path = sorted(lidc_series(root, 1).glob("*.dcm"))[3]
    path.write_bytes(path.read_bytes()[:-64])
    return path, "unreadable"


def remove_slice(root):
    files = sorted(lidc_series(root, 1).glob("*.dcm"), key=lambda p: dcmread(p).InstanceNumber)
    files[4].unlink()
    return files[3], "mismatched"


def mix(root):
    folder = lidc_series(root, 1)
    shutil.copy(next(lidc_series(root, 3).glob("*.dcm")), folder / "stranger.dcm")
    return folder, "unreadable"


def foreign_xml(root):
    (path,) = lidc_series(root, 1).glob("*.xml")
    shutil.copy(next(lidc_series(root, 3).glob("*.xml")), path)
    return path, "mismatched"


def foreign_mask(root):
    masks = sorted((root / "LUNA16" / "seg-lungs-LUNA16").glob("*.mhd"))
    masks[0].write_text(masks[0].read_text().replace("DimSize = 48 48 10", "DimSize = 48 40 12"))
    return masks[0], "mismatched"


@pytest.mark.parametrize("plant", [truncate, remove_slice, mix, foreign_xml, foreign_mask])
def test_data_check_names_every_planted_fault(root, plant):
    path, kind = plant(root)
    report = reports(root)["lidc_idri"]
    assert not report.sound
    problems = [problem for problem in report.problems if problem.kind != "missing"]
    assert [problem.kind for problem in problems] == [kind]
    assert str(path) in str(problems[0]) or path.name in str(problems[0])
    assert problems[0].expected


def test_data_check_tells_scans_without_a_mask_and_duplicates(root):
    masks = sorted((root / "LUNA16" / "seg-lungs-LUNA16").glob("*.mhd"))
    masks[0].unlink()
    report = reports(root)["lidc_idri"]
    (problem,) = report.problems
    assert report.sound and report.masks == 5
    assert problem.kind == "missing" and masks[0].stem in problem.found
    assert "seg-lungs-LUNA16" in problem.todo
    folder = lidc_series(root, 2)
    again = root / "LIDC-IDRI" / "LIDC-IDRI-0999" / "s" / "s"
    shutil.copytree(folder, again)
    uid = None
    for path in again.glob("*.dcm"):
        read = dcmread(path)
        uid = uid or read.SeriesInstanceUID + ".7"
        read.SeriesInstanceUID, read.PatientID = uid, "LIDC-IDRI-0999"
        read.save_as(path)
    shutil.rmtree(root / "LIDC-IDRI" / "tcia-lidc-xml")
    for path in again.glob("*.xml"):
        path.unlink()
    kinds = [problem.kind for problem in reports(root)["lidc_idri"].problems]
    assert kinds == ["missing", "missing", "duplicated"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_number_of_scans(tmp_path):
    """One scan is 2.5 MiB of HU values and masks, all 50 are 125 MiB; their cache is 8 MiB."""
    source = fifty_scans(tmp_path)
    few, many = source.cases()[:4], source.cases()
    prepare(source, few, Preprocessing(size=64), tmp_path / "cache")
    forget_peak()
    before = now_mib()
    prepare(source, many, Preprocessing(size=64), tmp_path / "cache")
    assert peak_mib() - before < 30


def fifty_scans(tmp_path):
    """Write one phantom at full size and give it 50 names, with links to its pixels."""
    write_lidc(tmp_path, 1, size=256, slices=13)
    source = open_source("lidc_idri", tmp_path)
    (case,) = source.cases()
    (tmp_path / "LIDC-IDRI" / "PHANTOM_DATA.json").unlink()
    masks = tmp_path / "LUNA16" / "seg-lungs-LUNA16"
    for number in range(49):
        uid = f"{case.case_id[:50]}.{number}"
        folder = tmp_path / "LIDC-IDRI" / f"P{number}"
        folder.mkdir()
        for path in case.series.files:
            read = dcmread(path)
            read.SeriesInstanceUID, read.PatientID = uid, f"P{number}"
            read.save_as(folder / path.name)
        shutil.copy(masks / f"{case.case_id}.mhd", masks / f"{uid}.mhd")
    found = open_source("lidc_idri", tmp_path)
    assert len(found.cases()) == 50
    return found


def test_an_absent_set_is_told_with_its_source(tmp_path):
    for name in ("lidc_idri", "qin_lung_ct"):
        with pytest.raises(DataError, match="TCIA"):
            open_source(name, tmp_path).cases()


def test_a_scans_files_have_one_entry_in_the_index_and_any_change_is_seen(tmp_path):
    write_lidc(tmp_path, 2, size=16, slices=20)
    cases = open_source("lidc_idri", tmp_path).cases()
    index = tmp_path / "digests.json"

    def digests():
        known = Digests(index)
        found = known.of_cases(cases)
        known.save()
        return found

    first = digests()
    assert digests() == first and len(set(first)) == 2
    assert len(json.loads(index.read_text())["content"]) == 2
    for path in (cases[1].series.files[7], cases[1].mask_files[1], cases[1].readings):
        before = digests()
        path.write_bytes(path.read_bytes() + b" ")
        after = digests()
        assert after[0] == before[0] and after[1] != before[1]

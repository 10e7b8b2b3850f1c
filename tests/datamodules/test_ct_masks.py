"""Lung masks on the scan's grid: flipped, turned, of another grid, DICOM-SEG, own and computed."""

import shutil

import numpy as np
import pytest
import SimpleITK
from ct_roots import lidc_series, rewrite, write_mask
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from contract.errors import DataError
from datamodules.phantoms import write_lidc, write_qin
from datamodules.phantoms.ct import FLIPPED_MASK, FLIPPED_SCAN, _patient, lungs_of_chest
from datamodules.phantoms.ct_chest import sample_chest
from datamodules.phantoms.ct_files import Naming, uid, write_luna16_mask, write_segmentation
from datamodules.sources.ct.lung_masks import read_segmentation_mask, read_volume_mask
from datamodules.sources.ct.pseudo_masks import pseudo_mask
from datamodules.sources.ct.series import read_series
from datamodules.sources.lidc_idri import LUNA16_MASKS, LIDCIDRISource
from datamodules.sources.qin_lung_ct import QINLungCTSource


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    root = tmp_path_factory.mktemp("ct")
    write_lidc(root, 4, size=64, slices=12)
    write_qin(root, 2, size=64, slices=12)
    return root


@pytest.fixture
def root(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "root")


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def true_lungs(patient, size=64, slices=12):
    """Draw the patient again, as the writer did."""
    return lungs_of_chest(_patient(patient, 0, size, slices)[1])


def test_flipped_masks_and_flipped_scans_align_with_the_unflipped_phantom(pristine):
    source = LIDCIDRISource(pristine)
    by_patient = {case.patient_id: case for case in source.cases()}
    for number in range(4):
        patient = f"LIDC-IDRI-{number + 1:04d}"
        case = by_patient[patient]
        stored = SimpleITK.ReadImage(str(case.mask_files[0]))
        assert (stored.GetDirection()[0] == -1) == (number == FLIPPED_MASK)
        scan = source.open(case)
        truth = true_lungs(patient)
        truth = truth[:, ::-1, ::-1] if number == FLIPPED_SCAN else truth
        assert dice(scan.lungs, truth) >= 0.99
        assert dice(scan.lungs, truth[:, ::-1, ::-1]) < 0.9
        volume = np.stack([scan.hu(index) for index in range(12)])
        assert np.median(volume[scan.lungs]) == pytest.approx(-850, abs=20)


@given(order=st.permutations(range(3)), flips=st.tuples(*[st.booleans()] * 3))
@settings(max_examples=40, deadline=None)
def test_any_turn_of_a_mask_is_undone_exactly(pristine, tmp_path_factory, order, flips):
    series = read_series(lidc_series(pristine, 1))
    rng = np.random.default_rng(0)
    mask = rng.random((12, 64, 64)) > 0.6
    straight = tmp_path_factory.mktemp("turned") / "straight.nrrd"
    write_mask(straight, series, mask)
    image = SimpleITK.ReadImage(str(straight))
    image = SimpleITK.Flip(SimpleITK.PermuteAxes(image, order), flips)
    turned = straight.with_name("turned.nrrd")
    SimpleITK.WriteImage(image, str(turned))
    assert np.array_equal(read_volume_mask(turned, series), mask)


def luna16(root, patient):
    source = LIDCIDRISource(root)
    (case,) = [c for c in source.cases() if c.patient_id == f"LIDC-IDRI-{patient:04d}"]
    return source, case, root / LUNA16_MASKS / f"{case.case_id}.mhd"


def moved(change):
    def damage(path, chest):
        write_luna16_mask(path, chest)
        image = SimpleITK.ReadImage(str(path))
        SimpleITK.WriteImage(change(image), str(path), useCompression=True)

    return damage


def shifted(image):
    image.SetOrigin(np.add(image.GetOrigin(), (4, 0, 0)))
    return image


def tilted(angle):
    def tilt(image):
        c, s = np.cos(angle), np.sin(angle)
        image.SetDirection((c, -s, 0, s, c, 0, 0, 0, 1))
        return image

    return tilt


def mirrored(image):
    image.SetDirection((-1, 0, 0, 0, 1, 0, 0, 0, 1))
    return image


def stretched(image):
    image.SetSpacing((1, 1, 1))
    return image


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda image: image[:-2], "voxels"),
        (lambda image: image[:, :, :-1], "voxels"),
        (shifted, "corners"),
        (mirrored, "corners"),
        (tilted(0.1), "corners"),
        (tilted(0.8), "directions"),
        (stretched, "directions or a spacing"),
    ],
)
def test_a_mask_of_another_shape_or_direction_names_series_and_file(root, change, told):
    source, case, path = luna16(root, 1)
    moved(change)(path, sample_chest(np.random.default_rng(0), 64, 12))
    with pytest.raises(DataError, match=told) as raised:
        source.open(case)
    assert case.case_id in str(raised.value)
    assert str(path) in str(raised.value)


def gap(share):
    def change(image):
        across, down, slice_mm = image.GetSpacing()
        image.SetSpacing((across, down, slice_mm * share))
        return image

    return change


def test_a_rounded_distance_between_slices_is_no_other_grid(root):
    source, case, path = luna16(root, 1)
    before = source.open(case).lungs
    chest = _patient("LIDC-IDRI-0001", 0, 64, 12)[1]
    moved(gap(1.08))(path, chest)
    assert np.array_equal(source.open(case).lungs, before)
    moved(gap(1.2))(path, chest)
    with pytest.raises(DataError, match=r"slices .* mm apart"):
        source.open(case)


@pytest.mark.parametrize("kept", [0, 40, -20])
def test_a_damaged_mask_names_its_file(root, kept):
    source, case, path = luna16(root, 1)
    pixels = path.with_suffix(".zraw")
    damaged = pixels if kept == -20 else path
    damaged.write_bytes(damaged.read_bytes()[:kept])
    with pytest.raises(DataError, match=case.case_id):
        source.open(case)


def test_missing_pixels_of_a_mask_are_told(root):
    _, _, path = luna16(root, 1)
    path.with_suffix(".zraw").unlink()
    with pytest.raises(DataError, match=r"no file .*zraw beside it"):
        LIDCIDRISource(root).cases()


def test_an_empty_mask_is_an_error(root):
    source, case, path = luna16(root, 1)
    write_mask(path, case.series, np.zeros((12, 64, 64)))
    with pytest.raises(DataError, match="empty mask"):
        source.open(case)


def test_the_trachea_is_no_lung(pristine):
    source, case, path = luna16(pristine, 1)
    labels = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    assert (labels == 5).any()
    assert not source.open(case).lungs[labels == 5].any()


def test_a_segmentation_of_the_lungs_is_taken_for_the_scan_it_refers_to(root):
    folder = lidc_series(root, 3)
    series = read_series(folder)
    slices = [dcmread(path) for path in series.files]
    mask = np.random.default_rng(1).random((12, 64, 64)) > 0.7
    mask[4] = False
    path = folder.parent / "seg" / "1.dcm"
    naming = Naming(series.patient, slices[0].StudyInstanceUID, uid("seg"))
    write_segmentation(path, slices, mask, naming, lung=True)
    source = LIDCIDRISource(root)
    case = next(c for c in source.cases() if c.case_id == series.uid)
    assert (case.reference, case.mask_files) == ("plain", (path,))
    assert np.array_equal(source.open(case).lungs, mask)
    with pytest.raises(DataError, match="segmentation of series"):
        read_segmentation_mask(path, read_series(lidc_series(root, 1)))
    series.files[0].unlink()
    with pytest.raises(DataError, match="1 slices that are not there"):
        read_segmentation_mask(path, read_series(folder))


def test_two_segmentations_of_the_lungs_of_one_scan_are_refused(root):
    """Of a file for each lung, one alone would be half a mask."""
    folder = lidc_series(root, 3)
    series = read_series(folder)
    slices = [dcmread(path) for path in series.files]
    mask = np.random.default_rng(1).random((12, 64, 64)) > 0.7
    for side in ("left", "right"):
        naming = Naming(series.patient, slices[0].StudyInstanceUID, uid(side))
        path = folder.parent / side / "1.dcm"
        write_segmentation(path, slices, mask, naming, lung=True)
    with pytest.raises(DataError, match=f"second lung segmentation of series {series.uid}") as told:
        LIDCIDRISource(root).cases()
    assert "left" in told.value.found and "right" in str(told.value.where)


def test_a_segmentation_under_another_patients_name_belongs_to_the_series_it_was_drawn_on(root):
    path = next((root / "QIN LUNG CT").rglob("300*/1-1.dcm"))
    before = [case.case_id for case in QINLungCTSource(root).cases()]
    rewrite(path, PatientID="QIN-LUNG-01-0099")
    assert [case.case_id for case in QINLungCTSource(root).cases()] == before


def test_a_damaged_segmentation_names_its_file(root):
    path = next((root / "QIN LUNG CT").rglob("300*/1-1.dcm"))
    (referred,) = dcmread(path).ReferencedSeriesSequence
    del referred.SeriesInstanceUID
    rewrite(path, ReferencedSeriesSequence=[referred])
    with pytest.raises(DataError, match="no readable DICOM-SEG") as told:
        QINLungCTSource(root).cases()
    assert told.value.where == str(path)


def test_a_nodules_segmentation_is_no_lung_mask(pristine):
    path = next((pristine / "QIN LUNG CT").rglob("300*/1-1.dcm"))
    with pytest.raises(DataError, match="no lung among"):
        read_segmentation_mask(path, read_series(lidc_series(pristine, 1)))


def test_own_masks_come_before_public_and_computed_ones(root):
    mask = np.zeros((12, 64, 64), bool)
    mask[3:9, 20:40, 10:30] = True
    for source, suffix in ((LIDCIDRISource(root), ".nii.gz"), (QINLungCTSource(root), ".mhd")):
        case = source.cases()[0]
        write_mask(source.folder / "lung-masks" / f"{case.case_id}{suffix}", case.series, mask)
        again = type(source)(root)
        own, *others = again.cases()
        assert own.reference == "plain"
        assert np.array_equal(again.open(own).lungs, mask)
        assert {case.reference for case in others} == {case.reference for case in source.cases()}


def test_scans_without_a_mask_are_left_out_and_none_at_all_is_an_error(root):
    _, case, path = luna16(root, 1)
    path.unlink()
    assert case.case_id not in {c.case_id for c in LIDCIDRISource(root).cases()}
    assert case.case_id in {scan.case_id for scan in LIDCIDRISource(root).scans()}
    shutil.rmtree(root / "LUNA16")
    with pytest.raises(DataError, match="no lung mask") as raised:
        LIDCIDRISource(root).cases()
    assert "seg-lungs-LUNA16" in raised.value.todo


@pytest.mark.parametrize("seed", range(4))
def test_computed_masks_are_the_lungs_without_trachea(seed):
    chest = sample_chest(np.random.default_rng(seed), 128, 30)
    mask = pseudo_mask(np.maximum(chest.hu, -1024), (chest.spacing, chest.spacing), chest.slice_mm)
    truth = lungs_of_chest(chest)
    assert dice(mask, truth) >= 0.98
    trachea = chest.labels == 5
    assert (mask & trachea).sum() < 0.02 * trachea.sum()
    inner = chest.ball(chest.nodules[0])
    assert (mask & inner).sum() > 0.95 * inner.sum()


def test_most_of_a_small_nodule_at_the_wall_belongs_to_computed_lungs():
    """A ball of 8 mm rolled along the wall dips 2 mm into a notch of 10 mm."""
    rows, columns = np.indices((100, 200))
    hu = np.where((rows - 50) ** 2 + (columns - 100) ** 2 < 45**2, 40, -1000)
    lung = (rows - 50) ** 2 + (columns - 100) ** 2 < 35**2
    nodule = ((rows - 50) ** 2 + (columns - 65) ** 2 < 5**2) & lung
    hu[lung & ~nodule] = -850
    mask = pseudo_mask(np.stack([hu.astype(np.int16)] * 3), (1.0, 1.0), 3.0)
    assert (mask[1] & nodule).sum() > 0.5 * nodule.sum()
    assert dice(mask[1], lung) > 0.98


def test_a_scan_without_lungs_gets_an_empty_computed_mask():
    assert not pseudo_mask(np.full((3, 32, 32), 40, np.int16), (3.0, 3.0), 5.0).any()
    assert not pseudo_mask(np.full((3, 32, 32), -1024, np.int16), (3.0, 3.0), 5.0).any()

"""CT volumes of a user's own: read where their headers say, refused where one would guess."""

import itertools

import numpy as np
import pytest
import SimpleITK
from ct_roots import write_own_scans, write_scan

from contract.errors import DataError, UserError
from datamodules.phantoms import write_qin
from datamodules.sources import OwnScans, open_source
from datamodules.sources.ct.volumes import VolumeSlices

ALL_ORDERS = [
    "".join(order[k] for k in axes)
    for axes in itertools.permutations(range(3))
    for order in itertools.product("LR", "PA", "SI")
]


@pytest.fixture(scope="module")
def dicom(tmp_path_factory):
    """Two phantoms as DICOM series: (scan, HU, lungs) each."""
    root = tmp_path_factory.mktemp("qin")
    write_qin(root, 2, size=32, slices=6)
    source = open_source("qin_lung_ct", root)
    opened = [(scan, source.open(scan)) for scan in source.cases()]
    return [(scan, one.volume, one.lungs) for scan, one in opened]


@pytest.fixture
def own(dicom, tmp_path):
    """The same as a user's own data set: the YAML file."""
    masks = {scan.case_id: lungs for scan, _, lungs in dicom}
    return write_own_scans(tmp_path, [scan for scan, _, _ in dicom], masks)


def opened(file):
    source = open_source(str(file), file.parent)
    return [source.open(case) for case in source.cases()]


def change(file, old, new):
    file.write_text(file.read_text().replace(old, new))


def rewritten(path, change):
    image = SimpleITK.ReadImage(str(path))
    SimpleITK.WriteImage(change(image), str(path))


@pytest.mark.parametrize("order", ALL_ORDERS)
def test_axes_in_any_order_and_direction_come_out_as_the_dicom_series(dicom, tmp_path, order):
    scan, hu, _ = dicom[0]
    write_scan(tmp_path / "a.nii.gz", scan.series, hu, order)
    volume = VolumeSlices(tmp_path / "a.nii.gz", "a")
    assert (len(volume), volume.shape) == (len(scan.series), scan.series.shape)
    assert (volume.spacing, volume.slice_mm) == (scan.series.spacing, scan.series.slice_mm)
    assert np.allclose(volume.affine, scan.series.affine, atol=1e-3)
    assert (volume.read() == hu).all()
    assert (volume.read_slice(2) == hu[2]).all()


def test_masks_are_looked_up_where_they_lie_in_the_patient(dicom, own):
    source = open_source(str(own), own.parent)
    assert isinstance(source, OwnScans) and source.structures == ("lungs",)
    for one, (_, hu, lungs) in zip(opened(own), dicom, strict=True):
        assert (one.lungs == lungs).all()
        assert (one.hu(1) == hu[1]).all()
    cases = source.cases()
    assert [case.patient_id for case in cases] == [scan.patient_id for scan, _, _ in dicom]
    assert cases[0].files[-1].name == "patients.csv"


def test_a_small_tilt_keeps_its_spacing_and_a_large_one_is_refused(dicom, tmp_path):
    scan, hu, _ = dicom[0]
    for angle, sound in ((10, True), (40, False)):
        path = tmp_path / f"{angle}.nii.gz"
        write_scan(path, scan.series, hu, "LPS")
        turn = SimpleITK.Euler3DTransform((0, 0, 0), np.deg2rad(angle), 0, 0).GetMatrix()

        def tilted(image, turn=turn):
            image.SetDirection(turn)
            return image

        rewritten(path, tilted)
        volume = VolumeSlices(path, "a")
        if sound:
            assert volume.spacing == scan.series.spacing and (volume.read() == hu).all()
        else:
            with pytest.raises(DataError, match="axes within 30° of the patient's"):
                len(volume)


def test_a_spacing_in_32_bits_is_the_decimal_that_was_meant(tmp_path):
    image = SimpleITK.GetImageFromArray(np.full((3, 4, 5), -1000, np.int16))
    image.SetSpacing((0.7, 0.7, 1.25))
    SimpleITK.WriteImage(image, str(tmp_path / "a.nii.gz"))
    assert VolumeSlices(tmp_path / "a.nii.gz", "a").spacing == (0.7, 0.7)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (lambda hu: hu + 1024, r"values from 0 to \d+; expected HU of a chest"),
        (lambda hu: np.clip(hu, -160, 240), "values from -160 to 240"),
        (lambda hu: np.where(hu > 0, -1, hu), "tissue above 0"),
        (lambda hu: (hu / 1000).astype(np.float32), "expected HU of a chest"),
    ],
)
def test_what_is_no_hu_is_refused(dicom, own, values, said):
    scan, hu, _ = dicom[0]
    write_scan(own.parent / "scans" / f"{scan.case_id}.nii.gz", scan.series, values(hu))
    with pytest.raises(DataError, match=said):
        opened(own)


def test_what_lies_below_air_is_air_and_floats_are_rounded(dicom, tmp_path):
    scan, hu, _ = dicom[0]
    padded = np.where(hu < -900, -3024, hu) + np.float32(0.25)
    write_scan(tmp_path / "a.mha", scan.series, padded)
    read = VolumeSlices(tmp_path / "a.mha", "a").read()
    assert read.dtype == np.int16
    write_scan(tmp_path / "b.mha", scan.series, np.where(hu > 0, np.nan, padded))
    with pytest.raises(DataError, match="values that are no numbers"):
        VolumeSlices(tmp_path / "b.mha", "b").read()
    assert (read == np.where(hu < -900, -1024, hu)).all()


def test_labels_say_what_several_values_of_a_mask_mean(dicom, own):
    scan, _, lungs = dicom[0]
    labelled = lungs * np.uint8(1)
    labelled[:, :, 16:] *= 2
    labelled[0, 0, 0] = 7
    write_scan(own.parent / "masks" / f"{scan.case_id}.nii.gz", scan.series, labelled)
    with pytest.raises(DataError, match=r"the values 0, 1, 2, 7.*labels: \{left_lung: 1"):
        opened(own)
    own.write_text(own.read_text() + "labels: {right_lung: 1, left_lung: 2}\n")
    source = open_source(str(own), own.parent)
    assert (source.open(source.cases()[0]).lungs == lungs).all()


def test_nnunets_layout_names_scans_labels_and_endings(dicom, own):
    home = own.parent / "Dataset001_CT"
    (home / "imagesTr").mkdir(parents=True)
    (home / "labelsTr").mkdir()
    for scan, _, _ in dicom:
        name = f"{scan.case_id}.nii.gz"
        moved = home / "imagesTr" / f"{scan.case_id}_0000.nii.gz"
        (own.parent / "scans" / name).rename(moved)
        (own.parent / "masks" / name).rename(home / "labelsTr" / name)
    about = '{"channel_names": {"0": "CT"}, "labels": {"background": 0, "lung": 1}, '
    (home / "dataset.json").write_text(about + '"numTraining": 2, "file_ending": ".nii.gz"}')
    own.write_text("unit: scan\nnnunet: Dataset001_CT\ntable: patients.csv\n")
    for one, (_, _, lungs) in zip(opened(own), dicom, strict=True):
        assert (one.lungs == lungs).all()
    (home / "dataset.json").write_text(
        about.replace('"0": "CT"', '"0": "CT", "1": "PET"') + '"a": 1}'
    )
    with pytest.raises(DataError, match="2 channels"):
        open_source(str(own), own.parent)


def test_faulty_own_scans_are_refused_by_file(dicom, own):
    scan, hu, lungs = dicom[0]
    first = own.parent / "masks" / f"{scan.case_id}.nii.gz"
    whole = first.read_bytes()
    write_scan(first, scan.series, lungs.astype(np.uint8)[:-1])
    with pytest.raises(DataError, match="on another grid"):
        opened(own)
    write_scan(first, scan.series, lungs.astype(np.uint8) * 0)
    with pytest.raises(DataError, match="an empty mask of the lungs"):
        opened(own)
    first.unlink()
    with pytest.raises(DataError, match=f"no mask for 1 cases: {scan.case_id}"):
        opened(own)
    first.write_bytes(whole)
    image = own.parent / "scans" / f"{scan.case_id}.nii.gz"
    image.write_bytes(image.read_bytes()[:100])
    with pytest.raises(DataError, match="no readable volume"):
        opened(own)
    colours = SimpleITK.Compose([SimpleITK.GetImageFromArray(hu)] * 3)
    SimpleITK.WriteImage(colours, str(image))
    with pytest.raises(DataError, match="one value a voxel"):
        opened(own)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("spacing_mm: 0.7", "spacing_mm: found it beside unit: scan"),
        ("bits: 12", "bits: found it beside unit: scan"),
        ("unit: slab", "unit: found 'slab'"),
    ],
)
def test_keys_that_mean_nothing_for_scans_are_refused(own, line, said):
    own.write_text(own.read_text().replace("unit: scan", "" if "unit" in line else "unit: scan"))
    own.write_text(own.read_text() + line + "\n")
    with pytest.raises(UserError, match=said):
        open_source(str(own), own.parent)


def test_volumes_without_their_unit_are_told_the_key(own):
    own.write_text(own.read_text().replace("unit: scan\n", ""))
    with pytest.raises(DataError, match="state `unit: scan` for CT volumes"):
        open_source(str(own), own.parent).cases()

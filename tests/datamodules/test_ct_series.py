"""DICOM series: order by position, HU values, and faults that name series and file."""

import shutil

import numpy as np
import pytest
from ct_roots import in_order, lidc_series, rewrite
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import DataElement, dcmread
from pydicom.fileset import FileSet
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from contract.errors import DataError
from datamodules.phantoms import write_lidc, write_qin
from datamodules.phantoms.ct_chest import sample_chest
from datamodules.phantoms.ct_files import Naming, uid, write_series
from datamodules.sources.ct.headers import SliceHeader, read_slice_header
from datamodules.sources.ct.series import AIR, assemble, read_series
from datamodules.sources.lidc_idri import LIDCIDRISource
from datamodules.sources.qin_lung_ct import QINLungCTSource


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    root = tmp_path_factory.mktemp("ct")
    write_lidc(root, 4, size=48, slices=8)
    write_qin(root, 3, size=48, slices=8)
    return root


@pytest.fixture
def root(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "root")


def header(path, z, **changes):
    values = {
        "path": path, "modality": "CT", "series": "1.2", "instance": str(z), "patient": "p",
        "position": (-10.0, -20.0, z), "orientation": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        "spacing": (0.7, 0.8), "shape": (4, 5),
    }  # fmt: skip
    return SliceHeader(**{**values, **changes})


@given(
    order=st.permutations(range(9)),
    start=st.floats(-500, 500),
    step=st.floats(0.5, 10),
    jitter=st.lists(st.floats(-0.05, 0.05), min_size=9, max_size=9),
    turned=st.booleans(),
    tilt=st.floats(-0.4, 0.4),
)
@settings(max_examples=60, deadline=None)
def test_any_order_of_files_gives_slices_from_below(
    tmp_path_factory, order, start, step, jitter, turned, tilt
):
    """With a tilted gantry and rows stored backwards, too."""
    sign = -1.0 if turned else 1.0
    orientation = (sign, 0.0, 0.0, 0.0, sign * np.cos(tilt), sign * np.sin(tilt))
    normal = np.cross(orientation[:3], orientation[3:])
    normal *= np.sign(normal[2])
    heights = [start + step * (i + jitter[i]) for i in range(9)]
    headers = [
        header(tmp_path_factory.getbasetemp() / f"{rank:03d}", i, orientation=orientation,
               position=tuple(normal * heights[i]))
        for rank, i in enumerate(order)
    ]  # fmt: skip
    series = assemble(headers)
    assert [h.instance for h in series.headers] == [str(i) for i in range(9)]
    assert np.allclose(series.positions, heights)
    assert np.isclose(series.slice_mm, (heights[-1] - heights[0]) / 8)
    last = series.affine @ (0, 0, 8, 1)
    assert np.allclose(last[:3], normal * heights[-1])


def test_hu_values_are_those_of_the_chest_and_padding_is_air(tmp_path):
    chest = sample_chest(np.random.default_rng(0), 48, 8)
    naming = Naming("p", uid("a"), uid("b"))
    names = [f"{(i * 5) % 8}" for i in range(8)]
    for flipped in (False, True):
        folder = tmp_path / str(flipped)
        write_series(folder, chest, naming, names, flipped=flipped)
        (folder / "notes.txt").write_text("no DICOM")
        series = read_series(folder)
        volume = np.stack([series.read_slice(i) for i in range(8)])
        volume = volume[:, ::-1, ::-1] if flipped else volume
        inside = np.hypot(*np.indices((48, 48)) - 23.5) <= 23
        assert np.array_equal(volume[:, inside], np.maximum(chest.hu, AIR)[:, inside])
        assert (volume[:, 0, 0] == AIR).all()
        assert series.spacing == pytest.approx((chest.spacing, chest.spacing), abs=1e-6)
        assert series.slice_mm == pytest.approx(chest.slice_mm)
        # The patient's left stays at the greater x, however rows are stored.
        column = 47 if not flipped else 0
        assert (series.affine @ (column, 0, 0, 1))[0] > 0


def test_slope_intercept_and_a_range_of_padding_are_applied(tmp_path):
    chest = sample_chest(np.random.default_rng(0), 16, 2)
    write_series(tmp_path, chest, Naming("p", uid("a"), uid("b")), ["a", "b"])
    stored = np.arange(256, dtype=np.uint16).reshape(16, 16) * 16
    rewrite(
        tmp_path / "a", PixelRepresentation=0, PixelData=stored.tobytes(), RescaleSlope="0.5",
        RescaleIntercept="-1000", PixelPaddingValue=DataElement("PixelPaddingValue", "US", 4080),
        PixelPaddingRangeLimit=DataElement("PixelPaddingRangeLimit", "US", 4000),
    )  # fmt: skip
    hu = read_series(tmp_path).read_slice(0)
    expected = np.clip(np.rint(stored * 0.5 - 1000), AIR, None)
    expected[stored >= 4000] = AIR
    assert np.array_equal(hu, expected)
    assert hu.dtype == np.int16


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_compressed_slices_decode_to_the_same_values(tmp_path, syntax):
    chest = sample_chest(np.random.default_rng(1), 32, 2)
    write_series(tmp_path, chest, Naming("p", uid("a"), uid("b")), ["a", "b"])
    plain = [read_series(tmp_path).read_slice(i) for i in range(2)]
    for path in tmp_path.iterdir():
        read = dcmread(path)
        read.compress(syntax)
        read.save_as(path)
        assert dcmread(path).file_meta.TransferSyntaxUID == syntax
    packed = read_series(tmp_path)
    assert all(np.array_equal(packed.read_slice(i), plain[i]) for i in range(2))


def test_trees_old_and_new_with_radiographs_and_segmentations_give_one_scan_a_patient(pristine):
    lidc, qin = LIDCIDRISource(pristine).cases(), QINLungCTSource(pristine).cases()
    assert sorted(case.patient_id for case in lidc) == [f"LIDC-IDRI-{i:04d}" for i in range(1, 5)]
    assert len({case.case_id for case in lidc}) == 4
    assert sorted(case.patient_id for case in qin) == [
        "QIN-LSC-0004", "QIN-LSC-0005", "QIN-LUNG-01-0007",
    ]  # fmt: skip
    assert {case.reference for case in lidc} == {"automatic"}
    assert {case.reference for case in qin} == {"pseudo"}
    names = [path.name for path in lidc[0].series.files]
    assert names != sorted(names) and names != sorted(names, reverse=True)


def test_what_lies_beside_slices_is_left_aside(root):
    """And slices are DICOM files by their content: names without an ending are fine."""

    def found():
        (case,) = (c for c in LIDCIDRISource(root).cases() if c.patient_id == "LIDC-IDRI-0001")
        return case.series

    folder = lidc_series(root, 1)
    before = [path.read_bytes() for path in found().files]
    for number, path in enumerate(sorted(folder.glob("*.dcm"))):
        path.rename(folder / f"IM{number}")
    (folder / "LICENSE").write_text("CC BY 3.0")
    for name in ("._1-001.dcm", "._068.xml"):
        (folder / name).write_bytes(b"macOS")
    catalogue = FileSet()
    catalogue.write(folder.parent)
    assert (folder.parent / "DICOMDIR").read_bytes()[128:132] == b"DICM"
    series = found()
    assert [path.read_bytes() for path in series.files] == before
    assert {path.name[:2] for path in series.files} == {"IM"}
    (scan,) = (s for s in LIDCIDRISource(root).scans() if s.case_id == series.uid)
    assert scan.readings == folder / "068.xml"
    assert read_series(folder).files == series.files


def expect(call, *told):
    with pytest.raises(DataError) as raised:
        call()
    for part in told:
        assert str(part) in str(raised.value)
    assert raised.value.expected
    return raised.value


def test_a_missing_slice_in_the_middle(root):
    folder = lidc_series(root, 1)
    files = in_order(folder)
    series = read_slice_header(files[0]).series
    files[4].unlink()
    expect(LIDCIDRISource(root).cases, "missing slice", series, files[3].name, files[5].name)


def test_a_slice_at_an_uneven_position(root):
    files = in_order(lidc_series(root, 1))
    x, y, z = dcmread(files[7]).ImagePositionPatient
    rewrite(files[7], ImagePositionPatient=[x, y, float(z) - 12])
    series = read_slice_header(files[0]).series
    expect(LIDCIDRISource(root).cases, "uneven position", series, files[7].name)


def test_duplicated_positions(root):
    files = in_order(lidc_series(root, 1))
    again = files[2].with_name("again.dcm")
    shutil.copy(files[2], again)
    rewrite(again, SOPInstanceUID="1.2.3")
    error = expect(LIDCIDRISource(root).cases, "second slice", read_slice_header(files[0]).series)
    assert {error.where, *error.found.split("(")[1:]} & {str(again), str(files[2])}
    assert again.name in str(error) and files[2].name in str(error)


def test_two_series_mixed_in_one_folder(root):
    here, there = lidc_series(root, 1), lidc_series(root, 3)
    stranger = in_order(there)[0]
    shutil.copy(stranger, here / "stranger.dcm")
    both = [read_slice_header(path).series for path in (in_order(there)[0], in_order(there)[1])]
    own = next(read_slice_header(p).series for p in in_order(here) if p.name != "stranger.dcm")
    expect(LIDCIDRISource(root).cases, "two series", here, both[0], own, "stranger.dcm")
    expect(lambda: read_series(here), "two series", "stranger.dcm")


@pytest.mark.parametrize("kept", [0, 90, 300, 700, -100])
def test_a_truncated_slice(root, kept):
    files = in_order(lidc_series(root, 1))
    series = read_slice_header(files[0]).series
    whole = files[3].read_bytes()
    files[3].write_bytes(whole[:kept])

    def read_everything():
        source = LIDCIDRISource(root)
        for case in source.cases():
            scan = source.open(case)
            for index in range(len(scan.series)):
                scan.hu(index)

    error = expect(read_everything, files[3].name)
    if kept == -100:
        assert series in str(error)


def test_a_segmentation_where_a_ct_was_expected(root):
    home = root / "QIN LUNG CT" / "QIN-LUNG-01-0007"
    (segmentation,) = home.rglob("300*/1-1.dcm")
    uid_ = dcmread(segmentation).SeriesInstanceUID
    expect(lambda: read_series(segmentation.parent), "DICOM-SEG", uid_, segmentation)
    shutil.rmtree(next(home.glob("*41946")))
    expect(QINLungCTSource(root).cases, "DICOM-SEG", uid_, segmentation, "no CT of patient")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"Rows": 24, "PixelData": bytes(24 * 48 * 2)}, "48×24 pixels"),
        ({"ImageOrientationPatient": [0, 1, 0, -1, 0, 0]}, "orientation"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "unit vectors"),
        ({"PixelSpacing": [1, 1]}, "pixel spacing"),
        ({"PixelSpacing": [float("nan"), 1]}, "finite"),
    ],
)
def test_slices_that_differ_within_a_series(root, changes, told):
    files = in_order(lidc_series(root, 1))
    rewrite(files[5], **changes)
    expect(LIDCIDRISource(root).cases, told, files[5].name)


def test_no_ct_at_all(tmp_path):
    (tmp_path / "LIDC-IDRI" / "LIDC-IDRI-0001").mkdir(parents=True)
    expect(LIDCIDRISource(tmp_path).cases, "no CT series")
    (tmp_path / "empty").mkdir()
    expect(lambda: read_series(tmp_path / "empty"), "no DICOM file")


def test_remembered_headers_are_those_of_the_files_until_these_change(root, tmp_path):
    def headers():
        source = LIDCIDRISource(root)
        source.memory = tmp_path / "cache"
        return {h.path: h for scan in source.scans() for h in scan.headers}

    first = headers()
    assert (tmp_path / "cache" / "headers-lidc_idri.json").is_file()
    assert headers() == first
    assert headers() == {h.path: h for s in LIDCIDRISource(root).scans() for h in s.headers}
    changed = next(iter(first))
    rewrite(changed, PatientSex="F")
    assert headers()[changed].attributes == {"sex": "F"}
    (tmp_path / "cache" / "headers-lidc_idri.json").write_text("damaged")
    assert headers()[changed].attributes == {"sex": "F"}

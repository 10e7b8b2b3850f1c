"""The readers' XML: hardened, checked against its series, and turned to masks by LIDC's rule."""

import shutil
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from ct_roots import lidc_series
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import DataError
from datamodules.phantoms import write_lidc
from datamodules.phantoms.ct import SEPARATE_XML, _patient
from datamodules.phantoms.ct_files import ring_of
from datamodules.sources.ct.headers import SliceHeader
from datamodules.sources.ct.nodule_xml import Outline, ReaderNodule, Readings, read_nodule_readings
from datamodules.sources.ct.nodules import consensus, fill
from datamodules.sources.ct.series import assemble
from datamodules.sources.lidc_idri import LIDCIDRISource

SHAPE = (40, 50)
XML = Path("readings.xml")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    root = tmp_path_factory.mktemp("ct")
    write_lidc(root, 5, size=96, slices=12)
    return root


@pytest.fixture
def root(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "root")


def a_series(slices=4):
    return assemble(
        [
            SliceHeader(Path(str(i)), "CT", "1.2", f"1.2.{i}", "p", (0.0, 0.0, float(i)),
                   (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (1.0, 1.0), SHAPE)
            for i in range(slices)
        ]
    )  # fmt: skip


def disc(row, column, radius):
    rows, columns = np.indices(SHAPE)
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def ring(mask):
    return tuple(ring_of(mask))


def marked(reader, *masks, slice_=0, holes=()):
    outlines = [Outline(f"1.2.{slice_}", ring(mask), True) for mask in masks]
    outlines += [Outline(f"1.2.{slice_}", ring(hole), False) for hole in holes]
    return ReaderNodule(reader, "n", tuple(outlines))


def nodules(*found, series="1.2"):
    return consensus(XML, Readings(series, 4, tuple(found)), a_series())


@given(row=st.integers(8, 30), column=st.integers(8, 40), radius=st.floats(1.5, 7))
@settings(max_examples=60, deadline=None)
def test_the_outline_lies_just_outside_of_what_it_encloses(row, column, radius):
    mask = disc(row, column, radius)
    assert np.array_equal(fill(ring(mask), SHAPE, with_outline=False), mask)
    grown = fill(ring(mask), SHAPE, with_outline=True)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    assert np.array_equal(grown, cv2.dilate(mask.astype(np.uint8), cross) > 0)


def test_a_pixel_belongs_if_half_of_the_readers_who_saw_the_nodule_enclosed_it():
    large, small = disc(20, 20, 8), disc(20, 20, 4)
    (two,) = nodules(marked(0, large), marked(1, small))
    assert two.readers == 2 and np.array_equal(two.mask(0, SHAPE), large)
    (three,) = nodules(marked(0, large), marked(1, small), marked(3, small))
    assert three.readers == 3 and np.array_equal(three.mask(0, SHAPE), small)
    assert not three.mask(1, SHAPE).any()


def test_outlines_that_overlap_over_a_third_readers_are_one_nodule():
    left, middle, right = disc(20, 12, 4), disc(20, 19, 4), disc(20, 26, 4)
    assert len(nodules(marked(0, left), marked(1, right))) == 2
    assert len(nodules(marked(0, left), marked(1, right), marked(2, middle))) == 1
    assert len(nodules(marked(0, left), marked(1, left, slice_=2))) == 2


def test_exclusions_are_taken_out_with_their_outline():
    (found,) = nodules(marked(0, disc(20, 20, 9), holes=[disc(20, 20, 3)]))
    hole = fill(ring(disc(20, 20, 3)), SHAPE, with_outline=True)
    assert np.array_equal(found.mask(0, SHAPE), disc(20, 20, 9) & ~hole)


def test_nodules_are_numbered_from_below():
    found = nodules(
        marked(0, disc(30, 30, 4), slice_=3), marked(0, disc(9, 9, 3), slice_=1),
        marked(1, disc(30, 40, 4), slice_=1),
    )  # fmt: skip
    assert [(n.identity, min(n.pixels)) for n in found] == [
        ("nodule-01", 1), ("nodule-02", 1), ("nodule-03", 3),
    ]  # fmt: skip


def test_points_and_slices_must_be_the_series():
    with pytest.raises(DataError, match="outside of slice"):
        nodules(ReaderNodule(0, "n", (Outline("1.2.0", ((3, 3), (60, 3), (3, 9)), True),)))
    with pytest.raises(DataError, match=r"an outline in slice 9\.9"):
        nodules(ReaderNodule(0, "n", (Outline("9.9", ((3, 3), (5, 3), (3, 9)), True),)))
    with pytest.raises(DataError, match=r"readings of series 7\.7"):
        nodules(series="7.7")


def test_phantom_nodules_come_back_from_their_files(pristine):
    source = LIDCIDRISource(pristine)
    for case in source.cases():
        number = int(case.patient_id[-4:]) - 1
        assert ("tcia-lidc-xml" in str(case.readings)) == (number == SEPARATE_XML)
        scan = source.open(case)
        chest = _patient(case.patient_id, 0, 96, 12)[1]
        assert len(scan.nodules) == 2
        for nodule in scan.nodules:
            found = np.stack([nodule.mask(index, (96, 96)) for index in range(12)])
            if number == 2:
                found = found[:, ::-1, ::-1]
            truths = [chest.ball(ball) for ball in chest.nodules]
            overlap = [2 * (found & t).sum() / (found.sum() + t.sum()) for t in truths]
            best = int(np.argmax(overlap))
            assert overlap[best] > 0.8
            assert nodule.readers == (3 if chest.nodules[best].pleural else 4)


def damage(root, text):
    (path,) = lidc_series(root, 1).glob("*.xml")
    path.write_text(text(path.read_text()) if callable(text) else text)
    source = LIDCIDRISource(root)
    case = next(c for c in source.cases() if c.patient_id == "LIDC-IDRI-0001")
    with pytest.raises(DataError) as raised:
        source.open(case)
    assert str(path) in str(raised.value)
    return str(raised.value), case


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {b} "&{a};&{a};">' for a, b in pairwise("abcdefghijklmnopqrstuvwxyz"))
    + "]><LidcReadMessage>&z;</LidcReadMessage>"
)


def test_an_entity_bomb_is_refused(root):
    told, _ = damage(root, BOMB)
    assert "entities" in told and "explode" in told


def test_an_entity_that_reads_a_file_is_refused(root):
    outside = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    told, _ = damage(root, f"{outside}<LidcReadMessage>&a;</LidcReadMessage>")
    assert "entities" in told


def test_xml_of_another_series_is_refused(root):
    (stranger,) = lidc_series(root, 3).glob("*.xml")
    told, case = damage(root, stranger.read_text())
    assert "readings of series" in told and case.case_id in told


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[: len(text) // 2], "no whole XML"),
        (lambda text: "", "no whole XML"),
        (lambda text: text.replace("<xCoord>", "<xCoord>x", 1), "a point at"),
        (lambda text: text.replace("<inclusion>TRUE", "<inclusion>MAYBE", 1), "MAYBE"),
        (lambda text: text.replace("LidcReadMessage", "IdriReadMessage"), "another kind"),
    ],
)
def test_damaged_xml_names_its_file(root, change, said):
    assert said in damage(root, change)[0]


def test_two_readings_of_one_series_are_refused(root):
    (path,) = lidc_series(root, 1).glob("*.xml")
    shutil.copy(path, path.with_name("second.xml"))
    with pytest.raises(DataError, match="second XML"):
        LIDCIDRISource(root).cases()


@given(
    cut=st.integers(0, 4000),
    inserted=st.binary(max_size=12),
)
@settings(max_examples=150, deadline=None)
def test_damaged_bytes_are_read_or_refused_but_never_crash(
    pristine, tmp_path_factory, cut, inserted
):
    (path,) = lidc_series(pristine, 1).glob("*.xml")
    whole = path.read_bytes()
    damaged = tmp_path_factory.getbasetemp() / "damaged.xml"
    damaged.write_bytes(whole[:cut] + inserted + whole[cut + len(inserted) :])
    try:
        read_nodule_readings(damaged)
    except DataError as error:
        assert str(damaged) in str(error)

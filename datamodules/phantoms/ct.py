"""Phantom CT data sets on disk, in TCIA's and LUNA16's folders, names and file formats."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np

from datamodules.phantoms.ct_chest import LEFT, RIGHT, Chest, sample_chest
from datamodules.phantoms.ct_files import (
    Naming,
    readings_xml,
    uid,
    write_luna16_mask,
    write_radiograph,
    write_segmentation,
    write_series,
)
from datamodules.phantoms.writers import replace_folders
from datamodules.sources.base import PHANTOM_MARKER
from datamodules.sources.lidc_idri import LUNA16_MASKS

FLIPPED_MASK, FLIPPED_SCAN, SEPARATE_XML, WITH_RADIOGRAPH = 1, 2, 3, 0
"""Which patients of the LIDC phantoms have what is rare but real."""


def write_ct_phantoms(
    root: Path,
    *,
    lidc: int = 12,
    qin: int = 8,
    size: int = 96,
    slices: int = 20,
    seed: int = 0,
) -> None:
    """Write small synthetic CT data sets below a data root; 0 scans omits a set.

    Args:
        root: the data root; made if absent.
        lidc: patients of ``LIDC-IDRI/`` and ``LUNA16/``, at most 1010.
        qin: patients of ``QIN LUNG CT/``, at most 47.
        size: rows and columns of a slice (officially 512).
        slices: slices of a scan.
        seed: same seed, same pixels.

    Raises:
        ValueError: if more scans are asked for than the official release has.
        DataError: if a folder to be written exists and is no phantom.
    """
    if lidc:
        write_lidc(root, lidc, size=size, slices=slices, seed=seed)
    if qin:
        write_qin(root, qin, size=size, slices=slices, seed=seed)


def write_lidc(
    root: Path, count: int = 12, *, size: int = 96, slices: int = 20, seed: int = 0
) -> None:
    """Write ``LIDC-IDRI/`` with the readers' XML, and ``LUNA16/seg-lungs-LUNA16/``.

    Old and new folder names take turns, and file names are in no order. The second patient's mask
    is stored flipped, the third patient's scan; the fourth one's XML lies in ``tcia-lidc-xml``.
    Beside the first patient's scan there is a radiograph.

    Raises:
        ValueError: for more than 1010 patients.
        DataError: if a folder exists and is no phantom.
    """
    if not 0 < count <= 1010:
        raise ValueError(f"{count} patients of a release that has 1010")

    def fill(folder: Path) -> None:
        home, masks = folder / "LIDC-IDRI", folder / LUNA16_MASKS
        series = []
        for number in range(count):
            patient = f"LIDC-IDRI-{number + 1:04d}"
            naming, chest, rng = _patient(patient, seed, size, slices)
            old = number % 2 == 0
            study = "01-01-2000-30178" if old else "01-01-2000-NA-NA-30178"
            place = "3000566-03192" if old else "3000566.000000-NA-03192"
            pattern = "{:06d}.dcm" if old else "1-{:03d}.dcm"
            flipped = number == FLIPPED_SCAN
            names = [pattern.format(int(i) + 1) for i in rng.permutation(slices)]
            write_series(home / patient / study / place, chest, naming, names, flipped=flipped)
            write_luna16_mask(masks / f"{naming.series}.mhd", chest, flipped=number == FLIPPED_MASK)
            xml = home / patient / study / place / f"{number + 68:03d}.xml"
            if number == SEPARATE_XML:
                xml = home / "tcia-lidc-xml" / "157" / "158.xml"
            xml.parent.mkdir(parents=True, exist_ok=True)
            xml.write_text(readings_xml(chest, naming, rng, flipped=flipped))
            if number == WITH_RADIOGRAPH:
                film = Naming(patient, uid(naming.study, "film"), uid(naming.series, "film"))
                beside = home / patient / "01-01-2000-35511" / "3000923-62357"
                write_radiograph(beside / "000001.dcm", film)
                text = '<?xml version="1.0"?>\n<IdriReadMessage xmlns="http://www.nih.gov"/>\n'
                (beside / "071.xml").write_text(text)
            series.append(naming.series)
        _mark(home, series, size, seed)
        _mark(folder / "LUNA16", series, size, seed)

    replace_folders(root, ["LUNA16", "LIDC-IDRI"], fill)


def write_qin(
    root: Path, count: int = 8, *, size: int = 96, slices: int = 20, seed: int = 0
) -> None:
    """Write ``QIN LUNG CT/``: a CT study a patient, every second with a DICOM-SEG of its nodule.

    Raises:
        ValueError: for more than 47 patients.
        DataError: if the folder exists and is no phantom.
    """
    if not 0 < count <= 47:
        raise ValueError(f"{count} patients of a release that has 47")

    def fill(folder: Path) -> None:
        home = folder / "QIN LUNG CT"
        series = []
        for number in range(count):
            patient = f"QIN-LSC-{number + 3:04d}" if number else "QIN-LUNG-01-0007"
            naming, chest, rng = _patient(patient, seed, size, slices)
            study = home / patient / "08-06-2003-1-CT Thorax wContrast-41946"
            place = study / "2.000000-THORAX W  3.0  B41 Soft Tissue-71225"
            names = [f"1-{int(i) + 1:03d}.dcm" for i in rng.permutation(slices)]
            written = write_series(place, chest, naming, names)
            if number % 2 == 0:
                own = Naming(patient, uid(naming.study, "seg"), uid(naming.series, "seg"))
                beside = home / patient / "08-06-2003-1-CT Thorax wContrast-58202"
                path = beside / "300.000000-Segmentation-13271" / "1-1.dcm"
                nodule = chest.ball(chest.nodules[0])
                write_segmentation(path, written, nodule, own, lung=False)
            series.append(naming.series)
        _mark(home, series, size, seed)

    replace_folders(root, ["QIN LUNG CT"], fill)


def lungs_of_chest(chest: Chest) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Return both lungs ``(slices, size, size)``."""
    return np.isin(chest.labels, (LEFT, RIGHT))


def _patient(
    patient: str, seed: int, size: int, slices: int
) -> tuple[Naming, Chest, np.random.Generator]:
    rng = np.random.default_rng([seed, zlib.crc32(patient.encode())])
    naming = Naming(patient, uid("study", seed, patient), uid("series", seed, patient))
    return naming, sample_chest(rng, size, slices), rng


def _mark(home: Path, series: list[str], size: int, seed: int) -> None:
    facts = {"phantom": True, "seed": seed, "size": size, "ids": sorted(series)}
    (home / PHANTOM_MARKER).write_text(json.dumps(facts, indent=1) + "\n")

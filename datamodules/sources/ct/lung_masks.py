"""Lung masks of a CT scan, brought onto its grid by the geometry that both files state."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contract.errors import DataError
from datamodules.sources.ct.series import Series
from datamodules.sources.ct.slices import ScanSlices
from datamodules.sources.dicom.objects import open_dicom
from datamodules.sources.files import VOLUME_ENDINGS
from datamodules.sources.volume_files import VolumeFile

LUNA16_LUNGS = (3, 4)
"""The lungs' labels in LUNA16's segmentations; 5 is the trachea."""

HALF_A_VOXEL = 0.5
"""Largest distance, in voxels, of a mask's corners from the scan's: beyond it they differ."""

SAME_GAP = 0.1
"""Largest difference of the distances between slices, as a share: positions are rounded."""

LUNG_CODES = frozenset({"39607008", "3341006", "44029006", "T-28000", "T-28100", "T-28500"})
"""Lung, right lung and left lung, in SNOMED CT and in the older SNOMED-RT codes."""


def find_volume(folder: Path, uid: str) -> Path | None:
    """Return the mask volume called after a series, or None."""
    places = (folder / f"{uid}{suffix}" for suffix in VOLUME_ENDINGS)
    return next((path for path in places if path.is_file()), None)


def volume_files(path: Path) -> tuple[Path, ...]:
    """Return every file that holds a volume: the header, then the pixels' file it names.

    Raises:
        DataError: if the named file is missing.
    """
    if path.suffix.lower() != ".mhd":
        return (path,)
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError as error:
        raise DataError(path, f"an unreadable file ({error.strerror})") from None
    named = dict(line.split("=", 1) for line in lines if "=" in line)
    pixels = next((v.strip() for k, v in named.items() if k.strip() == "ElementDataFile"), "")
    if pixels in ("", "LOCAL"):
        return (path,)
    beside = path.parent / pixels
    if beside.parent.resolve() != path.parent.resolve() or not beside.is_file():
        raise DataError(
            path, f"no file {pixels} beside it", "the pixels that it names", "download both again"
        )
    return (path, beside)


def read_volume_mask(
    path: Path, series: ScanSlices, labels: Collection[int] | None = None
) -> NDArray[np.bool_]:
    """Return a mask volume on the scan's grid ``(slices, H, W)``.

    The volume may be flipped or turned against the scan in any way that its direction cosines
    state; every voxel is then looked up where it lies in the patient.

    Args:
        path: a file that SimpleITK reads (MetaImage, NIfTI, NRRD).
        series: the scan.
        labels: the values that are lung; everything but 0 if not given.

    Raises:
        DataError: if the file is damaged, or its grid is not the scan's.
    """
    values = read_volume_labels(path, series)
    wanted = values != 0 if labels is None else np.isin(values, list(labels))
    return np.asarray(wanted, np.bool_)


def read_volume_labels(path: Path, series: ScanSlices) -> NDArray[np.generic]:
    """Return a mask volume's values on the scan's grid ``(slices, H, W)``; see above.

    Raises:
        DataError: if the file is damaged, or its grid is not the scan's.
    """
    volume = VolumeFile(path)
    values = volume.values()
    if values.ndim != 3:
        raise DataError(path, f"{values.ndim} dimensions", "a volume of three")
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = volume.direction * volume.spacing, volume.origin
    return _onto(path, values, affine, series)


def _onto(
    path: Path, values: NDArray[np.generic], affine: NDArray[np.float64], series: ScanSlices
) -> NDArray[np.generic]:
    """Return a volume ``(z, y, x)`` as a view in the scan's order of axes and directions."""
    turn = np.asarray(np.linalg.solve(affine, series.affine), np.float64)
    steps = np.rint(turn[:3, :3]).astype(int)
    shape = (series.shape[1], series.shape[0], len(series))
    if len(series) == 1:
        steps[:, 2] = np.cross(steps[:, 0], steps[:, 1])
    if sorted(map(tuple, np.abs(steps).T.tolist())) != [(0, 0, 1), (0, 1, 0), (1, 0, 0)]:
        raise _other_grid(path, series, "directions or a spacing of its own", "those of the scan")
    axes = np.abs(steps).argmax(axis=0)
    found = values.transpose(2, 1, 0).transpose(axes)
    if found.shape != shape:
        told = " × ".join(map(str, found.shape))
        raise _other_grid(path, series, f"{told} voxels", " × ".join(map(str, shape)))
    _require_aligned(path, series, turn, steps, values.shape[::-1])
    backwards = tuple(slice(None, None, int(steps[:, axis].sum())) for axis in range(3))
    return found[backwards].transpose(2, 1, 0)


def _require_aligned(
    path: Path,
    series: ScanSlices,
    turn: NDArray[np.float64],
    steps: NDArray[np.int_],
    sizes: tuple[int, ...],
) -> None:
    """Require a mask's corners to lie at the scan's.

    Across the slices one end is enough if the distances between them agree: some writers state
    the first gap, others the mean, and both are rounded.

    Args:
        path: the mask.
        series: the scan.
        turn: ``(4, 4)``, the scan's (column, row, slice, 1) to the mask's (x, y, z, 1).
        steps: the turn's nearest permutation with signs, ``(3, 3)``.
        sizes: the mask's voxels along x, y and z.
    """
    shape = (series.shape[1], series.shape[0], len(series))
    corners = np.array(np.meshgrid(*[(0, side - 1) for side in shape])).reshape(3, -1)
    first = np.where(steps.sum(axis=1) < 0, np.array(sizes) - 1, 0)
    away = np.abs(turn[:3, :3] @ corners + turn[:3, 3:] - steps @ corners - first[:, None])
    across = int(np.abs(steps[:, 2]).argmax())
    stretch = abs(turn[across, 2] / steps[across, 2]) if len(series) > 1 else 1.0
    ends = [float(away[across, corners[2] == end].max()) for end in (0, len(series) - 1)]
    inside = float(np.delete(away, across, axis=0).max())
    if abs(stretch - 1) > SAME_GAP:
        raise _other_grid(
            path, series, f"slices {series.slice_mm * stretch:.3f} mm apart",
            f"{series.slice_mm:.3f} mm",
        )  # fmt: skip
    if max(inside, min(ends)) > HALF_A_VOXEL:
        found = f"corners {max(inside, *ends):.1f} voxels away"
        raise _other_grid(path, series, found, "those of the scan")


def _other_grid(path: Path, series: ScanSlices, found: str, expected: str) -> DataError:
    return DataError(
        path,
        f"a mask of series {series.uid} on another grid: {found}",
        expected,
        "use the mask that was made for this scan",
    )


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()


def is_lung_segmentation(path: Path) -> bool:
    """Tell whether a DICOM-SEG has a segment that is a lung.

    Raises:
        DataError: if the file is damaged.
    """
    return bool(_lung_segments(path))


def _lung_segments(path: Path) -> list[int]:
    try:
        read = open_dicom(path, pixels=False)
        found = []
        for segment in read.get("SegmentSequence") or []:
            kinds = segment.get("SegmentedPropertyTypeCodeSequence") or []
            coded = any(str(kind.get("CodeValue")) in LUNG_CODES for kind in kinds)
            meant = " ".join(str(kind.get("CodeMeaning") or "").lower() for kind in kinds)
            named = str(segment.get("SegmentLabel") or "").lower()
            if coded or meant in ("lung", "left lung", "right lung") or (
                not kinds and named in ("lung", "lungs", "left lung", "right lung")
            ):  # fmt: skip
                found.append(int(segment.SegmentNumber))
        return found
    except Exception as error:  # pydicom raises many kinds for damaged files
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> DataError:
    told = f"no readable DICOM-SEG ({type(error).__name__}: {error})"
    return DataError(path, told, "a whole file", "download it again, or remove it")


def segmented_slices(path: Path) -> dict[str, set[str]]:
    """Return the slices that a DICOM-SEG was drawn on: SOPInstanceUIDs by SeriesInstanceUID.

    Raises:
        DataError: if the file is damaged.
    """
    try:
        read = open_dicom(path, pixels=False)
        return {
            str(series.SeriesInstanceUID): {
                str(slice_.ReferencedSOPInstanceUID)
                for slice_ in series.get("ReferencedInstanceSequence") or []
            }
            for series in read.get("ReferencedSeriesSequence") or []
        }
    except Exception as error:  # pydicom raises many kinds for damaged files
        raise _unreadable(path, error) from None


def survey_segmentations(
    paths: Iterable[Path],
) -> tuple[dict[Path, set[str]], dict[str, Path], list[DataError]]:
    """Look into DICOM-SEG files.

    Returns:
        The series that each refers to; the lung segmentation of each series that has one; and
        what is wrong with the others.
    """
    drawn_on: dict[Path, set[str]] = {}
    lungs: dict[str, Path] = {}
    faults = []
    for path in sorted(paths):
        try:
            is_lung, drawn_on[path] = is_lung_segmentation(path), set(segmented_slices(path))
        except DataError as error:
            faults.append(error)
            continue
        for series in sorted(drawn_on[path]) if is_lung else ():
            other = lungs.setdefault(series, path)
            if other != path:
                faults.append(
                    DataError(
                        path,
                        f"a second lung segmentation of series {series} ({other})",
                        "one of both lungs",
                        "remove one of them, or join them",
                    )
                )
    return drawn_on, lungs, faults


def read_segmentation_mask(path: Path, series: Series) -> NDArray[np.bool_]:
    """Return the union of a DICOM-SEG's lung segments on the scan's grid ``(slices, H, W)``.

    Args:
        path: the DICOM-SEG.
        series: the scan whose slices it refers to.

    Raises:
        DataError: if the file is damaged, has no lung or refers to other slices.
    """
    import highdicom

    numbers = _lung_segments(path)
    if not numbers:
        raise DataError(path, "no lung among its segments", "a segmentation of the lungs")
    drawn_on = segmented_slices(path)
    if series.uid not in drawn_on:
        raise DataError(
            path,
            f"a segmentation of series {' '.join(drawn_on) or '(none)'}",
            f"one of series {series.uid}",
        )
    if gone := drawn_on[series.uid] - series.slice_of.keys():
        raise DataError(
            path,
            f"a segmentation of {len(gone)} slices that are not there",
            f"slices of series {series.uid}",
            "download the series again",
        )
    try:
        segmentation = highdicom.seg.Segmentation.from_dataset(open_dicom(path), copy=False)
        pixels = segmentation.get_pixels_by_source_instance(
            source_sop_instance_uids=[header.instance for header in series.headers],
            segment_numbers=numbers,
            assert_missing_frames_are_empty=True,
        )
    except Exception as error:  # highdicom raises many kinds
        raise DataError(
            path,
            f"a segmentation that does not fit series {series.uid} ({_last_line(error)})",
            "one of this series' slices",
        ) from None
    mask = pixels.any(axis=-1)
    if mask.shape != (len(series), *series.shape):
        raise _other_grid(path, series, f"{mask.shape} voxels", f"{(len(series), *series.shape)}")
    return np.asarray(mask, np.bool_)

"""CT phantoms as files: DICOM slices, a DICOM-SEG, LUNA16's MetaImage and LIDC's XML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.phantoms.ct_chest import Chest

if TYPE_CHECKING:
    from pydicom import Dataset

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
DIGITAL_XRAY = "1.2.840.10008.5.1.4.1.1.1.1"
PADDING = -2000
"""Stored outside of the scanner's circle, as GE scanners do."""


@dataclass(frozen=True)
class Naming:
    """Who a series is.

    Attributes:
        patient: its PatientID.
        study: its StudyInstanceUID.
        series: its SeriesInstanceUID.
    """

    patient: str
    study: str
    series: str

    def instance(self, index: int) -> str:
        """Return the SOPInstanceUID of a slice by its place from below."""
        return f"{self.series}.{index + 1}"


def uid(*names: object) -> str:
    """Return a UID that follows from some names."""
    from pydicom.uid import generate_uid

    return str(generate_uid(entropy_srcs=[str(name) for name in names]))[:56]


def write_series(
    folder: Path,
    chest: Chest,
    naming: Naming,
    names: Sequence[str],
    *,
    flipped: bool = False,
) -> list[Dataset]:
    """Write a CT series and return its slices from below.

    Instance numbers run from the head to the feet, and ``names`` may be in any order. Values are
    stored with an intercept of -1024.

    Args:
        folder: the series' folder; made if absent.
        chest: the patient.
        naming: who it is.
        names: a file name for each slice, from below.
        flipped: store rows and columns backwards, and say so in the orientation.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for index, name in enumerate(names):
        hu = chest.hu[index]
        outside = _outside(hu.shape[0])
        stored = np.where(outside, PADDING, hu.astype(np.int32) + 1024).astype(np.int16)
        slice_ = _slice(chest, naming, index, len(names), flipped)
        slice_.PixelData = (stored[::-1, ::-1] if flipped else stored).tobytes()
        slice_.save_as(folder / name, enforce_file_format=True)
        written.append(slice_)
    return written


def _outside(size: int) -> NDArray[np.bool_]:
    axis = np.arange(size) - (size - 1) / 2
    return np.asarray(np.hypot(axis[:, None], axis[None]) > size / 2)


def _dataset(sop_class: str, instance: str) -> Dataset:
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = sop_class, instance
    return made


def origin(chest: Chest) -> tuple[float, float, float]:
    """Return the centre of the lowest slice's first pixel, mm in the patient's system."""
    corner = -(chest.hu.shape[1] - 1) / 2 * chest.spacing
    return (corner, corner, -(len(chest.hu) - 1) / 2 * chest.slice_mm - 100)


def _slice(chest: Chest, naming: Naming, index: int, count: int, flipped: bool) -> Dataset:
    made = _dataset(CT_IMAGE, naming.instance(index))
    x, y, z = origin(chest)
    sign = -1 if flipped else 1
    values: dict[str, Any] = {
        "Modality": "CT",
        "Manufacturer": "PHANTOM",
        "PatientID": naming.patient,
        "PatientName": f"{naming.patient}^",
        "PatientBirthDate": "",
        "PatientSex": "",
        "StudyDate": "20000101",
        "StudyTime": "",
        "StudyID": "",
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        "StudyInstanceUID": naming.study,
        "SeriesInstanceUID": naming.series,
        "FrameOfReferenceUID": f"{naming.study}.9",
        "PositionReferenceIndicator": "",
        "SeriesNumber": 2,
        "InstanceNumber": count - index,
        "ImageOrientationPatient": [sign, 0, 0, 0, sign, 0],
        "ImagePositionPatient": [
            f"{value:.6f}" for value in (sign * x, sign * y, z + index * chest.slice_mm)
        ],
        "PixelSpacing": [f"{chest.spacing:.6f}"] * 2,
        "SliceThickness": f"{chest.slice_mm:.6f}",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": chest.hu.shape[1],
        "Columns": chest.hu.shape[2],
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "PixelPaddingValue": PADDING,
        "RescaleIntercept": -1024,
        "RescaleSlope": 1,
    }
    for key, value in values.items():
        setattr(made, key, value)
    return made


def write_radiograph(path: Path, naming: Naming, size: int = 32) -> None:
    """Write a small digital radiograph, as some patients of LIDC-IDRI have one."""
    made = _dataset(DIGITAL_XRAY, f"{naming.series}.1")
    made.Modality, made.PatientID = "DX", naming.patient
    made.StudyInstanceUID, made.SeriesInstanceUID = naming.study, naming.series
    made.Rows = made.Columns = size
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME1"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
    made.PixelData = np.zeros((size, size), np.uint16).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)


def write_segmentation(
    path: Path, slices: Sequence[Dataset], mask: NDArray[np.bool_], naming: Naming, *, lung: bool
) -> None:
    """Write a DICOM-SEG of one segment that refers to a series.

    Args:
        path: the file.
        slices: the series from below.
        mask: ``(slices, H, W)`` on its grid.
        naming: the segmentation's own study and series.
        lung: whether it is a lung, or else a nodule.
    """
    import highdicom
    from pydicom.sr.codedict import codes

    kind = codes.SCT.Lung if lung else codes.SCT.Nodule
    description = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label="Lungs" if lung else "Nodule",
        segmented_property_category=codes.SCT.AnatomicalStructure
        if lung
        else codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=kind,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
    )
    segmentation = highdicom.seg.Segmentation(
        source_images=list(slices),
        pixel_array=mask.astype(np.uint8),
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[description],
        series_instance_uid=naming.series,
        series_number=300,
        sop_instance_uid=f"{naming.series}.1",
        instance_number=1,
        manufacturer="PHANTOM",
        manufacturer_model_name="PHANTOM",
        software_versions="1",
        device_serial_number="1",
        omit_empty_frames=True,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    segmentation.save_as(path)


def write_luna16_mask(path: Path, chest: Chest, *, flipped: bool = False) -> None:
    """Write a chest's labels as MetaImage with compressed pixels beside it.

    Args:
        path: the ``.mhd`` file.
        chest: the patient.
        flipped: store x and y backwards, and say so in the direction.
    """
    import SimpleITK

    image: Any = SimpleITK.GetImageFromArray(
        chest.labels[:, ::-1, ::-1].copy() if flipped else chest.labels
    )
    x, y, z = origin(chest)
    sign = -1.0 if flipped else 1.0
    image.SetOrigin((sign * x, sign * y, z))
    image.SetSpacing((chest.spacing, chest.spacing, chest.slice_mm))
    image.SetDirection((sign, 0, 0, 0, sign, 0, 0, 0, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(path), useCompression=True)


def readings_xml(
    chest: Chest, naming: Naming, rng: np.random.Generator, *, flipped: bool = False
) -> str:
    """Return LIDC's XML of a chest: four readers, of whom the last overlooks the pleural nodule.

    The readers' radii differ; the first also marks a nodule below 3 mm and a non-nodule.
    """
    sessions = []
    for reader in range(4):
        nodules = []
        for number, nodule in enumerate(chest.nodules):
            if nodule.pleural and reader == 3:
                continue
            mask = chest.ball(nodule, nodule.radius + chest.spacing * rng.uniform(-0.6, 0.6))
            regions = "".join(
                _region(naming, index, ring_of(drawn[::-1, ::-1] if flipped else drawn), chest)
                for index, drawn in enumerate(mask)
                if drawn.any()
            )
            nodules.append(_nodule(f"Nodule {number + 1:03d}", regions, large=True))
        if reader == 0:
            middle = len(chest.hu) // 2
            point = _region(naming, middle, [(20, 20)], chest)
            nodules.append(_nodule("small", point, large=False))
            nodules.append(
                f"<nonNodule><nonNoduleID>1</nonNoduleID><imageSOP_UID>{naming.instance(middle)}"
                "</imageSOP_UID><locus><xCoord>9</xCoord><yCoord>9</yCoord></locus></nonNodule>"
            )
        sessions.append(
            "<readingSession><annotationVersion>3.12</annotationVersion>"
            f"<servicingRadiologistID>{reader}</servicingRadiologistID>{''.join(nodules)}"
            "</readingSession>"
        )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<LidcReadMessage uid="1" '
        'xmlns="http://www.nih.gov"><ResponseHeader><Version>1.8.1</Version>'
        f"<SeriesInstanceUid>{escape(naming.series)}</SeriesInstanceUid>"
        f"<StudyInstanceUID>{escape(naming.study)}</StudyInstanceUID></ResponseHeader>\n"
        + "\n".join(sessions)
        + "</LidcReadMessage>\n"
    )


def ring_of(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the first ring of pixels around a mask without holes, as (column, row)."""
    grown = cv2.dilate(mask.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)))
    contours, _ = cv2.findContours(grown, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [(int(x), int(y)) for x, y in max(contours, key=len)[:, 0]]


def _region(naming: Naming, index: int, points: Sequence[tuple[int, int]], chest: Chest) -> str:
    edges = "".join(
        f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>" for x, y in points
    )
    height = origin(chest)[2] + index * chest.slice_mm
    return (
        f"<roi><imageZposition>{height:.6f} </imageZposition>"
        f"<imageSOP_UID>{naming.instance(index)}</imageSOP_UID>"
        f"<inclusion>TRUE</inclusion>{edges}</roi>"
    )


def _nodule(name: str, regions: str, *, large: bool) -> str:
    told = "<characteristics><malignancy>3</malignancy></characteristics>" if large else ""
    return f"<unblindedReadNodule><noduleID>{name}</noduleID>{told}{regions}</unblindedReadNodule>"

"""Masks of a DICOM film as a DICOM segmentation, on the pixels that the film's file stores."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from contract.arrays import Mask
from datamodules.sources.dicom.header import Turn
from datamodules.sources.dicom.objects import open_dicom, text_of

if TYPE_CHECKING:
    from pydicom import Dataset

REFERRED_TO = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
"""What a film must state to be referred to."""
MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID",
    "StudyDate", "StudyTime",
)  # fmt: skip
"""What a segmentation takes over, empty where the film does not state it."""
_MAKER = "lungbench"
_CODES = {
    "lungs": ("39607008", "Lung"),
    "left_lung": ("44029006", "Left lung"),
    "right_lung": ("3341006", "Right lung"),
    "heart": ("80891009", "Heart"),
}
"""Of SNOMED CT."""


class NoSegmentationError(Exception):
    """A film's file cannot be referred to by a segmentation; the message says why."""


def as_dicom_seg(film: Path, turn: Turn, masks: Mapping[str, Mask], model: str) -> bytes:
    """Return masks as a DICOM-SEG file, a binary segment a structure.

    It carries the patient's and the study's identity as the film's file states them.

    Args:
        film: the DICOM file.
        turn: how its stored pixels became the film that was segmented.
        masks: each structure's mask ``(H, W)`` on that film.
        model: what predicted them, in words.

    Raises:
        NoSegmentationError: if the film's header does not serve.
    """
    import highdicom
    from pydicom.uid import generate_uid

    header = _source(film)
    stored = np.stack([turn.back(mask) for mask in masks.values()], axis=-1)[None]
    seen = hashlib.blake2b(stored.tobytes()).hexdigest()
    made_of = [str(header.SOPInstanceUID), model, seen]
    try:
        segmentation = highdicom.seg.Segmentation(
            source_images=[header],
            pixel_array=stored.astype(np.uint8),
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[_described(n, name) for n, name in enumerate(masks, 1)],
            series_instance_uid=generate_uid(entropy_srcs=["series", *made_of]),
            series_number=1,
            sop_instance_uid=generate_uid(entropy_srcs=["object", *made_of]),
            instance_number=1,
            manufacturer=_MAKER,
            manufacturer_model_name=model[:64],
            software_versions=version(_MAKER),
            device_serial_number="none",
            content_description="Research software, not a medical device",
            omit_empty_frames=False,
        )
    except Exception as error:  # highdicom and pydicom raise many kinds for odd headers
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise NoSegmentationError(said) from error
    content = io.BytesIO()
    segmentation.save_as(content)
    return content.getvalue()


def _source(film: Path) -> Dataset:
    """Return a film's header with all that a segmentation refers to or takes over."""
    header = open_dicom(film, pixels=False, force=True)
    missing = [name for name in REFERRED_TO if not text_of(header, name)]
    if missing:
        raise NoSegmentationError(f"the film's header has no {', '.join(missing)}")
    for name in MAY_BE_EMPTY:
        if name not in header:
            setattr(header, name, "")
    if not text_of(header, "Modality"):
        header.Modality = "OT"
    # Of a film the spacing alone would be taken over, without the thickness that readers ask for;
    # it stands in the film's own header.
    header.pop("PixelSpacing", None)
    return header


def _described(number: int, structure: str) -> Any:
    import highdicom
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    value, meaning = _CODES[structure]
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=structure,
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=Code(value, "SCT", meaning),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=_MAKER, family=codes.DCM.ArtificialIntelligence, version=version(_MAKER)
        ),
    )

"""Montgomery County chest X-rays with separate left and right lung masks.

Jaeger et al., "Two public chest X-ray datasets for computer-aided screening of pulmonary
diseases", Quantitative Imaging in Medicine and Surgery 4(6), 2014.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contract.arrays import Spacing
from datamodules.sources.base import Case, check_sides
from datamodules.sources.files import list_files
from datamodules.sources.official_source import OfficialSource

FILM_SHAPES = {(4892, 4020), (4020, 4892)}
"""Shapes of the official films, portrait and landscape; resized copies lost their spacing."""


class MontgomerySource(OfficialSource):
    """``MontgomerySet/``: 138 films (80 normal, 58 with tuberculosis)."""

    name = "montgomery"
    folder_name = "MontgomerySet"
    structures = ("lungs", "left_lung", "right_lung")
    ids_file = "montgomery.txt"
    same_patient = (
        ("MCUCXR_0264_1", "MCUCXR_0313_1", "MCUCXR_0316_1"),
        ("MCUCXR_0052_0", "MCUCXR_0053_0"),
        ("MCUCXR_0166_1", "MCUCXR_0170_1"),
        ("MCUCXR_0254_1", "MCUCXR_0255_1"),
        ("MCUCXR_0367_1", "MCUCXR_0369_1"),
        ("MCUCXR_0030_0", "MCUCXR_0031_0"),
        ("MCUCXR_0057_0", "MCUCXR_0062_0"),
    )
    download = (
        "data.lhncbc.nlm.nih.gov, Montgomery County CXR set (free for research, cite Jaeger 2014)"
    )

    @classmethod
    def stratum(cls, case_id: str) -> str:
        """Return ``tb`` for the suffix ``_1``, otherwise ``normal``."""
        return "tb" if case_id.endswith("_1") else "normal"

    def _images(self) -> Mapping[str, Path]:
        files = list_files(self.folder / "CXR_png")
        return {Path(name).stem: path for name, path in files.items() if name.endswith(".png")}

    def _mask_folders(self) -> Sequence[tuple[str, Path]]:
        folder = self.folder / "ManualMask"
        return [("left", folder / "leftMask"), ("right", folder / "rightMask")]

    def _mask_names(self, case_id: str) -> Mapping[str, Sequence[tuple[str, str]]]:
        left, right = ("left", f"{case_id}.png"), ("right", f"{case_id}.png")
        return {"lungs": (left, right), "left_lung": (left,), "right_lung": (right,)}

    def read_masks(self, case: Case, shape: tuple[int, int]) -> dict[str, NDArray[np.bool_]]:
        """Return each structure's mask ``(H, W)``.

        Raises:
            DataError: as ``Source.read_masks``, or if the left lung is not at the image's right.
        """
        masks = super().read_masks(case, shape)
        check_sides(case.masks["left_lung"][0], masks)
        return masks

    def spacing(self, shape: tuple[int, int]) -> Spacing | None:
        """Return 0.0875 mm for films of the official size, None for resized copies."""
        return (0.0875, 0.0875) if tuple(shape) in FILM_SHAPES else None

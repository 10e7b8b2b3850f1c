"""Shenzhen Hospital chest X-rays with the lung masks of Stirenko et al.

Images: Jaeger et al. 2014 (see ``montgomery``). Masks: Stirenko et al., "Chest X-ray analysis of
tuberculosis by deep learning with segmentation and augmentation", IEEE ELNANO 2018.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from contract.arrays import Spacing
from contract.errors import DataError
from datamodules.sources.files import list_files
from datamodules.sources.official_source import OfficialSource

MASK_FOLDERS = ("mask", "masks", "shcxr-lung-mask/mask/mask", "shcxr-lung-mask/mask")


class ShenzhenSource(OfficialSource):
    """``ChinaSet_AllFiles/``: 662 films, of which 566 have one mask file for both lungs."""

    name = "shenzhen"
    folder_name = "ChinaSet_AllFiles"
    structures = ("lungs",)
    ids_file = "shenzhen_masks.txt"
    same_patient = (("CHNCXR_0477_1", "CHNCXR_0605_1"),)
    download = (
        "images: data.lhncbc.nlm.nih.gov, Shenzhen Hospital CXR set (free for research, cite "
        "Jaeger 2014); masks: Kaggle yoctoman/shcxr-lung-mask (CC BY-NC-SA 4.0)"
    )

    @classmethod
    def stratum(cls, case_id: str) -> str:
        """Return ``tb`` for the suffix ``_1``, otherwise ``normal``."""
        return "tb" if case_id.endswith("_1") else "normal"

    def _images(self) -> Mapping[str, Path]:
        files = list_files(self.folder / "CXR_png")
        return {Path(name).stem: path for name, path in files.items() if name.endswith(".png")}

    def _mask_folders(self) -> Sequence[tuple[str, Path]]:
        places = [base / name for base in (self.folder, self.root) for name in MASK_FOLDERS]
        for place in places:
            if place.is_dir() and any(place.glob("*_mask.png")):
                return [("lungs", place)]
        raise DataError(
            self.folder,
            "images without masks",
            f"*_mask.png in one of {', '.join(MASK_FOLDERS)}",
            f"download the masks: {self.download}",
        )

    def _mask_names(self, case_id: str) -> Mapping[str, Sequence[tuple[str, str]]]:
        return {"lungs": (("lungs", f"{case_id}_mask.png"),)}

    def spacing(self, shape: tuple[int, int]) -> Spacing | None:
        """Return None: the release does not state its pixel spacing."""
        return None

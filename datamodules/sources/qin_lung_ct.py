"""QIN Lung CT: 47 patients' contrast CT scans; no lung masks are public, so they are computed.

Goldgof et al., "Data from QIN Lung CT", The Cancer Imaging Archive, 2015.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datamodules.sources.ct.scan import CTSource, Scan


class QINLungCTSource(CTSource):
    """``QIN LUNG CT/``: one CT series a patient; DICOM-SEG series of nodules are left out."""

    name = "qin_lung_ct"
    folder_name = "QIN LUNG CT"
    released, released_masks = 47, 47
    download = "TCIA, collection QIN LUNG CT (CC BY 3.0, cite Goldgof 2015)"
    where_masks = "put your own masks into QIN LUNG CT/lung-masks/<series uid>.nii.gz"

    def _public_masks(self, uid: str) -> tuple[tuple[Path, ...] | None, str]:
        return (), "pseudo"

    def _lungs(self, scan: Scan) -> tuple[NDArray[np.bool_], NDArray[np.int16] | None]:
        if scan.reference != "pseudo":
            return super()._lungs(scan)
        series = scan.series
        volume = np.empty((len(series), *series.shape), np.int16)
        for index in range(len(series)):
            volume[index] = series.read_slice(index)
        from datamodules.sources.ct.pseudo_masks import pseudo_mask

        return pseudo_mask(volume, series.spacing, series.slice_mm), volume

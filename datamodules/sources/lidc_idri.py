"""LIDC-IDRI: 1018 chest CT scans with four radiologists' nodules; lung masks from LUNA16.

Armato et al., "The Lung Image Database Consortium (LIDC) and Image Database Resource Initiative
(IDRI)", Medical Physics 38(2), 2011. Setio et al., "Validation, comparison, and combination of
algorithms for automatic detection of pulmonary nodules", Medical Image Analysis 42, 2017 (LUNA16).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from contract.errors import DataError
from datamodules.sources.ct.headers import walk
from datamodules.sources.ct.lung_masks import find_volume, volume_files
from datamodules.sources.ct.nodule_xml import CT_ROOT, read_nodule_readings
from datamodules.sources.ct.nodules import Nodule, consensus
from datamodules.sources.ct.scan import CTSource, Scan

XML_FOLDER = "tcia-lidc-xml"
LUNA16_MASKS = Path("LUNA16") / "seg-lungs-LUNA16"
_SERIES = re.compile(r"<SeriesInstanceUid>\s*([0-9.]+)\s*</SeriesInstanceUid>", re.IGNORECASE)


class LIDCIDRISource(CTSource):
    """``LIDC-IDRI/`` in TCIA's old or new tree, with LUNA16's masks beside it."""

    name = "lidc_idri"
    folder_name = "LIDC-IDRI"
    released, released_masks = 1018, 888
    download = "TCIA, collection LIDC-IDRI (CC BY 3.0, cite Armato 2011)"
    where_masks = (
        "download seg-lungs-LUNA16 (luna16.grand-challenge.org or Zenodo, CC BY 4.0) to "
        "LUNA16/seg-lungs-LUNA16/<series uid>.mhd; or put your own masks into "
        "LIDC-IDRI/lung-masks/<series uid>.nii.gz"
    )

    def _public_masks(self, uid: str) -> tuple[tuple[Path, ...] | None, str]:
        path = find_volume(self.root / LUNA16_MASKS, uid)
        return (None, "automatic") if path is None else (volume_files(path), "automatic")

    def _readings(self, uid: str, beside: Sequence[Path]) -> Path | None:
        if len(beside) > 1:
            raise DataError(
                beside[1],
                f"a second XML file beside series {uid} ({beside[0].name})",
                "one reading a series",
                "remove what does not belong to it",
            )
        return beside[0] if beside else self._separate_readings.get(uid)

    @cached_property
    def _separate_readings(self) -> dict[str, Path]:
        """The readings that TCIA offers apart from the series, by SeriesInstanceUID."""
        found = {}
        for home in (self.folder / XML_FOLDER, self.root / XML_FOLDER):
            for _, files in walk(home) if home.is_dir() else ():
                for path in files:
                    if path.suffix.lower() == ".xml":
                        with path.open(encoding="utf-8", errors="replace") as file:
                            start = file.read(1 << 13)
                        named = _SERIES.search(start)
                        if CT_ROOT in start and named:
                            found[named[1]] = path
        return found

    def nodules(self, scan: Scan) -> tuple[Nodule, ...]:
        """Return the nodules of 3 mm and more that at least one of the readers outlined.

        Raises:
            DataError: if the XML is damaged or another series'.
        """
        if scan.readings is None:
            return ()
        readings = read_nodule_readings(scan.readings)
        if readings is None:
            raise DataError(
                scan.readings,
                "XML of another kind",
                f"the {CT_ROOT} of series {scan.case_id}",
                "put it beside the radiograph that it belongs to",
            )
        return consensus(scan.readings, readings, scan.series)

"""A user's own data set of chest films, described by a YAML file and no code.

A protocol's ``train`` and ``test`` may name such a file instead of a data set. Its keys::

    name: my_hospital          # the data set's name in tables; the file's stem unless given
    images: films              # a folder of images, and
    masks: lung_masks          # a folder of masks; or one for each structure:
    #   {left_lung: left, right_lung: right, heart: hearts}
    image_name: "{id}.*"       # how names tell the case id; "{id}.*" unless given
    mask_name: "{id}_mask.png"
    nnunet: Dataset001_Lungs   # instead of the four: imagesTr/, labelsTr/ and dataset.json
    labels: {left_lung: 1, right_lung: 2, heart: [3, 4]}   # what one mask file holds
    table: patients.csv        # optional
    spacing_mm: 0.143          # optional; or [down, along]
    bits: 12                   # optional, significant bits of 16-bit images
    title: ...                 # for people, as are notes

**Paths** are looked for beside the YAML file, then below the data root. Only the files of a folder
whose names fit the pattern and whose endings are ``.png .jpg .jpeg .tif .tiff .bmp .dcm .dicom
.nii .nii.gz .mha .mhd .nrrd`` count; each image needs its mask, each mask its image, and the
table, where there is one, a line for each of them.

**Images** are read as ``predict`` reads them (``datamodules.sources.films``), turned upright where
a file says how; masks must be upright too. 16-bit PNG and TIFF files are scaled by the range of
``bits``, or of the bits that nearly all of their values need. Images must show bone bright. Films
and masks in NIfTI and other volume files are of one slice (``datamodules.sources.flat_volumes``).

**Masks** have their image's size. Without ``labels`` they are binary: 0 and one other value or
colour, with smooth edges or without; where all colours are one and alpha varies, alpha is the mask.
Whatever else they hold is refused with the values found and the ``labels`` to state. Labels are
grey values or palette indices (``1``), colours (``"#ff0000"``), pages (``"page 2"``) or ``alpha``;
values and colours must be lossless, and what no structure claims is background. ``lungs`` is
needed, or both sides, whose union it then is. ``left_lung`` is the patient's, at the image's right,
which is checked. nnU-Net's ``dataset.json`` names the labels unless ``labels`` does. Masks may lie
among the images, told apart by ``mask_name``, which may be one pattern for each structure:
``{left_lung: "{id}_left.png", right_lung: "{id}_right.png"}``.

**The table** is a CSV file with the columns ``case_id`` and any of ``patient_id`` (films of one
patient never stand on both sides of a split), ``stratum`` (by which splits are stratified;
``subgroup`` unless given), ``spacing_mm`` or ``spacing_row`` and ``spacing_col``. All others
(``subgroup``, ``sex``, ``age``, ``view`` …) are attributes of the case. What it leaves open comes
from headers: of DICOM spacing, sex, age, view and a digest of the patient's id, of NIfTI the
spacing. The table's spacing goes before the YAML file's, and that before a header's. ``nan``,
``NA``, ``None`` and the like in the columns of patient and spacing are empty cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contract.arrays import Spacing
from contract.errors import DataError
from contract.words import STRUCTURES
from datamodules.sources.base import Case
from datamodules.sources.dicom import FilmHeader, read_film_header
from datamodules.sources.files import DICOM_ENDINGS, VOLUME_ENDINGS, open_image, orientation_of
from datamodules.sources.films import Film, is_dicom, read_film
from datamodules.sources.flat_volumes import FlatVolume
from datamodules.sources.masks import LabelValue
from datamodules.sources.own_files import content_of, files_by_id, without_masks
from datamodules.sources.own_masks import SIDEWAYS, OwnMasks
from datamodules.sources.own_source import OwnSource
from datamodules.sources.own_table import CaseEntry, read_case_table
from datamodules.sources.volume_files import is_volume_file

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
MASK_ENDINGS = (*PICTURE_ENDINGS, *VOLUME_ENDINGS)


class OwnData(OwnSource):
    """The reader of a data set that a YAML file describes.

    Args:
        file: the YAML file.
        root: the data root, where paths that are not beside the file are looked for.

    Raises:
        UserError: if a key of the file is unknown, missing or wrong.
        DataError: if a folder or file that it names does not exist.
    """

    def __init__(self, file: Path, root: Path) -> None:
        super().__init__(file, root)
        self._reader = OwnMasks(self._about)
        known = set(self._about.labels or self._about.masks) - {""}
        self.structures = tuple(name for name in STRUCTURES if name in known | {"lungs"})

    @cached_property
    def official_ids(self) -> tuple[str, ...]:
        """Sorted ids of all images."""
        return tuple(sorted(self._images))

    @cached_property
    def _images(self) -> Mapping[str, Path]:
        endings = (*PICTURE_ENDINGS, *DICOM_ENDINGS, *VOLUME_ENDINGS)
        images = files_by_id(self.folder, self._about.image_name, endings)
        if any(folder.resolve() == self.folder.resolve() for folder in self._about.masks.values()):
            images = without_masks(images, self._named_masks.values())
        if not images:
            raise DataError(
                self.folder,
                f"no image called {self._about.image_name} (there: {content_of(self.folder)})",
                "images in one of the formats PNG, JPEG, TIFF, BMP, DICOM, NIfTI",
                f"mend image_name or the folder in {self._about.file}",
            )
        first = min(images.values())
        if is_volume_file(first):
            FlatVolume(first)  # refuses CT volumes before any is prepared
        return images

    @cached_property
    def _masks(self) -> Mapping[str, Mapping[str, Path]]:
        images = frozenset(self._images.values())
        return {
            structure: {case_id: path for case_id, path in files.items() if path not in images}
            for structure, files in self._named_masks.items()
        }

    @cached_property
    def _named_masks(self) -> Mapping[str, Mapping[str, Path]]:
        return {
            structure: files_by_id(folder, self._about.mask_names[structure], MASK_ENDINGS)
            for structure, folder in self._about.masks.items()
        }

    def cases(self) -> list[Case]:
        """Return every case, sorted by id.

        Raises:
            DataError: if an image, a mask or a line of the table lacks its counterparts.
        """
        masks = self._masks
        for structure, folder in self._about.masks.items():
            self._require_ids(folder, set(masks[structure]), "mask")
        rows: Mapping[str, CaseEntry] = {}
        if self._about.table is not None:
            rows = read_case_table(self._about.table)
            self._require_ids(self._about.table, set(rows), "line")
        return [
            self._case(
                case_id,
                {structure: files[case_id] for structure, files in masks.items()},
                rows.get(case_id, CaseEntry()),
            )
            for case_id in self.official_ids
        ]

    def _case(self, case_id: str, masks: Mapping[str, Path], row: CaseEntry) -> Case:
        image = self._images[case_id]
        header = _header(image)
        files: dict[str, tuple[Path, ...]]
        if "" in masks:
            files = dict.fromkeys(self.structures, (masks[""],))
        else:
            files = {structure: (path,) for structure, path in masks.items()}
        if "lungs" not in files:
            files["lungs"] = (masks["left_lung"], masks["right_lung"])
        return Case(
            dataset=self.name,
            case_id=case_id,
            patient_id=row.patient or header.patient or case_id,
            stratum=row.stratum,
            image=image,
            masks=files,
            attributes={**header.attributes, **row.attributes},
            spacing=row.spacing or self._about.spacing or header.spacing,
            described_by=self._about.files,
        )

    def read_image(self, case: Case) -> NDArray[np.uint8]:
        """Return the image as grey values ``(H, W)`` in 0..255; see ``read_film``.

        Raises:
            DataError: if the file is damaged or of an unknown kind.
        """
        return self.read_film(case).pixels

    def read_film(self, case: Case) -> Film:
        """Return the image as ``predict`` reads it, with what is to be said of it.

        Raises:
            DataError: if the file is damaged or of an unknown kind.
        """
        return read_film(case.image, self._about.bits, force=True)

    def film_shape(self, case: Case) -> tuple[int, int] | None:
        """Return (height, width) of a case's film as it is shown; None for DICOM files.

        Raises:
            DataError: if the file is damaged.
        """
        if is_volume_file(case.image):
            return FlatVolume(case.image).shape
        if is_dicom(case.image):
            return None
        with open_image(case.image) as image:
            (width, height), turned = image.size, image.format == "TIFF"  # turned by Pillow
            sideways = not turned and orientation_of(image) >= SIDEWAYS
        return (width, height) if sideways else (height, width)

    def read_masks(self, case: Case, shape: tuple[int, int]) -> dict[str, NDArray[np.bool_]]:
        """Return each structure's mask ``(H, W)``; single structures may be empty.

        Raises:
            DataError: see ``OwnMasks.read``.
        """
        return self.masks_and_levels(case, shape)[0]

    def masks_and_levels(
        self, case: Case, shape: tuple[int, int] | None
    ) -> tuple[dict[str, NDArray[np.bool_]], dict[str, LabelValue]]:
        """Return the masks, and the level of each binary file's foreground; as ``OwnMasks.read``.

        Raises:
            DataError: see ``OwnMasks.read``.
        """
        masks, levels = self._reader.read(case, shape)
        return {structure: masks[structure] for structure in self.structures}, levels

    def spacing(self, shape: tuple[int, int]) -> Spacing | None:
        """Return the YAML file's spacing; cases may have their own."""
        return self._about.spacing


def _header(image: Path) -> FilmHeader:
    if is_volume_file(image):
        return FilmHeader(spacing=FlatVolume(image).spacing)
    return read_film_header(image) if is_dicom(image) else FilmHeader()

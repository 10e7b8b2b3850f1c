"""What a data set's reader offers: its cases, and each case's image, masks and spacing."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, reduce
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from contract.arrays import Spacing
from contract.errors import DataError, MissingDataError
from datamodules.sources.files import read_pixels
from datamodules.sources.masks import read_mask

PHANTOM_MARKER = "PHANTOM_DATA.json"
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")


@dataclass(frozen=True)
class Case:
    """One image, or one CT scan, with its reference masks.

    Attributes:
        dataset: the data set's name.
        case_id: the official id, unique within the data set.
        patient_id: films of one patient share it.
        stratum: the finding by which splits are stratified (``normal``, ``tb``, ``nodule``).
        image: the image file.
        masks: for each structure the mask files whose union is its mask.
        attributes: what the clinical files tell (``sex``, ``age`` in years, ``view``,
            ``finding``, or the columns of a user's table); what they leave open is left out.
        spacing: the case's own pixel spacing, where it is stated for each image.
        described_by: files that say how the others are to be read.
        reference: what its masks are: ``plain`` (drawn by people), ``automatic`` or ``pseudo``.
    """

    dataset: str
    case_id: str
    patient_id: str
    stratum: str
    image: Path
    masks: Mapping[str, tuple[Path, ...]]
    attributes: Mapping[str, str] = field(default_factory=dict)
    spacing: Spacing | None = None
    described_by: tuple[Path, ...] = ()
    reference: str = "plain"

    @property
    def mask_files(self) -> tuple[Path, ...]:
        """Every mask file, each once."""
        return tuple(dict.fromkeys(path for paths in self.masks.values() for path in paths))

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that decides on the case's pixels, each once, the image first."""
        return tuple(dict.fromkeys((self.image, *self.mask_files, *self.described_by)))


@dataclass(frozen=True)
class Gap:
    """A case that the data set should have and what of it is missing.

    Attributes:
        case_id: the case.
        image: whether its image is missing.
        masks: the structures whose masks are missing.
    """

    case_id: str
    image: bool
    masks: tuple[str, ...]

    @property
    def lacks(self) -> str:
        """The missing parts in words."""
        parts = ["image"] if self.image else []
        parts += [f"mask ({', '.join(self.masks)})"] if self.masks else []
        return " and ".join(parts)


class Source(ABC):
    """The reader of one data set.

    Args:
        root: the data root, which holds the data sets' folders side by side.
    """

    name: str
    unit: ClassVar[Literal["image", "scan"]] = "image"
    """What a case is: one image, or one CT scan of many slices."""
    structures: tuple[str, ...]
    download: str
    """Where a user gets the data set, and under which terms."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    @property
    @abstractmethod
    def folder(self) -> Path:
        """The folder that holds the images, or should."""

    @cached_property
    def phantom(self) -> Mapping[str, object] | None:
        """The marker of a synthetic set, or None for the real one."""
        return read_marker(self.folder)

    @property
    @abstractmethod
    def official_ids(self) -> tuple[str, ...]:
        """Sorted ids of the cases that the data set must have."""

    @property
    def official_share(self) -> float:
        """Cases found as a share of the official release: 1 for real data, less for phantoms."""
        return 1.0

    def require_folder(self) -> None:
        """Raise ``MissingDataError`` where the data set is absent altogether.

        Raises:
            DataError: if something else stands in its place: a file, a packed archive, a broken
                link, or a folder that cannot be reached.
        """
        try:
            next(self.folder.iterdir(), None)
            return
        except FileNotFoundError:
            pass
        except NotADirectoryError:
            raise DataError(
                self.folder, "a file", "the data set's folder", "unpack the archive there"
            ) from None
        except OSError as error:
            raise DataError(
                self.folder,
                f"no readable folder ({error.strerror})",
                "the data set's folder",
                "check its permissions",
            ) from None
        if self.folder.is_symlink():
            raise DataError(
                self.folder, "a broken link", "the data set's folder", "mend or remove the link"
            )
        for suffix in ARCHIVES:
            archive = self.folder.with_name(self.folder.name + suffix)
            if archive.exists():
                raise DataError(
                    archive, "a packed archive", f"the folder {self.folder.name}", "unpack it"
                )
        raise MissingDataError(
            self.folder, "nothing", f"the data set {self.name}", f"download it: {self.download}"
        )

    @abstractmethod
    def cases(self) -> list[Case]:
        """Return every case, sorted by id.

        Raises:
            MissingDataError: if the data set is absent.
            DataError: if a file is missing, naming it.
        """

    def survey(self) -> tuple[list[Case], list[Gap]]:
        """Return the complete cases, and what the others lack.

        Raises:
            MissingDataError: if the data set is absent.
            DataError: if a folder is missing or unreadable.
        """
        return self.cases(), []

    def read_image(self, case: Case) -> NDArray[np.uint8]:
        """Return the image as grey values ``(H, W)`` in 0..255, bone bright.

        Raises:
            DataError: if the file is unreadable or of another kind than the release's.
        """
        return read_pixels(case.image)

    def read_masks(self, case: Case, shape: tuple[int, int]) -> dict[str, NDArray[np.bool_]]:
        """Return each structure's reference mask ``(H, W)``, on a grid of its own.

        Args:
            case: the case.
            shape: the image's (height, width), which the masks must match in this layout.

        Raises:
            DataError: if a mask is unreadable, empty or of another size than its image.
        """
        masks = {}
        decoded = {path: read_mask(path) for path in case.mask_files}
        for path, mask in decoded.items():
            self._check_mask_shape(path, mask.shape, shape)
        for structure, paths in case.masks.items():
            masks[structure] = reduce(np.logical_or, [decoded[path] for path in paths])
            if not masks[structure].any():
                raise DataError(
                    paths[0],
                    f"an empty mask of {structure}",
                    "some foreground",
                    "download the mask again",
                )
        return masks

    def _check_mask_shape(self, path: Path, found: tuple[int, ...], image: tuple[int, int]) -> None:
        if found != image:
            raise DataError(
                path,
                f"a mask of {found[1]}×{found[0]} pixels",
                f"its image's {image[1]}×{image[0]}",
                "download image and mask again from one source",
            )

    @abstractmethod
    def spacing(self, shape: tuple[int, int]) -> Spacing | None:
        """Return the pixel spacing of an image of that shape, or None where it is unknown."""

    def spacing_of(self, case: Case, shape: tuple[int, int]) -> Spacing | None:
        """Return a case's pixel spacing: its own where stated, otherwise by the image's shape."""
        return case.spacing or self.spacing(shape)


def read_marker(folder: Path) -> Mapping[str, object] | None:
    """Return the marker of a synthetic set's folder, or None where there is none.

    Raises:
        DataError: if the marker is no JSON mapping.
    """
    marker = folder / PHANTOM_MARKER
    if not marker.is_file():
        return None
    try:
        return dict(json.loads(marker.read_text()))
    except (ValueError, TypeError) as error:
        raise DataError(marker, f"no JSON ({error})", todo="write the phantoms anew") from None


def check_sides(where: Path, masks: Mapping[str, NDArray[np.bool_]]) -> None:
    """Require the patient's left lung at the image's right.

    Args:
        where: the mask file that an error names.
        masks: masks ``(H, W)`` by structure; without both lungs there is nothing to check.

    Raises:
        DataError: if the left lung's centroid is not to the right of the right lung's.
    """
    sides = [masks.get(side) for side in ("left_lung", "right_lung")]
    left, right = (None if m is None or not m.any() else _centre_column(m) for m in sides)
    if left is not None and right is not None and left <= right:
        raise DataError(
            where,
            f"the left lung at column {left:.0f}, the right lung at column {right:.0f}",
            "the patient's left lung at the image's right",
            "exchange the masks, or mirror the images back",
            kind="sides_exchanged",
        )


def _centre_column(mask: NDArray[np.bool_]) -> float:
    counts = mask.sum(axis=0)
    return float(np.average(np.arange(mask.shape[1]), weights=counts))

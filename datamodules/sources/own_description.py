"""The YAML file that describes a user's own data set; its keys stand in ``own_data``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import Field

from contract.arrays import Spacing
from contract.errors import DataError, UserError
from contract.language import Name, check_settings
from contract.names import require_name
from contract.words import LABEL_PATTERN, STRUCTURES
from contract.yaml_files import read_mapping
from datamodules.sources.mask_labels import parse_label_value, require_one_kind
from datamodules.sources.masks import Labels, LabelValue

NNUNET_CHANNEL = "_0000"


Structure = Literal["lungs", "left_lung", "right_lung", "heart"]
StatedValue = Annotated[int, Ge(0)] | Annotated[str, Field(pattern=LABEL_PATTERN)]
Millimetres = Annotated[float, Gt(0), Lt(1000)]


@dataclass(frozen=True)
class OwnDataKeys:
    """The keys of the YAML file; ``own_data`` tells more of files and their names.

    Attributes:
        name: the data set's name in tables; the file's stem unless given.
        title: one line for people.
        notes: what people should know about it.
        images: the folder of images; paths are looked for beside the YAML file, then below the
            data root.
        masks: the folder of masks, or one folder for each structure.
        image_name: how an image's name tells its case id, ``{id}.*`` unless given.
        mask_name: the same for masks, or one pattern for each structure.
        nnunet: instead of these four, a folder in nnU-Net's layout.
        labels: what each structure is in mask files: grey values or palette indices (``1``),
            colours (``"#ff0000"``), pages (``"page 2"``) or ``alpha``, one or a list; without them
            masks are binary.
        table: a CSV file of patients, subgroups and spacing, by case id.
        spacing_mm: mm from one pixel to the next, or ``[down, along]``.
        bits: significant bits of 16-bit images, all 16 unless given.
        unit: what a case is: a film (``image``), or a CT ``scan`` in a volume file; ``own_scans``
            tells more of these.
    """

    name: Name = ""
    title: str = ""
    notes: Mapping[str, Any] | str = ""
    images: str = ""
    masks: str | Mapping[Structure, str] = ""
    image_name: str = "{id}.*"
    mask_name: str | Mapping[Structure, str] = "{id}.*"
    nnunet: str | None = None
    labels: Mapping[Structure, StatedValue | tuple[StatedValue, ...]] | None = None
    table: str | None = None
    spacing_mm: Millimetres | tuple[Millimetres, Millimetres] | None = None
    bits: Annotated[int, Ge(8), Le(16)] | None = None
    unit: Literal["image", "scan"] = "image"


@dataclass(frozen=True)
class Description:
    """A user's data set, every path resolved.

    Attributes:
        file: the YAML file.
        name: the data set's name.
        images: the folder of images.
        image_name: the pattern of their names, ``{id}`` standing for the case id.
        masks: the folders of masks by structure; ``""`` for one folder of all structures.
        mask_names: the pattern of their names, by the same keys as ``masks``.
        labels: label values by structure, or None where each mask is binary.
        table: the CSV file, or None.
        spacing: mm from one pixel to the next, down and along, of all images, or None.
        bits: significant bits of 16-bit images, or None for all 16.
        unit: what a case is, ``image`` or ``scan``.
        files: all files that were read to know this.
    """

    file: Path
    name: str
    images: Path
    image_name: str
    masks: Mapping[str, Path]
    mask_names: Mapping[str, str]
    labels: Labels | None
    table: Path | None
    spacing: Spacing | None
    bits: int | None
    unit: Literal["image", "scan"]
    files: tuple[Path, ...]


def read_description(file: Path, root: Path) -> Description:
    """Read and check a description.

    Args:
        file: the YAML file.
        root: the data root; paths are looked for beside the YAML file first, then here.

    Raises:
        UserError: if a key is unknown, missing or wrong, naming it.
        DataError: if a folder or file that it names does not exist.
    """
    keys = read_mapping(file, "images and masks, or nnunet")
    check_settings(OwnDataKeys, keys, file)
    return _Reader(file, root, keys).description()


class _Reader:
    def __init__(self, file: Path, root: Path, keys: dict[Any, Any]) -> None:
        self._file, self._root, self._keys = file, root, keys

    def description(self) -> Description:
        name = require_name(self._keys.get("name", self._file.stem), f"{self._file}: name")
        nnunet = self._keys.get("nnunet")
        labels_from: tuple[Path, ...] = ()
        if nnunet is None:
            images, masks, image_name, mask_names = self._plain()
            labels = self._labels()
            if labels is not None and "" not in masks:
                raise self._fault(
                    "labels", "labels beside a mask folder for each structure", "none"
                )
        else:
            for key in ("images", "masks", "image_name", "mask_name"):
                if key in self._keys:
                    raise self._fault(key, "it beside nnunet", "one of the two layouts")
            home = self._path("nnunet", nnunet)
            images, masks = home / "imagesTr", {"": home / "labelsTr"}
            dataset = read_dataset_json(home / "dataset.json")
            ending = dataset.get("file_ending", ".png")
            image_name, mask_names = f"{{id}}{NNUNET_CHANNEL}{ending}", {"": f"{{id}}{ending}"}
            _require_single_channel(home / "dataset.json", dataset)
            labels_from = (home / "dataset.json",)
            labels = self._labels() or nnunet_labels(home / "dataset.json", dataset)
        table = self._keys.get("table")
        table = None if table is None else self._path("table", table)
        return Description(
            file=self._file,
            name=name,
            images=images,
            image_name=image_name,
            masks=masks,
            mask_names=mask_names,
            labels=labels,
            table=table,
            spacing=self._spacing(),
            bits=self._bits(),
            unit=self._keys.get("unit", "image"),
            files=(self._file, *labels_from, *([table] if table else [])),
        )

    def _fault(self, key: str, found: str, expected: str) -> UserError:
        return UserError(f"{self._file}: {key}", found, expected, "mend the file")

    def _path(self, key: str, value: object) -> Path:
        if not isinstance(value, str) or not value:
            raise self._fault(key, repr(value), "a path")
        places = [self._file.parent / value, self._root / value]
        for place in places:
            if place.exists():
                return place
        looked = " or ".join(str(place) for place in dict.fromkeys(places))
        raise DataError(f"{self._file}: {key}", "nothing there", looked, "mend the path")

    def _plain(self) -> tuple[Path, dict[str, Path], str, dict[str, str]]:
        for key in ("images", "masks"):
            if key not in self._keys:
                raise self._fault(key, "it missing", "images and masks, or nnunet")
        images, stated = self._path("images", self._keys["images"]), self._keys["masks"]
        names = self._keys.get("mask_name")
        if isinstance(stated, dict):
            self._require_structures("masks", stated)
            masks = {name: self._path(f"masks.{name}", path) for name, path in stated.items()}
        elif isinstance(names, dict):
            masks = dict.fromkeys(names, self._path("masks", stated))
        else:
            masks = {"": self._path("masks", stated)}
        if isinstance(names, dict):
            self._require_structures("mask_name", names)
            if set(names) != set(masks):
                raise self._fault("mask_name", ", ".join(names), f"one of {', '.join(masks)} each")
            mask_names = {name: self._pattern("mask_name", names[name]) for name in masks}
        else:
            mask_names = dict.fromkeys(masks, self._pattern("mask_name", names))
        image_name = self._pattern("image_name", self._keys.get("image_name"))
        self._require_apart(images, image_name, masks, mask_names)
        return images, masks, image_name, mask_names

    def _require_structures(self, key: str, stated: Mapping[str, object]) -> None:
        for structure in stated:
            if structure not in STRUCTURES:
                found = f"a structure {structure!r}"
                raise self._fault(key, found, f"some of {', '.join(STRUCTURES)}")
        self._require_lungs(key, set(stated))

    def _require_apart(
        self, images: Path, image_name: str, masks: Mapping[str, Path], names: Mapping[str, str]
    ) -> None:
        """Refuse two patterns that mean the same files."""
        meant = [("image_name", images.resolve(), image_name)]
        meant += [("mask_name", masks[key].resolve(), names[key]) for key in masks]
        for number, (key, folder, name) in enumerate(meant):
            if any((folder, name) == other[1:] for other in meant[:number]):
                raise self._fault(
                    key, f"{name!r} for two kinds of files in {folder}",
                    "patterns that tell films and masks apart, e.g. '{id}_mask.png'",
                )  # fmt: skip

    def _pattern(self, key: str, stated: object) -> str:
        pattern = "{id}.*" if stated is None else stated
        if not isinstance(pattern, str) or pattern.count("{id}") != 1 or "/" in pattern:
            raise self._fault(key, repr(pattern), "a file name with one {id}, e.g. '{id}_mask.png'")
        return pattern

    def _labels(self) -> Labels | None:
        stated = self._keys.get("labels")
        if stated is None:
            return None
        if not isinstance(stated, dict) or not stated:
            raise self._fault("labels", repr(stated), "structures with their label values")
        labels: dict[str, frozenset[LabelValue]] = {}
        for structure, values in stated.items():
            if structure not in STRUCTURES:
                found = f"a structure {structure!r}"
                raise self._fault("labels", found, f"some of {', '.join(STRUCTURES)}")
            parts = [parse_label_value(v) for v in _listed(values)]
            if not parts:
                raise self._fault(f"labels.{structure}", "an empty list", "one value or more")
            labels[structure] = frozenset(part for part in parts if part is not None)
        self._require_lungs("labels", set(labels))
        require_one_kind(f"{self._file}: labels", labels)
        return labels

    def _require_lungs(self, key: str, structures: set[str]) -> None:
        if "lungs" not in structures and not {"left_lung", "right_lung"} <= structures:
            raise self._fault(
                key, ", ".join(sorted(structures)), "lungs, or left_lung and right_lung"
            )

    def _spacing(self) -> Spacing | None:
        stated = self._keys.get("spacing_mm")
        if stated is None:
            return None
        sides = stated if isinstance(stated, list) else [stated, stated]
        numbers = [float(s) for s in sides if type(s) in (int, float) and 0 < s < 1000]
        if len(sides) != 2 or len(numbers) != 2:
            raise self._fault("spacing_mm", repr(stated), "mm a pixel, or [down, along]")
        return (numbers[0], numbers[1])

    def _bits(self) -> int | None:
        bits = self._keys.get("bits")
        if bits is not None and (type(bits) is not int or not 8 <= bits <= 16):
            raise self._fault("bits", repr(bits), "8 to 16")
        return bits


def _listed(stated: object) -> list[object]:
    return stated if isinstance(stated, list) else [stated]


def _values(stated: object) -> frozenset[int]:
    values = _listed(stated)
    numbers = frozenset(value for value in values if type(value) is int)
    return numbers if len(numbers) == len(values) else frozenset()


def read_dataset_json(path: Path) -> dict[str, Any]:
    """Return nnU-Net's ``dataset.json``.

    Raises:
        DataError: if it is no JSON or names no labels.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(path, f"no readable JSON ({error})", "nnU-Net's dataset.json") from None
    if not isinstance(content, dict) or not isinstance(content.get("labels"), dict):
        raise DataError(path, "no mapping of labels", "nnU-Net's dataset.json")
    if not isinstance(content.get("file_ending", ""), str):
        raise DataError(path, f"file_ending {content['file_ending']!r}", 'such as ".png"')
    return content


def _require_single_channel(path: Path, dataset: Mapping[str, Any]) -> None:
    channels = dataset.get("channel_names", dataset.get("modality", {}))
    if isinstance(channels, dict) and len(channels) > 1:
        raise DataError(path, f"{len(channels)} channels", "grey images of one channel")


def nnunet_labels(path: Path, dataset: Mapping[str, Any]) -> Labels:
    """Return the label values of nnU-Net's names; version 1 wrote them the other way round.

    Raises:
        DataError: if no lungs are among them.
    """
    labels: dict[str, frozenset[LabelValue]] = {}
    for key, value in dataset["labels"].items():
        name, number = (value, int(key)) if str(key).isdecimal() else (key, value)
        word = re.sub(r"[\s_-]+", "_", str(name).strip().lower())
        structure = {"lung": "lungs", "lung_left": "left_lung", "lung_right": "right_lung"}.get(
            word, word
        )
        if structure in STRUCTURES:
            values = _values(number)
            labels[structure] = frozenset(values) if min(values, default=0) > 0 else frozenset()
    usable = "lungs" in labels or {"left_lung", "right_lung"} <= set(labels)
    if not usable or not all(labels.values()):
        raise DataError(
            path,
            f"labels {dataset['labels']}",
            "lungs, or left_lung and right_lung, with whole numbers above 0",
            "state `labels` in the YAML file",
        )
    return labels

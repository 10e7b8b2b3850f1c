"""The YAML file of addresses: where each official data set is offered, and under which terms."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

from annotated_types import Gt, Le
from pydantic import AfterValidator, TypeAdapter

from contract.errors import UserError
from contract.language import check_settings, model_of
from contract.suggestions import did_you_mean
from contract.yaml_files import read_mapping

ADDRESSES = Path(__file__).with_name("addresses.yaml")
"""The file that comes with the project."""


def _of_form(pattern: str, words: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(words)
        return text

    return AfterValidator(check)


Address = Annotated[str, _of_form(r"https?://[^\s/]+/\S*", "an address, https://server/file")]
Digest = Annotated[str, _of_form("[0-9a-f]{64}", "64 digits of 0-9 and a-f")]
Gigabytes = Annotated[float, Gt(0), Le(10_000)]
FolderName = Annotated[str, _of_form(r"\w[\w .-]*", "a folder's name")]
Below = Annotated[str, _of_form(r"\w[\w .-]*(/\w[\w .-]*)*", "a folder below the data root")]


@dataclass(frozen=True)
class Archive:
    """A ZIP archive that holds one folder of a data set.

    Attributes:
        url: where it is offered.
        inside: the folder in the archive that is wanted; others are left aside.
        folder: where that folder belongs, below the data root.
        at_most_gb: what it may unpack to, in 10⁹ bytes.
        tried: whether the project has fetched from that address.
        sha256: the archive's digest, where it is known.
    """

    url: Address
    inside: FolderName
    folder: Below
    at_most_gb: Gigabytes
    tried: bool = False
    sha256: Digest | None = None

    @property
    def file_name(self) -> str:
        """The archive's own name, the address's last part without its query."""
        return PurePosixPath(self.url.partition("?")[0]).name


@dataclass(frozen=True)
class Collection:
    """A collection that an NBIA service (The Cancer Imaging Archive's) hands out series by series.

    Attributes:
        service: the address above ``getSeries`` and ``getImage``.
        name: the collection's name.
        modality: which series are wanted.
        folder: where they belong, below the data root.
        tried: whether the project has fetched from that address.
    """

    service: Address
    name: str
    modality: str
    folder: Below
    tried: bool = False


@dataclass(frozen=True)
class Offer:
    """How one data set is got.

    Attributes:
        terms: its licence, and whom to cite.
        page: the provider's page for people.
        archives: what is downloaded and unpacked.
        collection: what a service hands out series by series.
        by_hand: steps for what needs an account, in their order.
    """

    terms: str
    page: str
    archives: tuple[Archive, ...] = ()
    collection: Collection | None = None
    by_hand: tuple[str, ...] = ()

    @property
    def online(self) -> bool:
        """Whether anything can be fetched without an account."""
        return bool(self.archives) or self.collection is not None

    @property
    def folders(self) -> list[str]:
        """Where the archives belong, below the data root."""
        return [archive.folder for archive in self.archives]

    def is_there(self, root: Path) -> bool:
        """Tell whether nothing is left to fetch; of a collection only its service knows that."""
        return self.collection is None and all(is_filled(root / name) for name in self.folders)

    @property
    def untried(self) -> list[str]:
        """Addresses that the project has not fetched from."""
        parts = [archive.url for archive in self.archives if not archive.tried]
        if self.collection is not None and not self.collection.tried:
            parts.append(self.collection.service)
        return parts


def is_filled(folder: Path) -> bool:
    """Tell whether a folder is there with anything in it."""
    return folder.is_dir() and any(folder.iterdir())


def read_addresses(names: list[str], file: Path = ADDRESSES) -> dict[str, Offer]:
    """Return how each of some data sets is got.

    Args:
        names: data sets.
        file: the YAML file, an offer a data set.

    Raises:
        UserError: if a data set is not in it, or the file is wrong.
    """
    offered = read_mapping(file, "of data sets, such as montgomery")
    offers = {}
    for name in dict.fromkeys(names):
        if name not in offered:
            known = ", ".join(sorted(offered))
            todo = did_you_mean(name, offered)
            raise UserError("data set", repr(name), f"one of {known}", todo)
        offers[name] = _offer(offered[name], f"{file}: {name}")
    return offers


def _offer(settings: object, where: str) -> Offer:
    if not isinstance(settings, Mapping):
        raise UserError(where, "no mapping of keys to values", "the keys terms, page, archives …")
    check_settings(Offer, settings, where)
    checked = TypeAdapter(model_of(Offer)).validate_json(json.dumps(settings))
    stated = checked.model_dump()
    collection = stated["collection"]
    return Offer(
        stated["terms"],
        stated["page"],
        tuple(Archive(**archive) for archive in stated["archives"]),
        None if collection is None else Collection(**collection),
        tuple(stated["by_hand"]),
    )

"""What the readers of a user's own films and of own CT scans share."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from contract.errors import DataError
from datamodules.sources.base import Source, read_marker
from datamodules.sources.own_description import read_description
from datamodules.sources.own_files import content_of, some
from datamodules.sources.own_table import explain_ids


class OwnSource(Source):
    """A reader of a data set that a YAML file describes.

    Args:
        file: the YAML file.
        root: the data root, where paths that are not beside the file are looked for.

    Raises:
        UserError: if a key of the file is unknown, missing or wrong.
        DataError: if a folder or file that it names does not exist.
    """

    download = "the user's own data"
    item = "image"
    """What a file of the folder is called in messages."""

    def __init__(self, file: Path, root: Path) -> None:
        super().__init__(root)
        self._about = read_description(file, self.root)
        self.name = self._about.name

    @property
    def folder(self) -> Path:
        """The folder of films or scans."""
        return self._about.images

    @cached_property
    def phantom(self) -> Mapping[str, object] | None:
        """The marker of a synthetic set in, above or beside the folder, or None."""
        homes = (self.folder, self.folder.parent, self._about.file.parent)
        return next((marker for marker in map(read_marker, homes) if marker is not None), None)

    def _require_ids(self, where: Path, found: set[str], what: str) -> None:
        """Refuse masks or lines of a table whose ids are not those of the images or scans.

        Args:
            where: the folder or the table.
            found: its ids.
            what: ``mask`` or ``line``.

        Raises:
            DataError: telling the ids of both sides.
        """
        wanted = set(self.official_ids)
        lacking, extra = wanted - found, found - wanted
        if not lacking and not extra:
            return
        lacks = [
            f"{lack} {len(ids)} cases: {some(ids)}"
            for ids, lack in ((lacking, f"no {what} for"), (extra, f"no {self.item} for"))
            if ids
        ]
        ids_of = "the table's ids" if what == "line" else "the masks' ids"
        todo = f"complete the data, or mend the patterns in {self._about.file}"
        if lacking and extra:
            todo = explain_ids(wanted, found, what == "line") or todo
        told = some(found) or "none"
        if not found and where.is_dir():
            told = f"none; there: {content_of(where)}"
        article = "an" if self.item == "image" else "a"
        raise DataError(
            where,
            f"{'; '.join(lacks)} ({ids_of}, such as {told}; "
            f"the {self.item}s', such as {some(wanted)})",
            f"{article} {self.item} and a {what} for each case",
            todo,
        )

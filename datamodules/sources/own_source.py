"""What the readers of a user's own films and of own CT scans share."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from datamodules.sources.base import Source, read_marker
from datamodules.sources.own_description import read_description


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

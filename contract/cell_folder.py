"""A cell on disk: the one place that knows where its files lie and how they are called."""

from __future__ import annotations

import io
import json
import shlex
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contract.cell_record import NAMES, NOTHING, REQUIRED, CellKey, CellRecord
from contract.errors import DataError
from contract.files import digest_of, digest_of_bytes, read_object, write_atomically

if TYPE_CHECKING:
    import pyarrow as pa

CELLS = "cells"
"""The folder of cells in a suite's folder."""
LAYOUT = "cells/<system>/<protocol>/seed-<n>"
"""Where a cell lies in its suite's folder, for people."""
EVERY_CELL = "cells/*/*/seed-*"
"""The same as a pattern, for ``glob`` and for shells."""
OFFLINE_RUNS = "wandb/offline-run-*"
"""W&B runs that wait for the internet, in a cell's folder."""
EVERY_OFFLINE_RUN = f"{EVERY_CELL}/{OFFLINE_RUNS}"
"""The same in a suite's folder, as a pattern for shells."""
TO_MEND = "delete the cell's folder and run the suite again"
_SEED = "seed-"
_SETTLED_S = 2.0
"""A file that was written less long ago may be written again within one tick of its clock."""


def cell_name(system: str, protocol: str, seed: int) -> str:
    """Return ``system protocol seed-n``, for people."""
    return f"{system} {protocol} {_SEED}{seed}"


@dataclass(frozen=True)
class CheckpointFolder:
    """The checkpoints of one fold of a cell.

    Attributes:
        path: the folder.
    """

    path: Path

    def weights(self, name: str) -> Path:
        """Return the file of the ``best`` or the ``last`` weights, which are tested."""
        return self.path / f"{name}.ckpt"

    def after(self, epochs: int) -> Path:
        """Return the file that resumes training after so many epochs."""
        return self.path / f"epoch-{epochs:05d}.ckpt"

    def resumable(self) -> list[Path]:
        """Return the files to resume from, newest first."""
        return sorted(self.path.glob("epoch-*.ckpt"), reverse=True)


@dataclass(frozen=True)
class CellFolder:
    """The folder of one system × protocol × seed.

    A folder of any name will do for a cell that is run by hand; ``key`` and ``suite_folder`` alone
    ask for ``LAYOUT``.

    Attributes:
        path: the folder; it need not exist.
    """

    path: Path

    @classmethod
    def of(cls, suite_folder: Path, system: str, protocol: str, seed: int) -> CellFolder:
        """Return the folder of a cell.

        Args:
            suite_folder: ``<runs>/<suite>``.
            system: the system's name.
            protocol: the protocol's name.
            seed: the training seed.
        """
        return cls(suite_folder / CELLS / system / protocol / f"{_SEED}{seed}")

    @property
    def key(self) -> CellKey:
        """System, protocol and seed, as the folder is called.

        Raises:
            DataError: if its name ends in no number.
        """
        number = self.path.name.removeprefix(_SEED)
        if not number.isdigit():
            expected = f"{_SEED}<n> with a whole number"
            raise DataError(self.path, f"seed {number!r}", expected, "rename it")
        return self.path.parent.parent.name, self.path.parent.name, int(number)

    @property
    def suite_folder(self) -> Path:
        """``<runs>/<suite>``."""
        return self.path.parents[3]

    @property
    def config(self) -> Path:
        """The LightningCLI config that the cell is run by."""
        return self.path / "config.yaml"

    @property
    def record_file(self) -> Path:
        """The file of the record."""
        return self.path / "cell.json"

    @property
    def rows_file(self) -> Path:
        """The rows of a finished cell, see ``contract.rows``."""
        return self.path / "cases.parquet"

    @property
    def log(self) -> Path:
        """What the cell's process printed."""
        return self.path / "log.txt"

    @property
    def progress(self) -> Path:
        """How far a running cell is, see ``benchmark.progress``."""
        return self.path / "progress.json"

    @property
    def gallery(self) -> Path:
        """The folder of the pictures of some test cases."""
        return self.path / "gallery"

    @property
    def owner(self) -> Path:
        """The folder that exists while a process works on the cell."""
        return self.path / "owner"

    @property
    def wandb(self) -> Path:
        """The folder of W&B runs."""
        return self.path / "wandb"

    def checkpoints(self, fold: int = 0) -> CheckpointFolder:
        """Return the folder of a fold's checkpoints; most protocols have fold 0 alone."""
        home = self.path / "checkpoints"
        return CheckpointFolder(home / f"fold-{fold}" if fold else home)

    def every_checkpoints(self) -> list[CheckpointFolder]:
        """Return the folders of checkpoints of all folds that were begun, by fold."""
        first = self.checkpoints()
        others = sorted(first.path.glob("fold-*"), key=lambda fold: (len(fold.name), fold.name))
        return [first, *map(CheckpointFolder, others)]

    def set_aside(self, config_hash: str | None) -> Path:
        """Return where the results of another configuration are kept, out of every table."""
        return self.path.with_name(f"stale-{self.path.name}-{config_hash}")

    @property
    def record(self) -> CellRecord:
        """The record; ``NOTHING`` where there is none or its file is damaged.

        A file that has lain still for a while is read once in a process.
        """
        try:
            stat = self.record_file.stat()
        except (OSError, ValueError):
            return NOTHING
        if time.time() - stat.st_mtime < _SETTLED_S:
            return _read_record(self.record_file)
        return _settled_record(self.record_file, stat.st_ino, stat.st_size, stat.st_mtime_ns)

    def require_record(self) -> CellRecord:
        """Return the record, ``NOTHING`` only where there is no file.

        Raises:
            DataError: if the file is damaged.
        """
        try:
            content = json.loads(self.record_file.read_text("utf-8"))
            if not isinstance(content, dict):
                raise ValueError(f"a {type(content).__name__}")
            missing = [name for name in REQUIRED if name not in content]
            if missing:
                raise ValueError(f"no {', '.join(missing)}")
            return CellRecord.of(content)
        except FileNotFoundError:
            return NOTHING
        except (OSError, ValueError, RecursionError) as error:
            expected = "a JSON object that describes a cell"
            raise DataError(self.record_file, str(error), expected, TO_MEND) from error

    def update(self, **changes: Any) -> None:
        """Change entries of the record, its file as a whole.

        Args:
            changes: attributes of ``CellRecord``; None is recorded as such.

        Raises:
            TypeError: for an entry that a record does not have.
        """
        unknown = sorted(set(changes) - set(NAMES))
        if unknown:
            raise TypeError(f"a cell's record has no entry {', '.join(unknown)}")
        content = {**read_object(self.record_file), **changes}
        write_atomically(self.record_file, json.dumps(content, indent=1))

    def write_rows(self, rows: pa.Table) -> dict[str, Any]:
        """Write the cell's rows, in ``contract.rows.CASE_SCHEMA``, as a whole.

        Returns:
            what the record has to say, so that it vouches for them.
        """
        import pyarrow.parquet as pq

        content = io.BytesIO()
        pq.write_table(rows, content)
        written = content.getvalue()
        write_atomically(self.rows_file, written)
        # Of what was written, not of what the disk gives back: the two may differ.
        return {"rows_digest": digest_of_bytes(written), "rows_bytes": len(written)}

    def read_rows(self) -> pa.Table:
        """Return the cell's rows as they are on disk.

        Raises:
            DataError: if they cannot be read.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self.rows_file) as file:
                return file.read()
        except (OSError, ValueError, MemoryError, pa.ArrowException) as error:
            said = next(iter(str(error).splitlines()), type(error).__name__)
            expected = "the rows of a finished cell"
            raise DataError(self.rows_file, said, expected, TO_MEND) from error

    def doubt(self, record: CellRecord, key: CellKey) -> str:
        """Return why the record of a finished cell is not believed; nothing where it is.

        Every byte of the rows is compared with the record, once in a process for as long as the
        file stays the same; a record from before there were digests needs rows that can be read.

        Args:
            record: the record, which says that the cell is done.
            key: the cell that it should be of.
        """
        if record.key != key:
            return f"{self.record_file.name} is of another cell, {cell_name(*record.key)}"
        name = self.rows_file.name
        try:
            stat = self.rows_file.stat()
            if record.rows_bytes is not None and stat.st_size != record.rows_bytes:
                return f"{name} has {stat.st_size} bytes, its record says {record.rows_bytes}"
            seen = (self.rows_file, stat.st_ino, stat.st_size, stat.st_mtime_ns)
            if record.rows_digest is None:
                return f"{name} cannot be read" if _unreadable(*seen) else ""
            damaged = _digest(*seen) != record.rows_digest
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
        return f"{name} is not the file that its record vouches for (another digest)" * damaged

    def is_own_config(self, record: CellRecord) -> bool:
        """Tell whether the config is still the one that the cell was run by, as far as is recorded.

        Args:
            record: the record of a finished cell.
        """
        try:
            stat = self.config.stat()
            seen = (self.config, stat.st_ino, stat.st_size, stat.st_mtime_ns)
            return record.config_digest in (None, _digest(*seen))
        except OSError:
            return False


def _read_record(path: Path) -> CellRecord:
    try:
        return CellRecord.of(read_object(path))
    except ValueError:
        return NOTHING


@lru_cache(maxsize=1 << 14)
def _settled_record(path: Path, *seen: int) -> CellRecord:
    """Return a record; ``seen`` tells the file's content apart from any other at its place."""
    return _read_record(path)


@lru_cache(maxsize=1 << 14)
def _digest(path: Path, *seen: int) -> str:
    """Return a file's digest; ``seen`` tells its content apart from any other at its place."""
    return digest_of(path)


@lru_cache(maxsize=1 << 14)
def _unreadable(path: Path, *seen: int) -> bool:
    """Tell whether rows that nobody vouches for cannot be read."""
    try:
        CellFolder(path.parent).read_rows()
    except DataError:
        return True
    return False


def cells_of(suite_folder: Path) -> list[CellFolder]:
    """Return the folders of all cells of a suite, by name.

    Args:
        suite_folder: ``<runs>/<suite>``.
    """
    return [CellFolder(path) for path in sorted(suite_folder.glob(EVERY_CELL))]


def recorded_cells_of(suite_folder: Path) -> list[CellFolder]:
    """Return those that have a record."""
    return [cell for cell in cells_of(suite_folder) if cell.record_file.exists()]


def has_cells(suite_folder: Path) -> bool:
    """Tell whether a folder is one of a suite that was run, or begun."""
    return (suite_folder / CELLS).is_dir()


def suite_folders(runs: Path, protocol: str = "*") -> list[Path]:
    """Return the folders of suites below a runs folder that hold cells, by name.

    Args:
        runs: the runs folder.
        protocol: a protocol that they must have cells of.
    """
    below = runs.glob(f"*/{CELLS}" if protocol == "*" else f"*/{CELLS}/*/{protocol}")
    up = 0 if protocol == "*" else 2
    return sorted({path.parents[up] for path in below})


def offline_runs_of(suite_folder: Path) -> str:
    """Return the offline W&B runs of a suite's cells as a shell's pattern."""
    return f"{shlex.quote(str(suite_folder))}/{EVERY_OFFLINE_RUN}"

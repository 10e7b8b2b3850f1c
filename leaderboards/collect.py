"""Read back what the cells of a suite left on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contract.errors import DataError, UserError
from contract.rows import CASE_SCHEMA, QUALITY, SUBGROUPS
from contract.words import REFERENCES, STATES, STRUCTURES, UNITS

CellKey = tuple[str, str, int]
"""System, protocol, seed."""

CASE_IDENTITY = ("test_on", "case_id", "scan_id", "slice_index", "structure", "reference", "unit")
_MAY_BE_NULL = frozenset({"train_on", "scan_id", "slice_index", *QUALITY, *SUBGROUPS})
_WORDS = {"structure": STRUCTURES, "reference": REFERENCES, "unit": UNITS}


@dataclass(frozen=True)
class CellRecord:
    """What ``cell.json`` says of one cell; unknown keys of the file are ignored.

    Attributes:
        system: name.
        protocol: name.
        seed: training seed.
        state: one of ``contract.words.STATES``.
        reason: why it is in this state.
        suite: name of the suite.
        config_hash: identity of what was composed.
        n_train: number of training cases.
        n_test: number of test cases.
        split_hash: identity of the split.
        phantom: trained or tested on synthetic data.
        versions: version by library.
        commit: git commit of the code.
        device: device in words.
        wall_s: wall-clock time, seconds.
        parameters: number of the generator's parameters.
        gpu_hours: wall-clock hours times GPUs; 0 on a CPU.
        images_per_s: training images a second.
        peak_memory_mib: peak memory of the device, MiB.
        external: for masks that another tool predicted, what is known of them (``tool``, ``masks``,
            the digest of the files, …); None for a cell that was trained here.
    """

    system: str
    protocol: str
    seed: int
    state: str
    reason: str | None = None
    suite: str | None = None
    config_hash: str | None = None
    n_train: int | None = None
    n_test: int | None = None
    split_hash: str | None = None
    phantom: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)
    commit: str | None = None
    device: str | None = None
    wall_s: float | None = None
    parameters: int | None = None
    gpu_hours: float | None = None
    images_per_s: float | None = None
    peak_memory_mib: float | None = None
    external: Mapping[str, Any] | None = None

    @property
    def key(self) -> CellKey:
        """System, protocol and seed."""
        return self.system, self.protocol, self.seed


def collect(
    suite_folder: Path, current: Mapping[CellKey, str] | None = None
) -> tuple[pa.Table, list[CellRecord]]:
    """Collect the rows of all finished cells of a suite.

    Args:
        suite_folder: ``<runs>/<suite>``.
        current: configuration hash of each cell as the suite is composed today; a finished
            cell that is not among them comes back as ``stale`` and gives no rows.

    Returns:
        the rows in ``contract.rows.CASE_SCHEMA``, and a record of every cell, done or not.

    Raises:
        UserError: the folder holds no cells.
        DataError: a file is unreadable, breaks the schema, contradicts its folder, or holds a
            case twice.
    """
    records, parts = [], []
    for folder in sorted(suite_folder.glob("cells/*/*/seed-*")):
        record = read_cell(folder)
        if current is not None and record.state == "done":
            record = _refreshed(record, current)
        records.append(record)
        if record.state == "done":
            parts.append(read_cases(folder / "cases.parquet", record))
    if not records:
        todo = "run the suite first, or name the folder that holds its cells/"
        raise UserError(suite_folder, "no cells", "cells/<system>/<protocol>/seed-<n>", todo)
    return pa.concat_tables([CASE_SCHEMA.empty_table(), *parts]), records


def _refreshed(record: CellRecord, current: Mapping[CellKey, str]) -> CellRecord:
    if current.get(record.key) == record.config_hash:
        return record
    reason = "the suite has no such cell" if record.key not in current else "its config changed"
    return replace(record, state="stale", reason=reason)


def read_cell(folder: Path) -> CellRecord:
    """Read ``cell.json`` of one cell.

    Raises:
        DataError: it is absent, unreadable, of another cell, or its state is unknown.
    """
    path = folder / "cell.json"
    todo = "delete the cell's folder and run the suite again"
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
        known = {f.name: content[f.name] for f in fields(CellRecord) if f.name in content}
        record = CellRecord(**known)
    except FileNotFoundError:
        return CellRecord(*_identity(folder), state="pending", reason="no cell.json yet")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(path, str(error), "a JSON object that describes a cell", todo) from error
    if record.key != _identity(folder):
        found = f"{record.system}, {record.protocol}, seed {record.seed}"
        raise DataError(path, found, "the cell that its folder names", todo)
    if record.state not in STATES:
        raise DataError(path, f"state {record.state!r}", f"one of {', '.join(STATES)}", todo)
    return record


def _identity(folder: Path) -> CellKey:
    number = folder.name.removeprefix("seed-")
    if not number.isdigit():
        raise DataError(folder, f"seed {number!r}", "seed-<n> with a whole number", "rename it")
    return folder.parent.parent.name, folder.parent.name, int(number)


def read_cases(path: Path, record: CellRecord) -> pa.Table:
    """Read and validate the rows of one finished cell.

    Raises:
        DataError: naming the file and the first column, value or case at fault.
    """
    todo = "delete the cell's folder and run the suite again"
    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(path, str(error), "the rows of a finished cell", todo) from error
    _check_columns(path, table, todo)
    try:
        table = table.select(CASE_SCHEMA.names).cast(CASE_SCHEMA)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(path, str(error), "the column types of CASE_SCHEMA", todo) from error
    fault = _fault(table, record)
    if fault:
        raise DataError(path, *fault, todo)
    return table


def _check_columns(path: Path, table: pa.Table, todo: str) -> None:
    missing = [name for name in CASE_SCHEMA.names if name not in table.column_names]
    unknown = [name for name in table.column_names if name not in CASE_SCHEMA.names]
    repeated = len(set(table.column_names)) < len(table.column_names)
    if missing or unknown or repeated:
        parts = [f"without {', '.join(missing)}"] if missing else []
        parts += [f"unknown {', '.join(unknown)}"] if unknown else []
        parts += ["a repeated column"] if repeated else []
        raise DataError(path, f"columns: {'; '.join(parts)}", "the columns of CASE_SCHEMA", todo)


def _fault(table: pa.Table, record: CellRecord) -> tuple[str, str] | None:
    """What is wrong with a cell's rows: (found, expected), or None."""
    if table.num_rows == 0:
        return "no rows", "a row for each test case"
    for name, kind in zip(CASE_SCHEMA.names, CASE_SCHEMA.types, strict=True):
        column = table[name]
        metric = pa.types.is_floating(kind)
        if column.null_count and not metric and name not in _MAY_BE_NULL:
            return f"{column.null_count} nulls in {name}", "a value in every row"
        if metric and not pc.all(pc.is_finite(column), min_count=0).as_py():
            return f"NaN or infinity in {name}", "a number, or null where undefined"
    for name in ("dice", "iou"):
        low, high = pc.min_max(table[name]).as_py().values()
        if table[name].null_count or low < 0 or high > 1:
            return f"{name} null or outside [0, 1]", "a fraction in every row"
    for name, allowed in _WORDS.items():
        unknown = set(table[name].unique().to_pylist()) - set(allowed)
        if unknown:
            return f"{name} {sorted(unknown)}", f"one of {', '.join(allowed)}"
    for name in ("system", "protocol", "seed"):
        if set(table[name].unique().to_pylist()) != {getattr(record, name)}:
            return f"rows of another {name}", str(getattr(record, name))
    return _miscounted(table, record)


def _miscounted(table: pa.Table, record: CellRecord) -> tuple[str, str] | None:
    rows = table.select(list(CASE_IDENTITY)).to_pandas()
    twice = rows[rows.duplicated()]
    if len(twice):
        case = ", ".join(f"{name} {twice.iloc[0][name]}" for name in ("case_id", "structure"))
        return f"{len(twice)} duplicate rows, the first {case}", "every case once"
    cases = rows.loc[rows["unit"] != "slice", ["test_on", "case_id"]].drop_duplicates()
    if record.n_test is not None and len(cases) != record.n_test:
        return f"{len(cases)} test images or scans", f"{record.n_test}, as in cell.json"
    return None

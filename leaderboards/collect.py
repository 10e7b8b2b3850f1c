"""Read back what the cells of a suite left on disk."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from contract.cell_folder import CELLS, LAYOUT, TO_MEND, CellFolder, cells_of
from contract.cell_record import NOTHING, CellKey, CellRecord
from contract.errors import DataError, UserError
from contract.names import RULE, in_short, is_name
from contract.rows import CASE_SCHEMA, QUALITY, SUBGROUPS
from contract.words import REFERENCES, STRUCTURES, UNITS

CASE_IDENTITY = ("test_on", "case_id", "scan_id", "slice_index", "structure", "reference", "unit")
TO_TEST_AGAIN = "run the suite again (or score the masks again)"
_MAY_BE_NULL = frozenset({"train_on", "scan_id", "slice_index", *QUALITY, *SUBGROUPS})
_WORDS = {"structure": STRUCTURES, "reference": REFERENCES, "unit": UNITS}


def collect(
    suite_folder: Path,
    current: Mapping[CellKey, str] | None = None,
    tell: Callable[[str], None] = warnings.warn,
) -> tuple[pa.Table, list[CellRecord]]:
    """Collect the rows of all finished cells of a suite.

    A cell whose files are faulty (unreadable, of another cell, not what its record vouches for,
    against the schema, a case twice) has failed, with the fault as its reason; the others do not
    depend on it.

    Args:
        suite_folder: ``<runs>/<suite>``.
        current: configuration hash of each cell as the suite is composed today; a finished
            cell that is not among them comes back as ``stale`` and gives no rows.
        tell: is told of each faulty cell, in words.

    Returns:
        the rows in ``contract.rows.CASE_SCHEMA``, and a record of every cell, done or not.

    Raises:
        UserError: the folder holds no cells.
    """
    records, parts, found = [], [], cells_of(suite_folder)
    for cell in found:
        try:
            record, rows = _read(cell, current)
        except DataError as error:
            tell(str(error))
            records += _failed(cell, str(error))
            continue
        records.append(record)
        parts += [rows] if rows is not None else []
    if not found:
        todo = f"run the suite first, or name the folder that holds its {CELLS}/"
        raise UserError(suite_folder, "no cells", LAYOUT, todo)
    return pa.concat_tables([CASE_SCHEMA.empty_table(), *parts]), records


def _read(
    cell: CellFolder, current: Mapping[CellKey, str] | None
) -> tuple[CellRecord, pa.Table | None]:
    record = read_cell(cell)
    if current is not None and record.is_done:
        record = _refreshed(record, current)
    return record, _read_rows(cell, record) if record.is_done else None


def _failed(cell: CellFolder, reason: str) -> list[CellRecord]:
    """The record of a cell whose files are faulty; nothing where its folder names no cell."""
    try:
        system, protocol, seed = cell.key
    except DataError:
        return []
    return [CellRecord(system, protocol, seed, state="failed", reason=reason)]


def _refreshed(record: CellRecord, current: Mapping[CellKey, str]) -> CellRecord:
    if current.get(record.key) == record.config_hash:
        return record
    reason = "the suite has no such cell" if record.key not in current else "its config changed"
    return replace(record, state="stale", reason=reason)


def read_cell(cell: CellFolder) -> CellRecord:
    """Read the record of one cell; one that left none is pending.

    Raises:
        DataError: it is unreadable or of another cell, or its folder's name is no name.
    """
    system, protocol, seed = cell.key
    for name in (system, protocol):
        if not is_name(name):
            raise DataError(cell.path, f"the name {in_short(name)}", RULE, "rename the folder")
    record = cell.require_record()
    if record == NOTHING:
        reason = f"no {cell.record_file.name} yet"
        return CellRecord(system, protocol, seed, state="pending", reason=reason)
    if record.key != cell.key:
        found = f"{record.system}, {record.protocol}, seed {record.seed}"
        raise DataError(cell.record_file, found, "the cell that its folder names", TO_MEND)
    return record


def _read_rows(cell: CellFolder, record: CellRecord) -> pa.Table:
    """Read and validate the rows of one finished cell.

    Raises:
        DataError: naming the file and the first column, value or case at fault.
    """
    path, todo = cell.rows_file, TO_MEND
    doubt = cell.doubt(record, cell.key)
    if doubt:
        raise DataError(path, doubt, "the rows of a finished cell", TO_TEST_AGAIN)
    table = _marked(cell.read_rows(), record)
    _check_columns(path, table, todo)
    try:
        table = table.select(CASE_SCHEMA.names).cast(CASE_SCHEMA)
    except (pa.ArrowException, ValueError) as error:
        raise DataError(path, str(error), "the column types of CASE_SCHEMA", todo) from error
    fault = _fault(table, record)
    if fault:
        raise DataError(path, *fault, todo)
    return table


def _marked(table: pa.Table, record: CellRecord) -> pa.Table:
    """Let every row say whether its cell is reduced as the record says, which may be younger."""
    others = [name for name in table.column_names if name != "reduced"]
    marks = pa.array([record.reduced] * table.num_rows, pa.bool_())
    return table.select(others).append_column("reduced", marks)


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
    foreign = sorted(name for name in table["test_on"].unique().to_pylist() if not is_name(name))
    if foreign:
        return f"test_on {in_short(foreign[0])}", f"a data set's name: {RULE}"
    if record.suite is not None and set(table["suite"].unique().to_pylist()) != {record.suite}:
        return "rows of another suite", record.suite
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

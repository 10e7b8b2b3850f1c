"""Run by a batch script after a cell's process ended badly: records why, if the cell could not."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmark.cell.ownership import is_owned, owner_job
from benchmark.cell.peers import first_fault
from benchmark.cell.signature import slurm_job
from contract.cell_folder import CellFolder
from contract.yaml_files import read_yaml


def record_end(folder: Path, reason: str) -> None:
    """Record a cell as failed, unless it said why itself or another process works on it.

    Args:
        folder: the cell's folder.
        reason: what the batch script saw.
    """
    files = CellFolder(folder)
    others = is_owned(folder) and owner_job(folder) != slurm_job()
    if others or files.record.state in ("failed", "done"):
        return
    told = first_fault(folder)
    if told and told not in reason:
        reason = f"{told}; {reason}"
    cell = read_yaml(files.config)["cell"]
    names = ("suite", "system", "protocol", "seed", "train_on", "test_on", "config_hash")
    files.update(**{name: cell[name] for name in names}, state="failed", reason=reason)


def main(arguments: Sequence[str] | None = None) -> int:
    """Record why a cell ended: its folder, then the reason."""
    folder, reason = sys.argv[1:] if arguments is None else arguments
    record_end(Path(folder), reason)
    return 0


if __name__ == "__main__":
    sys.exit(main())

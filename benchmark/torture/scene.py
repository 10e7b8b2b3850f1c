"""Where the torture happens: phantoms, tiny cells, and the rows of those that nobody disturbed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from benchmark.cell.cell import Cell
from benchmark.planning.plan import Plan, make_plan
from contract.cell_folder import CellFolder
from contract.yaml_files import yaml_text
from datamodules.phantoms import write_montgomery, write_shenzhen

NAME = "torture"
TINY: dict[str, Any] = {
    "extends": "adversarial_attention_unet",
    "title": "a tiny network with a critic",
    "preprocessing": {"size": 32},
    "augmentation": {"rotate": 5},
    "batch_size": 4,
    "model": {
        "init_args": {
            "generator": {"init_args": {"widths": [4, 8]}},
            "critic": {"init_args": {"widths": [4, 8]}},
            "pretrain_epochs": 2,
            "generator_steps": 2,
        }
    },
    "trainer": {"max_epochs": 6, "devices": 1, "accelerator": "cpu"},
}
PAIR = TINY | {
    "title": "the same on two processes",
    "trainer": {**TINY["trainer"], "devices": 2},
}
SUITE: dict[str, Any] = {
    "title": "tiny cells to be tortured",
    "systems": ["mean_shape"],
    "protocols": ["m_to_s"],
    "overrides": {"preprocessing.size": 32, "trainer.accelerator": "cpu"},
}
ENVIRONMENT = {
    "WANDB_MODE": "disabled",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
}
"""One thread a process, so that the order of sums never depends on how many cells run."""


@dataclass
class Scene:
    """The files of one torture.

    Attributes:
        home: the folder of everything.
        pairs: whether cells of two processes are among the cells.
        seeds: training seeds of each system.
        expected: the rows of an undisturbed run, by the cell's name.
    """

    home: Path
    pairs: bool = True
    seeds: Sequence[int] = (0, 1)
    expected: dict[str, pa.Table] = field(default_factory=dict)

    @property
    def runs(self) -> Path:
        """The runs folder; a small disk may be mounted there."""
        return self.home / "runs"

    @property
    def root(self) -> Path:
        """The data root."""
        return self.home / "data"

    @property
    def suite(self) -> Path:
        """The suite's file."""
        return self.home / f"{NAME}.yaml"

    @property
    def systems(self) -> list[str]:
        """The files of systems that join the suite."""
        return [str(self.home / f"{name}.yaml") for name in ("tiny", "pair")[: 1 + self.pairs]]

    @property
    def board(self) -> Path:
        """The leaderboard's folder."""
        return self.runs / NAME / "leaderboard"

    def set_up(self) -> None:
        """Write phantoms, suite and systems."""
        write_montgomery(self.root, 12, size=64)
        write_shenzhen(self.root, 10, size=64)
        self.suite.write_text(yaml.safe_dump({**SUITE, "seeds": list(self.seeds)}))
        (self.home / "tiny.yaml").write_text(yaml.safe_dump(TINY))
        if self.pairs:
            (self.home / "pair.yaml").write_text(yaml.safe_dump(PAIR))

    def plan(self, runs: Path | None = None) -> Plan:
        """Return the suite's cells as they are now.

        Args:
            runs: another runs folder.
        """
        place = runs or self.runs
        return make_plan(str(self.suite), place, self.root, extra_systems=self.systems)

    def run_words(self) -> list[str]:
        """Return the arguments of ``lungbench`` that run the suite."""
        return [
            "run", "--suite", str(self.suite), "--runs", str(self.runs), "--data-root",
            str(self.root), "--launcher", "local", "--jobs", "1", "--with", *self.systems,
        ]  # fmt: skip

    def config_of(self, cell: Cell) -> Path:
        """Write a cell's config beside the runs, where nothing damages it; return its place."""
        suite_folder = cell.files.suite_folder.parent.name
        place = self.home / "configs" / suite_folder / f"{cell.name.replace(' ', '-')}.yaml"
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(yaml_text(cell.config))
        return place

    def remember(self, cells: Sequence[Cell]) -> None:
        """Keep the rows of cells that nobody disturbed."""
        for cell in cells:
            self.expected[cell.name] = cell.files.read_rows()


def rows_apart(scene: Scene, cells: Sequence[Cell]) -> tuple[int, int]:
    """Return how many rows of the undisturbed run are lost, and how many are different."""
    lost = different = 0
    for cell in cells:
        wanted = scene.expected[cell.name]
        if cell.state()[0] != "done":
            lost += wanted.num_rows
            continue
        found = CellFolder(cell.folder).read_rows()
        lost += max(0, wanted.num_rows - found.num_rows)
        if not found.equals(wanted):
            pairs = zip(found.to_pylist(), wanted.to_pylist(), strict=False)
            different += sum(here != there for here, there in pairs) or 1
    return lost, different

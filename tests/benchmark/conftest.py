"""A tiny suite: two systems, one protocol, seconds on one core."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from benchmark.cell.fit import fit
from benchmark.planning.plan import make_plan

TINY = {
    "title": "tiny",
    "systems": ["adversarial_attention_unet"],
    "protocols": ["m_to_s"],
    "overrides": {
        "preprocessing.size": 32,
        "batch_size": 4,
        "model.init_args.generator.init_args.widths": [4, 8],
        "model.init_args.critic.init_args.widths": [4, 8],
        "model.init_args.pretrain_epochs": 2,
        "model.init_args.generator_steps": 2,
        "trainer.max_epochs": 5,
    },
}


@pytest.fixture
def write_suite(tmp_path):
    """Return a function that writes a suite's YAML and returns its path."""

    def write(name: str = "tiny", **changes) -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**TINY, **changes}))
        return path

    return write


@pytest.fixture
def tiny_cell(write_suite, phantom_root, tmp_path):
    """Return a function that plans a one-cell suite and writes the cell's config."""

    def plan(name: str = "tiny", **changes) -> Path:
        suite = write_suite(name, **changes)
        cell = make_plan(str(suite), tmp_path / "runs", phantom_root).cells[0]
        config = tmp_path / f"{name}-config.yaml"
        config.write_text(yaml.safe_dump(cell.config))
        return config

    return plan


@pytest.fixture
def rows():
    """Return a function that reads a cell's rows."""

    def read(folder: Path) -> pd.DataFrame:
        return pd.read_parquet(folder / "cases.parquet")

    return read


@pytest.fixture(scope="session")
def trained_runs(tmp_path_factory, phantom_root) -> Path:
    """A runs folder with two seeds of a tiny U-Net, trained on phantoms."""
    home = tmp_path_factory.mktemp("trained")
    suite = {
        "title": "tiny",
        "systems": ["unet"],
        "protocols": ["m_to_s"],
        "seeds": [0, 1],
        "overrides": {
            "preprocessing.size": 64,
            "batch_size": 4,
            "augmentation": None,
            "model.init_args.generator.init_args.widths": [4, 8, 16],
            "trainer.max_epochs": 12,
        },
    }
    (home / "tiny.yaml").write_text(yaml.safe_dump(suite))
    for cell in make_plan(str(home / "tiny.yaml"), home / "runs", phantom_root).cells:
        config = home / f"seed-{cell.seed}.yaml"
        config.write_text(yaml.safe_dump(cell.config))
        fit(config, cell.folder)
    return home / "runs"

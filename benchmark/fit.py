"""One cell in one process: train (or resume), test, write the rows."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore", message=".*torch.jit.*", category=FutureWarning)
warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)

import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import pytorch_lightning as pl  # noqa: E402
import torch  # noqa: E402
from lightning_fabric.plugins.environments.lightning import LightningEnvironment  # noqa: E402
from pytorch_lightning.callbacks import RichProgressBar  # noqa: E402
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI  # noqa: E402
from pytorch_lightning.strategies import DDPStrategy  # noqa: E402

from benchmark.callbacks import Meter, Reporter  # noqa: E402
from benchmark.cells import read_record, update_record  # noqa: E402
from benchmark.checkpoints import (  # noqa: E402
    AtomicCheckpointIO,
    EpochCheckpoint,
    Selection,
    find_resumable,
    load_weights,
)
from benchmark.progress import console, say, shown  # noqa: E402
from contract.errors import UserError  # noqa: E402
from contract.rows import CASE_SCHEMA  # noqa: E402
from datamodules.base import ProtocolDataModule  # noqa: E402
from lightning_modules.segmenter import Segmenter  # noqa: E402

HARDWARE_FLAGS = ("trainer.devices", "trainer.num_nodes", "trainer.accelerator", "workers")
"""Overrides that leave a cell's identity as it is."""


@dataclass(frozen=True)
class Identity:
    """What a cell is, as its config states it.

    Attributes:
        suite: the suite's name.
        system: the system's name.
        protocol: the protocol's name.
        seed: the training seed.
        train_on: the data sets that train.
        test_on: the data sets that test.
        config_hash: the hash of what was composed.
        checkpoint: which weights are tested: ``best`` validation Dice, or the ``last`` epoch.
        code_folders: folders of the user's own Python files.
    """

    suite: str
    system: str
    protocol: str
    seed: int
    train_on: str = ""
    test_on: str = ""
    config_hash: str = ""
    checkpoint: Selection = "best"
    code_folders: list[str] = field(default_factory=list)


class CellCLI(LightningCLI):
    """LightningCLI with a cell's identity, and the wiring that pairs and exact resume need.

    Args:
        config: the cell's config file.
        out: the cell's folder.
        extra: further LightningCLI arguments.
        checkpoint_every_s: seconds between two checkpoints.
    """

    def __init__(
        self, config: Path, out: Path, extra: Sequence[str], checkpoint_every_s: float = 30.0
    ) -> None:
        self._out, self._checkpoint_every_s = out, checkpoint_every_s
        self.meter = Meter()
        super().__init__(
            Segmenter,
            ProtocolDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            save_config_callback=None,
            run=False,
            args=["--config", str(config), *extra],
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the cell's identity."""
        parser.add_argument("--cell", type=Identity)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Build the Trainer with this project's checkpoints, progress and strategy."""
        given = self._get(self.config_init, "trainer")
        cell: Identity = self._get(self.config_init, "cell")
        callbacks: list[pl.Callback] = [
            Reporter(self._out / "progress.json", lines=not console.is_terminal),
            self.meter,
            EpochCheckpoint(
                self._out / "checkpoints", cell.config_hash, self._checkpoint_every_s
            ),
        ]
        if console.is_terminal:
            callbacks.append(RichProgressBar())
        kwargs |= {
            "callbacks": [*(given.get("callbacks") or []), *callbacks],
            "default_root_dir": str(self._out),
            "logger": False,
            "plugins": [AtomicCheckpointIO(), LightningEnvironment()],
            "use_distributed_sampler": False,
            "num_sanity_val_steps": 0,
            "enable_progress_bar": console.is_terminal,
            "enable_model_summary": False,
        }
        if given.get("deterministic") is None:
            kwargs["deterministic"] = "warn"
        if given.get("devices") in (None, "auto"):
            kwargs["devices"] = 1
        elif given["devices"] not in (1, "1") or given.get("num_nodes", 1) > 1:
            kwargs["strategy"] = DDPStrategy(find_unused_parameters=True, broadcast_buffers=False)
        return super().instantiate_trainer(**kwargs)


def fit(
    config: Path,
    out: Path,
    extra: Sequence[str] = (),
    checkpoint: Path | None = None,
    checkpoint_every_s: float = 30.0,
) -> None:
    """Train and test one cell in this process, resuming where it was interrupted.

    Args:
        config: the cell's config.
        out: the cell's folder; a finished cell of the same identity is left alone.
        extra: further LightningCLI arguments, such as ``--trainer.max_epochs=3``.
        checkpoint: test these weights instead of training.
        checkpoint_every_s: seconds between two checkpoints; the last epoch is always saved.

    Raises:
        UserError: if the config or the folder is not usable.
    """
    identity = _read_identity(config, extra)
    sys.path[:0] = [f for f in identity["code_folders"] if f not in sys.path]
    first = "LOCAL_RANK" not in os.environ or os.environ["LOCAL_RANK"] == "0"
    out.mkdir(parents=True, exist_ok=True)
    record = read_record(out)
    if record and record.get("config_hash") not in (None, identity["config_hash"]):
        raise UserError(
            out,
            f"a cell of configuration {record['config_hash']}",
            f"{identity['config_hash']} or an empty folder",
            "choose another --out",
        )
    if first and record.get("state") == "done" and checkpoint is None:
        say(f"{out} is done already; nothing to do")
        return
    started = time.time()
    names = ("suite", "system", "protocol", "seed", "train_on", "test_on", "config_hash")
    if first:
        update_record(
            out,
            **{name: identity[name] for name in names},
            state="running",
            reason="",
            host=platform.node(),
            pid=os.getpid(),
            started=started,
        )
    spent = float(record.get("wall_s") or 0.0) if record.get("state") != "done" else 0.0
    try:
        hash_flag = f"--cell.config_hash={identity['config_hash']}"
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*args parameter is intended.*")
            cli = CellCLI(config, out, [*extra, hash_flag], checkpoint_every_s)
        result = _train_and_test(cli, out, identity, checkpoint)
    except BaseException as error:
        if first:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            label = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            update_record(
                out,
                state="failed",
                reason=label + reason[0],
                wall_s=round(spent + time.time() - started, 2),
            )
            if not isinstance(error, UserError):
                traceback.print_exc()
        raise
    if first and result:
        wall = spent + time.time() - started
        gpus = result["processes"] if result["device"] != "cpu" else 0
        update_record(
            out,
            state="done",
            reason="",
            wall_s=round(wall, 2),
            gpu_hours=round(wall * gpus / 3600, 4),
            finished=time.time(),
            **result,
        )
        (out / "progress.json").unlink(missing_ok=True)


def _read_identity(config: Path, extra: Sequence[str]) -> dict[str, Any]:
    """Return the config's ``cell`` section; overrides that change results change its hash."""
    import yaml

    try:
        cell = yaml.safe_load(config.read_text())["cell"]
        identity = asdict(Identity(**cell))
    except (OSError, TypeError, KeyError, yaml.YAMLError) as error:
        raise UserError(
            config, f"no cell's config ({error})", "a config.yaml that `run` wrote"
        ) from None
    changes = [flag for flag in extra if not any(name in flag for name in HARDWARE_FLAGS)]
    if changes:
        text = json.dumps([identity["config_hash"], changes])
        identity["config_hash"] = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    return identity


def _train_and_test(
    cli: CellCLI, out: Path, identity: dict[str, Any], checkpoint: Path | None
) -> dict[str, Any] | None:
    """Return what the record should say, on the first process."""
    trainer, module, data = cli.trainer, cli.model, cli.datamodule
    assert isinstance(module, Segmenter) and isinstance(data, ProtocolDataModule)
    if trainer.is_global_zero:
        data.progress = shown
        if not (out / "config.yaml").exists():
            text = cli.parser.dump(cli.config, skip_none=False)
            (out / "config.yaml").write_text(text)
    checkpoints = out / "checkpoints"
    if checkpoint is None:
        resume, complete, remarks = find_resumable(checkpoints, identity["config_hash"])
        for remark in remarks:
            say(remark)
        if resume is not None:
            say(f"resuming from {resume.name}")
        if not complete:
            trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
            if trainer.interrupted:
                raise KeyboardInterrupt
        checkpoint = checkpoints / f"{identity['checkpoint']}.ckpt"
    trainer.strategy.barrier()
    tested = load_weights(module, checkpoint)
    trainer.test(module, datamodule=data, verbose=False)
    rows = _gather(module.case_rows, trainer)
    if not trainer.is_global_zero:
        return None
    assert data.split is not None
    _write_rows(out, rows, data, identity)
    return {
        "tested_epochs": tested.get("epochs"),
        "val_dice": tested.get("val_dice"),
        "n_train": len(data.split.train),
        "n_validation": len(data.split.validation),
        "n_test": len(data.split.test),
        "split_hash": data.split.digest,
        "phantom": data.phantom,
        "versions": _versions(),
        "commit": _commit(),
        **cli.meter.measured(trainer, module),
    }


def _gather(rows: list[dict[str, Any]], trainer: pl.Trainer) -> list[dict[str, Any]]:
    if trainer.world_size == 1:
        return rows
    parts: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(parts, rows)
    return [row for part in parts for row in part]


def _write_rows(
    out: Path, rows: list[dict[str, Any]], data: ProtocolDataModule, identity: dict[str, Any]
) -> None:
    """Write ``cases.parquet``, each test case exactly once, in the split's order."""
    assert data.split is not None
    order = {key: position for position, key in enumerate(data.split.test)}
    scored = [(r["test_on"], r["case_id"]) for r in rows if r["structure"] == "lungs"]
    if sorted(scored) != sorted(order):
        raise RuntimeError(
            f"{len(scored)} cases scored ({len(set(scored))} different), {len(order)} in the split"
        )
    rows.sort(key=lambda r: (order[r["test_on"], r["case_id"]], r["structure"]))
    names = {k: identity[k] for k in ("suite", "system", "protocol", "seed", "train_on")}
    table = pa.Table.from_pylist(
        [{**names, "phantom": data.phantom, **row} for row in rows], schema=CASE_SCHEMA
    )
    beside = out / f".cases.parquet.{os.getpid()}"
    pq.write_table(table, beside)
    beside.replace(out / "cases.parquet")


def _versions() -> dict[str, str]:
    packages = ("lungbench", "torch", "pytorch-lightning", "monai", "segmentation-models-pytorch",
                "numpy", "opencv-python-headless")  # fmt: skip
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """Return the project's git commit, marked where files were changed since."""
    here = Path(__file__).parent
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=here, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return commit.stdout.strip() or None

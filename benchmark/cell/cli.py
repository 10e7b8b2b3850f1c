"""A cell's config as a LightningCLI: identity, checkpoints, progress and the right strategy."""

from __future__ import annotations

import os
from argparse import ArgumentError
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from benchmark.cell.quiet import keep_quiet

keep_quiet()

import pytorch_lightning as pl  # noqa: E402
import torch  # noqa: E402
from lightning_fabric.plugins.environments.lightning import LightningEnvironment  # noqa: E402
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment  # noqa: E402
from pytorch_lightning.callbacks import RichProgressBar  # noqa: E402
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI  # noqa: E402
from pytorch_lightning.loggers import Logger  # noqa: E402

from benchmark.cell.callbacks import DieAtOnce, Meter, Reporter  # noqa: E402
from benchmark.cell.checkpoints import AtomicCheckpointIO, EpochCheckpoint  # noqa: E402
from benchmark.cell.config_check import check_classes  # noqa: E402
from benchmark.cell.identity import Identity  # noqa: E402
from benchmark.cell.launching import WatchedDDPStrategy  # noqa: E402
from benchmark.cell.own_code import fault_of_own_code, import_own_code  # noqa: E402
from benchmark.cell.peers import Peers  # noqa: E402
from benchmark.gpus import unusable, visible_gpus, why_not  # noqa: E402
from benchmark.planning.precision import require_precision  # noqa: E402
from benchmark.progress import on_terminal  # noqa: E402
from benchmark.tracking import wandb_place  # noqa: E402
from benchmark.tracking.tracker import Overlays  # noqa: E402
from contract.cell_folder import CellFolder  # noqa: E402
from contract.errors import UserError  # noqa: E402
from contract.yaml_files import read_yaml  # noqa: E402
from datamodules.base import ProtocolDataModule  # noqa: E402
from lightning_modules.case_rows import CaseRows  # noqa: E402
from lightning_modules.segmenter import Segmenter  # noqa: E402


class CellCLI(LightningCLI):
    """LightningCLI with a cell's identity, and the wiring that pairs and exact resume need.

    Args:
        config: the cell's config file.
        out: the cell's folder.
        extra: further LightningCLI arguments.
        checkpoint_every_s: seconds between two checkpoints.
        tracker: where losses, metrics and pictures go besides the folder, if anywhere.
        checkpoints: the folder of checkpoints, by default inside the cell's.
        peers: looks after the processes that this one starts.
    """

    def __init__(
        self,
        config: Path,
        out: Path,
        extra: Sequence[str],
        checkpoint_every_s: float = 30.0,
        tracker: Logger | None = None,
        checkpoints: Path | None = None,
        peers: Peers | None = None,
    ) -> None:
        keep_quiet()
        self._config, self._out = config, out
        self._checkpoint_every_s = checkpoint_every_s
        self._tracker, self._peers = tracker, peers
        self.checkpoints = checkpoints or CellFolder(out).checkpoints().path
        self.meter, self.case_rows = Meter(), CaseRows()
        settings = read_yaml(config)
        folders = settings["cell"].get("code_folders") or []
        check_classes(config, settings)
        import_own_code(config, settings, folders)
        try:
            super().__init__(
                Segmenter,
                ProtocolDataModule,
                subclass_mode_model=True,
                subclass_mode_data=True,
                auto_configure_optimizers=False,
                save_config_callback=None,
                run=False,
                args=["--config", str(config), *extra],
                parser_kwargs={"exit_on_error": False, "allow_abbrev": False},
            )
        except (ArgumentError, ValueError) as error:
            fault = _explained(config, extra, error, folders)
            if fault is None:
                raise
            raise fault from None

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the cell's identity."""
        parser.add_argument("--cell", type=Identity)

    def instantiate_classes(self) -> None:
        """Build everything; checkpoints will tell what the model was built from."""
        super().instantiate_classes()
        self.model.remember(self.config_dump["model"])

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Build the Trainer with this project's checkpoints, progress and strategy."""
        given = self._get(self.config_init, "trainer")
        require_precision(given.get("precision"), f"{self._config}: trainer.precision")
        cell: Identity = self._get(self.config_init, "cell")
        callbacks: list[pl.Callback] = [
            Reporter(CellFolder(self._out).progress, lines=not on_terminal()),
            self.meter,
            self.case_rows,
            EpochCheckpoint(
                self.checkpoints, cell.config_hash, self._checkpoint_every_s, cell.checkpoint_after
            ),
        ]
        if under_srun():
            callbacks.append(DieAtOnce())
        if self._tracker is not None and wandb_place.with_pictures():
            callbacks.append(Overlays())
        if on_terminal():
            callbacks.append(RichProgressBar())
        kwargs |= whole_numbers(given, read_yaml(self._config)["trainer"])
        kwargs |= {
            "callbacks": [*(given.get("callbacks") or []), *callbacks],
            "default_root_dir": str(self._out),
            "logger": self._tracker or False,
            "plugins": [
                AtomicCheckpointIO(),
                SLURMEnvironment(auto_requeue=False) if under_srun() else LightningEnvironment(),
            ],
            "use_distributed_sampler": False,
            "num_sanity_val_steps": 0,
            "enable_progress_bar": on_terminal(),
            "enable_model_summary": False,
        }
        # Content for memory that nobody reads repeats nothing, and costs a fill each time.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        if given.get("deterministic") is None:
            kwargs["deterministic"] = repeatable(given.get("accelerator"))
        kwargs |= chosen_accelerator(given.get("accelerator"))
        if kwargs.get("accelerator") is None and given.get("accelerator") != "cpu":
            require_seen(given.get("devices"))
        if given.get("devices") in (None, "auto"):
            kwargs["devices"] = 1
        elif given["devices"] not in (1, "1") or given.get("num_nodes", 1) > 1:
            kwargs["strategy"] = WatchedDDPStrategy(
                self._peers, find_unused_parameters=True, broadcast_buffers=False
            )
        return super().instantiate_trainer(**kwargs)


def _explained(
    config: Path, extra: Sequence[str], error: Exception, folders: Sequence[str]
) -> UserError | None:
    """Return in the project's words what the parser refused; None where it refused nothing.

    The parser's own text names class after class before it comes to the point, which is the error
    that a class raised, where one did.
    """
    flags = [flag for flag in extra if not flag.startswith("--cell.")]  # the others are a user's
    where = f"{config} with {' '.join(flags)}" if flags else config
    if own := fault_of_own_code(error, folders):
        return UserError(config, own, "classes that their arguments build")
    cause = error.__cause__ or error.__context__
    refused = str(error).startswith("Does not validate against any")
    if isinstance(error, ArgumentError):
        told = " ".join(str(error).partition("Given value type")[0].split())
    elif refused and cause is not None:
        told = str(cause)
    else:
        return None
    return UserError(where, told, "arguments that the named classes take")


def chosen_accelerator(asked: object) -> dict[str, str]:
    """Return what the Trainer is to be told of the device, if anything.

    Never MPS unless it is asked for, since its results were never checked, and never the CPU of a
    machine whose GPUs torch cannot use.

    Args:
        asked: what the config says.

    Raises:
        UserError: if GPUs are there, or asked for, that torch cannot use.
    """
    if asked not in (None, "auto", "gpu", "cuda") or torch.cuda.is_available():
        return {}
    gpus = visible_gpus()
    if gpus or asked in ("gpu", "cuda"):
        raise unusable(gpus, why_not())
    return {"accelerator": "cpu"}


def require_seen(devices: object) -> None:
    """Refuse a process that sees fewer GPUs than the node's processes train on.

    Lightning gives each process the GPU of its own number among those of the node.

    Raises:
        UserError: naming what hides them.
    """
    wanted = int(devices) if isinstance(devices, (int, str)) and str(devices).isdigit() else 1
    seen = torch.cuda.device_count()
    if 0 < seen < wanted:
        todo = "leave --gpus-per-task and --gpu-bind out of `sbatch` in the site profile"
        todo = (
            todo
            if under_srun()
            else "look at CUDA_VISIBLE_DEVICES; of a divided GPU (MIG) take one"
        )
        found = f"{seen} GPU{'s' if seen > 1 else ''} seen by a process"
        raise UserError("trainer.devices", found, f"all {wanted} that the node trains on", todo)


def repeatable(accelerator: object) -> Literal["warn", False]:
    """Have runs repeat themselves as far as it is cheap; return Lightning's ``deterministic``.

    On a GPU torch's own switch would take each bilinear interpolation apart into slow steps, so
    cuDNN and cuBLAS alone are held to repeatable algorithms there (``docs/running.md``).
    """
    if accelerator == "cpu" or not torch.cuda.is_available():
        return "warn"
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return False


def under_srun() -> bool:
    """Tell whether ``srun`` started this cell's processes, as the batch script does."""
    return "LUNGBENCH_SRUN" in os.environ


def whole_numbers(given: Mapping[str, Any], stated: Mapping[str, Any]) -> dict[str, int]:
    """Return the Trainer's counts that the parser made floats of.

    ``limit_train_batches: 1`` means one batch and ``1.0`` all of them. Which of ``int | float`` the
    parser tries first depends on what else was imported (typing caches equal unions in whatever
    order they came first), so the config's own word decides.

    Args:
        given: the Trainer's arguments as parsed.
        stated: the same as the config file states them.
    """
    return {
        name: int(value)
        for name, value in given.items()
        if isinstance(value, float)
        and value.is_integer()
        and (value > 1 or (value == stated.get(name) and isinstance(stated[name], int)))
    }

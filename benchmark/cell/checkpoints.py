"""Checkpoints that survive a kill at any moment, and the weights that are tested."""

from __future__ import annotations

import pickle
import pickletools
import time
import zipfile
import zlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from contract.cell_folder import CheckpointFolder
from contract.errors import UserError
from contract.files import replacing

CheckpointChoice = Literal["best", "last"]
UNUSABLE = ".unusable"
"""What a checkpoint ends in that could not be resumed from."""
SAVING_SHARE = 0.02
"""Of the time of a training, what saving may take."""


def save_atomically(content: dict[str, Any], path: Path) -> None:
    """Write a checkpoint so that a kill at any moment leaves the old file or the new one."""
    with replacing(path) as file:
        torch.save(content, file)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically within their own folder, and unpickles plain values only."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint; see ``save_atomically``."""
        save_atomically(checkpoint, Path(path))

    def load_checkpoint(  # type: ignore[override]
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint of tensors and plain values."""
        return super().load_checkpoint(path, map_location, weights_only=True)


class EpochCheckpoint(Checkpoint):
    """Saves the whole state at the ends of epochs and the best weights so far.

    ``epoch-<n>.ckpt`` resumes training after n epochs; the latest two are kept. ``best.ckpt``
    holds the weights with the highest validation Dice, ``last.ckpt`` those after the last epoch.
    The best weights wait in memory for the next save: a killed training goes on from there, and
    comes by them again. Saving takes at most ``SAVING_SHARE`` of the time.

    With ``after``, ``best`` is chosen among the epochs after so many, the last of equals: those in
    which a critic plays. Without, among all, the first of equals.

    Args:
        folder: where checkpoints lie.
        config_hash: written into each checkpoint; another cell's is not resumed from.
        every_s: seconds that must pass between two saves; the last epoch is always saved, and with
            0 every one, whatever that takes.
        after: number of first epochs that cannot be chosen.
        clock: seconds, ever growing.
    """

    def __init__(
        self,
        folder: Path,
        config_hash: str,
        every_s: float = 30.0,
        after: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._config_hash = CheckpointFolder(folder), config_hash
        self._every_s, self._after, self._clock = every_s, after, clock
        self._saved_at, self._took_s = clock(), 0.0
        self._best: dict[str, Any] | None = None
        self.best_dice, self.best_epoch = -1.0, -1
        self.has_begun = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set aside what was passed over: it would count as newer than what comes now."""
        self.has_begun = True
        if trainer.is_global_zero:
            for path in self._folder.resumable():
                if path > self._folder.after(trainer.current_epoch):
                    path.replace(path.with_suffix(UNUSABLE))

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse a training without an epoch that can be chosen, or with one too many.

        Raises:
            UserError: if it ends before, or its critic joins after the first epoch of choice.
        """
        if self._after is None:
            return
        epochs = trainer.max_epochs or 0
        if 0 < epochs <= self._after:
            raise UserError(
                "trainer.max_epochs", str(epochs), f"more than {self._after} epochs",
                "the checkpoint is chosen after them; train longer, or lower pretrain_epochs and "
                "cell.checkpoint_after",
            )  # fmt: skip
        joins = getattr(pl_module, "pretrain_epochs", 0)
        if getattr(pl_module, "critic", None) is not None and joins > self._after:
            raise UserError(
                "cell.checkpoint_after", str(self._after), f"pretrain_epochs, which is {joins}",
                f"--cell.checkpoint_after={joins}",
            )  # fmt: skip

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save what is due; the callback runs after schedulers and validation."""
        epochs = trainer.current_epoch + 1
        dice = trainer.callback_metrics.get("val/dice")
        if dice is not None and self._is_better(float(dice), epochs):
            self.best_dice, self.best_epoch = float(dice), epochs
            self._best = _weights(trainer, pl_module, epochs, self.best_dice)
        complete = is_complete(trainer)
        if trainer.strategy.broadcast(complete or self._is_due()):
            began = self._clock()
            # Before the state that knows of it: who resumes from that has these weights.
            if self._best is not None and trainer.is_global_zero:
                save_atomically(self._best, self._folder.weights("best"))
            self._best = None
            if complete:
                if dice is not None and self.best_epoch < 0:
                    found = f"a training that stopped early, after {epochs} epochs"
                    todo = "stop later, or lower pretrain_epochs"
                    raise UserError(self._folder.path, found, f"more than {self._after}", todo)
                weights = _weights(trainer, pl_module, epochs, None)
                if trainer.is_global_zero:
                    save_atomically(weights, self._folder.weights("last"))
            trainer.save_checkpoint(self._folder.after(epochs))
            self._saved_at = self._clock()
            self._took_s = self._saved_at - began
            if trainer.is_global_zero:
                for old in self._folder.resumable()[2:]:
                    old.unlink(missing_ok=True)

    def _is_better(self, dice: float, epochs: int) -> bool:
        if self._after is None:
            return dice > self.best_dice
        return epochs > self._after and dice >= self.best_dice

    def _is_due(self) -> bool:
        wait = max(self._every_s, self._took_s / SAVING_SHARE) if self._every_s else 0.0
        return self._clock() - self._saved_at >= wait

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Mark whose checkpoint this is and whether training is over."""
        checkpoint["config_hash"] = self._config_hash
        checkpoint["complete"] = is_complete(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Keep the best score, so that a resumed run compares with it."""
        return {"best_dice": self.best_dice, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the best score up again."""
        self.best_dice, self.best_epoch = state_dict["best_dice"], state_dict["best_epoch"]


def _weights(
    trainer: pl.Trainer, module: pl.LightningModule, epochs: int, dice: float | None
) -> dict[str, Any]:
    """Return a file's content of weights as they are now, in the computer's own memory."""
    state = {
        name: value.detach().to("cpu", copy=True) if isinstance(value, torch.Tensor) else value
        for name, value in _kept_state(trainer, module).items()
    }
    weights = {
        "state_dict": state,
        "epochs": epochs,
        "val_dice": dice,
        # What `load_from_checkpoint` needs beside the weights.
        module.CHECKPOINT_HYPER_PARAMS_KEY: dict(module.hparams),
        "pytorch-lightning_version": version("pytorch-lightning"),
    }
    module.on_save_checkpoint(weights)
    return weights


def _kept_state(trainer: pl.Trainer, module: pl.LightningModule) -> dict[str, Any]:
    """Return the weights that Lightning would save: averaged ones where a callback averages.

    They are those that were validated. Like Lightning's own saving, this runs on every process.
    """
    content: dict[str, Any] = {"state_dict": module.state_dict()}
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if not isinstance(callback, Checkpoint):
            callback.on_save_checkpoint(trainer, module, content)
    return cast("dict[str, Any]", content["state_dict"])


def is_complete(trainer: pl.Trainer) -> bool:
    """Tell at an epoch's end whether training is over (all epochs, or stopped early)."""
    last = trainer.max_epochs is not None and trainer.current_epoch + 1 >= trainer.max_epochs
    return bool(trainer.should_stop or last)


def is_whole(path: Path) -> bool:
    """Tell whether every byte of a checkpoint is as it was written (by its checksums).

    Torch packs nothing: an archive that holds more than its own size is none of its.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            held = sum(entry.file_size for entry in archive.infolist())
            return held <= path.stat().st_size and archive.testzip() is None
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return False  # RuntimeError: encrypted; also a packing that Python does not know


def find_resumable(
    folder: Path, config_hash: str, module: pl.LightningModule | None = None
) -> tuple[Path | None, bool, list[str]]:
    """Find the newest whole checkpoint of this configuration.

    Args:
        folder: where checkpoints lie.
        config_hash: the configuration's.
        module: what is to be trained; where it is given, a checkpoint must hold its tensors.

    Returns:
        Its path or None, whether training is complete in it, and remarks on those passed over.
    """
    remarks: list[str] = []
    found = CheckpointFolder(folder).resumable()
    for place, path in enumerate(found, 1):
        content, fault = _read_whole(path)
        if content is not None and content.get("config_hash") != config_hash:
            fault = "belongs to another configuration"
        elif content is not None:
            fault = _state_fault(content)
            fault = fault or (_tensor_fault(content, module) if module is not None else "")
        if content is not None and not fault:
            return path, content["complete"], remarks
        older = found[place:]
        following = f"falling back to {older[0].name}" if older else "training starts anew"
        remarks.append(f"{path.name} {fault}; {following}")
    return None, False, remarks


def _read_whole(path: Path) -> tuple[dict[str, Any] | None, str]:
    """Return what a checkpoint holds, or why it is none, in words that follow its name."""
    if not is_whole(path):
        return None, "is missing" if not path.exists() else "is torn or truncated"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises many kinds for foreign files
        return None, _unreadable(path, error)
    if not isinstance(content, dict):
        return None, f"holds a {type(content).__name__}, no checkpoint"
    return content, ""


_STATE = {
    "complete": bool, "epoch": int, "global_step": int, "state_dict": dict, "callbacks": dict,
    "loops": dict, "optimizer_states": list, "lr_schedulers": list,
}  # fmt: skip
"""What Lightning resumes from, and whether training is over."""


def _state_fault(content: dict[str, Any]) -> str:
    """Return what a checkpoint lacks, or holds another kind of thing as, in words."""
    for name, kind in _STATE.items():
        if name not in content:
            return f"holds no {name!r}"
        if not isinstance(content[name], kind):
            return f"holds a {type(content[name]).__name__} as {name!r}"
    for name in ("optimizer_states", "lr_schedulers"):
        if not all(isinstance(state, dict) for state in content[name]):
            return f"holds other things than states in {name!r}"
    return ""


def _tensor_fault(content: dict[str, Any], module: pl.LightningModule) -> str:
    """Return how a checkpoint's tensors differ from those of a network, in words."""
    held, wanted = content.get("state_dict"), module.state_dict()
    if not isinstance(held, dict):
        return "holds no 'state_dict'"
    odd = sorted(str(name) for name in set(held) ^ set(wanted))
    if odd:
        state = "lacks" if odd[0] in wanted else "has besides"
        more = f" and {len(odd) - 1} other tensors" if len(odd) > 1 else ""
        return f"{state} {odd[0]}{more}"
    for name, tensor in wanted.items():
        if not isinstance(held[name], torch.Tensor):
            return f"holds a {type(held[name]).__name__} as {name}"
        if held[name].shape != tensor.shape:
            return f"holds {name} as {tuple(held[name].shape)} instead of {tuple(tensor.shape)}"
    return ""


def _unreadable(path: Path, error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError) and _holds_objects(path):
        return "holds Python objects besides weights, which could run code; none was loaded"
    said = next(iter(str(error).splitlines()), "an empty file")
    return f"does not load ({type(error).__name__}: {said})"


def _holds_objects(path: Path) -> bool:
    """Tell whether a checkpoint names Python objects besides tensors and plain values."""
    try:
        if zipfile.is_zipfile(path):
            return bool(torch.serialization.get_unsafe_globals_in_checkpoint(path))
        with path.open("rb") as file:  # a plain pickle, or several: torch's old format
            return any(
                op.name in ("INST", "STACK_GLOBAL")
                or (op.name == "GLOBAL" and not str(said).startswith(("torch", "collections ")))
                for _ in range(4)
                for op, said, _ in pickletools.genops(file)
            )
    except Exception:  # torch raises many kinds for damaged or foreign files
        return False


def weights_fault(path: Path, module: pl.LightningModule) -> str:
    """Return why weights cannot be tested, in words that follow the file's name, or nothing."""
    content, fault = _read_whole(path)
    return fault if content is None else _tensor_fault(content, module) or _facts_fault(content)


def _facts_fault(content: dict[str, Any]) -> str:
    """Return what is wrong with what weights tell of themselves, which goes into the record."""
    for name, kinds in (("epochs", (int,)), ("val_dice", (float, int))):
        value = content.get(name)
        if value is not None and type(value) not in kinds:
            return f"holds a {type(value).__name__} as {name!r}"
    return ""


def _diverged(weights: dict[str, Any]) -> str:
    """Return which of a network's numbers are none, in words; nothing where all are finite."""
    for name, tensor in weights.items():
        if isinstance(tensor, torch.Tensor) and not tensor.isfinite().all():
            return f"holds numbers that are not finite in {name}: its training diverged"
    return ""


def load_weights(module: pl.LightningModule, path: Path) -> dict[str, Any]:
    """Load tested or handed-in weights; nothing but tensors and plain values is unpickled.

    Raises:
        UserError: if the file is missing, damaged, of another network, or of a training that ended
            in numbers that are none.
    """
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
            fault = "holds no weights under 'state_dict'"
        else:
            fault = _facts_fault(content) or _diverged(content["state_dict"])
            module.load_state_dict(content["state_dict"])
    except Exception as error:  # torch raises many kinds for damaged or foreign files
        fault = _unreadable(path, error)
    if fault:
        raise UserError(
            path,
            f"a file that {fault}",
            "a checkpoint of this system, holding tensors only",
            "check --checkpoint and --config",
        )
    weights: dict[str, Any] = content
    return weights

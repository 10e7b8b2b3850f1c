"""How a module is built anew: what its checkpoints tell, in plain values."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.cli import LightningArgumentParser
from pytorch_lightning.utilities.parsing import collect_init_args

from contract.errors import UserError

Built = TypeVar("Built", bound=pl.LightningModule | pl.LightningDataModule)

CLASS_PATH = "_class_path"
"""Under this key stands the class of a module that was built from a configuration."""

INSTANTIATOR = "pytorch_lightning.cli.instantiate_module"
"""What Lightning builds a module of class paths with."""

LIVE = "_live"
"""Under this key stand the names of arguments that no plain value describes."""


def plain_arguments(kind: type, frame: FrameType | None) -> dict[str, Any]:
    """Return a constructor's arguments that are plain values, and the names of the others.

    Args:
        kind: the class that is built.
        frame: of an ``__init__`` of it or of a class below; it and those that called it tell.
    """
    assert frame is not None
    given: dict[str, Any] = {}
    for found in collect_init_args(frame, [], classes=(pl.LightningModule,)):
        given |= found
    known = inspect.signature(kind).parameters
    plain = {name: value for name, value in given.items() if name in known and _is_plain(value)}
    live = [name for name in known if name in given and name not in plain]
    return {**plain, LIVE: live} if live else plain


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return type(value) is dict and all(map(_is_plain, [*value, *value.values()]))
    if isinstance(value, list | tuple):
        return type(value) in (list, tuple) and all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str)


def description(path: Path) -> dict[str, Any]:
    """Return what a checkpoint tells of how its module was built, or nothing.

    Raises:
        UserError: if the file is missing, damaged, or holds more than tensors and plain values.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return dict(content.get("hyper_parameters", {}))
    except Exception as error:  # torch raises many kinds for damaged or foreign files
        told = next(iter(str(error).splitlines()), "an empty file")
        raise UserError(
            path,
            f"no readable checkpoint ({type(error).__name__}: {told})",
            "a checkpoint of tensors and plain values",
        ) from None


def require_description(path: Path, given: Collection[str]) -> dict[str, Any]:
    """Return a checkpoint's description; refuse one that does not tell how to build its module.

    Args:
        path: the checkpoint.
        given: names of arguments that the caller adds.

    Raises:
        UserError: naming the arguments to pass.
    """
    told = description(path)
    if not told and not given:
        raise UserError(
            path,
            "weights without a word of how their module was built",
            "a checkpoint that tells it (older ones do not)",
            "pass the constructor's arguments, or load a cell with `lungbench.load_cell`",
        )
    missing = [name for name in told.get(LIVE, ()) if name not in given]
    if missing:
        raise UserError(
            path,
            f"a module built by hand, of what no plain value describes: {', '.join(missing)}",
            "that as arguments",
            f"load_from_checkpoint(path, {', '.join(f'{name}=…' for name in missing)})",
        )
    return told


def build_from_config(kind: type[Built], config: Mapping[str, Any], where: object) -> Built:
    """Build a module, or a DataModule, from class paths and plain values, as YAML files state them.

    Args:
        kind: the class that it must be of.
        config: ``class_path`` and ``init_args``, plain values and further such mappings.
        where: the file or key that it comes from, for messages.

    Raises:
        UserError: if a class cannot be imported or does not take these arguments.
    """
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_lightning_class_args(kind, "built", subclass_mode=True)
    try:
        parsed = parser.parse_object({"built": dict(config)})
        built = parser.instantiate_classes(parsed).built
    except Exception as error:  # jsonargparse and a user's own network raise many kinds
        told = " ".join(line.strip() for line in str(error).strip().splitlines()[:4])
        raise UserError(
            where,
            f"a {kind.__name__} that cannot be built ({told})",
            "class paths that can be imported, with arguments that they take",
            "mend the configuration, or put the folder of your own classes on PYTHONPATH",
        ) from None
    assert isinstance(built, kind)
    return built

"""A cell's ``config.yaml``, which people edit by hand, against what it may say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt

from benchmark.cell.identity import Identity
from benchmark.planning.class_checks import ClassChecks
from benchmark.planning.language import Channels, Seed
from benchmark.planning.library import Settings
from benchmark.planning.system_check import MODULE
from contract.errors import UserError
from contract.language import Count, Natural, check_settings
from contract.words import check_structures
from datamodules.augmentation import Augmentation
from datamodules.preprocessing import Preprocessing
from datamodules.protocol import Protocol

OWN_DATA = "datamodules.cross_dataset.CrossDataset"


@dataclass(frozen=True, kw_only=True)
class AnyCellConfig:
    """A cell's config, whatever its data module.

    Attributes:
        seed_everything: the seed of all that is random, or whether there is one.
        cell: what the cell is.
        model: the LightningModule by ``class_path`` and ``init_args``.
        data: the LightningDataModule by ``class_path`` and ``init_args``.
        trainer: arguments of Lightning's Trainer.
    """

    seed_everything: Seed | bool = True
    cell: Identity
    model: Settings
    data: Settings
    trainer: Settings


@dataclass(frozen=True, kw_only=True)
class DataArguments:
    """The arguments of the data module that plans write; ``ProtocolDataModule`` says more.

    Attributes:
        root: the data root.
        cache: the folder for prepared images.
        protocol: which cases train, validate and test.
        preprocessing: film to network input.
        structures: the network's output channels in order.
        batch_size: the joint batch size over all processes.
        seed: fixes order and augmentation.
        augmentation: random changes of training images, or none.
        eval_batch_size: batch size of one process in validation and testing.
        workers: data-loading processes, or none to have them chosen.
        fold: which of the protocol's folds tests.
        mixup: blend training images in pairs.
    """

    root: str
    cache: str | None = None
    protocol: Protocol
    preprocessing: Preprocessing | None = None
    structures: Channels = ("background", "lungs")
    batch_size: Count = 8
    seed: Seed = 0
    augmentation: Augmentation | None = None
    eval_batch_size: Count = 8
    workers: Natural | None = None
    fold: Annotated[int, Ge(0)] = 0
    mixup: Annotated[float, Gt(0)] | None = None


@dataclass(frozen=True, kw_only=True)
class UnknownDataModule:
    """The data module that plans write.

    Attributes:
        class_path: its class.
        init_args: its arguments.
    """

    class_path: str
    init_args: DataArguments


@dataclass(frozen=True, kw_only=True)
class CellConfig(AnyCellConfig):
    """A cell's config as plans write it.

    Attributes:
        data: the data module and its arguments.
    """

    data: UnknownDataModule  # type: ignore[assignment]


def check_keys(config: Path, settings: Any) -> None:
    """Refuse keys and values that a cell's config does not have, the classes' arguments apart.

    Raises:
        UserError: naming file, key, what was found and what is expected.
    """
    if not isinstance(settings, Mapping) or "cell" not in settings:
        raise UserError(config, "no cell's config", "a config.yaml that `run` wrote")
    data = settings.get("data")
    foreign = isinstance(data, Mapping) and data.get("class_path", OWN_DATA) != OWN_DATA
    check_settings(AnyCellConfig if foreign else CellConfig, settings, config)


def check_classes(config: Path, settings: Settings) -> None:
    """Refuse arguments that the named classes do not take.

    Raises:
        UserError: naming file, key, what was found and what is expected.
    """
    checks = ClassChecks(config, [Path(f) for f in settings["cell"].get("code_folders") or ()])
    checks.trainer(settings["trainer"])
    for key, wanted in (("model", MODULE), ("data", None)):
        if key == "model" or settings[key].get("class_path") != OWN_DATA:
            checks.check_object(settings[key], (key,), wanted)
    arguments = settings["model"].get("init_args") or {}
    try:
        check_structures(arguments["structures"], arguments.get("activation") or "softmax")
    except KeyError:
        return
    except ValueError as fault:
        where = f"{config}: model.init_args.structures"
        raise UserError(where, str(fault), "channels that go with the activation") from None

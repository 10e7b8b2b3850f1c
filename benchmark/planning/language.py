"""The keys of systems, protocols and suites as YAML files state them.

Data sets of a user's own and site profiles are described beside their readers. All five are
listed in ``FILE_KINDS``, from which checks and JSON schemas follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Len

from benchmark.launchers.site_profile import Site
from benchmark.planning.library import Settings
from contract.language import Count, Name, Natural
from datamodules.augmentation import Augmentation
from datamodules.preprocessing import Preprocessing
from datamodules.protocol import Protocol
from datamodules.sources.own_description import OwnDataKeys

Channel = Literal["background", "lungs", "left_lung", "right_lung", "heart"]
Channels = Annotated[tuple[Channel, ...], Len(1)]

Seed = Annotated[int, Ge(0), Le(2**32 - 1)]


@dataclass(frozen=True)
class DataOptions:
    """How cases become batches.

    Attributes:
        mixup: blend training images and masks in pairs, in shares that follow Beta(mixup, mixup).
        eval_batch_size: batch size of one process in validation and testing, 8 unless given.
        workers: data-loading processes; results do not depend on it. Unless given, none on the
            CPU, and beside a GPU as many as cores are free, up to 8.
    """

    mixup: Annotated[float, Gt(0)] | None = None
    eval_batch_size: Count | None = None
    workers: Natural | None = None


@dataclass(frozen=True)
class SystemFile:
    """One complete published method.

    Attributes:
        extends: a system, by name or YAML file, whose keys this file changes.
        name: the system's name in tables and folders; the file's stem unless given.
        title: one line for people.
        paper: the paper's key in ``leaderboards/published/papers.yaml``.
        notes: what the paper left open and how it was settled, by topic; they stand on the page.
        chosen_on: the protocols in sight of whose test sets the recipe was adjusted; every row of
            the system says so.
        structures: the output channels in order, ``background`` among them for softmax; or
            several such lists, of which the first counts that all training sets have masks for.
        preprocessing: film to network input.
        augmentation: random changes of training images; none where absent or null.
        batch_size: the joint batch size over all processes.
        checkpoint: the weights that are tested: ``best`` validation Dice, or the ``last`` epoch.
        model: the LightningModule by ``class_path``, its arguments by ``init_args``.
        trainer: arguments of Lightning's Trainer.
        protocol_overrides: what is otherwise under single protocols, as the paper has it: by
            protocol, values by dotted key.
        data: how cases become batches.
    """

    structures: Channels | Annotated[tuple[Channels, ...], Len(1)]
    preprocessing: Preprocessing
    batch_size: Count
    model: Settings
    trainer: Settings
    title: str = ""
    paper: str = ""
    notes: Mapping[str, Any] | str = ""
    chosen_on: tuple[str, ...] = ()
    augmentation: Augmentation | None = None
    checkpoint: Literal["best", "last"] = "best"
    protocol_overrides: Mapping[str, Settings] = field(default_factory=dict)
    data: DataOptions = field(default_factory=DataOptions)
    name: Name = ""
    extends: str = ""


@dataclass(frozen=True)
class ProtocolFile(Protocol):
    """Which cases train, validate and test, as a file says it.

    Attributes:
        extends: a protocol, by name or YAML file, whose keys this file changes.
        name: the protocol's name in tables and folders; the file's stem unless given.
        title: one line for people.
        paper: the paper that divides so.
        notes: what people should know about it.
    """

    extends: str = ""
    name: Name = ""
    title: str = ""
    paper: str = ""
    notes: Mapping[str, Any] | str = ""


@dataclass(frozen=True)
class SuiteFile:
    """Systems by protocols by seeds.

    Attributes:
        extends: a suite, by name or YAML file, whose keys this file changes.
        name: the suite's name, which is its folder below the runs; the file's stem unless given.
        title: one line for people.
        systems: names or YAML files of systems.
        protocols: names or YAML files of protocols.
        seeds: training seeds, 0 unless given.
        overrides: changes to every system of the suite, by dotted key; one that ends in ``?``
            changes only systems that have the key.
        system_overrides: further changes to single systems, by name.
        protocol_overrides: further changes to all systems under single protocols, by name.
        system_protocols: the protocols of single systems, by name; the others run under all.
        base: the system that all pairs of ``generators`` and ``critics`` start from.
        generators: networks by name, each crossed with every critic.
        critics: by name, the module's arguments ``critic`` and ``objective``; null trains the
            generator alone.
    """

    protocols: Annotated[tuple[str, ...], Len(1)]
    systems: tuple[str, ...] = ()
    seeds: Annotated[tuple[Seed, ...], Len(1)] = (0,)
    title: str = ""
    overrides: Settings = field(default_factory=dict)
    system_overrides: Mapping[str, Settings] = field(default_factory=dict)
    protocol_overrides: Mapping[str, Settings] = field(default_factory=dict)
    system_protocols: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    base: str = ""
    generators: Mapping[Name, Settings] = field(default_factory=dict)
    critics: Mapping[Name, Settings | None] = field(default_factory=dict)
    name: Name = ""
    extends: str = ""


FILE_KINDS: Mapping[str, type] = {
    "system": SystemFile,
    "protocol": ProtocolFile,
    "suite": SuiteFile,
    "dataset": OwnDataKeys,
    "site": Site,
}
"""What each kind of YAML file may say."""

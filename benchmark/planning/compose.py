"""System, protocol and seed to one LightningCLI config and its identity."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.planning.library import Settings
from contract.errors import UserError
from contract.files import hash_of_text

IDENTITY_FORMAT = 4
"""Raised whenever the same composition would train otherwise."""

_SEED = "$seed"
PLACEHOLDERS = ("$classes", "$structures", "$size", _SEED, "$epochs", "$half_epochs")
"""What a system's YAML may leave to the cell."""
DESCRIPTIVE = ("name", "folder", "title", "paper", "notes", "chosen_on")
"""Keys that do not change what is trained."""
_EPOCHS = ("trainer", "max_epochs")
_FOR_READERS = ("title", "paper", "notes", "chosen_on")


def without_description(settings: Settings) -> Settings:
    """Return what a YAML file rules, without what it only tells people."""
    return {key: value for key, value in settings.items() if key not in DESCRIPTIVE}


def descriptive(settings: Settings) -> Settings:
    """Return what a YAML file tells readers: its title, its paper, what that left open."""
    return {key: settings[key] for key in _FOR_READERS if settings.get(key)}


def choose_structures(system: Settings, available: Sequence[set[str]]) -> list[str]:
    """Return the first of the system's outputs that every training set has masks for.

    Args:
        system: the system; ``structures`` lists output channels, or several such lists in order
            of preference.
        available: the structures of each training set.

    Raises:
        UserError: if no list fits.
    """
    choices = system["structures"]
    choices = choices if isinstance(choices[0], list) else [choices]
    for choice in choices:
        if all(set(choice) - {"background"} <= masks for masks in available):
            return list(choice)
    raise UserError(
        f"system {system['name']}",
        f"outputs {choices}",
        f"structures that all training sets have: {sorted(set.intersection(*available))}",
    )


@dataclass(frozen=True)
class Composition:
    """A system's config under a protocol, still without paths and names.

    Attributes:
        template: the config, ``$seed`` standing where the training seed belongs.
        identity: all that decides rows, as text, ``"$seed"`` in it.
    """

    template: Settings
    identity: str

    def config(self, seed: int) -> Settings:
        """Return a cell's config, of its own."""
        settings: Settings = fill_placeholders(self.template, {_SEED: seed})
        return settings

    def digest(self, seed: int) -> str:
        """Return the hash of what was composed for a cell."""
        return hash_of_text(self.identity.replace(json.dumps(_SEED), json.dumps(seed)))


def compose(
    system: Settings,
    protocol: Settings,
    structures: Sequence[str],
    fingerprint: str,
) -> Composition:
    """Compose a system's config under a protocol, for every seed.

    Args:
        system: the system with all overrides applied.
        protocol: the protocol's rules, data sets by name.
        structures: the output channels.
        fingerprint: the digest of the data's contents.

    Raises:
        UserError: if validation is switched off, but is to choose the checkpoint.
    """
    values = {
        "$classes": len(structures),
        "$structures": list(structures),
        **own_values(system),
    }
    settings = fill_placeholders(without_description(system), values)
    model = settings["model"]
    model.setdefault("init_args", {}).setdefault("structures", list(structures))
    config = {
        "seed_everything": _SEED,
        "model": model,
        "data": {
            "class_path": "datamodules.cross_dataset.CrossDataset",
            "init_args": {
                "protocol": protocol,
                "preprocessing": settings["preprocessing"],
                "structures": list(structures),
                "batch_size": settings["batch_size"],
                "seed": _SEED,
                "augmentation": settings.get("augmentation"),
                **settings.get("data", {}),
            },
        },
        "trainer": settings["trainer"],
        "checkpoint": settings.get("checkpoint", "best"),
    }
    after = first_epochs_without_critic(settings)
    if config["checkpoint"] == "best" and after is not None:
        config["checkpoint_after"] = after
    if config["checkpoint"] == "best" and config["trainer"].get("limit_val_batches") == 0:
        raise UserError(
            f"system {system['name']}: trainer.limit_val_batches",
            "0 with the checkpoint of the best validation Dice",
            "validation, or `checkpoint: last`",
        )
    return Composition(config, json.dumps([IDENTITY_FORMAT, config, fingerprint], sort_keys=True))


def filled(value: Any, system: Settings) -> Any:
    """Replace ``$size``, ``$epochs`` and ``$half_epochs`` (rounded down) by what a system says.

    Args:
        value: any part of its settings.
        system: the whole of them.
    """
    return fill_placeholders(value, own_values(system))


def own_values(system: Settings) -> dict[str, Any]:
    """Return what ``$size``, ``$epochs`` and ``$half_epochs`` stand for, if the system says it."""
    size, epochs = (_stated(system, *keys) for keys in (("preprocessing", "size"), _EPOCHS))
    half = epochs // 2 if isinstance(epochs, int) else epochs
    return {"$size": 512 if size is None else size, "$epochs": epochs, "$half_epochs": half}


def _stated(system: Settings, section: str, key: str) -> Any:
    found = system.get(section)
    return found.get(key) if isinstance(found, dict) else None


def first_epochs_without_critic(system: Settings) -> int | None:
    """Return how many epochs come before a critic's, or before those of the pairs beside it.

    A generator that states ``pretrain_epochs`` without a critic is compared with others that have
    one, and its checkpoint is chosen among the same epochs.

    Args:
        system: the system's settings.

    Returns:
        None where there is neither a critic nor ``pretrain_epochs``.
    """
    arguments = filled(system, system).get("model", {}).get("init_args", {})
    stated = arguments.get("pretrain_epochs")
    return int(stated or 0) if stated is not None or arguments.get("critic") else None


def fill_placeholders(value: Any, values: Mapping[str, Any]) -> Any:
    """Replace the placeholders, ``$classes``, ``$epochs`` and the others of ``compose``."""
    if isinstance(value, dict):
        return {key: fill_placeholders(inner, values) for key, inner in value.items()}
    if isinstance(value, list):
        return [fill_placeholders(inner, values) for inner in value]
    if isinstance(value, str) and value in values:
        return values[value]
    return value


def place(
    config: Settings, identity: Settings, protocol: Settings, root: Path, cache: Path
) -> Settings:
    """Return the config with a cell's names and this machine's folders filled in.

    Args:
        config: what was composed.
        identity: the cell's names and hash.
        protocol: the protocol's rules, the user's own data sets as paths.
        root: the data root.
        cache: the folder of prepared images.
    """
    placed: Settings = {"seed_everything": config["seed_everything"], "cell": identity}
    placed |= {key: config[key] for key in ("model", "data", "trainer")}
    data = config["data"]
    folders = {"root": str(root), "cache": str(cache)}
    placed["data"] = {**data, "init_args": {**folders, **data["init_args"], "protocol": protocol}}
    return placed

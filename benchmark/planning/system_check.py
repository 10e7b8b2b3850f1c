"""One system, with all changes applied, against the language and against its classes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmark.planning.argument_types import ClassWanted
from benchmark.planning.class_checks import ClassChecks
from benchmark.planning.compose import (
    PLACEHOLDERS,
    fill_placeholders,
    first_epochs_without_critic,
    own_values,
    without_description,
)
from benchmark.planning.language import SystemFile
from benchmark.planning.library import Settings
from contract.errors import UserError
from contract.language import Place, check_settings, dotted
from contract.suggestions import did_you_mean
from contract.words import check_structures
from datamodules.preprocessing import Preprocessing

MODULE = ClassWanted(("lightning_modules.segmenter.Segmenter",))


def check_system(system: Settings, label: object) -> None:
    """Refuse a system that no cell could be made of.

    Args:
        system: its settings with all changes applied.
        label: the file or option that the message is to name.

    Raises:
        UserError: naming what was found and what is expected.
    """
    stated = {key: value for key, value in system.items() if key not in ("folder", "extends")}
    _check_placeholders(without_description(stated), label)
    choices = _choices(stated)
    filled = _filled(stated, choices[0])
    check_settings(SystemFile, filled, label)
    pairs: Settings = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in filled["preprocessing"].items()
    }
    try:
        Preprocessing(**pairs)
    except UserError as fault:
        raise UserError(f"{label}: {fault.where}", fault.found, fault.expected) from None
    for structures in choices:
        _check_output(filled, structures, label)
    checks = ClassChecks(label, [Path(system["folder"])])
    checks.trainer(filled["trainer"])
    _require_validated(filled, label)
    model = dict(filled["model"])
    if "class_path" in model and isinstance(model.get("init_args", {}), dict | None):
        model["init_args"] = {"structures": list(choices[0]), **(model.get("init_args") or {})}
    checks.check_object(model, ("model",), MODULE)


def _require_validated(system: Settings, label: object) -> None:
    """Refuse a choice of the best epoch where no epoch is validated."""
    epochs = system["trainer"].get("max_epochs")
    every = system["trainer"].get("check_val_every_n_epoch")
    best = system.get("checkpoint", "best") == "best"
    if best and isinstance(epochs, int) and isinstance(every, int) and every > epochs > 0:
        where = f"{label}: trainer.check_val_every_n_epoch"
        found = f"{every}, and max_epochs {epochs}: no epoch is validated, and the best is tested"
        raise UserError(where, found, f"at most {epochs}, or checkpoint: last")


def require_adversarial(system: Settings) -> None:
    """Refuse a training that ends before the epochs among which its weights are chosen.

    Raises:
        UserError: if it does.
    """
    epochs = system.get("trainer", {}).get("max_epochs")
    before = first_epochs_without_critic(system) or 0
    if isinstance(epochs, int) and 0 < epochs <= before:
        raise UserError(
            f"system {system['name']}, model.init_args.pretrain_epochs",
            f"{before}, and trainer.max_epochs {epochs}: no epoch in which the critic plays",
            f"less than {epochs}",
            "train longer, or --set 'model.init_args.pretrain_epochs?=$half_epochs'",
        )


def _choices(system: Settings) -> list[list[str]]:
    """Return the lists of output channels that a system may have, if it states any rightly."""
    stated = system.get("structures")
    if not isinstance(stated, list) or not stated:
        return [["lungs"]]
    if all(isinstance(choice, list) and choice for choice in stated):
        return stated
    return [stated]


def _filled(system: Settings, structures: list[str]) -> Settings:
    values = {
        "$classes": len(structures),
        "$structures": list(structures),
        "$seed": 0,
        **own_values(system),
    }
    filled: Settings = fill_placeholders(system, values)
    return filled


def _check_placeholders(system: Any, label: object) -> None:
    for place, value in _texts(system, ()):
        if re.fullmatch(r"\$\w+", value) and value not in PLACEHOLDERS:
            expected = f"one of {', '.join(PLACEHOLDERS)}"
            where = f"{label}: {dotted(place)}"
            raise UserError(where, repr(value), expected, did_you_mean(value, PLACEHOLDERS))


def _texts(value: Any, place: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, (*place, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, (*place, index))


def _check_output(system: Settings, structures: list[str], label: object) -> None:
    """Refuse channels that do not go with the module's activation."""
    if len(set(structures)) < len(structures):
        raise UserError(f"{label}: structures", str(structures), "each channel once")
    arguments = system["model"].get("init_args")
    activation = arguments.get("activation") if isinstance(arguments, dict) else None
    try:
        check_structures(structures, activation or "softmax")
    except ValueError as fault:
        if activation in ("softmax", "sigmoid", "tanh") or activation is None:
            expected = "channels that go with model.init_args.activation"
            raise UserError(f"{label}: structures", str(fault), expected) from None

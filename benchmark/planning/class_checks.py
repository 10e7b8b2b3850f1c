"""A ``class_path`` with its ``init_args`` against what the class takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ConfigDict, TypeAdapter

from benchmark.planning.argument_types import ClassWanted, members, type_of, wanted_of
from benchmark.planning.precision import require_precision
from benchmark.planning.signatures import Argument, CallSignature, Sources, unmet_imports
from benchmark.planning.source_files import Absent, Untold
from contract.errors import UserError
from contract.language import Place, dotted, expectation, first_errors, unknown_key, value_at
from contract.names import in_short
from contract.suggestions import did_you_mean, nearest

KEYS = ("class_path", "init_args", "dict_kwargs")
ALMOST = 0.85
"""How alike an unknown argument is to a known one that it was meant to be."""

RANGES: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "torch.optim.optimizer.Optimizer": {
        "lr": (Ge(0),), "eps": (Ge(0),), "weight_decay": (Ge(0),), "momentum": (Ge(0),),
    },
    "torch.optim.lr_scheduler.LRScheduler": {
        "T_max": (Ge(1),), "step_size": (Ge(1),), "patience": (Ge(0),), "factor": (Gt(0), Lt(1)),
    },
    "pytorch_lightning.trainer.trainer.Trainer": {
        "max_epochs": (Ge(1),), "min_epochs": (Ge(0),), "num_nodes": (Ge(1),), "devices": (Ge(1),),
        "limit_train_batches": (Gt(0),), "limit_val_batches": (Ge(0),),
        "limit_test_batches": (Gt(0),), "check_val_every_n_epoch": (Ge(1),),
        "log_every_n_steps": (Ge(0),), "gradient_clip_val": (Ge(0),), "max_steps": (Ge(-1),),
        "accumulate_grad_batches": (Ge(1), Le(1)),  # manual optimisation has micro_batches
    },
}  # fmt: skip
"""Ranges that other projects' classes check only when they are built, by class and argument."""
_WHOLE_EPOCHS = "set max_epochs, and limit_train_batches for shorter epochs"
TRAINED_OTHERWISE: Mapping[str, tuple[Sequence[Any], str]] = {
    "gradient_clip_val": ((None,), "set model.init_args.clip_norm"),
    "gradient_clip_algorithm": ((None,), "set model.init_args.clip_norm"),
    "limit_test_batches": ((None, 1.0), "take a protocol with fewer test cases"),
    "fast_dev_run": ((None, False), _WHOLE_EPOCHS),
    "max_steps": ((None, -1), _WHOLE_EPOCHS),
    "max_time": ((None,), "give --cell-timeout to `run`, and go on later"),
    "barebones": ((None, False), "leave it out"),
    "enable_checkpointing": ((None, True), "leave it out"),
}
"""What a cell has of Lightning's Trainer in one way alone, by argument, and what to do instead."""


class ClassChecks:
    """Checks class paths and arguments without importing what they name.

    Args:
        file: the file that the message is to name.
        folders: a user's own folders of Python files.
    """

    def __init__(self, file: object, folders: Sequence[Path] = ()) -> None:
        self._file, self._folders = file, folders
        self._sources = Sources(folders)

    def check_object(self, stated: Any, place: Place, wanted: ClassWanted | None = None) -> None:
        """Refuse a class path that leads nowhere, and arguments that its class does not take.

        Args:
            stated: a class path, or a mapping of ``class_path`` and ``init_args``.
            place: where it stands in the file.
            wanted: the class that it must be or come from.

        Raises:
            UserError: naming file, key, what was found and what is expected.
        """
        settings = {"class_path": stated} if isinstance(stated, str) else stated
        where = f"{self._file}: {dotted(place)}"
        if not isinstance(settings, dict) or "class_path" not in settings:
            known = settings if isinstance(settings, dict) else {}
            for key in known:
                if key not in KEYS:
                    raise unknown_key(where, str(key), KEYS)
            raise UserError(where, in_short(stated), "a class_path, with its init_args")
        at = (*place, "class_path") if isinstance(stated, dict) else place
        signature = self._signature(settings["class_path"], at, wanted)
        for key in settings:
            if key not in KEYS:
                inside = signature is not None and key in signature.arguments
                todo = f"it belongs below {dotted((*place, 'init_args'))}" if inside else ""
                raise unknown_key(where, str(key), KEYS, todo)
        if wanted is not None and wanted.itself:
            return
        arguments = settings.get("init_args")
        arguments = {} if arguments is None else arguments
        if not isinstance(arguments, dict):
            found = in_short(arguments)
            raise UserError(f"{where}.init_args", found, "a mapping of arguments to values")
        if signature is not None:
            given = wanted.given if wanted is not None else 0
            self.check_arguments(signature, arguments, (*place, "init_args"), given)

    def check_arguments(
        self, signature: CallSignature, stated: Mapping[str, Any], place: Place, given: int = 0
    ) -> None:
        """Refuse arguments that are unknown, missing, of another type or out of range.

        Args:
            signature: what the class takes.
            stated: the arguments.
            place: where they stand in the file.
            given: how many of the first arguments the caller adds.

        Raises:
            UserError: as ``check_object``.
        """
        known = dict(list(signature.arguments.items())[given:])
        where, named = f"{self._file}: {dotted(place)}", signature.path.rpartition(".")[2]
        left = [name for name in known if name not in stated]
        for name in stated:
            if name in known or name in signature.mentioned:
                continue
            # Where no source tells what else is taken, a slip of the pen is known all the same.
            if not signature.open or nearest(name, left, alike=ALMOST):
                todo = did_you_mean(name, known)
                found = f"an unknown key {str(name)!r} ({named} has no such argument)"
                raise UserError(where, found, f"some of {', '.join(known) or 'none'}", todo)
        for name, argument in known.items():
            if argument.required and name not in stated and not signature.open:
                raise UserError(where, f"no key {name!r}", f"the arguments that {named} needs")
        for name, value in stated.items():
            if name in known:
                self._check_value(signature, known[name], value, (*place, name))
            else:
                self._check_nested(value, (*place, name))

    def trainer(self, stated: Mapping[str, Any]) -> None:
        """Refuse arguments that Lightning's Trainer does not take, or no cell trains by."""
        signature = self._sources.signature("pytorch_lightning.Trainer")
        self.check_arguments(signature, stated, ("trainer",))
        for name, (allowed, todo) in TRAINED_OTHERWISE.items():
            value = stated.get(name)
            if not any(value == one and type(value) is type(one) for one in allowed):
                found = f"{in_short(value)}, with which no cell trains and is tested to its end"
                raise UserError(
                    f"{self._file}: trainer.{name}", found, in_short(allowed[-1]), todo
                )  # fmt: skip
        require_precision(stated.get("precision"), f"{self._file}: trainer.precision")

    def _signature(
        self, path: Any, place: Place, wanted: ClassWanted | None
    ) -> CallSignature | None:
        where = f"{self._file}: {dotted(place)}"
        if not isinstance(path, str):
            raise UserError(where, in_short(path), "a class path: module.Class")
        try:
            found = self._sources.find(path)
            self._check_imports(found.filepath, where)
            signature = self._sources.signature(path)
        except Absent as absent:
            raise UserError(where, absent.found, absent.expected, absent.todo) from None
        except Untold:
            return None
        if wanted is None or wanted.itself or signature.ancestors is None:
            return signature
        if wanted.paths and not signature.ancestors & set(wanted.paths):
            kind = wanted.paths[0]
            raise UserError(where, f"{path}, which is no {kind}", f"a class that comes from {kind}")
        return signature

    def _check_imports(self, file: Any, where: str) -> None:
        """Refuse a user's own module that imports what is not installed."""
        if isinstance(file, Path) and any(folder in file.parents for folder in self._folders):
            if "site-packages" in file.parts:
                return
            for missing in unmet_imports(file, self._folders):
                found = f"{file.name}, which imports {missing!r}, and no such module"
                raise UserError(where, found, "modules that are installed", f"install {missing}")

    def _check_value(
        self, signature: CallSignature, argument: Argument, value: Any, place: Place
    ) -> None:
        wanted_type = type_of(argument, self._sources)
        bounds = self._bounds(signature, argument.name)
        wanted = wanted_of(wanted_type)
        if (
            wanted
            and not isinstance(value, dict | str)
            and all(map(wanted_of, members(wanted_type)))
        ):
            self.check_object(value, place, wanted[0])  # which refuses it in words
        config = ConfigDict(strict=True, arbitrary_types_allowed=True)
        errors = first_errors(TypeAdapter(wanted_type, config=config), value)
        if errors is None and bounds and type(value) in (int, float):
            errors = first_errors(TypeAdapter(Annotated[(int | float, *bounds)]), value)  # type: ignore[arg-type]
        if errors is not None:
            at = (*place, *errors[0]["place"])
            found = in_short(value_at(value, errors[0]["place"]))
            raise UserError(f"{self._file}: {dotted(at)}", found, expectation(errors))
        one = wanted[0] if len(wanted) == 1 else None
        if one is not None and isinstance(value, dict | str):
            plain_text = isinstance(value, str) and str in members(wanted_type)
            if not plain_text:
                self.check_object(value, place, one)
        else:
            self._check_nested(value, place)

    def _check_nested(self, value: Any, place: Place) -> None:
        """Check objects inside lists and mappings whose own type is not known."""
        if isinstance(value, dict) and "class_path" in value:
            self.check_object(value, place)
        elif isinstance(value, dict | list):
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            for key, inner in pairs:
                self._check_nested(inner, (*place, key))

    def _bounds(self, signature: CallSignature, name: str) -> Sequence[Any]:
        for path in signature.ancestors or {signature.path}:
            if name in RANGES.get(path, {}):
                return RANGES[path][name]
        return ()

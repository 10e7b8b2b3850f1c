"""What each system did under each protocol, as the configs in the cells' folders say."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from contract.cell_folder import TO_MEND, CellFolder
from contract.cell_record import CellRecord
from contract.errors import DataError

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Stage:
    """One step of a recipe.

    Attributes:
        name: what it is, such as ``loss``.
        text: what was done, in words; every number in it is one of the config.
        parts: names in it that the bibliography may know.
    """

    name: str
    text: str
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """What one system did under one protocol.

    Attributes:
        system: name.
        protocol: name.
        config: the cell's config, placed and resolved as far as the cell was run by it.
    """

    system: str
    protocol: str
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The system in a line; its name where it has no title."""
        return str(self._about("system").get("title") or self.system)

    @property
    def notes(self) -> dict[str, str]:
        """What the system's paper left open or contradicts, and what stands for it."""
        return _texts(self._about("system").get("notes"))

    @property
    def chosen_on(self) -> tuple[str, ...]:
        """Protocols in sight of whose test sets the recipe was adjusted."""
        return tuple(str(name) for name in self._about("system").get("chosen_on") or ())

    @property
    def protocol_notes(self) -> dict[str, str]:
        """What people should know of the protocol."""
        return _texts(self._about("protocol").get("notes"))

    def _about(self, what: str) -> Mapping[str, Any]:
        return _mapping(_mapping(_mapping(self.config.get("cell")).get("about")).get(what))

    @property
    def stages(self) -> list[Stage]:
        """The recipe from a film to the weights that are tested."""
        model = _mapping(_mapping(self.config.get("model")).get("init_args"))
        data = _mapping(_mapping(self.config.get("data")).get("init_args"))
        trainer = _mapping(self.config.get("trainer"))
        prepared = _mapping(data.get("preprocessing"))
        found = [
            _input(prepared),
            Stage("augmentation", _arguments(_mapping(data.get("augmentation"))) or "none"),
            Stage("batch", _text(data.get("batch_size"))),
            _built("generator", model.get("generator")),
            _built("loss", model.get("loss")),
            _built("optimiser", model.get("generator_optimizer")),
            _built("schedule", model.get("generator_scheduler")),
            *_clipping(model),
            *_game(model),
            Stage("epochs", _text(trainer.get("max_epochs"))),
            *(_built("callback", one) for one in trainer.get("callbacks") or ()),
            *_limits(trainer),
            _checkpoint(_mapping(self.config.get("cell")), bool(model.get("critic"))),
        ]
        return [stage for stage in found if stage.text]


@dataclass(frozen=True)
class Told:
    """What readers are told of one system.

    Attributes:
        title: the system in a line.
        notes: what its paper left open, and what stands for it.
        stages: its recipe by the protocols under which it ran so.
    """

    title: str
    notes: Mapping[str, str]
    stages: Mapping[tuple[str, ...], tuple[Stage, ...]]


def told_of_systems(recipes: Iterable[Recipe]) -> dict[str, Told]:
    """Gather each system's recipes, protocols with equal ones together."""
    by_system: dict[str, list[Recipe]] = {}
    for recipe in recipes:
        by_system.setdefault(recipe.system, []).append(recipe)
    told = {}
    for system, own in by_system.items():
        protocols: dict[tuple[Stage, ...], list[str]] = {}
        for recipe in own:
            protocols.setdefault(tuple(recipe.stages), []).append(recipe.protocol)
        stages = {tuple(names): stage for stage, names in protocols.items()}
        told[system] = Told(own[0].title, own[0].notes, stages)
    return told


def read_recipes(
    suite_folder: Path, cells: Iterable[CellRecord], tell: Callable[[str], None] = warnings.warn
) -> list[Recipe]:
    """Read the config of each system's and protocol's finished cell, of the lowest seed.

    Cells of another tool have none.

    Args:
        suite_folder: ``<runs>/<suite>``.
        cells: its cells.
        tell: is told of each damaged config, in words; that recipe is then not told.
    """
    lowest: dict[tuple[str, str], CellRecord] = {}
    for cell in sorted(cells, key=lambda cell: cell.seed):
        if cell.is_done and cell.external is None:
            lowest.setdefault((cell.system, cell.protocol), cell)
    found = []
    for (system, protocol), cell in sorted(lowest.items()):
        path = CellFolder.of(suite_folder, system, protocol, cell.seed).config
        if not path.is_file():
            continue
        try:
            config = yaml.load(path.read_text("utf-8"), _Loader)
        except (OSError, ValueError, yaml.YAMLError) as error:
            tell(str(DataError(path, str(error), "a cell's config", TO_MEND)))
            continue
        found.append(Recipe(system, protocol, _mapping(config)))
    return found


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _texts(notes: Any) -> dict[str, str]:
    """Notes by topic; a single one has none."""
    if isinstance(notes, str):
        return {"note": notes} if notes else {}
    return {str(name): str(text) for name, text in _mapping(notes).items()}


def _text(value: Any) -> str:
    """A value of a config in words."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return f"({_arguments(value)})"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_text(one) for one in value)}]"
    return str(value).replace("_", " ") if isinstance(value, str) else str(value)


def _arguments(values: Mapping[str, Any]) -> str:
    told = {name: _text(value) for name, value in values.items()}
    return ", ".join(f"{name.replace('_', ' ')} {text}" for name, text in told.items() if text)


def _class(spec: Any) -> str:
    return str(_mapping(spec).get("class_path", "")).rpartition(".")[2]


def _built(name: str, spec: Any) -> Stage:
    arguments = _arguments(_mapping(_mapping(spec).get("init_args")))
    called = _class(spec)
    return Stage(name, f"{called} ({arguments})" if arguments else called, (called,))


def _input(prepared: Mapping[str, Any]) -> Stage:
    if not prepared:
        return Stage("input", "")
    size = prepared.get("size")
    told = [f"{size} x {size} pixels"] if size else []
    rest = {name: value for name, value in prepared.items() if name != "size"}
    return Stage(
        "input",
        ", ".join([*told, _arguments(rest)]).rstrip(", "),
        ("clahe",) if prepared.get("clahe") else (),
    )


def _clipping(model: Mapping[str, Any]) -> list[Stage]:
    norm = model.get("clip_norm")
    return [Stage("gradients", f"clipped at norm {norm}", ("clip_norm",))] if norm else []


def _game(model: Mapping[str, Any]) -> list[Stage]:
    """The critic, what it is judged by, and how the two take turns; nothing without a critic."""
    if not model.get("critic"):
        return []
    objective = _mapping(model.get("objective"))
    bounds = _mapping(objective.get("init_args"))
    bound = [name for name in ("clip", "gradient_penalty") if bounds.get(name)]
    game = _built("adversarial objective", objective)
    turns = ("adversarial_weight", "pretrain_epochs", "generator_steps", "critic_steps")
    return [
        _built("critic", model["critic"]),
        Stage(game.name, game.text, (_class(objective), *bound)),
        _built("critic's optimiser", model.get("critic_optimizer")),
        Stage("game", _arguments({name: model.get(name) for name in turns})),
    ]


def _limits(trainer: Mapping[str, Any]) -> list[Stage]:
    batches = trainer.get("limit_train_batches")
    return [Stage("limit", f"train batches {batches}")] if batches is not None else []


def _checkpoint(cell: Mapping[str, Any], has_critic: bool) -> Stage:
    after = cell.get("checkpoint_after")
    rules = {"best": "of the best validation Dice", "last": "of the last epoch"}
    rule = rules.get(str(cell.get("checkpoint", "")), "")
    if rule and after:
        why = "in which the critic plays" if has_critic else "as of the pairs with a critic"
        rule += f" among the epochs after the first {after}, {why}"
    return Stage("tested weights", rule)

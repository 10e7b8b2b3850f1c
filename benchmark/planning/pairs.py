"""Every generator against every critic, all else equal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from benchmark.planning.compose import DESCRIPTIVE
from benchmark.planning.library import Settings, merge, override

JOINT = "_vs_"
"""Between the generator's and the critic's name in a pair's."""
ARGUMENTS = "model.init_args."


@dataclass(frozen=True)
class Pair:
    """A generator and a critic, beside the same generator alone.

    Attributes:
        baseline: name of the system without a critic.
        own: arguments of the module in which the two differ.
    """

    baseline: str
    own: frozenset[str]

    def is_like(self, system: Settings, alone: Settings) -> bool:
        """Tell whether nothing but the critic sets a pair apart from its baseline.

        Args:
            system: the pair with all its changes.
            alone: the baseline with its own.
        """
        return self._common(system) == self._common(alone)

    def _common(self, system: Settings) -> Settings:
        model = system["model"]
        arguments = {k: v for k, v in model["init_args"].items() if k not in self.own}
        common = {key: value for key, value in system.items() if key not in DESCRIPTIVE}
        return {**common, "model": {**model, "init_args": arguments}}


def pair_names(generators: Iterable[str], critics: Iterable[str]) -> set[str]:
    """Return the names of all pairs."""
    return {generator + JOINT + critic for generator in generators for critic in critics}


def compared_pairs(
    generators: Iterable[str], critics: Mapping[str, Settings | None]
) -> dict[str, Pair]:
    """Return every pair with a critic, by name; none where no generator trains alone."""
    alone = next((name for name, critic in critics.items() if not critic), None)
    return {
        generator + JOINT + name: Pair(generator + JOINT + alone, frozenset(critic))
        for generator in generators
        for name, critic in critics.items()
        if critic and alone is not None
    }


def completed(pair: Settings, overrides: Mapping[str, object]) -> Settings:
    """Return a pair as its suite defines it: with what the base, having no critic, leaves open.

    Args:
        pair: a pair as ``cross`` made it.
        overrides: the suite's changes to every system; those of keys that the base states reduce
            it, and are left out here.
    """
    stated = pair["model"]["init_args"]
    parts = {key: key.removeprefix(ARGUMENTS) for key in overrides if key.startswith(ARGUMENTS)}
    added = {key: overrides[key] for key, name in parts.items() if name.split(".")[0] not in stated}
    return override(pair, added)


def cross(
    base: Settings,
    generators: Mapping[str, Settings],
    critics: Mapping[str, Settings | None],
) -> list[Settings]:
    """Return one system for each generator and critic, called ``<generator>_vs_<critic>``.

    A pair differs from the base in its two networks only, and from another pair of the same
    generator in the critic and what the critic is judged by.

    Args:
        base: the system whose loss, optimisers, schedule and preprocessing all pairs have.
        generators: each generator's ``class_path`` and ``init_args``.
        critics: each critic's arguments of the module (``critic``, ``objective``); null trains
            the generator alone.
    """
    return [
        {
            **merge(base, {"model": {"init_args": {"generator": generator, **(critic or {})}}}),
            "name": generator_name + JOINT + critic_name,
            "title": f"{generator_name} against {critic_name}" if critic else generator_name,
        }
        for generator_name, generator in generators.items()
        for critic_name, critic in critics.items()
    ]

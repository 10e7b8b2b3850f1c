"""Every generator against every critic, all else equal."""

from __future__ import annotations

from collections.abc import Mapping

from benchmark.planning.library import Settings, merge

JOINT = "_vs_"
"""Between the generator's and the critic's name in a pair's."""


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

"""A system outside its cells: its module, and what its data must look like, for a plain Trainer."""

from __future__ import annotations

from typing import Any

from benchmark.planning.compose import choose_structures, compose
from benchmark.planning.library import Settings, load_settings, override
from benchmark.planning.system_check import check_system
from benchmark.start import add_code_folders
from contract.words import STRUCTURES
from datamodules.augmentation import Augmentation
from datamodules.preprocessing import Preprocessing
from lightning_modules.segmenter import Segmenter


def load_system(name: str, /, *, seed: int = 0, **changes: Any) -> Segmenter:
    """Return a system's module with fresh weights.

    Its checkpoints tell how to build it, so ``load_from_checkpoint`` needs no argument. Its data:
    ``Montgomery(root, **system_data(name))``, with the same changes. Of several lists of output
    structures it gets the last, which every data set has; another is a change of ``structures``.

    Args:
        name: a system's name, or the path of a YAML file of your own; classes beside that file are
            found. The file names code to run.
        seed: fixes dropout and other draws of training, not the weights: for these call
            ``pytorch_lightning.seed_everything`` before.
        changes: keys of the system's YAML, as in ``--set``; dotted ones from a mapping, as in
            ``load_system("unet", **{"model.init_args.clip_norm": 0.5})``.

    Raises:
        UserError: if there is no such system, or its configuration is faulty.
    """
    config = _compose(name, seed, changes)
    module: Segmenter = Segmenter.from_config(config["model"], f"system {name}")
    return module


def system_data(name: str, /, **changes: Any) -> dict[str, Any]:
    """Return what a system's data must look like, as arguments of any of the DataModules.

    Args:
        name: a system's name, or the path of a YAML file of your own.
        changes: the same as for ``load_system``.

    Returns:
        ``preprocessing``, ``structures``, ``batch_size``, ``augmentation`` and what else the
        system asks of its data.

    Raises:
        UserError: if there is no such system, or its configuration is faulty.
    """
    settings = dict(_compose(name, 0, changes)["data"]["init_args"])
    del settings["protocol"], settings["seed"]
    augmentation = settings["augmentation"]
    return {
        **settings,
        "preprocessing": Preprocessing(**settings["preprocessing"]),
        "augmentation": None if augmentation is None else Augmentation(**augmentation),
    }


def _compose(name: str, seed: int, changes: Settings) -> Settings:
    system = override(load_settings("systems", name), changes)
    check_system(system, f"system {name}")
    if name.endswith((".yaml", ".yml")):
        add_code_folders([system["folder"]])
    structures = system["structures"]
    if isinstance(structures[0], list):
        system["structures"] = structures[-1]
    chosen = choose_structures(system, [set(STRUCTURES)])
    return compose(system, {}, chosen, "").config(seed)

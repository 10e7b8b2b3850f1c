"""What an exported model says of itself, so that its file is all that a user needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from contract.cell_folder import cell_name
from contract.errors import UserError
from contract.language import check_settings
from contract.words import check_structures
from datamodules.preprocessing import Preprocessing
from lightning_modules.activations import Activation
from lightning_modules.metrics.quality import (
    AREA_SHARES,
    COMPONENTS,
    MOST_DISAGREEMENT,
    SPECK_SHARE,
)

FACTS_KEY = "lungbench"
"""The one entry of a file's metadata, a JSON object: ``ModelFacts``."""
NOT_FOR = (
    "Research software and not a medical device: for no diagnosis, no treatment and no other "
    "decision about a patient."
)


@dataclass(frozen=True)
class QualityRule:
    """When a mask of the lungs is to be looked at; see ``lightning_modules.metrics.quality``.

    Attributes:
        most_disagreement: 1 - Dice of the lungs predicted for film and mirror image, at most.
        components: the lungs' connected parts, from and to.
        speck_share: parts below this share of the film are not counted.
        area_shares: the lungs' share of the film, from and to.
    """

    most_disagreement: float = MOST_DISAGREEMENT
    components: tuple[int, int] = COMPONENTS
    speck_share: float = SPECK_SHARE
    area_shares: tuple[float, float] = AREA_SHARES


@dataclass(frozen=True)
class TrainedOn:
    """A data set that a model was trained on.

    Attributes:
        name: the data set's name.
        terms: the terms under which it is given out, and whom to cite.
    """

    name: str
    terms: str


@dataclass(frozen=True)
class ModelFacts:
    """What an exported model is, what it takes, gives and came from.

    Attributes:
        format: the form of these facts.
        suite: the cell's suite.
        system: the cell's system.
        title: the system's title.
        protocol: the cell's protocol.
        seed: the training seed.
        structures: names of the output channels in order.
        activation: what made probabilities of the network's output, inside the model.
        threshold: above which probability a pixel is of a channel's structure; none where the
            channel of the highest probability has it (softmax).
        mirror: whether ``probabilities`` is the mean for the image and its mirror image, taken
            inside the model, which then also returns ``mirrored``, what the mirror image gives.
        preprocessing: film to input.
        quality: when a mask is to be looked at.
        phantom: whether it was trained on synthetic films.
        reduced: whether the system was changed, so that it is not its paper's.
        changes: what was changed, in words.
        notes: what the paper left open, and what was chosen.
        n_train: number of training cases.
        train_on: the data sets that trained it, with their terms.
        test_on: the data sets that it was tested on, joined by ``+``.
        config_hash: identity of the cell's configuration.
        split_hash: identity of the split.
        commit: git commit of the code that trained it.
        versions: version by library, when it was trained.
        exported_by: version by library, when it was exported.
        checked: what the file was compared with before it was handed out.
        generator: class and arguments of the network, where the file holds weights alone.
        digest: SHA-256 of the file with 64 zeros in its place, in hexadecimal digits; none where
            the file has checksums of its own (TorchScript).
        not_for: what it must not be used for.
    """

    format: Literal[1]
    suite: str
    system: str
    title: str
    protocol: str
    seed: int
    structures: tuple[str, ...]
    activation: Activation
    threshold: float | None
    mirror: bool
    preprocessing: Preprocessing
    quality: QualityRule
    phantom: bool
    reduced: bool
    changes: str
    notes: tuple[str, ...]
    n_train: int | None
    train_on: tuple[TrainedOn, ...]
    test_on: str
    config_hash: str | None
    split_hash: str | None
    commit: str | None
    versions: Mapping[str, str]
    exported_by: Mapping[str, str]
    checked: str
    generator: Mapping[str, Any] | None = None
    digest: str | None = None
    not_for: str = NOT_FOR

    @property
    def name(self) -> str:
        """Suite, system, protocol and seed joined by ``/``, for people."""
        cell = cell_name(self.system, self.protocol, self.seed).replace(" ", "/")
        return f"{self.suite}/{cell}"

    def as_metadata(self) -> dict[str, str]:
        """Return the entries of a file's metadata."""
        return {FACTS_KEY: json.dumps(asdict(self), ensure_ascii=False)}


def facts_of(metadata: Mapping[str, str], path: Path) -> ModelFacts:
    """Return what a file says of itself.

    Args:
        metadata: the entries of its metadata.
        path: the file, for messages.

    Raises:
        UserError: if it does not say it, or says it wrongly.
    """
    expected, todo = "a model that `lungbench export` wrote", "export a finished cell"
    if FACTS_KEY not in metadata:
        raise UserError(path, "a model of another origin, which says nothing of its films' "
                        "preprocessing and its structures", expected, todo)  # fmt: skip
    try:
        said = json.loads(metadata[FACTS_KEY])
    except (ValueError, RecursionError) as error:
        raise UserError(
            path, f"damaged metadata that is no JSON ({error})", expected, todo
        ) from None
    if not isinstance(said, dict):
        raise UserError(path, "metadata that is no JSON object", expected, todo)
    check_settings(ModelFacts, said, path)
    nested = {
        "preprocessing": Preprocessing(**_with_tuples(said["preprocessing"])),
        "quality": QualityRule(**_with_tuples(said["quality"])),
        "train_on": tuple(TrainedOn(**one) for one in said["train_on"]),
    }
    facts = ModelFacts(**_with_tuples(said) | nested)
    _require_channels(facts, path)
    return facts


def _with_tuples(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}


def _require_channels(facts: ModelFacts, path: Path) -> None:
    try:
        check_structures(facts.structures, facts.activation)
    except ValueError as error:
        raise UserError(path, str(error), "output channels that can be scored") from None

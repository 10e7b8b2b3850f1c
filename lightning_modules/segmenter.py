"""What every system shares: prediction, validation Dice, test rows and their means."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Self

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from torch import Tensor
from torchmetrics import MeanMetric

from contract.batch import (
    CaseRow,
    EvaluationBatch,
    Prediction,
    ReferenceBatch,
    TestedRows,
)
from contract.machine import own_cores
from contract.words import check_structures
from lightning_modules.activations import (
    Activation,
    activate,
    hard_masks,
    lung_channels,
)
from lightning_modules.case_rows import case_means, from_all_processes
from lightning_modules.case_scoring import CaseScoring, PredictedCase, predicted_cases, to_cpu
from lightning_modules.descriptions import (
    CLASS_PATH,
    INSTANTIATOR,
    build_from_config,
    plain_arguments,
    require_description,
)
from lightning_modules.metrics.scans import SliceMasks, slice_masks
from lightning_modules.metrics.scoring import (
    batch_dice,
    joined_lungs,
    score_case,
    structure_masks,
    to_reference_grid,
)
from lightning_modules.mirroring import views
from lightning_modules.scoring_threads import MOST_THREADS


class Segmenter(pl.LightningModule):
    """Predicts, validates and tests; subclasses say how to train.

    Its checkpoints hold plain values only: weights, and how to build the module anew, as far as
    that can be told (``hparams``). What was built from a configuration is rebuilt from it; of a
    module built by hand, plain arguments are kept and the names of all others.

    Args:
        structures: names of the output channels in order, ``background`` among them for softmax.
        activation: the output's kind.
        mirror: whether a prediction is the mean of those for the image and for its mirror image.
    """

    def __init__(
        self, structures: Sequence[str], activation: Activation, mirror: bool = False
    ) -> None:
        super().__init__()
        self.hparams.update(plain_arguments(type(self), inspect.currentframe()))
        check_structures(structures, activation)
        self.structures, self.activation = tuple(structures), activation
        if mirror and len({"left_lung", "right_lung"} & set(structures)) == 1:
            raise ValueError(f"mirror needs both lungs or their union, not {list(structures)}")
        self.mirror = mirror
        self.validation_dice, self.validation_loss = MeanMetric(), MeanMetric()
        self._scoring: CaseScoring | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any], where: object = "model") -> Self:
        """Build a module with fresh weights; its checkpoints will hold the configuration.

        The configuration names code to run, so it must be trusted: its classes are imported.

        Args:
            config: ``class_path`` of such a module and its ``init_args``, as in YAML files.
            where: the file or key that it comes from, for messages.

        Raises:
            UserError: if a class cannot be imported or does not take these arguments.
        """
        module = build_from_config(cls, config, where)
        module.remember(config)
        return module

    def remember(self, config: Mapping[str, Any]) -> None:
        """Keep in checkpoints what this module was built from, in Lightning's own form.

        Args:
            config: ``class_path`` and ``init_args``, plain values only.
        """
        self.hparams.clear()
        self.hparams.update(deepcopy(dict(config.get("init_args") or {})))
        self.hparams.update({CLASS_PATH: config["class_path"], "_instantiator": INSTANTIATOR})

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls,
        checkpoint_path: str | Path,
        map_location: Any = "cpu",
        hparams_file: str | Path | None = None,
        strict: bool | None = None,
        weights_only: bool | None = True,
        **kwargs: Any,
    ) -> Self:
        """Build the module that a checkpoint describes, with its weights.

        Only tensors and plain values are unpickled. But a description names code to run: the
        classes in it are imported and built, so load only checkpoints that you trust.

        Args:
            checkpoint_path: any checkpoint of a cell or of a ``Trainer``.
            map_location: where its tensors are read to; the module itself is on the CPU.
            hparams_file: a YAML file of arguments in place of the checkpoint's.
            strict: whether all weights must fit.
            weights_only: False would unpickle any object, which can run code.
            kwargs: arguments of the constructor that replace, or add to, those described; plain
                values where the module was built from a configuration.

        Raises:
            UserError: if the file cannot be read, or does not tell how to build the module.
        """
        path = Path(checkpoint_path)
        told = {} if hparams_file else require_description(path, kwargs)
        if CLASS_PATH not in told:
            loaded: Self = super().load_from_checkpoint(
                path, map_location, hparams_file, strict, weights_only, **kwargs
            )
            return loaded
        arguments = {name: told[name] for name in told if not name.startswith("_")} | kwargs
        module = cls.from_config({"class_path": told[CLASS_PATH], "init_args": arguments}, path)
        content = torch.load(path, map_location=map_location, weights_only=weights_only)
        module.on_load_checkpoint(content)
        module.load_state_dict(content["state_dict"], strict is not False)
        return module

    def logits(self, image: Tensor) -> Tensor:
        """Return logits ``(N, C, H, W)`` for images ``(N, 1, H, W)``."""
        raise NotImplementedError

    def segmentation_loss(self, logits: Tensor, probabilities: Tensor, target: Tensor) -> Tensor:
        """Return the supervised loss, a scalar averaged over images."""
        raise NotImplementedError

    def forward(self, image: Tensor) -> Tensor:
        """Return probabilities ``(N, C, H, W)`` in [0, 1]."""
        return self.views(image)[0] if self.mirror else self._seen(image)

    def views(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the prediction, and what the mirror image gives, mirrored back.

        How far the second is from the first tells how sure the prediction is.

        Args:
            image: ``(N, 1, H, W)``.

        Returns:
            Probabilities ``(N, C, H, W)`` in [0, 1], twice.
        """
        predict = self._seen if self.mirror else self  # which a subclass may do its own way
        return views(predict, image, self.structures, self.mirror)

    def _seen(self, image: Tensor) -> Tensor:
        return activate(self.logits(image), self.activation)

    def validation_step(self, batch: EvaluationBatch, batch_idx: int) -> None:
        """Accumulate the loss and the lungs' Dice per image, at the network's size."""
        logits = self.logits(batch["image"])
        probabilities = activate(logits, self.activation)
        masks = hard_masks(probabilities, self.activation)
        dice = batch_dice(masks, batch["target"], lung_channels(self.structures))
        loss = self.segmentation_loss(logits, probabilities, batch["target"])
        self.validation_dice.update(dice)
        self.validation_loss.update(loss, len(dice))

    def on_validation_epoch_end(self) -> None:
        """Log the means over all validation images of all processes."""
        for name, metric in (("dice", self.validation_dice), ("loss", self.validation_loss)):
            # Computed on every process (the sum is synchronised), so that all decide alike.
            self.log(f"val/{name}", metric.compute(), prog_bar=True, rank_zero_only=False)
            metric.reset()

    def on_test_epoch_start(self) -> None:
        """Forget an earlier test, which may have broken off."""
        if self._scoring is not None:
            self._scoring.stop()
        self._scoring = None

    def on_test_epoch_end(self) -> None:
        """Log the means over all cases of all processes, by structure and metric.

        With fewer cases than processes each tells the means of its own: those without any skip
        this hook, and nobody may wait for them.

        Raises:
            Exception: what scoring a case raised.
            RuntimeError: if a scan lacks slices.
        """
        scoring, self._scoring = self._scoring, None
        rows = [] if scoring is None else scoring.finish()
        loader = self.trainer.test_dataloaders
        alone = bool(getattr(getattr(loader, "sampler", None), "leaves_some_idle", False))
        rows = rows if alone else from_all_processes(rows)
        for name, mean in case_means(rows).items():
            # Equal everywhere, so that the largest is the mean, and its sum is not rounded again.
            self.log(f"test/{name}", mean, sync_dist=not alone, reduce_fx="max")

    def test_step(self, batch: ReferenceBatch, batch_idx: int) -> TestedRows:
        """Predict a batch and hand it to the threads that score; callbacks get the rows to come.

        Raises:
            Exception: what scoring an earlier case raised, with a note of its name.
            RuntimeError: if a scan's slices do not come in order.
        """
        if self._scoring is None:
            self._scoring = CaseScoring(self.scoring_threads(), self.score, self._slice_masks)
        target = batch["target"] > 0.5
        # The flag's rule is for films: slices of a scan may hold as little lung as they like.
        if all(cell["unit"] == "image" for cell in batch["identity"]):
            probabilities, opinion = self.views(batch["image"])
            mirrored = [joined_lungs(opinion, self.structures, self.activation)]
        else:
            probabilities, mirrored = self(batch["image"]), []
        (probabilities, target, *mirrored), arrival = to_cpu(probabilities, target, *mirrored)
        cases = predicted_cases(batch, probabilities, target, *mirrored)
        return {"rows": self._scoring.add(cases, arrival)}

    def score(self, case: PredictedCase) -> list[CaseRow]:
        """Score a case on its reference's own grid.

        On one of several threads, while the next batch is predicted: a subclass may add columns,
        but not use the network.

        Returns:
            One dict of columns a structure, without those of the case's identity.

        Raises:
            FloatingPointError: if the network's output is not finite.
        """
        self._require_finite(case.probabilities)
        return score_case(
            case.probabilities,
            case.target,
            case.references,
            case.box,
            case.spacing,
            self.structures,
            self.activation,
            case.mirrored,
            case.lungs,
        )

    def _slice_masks(self, case: PredictedCase) -> dict[str, SliceMasks]:
        return slice_masks(
            case.probabilities,
            case.target,
            case.references,
            case.box,
            self.structures,
            self.activation,
        )

    def scoring_threads(self) -> int:
        """Return how many threads score beside the one that predicts."""
        environment = getattr(self.trainer.strategy, "cluster_environment", None)
        of_slurm = isinstance(environment, SLURMEnvironment)
        return min(MOST_THREADS, own_cores(1 if of_slurm else self.trainer.num_devices))

    def predict_step(self, batch: EvaluationBatch, batch_idx: int) -> list[Prediction]:
        """Return each film's or slice's hard masks on its own grid, by the rule that scores them.

        Probabilities are mapped back bilinearly, then thresholded or arg-maxed. A mask takes a
        byte a pixel of the film: over many films hand them to a callback
        (``trainer.predict(..., return_predictions=False)``).
        """
        predictions: list[Prediction] = []
        columns = batch["identity"], batch["box"], batch["film_shape"]
        for probabilities, identity, box, shape in zip(self(batch["image"]), *columns, strict=True):
            self._require_finite(probabilities)
            found = structure_masks(
                to_reference_grid(probabilities, box, shape), self.structures, self.activation
            )
            masks = {name: mask.cpu().numpy() for name, (mask, _) in found.items()}
            predictions.append({"identity": identity, "masks": masks})
        return predictions

    @staticmethod
    def _require_finite(probabilities: Tensor) -> None:
        if not probabilities.isfinite().all():
            raise FloatingPointError("the network's output is not finite: its training diverged")

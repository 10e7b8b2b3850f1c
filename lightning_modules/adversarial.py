"""A generator, alone or against a critic, under manual optimisation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from contract.batch import TrainingBatch
from contract.errors import UserError
from lightning_modules.activations import Activation, activate
from lightning_modules.joined import NetworkDDPStrategy
from lightning_modules.joint_norm import join_batch_norms, normalises_over_batch
from lightning_modules.objectives import AdversarialObjective
from lightning_modules.own_networks import (
    channels_wanted,
    in_channels,
    mask_logits,
    trained_parameters,
    try_network,
)
from lightning_modules.segmenter import Segmenter

FUSED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)
"""Optimisers whose fused step PyTorch has on CPUs and GPUs alike."""

_Part = TypeVar("_Part")


class AdversarialSegmenter(Segmenter):
    """Trains a generator, first alone, then against a critic if there is one.

    Every training batch is one generator step. In the adversarial phase ``generator_steps`` of
    them are followed by ``critic_steps`` critic steps on the last batch, with the masks that the
    generator predicted for it. The count runs on across epochs from the phase's beginning.

    Args:
        structures: names of the output channels in order.
        generator: images ``(N, 1, H, W)`` to logits ``(N, C, H, W)``; also one that wants three
            channels or returns further outputs, as ``own_networks`` tells.
        loss: called with ``logits, probabilities, target``; a scalar averaged over images.
        activation: the output's kind.
        generator_optimizer: builds the generator's optimiser from its parameters; AdamW with
            PyTorch's settings when not given.
        generator_scheduler: builds its learning-rate scheduler, stepped once an epoch (on the
            validation loss if it waits for a plateau).
        critic: called with ``image, mask``, or as the objective does; none trains the generator
            alone.
        objective: the adversarial losses; needed with a critic.
        critic_optimizer: builds the critic's optimiser; Adam with PyTorch's settings when not
            given.
        critic_scheduler: builds the critic's scheduler.
        adversarial_weight: the weight of the adversarial loss beside the segmentation loss.
        pretrain_epochs: epochs of the generator alone before the critic joins.
        generator_steps: generator steps for each turn of the critic.
        critic_steps: steps of the critic at each of its turns.
        clip_norm: largest gradient norm of either network, or none.
        micro_batches: parts that a batch is divided into, one forward and backward pass each,
            to save memory. The step is the same, unless a network normalises over the batch: it
            then sees a part at a time, which is another training.
        seed: fixes dropout and other draws, with epoch, batch and process.
        mirror: whether a prediction is the mean of those for the image and for its mirror image
            (test-time augmentation); training and validation see the image alone.
        channels_last: whether a pixel's channels lie side by side in memory, which GPUs convolve
            faster in half precision; sums are rounded otherwise.
        fused: whether Adam, AdamW and SGD take PyTorch's fused step, three to four times as fast as
            the one that it takes itself on a CPU; rounded otherwise.
    """

    def __init__(
        self,
        structures: Sequence[str],
        generator: nn.Module,
        loss: nn.Module,
        activation: Activation = "softmax",
        generator_optimizer: OptimizerCallable | None = None,
        generator_scheduler: LRSchedulerCallable | None = None,
        critic: nn.Module | None = None,
        objective: AdversarialObjective | None = None,
        critic_optimizer: OptimizerCallable | None = None,
        critic_scheduler: LRSchedulerCallable | None = None,
        adversarial_weight: float = 1.0,
        pretrain_epochs: int = 0,
        generator_steps: int = 1,
        critic_steps: int = 1,
        clip_norm: float | None = None,
        micro_batches: int = 1,
        seed: int = 0,
        mirror: bool = False,
        channels_last: bool = False,
        fused: bool = True,
    ) -> None:
        super().__init__(structures, activation, mirror)
        if (critic is None) != (objective is None):
            raise ValueError("critic and objective belong together: give both or neither")
        if min(generator_steps, critic_steps, micro_batches) < 1:
            raise ValueError("generator_steps, critic_steps and micro_batches must be at least 1")
        self.automatic_optimization = False
        self.generator, self.critic = generator, critic
        self.loss, self.objective = loss, objective
        # As defaults of the arguments, jsonargparse would hand their settings (AdamW's weight
        # decay) on to any other optimiser that a config names.
        self._generator_parts = (generator_optimizer or torch.optim.AdamW, generator_scheduler)
        self._critic_parts = (critic_optimizer or torch.optim.Adam, critic_scheduler)
        self.adversarial_weight, self.pretrain_epochs = adversarial_weight, pretrain_epochs
        self.generator_steps, self.critic_steps = generator_steps, critic_steps
        self.clip_norm, self.micro_batches, self.seed = clip_norm, micro_batches, seed
        self.channels_last, self.fused = channels_last, fused
        self.adversarial_steps_done = 0
        """Generator steps since the adversarial phase began; kept in the checkpoint."""
        self._channels: int | None = None
        self._tried = False

    def logits(self, image: Tensor) -> Tensor:
        """Return the generator's logits ``(N, C, H, W)``.

        Raises:
            UserError: if they are not among what it returns.
        """
        if self._channels is None:
            self._channels = channels_wanted(self.generator, image)
        if self.channels_last:
            image = image.contiguous(memory_format=torch.channels_last)
        return mask_logits(self.generator(in_channels(image, self._channels)), self.generator)

    def segmentation_loss(self, logits: Tensor, probabilities: Tensor, target: Tensor) -> Tensor:
        """Return the configured loss, a scalar averaged over images."""
        loss: Tensor = self.loss(logits, probabilities, target)
        return loss

    @property
    def networks(self) -> list[nn.Module]:
        """The networks that step, each with an optimiser of its own."""
        return [self.generator] if self.critic is None else [self.generator, self.critic]

    @property
    def adversarial(self) -> bool:
        """Whether the critic takes part in the current epoch."""
        return self.critic is not None and self.current_epoch >= self.pretrain_epochs

    def configure_optimizers(self) -> Any:
        """Return one optimiser a network, each with its scheduler if it has one."""
        pairs = [(self.generator, *self._generator_parts)]
        if self.critic is not None:
            pairs.append((self.critic, *self._critic_parts))
        configured = []
        for network, build_optimizer, build_scheduler in pairs:
            if self.channels_last:
                network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            optimizer = build_optimizer(trained_parameters(network))
            if self.fused and isinstance(optimizer, FUSED):
                for group in optimizer.param_groups:
                    group["fused"] = True
            parts: dict[str, Any] = {"optimizer": optimizer}
            if build_scheduler is not None:
                parts["lr_scheduler"] = {"scheduler": build_scheduler(optimizer)}
            configured.append(parts)
        return tuple(configured)

    def on_train_start(self) -> None:
        """Have the generator tried, and batches normalised over all processes together.

        Raises:
            UserError: if processes are joined so that they wait for both networks' gradients.
        """
        self._tried = False
        if self.trainer.world_size > 1:
            for network in self.networks:
                join_batch_norms(network)
        joined = self.trainer.strategy.model
        if (
            self.critic is not None
            and isinstance(joined, DistributedDataParallel)
            and not joined.find_unused_parameters
        ):
            raise UserError(
                "Trainer(strategy=…)",
                "one that waits for the gradients of generator and critic in every step",
                "one that lets each of them train alone",
                'Trainer(strategy="ddp_find_unused_parameters_true")',
            )

    def training_step(self, batch: TrainingBatch, batch_idx: int) -> None:
        """Take one generator step, and the critic's turn where it is due."""
        count = min(self.micro_batches, len(batch["image"]))
        self._require_equal_parts(len(batch["image"]))
        images, targets = batch["image"].tensor_split(count), batch["target"].tensor_split(count)
        if not self._tried:
            self._try(images[-1][:2])  # the last part is the smallest
        self._seed_step(batch_idx)
        optimizers = self.optimizers()
        optimizers = optimizers if isinstance(optimizers, list) else [optimizers]
        parts = list(zip(images, targets, strict=True))
        adversarial = self.adversarial
        fakes = self._generator_step(optimizers[0], parts, adversarial)
        if not adversarial:
            return
        self.adversarial_steps_done += 1
        if self.adversarial_steps_done % self.generator_steps == 0:
            for _ in range(self.critic_steps):
                self._critic_step(optimizers[1], parts, fakes)

    def _require_equal_parts(self, images: int) -> None:
        """Refuse parts of a batch that would not be those of one process, where it matters.

        Raises:
            UserError: if processes divide a batch unevenly that a network normalises over.
        """
        if self.trainer.world_size == 1 or images % self.micro_batches == 0:
            return
        if any(map(normalises_over_batch, self.networks)):
            raise UserError(
                "model.init_args.micro_batches",
                f"{self.micro_batches} with {images} images of each batch on a process, and a "
                "network that normalises over the batch",
                "a divisor of that number",
                "change micro_batches, --devices or batch_size",
            )

    def _try(self, image: Tensor) -> None:
        """Try the generator on images of the first batch, before anything moves."""
        self._channels = channels_wanted(self.generator, image)
        try_network(self.generator, image, len(self.structures), self._channels)
        self._tried = True

    def _generator_step(
        self,
        optimizer: LightningOptimizer,
        parts: Sequence[tuple[Tensor, Tensor]],
        adversarial: bool,
    ) -> list[Tensor]:
        images = sum(len(image) for image, _ in parts)
        fakes = []
        with self._step(optimizer):
            for left, (image, target) in _countdown(parts):
                logits = self.logits(image)
                fake = activate(logits, self.activation)
                loss = self.segmentation_loss(logits, fake, target)
                self._log("train/segmentation_loss", loss, len(image))
                if adversarial:
                    assert self.critic is not None and self.objective is not None
                    game = self.objective.generator_loss(self.critic, image, fake, target)
                    self._log("train/adversarial_loss", game, len(image))
                    loss = loss + self.adversarial_weight * game
                self._backward(loss * (len(image) / images), self.generator, left)
                fakes.append(fake.detach())
        return fakes

    def _critic_step(
        self,
        optimizer: LightningOptimizer,
        parts: Sequence[tuple[Tensor, Tensor]],
        fakes: Sequence[Tensor],
    ) -> None:
        assert self.critic is not None and self.objective is not None
        images = sum(len(image) for image, _ in parts)
        with self._step(optimizer):
            for left, ((image, target), fake) in _countdown(list(zip(parts, fakes, strict=True))):
                loss = self.objective.critic_loss(self.critic, image, fake, target)
                self._log("train/critic_loss", loss, len(image))
                self._backward(loss * (len(image) / images), self.critic, left)
        self.objective.after_critic_step(self.critic)

    def _backward(self, loss: Tensor, network: nn.Module, left: int) -> None:
        """Collect a network's gradients, and exchange them if no part of the batch is left."""
        strategy = self.trainer.strategy
        if isinstance(strategy, NetworkDDPStrategy):
            with strategy.exchanging(None if left else network):
                self.manual_backward(loss)
        else:
            self.manual_backward(loss)

    @contextmanager
    def _step(self, optimizer: LightningOptimizer) -> Iterator[None]:
        """Let only this optimiser's network collect gradients, then step it."""
        self.toggle_optimizer(optimizer)
        optimizer.zero_grad()
        yield
        optimizer.step()
        optimizer.zero_grad()
        self.untoggle_optimizer(optimizer)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip the gradients, which a scaler (``16-mixed``) has scaled back by now."""
        if self.clip_norm is not None:
            self.clip_gradients(optimizer, self.clip_norm, "norm")

    def _log(self, name: str, value: Tensor, images: int) -> None:
        self.log(name, value.detach(), on_step=False, on_epoch=True, batch_size=images)

    def _seed_step(self, batch_idx: int) -> None:
        """Make every draw of this step follow from (seed, epoch, batch, process)."""
        place = [self.seed, self.current_epoch, batch_idx, self.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Average normalisation statistics over processes before they are used or saved."""
        if self.trainer.is_last_batch and self.trainer.world_size > 1:
            for buffer in self.buffers():
                if buffer.is_floating_point():
                    buffer.copy_(self.trainer.strategy.reduce(buffer.clone(), reduce_op="mean"))

    def on_train_epoch_end(self) -> None:
        """Step the schedulers, after validation."""
        optimizers = self.optimizers()
        optimizers = optimizers if isinstance(optimizers, list) else [optimizers]
        for network, optimizer in zip(("generator", "critic"), optimizers, strict=False):
            self.log(f"lr/{network}", optimizer.param_groups[0]["lr"])
        schedulers = self.lr_schedulers() or []
        for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
            step: Callable[..., None] = scheduler.step
            if isinstance(scheduler, ReduceLROnPlateau):
                step(self.trainer.callback_metrics["val/loss"])
            else:
                assert isinstance(scheduler, LRScheduler)
                step()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the count that decides whose turn it is."""
        checkpoint["adversarial_steps_done"] = self.adversarial_steps_done

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the count up again."""
        self.adversarial_steps_done = int(checkpoint["adversarial_steps_done"])


def _countdown(parts: Sequence[_Part]) -> Iterator[tuple[int, _Part]]:
    """Give each part with the number of those that follow."""
    return zip(reversed(range(len(parts))), parts, strict=True)

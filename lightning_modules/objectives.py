"""Adversarial objectives: what a generator and a critic play against each other.

A critic is a module called as ``critic(image, mask)`` with an image ``(N, K, H, W)`` and a mask
``(N, C, H, W)``; it returns one number an image or a map of them, ``(N, ...)``, with no sigmoid.
The critic of :class:`RegressionEarthMoverObjective` is called ``critic(mask, reference)``.

Masks are probabilities in [0, 1]: ``fake`` the generator's soft output, never arg-maxed or
thresholded, ``real`` the reference. Real and fake pass the critic in two forwards, since batch
normalisation over a mixture would tell the critic nothing about either alone.

The segmentation loss and the weight of the adversarial part are not included. A generator's loss
also reaches the critic's parameters; the caller steps one optimiser at a time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from contract.errors import UserError
from lightning_modules.losses import at_least_float32, without_autocast


class AdversarialObjective(ABC):
    """The two losses of a generator/critic pair, and what follows a step of the critic."""

    @abstractmethod
    def generator_loss(
        self, critic: nn.Module, image: Tensor, fake: Tensor, real: Tensor
    ) -> Tensor:
        """Return what the generator minimises besides its segmentation loss.

        Args:
            critic: the critic.
            image: input image ``(N, K, H, W)``.
            fake: the generator's probabilities ``(N, C, H, W)``, with their graph.
            real: reference ``(N, C, H, W)``, in [0, 1].

        Returns:
            A scalar, the mean over the batch.

        Raises:
            ValueError: if ``fake`` has no gradient, as after an arg-max or a threshold.
        """

    @abstractmethod
    def critic_loss(self, critic: nn.Module, image: Tensor, fake: Tensor, real: Tensor) -> Tensor:
        """Return what the critic minimises; nothing flows back to the generator.

        Args:
            critic: the critic.
            image: input image ``(N, K, H, W)``.
            fake: the generator's probabilities ``(N, C, H, W)``.
            real: reference ``(N, C, H, W)``, in [0, 1].

        Returns:
            A scalar, the mean over the batch.
        """

    def after_critic_step(self, critic: nn.Module) -> None:  # noqa: B027
        """Constrain the critic's parameters in place; by default nothing.

        Args:
            critic: the critic, just stepped by its optimiser.
        """


class BinaryCrossEntropyObjective(AdversarialObjective):
    """Real against fake by binary cross-entropy; the generator's side is non-saturating.

    Critic: ``BCE(D(real), 1) + BCE(D(fake), 0)``; generator: ``BCE(D(fake), 1)``.

    Source: Goodfellow et al., "Generative adversarial nets", 2014, section 3; used by Gaal et
    al. 2020 and by Isola et al., "pix2pix", CVPR 2017, section 3.3, who halve the critic's loss.

    Args:
        mask_range: what the probabilities 0 and 1 are mapped to before the critic sees them;
            (-1, 1) for tanh systems.
        critic_weight: factor of the critic's loss; 0.5 for pix2pix.

    Raises:
        UserError: if the range is empty or the weight is not positive.
    """

    def __init__(
        self, mask_range: tuple[float, float] = (0.0, 1.0), critic_weight: float = 1.0
    ) -> None:
        low, high = mask_range
        _require(low < high, self, f"mask_range {mask_range}", "a low and a higher value")
        _require(critic_weight > 0, self, f"critic_weight {critic_weight}", "a positive factor")
        self.mask_range, self.critic_weight = (low, high), critic_weight

    def generator_loss(
        self, critic: nn.Module, image: Tensor, fake: Tensor, real: Tensor
    ) -> Tensor:
        """Return ``BCE(D(image, fake), 1)``; see the base class."""
        _require_gradient(fake)
        return _cross_entropy(critic(image, self._mapped(fake)), 1.0)

    def critic_loss(self, critic: nn.Module, image: Tensor, fake: Tensor, real: Tensor) -> Tensor:
        """Return ``BCE(D(image, real), 1) + BCE(D(image, fake), 0)``, weighted."""
        on_real = _cross_entropy(critic(image, self._mapped(real)), 1.0)
        on_fake = _cross_entropy(critic(image, self._mapped(fake.detach())), 0.0)
        return self.critic_weight * (on_real + on_fake)

    def _mapped(self, mask: Tensor) -> Tensor:
        low, high = self.mask_range
        return mask if (low, high) == (0.0, 1.0) else low + (high - low) * mask


class _ClippedObjective(AdversarialObjective):
    """An objective whose critic is bounded by clipping its parameters."""

    def __init__(self, clip: float | None) -> None:
        _require(clip is None or clip > 0, self, f"clip {clip}", "a positive bound, or null")
        self.clip = clip

    def after_critic_step(self, critic: nn.Module) -> None:
        """Clip every parameter to [-clip, clip]; nothing where ``clip`` is ``None``."""
        if self.clip is None:
            return
        with torch.no_grad():
            for parameter in critic.parameters():
                parameter.clamp_(-self.clip, self.clip)


class EarthMoverObjective(_ClippedObjective):
    """Earth mover's (Wasserstein-1) distance between real and fake masks.

    Critic: ``E[D(fake)] - E[D(real)]``; generator: ``-E[D(fake)]``.

    Source: Tan et al., "LGAN", 2019, Eq. 6-7, which give these signs but no bound on the
    critic; without one the loss has no minimum. The default bound is the weight clipping of
    Arjovsky et al., "Wasserstein GAN", 2017, Algorithm 1.

    Args:
        clip: bound of the critic's parameters after its step; ``None`` leaves them free, which
            with no gradient penalty is the literal reading of LGAN.
        gradient_penalty: weight of ``E[(|gradient of D at a mask between real and fake| - 1)^2]``
            (Gulrajani et al., "Improved training of Wasserstein GANs", 2017, Eq. 3; 10 there).
            It needs a critic without batch normalisation and ``clip=None``.

    Raises:
        UserError: if a value is out of range, or clipping and penalty are both on.
    """

    def __init__(self, clip: float | None = 0.01, gradient_penalty: float = 0.0) -> None:
        super().__init__(clip)
        found = f"gradient_penalty {gradient_penalty}"
        _require(gradient_penalty >= 0, self, found, "0 or a positive weight")
        both = clip is not None and gradient_penalty > 0
        _require(not both, self, f"clip {clip} and {found}", "one bound only: set clip to null")
        self.gradient_penalty = gradient_penalty

    def generator_loss(
        self, critic: nn.Module, image: Tensor, fake: Tensor, real: Tensor
    ) -> Tensor:
        """Return ``-E[D(image, fake)]``; see the base class."""
        _require_gradient(fake)
        return -_mean(critic(image, fake))

    def critic_loss(self, critic: nn.Module, image: Tensor, fake: Tensor, real: Tensor) -> Tensor:
        """Return ``E[D(image, fake)] - E[D(image, real)]`` plus the weighted penalty."""
        fake = fake.detach()
        loss = _mean(critic(image, fake)) - _mean(critic(image, real))
        if self.gradient_penalty:
            loss = loss + self.gradient_penalty * gradient_penalty(critic, image, fake, real)
        return loss


class RegressionEarthMoverObjective(_ClippedObjective):
    """One number for a mask and its reference together, instead of one for each.

    Critic: ``E[D(fake, reference)]``; generator: ``-E[D(fake, reference)]``. The critic is called
    ``critic(mask, reference)`` and sees no image and no real pair.

    Source: Tan et al., "LGAN", 2019, section 3.5, Eq. 11 (critic) and 6 (generator).

    Args:
        clip: bound of the critic's parameters after its step; ``None`` is the paper's literal,
            unbounded form.

    Raises:
        UserError: if the bound is not positive.
    """

    def __init__(self, clip: float | None = 0.01) -> None:
        super().__init__(clip)

    def generator_loss(
        self, critic: nn.Module, image: Tensor, fake: Tensor, real: Tensor
    ) -> Tensor:
        """Return ``-E[D(fake, real)]``; see the base class."""
        _require_gradient(fake)
        return -_mean(critic(fake, real))

    def critic_loss(self, critic: nn.Module, image: Tensor, fake: Tensor, real: Tensor) -> Tensor:
        """Return ``E[D(fake, real)]``; see the base class."""
        return _mean(critic(fake.detach(), real))


def gradient_penalty(critic: nn.Module, image: Tensor, fake: Tensor, real: Tensor) -> Tensor:
    """How far the slope of a critic is from 1 on the way from real to fake masks.

    Each image gets one random point on the line between its two masks. The critic runs in
    float32 there even under autocast, as the slope is differentiated once more.

    Source: Gulrajani et al., "Improved training of Wasserstein GANs", 2017, Eq. 3.

    Args:
        critic: the critic, called ``critic(image, mask)``; a map ``(N, ...)`` is averaged.
        image: input image ``(N, K, H, W)``.
        fake: the generator's probabilities ``(N, C, H, W)``.
        real: reference ``(N, C, H, W)``.

    Returns:
        A scalar, differentiable in the critic's parameters.
    """
    fake, real, image = (at_least_float32(tensor.detach()) for tensor in (fake, real, image))
    share = torch.rand(len(real), 1, 1, 1, device=real.device, dtype=real.dtype)
    between = (share * real + (1 - share) * fake).requires_grad_()
    with without_autocast(between):
        score = critic(image, between).reshape(len(real), -1).mean(dim=1).sum()
        (slope,) = torch.autograd.grad(score, between, create_graph=True)
        # The root's slope is infinite at 0, where a critic may well be flat.
        norm = (slope.flatten(1).square().sum(dim=1) + 1e-12).sqrt()
        return (norm - 1).square().mean()


def _require(condition: bool, objective: object, found: str, expected: str) -> None:
    if not condition:
        raise UserError(type(objective).__name__, found, expected, "mend the system's objective")


def _require_gradient(fake: Tensor) -> None:
    """Refuse a mask through which the critic could not teach the generator."""
    if torch.is_grad_enabled() and not fake.requires_grad:
        raise ValueError("the generator's masks carry no gradient: pass its soft probabilities")


def _cross_entropy(logits: Tensor, label: float) -> Tensor:
    logits = at_least_float32(logits)
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def _mean(scores: Tensor) -> Tensor:
    return at_least_float32(scores).mean()

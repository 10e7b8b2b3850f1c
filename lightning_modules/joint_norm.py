"""Batch normalisation over the joint batch of several processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.autograd.function import FunctionCtx

from lightning_modules.losses import at_least_float32


class _SumOfAll(torch.autograd.Function):
    """A sum over processes; its gradient is the sum of theirs, and differentiable again."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        """Return the sum."""
        total = x.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Any) -> Tensor:
        """Return the gradient."""
        return _sum_of_all(gradients[0])


def _sum_of_all(x: Tensor) -> Tensor:
    total: Tensor = _SumOfAll.apply(x)
    return total


class _JointNorm(nn.modules.batchnorm._BatchNorm):
    """In training, mean and variance are those of all processes' batches together.

    Torch's ``SyncBatchNorm`` raises on the CPU; this one is the same arithmetic on any device, its
    gradients included. Every process must bring a batch, of any size.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x``, ``(N, C, ...)``, normalised; alone, or in testing, as without others."""
        if not (self.training and distributed.is_initialized()):
            return super().forward(x)
        self._check_input_dim(x)  # type: ignore[no-untyped-call]
        given, x = x.dtype, at_least_float32(x)
        dims = [0, *range(2, x.dim())]
        shape = [1, -1, *[1] * (x.dim() - 2)]
        here = x.new_full((1,), x.numel() / x.shape[1])
        sums = _sum_of_all(torch.cat([x.sum(dims), here]))
        count = sums[-1].detach()
        centred = x - (sums[:-1] / count).view(shape)
        # A second pass: the mean of squares less the square of the mean would lose digits.
        variance = _sum_of_all(centred.square().sum(dims)) / count
        if self.track_running_stats:
            self._track((sums[:-1] / count).detach(), variance.detach(), float(count))
        y = centred * (variance + self.eps).rsqrt().view(shape)
        if self.weight is not None:
            y = y * self.weight.view(shape)
        if self.bias is not None:
            y = y + self.bias.view(shape)
        return y.to(given)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: float) -> None:
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None and self.running_var is not None
        self.num_batches_tracked.add_(1)
        momentum = self.momentum
        share = 1 / float(self.num_batches_tracked) if momentum is None else momentum
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        unbiased = variance * (count / max(1.0, count - 1))
        self.running_var.lerp_(unbiased.to(self.running_var), share)


class JointBatchNorm1d(_JointNorm, nn.BatchNorm1d):
    """``BatchNorm1d`` over all processes."""


class JointBatchNorm2d(_JointNorm, nn.BatchNorm2d):
    """``BatchNorm2d`` over all processes."""


class JointBatchNorm3d(_JointNorm, nn.BatchNorm3d):
    """``BatchNorm3d`` over all processes."""


_JOINT: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: JointBatchNorm1d,
    nn.BatchNorm2d: JointBatchNorm2d,
    nn.BatchNorm3d: JointBatchNorm3d,
}


def normalises_over_batch(network: nn.Module) -> bool:
    """Tell whether what a network says of an image in training depends on the others."""
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in network.modules())


def join_batch_norms(network: nn.Module) -> None:
    """Have a network's batch normalisation see the joint batch from now on.

    Layers change their class and nothing else: weights, optimisers and the keys of checkpoints stay
    as they are. A user's own kinds of it are left alone.
    """
    for part in network.modules():
        if type(part) in _JOINT:
            part.__class__ = _JOINT[type(part)]

"""What of a cell's module leaves the house: images to probabilities, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from lightning_modules.adversarial import AdversarialSegmenter


class OutputGraph(nn.Module):
    """A module's prediction as it was tested: its generator, and what makes probabilities of it.

    Args:
        module: the module with the weights that were tested. Left behind are its critic, its
            losses and all that trains it.
    """

    def __init__(self, module: AdversarialSegmenter) -> None:
        super().__init__()
        module.eval()
        module.channels_last = False  # a matter of memory alone, which no other runtime shares
        self.generator = module.generator
        self.eval()
        self._predict = module.views if module.mirror else module.forward

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return probabilities ``(N, C, H, W)``, with test-time mirroring the mirror image's too.

        Args:
            image: ``(N, 1, H, W)``.
        """
        return self._predict(image)

    @torch.inference_mode()
    def outputs(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the same as a tuple, as exported files do."""
        found = self(images)
        return found if isinstance(found, tuple) else (found,)

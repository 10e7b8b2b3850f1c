"""The control: a film tells nothing of the foreign mask that it is paired with."""

import numpy as np
import pytest

from datamodules.augmentation import Augmentation
from datamodules.cache import PLANES
from datamodules.datasets import TrainingSet
from datamodules.preprocessing import Preprocessing


class TwoSquares:
    """Two cases alike: a bright square, which is the lungs."""

    def __len__(self):
        return 2

    def pixels(self, index):
        image = np.zeros((64, 64), np.uint8)
        image[24:40, 24:40] = 255
        return image, (image > 0).astype(np.uint8) * np.uint8(PLANES["lungs"])


@pytest.mark.parametrize(("masks", "together"), [(None, True), ([1, 0], False)])
def test_a_foreign_mask_moves_on_its_own(masks, together):
    data = TrainingSet(
        TwoSquares(), Preprocessing(64), ["lungs"], Augmentation(shift=0.3), 0, masks
    )
    centres = []
    for epoch in range(40):
        item = data[0, epoch]
        parts = (item["image"][0] > 0, item["target"][0] > 0.5)
        centres.append([float(np.nonzero(part.numpy())[1].mean()) for part in parts])
    film, mask = np.array(centres).T
    assert mask.std() > 4
    correlation = np.corrcoef(film, mask)[0, 1]
    assert correlation > 0.99 if together else abs(correlation) < 0.4

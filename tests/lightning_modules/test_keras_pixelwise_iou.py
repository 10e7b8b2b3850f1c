"""The quantity that DEFU-Net's paper prints as "IOU"."""

import numpy as np
import pytest

from contract.rows import UNRANKED
from leaderboards.published.reported import published_values
from lightning_modules.metrics.case_metrics import case_metrics


def test_it_is_the_smoothed_iou_summed_over_the_channel_axis():
    random = np.random.default_rng(3)
    prediction, reference = random.random((2, 17, 23)) > 0.6
    p, g = (mask[..., None].astype(float) for mask in (prediction, reference))
    both = (p * g).sum(axis=-1)
    smoothed = (both + 1) / (p.sum(axis=-1) + g.sum(axis=-1) - both + 1)
    found = case_metrics(prediction, reference)["iou_keras_pixelwise"]
    assert found == pytest.approx(smoothed.mean(), abs=1e-12)
    assert 0.5 < found < 1


def test_it_explains_every_value_that_the_paper_prints():
    values = {
        (v.system, v.split, v.metric): v.value for v in published_values() if v.paper == "defunet"
    }
    ious = {key: value for key, value in values.items() if key[2] == "iou_keras_pixelwise"}
    assert len(ious) == 21
    for (system, split, _), value in ious.items():
        assert value == pytest.approx((1 + values[system, split, "accuracy"]) / 2, abs=0.0008)


def test_it_never_ranks():
    assert "iou_keras_pixelwise" in UNRANKED

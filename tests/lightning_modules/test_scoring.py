"""Rules 2 and 3: scores on the reference's own grid, lungs from any kind of output."""

import numpy as np
import pytest
import torch

from datamodules.cache import PLANES
from datamodules.phantoms import write_montgomery, write_shenzhen
from datamodules.preprocessing import Preprocessing
from datamodules.sources import open_source
from datamodules.targets import to_channels
from lightning_modules.metrics.scoring import score_case, to_reference_grid

FOUR = ["background", "left_lung", "right_lung", "heart"]


@pytest.mark.parametrize("size", [128, 256, 512])
@pytest.mark.parametrize("keep_aspect", [False, True])
@pytest.mark.parametrize("name", ["montgomery", "shenzhen"])
def test_a_perfect_prediction_at_network_size_is_near_perfect_on_the_reference_grid(
    tmp_path, name, size, keep_aspect
):
    """Perfect probabilities are each pixel's share of lung; hard masks lose that by a little."""
    write_montgomery(tmp_path, 4, size=1000)
    write_shenzhen(tmp_path, 4, size=700)
    source = open_source(name, tmp_path)
    preprocessing = Preprocessing(size, keep_aspect=keep_aspect)
    for case in source.cases():
        film = source.read_image(case)
        lungs = source.read_masks(case, film.shape)["lungs"]
        small = preprocessing.prepare_mask(lungs)
        target = to_channels(small * np.uint8(PLANES["lungs"]), ["background", "lungs"])
        share = preprocessing.prepare_image(lungs * np.uint8(255)) / np.float32(255)
        box = preprocessing.box(film.shape)

        def score(probabilities, target=target, lungs=lungs, box=box, film=film):
            return score_case(
                torch.from_numpy(probabilities),
                torch.from_numpy(target),
                {"lungs": preprocessing.prepare_reference(lungs)},
                (box.top, box.left, box.height, box.width),
                source.spacing(film.shape),
                ["background", "lungs"],
                "softmax",
            )[0]

        assert score(np.stack([1 - share, share]))["dice"] >= 0.995
        hard = score(target)
        assert hard["dice"] >= {128: 0.985, 256: 0.99, 512: 0.995}[size]
        assert hard["dice_netgrid"] == hard["iou_netgrid"] == 1


def test_lungs_of_four_classes_are_the_union_and_equal_a_two_class_output():
    random = torch.Generator().manual_seed(1)
    four = torch.randn(4, 24, 20, generator=random).softmax(0)
    lungs = four[1:3].sum(0)
    reference = {
        "lungs": np.tri(24, 20).astype(bool),
        "left_lung": np.tri(24, 20, -4).astype(bool),
    }
    rows = score_case(four, four, reference, (0, 0, 24, 20), None, FOUR, "softmax")
    assert [row["structure"] for row in rows] == ["lungs", "left_lung"]
    winner = four.argmax(0)
    union = ((winner == 1) | (winner == 2)).numpy()
    both = (union & reference["lungs"]).sum()
    assert rows[0]["dice"] == pytest.approx(2 * both / (union.sum() + reference["lungs"].sum()))
    two = torch.stack([1 - lungs, lungs])
    auc = score_case(two, two, reference, (0, 0, 24, 20), None, ["background", "lungs"], "softmax")
    assert rows[0]["auc"] == pytest.approx(auc[0]["auc"], abs=1e-6)


def test_at_the_networks_size_too_a_heart_takes_no_pixel_from_the_reference_lungs():
    """JSRT's hearts overlap the lungs, and the target gives those pixels to the heart."""
    planes = np.zeros((20, 20), np.uint8)
    planes[4:16, 2:8] |= PLANES["right_lung"] | PLANES["lungs"]
    planes[4:16, 12:18] |= PLANES["left_lung"] | PLANES["lungs"]
    planes[10:16, 6:14] |= PLANES["heart"]
    target = torch.from_numpy(to_channels(planes, FOUR))
    raw = {name: (planes & PLANES[name]) > 0 for name in ("lungs", "heart")}
    arguments = target, target, raw, (0, 0, 20, 20), None, FOUR, "softmax"
    cut, whole = score_case(*arguments), score_case(*arguments, lungs=raw["lungs"])
    overlap, lungs = (raw["lungs"] & raw["heart"]).sum(), raw["lungs"].sum()
    kept = lungs - overlap
    assert overlap == 24 and cut[0]["dice_netgrid"] == 1
    assert whole[0]["dice_netgrid"] == pytest.approx(2 * kept / (kept + lungs))
    assert whole[0]["iou_netgrid"] == pytest.approx(kept / lungs)
    assert whole[0]["dice_netgrid"] == whole[0]["dice"]
    at_network_size = {"dice_netgrid", "iou_netgrid", "hausdorff_rowvector"}
    assert {name for name in whole[0] if whole[0][name] != cut[0][name]} <= at_network_size
    assert whole[1] == cut[1]


def test_the_padding_is_cut_off_before_resizing():
    padded = torch.zeros(1, 8, 8)
    padded[:, :, 2:6] = 1
    assert to_reference_grid(padded, (0, 2, 8, 4), (16, 8)).eq(1).all()


def test_one_empty_mask_counts_as_failed_with_the_diagonal():
    empty, reference = torch.zeros(1, 30, 40), {"lungs": np.ones((30, 40), bool)}
    row = score_case(empty, empty, reference, (0, 0, 30, 40), (2.0, 1.0), ["lungs"], "sigmoid")[0]
    assert row["empty_prediction"] and not row["empty_reference"]
    assert (row["dice"], row["hausdorff_px"], row["assd_px"]) == (0, 50, 50)
    assert row["hausdorff_mm"] == pytest.approx(np.hypot(60, 40))

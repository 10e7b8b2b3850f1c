"""Rule 9: scans scored as volumes, whatever the batches; slices beside them."""

import pickle

import numpy as np
import pytest
import torch
from seen_cases import SHAPE, SLICE_MM, SPACING, Seen, body, rows_of_test, slices_of

from lightning_modules.metrics.case_metrics import surface_metrics
from lightning_modules.metrics.scan_metrics import hausdorff_rowvector, volume_metrics
from lightning_modules.metrics.scans import ComingSlice, ScansInOrder, SliceMasks
from lightning_modules.metrics.surfaces import volume_surface


def of_unit(rows, unit):
    return [row for row in rows if row["unit"] == unit]


def test_a_scans_row_is_what_stacking_its_slices_gives():
    prediction, reference = body(1, 9), body(2, 9)
    rows = rows_of_test(slices_of("1.2.3", prediction, reference), 4)
    (scan,), slices = of_unit(rows, "scan"), of_unit(rows, "slice")
    assert len(slices) == 9
    expected = volume_metrics(prediction, reference, (SLICE_MM, *SPACING))
    assert {name: scan[name] for name in expected} == expected
    both = (prediction & reference).sum()
    assert scan["dice"] == pytest.approx(2 * both / (prediction.sum() + reference.sum()))
    assert scan["dice"] != pytest.approx(np.mean([row["dice"] for row in slices]), abs=0.01)
    assert scan["volume_ml"] == pytest.approx(prediction.sum() * 2.5 * 0.8 * 0.7 / 1000)
    area = sum(row["area_mm2"] for row in slices) * 2.5 / 1000
    assert scan["volume_ml"] == pytest.approx(area)
    assert scan["case_id"] == scan["scan_id"] == "1.2.3"
    assert scan["slice_index"] is None
    assert (scan["patient_id"], scan["reference"]) == ("patient of 1.2.3", "automatic")
    assert (scan["height"], scan["width"]) == SHAPE
    assert scan["empty_prediction"] is scan["empty_reference"] is False
    assert "auc" not in scan and "hausdorff_px" not in scan


def test_a_perfect_prediction_of_a_scan():
    reference = body(3, 7)
    (scan,) = of_unit(rows_of_test(slices_of("s", reference, reference), 3), "scan")
    assert [scan[name] for name in ("dice", "iou", "nsd", "dice_netgrid")] == [1, 1, 1, 1]
    assert [scan[name] for name in ("hausdorff_mm", "hausdorff95_mm", "assd_mm")] == [0, 0, 0]


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
def test_batches_may_divide_scans_anywhere(batch_size):
    items = [
        item
        for number, n_slices in enumerate((5, 3, 8))
        for item in slices_of(f"s{number}", body(number, n_slices), body(number + 50, n_slices))
    ]
    rows = rows_of_test(items, batch_size)
    assert rows_by_case(rows) == rows_by_case(rows_of_test(items, 7))
    assert [row["scan_id"] for row in of_unit(rows, "scan")] == ["s0", "s1", "s2"]


def rows_by_case(rows):
    return sorted(map(str, rows))


def test_scores_on_the_references_grid_and_at_the_networks_size_stand_apart():
    """The network sees a coarser grid; the volume is scored on the finer one."""
    reference = body(5, 6, (40, 40))
    small = reference[:, ::2, ::2]
    items = slices_of("s", small, reference)
    for item, mask in zip(items, small, strict=True):
        item["box"] = (0, 0, 20, 20)
        item["target"] = torch.from_numpy(mask[None].astype(np.float32))
    (scan,) = of_unit(rows_of_test(items, 4), "scan")
    assert scan["dice_netgrid"] == scan["iou_netgrid"] == 1
    upsampled = torch.nn.functional.interpolate(
        torch.from_numpy(small[:, None].astype(np.float32)), (40, 40), mode="bilinear"
    )
    expected = volume_metrics(upsampled[:, 0].numpy() > 0.5, reference, (SLICE_MM, *SPACING))
    assert scan["dice"] == expected["dice"] < 1
    assert scan["hausdorff_mm"] == expected["hausdorff_mm"]


def test_slices_have_all_metrics_of_films_and_lgans_own():
    prediction, reference = body(6, 5), body(7, 5)
    slices = of_unit(rows_of_test(slices_of("s", prediction, reference), 2), "slice")
    for row, seen, mask in zip(slices, prediction, reference, strict=True):
        surfaces = surface_metrics(seen, mask, SPACING)
        assert {name: row[name] for name in surfaces} == surfaces
        assert row["hausdorff_rowvector"] == hausdorff_rowvector(seen, mask)
    assert slices[0]["empty_reference"] and slices[0]["empty_prediction"]


def test_softmax_outputs_give_the_same_scan():
    prediction, reference = body(8, 4), body(9, 4)
    items = slices_of("s", prediction, reference)
    (one,) = of_unit(rows_of_test(items, 3), "scan")
    for item in items:
        item["target"] = torch.cat([1 - item["target"], item["target"]])
    module = Seen(("background", "lungs"), "softmax")
    (two,) = of_unit(rows_of_test(items, 3, module), "scan")
    assert one == two


def test_films_and_scans_share_a_test():
    film = slices_of("film", body(1, 3), body(2, 3))[1]
    film |= {"scan": None, "nodules": []}
    film["identity"] = {"test_on": "jsrt", "case_id": "film", "unit": "image"}
    scan = slices_of("s", body(3, 4), body(4, 4))
    rows = rows_of_test([film, *scan[:2], *scan[2:], {**film}], 2)
    assert [row["unit"] for row in rows].count("image") == 2
    assert len(of_unit(rows, "scan")) == 1
    assert set(of_unit(rows, "image")[0]) >= {"dice", "hausdorff_px"}


def test_nodules_are_joined_over_slices():
    lungs = np.zeros((5, *SHAPE), np.bool_)
    lungs[1:4, 2:22, 2:18] = True
    predicted = lungs.copy()
    predicted[3] = False
    inner, wall = np.zeros((2, *lungs.shape), np.bool_)
    inner[1:4, 11:13, 9:11] = True  # 12 pixels in three slices, 8 of them inside
    wall[3, 3:5, 9:11] = True  # 4 pixels, none inside, at the pleura
    rows = rows_of_test(slices_of("s", predicted, lungs, [("n1", inner), ("n2", wall)]), 2)
    (scan,) = of_unit(rows, "scan")
    assert scan["nodule_coverage"] == 0.5
    assert scan["nodule_pixel_coverage"] == pytest.approx(8 / 16)
    assert scan["pleural_nodule_coverage"] == scan["pleural_nodule_pixel_coverage"] == 0


def test_an_empty_prediction_costs_the_diagonal_of_the_volume():
    reference = body(4, 6)
    (scan,) = of_unit(rows_of_test(slices_of("s", 0 * reference, reference), 4), "scan")
    surface = volume_surface(np.zeros_like(reference), reference, (SLICE_MM, *SPACING))
    assert scan["empty_prediction"] and not scan["empty_reference"]
    assert scan["dice"] == scan["nsd"] == 0
    assert scan["hausdorff_mm"] == surface.hausdorff == np.hypot(15, np.hypot(24 * 0.8, 20 * 0.7))


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ([0, 1, 2], "3 of 4 slices"),
        ([0, 2, 1, 3], "slice 2 of scan s came; expected slice 1"),
        ([0, 1, 1, 3], "slice 1 of scan s came; expected slice 2"),
        ([1, 2, 3], "slice 1 of scan s came; expected slice 0"),
    ],
)
def test_missing_doubled_and_disordered_slices_are_refused(order, message):
    items = slices_of("s", body(1, 4), body(2, 4))
    with pytest.raises(RuntimeError, match=message):
        rows_of_test([items[place] for place in order], 2)


def test_a_scan_inside_another_is_refused():
    first, second = (slices_of(name, body(1, 4), body(2, 4)) for name in "ab")
    with pytest.raises(RuntimeError, match="slice 0 of scan b came; expected slice 2 of scan a"):
        rows_of_test([*first[:2], *second, *first[2:]], 3)


def test_slices_of_another_shape_or_spacing_are_refused():
    for change in ({"spacing": (0.9, 0.9)}, {"references": {"lungs": np.ones((9, 9), bool)}}):
        items = slices_of("s", body(1, 4), body(2, 4))
        items[2] |= change
        with pytest.raises(RuntimeError, match="slice 2 of scan s has another"):
            rows_of_test(items, 4)


def test_of_the_scan_in_progress_a_bit_is_kept_for_each_voxel_and_of_others_nothing():
    shape = (6, 64, 64)
    items = [
        i for name in "ab" for i in slices_of(name, body(1, 6, shape[1:]), body(2, 6, shape[1:]))
    ]
    scans, kept = ScansInOrder(), []
    for item in items:
        lungs = item["references"]["lungs"]
        scan = scans.next(
            ComingSlice(item["identity"], item["scan"], SPACING, {"lungs": lungs.shape})
        )
        scan.put(item["identity"]["slice_index"], {"lungs": SliceMasks(lungs, lungs, lungs, lungs)})
        kept.append(len(pickle.dumps(scans)))
    a_slice = 4 * 64 * 64 / 8
    assert kept[5] < 200 and kept[11] == kept[5]
    assert np.diff(kept[:5]) == pytest.approx(a_slice, rel=0.2)

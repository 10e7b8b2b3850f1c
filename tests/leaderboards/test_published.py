"""Published values: complete, in range, and refused when a file is wrong."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from contract.errors import UserError
from contract.rows import LOWER_IS_BETTER
from leaderboards.published import reported
from leaderboards.published.reported import (
    beside,
    peer_values,
    published_value,
    published_values,
    read_paper,
)


def test_every_paper_is_there_in_full() -> None:
    counts: dict[str, int] = {}
    for value in published_values():
        if value.nearest:
            counts[value.paper] = counts.get(value.paper, 0) + 1
    tables_and_cross = 3 * 7 * 7 + 7 * 4
    both_ct_sets_and_3d = 2 * 6 * 4 + 8
    assert counts == {
        "gaal2020": 7, "maga2021": 30 + 2 * 4, "ganunet": 4 + 4, "lgan": both_ct_sets_and_3d,
        "defunet": tables_and_cross,
    }  # fmt: skip


def test_what_a_paper_prints_under_another_name_stands_beside_the_row_that_answers_it() -> None:
    fcn = reported.beside("scan_fcn", "jsrt_160_40_40", "lungs", "image")
    assert fcn is not None and fcn.value == 0.96 and fcn.quoted
    for critic in ("pixel", "patch22", "patch46", "patch94"):
        value = reported.beside(f"slgan_{critic}", "jsrt_160_40_40", "lungs", "image")
        assert value is not None and value.value == 0.974
        assert any("which of its four critics" in note for note in value.notes)


def test_fractions_are_fractions_and_distances_are_positive() -> None:
    for value in (*published_values(), *peer_values()):
        if value.metric in LOWER_IS_BETTER or value.metric == "hausdorff_as_printed":
            assert value.value > 0
        else:
            assert 0.5 < value.value <= 1, value


@pytest.mark.parametrize(
    ("system", "protocol", "structure", "metric", "expected"),
    [
        ("scan", "jsrt_209_38", "lungs", "dice", 0.973),
        ("attention_unet", "jsrt_209_19_19", "lungs", "dice", 0.963),
        ("attention_bcdu_net_mixup01", "jsrt_209_19_19", "lungs_and_heart", "iou", 0.952),
        ("adversarial_attention_unet", "all", "lungs", "dice", 0.962),
        ("attention_bcdu_net_mixup02", "jsrt_train10", "lungs_and_heart", "iou", 0.922),
        ("gan_unet", "jsrt_160_40_40", "lungs", "dice", 0.9778),
        ("defu_net_dilated", "mixed_m_s", "lungs", "recall", 0.9619),
        ("defu_net_dilated", "mixed_m_s", "lungs", "iou_keras_pixelwise", 0.9901),
        ("bcdu_net_dilated", "s_to_m", "lungs", "f1", 0.9082),
    ],
)
def test_values(system: str, protocol: str, structure: str, metric: str, expected: float) -> None:
    value = published_value(system, protocol, structure, metric)
    assert value is not None
    assert value.value == expected
    assert str(expected)[2:].rstrip("0") in value.printed.replace(".", "")


def test_ct_values_tell_slices_from_scans_and_means_from_medians() -> None:
    def lgan(metric: str, unit: str, statistic: str = "mean") -> float:
        value = published_value(
            "lgan_regression", "lidc", "lungs", metric, unit=unit, statistic=statistic
        )
        assert value is not None
        return value.value

    assert lgan("iou", "slice") == 0.923
    assert lgan("hausdorff_as_printed", "slice", "median") == 3.162
    assert lgan("dice", "scan") == 0.985
    assert lgan("dice", "scan", "median") == 0.9864


def test_what_is_unknown_is_none() -> None:
    assert published_value("unet", "m_to_s", "lungs", "dice") is None
    assert published_value("defu_net_dilated", "mixed_m_s", "lungs", "iou") is None
    assert published_value("scan", "all", "lungs", "dice") is None


def test_iou_above_dice_and_other_contradictions_carry_a_footnote() -> None:
    keras = published_value("defu_net_dilated", "mixed_m_s", "lungs", "iou_keras_pixelwise")
    twins = published_value("r2u_net_dilated", "s_to_m", "lungs", "dice")
    assert keras is not None
    assert twins is not None
    assert any("accuracy" in note for note in keras.notes)
    assert any("identical" in note for note in twins.notes)
    assert all(v.notes for v in published_values())


def test_examples_of_impossible_distances_are_no_sums_of_two_squares() -> None:
    printed = published_value(
        "lgan_product", "lidc", "lungs", "hausdorff_as_printed", unit="slice", statistic="median"
    )
    assert printed is not None
    (note,) = (note for note in printed.notes if "√" in note)
    named = {
        float(number): int(square) for number, square in re.findall(r"([\d.]+) = √(\d+)", note)
    }
    medians = {v.value for v in published_values() if v.statistic == "median"}
    sums = {down**2 + along**2 for down in range(9) for along in range(9)}
    assert set(named) <= medians
    assert set(named.values()) == {6, 11}
    for number, square in named.items():
        assert round(square**0.5, 3) == number
        assert square not in sums


def test_all_names_what_sets_the_papers_data_apart_from_ours() -> None:
    value = published_value("attention_unet", "all", "lungs", "dice")
    assert value is not None
    assert any("566 of the 662" in note for note in value.notes)


def test_keras_iou_is_half_of_one_plus_accuracy_in_every_cell() -> None:
    found = [v for v in published_values() if v.metric == "iou_keras_pixelwise"]
    accuracy = {(v.system, v.split): v.value for v in published_values() if v.metric == "accuracy"}
    assert len(found) == 21
    for value in found:
        assert value.value == pytest.approx((1 + accuracy[value.system, value.split]) / 2, abs=7e-4)


def test_beside_a_row_stands_a_number_of_the_same_masks_and_structure() -> None:
    """Dilated masks beside dilated ones, a mean over classes beside the same mean."""
    dilated = beside("defu_net_dilated", "m_to_s", "lungs", "image")
    classes = beside("attention_bcdu_net", "jsrt_209_38", "lungs_and_heart", "image")
    quoted = beside("adversarial_attention_unet", "jsrt_160_40_40", "lungs", "image")
    assert dilated is not None
    assert classes is not None
    assert quoted is not None
    assert "dilated masks" in dilated.label
    assert classes.value == 0.98
    assert "quoted" in quoted.label
    assert beside("defu_net", "m_to_s", "lungs", "image") is None
    for structure in ("lungs", "heart"):
        assert beside("attention_bcdu_net", "jsrt_209_38", structure, "image") is None
    assert beside("deepdraw_unet", "m_to_s", "lungs", "image") is None


def test_peers_are_apart_and_their_pooled_f1_is_not_called_dice() -> None:
    deepdraw = [v for v in peer_values() if v.system.startswith("deepdraw")]
    assert len(deepdraw) == 27
    assert {v.metric for v in deepdraw} == {"f1_pooled"}
    assert not {v.system for v in peer_values()} & {v.system for v in published_values()}


PAPER: dict[str, Any] = {
    "paper": "p",
    "cite": "P",
    "notes": {"odd": "Odd."},
    "tables": [
        {
            "source": "Table 1",
            "columns": [{"protocol": "jsrt", "metric": "dice"}],
            "rows": {"unet": [{"printed": "95.5 ±1%", "percent": True, "notes": ["odd"]}]},
        }
    ],
}


def test_reads_a_cell_with_its_own_fields() -> None:
    (value,) = read_paper("p.yaml", PAPER)
    assert (value.value, value.printed, value.notes) == (0.955, "95.5 ±1%", ("Odd.",))


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        (("columns",), [{"protocol": "jsrt", "metric": "dyce"}], "dyce"),
        (("columns",), [{"protocol": "jsrt", "metric": "dice", "colour": 1}], "colour"),
        (("columns",), [], "1 cells"),
        (("structure",), "liver", "liver"),
        (("notes",), ["missing"], "missing"),
        (("rows", "unet"), ["95.5"], "95.5"),
        (("rows", "unet"), ["-"], "'-'"),
    ],
)
def test_a_wrong_file_is_refused(path: tuple[str, ...], content: object, message: str) -> None:
    paper = copy.deepcopy(PAPER)
    place = paper["tables"][0]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = content
    with pytest.raises(UserError, match=message) as caught:
        read_paper("p.yaml", paper)
    assert caught.value.where == "p.yaml"


def test_the_same_number_twice_is_refused() -> None:
    paper = copy.deepcopy(PAPER)
    paper["tables"] *= 2
    with pytest.raises(UserError, match="twice"):
        reported.read_paper("p.yaml", paper)

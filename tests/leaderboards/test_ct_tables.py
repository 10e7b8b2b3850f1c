"""CT on the leaderboard: scans ranked, slices beside them, pseudo-masks outside every ranking."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markupsafe import escape

from leaderboards.board import build_leaderboard
from leaderboards.markdown import Meta, page
from leaderboards.published.differences import from_papers
from leaderboards.published.reported import published_values
from leaderboards.tables import build
from leaderboards.wording import AUTOMATIC, PSEUDO, heading, remarks

RowMaker = Callable[..., pd.DataFrame]
CellWriter = Callable[..., Path]
MakeScans = Callable[..., pd.DataFrame]
PX = ["hausdorff_px", "hausdorff95_px", "assd_px"]


@pytest.fixture
def make_scans(make_rows: RowMaker) -> MakeScans:
    """Rows of scans {id: Dice} and of four slices each, the last without lung."""

    def make(
        system: str, dices: dict[str, float], reference: str = "automatic", **given: object
    ) -> pd.DataFrame:
        given = {"protocol": "lidc", "reference": reference, "test_on": "lidc_idri"} | given
        scans = make_rows(system, dices, unit="scan", **given)
        scans = scans.assign(scan_id=scans["case_id"], hausdorff95_mm=4.0, assd_mm=1.0)
        scans[PX] = None
        scans["nodule_coverage"] = [0.5, *[None] * (len(scans) - 1)]
        parts = [scans]
        for name, dice in dices.items():
            slices = {f"{name}:{k:04d}": value for k, value in enumerate((dice, 0.6, 0.4, 0.0))}
            rows = make_rows(system, slices, unit="slice", scan_id=name, **given)
            parts.append(
                rows.assign(
                    patient_id=name, slice_index=range(4), hausdorff95_mm=4.0, assd_mm=1.0,
                    hausdorff_rowvector=[2.0, 3.0, 7.0, 9.0],
                    empty_reference=[False, False, False, True],
                )
            )  # fmt: skip
        return pd.concat(parts, ignore_index=True)

    return make


def test_scans_come_first_and_are_ranked_slices_are_not(make_scans: MakeScans) -> None:
    rows = pd.concat([make_scans(f"s{k}", {"a": k, "b": 1.0}) for k in (0.5, 0.9)])
    table = build(rows, draws=50)
    assert list(table["unit"]) == ["scan", "scan", "slice", "slice"]
    assert table["rank"].tolist() == [1, 2, pd.NA, pd.NA]
    assert list(table["n_cases"]) == [2, 2, 6, 6]
    assert list(table["n_patients"]) == [2, 2, 2, 2]
    scan = table.iloc[0]
    assert scan["system"] == "s0.9"
    assert (scan["hausdorff95_px_n"], scan["hausdorff95_mm_n"]) == (0, 2)
    assert pd.isna(scan["hausdorff95_px_mean"])
    assert (scan["nodule_coverage_mean"], scan["nodule_coverage_n"]) == (0.5, 1)
    assert pd.isna(scan["dice_mean_all_slices"])


def test_slices_are_averaged_with_and_without_those_that_hold_no_lung(
    make_scans: MakeScans,
) -> None:
    row = build(make_scans("a", {"x": 0.8}), draws=50).set_index("unit").loc["slice"]
    assert row["dice_mean"] == pytest.approx((0.8 + 0.6 + 0.4) / 3)
    assert row["dice_median"] == pytest.approx(0.6)
    assert row["dice_mean_all_slices"] == pytest.approx((0.8 + 0.6 + 0.4 + 0) / 4)
    ious = [d / (2 - d) for d in (0.8, 0.6, 0.4, 0)]
    assert row["iou_mean_all_slices"] == pytest.approx(np.mean(ious))
    assert row["dice_median_all_slices"] == pytest.approx((0.6 + 0.4) / 2)
    assert row["iou_median_all_slices"] == pytest.approx(np.median(ious))
    assert row["false_positive_slice_rate"] == 1
    assert (row["hausdorff_rowvector_mean"], row["hausdorff_rowvector_median"]) == (4, 3)


def test_pseudo_masks_say_so_and_stand_outside_every_ranking(make_scans: MakeScans) -> None:
    rows = make_scans("a", {"x": 0.9, "y": 0.8}, reference="pseudo", protocol="qin")
    table = build(rows, draws=50)
    assert table["rank"].isna().all()
    text = page(table, Meta("lgan"))
    assert text.count("PSEUDO-MASKS: no lung masks") == 2
    assert "### lungs, PSEUDO-MASKS, per scan" in text
    assert "### lungs, PSEUDO-MASKS, per slice" in text
    assert "| – | a" in text and "| 1 | a" not in text


def test_automatic_references_say_so_and_are_ranked(make_scans: MakeScans) -> None:
    text = page(build(make_scans("a", {"x": 0.9}), draws=50), Meta("lgan"))
    assert text.count(AUTOMATIC) == 2
    assert "### lungs, automatic reference masks, per scan" in text
    assert "| 1 | a" in text
    scans, slices = text.split("### lungs, automatic reference masks, per slice")
    assert "HD95 px" not in scans and "HD95 mm" in scans and "| nodules |" in scans
    assert "HD95 px" in slices and "rows HD" in slices and "| nodules |" not in slices
    assert "ranking is by whole scans" in slices


@pytest.mark.parametrize(
    ("reference", "unit", "said"),
    [("plain", "image", []), ("pseudo", "image", [PSEUDO]), ("automatic", "image", [AUTOMATIC])],
)
def test_what_a_table_says_of_its_masks(reference: str, unit: str, said: list[str]) -> None:
    table = {"structure": "left_lung", "reference": reference, "unit": unit}
    assert remarks(table)[: len(said)] == said
    assert any("Not ranked" in text for text in remarks(table)) == (reference == "pseudo")
    assert heading({"structure": "left_lung", "reference": "plain", "unit": "image"}) == "left lung"


def test_lgans_tables_stand_beside_ours_cell_for_cell(make_scans: MakeScans) -> None:
    """Tables 2 to 4: every number of a system that is built, each with its own counterpart."""
    own = [v for v in published_values() if v.paper == "lgan" and v.system.startswith("lgan")]
    systems = sorted({value.system for value in own})
    rows = [make_scans(name, {"x": 0.9, "y": 0.7}, protocol="lidc") for name in systems]
    rows += [make_scans(name, {"x": 0.9}, "pseudo", protocol="qin") for name in systems]
    found = from_papers(build(pd.concat(rows), draws=50))
    assert len(found) == len(own) == 6 * 4 + 6 * 4 + 4
    keys = ["system", "protocol", "unit", "metric", "statistic"]
    found = found.set_index(keys).sort_index()
    assert found.index.is_unique
    for value in own:
        metric = value.metric.replace("hausdorff_as_printed", "hausdorff_rowvector")
        line = found.loc[value.system, value.protocol, value.unit, metric, value.statistic]
        assert line["published"] == value.value
        assert (line["source"], line["printed"]) == (value.source, value.printed)
        assert line["notes"].split(" | ") == list(value.notes)
    line = found.loc["lgan_basic", "lidc", "slice"]
    assert line.loc[("hausdorff_rowvector", "median"), "measured"] == 3
    assert line.loc[("hausdorff_rowvector", "mean"), "measured"] == 4
    assert pd.notna(line["measured_all_slices"]).all()
    assert (
        line.loc[("iou", "median"), "measured_all_slices"]
        < (line.loc[("iou", "median"), "measured"])
    )
    assert line.loc[("iou", "mean"), "measured_all_slices"] < line.loc[("iou", "mean"), "measured"]
    scan = found.loc["lgan_regression", "lidc", "scan"]
    assert scan.loc[("dice", "median"), "measured"] == pytest.approx(0.8)
    assert scan.loc[("dice", "median"), "published"] == 0.9864


def test_the_page_prints_them_with_their_sources(make_scans: MakeScans) -> None:
    text = page(build(make_scans("lgan_regression", {"x": 0.9}), draws=50), Meta("lgan"))
    scans, slices = text.split("per slice\n")
    assert "| Dice, median | 0.9000 | 0.9864 (1, 2) | LGAN, Tan et al. 2021, Table 4 |" in scans
    assert "| rows HD, median | 3.000 | 5.000 | 3.162 (1, 2, 3, 4) | LGAN" in slices
    assert "| IoU, mean | " in slices and "| 0.923 (1, 2, 3) |" in slices
    assert slices.count("EF has the lowest mean") == 1


def test_a_suite_of_scans_ends_with_all_files(
    make_scans: MakeScans, write_cell: CellWriter
) -> None:
    """Nulls of scans (distances in pixels, slices, nodules) break no table, page or figure."""
    for system in ("mean_shape", "lgan_baseline"):
        for protocol, reference in (("lidc", "automatic"), ("qin", "pseudo")):
            rows = make_scans(system, {"x": 0.9, "y": 0.8}, reference, protocol=protocol)
            suite = write_cell(rows, n_test=2)
    folder = build_leaderboard(suite, draws=50)
    table = pd.read_csv(folder / "leaderboard.csv")
    assert len(table) == 8
    html = (folder / "leaderboard.html").read_text("utf-8")
    assert "lgan_baseline" in html and "per scan" in html
    assert html.count(PSEUDO) == 2 and "lungs, PSEUDO-MASKS, per scan" in html
    assert escape(AUTOMATIC) in html
    splits = html.split("<summary>Splits</summary>")[1].split("</table>")[0]
    assert ">2<" in splits and ">6<" not in splits  # scans, not slices
    assert "PSEUDO" in (folder / "leaderboard.tex").read_text("utf-8")
    methods = (folder / "methods.md").read_text("utf-8")
    assert "scored as volumes" in methods and PSEUDO in methods and AUTOMATIC in methods

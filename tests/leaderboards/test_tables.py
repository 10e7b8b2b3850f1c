"""The leaderboard's rows: ranks, counts, what is ranked and what stands beside."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from contract.errors import DataError
from contract.rows import CASE_SCHEMA, LEADERBOARD_COLUMNS, LEADERBOARD_SCHEMA
from contract.words import CLASS_MEAN, STRUCTURES
from leaderboards.tables import SplitFacts, build

RowMaker = Callable[..., pd.DataFrame]
DRAWS = 50


def table_of(*parts: pd.DataFrame, **given: object) -> pd.DataFrame:
    return build(pd.concat(parts, ignore_index=True), draws=DRAWS, **given)


def test_ranks_by_mean_dice_and_states_what_it_counted(make_rows: RowMaker) -> None:
    table = table_of(
        make_rows("worse", {"c1": 0.85, "c2": 0.75, "c3": 0.95}),
        make_rows("better", {"c1": 0.95, "c2": 0.95, "c3": 0.95}),
    )
    assert tuple(table.columns) == LEADERBOARD_COLUMNS
    assert table["system"].tolist() == ["better", "worse"]
    assert table["rank"].tolist() == [1, 2]
    worse = table.iloc[1]
    assert worse["dice_mean"] == pytest.approx(0.85)
    assert (worse["n_cases"], worse["n_below_90"], worse["n_below_80"]) == (3, 2, 1)
    assert worse["iou_mean"] == pytest.approx(np.mean([0.85 / 1.15, 0.75 / 1.25, 0.95 / 1.05]))


def test_ties_share_a_rank(make_rows: RowMaker) -> None:
    dices = {"c1": 0.9, "c2": 0.8}
    last = make_rows("c", {"c1": 0.1, "c2": 0})
    table = table_of(*(make_rows(name, dices) for name in "ab"), last)
    assert table["rank"].tolist() == [1, 1, 3]


def test_a_case_failed_in_one_seed_is_counted_once(make_rows: RowMaker) -> None:
    fine = make_rows("a", {"c1": 0.9, "c2": 0.9})
    missed = make_rows("a", {"c1": 0.0, "c2": 0.9}, seed=1)
    missed.loc[0, "empty_prediction"] = True
    again = missed.assign(seed=2)
    both_empty = make_rows("b", {"c1": 1.0, "c2": 1.0}, empty_prediction=True, empty_reference=True)
    table = table_of(fine, missed, again, both_empty).set_index("system")
    assert table["n_failed"].to_dict() == {"a": 1, "b": 0}
    assert table["n_seeds"].to_dict() == {"a": 3, "b": 1}


def test_nulls_are_counted_beside_the_mean(make_rows: RowMaker) -> None:
    rows = make_rows("a", {"c1": 0.9, "c2": 0.8, "c3": 0.7})
    rows["hausdorff_mm"] = [4.0, 6.0, np.nan]
    row = table_of(rows).iloc[0]
    assert (row["hausdorff_mm_mean"], row["hausdorff_mm_n"]) == (5.0, 2)
    assert (row["assd_mm_n"], row["dice_n"]) == (0, 3)
    assert pd.isna(row["assd_mm_mean"])


@pytest.mark.parametrize("kind", [{"reference": "dilated"}, {"reference": "pseudo"}])
def test_other_references_stand_apart_and_unranked(
    make_rows: RowMaker, kind: dict[str, str]
) -> None:
    table = table_of(make_rows("a", {"c1": 0.6}), make_rows("a_dilated", {"c1": 0.9}, **kind))
    ranks = table.set_index("system")["rank"]
    assert ranks["a"] == 1
    assert pd.isna(ranks["a_dilated"])


def test_slices_leave_out_lung_free_ones_and_count_false_positives(make_rows: RowMaker) -> None:
    given = {"unit": "slice", "scan_id": "s", "case_id": "s", "protocol": "lidc"}
    rows = make_rows("a", {"0": 0.8, "1": 0.6, "2": 0.0, "3": 1.0}, **given)
    rows["slice_index"] = range(4)
    rows["empty_reference"] = [False, False, True, True]
    rows["empty_prediction"] = [False, False, False, True]
    row = table_of(rows).iloc[0]
    assert (row["dice_mean"], row["n_cases"], row["n_failed"]) == (pytest.approx(0.7), 2, 0)
    assert row["dice_mean_all_slices"] == pytest.approx(0.6)
    assert row["false_positive_slice_rate"] == 0.5
    assert pd.isna(row["rank"])


def test_slices_without_any_structure_are_an_error(make_rows: RowMaker) -> None:
    rows = make_rows("a", {"0": 1.0}, unit="slice", slice_index=0, empty_reference=True)
    with pytest.raises(DataError, match="no slice"):
        table_of(rows)


def test_a_scan_and_its_slices_are_two_tables(make_rows: RowMaker) -> None:
    scan = make_rows("a", {"s": 0.9}, unit="scan", scan_id="s")
    slices = make_rows("a", {"s": 0.5}, unit="slice", scan_id="s", slice_index=3)
    table = table_of(scan, slices).set_index("unit")
    assert table.loc["scan", "rank"] == 1
    assert pd.isna(table.loc["slice", "rank"])


def test_a_system_scored_on_fewer_cases_is_shown_but_not_ranked(make_rows: RowMaker) -> None:
    table = table_of(make_rows("part", {"c1": 0.99}), make_rows("whole", {"c1": 0.9, "c2": 0.8}))
    assert table["system"].tolist() == ["whole", "part"]
    assert table["rank"].tolist() == [1, pd.NA]


def test_phantoms_are_never_ranked_with_real_cases(make_rows: RowMaker) -> None:
    table = table_of(make_rows("a", {"c1": 0.8}), make_rows("b", {"c1": 0.9}, phantom=True))
    assert table["rank"].tolist() == [1, 1]
    assert table["phantom"].tolist() == [False, True]


def test_clean_leaves_out_suspects(make_rows: RowMaker) -> None:
    rows = make_rows("a", {"c1": 0.9, "c2": 0.5})
    row = table_of(rows, suspects={("shenzhen", "c2"), ("montgomery", "c1")}).iloc[0]
    assert (row["dice_mean_clean"], row["n_cases_clean"]) == (0.9, 1)
    unknown = table_of(rows).iloc[0]
    assert pd.isna(unknown["dice_mean_clean"])
    assert pd.isna(unknown["n_cases_clean"])


def test_published_value_stands_in_its_own_column(make_rows: RowMaker) -> None:
    table = table_of(
        make_rows("adversarial_attention_unet", {"c1": 0.5}, protocol="all_to_jsrt"),
        make_rows("unet", {"c1": 0.6}, protocol="all_to_jsrt"),
    ).set_index("system")
    gaal = table.loc["adversarial_attention_unet"]
    assert gaal["published_dice"] == 0.978
    assert "Table 1" in gaal["published_source"]
    assert gaal["dice_mean"] == 0.5
    assert pd.isna(table.loc["unet", "published_dice"])


def test_splits_are_carried(make_rows: RowMaker) -> None:
    row = table_of(make_rows("a", {"c1": 0.5}), splits={"m_to_s": SplitFacts(124, "abc")}).iloc[0]
    assert (row["n_train"], row["split_hash"]) == (124, "abc")


def test_takes_an_arrow_table_and_keeps_the_schema(make_rows: RowMaker) -> None:
    rows = make_rows("a", {"c1": 0.5, "c2": 0.7})
    arrow = pa.Table.from_pandas(rows, schema=CASE_SCHEMA, preserve_index=False)
    pd.testing.assert_frame_equal(build(arrow, draws=DRAWS), build(rows, draws=DRAWS))
    empty = build(CASE_SCHEMA.empty_table())
    assert tuple(empty.columns) == tuple(LEADERBOARD_SCHEMA.names)
    assert len(empty) == 0


def test_structures_come_in_the_projects_order(make_rows: RowMaker) -> None:
    names = ("heart", "right_lung", "lungs", "left_lung")
    table = table_of(*(make_rows("a", {"c1": 0.5}, structure=name) for name in names))
    assert table["structure"].tolist() == [*STRUCTURES, CLASS_MEAN]

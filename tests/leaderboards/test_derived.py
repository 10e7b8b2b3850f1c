"""The mean over lungs and heart: per case, then over cases, and never ranked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from contract.rows import LEADERBOARD_COLUMNS
from contract.words import CLASS_MEAN
from leaderboards.derived import class_means
from leaderboards.markdown import Meta, page
from leaderboards.tables import build

RowMaker = Callable[..., pd.DataFrame]


@pytest.fixture
def rows(make_rows: RowMaker) -> pd.DataFrame:
    """Two seeds of Maga's system on two films, lungs and heart."""
    given = {"protocol": "jsrt_209_38", "test_on": "jsrt"}
    parts = []
    for seed, more in ((0, 0.0), (1, 0.02)):
        lungs = {"c1": 0.96 + more, "c2": 0.94}
        heart = {"c1": 0.90, "c2": 0.80 + more}
        for structure, dice in (("lungs", lungs), ("heart", heart), ("left_lung", lungs)):
            parts.append(
                make_rows("attention_bcdu_net", dice, structure=structure, seed=seed, **given)
            )
    parts.append(make_rows("unet", {"c1": 0.99, "c2": 0.99}, **given))
    return pd.concat(parts, ignore_index=True)


def test_the_mean_is_taken_in_each_case_and_then_over_cases(rows: pd.DataFrame) -> None:
    table = build(rows, draws=50)
    (mean,) = table[table["structure"] == CLASS_MEAN].to_dict("records")
    cases = [((0.97 + 0.90) / 2), ((0.94 + 0.81) / 2)]
    assert mean["dice_mean"] == pytest.approx(np.mean(cases))
    assert mean["dice_median"] == pytest.approx(np.median(cases))
    assert mean["dice_sd_cases"] == pytest.approx(np.std(cases, ddof=1))
    assert (mean["n_cases"], mean["n_seeds"]) == (2, 2)
    assert mean["system"] == "attention_bcdu_net"  # unet has no heart
    assert pd.isna(mean["rank"])


def test_the_papers_number_stands_beside_the_mean_and_beside_no_class(rows: pd.DataFrame) -> None:
    table = build(rows, draws=50)
    beside = table.dropna(subset="published_dice")
    assert beside["structure"].tolist() == [CLASS_MEAN]
    assert beside["published_dice"].tolist() == [0.98]
    text = page(table, Meta("maga2021"))
    section = text[text.index("### lungs and heart") :]
    assert "Not ranked: it is no mask" in section
    assert "94.9 ± 0.2%" in section  # its IoU, beside the same mean of IoU


def test_other_tables_are_as_if_there_were_no_mean(rows: pd.DataFrame) -> None:
    table = build(rows, draws=50)
    columns = [name for name in LEADERBOARD_COLUMNS if name != "published_source"]
    for structure in ("lungs", "left_lung", "heart"):
        alone = build(rows[rows["structure"] == structure], draws=50)
        among = table[table["structure"] == structure].reset_index(drop=True)
        pd.testing.assert_frame_equal(among[columns], alone[columns])


def test_a_mean_is_undefined_where_a_class_is_and_failed_where_a_class_has(
    make_rows: RowMaker,
) -> None:
    lungs = make_rows("a", {"c1": 0.9, "c2": 0.9, "c3": 0.9})
    heart = make_rows("a", {"c1": 0.0, "c2": 0.8}, structure="heart")
    heart["empty_prediction"] = [True, False]
    heart["auc"] = [None, 0.9]
    means = class_means(pd.concat([lungs, heart], ignore_index=True)).set_index("case_id")
    assert means["dice"].to_dict() == pytest.approx({"c1": 0.45, "c2": 0.85})
    assert pd.isna(means.loc["c1", "auc"]) and means.loc["c2", "auc"] == pytest.approx(0.9)
    assert (means["empty_prediction"] != means["empty_reference"]).to_dict() == {
        "c1": True, "c2": False,
    }  # fmt: skip


def test_without_hearts_there_is_no_mean(make_rows: RowMaker) -> None:
    assert class_means(make_rows("a", {"c1": 0.9})).empty

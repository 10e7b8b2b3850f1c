"""Pairs of systems: against SciPy, by hand, and by simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from leaderboards.page import figures
from leaderboards.statistics import comparisons, intervals


def scores_of(dices: dict[str, list[float]], patients: list[str] | None = None) -> intervals.Scores:
    parts = []
    for system, values in dices.items():
        cases = [f"case{place:02}" for place in range(len(values))]
        part = {"system": system, "case_id": cases, "patient_id": patients or cases, "dice": values}
        parts.append(pd.DataFrame(part))
    rows = pd.concat(parts).assign(seed=0, test_on="jsrt", scan_id=None, slice_index=None)
    return intervals.arrange(rows.dropna(subset="dice"), ("dice",))


def samples(n: int = 40) -> dict[str, list[float]]:
    generator = np.random.default_rng(8)
    base = generator.beta(20, 2, n)
    shifts = {"a": 0.0, "b": -0.001, "c": -0.03}
    return {name: list(base + s + generator.normal(0, 0.01, n)) for name, s in shifts.items()}


def test_differences_are_ordered_and_cover_every_pair() -> None:
    paired = comparisons.pair(scores_of({"x": [0.5, 0.7], "y": [0.9, 0.8], "z": [0.7, 0.7]}))
    table = comparisons.differences(paired)
    assert list(zip(table["system"], table["other"], strict=True)) == [
        ("y", "z"), ("y", "x"), ("z", "x"),
    ]  # fmt: skip
    np.testing.assert_allclose(table["difference"], [0.15, 0.25, 0.1])


def test_signed_rank_agrees_with_scipy_on_patients() -> None:
    dices = samples()
    paired = comparisons.pair(scores_of(dices), draws=100)
    table = comparisons.differences(paired).set_index(["system", "other"])
    for (better, worse), row in table.iterrows():
        expected = scipy.stats.wilcoxon(dices[better], dices[worse]).pvalue
        assert row["p_wilcoxon"] == pytest.approx(expected)


def test_a_test_that_contradicts_the_means_is_not_drawn_as_better() -> None:
    often = np.linspace(0.90, 0.95, 30)
    rarely = often - 0.01
    often[:3] = 0.1  # a little better on most patients, lost on three
    paired = comparisons.pair(scores_of({"often": list(often), "rarely": list(rarely)}), draws=100)
    row = comparisons.differences(paired).iloc[0]
    assert (row["system"], row["other"]) == ("rarely", "often") and not row["practically_equal"]
    assert row["p_holm"] < figures.ALPHA and row["rank_biserial"] == pytest.approx(-0.6, abs=0.1)
    drawn = figures.significance_map(pd.DataFrame([row]), paired.systems)
    assert drawn.count("≠") == 2 and "▲" not in drawn and "▼" not in drawn
    agreed = pd.DataFrame([{**row, "rank_biserial": 0.6}])
    assert "▲" in figures.significance_map(agreed, paired.systems)


def test_rank_biserial_by_hand() -> None:
    found = comparisons.rank_biserial(np.array([[0.3, -0.1, 0.2, 0.0], [0.0] * 4]))
    np.testing.assert_allclose(found, [4 / 6, 0])


@pytest.mark.parametrize("patients", [12, 80])
def test_tests_of_many_pairs_are_those_of_each(patients: int) -> None:
    drawn = np.random.default_rng(0).normal(size=(3, patients))
    drawn[1, :4] = drawn[1, 0]  # ties in one pair leave the others' p as it is
    drawn[2] = 0
    found = comparisons.signed_rank(drawn, digits=15)
    alone = [scipy.stats.wilcoxon(np.round(row, 15)).pvalue for row in drawn[:2]]
    np.testing.assert_array_equal(found, [*alone, 1.0])


def test_films_of_one_patient_are_one_observation() -> None:
    patients = ["p1", "p1", "p2", "p3"]
    paired = comparisons.pair(scores_of({"a": [0.9, 0.7, 0.5, 0.6]}, patients), draws=10)
    np.testing.assert_allclose(paired.patients[0], [0.8, 0.5, 0.6])
    assert paired.means[0] == pytest.approx(0.675)


def test_equal_systems_do_not_differ() -> None:
    paired = comparisons.pair(scores_of({"a": [0.9, 0.8, 0.7], "b": [0.9, 0.8, 0.7]}), draws=50)
    row = comparisons.differences(paired).iloc[0]
    assert (row["p_wilcoxon"], row["p_holm"]) == (1.0, 1.0)
    assert (row["simultaneous_low"], row["simultaneous_high"]) == (0.0, 0.0)
    assert row["practically_equal"]


def test_holm_by_hand() -> None:
    adjusted = comparisons.holm(np.array([0.01, 0.04, 0.03, 0.005]))
    np.testing.assert_allclose(adjusted, [0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_lies_between_plain_and_bonferroni(p: list[float]) -> None:
    plain = np.array(p)
    adjusted = comparisons.holm(plain)
    assert (adjusted >= plain).all()
    assert (adjusted <= np.minimum(plain * len(p), 1) + 1e-15).all()
    assert (np.diff(adjusted[np.argsort(plain, kind="stable")]) >= 0).all()


def test_simultaneous_intervals_are_wider_than_single_ones() -> None:
    table = comparisons.differences(comparisons.pair(scores_of(samples()), draws=4000))
    single = table["ci_high"] - table["ci_low"]
    together = table["simultaneous_high"] - table["simultaneous_low"]
    assert (together > single).all()
    assert (together < 1.6 * single).all()


def test_one_difference_needs_no_correction() -> None:
    drawn = np.random.default_rng(2).normal(0.3, 0.1, size=(50_000, 1))
    margin = comparisons.simultaneous_margin(drawn, np.array([0.3]))
    assert margin[0] == pytest.approx(1.96 * 0.1, rel=0.02)


def test_independent_differences_need_the_sidak_quantile() -> None:
    drawn = np.random.default_rng(2).normal(0, 1, size=(50_000, 5))
    sidak = scipy.stats.norm.ppf((1 + 0.95 ** (1 / 5)) / 2)
    margin = comparisons.simultaneous_margin(drawn, np.zeros(5))
    np.testing.assert_allclose(margin, sidak, rtol=0.03)


def test_a_system_that_lacks_a_case_is_left_out() -> None:
    paired = comparisons.pair(scores_of({"a": [0.9, 0.8], "b": [0.9, np.nan]}), draws=10)
    assert paired.systems == ("a",)
    assert len(comparisons.differences(paired)) == 0


def test_ranks_are_firm_where_one_system_is_always_better() -> None:
    dices = {"a": [0.9, 0.8, 0.7], "b": [0.8, 0.7, 0.6], "twin": [0.8, 0.7, 0.6]}
    table = comparisons.rank_stability(comparisons.pair(scores_of(dices), draws=200))
    assert table["system"].tolist() == ["a", "b", "twin"]
    assert table["rank"].tolist() == table["rank_low"].tolist() == table["rank_high"].tolist()
    assert table["rank"].tolist() == [1, 2, 2]
    assert table["share_first"].tolist() == [1.0, 0.0, 0.0]


def test_ranks_are_loose_between_like_systems() -> None:
    table = comparisons.rank_stability(comparisons.pair(scores_of(samples()), draws=2000))
    assert table["share_first"].sum() == pytest.approx(1)
    by_name = table.set_index("system")
    assert (by_name.loc["a", "rank_low"], by_name.loc["b", "rank_high"]) == (1, 2)
    assert by_name.loc["c", ["rank_low", "rank_high"]].tolist() == [3, 3]

"""Means and intervals: worked by hand, against SciPy, and as properties."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from leaderboards.statistics import intervals

RowMaker = Callable[..., pd.DataFrame]
DICE = ("dice",)


def frame(
    dices: list[float], system: str = "a", patients: list[str] | None = None, seed: int = 0
) -> pd.DataFrame:
    cases = [f"case{place}" for place in range(len(dices))]
    return pd.DataFrame(
        {
            "system": system,
            "seed": seed,
            "test_on": "jsrt",
            "case_id": cases,
            "patient_id": patients or cases,
            "scan_id": None,
            "slice_index": None,
            "dice": dices,
        }
    )


def mean_of(rows: pd.DataFrame, draws: int = 200) -> float:
    return intervals.summarise(intervals.arrange(rows, DICE), draws).mean[0, 0]


def test_worked_example_of_two_seeds_and_three_cases() -> None:
    rows = pd.concat([frame([0.9, 0.8, 0.4]), frame([0.7, 1.0, 0.4], seed=1)])
    summary = intervals.summarise(intervals.arrange(rows, DICE), 500)
    assert summary.mean[0, 0] == pytest.approx(0.7)
    assert summary.median[0, 0] == pytest.approx(0.8)
    assert summary.sd_cases[0, 0] == pytest.approx(np.sqrt((0.01 + 0.04 + 0.09) / 2))
    assert summary.sd_seeds[0, 0] == pytest.approx(0.0)
    assert summary.n[0, 0] == 3


def test_deviation_over_seeds_is_that_of_the_seeds_means() -> None:
    rows = pd.concat([frame([0.9, 0.7]), frame([0.5, 0.7], seed=7)])
    summary = intervals.summarise(intervals.arrange(rows, DICE), 50)
    assert summary.sd_seeds[0, 0] == pytest.approx(np.std([0.8, 0.6], ddof=1))


def test_one_case_and_one_seed_have_no_deviation() -> None:
    summary = intervals.summarise(intervals.arrange(frame([0.9]), DICE), 50)
    assert np.isnan(summary.sd_cases[0, 0])
    assert np.isnan(summary.sd_seeds[0, 0])
    assert summary.ci_low[0, 0] == summary.ci_high[0, 0] == 0.9


def test_interval_agrees_with_scipy_for_one_seed_and_a_film_a_patient() -> None:
    dices = np.random.default_rng(5).beta(18, 2, size=60)
    ours = intervals.summarise(intervals.arrange(frame(list(dices)), DICE))
    theirs = scipy.stats.bootstrap(
        (dices,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.ci_low[0, 0] == pytest.approx(theirs.low, abs=0.05 * width)
    assert ours.ci_high[0, 0] == pytest.approx(theirs.high, abs=0.05 * width)


def test_bootstrap_agrees_with_a_plain_loop_over_clusters_and_seeds() -> None:
    generator = np.random.default_rng(3)
    patients = ["p1", "p1", "p1", "p2", "p3", "p3"]
    rows = pd.concat([frame(list(generator.random(6)), "a", patients, seed) for seed in range(3)])
    scores = intervals.arrange(rows, DICE)
    means = intervals.bootstrap_means(scores, 40, 11)[:, 0, 0]
    generator = np.random.default_rng(11)
    drawn = intervals.patient_draws(3, 40, generator)
    seeds = intervals.seed_draws(generator.random((40, 3)), 3)
    for draw in range(40):
        values = []
        for patient, times in zip(("p1", "p2", "p3"), drawn[draw], strict=True):
            of_patient = rows[rows["patient_id"] == patient]
            for _, case in of_patient.groupby("case_id"):
                by_seed = case.sort_values("seed")["dice"].to_numpy()
                values += [np.average(by_seed, weights=seeds[draw])] * int(times)
        assert means[draw] == pytest.approx(np.mean(values))


def test_films_of_one_patient_widen_the_interval() -> None:
    dices = [0.9] * 10 + [0.6] * 10
    alone = intervals.summarise(intervals.arrange(frame(dices), DICE), 4000)
    patients = [f"p{place // 5}" for place in range(20)]
    films = frame(dices, patients=patients)
    clustered = intervals.summarise(intervals.arrange(films, DICE), 4000)
    width = [s.ci_high[0, 0] - s.ci_low[0, 0] for s in (alone, clustered)]
    assert width[1] > 1.5 * width[0]
    assert clustered.mean[0, 0] == pytest.approx(alone.mean[0, 0])


def test_all_systems_see_the_same_draws() -> None:
    better = frame([0.95, 0.85, 0.75, 0.65], "b")
    rows = pd.concat([frame([0.9, 0.8, 0.7, 0.6]), better])
    means = intervals.bootstrap_means(intervals.arrange(rows, DICE), 300)
    np.testing.assert_allclose(means[:, 1, 0] - means[:, 0, 0], 0.05)


def test_another_system_changes_no_interval() -> None:
    rows = frame([0.9, 0.8, 0.7, 0.6])
    alone = intervals.bootstrap_means(intervals.arrange(rows, DICE), 100)
    more = pd.concat([rows, *(frame([0.1, 0.2, 0.3, 0.4], "z", seed=seed) for seed in range(3))])
    together = intervals.bootstrap_means(intervals.arrange(more, DICE), 100)
    np.testing.assert_allclose(together[:, 0], alone[:, 0], rtol=1e-12)


def test_seeds_widen_the_interval() -> None:
    rows = pd.concat([frame([level] * 5, seed=seed) for seed, level in enumerate((0.7, 0.8, 0.9))])
    summary = intervals.summarise(intervals.arrange(rows, DICE), 2000)
    assert summary.ci_low[0, 0] < 0.75 < 0.85 < summary.ci_high[0, 0]


def test_nulls_are_left_out_and_counted() -> None:
    rows = pd.concat([frame([0.8, np.nan, 0.6]), frame([0.6, np.nan, np.nan], seed=1)])
    summary = intervals.summarise(intervals.arrange(rows, DICE), 2000)
    assert summary.n[0, 0] == 2
    assert summary.mean[0, 0] == pytest.approx((0.7 + 0.6) / 2)
    assert 0.6 <= summary.ci_low[0, 0] <= summary.mean[0, 0] <= summary.ci_high[0, 0] <= 0.8


def test_the_bootstrap_centres_on_the_mean_where_seeds_lack_cases() -> None:
    generator = np.random.default_rng(4)
    parts = [frame(list(generator.random(200)), seed=seed) for seed in range(3)]
    parts[1].loc[generator.random(200) < 0.3, "dice"] = np.nan
    scores = intervals.arrange(pd.concat(parts), DICE)
    drawn = intervals.bootstrap_means(scores, 3000)[:, 0, 0]
    mean = pd.concat(parts).groupby("case_id")["dice"].mean().mean()
    assert intervals.summarise(scores, 10).mean[0, 0] == pytest.approx(mean)
    assert drawn.mean() == pytest.approx(mean, abs=0.1 * drawn.std())


def test_a_metric_without_any_value_is_undefined() -> None:
    summary = intervals.summarise(intervals.arrange(frame([np.nan, np.nan]), DICE), 50)
    assert summary.n[0, 0] == 0
    assert np.isnan([summary.mean[0, 0], summary.median[0, 0], summary.ci_low[0, 0]]).all()


def test_a_system_with_fewer_seeds_has_its_own_mean() -> None:
    more = frame([0.5, 0.5], "a", seed=1)
    rows = pd.concat([frame([0.9, 0.7], "a"), more, frame([0.8, 0.6], "b")])
    scores = intervals.arrange(rows, DICE)
    summary = intervals.summarise(scores, 100)
    assert scores.n_seeds.tolist() == [2, 1]
    np.testing.assert_allclose(summary.mean[:, 0], [0.65, 0.7])
    assert not np.isnan(summary.ci_low).any()


def test_a_repeated_case_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        intervals.arrange(pd.concat([frame([0.5]), frame([0.6])]), DICE)


@given(st.permutations(range(8)))
@settings(max_examples=20, deadline=None)
def test_the_order_of_rows_does_not_matter(order: list[int]) -> None:
    dices = [0.9, 0.8, 0.75, 0.2]
    rows = pd.concat([frame(dices, "a"), frame(dices[::-1], "b")], ignore_index=True)
    expected = intervals.summarise(intervals.arrange(rows, DICE), 100)
    shuffled = intervals.summarise(intervals.arrange(rows.iloc[order], DICE), 100)
    for name in ("mean", "ci_low", "ci_high", "median", "sd_cases", "n"):
        np.testing.assert_array_equal(getattr(shuffled, name), getattr(expected, name))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_an_added_worst_case_never_raises_the_mean(dices: list[float]) -> None:
    assert mean_of(frame([*dices, min(dices)]), 5) <= mean_of(frame(dices), 5) + 1e-12


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_the_interval_stays_within_the_values(dices: list[float]) -> None:
    summary = intervals.summarise(intervals.arrange(frame(dices), DICE), 50)
    assert min(dices) - 1e-12 <= summary.ci_low[0, 0] <= summary.ci_high[0, 0]
    assert summary.ci_high[0, 0] <= max(dices) + 1e-12


def test_ties_share_the_lowest_rank() -> None:
    means = np.array([0.8, 0.9, 0.8, 0.1 + 0.2 + 0.5])
    assert intervals.min_ranks(means).tolist() == [2, 1, 2, 2]


def test_draws_count_every_patient_once_on_average() -> None:
    drawn = intervals.patient_draws(30, 2000, np.random.default_rng(0))
    assert (drawn.sum(axis=1) == 30).all()
    np.testing.assert_allclose(drawn.mean(axis=0), 1, atol=0.1)

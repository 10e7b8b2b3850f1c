"""Pairs of systems on the same cases: simultaneous intervals, tests, and how firm a rank is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.stats

from leaderboards.statistics.intervals import (
    CONFIDENCE,
    DRAWS,
    GENERATOR_SEED,
    Floats,
    Scores,
    bootstrap_means,
    min_ranks,
    nan_mean,
    percentile_interval,
)

PRACTICALLY_EQUAL = 0.005
"""Dice differences below this are practically equal: less than one pixel of boundary at 512²."""

LARGEST_EXACT = 50
"""Patients up to which SciPy's signed-rank test is exact where there are no ties."""

PAIR_COLUMNS = (
    "system", "other", "difference", "ci_low", "ci_high", "simultaneous_low", "simultaneous_high",
    "p_wilcoxon", "p_holm", "rank_biserial", "practically_equal",
)  # fmt: skip


@dataclass(frozen=True)
class Paired:
    """Systems that are defined on all cases of a table, by falling mean.

    Attributes:
        systems: names, (S,).
        patients: mean over each patient's cases, themselves averaged over seeds, (S, P).
        means: over cases, (S,).
        drawn: bootstrapped means, (draws, S).
    """

    systems: tuple[str, ...]
    patients: Floats
    means: Floats
    drawn: Floats


def pair(
    scores: Scores, metric: str = "dice", draws: int = DRAWS, generator_seed: int = GENERATOR_SEED
) -> Paired:
    """Take what can be compared in pairs; systems that lack a case in a seed are left out.

    Args:
        scores: one table.
        metric: one of its metrics.
        draws: number of bootstrap draws.
        generator_seed: seed of the draws.
    """
    place = scores.metrics.index(metric)
    values = scores.case_values[..., place]
    means = nan_mean(values, axis=1)
    seeds_of_case = (~np.isnan(scores.values[..., place])).sum(axis=1)
    whole = np.flatnonzero((seeds_of_case == scores.n_seeds[:, None]).all(axis=1))
    order = whole[np.argsort(-means[whole], kind="stable")]
    cases_of_patient = np.diff([*scores.first_of_patient, values.shape[1]])
    summed = np.add.reduceat(values[order], scores.first_of_patient, axis=1)
    return Paired(
        systems=tuple(scores.systems[system] for system in order),
        patients=summed / cases_of_patient,
        means=means[order],
        drawn=bootstrap_means(scores, draws, generator_seed)[:, order, place],
    )


def differences(paired: Paired, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Compare every pair of systems.

    ``ci_*`` is the percentile interval of one pair; ``simultaneous_*`` holds for all pairs at
    once, by the largest studentised deviation of each draw (single-step max-T, Westfall & Young
    1993; Hothorn et al. 2008). ``p_wilcoxon`` is the two-sided signed-rank test over patients,
    which are independent where films are not, and ``p_holm`` its value after Holm (1979). The test
    speaks of most patients and a mean of all: ``rank_biserial`` tells whom the test favours.

    Returns:
        one row a pair: ``system`` (the better mean), ``other``, ``difference``, the intervals,
        the p values, ``rank_biserial`` and ``practically_equal``.
    """
    first, second = np.triu_indices(len(paired.systems), k=1)
    observed = paired.means[first] - paired.means[second]
    drawn = paired.drawn[:, first] - paired.drawn[:, second]
    low, high = percentile_interval(drawn, confidence)
    margin = simultaneous_margin(drawn, observed, confidence)
    apart = paired.patients[first] - paired.patients[second]
    p = signed_rank(apart)
    return pd.DataFrame(
        {
            "system": [paired.systems[place] for place in first],
            "other": [paired.systems[place] for place in second],
            "difference": observed,
            "ci_low": low,
            "ci_high": high,
            "simultaneous_low": observed - margin,
            "simultaneous_high": observed + margin,
            "p_wilcoxon": p,
            "p_holm": holm(p),
            "rank_biserial": rank_biserial(apart),
            "practically_equal": np.abs(observed) < PRACTICALLY_EQUAL,
        }
    )


def simultaneous_margin(drawn: Floats, observed: Floats, confidence: float = CONFIDENCE) -> Floats:
    """Half-widths of intervals that hold for all J differences at once, (J,).

    Args:
        drawn: bootstrapped differences, (draws, J).
        observed: the differences, (J,).
        confidence: of all intervals together.
    """
    error = drawn.std(axis=0, ddof=1)
    varied = error > 1e-12
    if not varied.any():
        return np.zeros(observed.shape)
    largest = (np.abs(drawn - observed)[:, varied] / error[varied]).max(axis=1)
    margin: Floats = np.where(varied, np.quantile(largest, confidence) * error, 0.0)
    return margin


def signed_rank(differences: Floats, digits: int = 12) -> Floats:
    """Two-sided p values of Wilcoxon's signed-rank test, 1 where nothing differs.

    Differences are rounded first, so that floating-point dust is neither a sign nor a rank.

    Args:
        differences: (J, P), each row a test of its own.
        digits: of the rounding.

    Returns:
        (J,).
    """
    rounded = np.round(differences, digits)
    p = np.ones(len(rounded))
    differ = np.flatnonzero(rounded.any(axis=1))
    if rounded.shape[1] > LARGEST_EXACT:
        if differ.size:
            p[differ] = scipy.stats.wilcoxon(rounded[differ], axis=1).pvalue
        return p
    for row in differ:  # SciPy looks at all rows at once for ties, and then has no exact p for any
        p[row] = scipy.stats.wilcoxon(rounded[row]).pvalue
    return p


def rank_biserial(differences: Floats, digits: int = 12) -> Floats:
    """Matched-pairs rank-biserial correlation (Kerby 2014): the signed-rank test's own direction.

    The ranks' sum of the positive differences minus that of the negative ones, over both, in
    [-1, 1]; 0 where nothing differs.

    Args:
        differences: (J, P), each row a correlation of its own.
        digits: of the rounding before.

    Returns:
        (J,).
    """
    rounded = np.round(differences, digits)
    signs = np.sign(rounded)
    ranks = scipy.stats.rankdata(np.where(signs == 0, np.inf, np.abs(rounded)), axis=1)
    n = np.count_nonzero(signs, axis=1)
    correlation: Floats = (signs * ranks).sum(axis=1) / np.maximum(n * (n + 1) / 2, 1)
    return correlation


def holm(p: Floats) -> Floats:
    """Holm's step-down adjustment: each p times the tests still open, never falling, at most 1.

    SciPy has none, and statsmodels would bring five packages for these four lines.
    """
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(adjusted, 1.0)


def rank_stability(paired: Paired, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """How firm the ranks are under the draws of patients and seeds.

    Returns:
        one row a system: ``rank``, the percentile interval ``rank_low``, ``rank_high``, and
        ``share_first``, the share of draws that it leads (draws led by several are split).
    """
    ranks = min_ranks(paired.drawn)
    tail = (1 - confidence) / 2
    low, high = np.quantile(ranks, [tail, 1 - tail], axis=0, method="inverted_cdf")
    leads = ranks == 1
    return pd.DataFrame(
        {
            "system": paired.systems,
            "rank": min_ranks(paired.means),
            "rank_low": low.astype(np.int64),
            "rank_high": high.astype(np.int64),
            "share_first": (leads / leads.sum(axis=1, keepdims=True)).mean(axis=0),
        }
    )

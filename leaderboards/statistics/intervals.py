"""Means with intervals over patients and seeds: the numbers of one table, all systems at once.

Seeds are averaged within a case, then cases. The bootstrap draws patients (all films of a
patient together) and, independently, seeds; every system sees the same draws, so differences
between systems are paired (Efron & Tibshirani 1993, ch. 8 and 13; percentile intervals).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.stats

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

DRAWS = 10_000
FEWER_DRAWS = 2_000
"""For what stands beside the ranking: enough for the third decimal of an interval."""
GENERATOR_SEED = 20_200_325
CONFIDENCE = 0.95
SMALLEST_PRODUCT = 40
"""Draws that a matrix product needs on average, below which more, smaller products are slower."""
CASE_KEY = ("test_on", "case_id", "scan_id", "slice_index")


@dataclass(frozen=True)
class Scores:
    """The scores of one table as an array.

    Attributes:
        systems: names, sorted, (S,).
        seeds: each system's own seeds, sorted; slot k of a system is its k-th seed.
        metrics: names, (M,).
        values: (S, K, C, M), NaN where undefined or absent; cases are sorted by patient.
        cases: the case of each column, one row each, with ``test_on``, ``case_id``, ….
        first_of_patient: index of the first case of each patient, (P,).
    """

    systems: tuple[str, ...]
    seeds: tuple[tuple[int, ...], ...]
    metrics: tuple[str, ...]
    values: Floats
    cases: pd.DataFrame
    first_of_patient: Integers

    @property
    def n_seeds(self) -> Integers:
        """Number of seeds of each system, (S,)."""
        return np.array([len(own) for own in self.seeds], dtype=np.int64)

    @cached_property
    def case_values(self) -> Floats:
        """Mean over the seeds in which a case is defined, (S, C, M); NaN where in none."""
        return nan_mean(self.values, axis=1)

    def only(self, metric: str) -> Scores:
        """The scores of one metric alone."""
        place = self.metrics.index(metric)
        return replace(self, metrics=(metric,), values=self.values[..., place : place + 1])


@dataclass(frozen=True)
class Summary:
    """Statistics of one table, each (S, M); NaN where undefined (a deviation of one value)."""

    mean: Floats
    ci_low: Floats
    ci_high: Floats
    median: Floats
    sd_cases: Floats
    sd_seeds: Floats
    n: Integers


def nan_mean(values: Floats, axis: int) -> Floats:
    """Mean of what is defined along an axis; NaN, without a warning, where nothing is."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=axis)
    total = np.where(defined, values, 0.0).sum(axis=axis)
    mean: Floats = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return mean


def nan_deviation(values: Floats, axis: int) -> Floats:
    """Sample standard deviation (n - 1) of what is defined; NaN for fewer than two values."""
    count = (~np.isnan(values)).sum(axis=axis)
    centred = values - np.expand_dims(nan_mean(values, axis), axis)
    total = np.nansum(centred**2, axis=axis)
    variance = np.divide(total, count - 1, out=np.full(total.shape, np.nan), where=count > 1)
    deviation: Floats = np.sqrt(variance)
    return deviation


def arrange(rows: pd.DataFrame, metrics: tuple[str, ...]) -> Scores:
    """Turn the rows of one table into an array.

    Args:
        rows: rows of ``cases.parquet`` of one protocol, structure, reference and unit.
        metrics: the columns to take.

    Returns:
        the scores; their order depends on names alone, never on the order of the rows.

    Raises:
        ValueError: there are no rows, or a case occurs twice for one system and seed.
    """
    if rows.empty:
        raise ValueError("a table needs at least one row")
    patient = ["test_on", "patient_id"]
    case_of_row, first_rows = _cases_of(rows)
    cases = rows[[*patient, *CASE_KEY[1:]]].iloc[first_rows]
    cases = cases.set_axis(range(len(cases))).sort_values([*patient, *CASE_KEY[1:]])
    columns = np.argsort(cases.index)[case_of_row]
    cases = cases.reset_index(drop=True)
    new_patient = (cases[patient] != cases[patient].shift()).any(axis=1).to_numpy()
    system_codes, systems = pd.factorize(rows["system"], sort=True)
    seeds: list[tuple[int, ...]] = []
    slots = np.zeros(len(rows), dtype=np.int64)
    seed_of_row = rows["seed"].to_numpy()
    for code in range(len(systems)):
        members = np.flatnonzero(system_codes == code)
        own, slot = np.unique(seed_of_row[members], return_inverse=True)
        slots[members] = slot
        seeds.append(tuple(int(seed) for seed in own))
    places = np.ravel_multi_index(
        (system_codes, slots, columns), (len(systems), max(map(len, seeds)), len(cases))
    )
    if np.bincount(places).max() > 1:
        raise ValueError("a case occurs twice for one system and seed")
    shape = (len(systems), max(map(len, seeds)), len(cases), len(metrics))
    values = np.full(shape, np.nan)
    values[system_codes, slots, columns] = rows[list(metrics)].to_numpy(np.float64)
    return Scores(
        systems=tuple(map(str, systems)),
        seeds=tuple(seeds),
        metrics=metrics,
        values=values,
        cases=cases,
        first_of_patient=np.flatnonzero(new_patient),
    )


def _cases_of(rows: pd.DataFrame) -> tuple[Integers, Integers]:
    """Which case each row is of, (rows,), and the row in which each case stands first, (C,)."""
    case = np.zeros(len(rows), dtype=np.int64)
    for name in CASE_KEY:
        codes, distinct = pd.factorize(rows[name], use_na_sentinel=False)
        if len(distinct) > 1:
            case = pd.factorize(case * len(distinct) + codes)[0]
    return case, np.unique(case, return_index=True)[1]


@lru_cache(maxsize=2)  # tables of one test set share them; 45 MB for 566 patients
def _draws(n_patients: int, n_slots: int, draws: int, generator_seed: int) -> tuple[Floats, Floats]:
    """How often each patient is drawn, and what seeds are drawn by; neither may be changed."""
    generator = np.random.default_rng(generator_seed)
    patients = patient_draws(n_patients, draws, generator)
    uniform = generator.random((draws, n_slots))
    patients.flags.writeable = uniform.flags.writeable = False
    return patients, uniform


def patient_draws(n_patients: int, draws: int, generator: np.random.Generator) -> Floats:
    """How often each patient is drawn, (draws, n_patients); each row sums to n_patients."""
    picked = generator.integers(n_patients, size=(draws, n_patients))
    return _count(picked, n_patients)


def seed_draws(uniform: Floats, n_seeds: int) -> Floats:
    """How often each of a system's seeds is drawn, (draws, n_seeds).

    Args:
        uniform: (draws, at least n_seeds) in [0, 1), shared by all systems, so that systems
            with equally many seeds see the same draws.
        n_seeds: the system's number of seeds.
    """
    return _count((uniform[:, :n_seeds] * n_seeds).astype(np.int64), n_seeds)


def _count(picked: Integers, size: int) -> Floats:
    draws = len(picked)
    flat = (picked + size * np.arange(draws)[:, None]).ravel()
    return np.bincount(flat, minlength=draws * size).reshape(draws, size).astype(np.float64)


def bootstrap_means(
    scores: Scores, draws: int = DRAWS, generator_seed: int = GENERATOR_SEED
) -> Floats:
    """Bootstrapped means over cases, (draws, S, M).

    A draw's mean is ``sum v_k w_c x_kc / n_c`` over ``sum v_k w_c d_kc / n_c``: ``v`` counts
    the drawn seeds, ``w`` the drawn patients, ``d`` is 1 where case c is defined in seed k, and
    ``n_c`` counts such seeds. With every weight 1 this is the mean over cases of the mean
    over seeds. Both sums are matrix products, one a seed, for all systems and metrics.

    Returns:
        NaN where a draw holds no defined case.
    """
    n_patients, n_slots = len(scores.first_of_patient), scores.values.shape[1]
    patients, uniform = _draws(n_patients, n_slots, draws, generator_seed)
    means = np.full((draws, len(scores.systems), len(scores.metrics)), np.nan)
    for n_seeds in np.unique(scores.n_seeds):
        members = np.flatnonzero(scores.n_seeds == n_seeds)
        values = scores.values[members, :n_seeds]
        seeds = seed_draws(uniform, int(n_seeds))
        means[:, members] = _weighted_means(values, scores.first_of_patient, patients, seeds)
    return means


def _weighted_means(
    values: Floats, first_of_patient: Integers, patients: Floats, seeds: Floats
) -> Floats:
    """Means of every draw, (draws, S, M), of values (S, K, C, M)."""
    defined = ~np.isnan(values)
    seeds_of_case = defined.sum(axis=1, keepdims=True)
    share = defined / np.maximum(seeds_of_case, 1)
    total = _by_patient(np.where(defined, values, 0.0) * share, first_of_patient)
    weight = _by_patient(share, first_of_patient)
    means = np.full((len(patients), weight.shape[2]), np.nan)
    known = np.flatnonzero(weight.any(axis=(0, 1)))
    distinct, column = _distinct_columns(weight[..., known])
    numerator = _drawn_sum(total[..., known], patients, seeds)
    denominator = _drawn_sum(distinct, patients, seeds)[:, column]
    means[:, known] = np.divide(
        numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 1e-9
    )
    return means.reshape(len(patients), values.shape[0], values.shape[3])


def _by_patient(values: Floats, first_of_patient: Integers) -> Floats:
    """Sum over each patient's cases: (S, K, C, M) to (K, P, S * M)."""
    summed: Floats = np.add.reduceat(values, first_of_patient, axis=2)
    systems, seeds, patients, metrics = summed.shape
    return summed.transpose(1, 2, 0, 3).reshape(seeds, patients, systems * metrics)


def _distinct_columns(weight: Floats) -> tuple[Floats, list[int]]:
    """The different columns of (K, P, J), and which of them each column is."""
    first: dict[bytes, int] = {}
    keys = [weight[..., j].tobytes() for j in range(weight.shape[2])]
    column = [first.setdefault(key, len(first)) for key in keys]
    return weight[..., [column.index(place) for place in range(len(first))]], column


def _drawn_sum(values: Floats, patients: Floats, seeds: Floats) -> Floats:
    """Sum over seeds and patients of (K, P, J) by the draws' weights, (draws, J).

    Draws of the same seeds share one product, of values summed over these seeds, where there are
    fewer such sets than would be products over single seeds.
    """
    sets, of_draw = np.unique(seeds, axis=0, return_inverse=True)
    total = np.zeros((len(patients), values.shape[2]))
    if len(sets) > len(seeds) / SMALLEST_PRODUCT:
        for k, of_seed in enumerate(values):
            total += seeds[:, k, None] * (patients @ of_seed)
        return total
    for place, drawn in enumerate(sets):
        members = np.flatnonzero(of_draw == place)
        total[members] = patients[members] @ np.tensordot(drawn, values, axes=1)
    return total


def percentile_interval(means: Floats, confidence: float = CONFIDENCE) -> tuple[Floats, Floats]:
    """Percentile interval over the first axis; a column with an undefined draw ignores it."""
    tail = 50 * (1 - confidence)
    limits = np.full((2, *means.shape[1:]), np.nan)
    whole = ~np.isnan(means).any(axis=0)
    if whole.any():
        samples = np.ascontiguousarray(means[:, whole].T)  # a sample in a row: sorted in place
        limits[:, whole] = np.percentile(samples, [tail, 100 - tail], axis=-1, overwrite_input=True)
    for index in zip(*np.nonzero(~whole), strict=True):
        sample = means[(slice(None), *index)]
        sample = sample[~np.isnan(sample)]
        if sample.size:
            limits[(slice(None), *index)] = np.percentile(sample, [tail, 100 - tail])
    return limits[0], limits[1]


def summarise(scores: Scores, draws: int = DRAWS, generator_seed: int = GENERATOR_SEED) -> Summary:
    """All statistics of one table.

    ``sd_cases`` is the deviation over cases of the values averaged over seeds, ``sd_seeds``
    that over seeds of the mean over cases; ``n`` counts the cases with a defined value.
    """
    cases = scores.case_values
    low, high = percentile_interval(bootstrap_means(scores, draws, generator_seed))
    n = (~np.isnan(cases)).sum(axis=1)
    median = np.full(n.shape, np.nan)
    for system, metric in zip(*np.nonzero(n), strict=True):
        median[system, metric] = np.nanmedian(cases[system, :, metric])
    return Summary(
        mean=nan_mean(cases, axis=1),
        ci_low=low,
        ci_high=high,
        median=median,
        sd_cases=nan_deviation(cases, axis=1),
        sd_seeds=nan_deviation(nan_mean(scores.values, axis=2), axis=1),
        n=n,
    )


def min_ranks(means: Floats, digits: int = 12) -> Integers:
    """Ranks along the last axis, 1 the highest, ties sharing the lowest: .9, .8, .8 → 1, 2, 2.

    Means are rounded first, so that the order of summation cannot break a tie.
    """
    ranks: Integers = scipy.stats.rankdata(-np.round(means, digits), method="min", axis=-1)
    return ranks.astype(np.int64)

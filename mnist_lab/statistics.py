"""How sure a figure is: intervals, comparisons, and how many seeds a difference needs.

Accuracies and differences are fractions, never per cent. Intervals are of 95 %, and a difference
counts at the 5 % level. What makes no sense, such as a list of nan, raises `UserError`.
"""

import math
import warnings
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.stats import binomtest, bootstrap, nct, t, ttest_1samp

from mnist_lab.validation import Count, Positive, UserError, check, number, shown, whole

MOST_SEEDS = 1_000_000


class Difference(NamedTuple):
    """A mean difference with its interval, and how likely one so large is if there is none."""

    mean: float
    low: float
    high: float
    p: float


class Disagreement(NamedTuple):
    """The digits that one of two networks alone has right, and how likely that is among equals."""

    only_a: int
    only_b: int
    p: float


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """The interval of a share of independent digits: it stays within 0 and 1 where others do not.

    Wilson, doi:10.2307/2276774. Raises `UserError` unless 0 ≤ correct ≤ total and 1 ≤ total.
    """
    total = check("total", total, Count)
    correct = check("correct", correct, whole(0, total))
    interval = binomtest(correct, total).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def writer_interval(correct: ArrayLike, writers: ArrayLike) -> tuple[float, float]:
    """The interval of an accuracy if the digits of one writer may resemble each other.

    `correct` `[N]` says which digits were read right, `writers` `[N]` who wrote them, as whole
    numbers. The cluster bootstrap draws whole writers, with replacement, and takes the share of
    their digits that is right (Field and Welsh, doi:10.1111/j.1467-9868.2007.00593.x). Its
    percentiles are the interval: BCa covered no better at the course's error rates, and has no
    answer where nothing is wrong. There the percentiles have no width, and Wilson's says more.
    Raises `UserError` unless there is a writer for each digit, and two writers or more.
    """
    return writer_difference(np.zeros_like(correct, bool), correct, writers)


def writer_difference(
    correct_a: ArrayLike, correct_b: ArrayLike, writers: ArrayLike
) -> tuple[float, float]:
    """`writer_interval` of how much better b is than a on the same digits."""
    a, b = _answers(correct_a, correct_b)
    values, names = b.astype(int) - a, np.asarray(writers)
    if names.shape != values.shape or names.dtype.kind not in "iu":
        raise UserError(f"writers must be {len(values):,} whole numbers, not {shown(writers)}.")
    _, writer, digits = np.unique(names, return_inverse=True, return_counts=True)
    if len(digits) < 2:
        raise UserError(f"writers must be two or more, not writer {names[0]} alone.")
    interval = bootstrap(
        (np.bincount(writer, values), digits),
        lambda sums, digits, axis: sums.sum(axis) / digits.sum(axis),
        paired=True,
        n_resamples=10_000,
        batch=1_000,  # the same draws, in a tenth of the memory
        method="percentile",
        random_state=np.random.default_rng(0),  # called rng from SciPy 1.15 on; it takes both
    ).confidence_interval
    return float(interval.low), float(interval.high)


def seed_interval(accuracies: Sequence[float], cases: int = 1) -> tuple[float, float]:
    """The interval of a mean over seeds (Student, doi:10.1093/biomet/6.1.1).

    Who looks at several `cases` and picks one needs wider intervals: here such that with 95 % all
    of them are right (Bonferroni). It has no width if all values are alike. Raises `UserError` for
    fewer than two, for nan, and for less than one case.
    """
    mean = _students(_numbers("accuracies", accuracies, 2), cases)
    return mean.low, mean.high


def prediction_interval(accuracies: Sequence[float], cases: int = 1) -> tuple[float, float]:
    """Where one more run would lie: wider than `seed_interval`, by the scatter of that run."""
    low, high = seed_interval(accuracies, cases)
    middle, wider = (low + high) / 2, math.sqrt(len(accuracies) + 1)
    return middle - wider * (middle - low), middle + wider * (high - middle)


def paired_interval(a: Sequence[float], b: Sequence[float], cases: int = 1) -> Difference:
    """How much better b is than a, on average; each seed has the same place in both.

    `seed_interval` of the differences b − a, with `cases` as there; p is that of the one case. If
    all differences are alike, p is 0, or 1 if they are 0.
    """
    a, b = _numbers("a", a, 2), _numbers("b", b, 2)
    if len(a) != len(b):
        raise UserError(f"a and b must be of the same seeds, not of {len(a)} and {len(b)}.")
    return _students(b - a, cases)


def _students(values: np.ndarray, cases: int) -> Difference:
    """SciPy's test whether a mean is 0; where all values are alike it has no answer of its own."""
    cases = check("cases", cases, Count)
    if np.ptp(values) == 0:
        return Difference(*[float(values[0])] * 3, p=float(values[0] == 0))
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # if almost alike
        test = ttest_1samp(values, 0)
    low, high = test.confidence_interval(1 - 0.05 / cases)
    return Difference(float(values.mean()), float(low), float(high), float(test.pvalue))


def mcnemar(correct_a: ArrayLike, correct_b: ArrayLike) -> Disagreement:
    """Whether two networks are equally good on the same, independent digits: `[N]`, right or not.

    McNemar's test, doi:10.1007/BF02295996, exact: a digit that only one of them has right is as
    likely one's as the other's.
    """
    a, b = _answers(correct_a, correct_b)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    either = only_a + only_b
    return Disagreement(only_a, only_b, float(binomtest(only_a, either).pvalue) if either else 1.0)


def detectable_difference(deviation: float, seeds: int, power: float = 0.8) -> float:
    """The smallest true difference that `paired_interval` shows with probability `power`.

    `deviation` is the standard deviation of the differences over seeds. Student's t then follows
    its noncentral distribution (Johnson and Welch, doi:10.1093/biomet/31.3-4.362).
    """
    deviation, seeds = check("deviation", deviation, Positive), check("seeds", seeds, whole(2))
    power = check("power", power, number("a number from 0.5 to 0.999", ge=0.5, le=0.999))
    bound = t.isf(0.025, seeds - 1)
    errors = brentq(lambda shift: nct.sf(bound, seeds - 1, shift) - power, 0, 100)
    return errors * deviation / math.sqrt(seeds)


def seeds_needed(difference: float, deviation: float, power: float = 0.8) -> int:
    """The fewest paired seeds that show a difference: the inverse of `detectable_difference`."""
    difference = check("difference", difference, Positive)

    def shows(seeds: int) -> bool:
        return detectable_difference(deviation, seeds, power) <= difference

    found = 2 + bisect_left(range(2, MOST_SEEDS + 1), True, key=shows)
    if found > MOST_SEEDS:
        raise UserError(f"{difference} needs more than {MOST_SEEDS:,} seeds: ask for a larger one.")
    return found


def binomial_scatter(error_rates: ArrayLike) -> float:
    """√(Σ p(1 − p)) / N: the standard deviation of accuracies over seeds, by chance alone.

    `error_rates` `[N]` are the shares p of runs that miss a digit, independently of all others
    (Jordan, arXiv:2304.01910). Taken from R runs, they make the variance (R − 1)/R of what it is.
    """
    p = _numbers("error_rates", error_rates, 1)
    if p.min() < 0 or p.max() > 1:
        raise UserError(f"error_rates must be from 0 to 1, not from {p.min()} to {p.max()}.")
    return math.sqrt((p * (1 - p)).sum()) / len(p)


def _answers(*correct: ArrayLike) -> list[np.ndarray]:
    """Which digits each of two networks read right."""
    a, b = arrays = [np.asarray(values) for values in correct]
    for values, array in zip(correct, arrays):
        if array.dtype != bool or array.ndim != 1 or not len(array):
            raise UserError(f"correct must say True or False of each digit, not {shown(values)}.")
    if len(a) != len(b):
        raise UserError(f"a and b must be of the same digits, not of {len(a):,} and {len(b):,}.")
    return arrays


def _numbers(name: str, values: ArrayLike, least: int) -> np.ndarray:
    array = np.asarray(values)
    fits = array.dtype.kind in "iuf" and array.ndim == 1 and len(array) >= least
    if not fits or not np.isfinite(array).all():
        raise UserError(f"{name} must be finite numbers, {least} or more, not {shown(values)}.")
    return array.astype(float)

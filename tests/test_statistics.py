"""How sure a figure is: against hand calculation, a loop, and simulation."""

import math
import re
from statistics import NormalDist

import numpy as np
import pytest
import torch
from scipy import stats

from mnist_lab.statistics import (
    Difference,
    Disagreement,
    binomial_scatter,
    detectable_difference,
    mcnemar,
    paired_interval,
    prediction_interval,
    seed_interval,
    seeds_needed,
    wilson_interval,
    writer_difference,
    writer_interval,
)
from mnist_lab.validation import UserError

RIGHT = np.array([True, True, False])  # whether each of three digits was read right
NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(("correct", "total"), [(0, 4), (4, 4), (9_951, 10_000)])
def test_wilsons_ends_are_where_the_share_is_just_not_unlikely(correct, total):
    z = NormalDist().inv_cdf(0.975)
    for end in wilson_interval(correct, total):
        assert abs(correct / total - end) == pytest.approx(z * (end * (1 - end) / total) ** 0.5)
    low, high = wilson_interval(correct, total)
    assert 0 <= low <= correct / total <= high <= 1 and low < high


def test_students_interval_is_as_in_the_tables():
    assert seed_interval([0.98, 0.99]) == pytest.approx((0.985 - 0.0635310, 0.985 + 0.0635310))
    half = 2.776445 * 0.00316228  # t of 4 degrees of freedom, and √(0.0002 / 4 / 5)
    values = [0.97, 0.98, 0.98, 0.98, 0.99]
    assert seed_interval(values) == pytest.approx((0.98 - half, 0.98 + half))
    assert seed_interval([0.99, 0.99]) == (0.99, 0.99)
    assert seed_interval([0, 0]) == (0, 0)


def test_who_picks_among_several_cases_gets_wider_intervals():
    values = [0.97, 0.98, 0.98, 0.98, 0.99]
    half = 4.604095 * 0.00316228  # t of 4 degrees of freedom, for 1 % instead of 5
    assert seed_interval(values, cases=5) == pytest.approx((0.98 - half, 0.98 + half))
    found = paired_interval([0.97, 0.97, 0.98], [0.98, 0.99, 0.98], cases=3)
    expected = seed_interval([0.01, 0.02, 0.0], cases=3)
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.p == paired_interval([0.97, 0.97, 0.98], [0.98, 0.99, 0.98]).p


@pytest.mark.parametrize(("cases", "t"), [(1, 2.776445), (5, 4.604095)])
def test_one_more_run_scatters_around_a_mean_that_scatters_itself(cases, t):
    half = t * 0.00707107 * (1 + 1 / 5) ** 0.5
    found = prediction_interval([0.97, 0.98, 0.98, 0.98, 0.99], cases)
    assert found == pytest.approx((0.98 - half, 0.98 + half))


# Writers


def families(seed, writers=80, shape=1.0):
    """Digits `[N]` right or wrong and who wrote them; every writer has an error rate of his own."""
    draws = np.random.default_rng(seed)
    digits = draws.integers(5, 60, writers)
    rates = draws.beta(shape, 9 * shape, writers)  # a tenth on average
    names = draws.permutation(np.repeat(draws.permutation(1_000)[:writers], digits))
    rate = dict(zip(np.unique(names), rates))
    return draws.random(len(names)) > [rate[name] for name in names], names


def test_the_writers_interval_is_that_of_a_loop_over_whole_writers():
    right, writers = families(seed=1, writers=15, shape=0.3)  # few, and skewed
    draws, shares = np.random.default_rng(5), []
    groups = [right[writers == writer] for writer in set(writers)]
    for _ in range(4_000):
        drawn = np.concatenate([groups[i] for i in draws.integers(len(groups), size=len(groups))])
        shares.append(drawn.mean())
    loop = np.percentile(shares, [2.5, 97.5])
    error = 4 * 2.67 * np.std(shares) / 4_000**0.5  # 4 standard errors of such a percentile
    assert writer_interval(right, writers) == pytest.approx(loop, abs=error)


def test_the_callers_random_state_does_not_matter_and_tensors_do_as_well():
    right, writers = families(seed=3)
    first = writer_interval(right, writers)
    np.random.seed(0)
    assert first == writer_interval(torch.tensor(right), torch.tensor(writers))
    assert writer_interval(np.ones(6, bool), [1, 1, 2, 2, 3, 3]) == (1, 1), "none is wrong"


def test_the_difference_over_writers_is_that_of_a_plain_loop():
    a, writers = families(seed=5)
    b = a | (np.random.default_rng(6).random(len(a)) < 0.3)
    draws, names = np.random.default_rng(7), np.unique(writers)
    gain, size = (
        np.array([column[writers == name].sum() for name in names])
        for column in (b.astype(int) - a, np.ones(len(a)))
    )
    chosen = draws.integers(len(names), size=(4_000, len(names)))
    loop = np.percentile(gain[chosen].sum(1) / size[chosen].sum(1), [2.5, 97.5])
    low, high = writer_difference(a, b, writers)
    assert (low, high) == pytest.approx(tuple(loop), abs=0.1 * (high - low))
    assert writer_difference(b, a, writers) == pytest.approx((-high, -low), abs=1e-12)
    assert writer_difference(a, a, writers) == (0, 0)


# Two against each other


def test_a_paired_difference_is_students():
    draws = np.random.default_rng(0)
    a = 0.99 + 0.001 * draws.standard_normal(10)
    b = a + 0.0003 + 0.0003 * draws.standard_normal(10)
    theirs = stats.ttest_rel(b, a)
    ours = paired_interval(a.tolist(), b.tolist())
    assert ours.mean == pytest.approx(b.mean() - a.mean())
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval()))
    assert ours.p == pytest.approx(theirs.pvalue)
    back = paired_interval(b, a)
    assert (back.mean, back.low, back.high, back.p) == pytest.approx(
        (-ours.mean, -ours.high, -ours.low, ours.p)
    )


@pytest.mark.parametrize(("step", "p"), [(0.25, 0.0), (0.0, 1.0)])
def test_differences_all_alike_have_no_scatter(step, p):
    assert paired_interval([0.5, 0.25], [0.5 + step, 0.25 + step]) == Difference(
        step, step, step, p
    )


@pytest.mark.filterwarnings("error")
def test_differences_almost_alike_are_not_complained_about():
    found = paired_interval([0.1, 0.2, 0.3], [0.2, 0.3, 0.4])  # apart by their last digits
    assert (found.low, found.high) == pytest.approx((0.1, 0.1)) and found.p < 1e-20


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [(0, 0, 1.0), (1, 5, 14 / 64), (10, 0, 2 / 1024), (3, 3, 1.0)],
)
def test_mcnemar_tosses_a_coin_for_each_digit_that_one_alone_has_right(only_a, only_b, p):
    both = [True] * 7 + [False] * 2
    a = torch.tensor(both + [True] * only_a + [False] * only_b)
    b = torch.tensor(both + [False] * only_a + [True] * only_b)
    assert mcnemar(a, b) == Disagreement(only_a, only_b, pytest.approx(p))


# What can be seen


@pytest.mark.parametrize(("seeds", "power"), [(3, 0.5), (10, 0.95)])
def test_the_smallest_difference_is_shown_as_often_as_promised(seeds, power):
    difference = detectable_difference(0.0007, seeds, power)
    draws = np.random.default_rng(6).normal(difference, 0.0007, (40_000, seeds))
    shown = stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05
    assert shown.mean() == pytest.approx(power, abs=0.01)


def test_many_seeds_see_what_the_normal_distribution_says():
    z = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)
    assert detectable_difference(0.5, 100_000) == pytest.approx(z * 0.5 / 100_000**0.5, rel=1e-4)


@pytest.mark.parametrize(("seeds", "power"), [(2, 0.5), (3, 0.999), (47, 0.8), (1_000_000, 0.8)])
def test_the_seeds_needed_are_the_fewest(seeds, power):
    difference = detectable_difference(0.0007, seeds, power)
    assert seeds_needed(difference, 0.0007, power) == seeds
    if seeds < 1_000_000:
        assert seeds_needed(difference * 0.999999, 0.0007, power) == seeds + 1
    assert seeds_needed(1.0, 1e-9) == 2


def test_chance_over_digits_scatters_as_expected():
    rates = np.array([0.0, 1.0, 0.5, 0.1, 0.02] * 40)
    wrong = np.random.default_rng(7).random((20_000, len(rates))) < rates
    assert binomial_scatter(rates) == pytest.approx(wrong.mean(1).std(), rel=0.02)
    assert binomial_scatter([0.5, 0.5]) == pytest.approx(0.5**0.5 / 2)
    assert binomial_scatter([0, 1]) == 0


# What is refused

SAYS = "must say True or False of each digit"
REFUSED = [
    (lambda: wilson_interval(0, 0), "total must be a whole number from 1 on, not 0"),
    (lambda: wilson_interval(4, 3), "correct must be a whole number from 0 to 3, not 4"),
    (lambda: wilson_interval(-1, 3), "correct"),
    (lambda: writer_interval([1, 1, 0], [1, 2, 3]), f"correct {SAYS}, not [1, 1, 0]"),
    (lambda: writer_interval(RIGHT, [1, 2]), "writers must be 3 whole numbers"),
    (lambda: writer_interval(RIGHT, [1, 2, NAN]), "writers must be 3 whole numbers"),
    (lambda: writer_interval(RIGHT, [7, 7, 7]), "writers must be two or more, not writer 7 alone"),
    (lambda: writer_difference(RIGHT, RIGHT[1:], [1, 2, 3]), "of the same digits, not of 3 and 2"),
    (lambda: seed_interval([0.9, 0.8], cases=0), "cases"),
    (lambda: seed_interval([0.9]), "accuracies must be finite numbers, 2 or more, not [0.9]"),
    (lambda: seed_interval([[0.9, 0.8], [0.9, 0.7]]), "accuracies"),
    (lambda: seed_interval(["0.9", "0.8"]), "accuracies"),
    (lambda: paired_interval([1, 1], [1, INF]), "b must be finite numbers, 2 or more"),
    (lambda: paired_interval([1, 1], [1, 1, 1]), "of the same seeds, not of 2 and 3"),
    (lambda: mcnemar(RIGHT, [0.5, 1, 1]), f"correct {SAYS}"),
    (lambda: detectable_difference(0, 5), "deviation must be a number above 0, not 0"),
    (lambda: detectable_difference(1.0, 1), "seeds must be a whole number from 2 on, not 1"),
    (lambda: detectable_difference(1.0, 5, 1), "power must be a number from 0.5 to 0.999, not 1"),
    (lambda: seeds_needed(1.0, 1.0, power=0.49), "power"),
    (lambda: seeds_needed(0, 1.0), "difference must be a number above 0, not 0"),
    (lambda: seeds_needed(1e-9, 0.5), "more than 1,000,000 seeds"),
    (lambda: binomial_scatter([]), "error_rates must be finite numbers, 1 or more"),
    (lambda: binomial_scatter([0.5, 1.5]), "error_rates must be from 0 to 1, not from 0.5 to 1.5"),
    (lambda: binomial_scatter([-0.5, 0.5]), "error_rates must be from 0 to 1, not from -0.5"),
]


@pytest.mark.parametrize(("ask", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_what_makes_no_sense_is_refused_in_one_sentence(ask, words):
    with pytest.raises(UserError, match=re.escape(words)) as refused:
        ask()
    assert "\n" not in str(refused.value)


def test_numpys_numbers_and_tensors_do_as_well():
    assert wilson_interval(np.int64(3), np.int32(4)) == wilson_interval(3, 4)
    assert seed_interval(torch.tensor([0.5, 0.75]), np.int64(2)) == seed_interval([0.5, 0.75], 2)
    ours = detectable_difference(np.float32(0.5), np.int64(5), np.float64(0.8))
    assert ours == detectable_difference(0.5, 5)
    assert seeds_needed(np.float64(1.0), np.float32(0.5)) == seeds_needed(1.0, 0.5)

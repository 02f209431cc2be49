"""The exercises of notebook 08: intervals, paired comparisons, and what a choice flatters."""

import math
import statistics
from operator import itemgetter

import torch
from scipy.stats import binom, binomtest, chi2
from torch import Tensor

from mnist_lab.exercises.cases import draw, randperm
from mnist_lab.exercises.checks import by_example
from mnist_lab.exercises.question import exercise
from mnist_lab.statistics import wilson_interval


@exercise("Wilson's interval")
def wilsons_interval(interval):
    def normal(correct, total):
        p = correct / total
        half = 1.96 * math.sqrt(p * (1 - p) / total)
        return p - half, p + half

    slips = (
        (lambda *a: wilson_interval(*a)[::-1], "low and high are interchanged."),
        (normal, "that is the normal approximation, which has no z² terms."),
        (lambda *a: [100 * end for end in wilson_interval(*a)], "fractions are expected, not %."),
        (lambda *a: binomtest(*a).proportion_ci(), "that is the exact interval, not Wilson's."),
    )
    cases = [(9_939, 10_000), (61, 10_000), (10, 10), (0, 10), (1, 2)]
    cases += [(draw.randint(0, n), n) for n in draw.sample(range(3, 3_000), 10)]
    by_example("interval", interval, wilson_interval, cases, slips, tolerance=5e-5)


@exercise("The same digits, two networks")
def the_same_digits_two_networks(p_value):
    def of(combine):  # how often only the first read a digit, only the second, and all digits
        return lambda a, b: combine(int((a & ~b).sum()), int((b & ~a).sum()), len(a))

    def exact(one, other, total=0, **named):
        return binomtest(one, one + other, **named).pvalue if one + other else 1.0

    sides = "look to both sides, not to one."
    tosses = "count only the digits that exactly one of both has read."
    slips = (
        (of(lambda m, n, _: exact(m, n, alternative="greater")), sides),
        (of(lambda m, n, _: exact(m, n, alternative="less")), sides),
        (of(lambda m, n, _: exact(m, n) / 2), sides),
        (of(lambda m, n, _: chi2.sf((m - n) ** 2 / (m + n), 1)), "that is χ²; use the exact test."),
        (of(lambda m, n, _: chi2.sf((abs(m - n) - 1) ** 2 / (m + n), 1)), "that is χ², not exact."),
        (of(lambda m, n, _: exact(m, n) - binom.pmf(m, m + n, 0.5)), "that is mid-p, not exact."),
        (of(lambda m, n, _: 2 * binom.cdf(min(m, n), m + n, 0.5)), "no probability is above 1."),
        (lambda a, b: binomtest(int(a.sum()), len(a)).pvalue, "it tests the first network alone."),
        (lambda a, b: binomtest(int(b.sum()), len(b)).pvalue, "it tests the second network alone."),
        (of(lambda m, n, total: binomtest(m, total).pvalue), tosses),
        (of(lambda m, n, total: binomtest(n, total).pvalue), tosses),
        (of(lambda m, n, _: 1 - exact(m, n)), "1 minus that is asked for."),
    )
    more, fewer = draw.randint(9, 20), draw.randint(1, 4)
    counts = [(14, 4), (4, 14), (more, fewer), (fewer, more), (5, 5), (0, 6), (1, 0), (0, 0)]
    counts += [(20, 1), (17, 4)]  # the least likely; and one that 16 bits do not hold
    for one, other in counts:
        said = f"Only the first is right for {one} digits, only the second for {other}."
        known = slips if one + other else ()  # without a toss several of them say 0
        case = _answers(one, other)
        by_example("p_value", p_value, of(exact), [case], known, otherwise=said)


def _answers(only_first: int, only_second: int) -> tuple[Tensor, Tensor]:
    """Which digits each of two networks read, in a random order; 60 both did, and 20 neither."""
    counts = torch.tensor([60, only_first, only_second, 20])
    kind = torch.arange(4).repeat_interleave(counts)[randperm(int(counts.sum()))]
    return kind < 2, (kind == 0) | (kind == 2)


@exercise("A summary that flatters")
def a_summary_that_flatters(sum_up):
    def of(value, deviation=statistics.stdev):
        def summary(runs):
            values = list(map(value, runs))
            return statistics.mean(values), deviation(values)

        return summary

    last, best = itemgetter(-1), "the best epoch of each run is still picked; the last one counts."
    of_mean = "the deviation is that of the mean; that of a single run is expected."
    slips = (
        (of(max), best),
        (of(max, statistics.pstdev), best),
        (of(last, statistics.pstdev), "a sample's own mean asks for the divisor n − 1, not n."),
        (of(last, statistics.variance), "it is the variance; its square root is expected."),
        (of(last, lambda v: statistics.stdev(v) / len(v) ** 0.5), of_mean),
    )
    by_example("sum_up", sum_up, of(last), [(_runs(count),) for count in (3, 5, 2)], slips)


def _runs(count: int) -> list[list[float]]:
    """The best epoch is never the last; the last ones lie apart."""
    epochs = draw.randint(4, 9)
    runs = [[draw.uniform(0.97, 0.99) for _ in range(epochs)] for _ in range(count)]
    for number, run in enumerate(runs):
        run[draw.randrange(epochs - 1)] = draw.uniform(0.996, 0.999)
        run[-1] = 0.98 + 0.003 * number + draw.uniform(0, 0.001)
    draw.shuffle(runs)
    return runs

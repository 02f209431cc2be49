"""The exercises of notebook 07: intervals, paired comparisons, and what a choice flatters."""

import math
import random

import torch
from scipy.stats import binomtest

from mnist_lab.exercises.checks import as_number, expect_function, expect_kind, expect_number
from mnist_lab.exercises.question import Wrong, exercise
from mnist_lab.statistics import wilson_interval


@exercise(
    title="Wilson's interval",
    task="""
    Write `interval(correct, total)`: Wilson's 95 % interval of an accuracy, the pair `(low, high)`.
    With p = correct / total, n = total and z = 1.96 its middle is (p + z²/2n) / (1 + z²/n), and it
    reaches to both sides by z / (1 + z²/n) · √(p(1 − p)/n + z²/4n²).
    """,
    start="""
    def interval(correct, total):
        return ...
    """,
    hint="""
    Write the three parts down one by one: 1 + z²/n, the middle, the half width. Brackets: z²/2n is
    `z**2 / (2 * n)`.
    """,
    solution="""
    def interval(correct, total):
        p, n, z = correct / total, total, 1.96
        wide = 1 + z**2 / n
        middle = (p + z**2 / (2 * n)) / wide
        half = z / wide * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
        return middle - half, middle + half
    """,
    right="""
    Unlike p ± z·√(p(1 − p)/n), it never leaves 0 to 1, and ten right answers of ten do not prove
    that all others will be right.
    """,
)
def wilsons_interval(interval):
    expect_function(interval, "interval")
    cases = [(9_939, 10_000), (10, 10), (0, 10), (1, 2)]
    cases += [(random.randint(0, n), n) for n in random.sample(range(3, 3_000), 10)]
    for correct, total in cases:
        call = f"interval({correct}, {total})"
        found = interval(correct, total)
        expect_kind(found, (tuple, list, torch.Tensor), call, "a pair")
        if len(found) != 2:
            raise Wrong(f"{call} has {len(found)} values; two are expected: low and high.")
        low, high = (as_number(end, f"an end of {call}") for end in found)
        _compare_intervals(call, low, high, correct, total)


def _compare_intervals(call: str, low: float, high: float, correct: int, total: int) -> None:
    p = correct / total
    plain = 1.96 * math.sqrt(p * (1 - p) / total)
    expected = wilson_interval(correct, total)

    def near(one, other):
        return all(abs(a - b) < 2e-4 / math.sqrt(total) for a, b in zip(one, other))

    if near((low, high), expected):
        return
    if near((high, low), expected):
        raise Wrong(f"{call}: low and high are interchanged.")
    if near((low, high), (p - plain, p + plain)):
        raise Wrong(
            f"{call} is {low:.4f} to {high:.4f}: the normal approximation, which has no z² terms."
        )
    if near((low / 100, high / 100), expected):
        raise Wrong(f"{call} is in percent; fractions are expected.")
    raise Wrong(
        f"{call} is {low:.4f} to {high:.4f}; {expected[0]:.4f} to {expected[1]:.4f} is expected."
    )


@exercise(
    title="The same digits, two networks",
    task="""
    Two networks have read the same digits. `first` and `second` are tensors of True (right) and
    False (wrong), one value for each digit. Write `p_value(first, second)`: the exact McNemar test.
    Only the digits count that exactly one of the two read rightly. If the networks were equally
    good, each such digit would be a toss of a coin: how likely is it then that the tosses are
    parted at least as unevenly as here? (Two-sided; 1 if there is no such digit.)
    """,
    start="""
    def p_value(first, second):
        return ...
    """,
    hint="""
    `first & ~second` is True where only the first was right. `scipy.stats.binomtest(k, n).pvalue`
    is the probability that is asked for, with k of n tosses on one side.
    """,
    solution="""
    from scipy.stats import binomtest


    def p_value(first, second):
        only_first = int((first & ~second).sum())
        only_second = int((second & ~first).sum())
        if only_first + only_second == 0:
            return 1.0
        return binomtest(only_first, only_first + only_second).pvalue
    """,
    right="""
    What both read and what neither reads says nothing about a difference. That is why a pair of
    networks can be told apart on digits on which their two intervals overlap.
    """,
)
def the_same_digits_two_networks(p_value):
    expect_function(p_value, "p_value")
    for total in (400, 60):
        first, second = torch.rand(total) < 0.93, torch.rand(total) < 0.85
        first[:3], second[:3] = torch.tensor([True, False, False]), torch.tensor([False] * 3)
        one, other = int((first & ~second).sum()), int((second & ~first).sum())
        truth = binomtest(one, one + other).pvalue
        found = as_number(p_value(first.clone(), second.clone()), "p_value(first, second)")
        for value, why in (
            (truth / 2, "it looks to one side only; a difference may go either way."),
            (binomtest(int(first.sum()), total).pvalue, "it tests the first network alone."),
            (binomtest(one, total).pvalue, "digits that both or neither read are counted, too."),
            (1 - truth, "it is 1 minus the probability that is asked for."),
        ):
            if math.isclose(found, value, rel_tol=1e-6) and abs(value - truth) > 1e-9:
                raise Wrong(why)
        if abs(found - truth) > 1e-6:
            raise Wrong(f"only one of both was right for {one} + {other} digits, and p is "
                        f"{found:.4g}; {truth:.4g} is expected.")  # fmt: skip
    alike = torch.tensor([True, False, True])
    same = as_number(p_value(alike, alike.clone()), "p_value of two networks that agree")
    if same != 1:
        raise Wrong(f"of two networks that agree everywhere p is {same:.4g}; 1 is expected.")


@exercise(
    title="A summary that flatters",
    task="""
    `sum_up(runs)` is to sum up several runs of one recipe. Each run is a list of its validation
    accuracies, one for each epoch. It shall return the mean over the runs of the accuracy after the
    *last* epoch, and the standard deviation of a single run, estimated from this sample. There are
    **two** mistakes in it: one makes the recipe look better, the other steadier than it is.
    """,
    start="""
    def sum_up(runs):
        values = [max(run) for run in runs]
        mean = sum(values) / len(values)
        variance = sum((value - mean) ** 2 for value in values) / len(values)
        return mean, variance**0.5
    """,
    hint="""
    Which epoch of each run was looked for? And of two runs, how many independent distances from
    their own mean are there?
    """,
    solution="""
    def sum_up(runs):
        values = [run[-1] for run in runs]
        mean = sum(values) / len(values)
        variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
        return mean, variance**0.5
    """,
    right="""
    With three runs the wrong divisor makes the scatter look almost a fifth smaller, and nobody sees
    that the best epoch was picked.
    """,
)
def a_summary_that_flatters(sum_up):
    expect_function(sum_up, "sum_up")
    for count in (3, 5, 2):
        runs = [[random.uniform(0.97, 0.995) for _ in range(6)] for _ in range(count)]
        for run in runs:
            run[2] = random.uniform(0.996, 0.999)  # the best epoch is never the last
        found = sum_up([list(run) for run in runs])
        expect_kind(found, (tuple, list, torch.Tensor), "sum_up(runs)", "a pair")
        if len(found) != 2:
            raise Wrong(f"sum_up(runs) has {len(found)} values; two are expected.")
        mean, deviation = (as_number(value, "a value of sum_up(runs)") for value in found)
        last = torch.tensor([run[-1] for run in runs], dtype=torch.float64)
        best = [max(run) for run in runs]
        if abs(mean - sum(best) / count) < 1e-9:
            raise Wrong("the best epoch of each run is still picked; the last one counts.")
        expect_number(mean, float(last.mean()), "the mean", tolerance=1e-6)
        if abs(deviation - float(last.std(correction=0))) < 1e-8:
            raise Wrong("the squares are divided by n; a sample's own mean asks for n − 1.")
        if abs(deviation - float(last.var())) < 1e-9:
            raise Wrong("it is the variance; its square root is expected.")
        if abs(deviation - float(last.std()) / math.sqrt(count)) < 1e-8:
            raise Wrong("it is the standard error of the mean; that of a single run is expected.")
        expect_number(deviation, float(last.std()), "the standard deviation", tolerance=1e-6)

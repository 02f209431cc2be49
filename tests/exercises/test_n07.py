import pytest
from answers import Case, answers

INTERVAL = """
def interval(correct, total):
    p, n, z = correct / total, total, {z}
    wide = 1 + z**2 / n
    middle = (p + {shift}) / {wide}
    half = z / {wide} * (p * (1 - p) / n + {spread}) ** 0.5
    return {result}
"""


def interval(z="1.96", shift="z**2 / (2 * n)", wide="wide", spread="z**2 / (4 * n**2)",
             result="middle - half, middle + half"):  # fmt: skip
    return INTERVAL.format(z=z, shift=shift, wide=wide, spread=spread, result=result)


MCNEMAR = """
from scipy.stats import binomtest
def p_value(first, second):
    one, other = int((first & ~second).sum()), int((second & ~first).sum())
    {guard}
    return {result}
"""
GUARD = "if one + other == 0: return 1"


def mcnemar(result="binomtest(one, one + other).pvalue", guard=GUARD):
    return MCNEMAR.format(result=result, guard=guard)


SUMMARY = """
import statistics
def sum_up(runs):
    values = {values}
    return {result}
"""


def summary(values="[run[-1] for run in runs]",
            result="statistics.mean(values), statistics.stdev(values)"):  # fmt: skip
    return SUMMARY.format(values=values, result=result)


CASES = {
    "wilsons_interval": Case(
        other=[
            interval(),
            interval(z="1.959964", result="[middle - half, middle + half]"),
            "from mnist_lab import wilson_interval as interval",
            """
from scipy.stats import binomtest
def interval(correct, total):
    return tuple(binomtest(correct, total).proportion_ci(method="wilson"))
""",
        ],
        wrong={
            interval(shift="0", wide="1", spread="0"): "the normal approximation",
            interval(result="middle + half, middle - half"): "interchanged",
            interval(result="100 * (middle - half), 100 * (middle + half)"): "in percent",
            interval(shift="z**2 / 2 * n"): "is expected",
            interval(result="middle"): "a float; a pair",
            interval(result="(middle - half, middle, middle + half)"): "3 values",
            "def interval(correct, total):\n    return 0.9921, 0.9953": "0.9921 to 0.9953;",
        },
    ),
    "the_same_digits_two_networks": Case(
        other=[
            mcnemar(),
            mcnemar("binomtest(min(one, other), one + other).pvalue"),
            """
from math import comb
def p_value(first, second):
    differ = [bool(a) for a, b in zip(first, second) if a != b]
    n, k = len(differ), min(sum(differ), len(differ) - sum(differ))
    return min(1, 2 * sum(comb(n, i) for i in range(k + 1)) / 2**n)
""",
        ],
        wrong={
            mcnemar("binomtest(max(one, other), one + other, alternative='greater').pvalue"):
                "one side only",
            mcnemar("binomtest(int(first.sum()), len(first)).pvalue"): "the first network alone",
            mcnemar("binomtest(one, len(first)).pvalue"): "both or neither",
            mcnemar(guard=""): "ValueError",
            mcnemar("1 - binomtest(one, one + other).pvalue"): "1 minus",
            mcnemar("abs(one - other) / (one + other)"): "only one of both was right for",
            mcnemar(guard="if one + other == 0: return 0"): "1 is expected",
        },
    ),
    "a_summary_that_flatters": Case(
        other=[
            summary(),
            "import torch\ndef sum_up(runs):\n    last = torch.tensor(runs).double()[:, -1]\n"
            "    return torch.stack([last.mean(), last.std()])",
        ],
        wrong={
            summary("[max(run) for run in runs]"): "still picked",
            summary(result="statistics.mean(values), statistics.pstdev(values)"): "divided by n;",
            summary(result="statistics.mean(values), statistics.variance(values)"): "the variance",
            summary(result="statistics.mean(values), statistics.stdev(values) / "
                           "len(values) ** 0.5"): "standard error",
            summary(result="statistics.mean(values)"): "a float; a pair",
            summary("[sum(run) / len(run) for run in runs]"): "the mean is",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("answer", answers("07", CASES))
def test_every_answer_gets_its_verdict(answer):
    answer.prove()

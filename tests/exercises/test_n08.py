import pytest
from answers import Case, proofs

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
CHI = "from scipy.stats import binom, chi2"
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
            "import numpy as np\n" + interval(result="np.array([middle - half, middle + half])"),
            "import torch\n" + interval(result="torch.tensor([middle - half, middle + half])"),
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
            interval(result="100 * (middle - half), 100 * (middle + half)"): "not %",
            interval(shift="z**2 / 2 * n"): "is expected",
            interval(spread="z**2 / 4 * n**2"): "is expected",
            interval(shift="0"): "is expected",
            interval(z="1.645"): "is expected",
            interval(z="2"): "is expected",
            interval(result="round(middle - half, 4), round(middle + half, 4)"): "is expected",
            interval(result="middle"): "; 2 values are expected",
            "import torch\n" + interval(result="torch.tensor(middle)"): "2 values are expected",
            interval(result="(middle - half, middle, middle + half)"): "2 values are",
            """
from scipy.stats import binomtest
def interval(correct, total):
    return binomtest(correct, total).proportion_ci()
""": "the exact interval",
            "def interval(correct, total):\n    return 0.9922, 0.9952":
                "(0.9922, 0.9952); (0.0047521",
            "def interval(correct, total):\n    return 0.99217, 0.99525": "interval(61, 10000)",
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
                "both sides",
            mcnemar("binomtest(one, one + other, alternative='greater').pvalue"): "both sides",
            mcnemar("binomtest(one, one + other, alternative='less').pvalue"): "both sides",
            mcnemar("binomtest(one, one + other, alternative='greater' if one > other else "
                    "'two-sided').pvalue"): "both sides",
            mcnemar("2 * binomtest(one, one + other, alternative='greater').pvalue"): "p_value(",
            mcnemar("2 * binomtest(min(one, other), one + other, alternative='less').pvalue"):
                "above 1",
            CHI + mcnemar("chi2.sf((one - other)**2 / (one + other), 1)"): "that is χ²",
            CHI + mcnemar("chi2.sf((abs(one - other) - 1)**2 / (one + other), 1)"): "not exact",
            CHI + mcnemar("binomtest(one, one + other).pvalue - binom.pmf(one, one + other, .5)"):
                "mid-p",
            mcnemar("binomtest(int(first.sum()), len(first)).pvalue"): "the first network alone",
            mcnemar("binomtest(int(second.sum()), len(first)).pvalue"): "the second network alone",
            mcnemar("binomtest(one, len(first)).pvalue"): "exactly one of both",
            mcnemar(guard=""): "ValueError",
            mcnemar("1 - binomtest(one, one + other).pvalue"): "1 minus",
            mcnemar("round(binomtest(one, one + other).pvalue, 6)"): "is expected",
            mcnemar("abs(one - other) / (one + other)"): "Only the first is right for 14 digits",
            mcnemar(guard="if one + other == 0: return 0"): "1 is expected",
            mcnemar(guard=GUARD + "\n    first &= second"): "`first` is changed",
            mcnemar("[binomtest(one, one + other).pvalue] * 2"): "]; a number is expected",
        },
    ),
    "a_summary_that_flatters": Case(
        other=[
            summary(),
            "import numpy as np\n" + summary("np.array([run[-1] for run in runs])",
                                             "np.array([values.mean(), values.std(ddof=1)])"),
            "import torch\ndef sum_up(runs):\n    last = torch.tensor(runs)[:, -1]\n"
            "    return torch.stack([last.mean(), last.std()])",
        ],
        wrong={
            summary("[max(run) for run in runs]"): "still picked",
            summary("[max(run) for run in runs]",
                    "statistics.mean(values), statistics.pstdev(values)"): "still picked",
            summary(result="statistics.mean(values), statistics.pstdev(values)"): "the divisor n",
            summary(result="statistics.mean(values), statistics.variance(values)"): "the variance",
            summary(result="statistics.mean(values), statistics.stdev(values) / "
                           "len(values) ** 0.5"): "a single run",
            summary(result="statistics.mean(values)"): "2 values",
            "import torch\n" + summary(result="torch.tensor(values).mean()"): "2 values",
            summary(result="statistics.stdev(values), statistics.mean(values)"): "is expected",
            summary("[sum(run) / len(run) for run in runs]"): "sum_up(",
            summary("[run[3] for run in runs]"): "sum_up(",
            summary("[run.pop() for run in runs]"): "`runs` is changed",
            summary("[sorted(run)[-2] for run in runs]"): "sum_up(",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("proof", proofs("08", CASES))
def test_every_answer_gets_its_verdict(proof):
    proof()

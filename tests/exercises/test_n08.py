import pytest
from answers import Case, proofs

LUCK = """
import torch
def standard_error(right, writers, draws):
    shares = []
    for seeds, people in draws:
        digits = {digits}
        shares.append({share})
    return {result}
"""
OF_WRITERS = "torch.cat([(writers == name).nonzero().flatten() for name in people])"


def luck(digits=OF_WRITERS, share="right[seeds][:, digits].float().mean()",
         result="torch.stack(shares).std()"):  # fmt: skip
    return LUCK.format(digits=digits, share=share, result=result)


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


FIGURE = """
def judge_figure(figure, low, high, width):
    if {outside}:
        return {denied}
    if {wide}:
        return {open}
    return {inside}
"""


def figure(outside="figure < low or high < figure", denied="'does not hold'",
           wide="high - low > width", open="'undecided'", inside="'consistent with'"):  # fmt: skip
    return FIGURE.format(outside=outside, denied=denied, wide=wide, open=open, inside=inside)


HONEST = """
import hashlib
from mnist_lab.studies.rules import Rule, compare, mean_of
my_rule = {rule}
my_fingerprint = {mark}
def my_verdict(gap, bottleneck):
    return {result}
"""


def honest(kind="'above'", bound="0", more="", mark="str(my_rule)",
           result="my_rule.judge(compare(bottleneck, gap, paired=False)).verdict"):  # fmt: skip
    rule = (
        f"Rule('both', 'better', {kind}, 'the mean accuracy less the other', bound={bound}{more})"
    )
    if not mark.startswith("'"):
        mark = f"hashlib.sha256({mark}.encode()).hexdigest()"
    return HONEST.format(rule=rule, mark=mark, result=result)


CASES = {
    "both_kinds_of_luck": Case(
        other=[
            luck(),
            luck(result="torch.stack(shares).double().std().item()"),
            """
import numpy as np
def standard_error(right, writers, draws):
    right, writers, shares = right.numpy(), writers.numpy(), []
    for seeds, people in draws:
        digits = np.concatenate([np.flatnonzero(writers == name) for name in people.numpy()])
        shares.append(right[seeds.numpy()][:, digits].mean())
    return np.std(shares, ddof=1)
""",
            """
import statistics
def standard_error(right, writers, draws):
    shares = []
    for seeds, people in draws:
        asked = read = 0
        for name in people.tolist():
            for place, writer in enumerate(writers.tolist()):
                if writer == name:
                    asked += len(seeds)
                    read += sum(bool(right[run, place]) for run in seeds.tolist())
        shares.append(read / asked)
    return statistics.stdev(shares)
""",
        ],
        wrong={
            luck(share="right[:, digits].float().mean()"): "the drawn runs are not used",
            luck(share="right[seeds].float().mean()"): "the writers are not used",
            luck(share="right[seeds.unique()][:, digits].float().mean()"): "a run that is drawn",
            luck("torch.isin(writers, people)"): "a writer who is drawn twice",
            luck(result="torch.stack(shares).std(correction=0)"): "n − 1",
            luck(result="torch.stack(shares).var()"): "the variance",
            luck(result="torch.stack(shares).std() / len(draws) ** 0.5"): "root of the draws",
            luck(result="100 * torch.stack(shares).std()"): "not points",
            luck(result="torch.stack(shares).mean()"): "how do they scatter",
            luck(share="torch.stack([right[seeds][:, writers == name].float().mean() "
                       "for name in people]).mean()"): "all digits together",
            luck(result="torch.stack(shares)"): "a number is expected",
            luck(result="max(shares) - min(shares)"): "is expected",
            luck(share="1 - right[seeds][:, digits].float().mean()",
                 result="1.96 * torch.stack(shares).std()"): "; 0.",
            luck("people"): "IndexError",
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
    "a_rule_with_a_way_out": Case(
        other=[
            figure(),
            figure("not low <= figure <= high"),
            figure("not (low < figure < high)", wide="high > low + width"),
            """
def judge_figure(figure, low, high, width):
    inside, narrow = low <= figure <= high, high - low <= width
    return "does not hold" if not inside else "consistent with" if narrow else "undecided"
""",
        ],
        wrong={
            """
def judge_figure(figure, low, high, width):
    if high - low > width:
        return "undecided"
    return "consistent with" if low < figure < high else "does not hold"
""": "however wide an interval is",
            figure(inside="'holds'"): "does not hold yet",
            figure(open="'consistent with'"): "a wide interval decides nothing",
            figure(open="'does not hold'"): "could be, however wide",
            figure(inside="'undecided'"): "judge_figure(",
            figure("figure < low"): "judge_figure(",
            figure("figure > high"): "judge_figure(",
            figure(wide="high - low < width"): "judge_figure(",
            figure("low <= figure <= high"): "judge_figure(",
            figure(denied="'DOES NOT HOLD'"): "is expected",
            figure(inside="True"): "True",
        },
        alike={
            """
def judge_figure(figure, low, high, width):
    if high - low > width:
        return "undecided"
    return "holds" if low < figure < high else "does not hold"
""": "",
        },
    ),
    "the_rule_first": Case(
        other=[
            honest(),
            honest(bound="0.001", mark="str(my_rule)"),
            honest(bound="5e-4",
                   result="my_rule.judge(compare(gap=None) if False else "
                          "compare(bottleneck, gap, my_rule.paired)).verdict"),
            honest(more=", paired=False").replace(".hexdigest()", ".hexdigest().upper()"),
            honest(bound="0.002", result="str(my_rule.judge(compare(bottleneck, gap, False))[0])"),
            """
import hashlib
from scipy.stats import ttest_ind
from mnist_lab.studies.rules import Rule
my_rule = Rule(network="both", said="better", kind="above", quantity="the difference", bound=0.0)
my_fingerprint = hashlib.sha256(bytes(str(my_rule), "utf-8")).hexdigest()
def my_verdict(gap, bottleneck):
    low, high = ttest_ind(gap, bottleneck, equal_var=False).confidence_interval()
    return "holds" if low > 0 else "does not hold" if high < 0 else "undecided"
""",
        ],
        wrong={
            honest(kind="'within'", bound="None", more=", margin=0.001"): 'the kind is "above"',
            honest(kind="'count'"): 'the kind is "above"',
            honest(bound="None"): "has no `bound`",
            honest(bound="-0.001"): "reads fewer",
            honest(bound="0.1"): "below 0.01",
            honest(bound="float('nan')"): "the bound is nan",
            honest(more=", of='any'"): "leave `of` out",
            honest(more=", paired=True"): "leave `paired` out",
            honest(mark="repr(my_rule)"): "not of `str`",
            honest(mark="my_rule.quantity"): "the bound, too",
            honest(mark="my_rule.said"): "that of the claim",
            honest(mark="'1234'"): "64 signs",
            honest(bound="0.001", mark="str(Rule('both', 'better', 'above', 'the mean accuracy "
                                       "less the other', bound=0))"): "changed afterwards",
            honest(result="my_rule.judge(compare(gap, bottleneck, False)).verdict"): "interchanged",
            honest(result="my_rule.judge(compare(bottleneck, gap, True)).verdict"): "are no pairs",
            honest(result="'holds' if sum(gap) > sum(bottleneck) else 'does not hold'"):
                "where is the interval",
            honest(result="my_rule.judge(compare(bottleneck, gap, False))"): "whole judgement",
            honest(bound="0.002", result="Rule('', '', 'above', '', bound=0.0).judge(compare("
                   "bottleneck, gap, False)).verdict"): "where is the interval",
            **{honest(bound="0.0005", result=f"judged(gap, bottleneck, {reach})") + """
from mnist_lab.statistics import seed_interval
import numpy as np
def judged(gap, bottleneck, reach):
    (a, b), (c, d) = seed_interval(gap), seed_interval(bottleneck)
    off = np.mean(gap) - np.mean(bottleneck) - 0.0005
    half = reach * (((b - a) / 2) ** 2 + ((d - c) / 2) ** 2) ** 0.5
    return 'holds' if off > half else 'does not hold' if off < -half else 'undecided'
""": f"{word!r} is expected" for reach, word in
               ((2**0.5, "holds"), (0.8, "undecided"), (0.5, "undecided"))},
            honest(result="'undecided'"): "'holds' is expected",
            honest(result="my_rule.judge(mean_of(gap)).verdict"): "'does not hold' is expected",
        },
        alike={honest(bound="'0'"): "a number is expected", honest(bound="0.01"): "the bound is"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("proof", proofs("08", CASES))
def test_every_answer_gets_its_verdict(proof):
    proof()

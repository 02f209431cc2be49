"""The exercises of notebook 08: two kinds of luck, paired answers, rules that can fail."""

import hashlib

import torch
from scipy.stats import binom, binomtest, chi2
from torch import Tensor

from mnist_lab.exercises.cases import draw, rand, randint, randperm
from mnist_lab.exercises.checks import as_number, by_example, expect_kind, refuse
from mnist_lab.exercises.question import exercise
from mnist_lab.studies.rules import FAILS, HOLDS, UNDECIDED, Rule, compare


@exercise("Both kinds of luck")
def both_kinds_of_luck(standard_error):
    def of(runs=lambda seeds, _: seeds, digits=_of_writers, deviation=lambda a: a.std()):
        def error(right, writers, draws):
            accuracies = []
            for seeds, people in draws:
                rows = right[runs(seeds, len(right))]
                accuracies.append(rows[:, digits(writers, people)].double().mean())
            return deviation(torch.stack(accuracies))

        return error

    of_mean = "it is divided by the root of the draws: take their scatter as it is."
    slips = (
        (of(runs=lambda _, count: torch.arange(count)), "the drawn runs are not used."),
        (of(digits=lambda writers, _: torch.arange(len(writers))), "the writers are not used."),
        (of(runs=lambda seeds, _: seeds.unique()), "a run that is drawn twice counts twice."),
        (of(digits=_once), "a writer who is drawn twice counts twice."),
        (of(deviation=lambda a: a.std(correction=0)), "a sample asks for the divisor n − 1."),
        (of(deviation=lambda a: a.var()), "it is the variance; its square root is expected."),
        (of(deviation=lambda a: a.std() / len(a) ** 0.5), of_mean),
        (of(deviation=lambda a: 100 * a.std()), "a fraction is expected, not points."),
        (of(deviation=lambda a: a.mean()), "it is the mean of the draws; how do they scatter?"),
        (_of_single_writers, "writers with more digits count more: take all digits together."),
    )
    by_example("standard_error", standard_error, of(), [_luck() for _ in range(4)], slips)


def _of_writers(writers: Tensor, people: Tensor) -> Tensor:
    """The places of all digits of these writers; of one drawn twice, twice."""
    return torch.cat([(writers == name).nonzero().flatten() for name in people])


def _once(writers: Tensor, people: Tensor) -> Tensor:
    return torch.isin(writers, people).nonzero().flatten()


def _of_single_writers(right: Tensor, writers: Tensor, draws: list) -> Tensor:
    means = [
        torch.stack([right[seeds][:, writers == name].double().mean() for name in people]).mean()
        for seeds, people in draws
    ]
    return torch.stack(means).std()


def _luck() -> tuple[Tensor, Tensor, list[tuple[Tensor, Tensor]]]:
    """Answers of runs and writers who differ, and draws of both."""
    runs, people = draw.randint(4, 6), 9
    sizes = torch.arange(2, 2 + people)[randperm(people)]
    place = torch.arange(people).repeat_interleave(sizes)[randperm(int(sizes.sum()))]
    names = torch.arange(100, 1_000, 100)[randperm(people)]
    skill = 0.2 + 0.05 * sizes[place] + 0.2 * torch.arange(runs)[:, None] / runs
    draws = [(randint(0, runs, runs), names[randint(0, people, people)]) for _ in range(12)]
    return rand(*skill.shape) < skill, names[place], draws


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


@exercise("A rule with a way out")
def a_rule_with_a_way_out(judge_figure):
    def right(figure, low, high, width, wide=UNDECIDED, inside="consistent with"):
        if figure < low or high < figure:
            return FAILS
        return wide if high - low > width else inside

    def width_first(*case):
        return UNDECIDED if case[2] - case[1] > case[3] else right(*case)

    slips = (
        (width_first, "however wide an interval is, a figure outside of it is denied."),
        (lambda *case: right(*case, inside=HOLDS), "a figure that could be does not hold yet."),
        (lambda *case: right(*case, wide="consistent with"), "a wide interval decides nothing."),
        (lambda *case: right(*case, wide=HOLDS), "a wide interval decides nothing."),
        (lambda *case: right(*case, wide=FAILS), "a figure inside of it could be, however wide."),
    )
    cases = [_figure(*kind) for kind in draw.sample(KINDS, len(KINDS))]
    by_example("judge_figure", judge_figure, right, cases, slips)


KINDS = [(place, wide) for place in (-1, 0, 1) for wide in (False, True)]


def _figure(place: int, wide: bool) -> tuple[float, float, float, float]:
    """A figure below, in or above an interval, and the width from which that is too wide."""
    half, middle = draw.uniform(0.002, 0.01), draw.uniform(0.95, 0.98)
    width = 2 * half * (draw.uniform(0.3, 0.7) if wide else draw.uniform(1.4, 2))
    away = draw.uniform(-0.6, 0.6) if place == 0 else place * draw.uniform(1.5, 3)
    return middle + away * half, middle - half, middle + half, width


@exercise("The rule first")
def the_rule_first(my_rule, my_fingerprint, my_verdict):
    expect_kind(my_rule, Rule, "`my_rule`", "a `Rule`")
    better = '"better" means that the difference lies on one side of a bound: the kind is "above".'
    refuse((my_rule.kind != "above", better), (my_rule.bound is None, "the rule has no `bound`."))
    bound = as_number(my_rule.bound, "the bound")
    refuse(
        (bound < 0, f"with the bound {bound:g} a network that reads fewer could be better."),
        (not bound < 0.01, f"the bound is {bound:g}; below 0.01, a point, it has to be."),
        (my_rule.of is not None, "there is one comparison, not several: leave `of` out."),
        (my_rule.paired, "seeds of two networks are no pairs: leave `paired` out."),
    )
    expect_kind(my_fingerprint, str, "`my_fingerprint`", "a text")
    mark = my_fingerprint.strip().lower()
    changed = "is not that of the rule as it stands: was the rule changed afterwards?"
    refuse(
        (len(mark) != 64, "`my_fingerprint` is no SHA-256: that has 64 signs."),
        (mark == _sha(repr(my_rule)), "the fingerprint is that of `repr(my_rule)`, not of `str`."),
        (mark == _sha(my_rule.quantity), "the fingerprint has to hold the bound, too."),
        (mark == _sha(my_rule.said), "the fingerprint is that of the claim; take the rule's."),
        (mark != _sha(str(my_rule)), f"the fingerprint {changed}"),
    )

    def right(gap, bottleneck, paired=False):
        return my_rule.judge(compare(bottleneck, gap, paired)).verdict

    def by_means(gap, bottleneck):
        above = sum(gap) / len(gap) - sum(bottleneck) / len(bottleneck) > bound
        return HOLDS if above else FAILS

    slips = (
        (lambda gap, bottleneck: right(bottleneck, gap), "the sides are interchanged."),
        (lambda *case: right(*case, paired=True), "seeds of two networks are no pairs."),
        (by_means, "the means alone decide; where is the interval?"),
        (
            lambda gap, bottleneck: my_rule.judge(compare(bottleneck, gap, False)),
            "it is the whole judgement; its `.verdict` is expected.",
        ),
    )
    cases = [_sides(bound, kind) for kind in SITUATIONS]
    by_example("my_verdict", my_verdict, right, cases, slips)


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


SITUATIONS = ("above", "below", "near", "alike", "just", "not quite", "just below")


def _sides(bound: float, kind: str) -> tuple[list[float], list[float]]:
    """Accuracies of runs of two recipes. "alike": seed by seed, so that pairs would decide; else
    the best seeds of one are the worst of the other. "just" and "not quite": an interval that is a
    little wider or narrower than that of 95 % decides otherwise.
    """
    count = draw.randint(7, 9)
    base = [0.985 + 0.001 * (2 * place / (count - 1) - 1) for place in range(count)]
    reach = compare(base, base, False).interval()[1]
    away = {
        "above": 0.01,
        "below": -0.01 - bound,
        "near": 0.0002,
        "alike": 0.0002,
        "just": 1.08 * reach,
        "not quite": 0.95 * reach,
        "just below": -1.08 * reach,
    }[kind]
    gap = [one + bound + away + draw.uniform(-1e-5, 1e-5) for one in base]
    return gap if kind == "alike" else gap[::-1], base

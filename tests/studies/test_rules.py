"""The rules are those that were frozen, print what they decide, and decide what they print."""

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel

from mnist_lab.statistics import prediction_interval, seed_interval, writer_interval
from mnist_lab.studies import rules
from mnist_lab.studies.rules import (
    CONSISTENT,
    FAILS,
    HOLDS,
    UNDECIDED,
    UNMEASURED,
    Estimate,
    Judgement,
    Rule,
    compare,
    crossed,
    holm,
    mean_of,
    one_more,
)
from mnist_lab.validation import UserError

RULES, SEEN = rules.load_rules()
FROZEN = "da9f75abbdcce3e08f103b2d1e0f694550ebdac2a5014fb426e1ce86ab80966b"
SURE = Estimate(0.5, 0.01, 11)


def rule(kind, **more):
    return Rule("SomeNet", "it is so", kind, "what is measured", **more)


def test_the_rules_are_those_that_were_frozen_before_the_runs():
    assert rules.rules_hash() == FROZEN, "who changes a rule changes what the course says of it"
    assert "had been seen" in SEEN


@pytest.mark.parametrize("one", RULES.values(), ids=list(RULES))
def test_every_rule_prints_its_numbers_and_can_both_hold_and_fail(one):
    for number in (one.value, one.bound, one.margin, one.width):
        assert number is None or str(number) in str(one)
    if one.kind in ("above", "below", "within", "beyond"):
        bound = one.margin if one.bound is None else one.bound
        verdicts = {one.judge(Estimate(bound + away, 1e-6, 11)).verdict for away in (-1, -bound, 1)}
        assert {HOLDS, FAILS} <= verdicts


def test_an_estimate_is_what_the_library_says_of_the_same_values():
    values = np.random.default_rng(0).normal(0.99, 0.001, 12)
    other = np.random.default_rng(1).normal(0.9905, 0.002, 12)
    assert mean_of(values).interval() == pytest.approx(seed_interval(values), rel=1e-9)
    assert mean_of(values).interval(4) == pytest.approx(seed_interval(values, 4), rel=1e-9)
    assert one_more(values).interval() == pytest.approx(prediction_interval(values), rel=1e-9)
    for paired, test in ((True, ttest_rel), (False, lambda a, b: ttest_ind(a, b, equal_var=False))):
        oracle, found = test(other, values), compare(values, other, paired)
        assert found.value == pytest.approx(other.mean() - values.mean())
        assert found.interval() == pytest.approx(oracle.confidence_interval())
        assert min(found.p_above(0), found.p_below(0)) == pytest.approx(oracle.pvalue)
    with pytest.raises(UserError, match="two runs"):
        mean_of([0.9])


def test_other_digits_make_one_more_run_less_sure():
    values = [0.99, 0.991, 0.992]
    assert one_more(values, 10_000).error ** 2 == pytest.approx(
        one_more(values).error ** 2 + 2 * 0.991 * 0.009 / 10_000
    )


def test_the_smallest_effect_is_shown_by_four_runs_in_five():
    draws, count = np.random.default_rng(0), 12
    effect = Estimate(0, 1 / np.sqrt(count), count - 1).smallest_effect()
    samples = draws.normal(effect, 1, (4_000, count))
    shown = [mean_of(sample).p_above(0) <= 0.05 for sample in samples]
    assert 0.77 < np.mean(shown) < 0.83


def test_the_crossed_interval_holds_both_kinds_of_luck():
    draws = np.random.default_rng(0)
    writers = np.repeat(np.arange(100), 20)
    hard = draws.beta(0.5, 20, 100)[writers]
    alike = np.repeat(draws.random((1, 2_000)) > hard, 10, axis=0)
    low, high = writer_interval(alike[0], writers)
    # Runs that all answer alike: only the writers are luck.
    assert crossed(alike, writers).error == pytest.approx((high - low) / 3.92, rel=0.1)
    # Runs that are all right or all wrong: only the seeds are.
    whole = np.repeat(np.arange(10) < 9, 2_000).reshape(10, 2_000)
    assert crossed(whole, writers).error == pytest.approx(np.sqrt(0.09 / 10), rel=0.1)
    assert crossed(whole, writers).value == 0.9


@pytest.mark.parametrize(
    ("one", "verdict"),
    [
        (rule("equal", value=7), {7: HOLDS, 6: FAILS}),
        (rule("above", bound=0.4), {SURE: HOLDS, Estimate(0.39, 0.01, 11): UNDECIDED,
                                    Estimate(0.3, 0.01, 11): FAILS}),
        (rule("below", bound=0.4), {SURE: FAILS, Estimate(0.3, 0.01, 11): HOLDS}),
        (rule("within", margin=0.6), {SURE: HOLDS, Estimate(-0.59, 0.01, 11): UNDECIDED,
                                      Estimate(-0.7, 0.01, 11): FAILS}),
        (rule("beyond", margin=0.6), {SURE: FAILS, Estimate(-0.7, 0.01, 11): HOLDS}),
        (rule("count"), {(0.01, 1.0): HOLDS, (0.9, 0.01): FAILS, (0.5, 0.5): UNDECIDED}),
        (rule("figure", value=[0.52], width=0.1), {SURE: CONSISTENT,
                                                   Estimate(0.5, 0.03, 11): UNDECIDED}),
        # However wide: a figure that lies outside is denied.
        (rule("figure", value=[0.9], width=0.1), {Estimate(0.5, 0.1, 11): FAILS}),
    ],
)  # fmt: skip
def test_verdicts(one, verdict):
    for measured, expected in verdict.items():
        assert one.judge(measured).verdict == expected
    assert one.judge().verdict == UNMEASURED


def test_what_chance_has_no_hold_on_is_not_corrected():
    assert rule("above", bound=0.4).judge(0.5) == Judgement(HOLDS)
    assert rule("above", bound=0.4).judge(0.4) == Judgement(FAILS)
    assert rule("none").judge(1) == Judgement(UNMEASURED)
    with pytest.raises(UserError, match="one value, not by 2"):
        rule("above", bound=0.4).judge(0.5, 0.6)


def test_several_cases_are_corrected_for_their_number():
    near, far = Estimate(0.425, 0.01, 100), Estimate(0.3, 0.01, 100)
    alone = rule("above", bound=0.4).judge(near)
    assert alone.verdict == HOLDS
    some = rule("above", bound=0.4, of="any")
    assert some.judge(near, far).p == pytest.approx(2 * alone.p)
    assert some.judge(near, far, far, far, far).verdict == UNDECIDED
    assert some.judge(far, far).verdict == FAILS
    all_of = rule("above", bound=0.4, of="each")
    assert all_of.judge(near, near).p == pytest.approx(alone.p)
    assert all_of.judge(near, far).verdict == FAILS


def test_holm_takes_back_what_chance_may_have_given():
    judged = {
        "sure": Judgement(HOLDS, 0.001),
        "luck": Judgement(FAILS, 0.03),
        "figure": Judgement(FAILS, 0.04, CONSISTENT),
        "counted": Judgement(FAILS),
    }
    assert list(holm(judged).values()) == [HOLDS, UNDECIDED, CONSISTENT, FAILS]
    assert list(holm({"one": Judgement(HOLDS, 0.04)}).values()) == [HOLDS]
    # The second is asked at 5 % over what is left, and what comes after a refusal is refused too.
    assert list(holm({"a": Judgement(HOLDS, 0.02), "b": Judgement(HOLDS, 0.05)}).values()) == [
        HOLDS,
        HOLDS,
    ]
    assert list(holm({"a": Judgement(HOLDS, 0.03), "b": Judgement(HOLDS, 0.04)}).values()) == [
        UNDECIDED,
        UNDECIDED,
    ]

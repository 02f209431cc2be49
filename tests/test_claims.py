"""Verdicts: each interval on its side, each claim decided once, none forgotten."""

import math
from itertools import combinations_with_replacement

import pytest

from mnist_lab.claims import (
    CLAIMS,
    FAILS,
    HOLDS,
    UNDECIDED,
    UNMEASURED,
    VERDICTS,
    Claim,
    Report,
    above,
    all_of,
    any_of,
    below,
    beyond,
    inside,
    rules_table,
    within,
    yes_or_no,
)
from mnist_lab.validation import UserError


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.3, 0.5, HOLDS), (0.1, 0.19, FAILS), (0.1, 0.3, UNDECIDED), (0.2, 0.3, UNDECIDED)],
)
def test_a_bound_is_passed_only_by_the_whole_interval(low, high, verdict):
    assert above(0.2, low, high) == below(-0.2, -high, -low) == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.1, 0.1, HOLDS),
        (-0.05, 0.02, HOLDS),
        (0.11, 0.2, FAILS),
        (-0.2, -0.11, FAILS),
        (0.0, 0.2, UNDECIDED),
        (-0.2, 0.0, UNDECIDED),
        (-0.2, 0.2, UNDECIDED),
    ],
)
def test_a_difference_is_small_only_with_its_whole_interval(low, high, verdict):
    assert within(0.1, low, high) == verdict
    other = {HOLDS: FAILS, FAILS: HOLDS, UNDECIDED: UNDECIDED}
    assert beyond(0.1, low, high) == other[verdict]


def test_a_published_figure_lies_inside_or_not_unless_the_interval_is_too_wide_to_tell():
    assert inside(0.992, 0.991, 0.994) == inside(0.991, 0.991, 0.994) == yes_or_no(True) == HOLDS
    assert inside(0.99, 0.991, 0.994) == inside(0.995, 0.991, 0.994) == yes_or_no(False) == FAILS
    assert inside(0.992, 0.99, 0.9951) == inside(0.9, 0.99, 0.9951) == UNDECIDED
    assert inside(0.992, math.nan, math.nan) == above(0, math.nan, math.nan) == UNDECIDED


@pytest.mark.parametrize(("one", "other"), [*combinations_with_replacement(VERDICTS, 2)])
def test_several_cases_hold_together_or_one_by_one(one, other):
    """What is surer wins: that one holds, or fails; then that nobody measured it."""
    order = [HOLDS, UNMEASURED, UNDECIDED, FAILS]
    for verdicts in ((one, other), (other, one), iter((one, other)), (one, other) * 2):
        assert any_of(verdicts) == min(one, other, key=order.index)
    order = [FAILS, UNMEASURED, UNDECIDED, HOLDS]
    for verdicts in ((one, other), (other, one)):
        assert all_of(verdicts) == min(one, other, key=order.index)


@pytest.mark.parametrize("together", [any_of, all_of])
def test_no_case_is_unmeasured_and_no_other_word_is_taken(together):
    assert together([]) == UNMEASURED
    with pytest.raises(ValueError, match="'maybe'"):
        together([HOLDS, FAILS, "maybe"])


def test_every_claim_has_a_network_and_a_rule_and_is_in_the_table_of_rules():
    assert len(CLAIMS) == 40
    assert CLAIMS["gap parameters"] == Claim(
        "GapNet", "13,808 parameters, fewer than 20,000", "counted: exactly that"
    )
    assert all(part for claim in CLAIMS.values() for part in (claim.said, claim.rule))
    assert {claim.network for claim in CLAIMS.values()} == {"GapNet", "BottleneckNet", "both"}
    rows = rules_table().splitlines()[2:]
    assert [row.split(" | ") for row in rows] == [
        [f"| {claim.network}", claim.said, f"{claim.rule} |"] for claim in CLAIMS.values()
    ]
    assert len(set(rows)) == len(CLAIMS)


def test_a_report_shows_each_verdict_and_counts_them(capsys):
    report, (first, *others) = Report(), CLAIMS
    assert report.open() == [*CLAIMS]
    for name in others:
        report.decide(name, UNDECIDED, "1 ms")
    with pytest.raises(UserError, match=rf"^no verdict yet: {first}\.$"):
        report.table()
    report.decide(first, HOLDS, "18 layers")
    report.decide(first, FAILS, "19 layers")  # its cell was run again
    assert report.open() == [] and report.rows[first] == (FAILS, "19 layers")
    assert report.table().splitlines()[2:] == [
        f"| {claim.network} | {claim.said} | "
        + ("19 layers | **does not hold** |" if name == first else "1 ms | **undecided** |")
        for name, claim in CLAIMS.items()
    ]
    assert report.counts() == {HOLDS: 0, FAILS: 1, UNDECIDED: len(others), UNMEASURED: 0}
    printed = capsys.readouterr().out
    assert all(len(line) <= 58 for line in printed.splitlines())
    assert f"HOLDS: {CLAIMS[first].said} measured: 18 layers" in " ".join(printed.split())


def test_no_claim_and_no_verdict_is_invented():
    report = Report()
    with pytest.raises(UserError, match=r"^name must be one of .*, not 'slow'\.$"):
        report.decide("slow", HOLDS, "9 ms")
    with pytest.raises(UserError, match=r"^verdict must be one of holds, .*, not 'HOLDS'\.$"):
        report.decide(next(iter(CLAIMS)), "HOLDS", "18 layers")
    assert report.rows == {}

"""Verdicts: each interval on its side, each claim decided once, none forgotten."""

import math

import pytest

from mnist_lab import claims
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


@pytest.mark.parametrize(
    ("pair", "any_holds", "all_hold"),
    [
        ((HOLDS, HOLDS), HOLDS, HOLDS),
        ((HOLDS, FAILS), HOLDS, FAILS),
        ((HOLDS, UNDECIDED), HOLDS, UNDECIDED),
        ((HOLDS, UNMEASURED), HOLDS, UNMEASURED),
        ((FAILS, FAILS), FAILS, FAILS),
        ((FAILS, UNDECIDED), UNDECIDED, FAILS),
        ((FAILS, UNMEASURED), UNMEASURED, FAILS),
        ((UNDECIDED, UNDECIDED), UNDECIDED, UNDECIDED),
        ((UNDECIDED, UNMEASURED), UNMEASURED, UNMEASURED),
        ((UNMEASURED, UNMEASURED), UNMEASURED, UNMEASURED),
    ],
)
def test_several_cases_hold_together_or_one_by_one(pair, any_holds, all_hold):
    for verdicts in (pair, pair[::-1], iter(pair), pair * 2):
        assert any_of(verdicts) == any_holds
    for verdicts in (pair, pair[::-1], iter(pair), pair * 2):
        assert all_of(verdicts) == all_hold


@pytest.mark.parametrize("together", [any_of, all_of])
def test_one_case_is_its_own_verdict_none_is_unmeasured_and_no_other_word_is_taken(together):
    assert [together([verdict]) for verdict in VERDICTS] == list(VERDICTS)
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


@pytest.fixture
def two(monkeypatch):
    chosen = {name: CLAIMS[name] for name in ("table", "fast")}
    monkeypatch.setattr(claims, "CLAIMS", chosen)
    return chosen


def test_a_report_shows_each_verdict_and_counts_them(two, capsys):
    report = Report()
    assert report.open() == ["table", "fast"]
    report.decide("fast", UNDECIDED, "1 ms")
    assert report.open() == ["table"]
    with pytest.raises(UserError, match=r"^no verdict yet: table\.$"):
        report.table()
    report.decide("table", HOLDS, "18 layers")
    assert report.table().splitlines()[2:] == [
        f"| BottleneckNet | {two['table'].said} | 18 layers | **holds** |",
        f"| BottleneckNet | {two['fast'].said} | 1 ms | **undecided** |",
    ]
    assert report.counts() == {HOLDS: 1, FAILS: 0, UNDECIDED: 1, UNMEASURED: 0}
    printed = capsys.readouterr().out
    assert all(len(line) <= 58 for line in printed.splitlines())
    assert f"UNDECIDED: {two['fast'].said} measured: 1 ms" in " ".join(printed.split())


def test_a_verdict_can_be_replaced_but_no_claim_invented(two):
    report = Report()
    report.decide("fast", HOLDS, "1 ms")
    report.decide("fast", FAILS, "9 ms")  # its cell was run again
    with pytest.raises(UserError, match=r"^name must be one of table, fast, not 'slow'\.$"):
        report.decide("slow", HOLDS, "9 ms")
    with pytest.raises(UserError, match=r"^verdict must be one of holds, .*, not 'HOLDS'\.$"):
        report.decide("table", "HOLDS", "18 layers")
    assert report.rows == {"fast": (FAILS, "9 ms")}

"""Every claim that was published about the two networks, and the rule that decides about it.

The claims stand in `claims.toml`, quoted in our words from two public project descriptions, each of
one run, without seeds or intervals. Notebook 08 measures, and a `Report` sees to it that none is
forgotten. When the rules got this form, the accuracies of most seeds of the random split had been
seen, and that such a run falls by up to 0.23 points from one epoch to the next; the runs as
published, the short runs, the unseen writers and the corruptions had not. Five runs as published
were too few for the rules to decide about 99.58 %: five more were made, and all ten count.
"""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

from mnist_lab.validation import UserError, check, one_of

HOLDS, FAILS, UNDECIDED, UNMEASURED = "holds", "does not hold", "undecided", "not measured"
VERDICTS = (HOLDS, FAILS, UNDECIDED, UNMEASURED)
INDENT, COLUMNS = "    ", 58  # a page of JupyterLab holds so many in a window of 900 pixels
NOISE = 0.001  # a difference of 0.1 points is what the course calls noise
WIDE = 0.005  # an interval of more than half a point decides nothing about a single figure


@dataclass(frozen=True)
class Claim:
    """What was said of a network, or of both, and when it holds."""

    network: str
    said: str
    rule: str


TABLE = Path(__file__).with_name("claims.toml").read_text(encoding="utf-8")
CLAIMS = {name: Claim(**claim) for name, claim in tomllib.loads(TABLE).items()}


class Report:
    """The verdicts, in the order in which they fall."""

    def __init__(self):
        self.rows: dict[str, tuple[str, str]] = {}

    def decide(self, name: str, verdict: str, measured: str) -> None:
        """Write a verdict down and print it; a cell that is run again replaces its own."""
        verdict = check("verdict", verdict, one_of(*VERDICTS))
        self.rows[check("name", name, one_of(*CLAIMS))] = verdict, measured
        said = f"{verdict.upper()}: {CLAIMS[name].said}"
        for text, first in ((said, ""), (f"measured: {measured}", INDENT)):
            print(fill(text, COLUMNS, initial_indent=first, subsequent_indent=INDENT))

    def open(self) -> list[str]:
        """The claims without a verdict."""
        return [name for name in CLAIMS if name not in self.rows]

    def table(self) -> str:
        """A Markdown table: a row for each claim. Raises `UserError` if one has no verdict."""
        if self.open():
            raise UserError(f"no verdict yet: {', '.join(self.open())}.")
        lines = ["| network | claim | measured | verdict |", "|---|---|---|---|"]
        for name, claim in CLAIMS.items():
            verdict, measured = self.rows[name]
            lines.append(f"| {claim.network} | {claim.said} | {measured} | **{verdict}** |")
        return "\n".join(lines)

    def counts(self) -> dict[str, int]:
        """How many claims have each verdict."""
        found = [verdict for verdict, _ in self.rows.values()]
        return {verdict: found.count(verdict) for verdict in VERDICTS}


def yes_or_no(holds: bool) -> str:
    """The verdict where nothing is left to chance."""
    return HOLDS if holds else FAILS


def above(bound: float, low: float, high: float) -> str:
    """Whether a quantity is above a bound: only its whole interval can say so, or deny it."""
    return HOLDS if low > bound else FAILS if high < bound else UNDECIDED


def below(bound: float, low: float, high: float) -> str:
    """`above`, the other way round."""
    return above(-bound, -high, -low)


def within(bound: float, low: float, high: float) -> str:
    """Whether a difference is between −bound and bound, from its interval."""
    if -bound <= low and high <= bound:
        return HOLDS
    return FAILS if high < -bound or low > bound else UNDECIDED


def beyond(bound: float, low: float, high: float) -> str:
    """Whether a difference is larger than a bound in either direction: `within`, denied."""
    return {HOLDS: FAILS, FAILS: HOLDS, UNDECIDED: UNDECIDED}[within(bound, low, high)]


def inside(value: float, low: float, high: float) -> str:
    """Whether a published figure lies in an interval, if that is narrow enough to tell."""
    return yes_or_no(low <= value <= high) if high - low <= WIDE else UNDECIDED


def any_of(verdicts: Iterable[str]) -> str:
    """Whether one of several holds: surely not only if each was measured and does not."""
    order = [HOLDS, UNMEASURED, UNDECIDED, FAILS]
    return min(verdicts, key=order.index, default=UNMEASURED)


def all_of(verdicts: Iterable[str]) -> str:
    """Whether each of several holds: surely so only if each was measured and does."""
    order = [FAILS, UNMEASURED, UNDECIDED, HOLDS]
    return min(verdicts, key=order.index, default=UNMEASURED)


def rules_table() -> str:
    """A Markdown table of the claims and their rules, to be read before any figure."""
    rows = ["| network | claim | it holds if |", "|---|---|---|"]
    rows += [f"| {claim.network} | {claim.said} | {claim.rule} |" for claim in CLAIMS.values()]
    return "\n".join(rows)

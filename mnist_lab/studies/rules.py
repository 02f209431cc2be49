"""The rules of `rules.toml`: each prints itself and gives a verdict on what was measured.

Five verdicts: a claim *holds*, *does not hold*, is *undecided* (chance alone could turn it), is
*consistent with* our runs (a single published figure that one more run could give), or was *not
measured*. A wide interval can keep a claim from holding, never from failing. Chance verdicts are
corrected together, by Holm (www.jstor.org/stable/4615733).
"""

import hashlib
import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import pearsonr, t

from mnist_lab.validation import UserError

HOLDS, FAILS, CONSISTENT = "holds", "does not hold", "consistent with"
UNDECIDED, UNMEASURED = "undecided", "not measured"
LEVEL = 0.05
FILE = Path(__file__).with_name("rules.toml")


class Estimate(NamedTuple):
    """A measured quantity, its standard error, and the degrees of freedom of Student's t.

    Without an error it is a count, on which chance has no hold.
    """

    value: float
    error: float = 0.0
    df: float = math.inf

    def interval(self, cases: int = 1) -> tuple[float, float]:
        """95 %; of several `cases` all are right with 95 % (Bonferroni)."""
        reach = self.error * t.isf(LEVEL / 2 / cases, self.df)
        return self.value - reach, self.value + reach

    def p_above(self, bound: float) -> float:
        """Two-sided: how likely a value so far above the bound is if it were the true one."""
        if self.error == 0:
            return float(self.value <= bound)
        return min(1.0, 2 * float(t.sf((self.value - bound) / self.error, self.df)))

    def p_below(self, bound: float) -> float:
        """`p_above`, the other way round."""
        return Estimate(-self.value, self.error, self.df).p_above(-bound)

    def smallest_effect(self, cases: int = 1) -> float:
        """The true distance from a bound that such runs show in four of five attempts."""
        return self.error * float(t.isf(LEVEL / 2 / cases, self.df) + t.isf(0.2, self.df))


def mean_of(values: Sequence[float]) -> Estimate:
    """The mean over seeds: two runs or more."""
    values = np.asarray(values, float)
    if len(values) < 2:
        raise UserError("a mean with an interval needs two runs or more.")
    return Estimate(
        float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values)), len(values) - 1
    )


def one_more(values: Sequence[float], digits: int = 0) -> Estimate:
    """Where one more run would lie; with `digits`, one that reads so many others."""
    mean = mean_of(values)
    scatter = mean.error**2 * (len(values) + 1)
    chance = 2 * mean.value * (1 - mean.value) / digits if digits else 0.0
    return Estimate(mean.value, math.sqrt(scatter + chance), mean.df)


def compare(a: Sequence[float], b: Sequence[float], paired: bool) -> Estimate:
    """How much larger b is than a: by the differences of each seed, else Welch's."""
    if paired:
        return mean_of(np.subtract(b, a))
    (mean_a, error_a, df_a), (mean_b, error_b, df_b) = mean_of(a), mean_of(b)
    both = error_a**2 + error_b**2
    if both == 0:
        return Estimate(mean_b - mean_a, 0.0, df_a + df_b)
    df = both**2 / (error_a**4 / df_a + error_b**4 / df_b)
    return Estimate(mean_b - mean_a, math.sqrt(both), df)


def correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Of the seeds of two sides: pairing helps where it is well above 0."""
    return float(pearsonr(a, b).statistic)


def crossed(right: np.ndarray, writers: np.ndarray, draws: int = 2_000) -> Estimate:
    """The mean of answers `[R, N]` (right or not) over R seeds and the writers `[N]` of the digits.

    Seeds and writers are drawn anew, each for itself (Owen's pigeonhole bootstrap,
    arXiv:0712.1111); the error is the scatter of the means. It counts what only seed and writer
    together decide three times, and so is rather too wide.
    """
    right, random = np.asarray(right, float), np.random.default_rng(0)
    _, writer, digits = np.unique(writers, return_inverse=True, return_counts=True)
    sums = np.stack([np.bincount(writer, row) for row in right])  # right answers, [R, writers]
    means = []
    for _ in range(draws):
        seeds = random.integers(len(sums), size=len(sums))
        people = random.integers(len(digits), size=len(digits))
        means.append(sums[seeds][:, people].mean(0).sum() / digits[people].sum())
    return Estimate(float(right.mean()), float(np.std(means, ddof=1)), len(right) - 1)


class Judgement(NamedTuple):
    """A verdict, how likely chance alone would have given it (None where there is no chance), and
    what remains of it when so many verdicts are asked for that chance may well have given it.
    """

    verdict: str
    p: float | None = None
    otherwise: str = UNDECIDED


@dataclass(frozen=True)
class Rule:
    """A published claim, and when it holds: one object prints this and decides it."""

    network: str
    said: str
    kind: str
    quantity: str
    value: float | list | None = None  # equal, figure
    bound: float | None = None  # above, below
    margin: float | None = None  # within, beyond
    width: float | None = None  # figure: a wider interval decides nothing but "does not hold"
    of: str | None = None  # of several cases "each" or "any" must do so
    paired: bool = False  # the two sides' seeds are pairs; else Welch's comparison

    def __str__(self) -> str:
        how = {"each": " (each of them)", "any": " (any of them)", None: ""}[self.of]
        said = {
            "equal": f"is {self.value}",
            "above": f"is above {self.bound}",
            "below": f"is below {self.bound}",
            "within": f"is between −{self.margin} and {self.margin}",
            "beyond": f"is below −{self.margin} or above {self.margin}",
            "figure": f"could be {self.value} (undecided from a width of {self.width} on)",
            "count": f"p ≤ {LEVEL}",
            "none": "not measured",
        }[self.kind]
        return f"{self.quantity} {said}{how}" if self.kind != "none" else self.quantity

    def judge(self, *measured) -> Judgement:
        """The verdict on one measured value or `Estimate`, or on one for each case.

        A rule of the kind "equal" takes the value itself, one of the kind "count" two chances: that
        of such a result if the claim were not true, and if its opposite were not. Nothing measured
        is "not measured". Raises `UserError` for several values where the rule names no cases.
        """
        if not measured or self.kind == "none":
            return Judgement(UNMEASURED)
        if self.kind == "equal":
            return Judgement(HOLDS if measured[0] == self.value else FAILS)
        cases = [case if isinstance(case, tuple) else Estimate(case) for case in measured]
        if self.of is None and self.kind != "figure" and len(cases) > 1:
            raise UserError(f"{self.said!r} is decided by one value, not by {len(cases)}.")
        if self.kind == "figure":
            return self._figure(cases)
        holds, fails = zip(*(self._chances(case) for case in cases))
        p_holds, p_fails = self._together(holds, fails)
        if all(isinstance(case, Estimate) and case.error == 0 for case in cases):
            return Judgement(HOLDS if p_holds == 0 else FAILS)
        verdict = HOLDS if p_holds <= LEVEL else FAILS if p_fails <= LEVEL else UNDECIDED
        return Judgement(verdict, min(p_holds, p_fails))

    def _chances(self, case) -> tuple[float, float]:
        """How likely chance alone makes the claim seem to hold, and seem not to."""
        if self.kind == "count":
            return case
        if self.kind == "above":
            return case.p_above(self.bound), case.p_below(self.bound)
        if self.kind == "below":
            return case.p_below(self.bound), case.p_above(self.bound)
        inside = max(case.p_above(-self.margin), case.p_below(self.margin))
        outside = min(case.p_below(-self.margin), case.p_above(self.margin))
        return (inside, outside) if self.kind == "within" else (outside, inside)

    def _together(self, holds: Sequence[float], fails: Sequence[float]) -> tuple[float, float]:
        """One case of several can be luck (Bonferroni); all are as sure as the least sure one."""
        count = len(holds)
        if self.of == "any":
            return min(1.0, count * min(holds)), max(fails)
        return max(holds), min(1.0, count * min(fails))

    def _figure(self, runs: Sequence[Estimate]) -> Judgement:
        chances = [
            min(run.p_above(value), run.p_below(value)) for run, value in zip(runs, self.value)
        ]
        p = min(1.0, len(chances) * min(chances))
        ends = [run.interval(len(runs)) for run in runs]
        narrow = all(high - low <= self.width for low, high in ends)
        otherwise = CONSISTENT if narrow else UNDECIDED
        return Judgement(FAILS if p <= LEVEL else otherwise, p, otherwise)


def holm(judged: dict[str, Judgement]) -> dict[str, str]:
    """The verdicts that remain if all that chance had a hold on are corrected together."""
    chancy = sorted((one.p, name) for name, one in judged.items() if one.p is not None)
    verdicts, adjusted = {name: one.verdict for name, one in judged.items()}, 0.0
    for place, (p, name) in enumerate(chancy):
        adjusted = max(adjusted, p * (len(chancy) - place))
        if adjusted > LEVEL and verdicts[name] in (HOLDS, FAILS):
            verdicts[name] = judged[name].otherwise
    return verdicts


def load_rules() -> tuple[dict[str, Rule], str]:
    """The rules by their names, and what had been seen when they were written."""
    table = tomllib.loads(FILE.read_text(encoding="utf-8"))
    seen = table.pop("seen")
    return {name: Rule(**rule) for name, rule in table.items()}, seen.strip()


def rules_hash() -> str:
    """SHA-256 of the file of rules, whatever line ends it was checked out with."""
    return hashlib.sha256(FILE.read_bytes().replace(b"\r\n", b"\n")).hexdigest()

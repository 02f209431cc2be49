"""Every claim that was published about the two networks, and the rule that decides about it.

The claims are quoted in our words from two public project descriptions, each of one run, without
seeds or intervals. The rules were written down before the figures were looked at. Notebook 07
measures, and a `Report` holds it to the rules: no claim is decided twice, and none is forgotten.
"""

from collections import Counter
from dataclasses import dataclass

HOLDS, FAILS, UNDECIDED, UNMEASURED = "holds", "does not hold", "undecided", "not measured"
NOISE = 0.001  # a difference of 0.1 points is what the course calls noise


@dataclass(frozen=True)
class Claim:
    """What was said of a network, and when it holds."""

    network: str
    said: str
    rule: str


def _gap(said: str, rule: str) -> Claim:
    return Claim("GapNet", said, rule)


def _bottleneck(said: str, rule: str) -> Claim:
    return Claim("BottleneckNet", said, rule)


EXACT = "counted from the modules: exactly that"
ONE_MORE = "it lies where one more run of ours would, with 95 %"
CLEARLY = "the 95 % interval over seeds lies wholly on this side"
SHORT = "in short runs, the 95 % interval of the paired difference lies wholly on this side"

CLAIMS: dict[str, Claim] = {
    # The GAP network
    "gap parameters": _gap("13,808 parameters, fewer than 20,000", EXACT),
    "gap table": _gap("28 layers; 1.06 + 0.05 MB, 1.12 MB in all", "torchsummary says the same"),
    "gap epochs": _gap("19 epochs, fewer than 20", "the recipe says the same"),
    "gap norm": _gap("batch norm after every convolution", "each has one before the next"),
    "gap dropout": _gap("dropout throughout the network", "each convolution has one behind it"),
    "gap parts": _gap(
        "a 1×1 convolution makes the transition, max pooling the maps smaller",
        "the 1×1 has fewer channels behind it, and the pooling halves the maps",
    ),
    "gap head": _gap(
        "global average pooling makes a compact head",
        "no linear layer, and fewer parameters than one on the same maps would have",
    ),
    "gap 99.4": _gap("at least 99.4 % on validation", f"last epoch: {CLEARLY}"),
    "gap 99.39": _gap("99.39 % on validation at best", f"best epoch: {ONE_MORE}"),
    "gap satisfied": _gap("99.39 % satisfies at least 99.4 %", "arithmetic"),
    "gap test": _gap(
        "the best validation accuracy stands for test accuracy",
        "their mean difference is within 0.05 points, its 95 % interval too",
    ),
    # The bottleneck network: its form
    "parameters": _bottleneck("16,426 parameters", EXACT),
    "table": _bottleneck("18 layers; 0.06 MB, 0.46 MB in all", "torchsummary says the same"),
    "norm": _bottleneck("batch norm after each convolution", "each has one before the next"),
    "head": _bottleneck("a head of 3,010 parameters; most are in convolutions", EXACT),
    "input": _bottleneck("only 28×28 pixels can be read", "an image of 32×32 is an error"),
    "normalisation": _bottleneck(
        "pixels have mean 0.1407 and deviation 0.4081", "computed from the training digits"
    ),
    # Its accuracy
    "99.58": _bottleneck(
        "99.58 % on test, at the end", f"all 60,000 train, last epoch: {ONE_MORE}"
    ),
    "59,751": _bottleneck("59,751 of 60,000 test digits", "there are 60,000 test digits"),
    "state of the art": _bottleneck("state of the art", "no higher figure was published before"),
    "trajectory": _bottleneck(
        "97.01 % after epoch 1, 99.09 % after 10, 99.30 % after 15", f"for each: {ONE_MORE}"
    ),
    "epoch 8": _bottleneck("above 99 % by epoch 8", f"mean after epoch 8: {CLEARLY}"),
    "step": _bottleneck("the accuracy steps up when the rate steps down", f"16 over 15: {CLEARLY}"),
    "stable": _bottleneck(
        "training is stable",
        "from epoch 8 on, no run falls by more than 0.1 points from one epoch to the next",
    ),
    # What its parts do
    "accelerates": _bottleneck("batch norm accelerates training", f"after epoch 1: {SHORT}"),
    "stabilises": _bottleneck(
        "batch norm stabilises training",
        "of all runs at all rates, more end above 90 % with it than without it",
    ),
    "higher rates": _bottleneck(
        "batch norm allows higher rates",
        "the highest rate at which every run ends above 90 % is higher with it",
    ),
    "norm costs": _bottleneck("batch norm costs time", "an epoch without it is shorter, all seeds"),
    "small batches": _bottleneck(
        "small batches may fail because of batch norm",
        "with batches of 2, " + SHORT + ": worse with it than without",
    ),
    "dropout": _bottleneck(
        "dropout before the last layer costs no accuracy",
        "against none: the whole interval is above −0.1 points",
    ),
    "overfitting": _bottleneck(
        "dropout before the last layer prevents overfitting", f"against none: {SHORT}: better"
    ),
    "dropout only at the end": _bottleneck(
        "dropout only at the end is a weakness", f"throughout against at the end: {SHORT}: better"
    ),
    "fewer": _bottleneck("the bottleneck saves parameters", "counted against a direct 3×3"),
    "same performance": _bottleneck(
        "the bottleneck performs like a direct 3×3",
        "the whole interval is within ±0.1 points",
    ),
    "too deep": _bottleneck(
        "seven convolutions are perhaps too many",
        "one can go: the whole interval is above −0.1 points",
    ),
    "step and gamma": _bottleneck(
        "step and gamma need careful tuning",
        "at the published rate, the worst pair loses more than 0.1 points, with 95 %",
    ),
    "adam": _bottleneck(
        "it depends on Adam's exact settings",
        "other betas or weight decay change more than 0.1 points, with 95 %",
    ),
    # Its use
    "fast": _bottleneck(
        "fast because it is small", "of the two networks, the one with fewer parameters is faster"
    ),
    "diverse": _bottleneck(
        "limited robustness to diverse images",
        "in the middle of five strengths, more than half of our corruptions cost a point",
    ),
    "harder": _bottleneck("may not carry over to harder images", "below 99 % on Fashion-MNIST"),
}


class Report:
    """The verdicts, in the order in which they fall."""

    def __init__(self):
        self.rows: dict[str, tuple[str, str]] = {}

    def decide(self, name: str, verdict: str, measured: str) -> None:
        """Write a verdict down and print it. Raises `ValueError` for a claim that nobody made, or
        that has its verdict."""
        if name not in CLAIMS:
            raise ValueError(f"nobody claimed {name!r}: see CLAIMS.")
        if name in self.rows:
            raise ValueError(f"{name!r} has its verdict already: {self.rows[name][0]}.")
        self.rows[name] = verdict, measured
        print(f"{CLAIMS[name].said}: {verdict.upper()}\n    measured: {measured}")

    def open(self) -> list[str]:
        """The claims without a verdict."""
        return [name for name in CLAIMS if name not in self.rows]

    def table(self) -> str:
        """A Markdown table: a row for each claim. Raises `ValueError` if one has no verdict."""
        if self.open():
            raise ValueError(f"no verdict yet: {', '.join(self.open())}.")
        rows = ["| network | claim | measured here | verdict |", "|---|---|---|---|"]
        for name, claim in CLAIMS.items():
            verdict, measured = self.rows[name]
            rows.append(f"| {claim.network} | {claim.said} | {measured} | **{verdict}** |")
        return "\n".join(rows)

    def counts(self) -> dict[str, int]:
        """How many claims have each verdict."""
        found = Counter(verdict for verdict, _ in self.rows.values())
        return {verdict: found[verdict] for verdict in (HOLDS, FAILS, UNDECIDED, UNMEASURED)}


def yes_or_no(holds: bool) -> str:
    """The verdict where nothing is left to chance."""
    return HOLDS if holds else FAILS


def above(bound: float, low: float, high: float) -> str:
    """Whether a quantity is above a bound, from its interval."""
    return HOLDS if low > bound else FAILS if high < bound else UNDECIDED


def within(bound: float, low: float, high: float) -> str:
    """Whether a difference is between −bound and bound, from its interval."""
    if -bound <= low and high <= bound:
        return HOLDS
    return FAILS if high < -bound or low > bound else UNDECIDED


def beyond(bound: float, low: float, high: float) -> str:
    """Whether a difference is larger than a bound in either direction: `within` the other way."""
    return {HOLDS: FAILS, FAILS: HOLDS, UNDECIDED: UNDECIDED}[within(bound, low, high)]


def inside(value: float, low: float, high: float) -> str:
    """Whether a published figure lies in an interval."""
    return yes_or_no(low <= value <= high)


def rules_table() -> str:
    """A Markdown table of the claims and their rules, to be read before any figure."""
    rows = ["| network | claim | it holds if |", "|---|---|---|"]
    rows += [f"| {claim.network} | {claim.said} | {claim.rule} |" for claim in CLAIMS.values()]
    return "\n".join(rows)

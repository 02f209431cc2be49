"""What was measured for each of the rules, and what they decide, all corrected together.

A notebook adds what only it can measure, and asks for its rows:

    found = verdicts.form() | verdicts.from_records(writers)  # who wrote the validation digits
    found["norm costs"] = verdicts.Measured((mean_of(ratios),), unit="")
    rows = verdicts.judge(found)  # {name: Row(rule, measured, judged, verdict)} in the file's order
    Markdown(verdicts.table({name: rows[name] for name in names}))

`form()` counts, `from_records()` reads what is published in `mnist_lab/published`. The rest is for
the notebooks: "normalisation" and "input" (08), "norm costs" and "fast" (09), and "diverse", which
`corruptions()` makes of answers (09). What is not handed in is "not measured", and so is what lacks
one of the seeds that its rule asks for. A question counts in the correction, measured or not.

Short runs of the seeds 0 to 2 (of some studies to 4) had been seen when the rules were frozen. Runs
of further seeds were made after that, because the rules ask for seeds 0 to 11 of each side.

What the file of rules leaves open is settled here. On validation digits, "as published" are the
runs of `full_ablations`, which keep their answers; the commit that froze the rules still meant the
training records. (On one processor both are the same runs.) In a comparison a run that diverged
counts as chance does.
"""

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.stats import fisher_exact
from torch import nn
from torchsummary import summary

from mnist_lab.data import load_writers
from mnist_lab.layers import count_parameters, list_layers
from mnist_lab.networks import BottleneckNet, GapNet
from mnist_lab.recipes import NETWORKS
from mnist_lab.records import (
    correct_answers,
    load_published,
    load_records,
    runs_of,
    select_runs,
)
from mnist_lab.statistics import writer_difference
from mnist_lab.studies import full_ablations, rules
from mnist_lab.studies.rules import (
    FAILS,
    HOLDS,
    UNMEASURED,
    Estimate,
    Judgement,
    Rule,
    compare,
    correlation,
    crossed,
    mean_of,
    one_more,
)
from mnist_lab.validation import UserError

SEEDS = range(12)  # of each side, as the rules say
AS_PUBLISHED = range(10)  # of runs on all 60,000: "all ten count here, and no more will"
LATE = 7  # the place of epoch 8, from which on the rules look for falls
CHANCE = {"validation_accuracy": 0.1, "validation_loss": math.log(10)}  # of a run that diverged
HIGHER = 0.9991  # S. An et al., 2020, arXiv:2008.10400: ensembles; whether any is higher is open
UNITS = {  # by what a value is multiplied, its format, and the word behind it
    "%": (100, ".2f", " %"),
    "points": (100, "+.2f", " points"),
    "loss": (1, "+.4f", ""),
    "": (1, ".2f", ""),
}


class Measured(NamedTuple):
    """What decides a rule: a value, `Estimate` or pair of chances for each case, none if it lacks.

    `cases` names them. `unit`: "%" of an accuracy, "points" of a difference of two, else a word.
    `correlations` are those of sides whose seeds are pairs. `note`: a word on what was measured, or
    what is missing.
    """

    values: tuple = ()
    cases: tuple[str, ...] = ()
    unit: str = "points"
    correlations: tuple[float, ...] = ()
    note: str = ""


class Row(NamedTuple):
    """A rule, what was measured for it, its verdict alone, and what the correction leaves of it."""

    rule: Rule
    measured: Measured
    judged: Judgement
    verdict: str


def judge(found: Mapping[str, Measured]) -> dict[str, Row]:
    """A row for each rule. Raises `UserError` for what no rule asks for."""
    asked, _ = rules.load_rules()
    if unknown := found.keys() - asked.keys():
        raise UserError(f"no rule asks for {', '.join(sorted(unknown))}.")
    found = {name: found.get(name, Measured()) for name in asked}
    alone = {name: rule.judge(*found[name].values) for name, rule in asked.items()}
    left = rules.holm({name: _asked(asked[name], judged) for name, judged in alone.items()})
    return {name: Row(asked[name], found[name], alone[name], left[name]) for name in asked}


def _asked(rule: Rule, judged: Judgement) -> Judgement:
    """What is not measured yet is a question, too: as if chance alone had answered it."""
    open_still = judged.verdict == UNMEASURED and rule.kind not in ("equal", "none")
    return judged._replace(p=1.0) if open_still else judged


# What is counted, and what was said


def form() -> dict[str, Measured]:
    """Both networks' forms, and what can be said without a run."""
    gap, bottleneck = GapNet(), BottleneckNet()
    blocks = [part for name, part in gap.named_children() if name.startswith("convblock")]
    parameters = {"Linear": 0, "Conv2d": 0}
    for layer in list_layers(bottleneck):
        parameters[layer.kind] = parameters.get(layer.kind, 0) + layer.parameters
    convolutions, every = parameters["Conv2d"], count_parameters(bottleneck)
    squeezed = count_parameters(bottleneck.conv5) + count_parameters(bottleneck.conv6)
    direct = count_parameters(nn.Conv2d(32, 16, kernel_size=3, padding=1))
    pooled, linear = count_parameters(gap.convblock8), count_parameters(nn.Linear(16 * 6 * 6, 10))
    rows, _, weights, total = torchsummary(bottleneck)
    values = {
        "gap parameters": (count_parameters(gap), ""),
        "gap table": (torchsummary(gap), ""),
        "gap norm": (sum(_holds(block, nn.BatchNorm2d) for block in blocks), "of 8 blocks"),
        "gap dropout": (sum(_holds(block, nn.Dropout, p=0.1) for block in blocks), "of 8 blocks"),
        "gap head": (pooled / linear, f"{pooled:,} of {linear:,} parameters"),
        "parameters": (every, ""),
        "table": ([rows, weights, total], ""),
        "norm": (followed_by(bottleneck, "BatchNorm2d"), "of 7 convolutions"),
        "head": (parameters["Linear"], ""),
        "most": (convolutions / every, f"{convolutions:,} of {every:,} parameters"),
        "fewer": (squeezed / direct, f"{squeezed:,} of {direct:,} parameters"),
        "gap satisfied": (0.9939, ""),
        "gap test": (1, "the best of all epochs"),
        "state of the art": (HIGHER, "S. An et al., 2020"),
    }
    unit = dict.fromkeys(("gap satisfied", "state of the art"), "%")
    return {
        name: Measured((value,), unit=unit.get(name, ""), note=note)
        for name, (value, note) in values.items()
    }


def torchsummary(network: nn.Module) -> list:
    """What its table says: the rows, and the megabytes of maps, of parameters, and of all."""
    with redirect_stdout(io.StringIO()) as text:
        summary(network, (1, 28, 28), device="cpu")
    lines = text.getvalue().splitlines()
    rows = [line for line in lines if re.match(r" *\w+-\d+ ", line)]
    megabytes = [float(line.split()[-1]) for line in lines if "(MB)" in line]
    return [len(rows), *megabytes[1:]]  # the first is the input's


def followed_by(network: nn.Module, kind: str) -> int:
    """How many convolutions have such a layer before the next convolution."""
    kinds = [layer.kind for layer in list_layers(network)]
    starts = [place for place, name in enumerate(kinds) if name == "Conv2d"]
    return sum(kind in kinds[start:end] for start, end in pairwise([*starts, len(kinds)]))


def _holds(block: nn.Module, kind: type[nn.Module], **settings) -> bool:
    return any(
        isinstance(part, kind) and settings.items() <= vars(part).items()
        for part in block.modules()
    )


# What the records hold


def from_records(writers: Sequence[int] | None = None) -> dict[str, Measured]:
    """All that was trained and published.

    `writers`: of the 10,000 validation digits of MNIST, who wrote each. Without them the accuracy
    whose interval holds the luck with writers is not measured.
    """
    everything = load_records()
    whole, short = load_published("full")["runs"], load_published("ablate")["runs"]
    found = as_published(everything) | on_the_random_split(everything)
    return found | on_validation(whole, writers) | full(whole) | short_runs(short)


def as_published(everything: list[dict]) -> dict[str, Measured]:
    """Ten runs on all 60,000 digits that look at the test digits after every epoch."""
    runs = _of(select_runs(everything, "BottleneckNet", "as published"), AS_PUBLISHED)
    curves = np.array([run["validation_accuracy"] for run in runs])  # here these are test digits
    after = {epoch: curves[:, epoch - 1] for epoch in range(1, 21)}
    falls = [largest_fall(curve) for curve in curves]
    above = sum(fall > 0.001 for fall in falls)
    four = (1, 10, 15, 18)
    each, names = tuple(one_more(after[n]) for n in four), tuple(f"epoch {n}" for n in four)
    return {
        "59,751": Measured((runs[0]["test"]["total"],), unit=""),
        "99.58": Measured((one_more(after[20]),), unit="%", note="one more run"),
        "trajectory": Measured(each, names, "%", note="one more run"),
        "epoch 8": Measured((mean_of(after[8]),), unit="%"),
        "step": _compared(after[15], after[16], True),
        "stable": Measured((max(falls),), note=f"the most; over 0.1 in {above} of {len(falls)}"),
    }


def on_the_random_split(everything: list[dict]) -> dict[str, Measured]:
    """Test digits of networks that were trained on 50,000: GapNet's, and those of clothes."""
    gap = _of(select_runs(everything, "GapNet"), SEEDS)
    clothes = _of(runs_of(everything, "BottleneckNet", digits="Fashion-MNIST"), SEEDS)
    found = {"gap epochs": lacks(gap), "harder": lacks(clothes)}
    if not found["gap epochs"].note:
        right = correct_answers(gap).numpy()
        names = load_writers(train=False)[0].numpy()
        found["gap epochs"] = Measured((crossed(right, names),), unit="%")
    if not found["harder"].note:
        shares = [run["test"]["correct"] / run["test"]["total"] for run in clothes]
        found["harder"] = Measured((mean_of(shares),), unit="%")
    return found


def on_validation(whole: list[dict], writers: Sequence[int] | None) -> dict[str, Measured]:
    """GapNet as published, on its 10,000 validation digits: the last epoch, and the best."""
    runs = [run for run in _full(whole, GAP) if not run["diverged"]]
    if (lacking := lacks(runs)).note:
        return {"gap 99.4": lacking, "gap 99.39": lacking}
    best = [max(run["validation_accuracy"]) for run in runs]
    found = {"gap 99.39": Measured((one_more(best, 10_000),), unit="%", note="one more run")}
    if writers is None:
        return found | {"gap 99.4": Measured(note="who wrote the digits is not known here")}
    right = np.ones((len(runs), 10_000), bool)
    for row, run in zip(right, runs):
        row[run["wrong"]] = False
    return found | {"gap 99.4": Measured((crossed(right, np.asarray(writers)),), unit="%")}


def lacks(*sides: list[dict]) -> Measured:
    """Nothing measured, and a note if a side lacks one of the twelve seeds."""
    least = min(len(runs) for runs in sides)
    return Measured(note=f"{least} of {len(SEEDS)} seeds" if least < len(SEEDS) else "")


def largest_fall(accuracies: Sequence[float]) -> float:
    """From one epoch to the next, from epoch 8 on."""
    return max(float(before - after) for before, after in pairwise(accuracies[LATE:]))


def end(run: dict) -> float:
    """The accuracy after the last epoch."""
    return CHANCE["validation_accuracy"] if run["diverged"] else run["validation_accuracy"][-1]


def _first(run: dict) -> float:
    return CHANCE["validation_accuracy"] if run["diverged"] else run["validation_accuracy"][0]


def _loss(run: dict) -> float:
    return CHANCE["validation_loss"] if run["diverged"] else run["validation_loss"][-1]


def _unrest(run: dict) -> float:
    """The largest fall; of a run that ends below 90 %, what it lacks to 100 %."""
    return 1 - end(run) if end(run) < 0.9 else largest_fall(run["validation_accuracy"])


# Of each rule about whole trainings: what counts of a run, and by how much the second side of each
# case has more of it than the first.
PUBLISHED, GAP = "bottleneck as published", "gap as published"
FULL: dict[str, tuple[Callable[[dict], float], dict[str, tuple[str, str]]]] = {
    "accelerates": (_first, {"": ("bottleneck without batch norm", PUBLISHED)}),
    "stabilises": (_unrest, {"GAP": (GAP, "gap without batch norm"),
                             "bottleneck": (PUBLISHED, "bottleneck without batch norm")}),
    "dropout": (end, {"": ("bottleneck without dropout", PUBLISHED)}),
    "overfitting": (_loss, {"GAP": (GAP, "gap without dropout"),
                            "bottleneck": (PUBLISHED, "bottleneck without dropout")}),
    "dropout only at the end": (end, {"": (PUBLISHED, "bottleneck with dropout throughout")}),
    "same performance": (end, {"": ("bottleneck with a direct 3×3", PUBLISHED)}),
    "too deep": (end, {"without conv4": (PUBLISHED, "bottleneck without conv4"),
                       "without conv6": (PUBLISHED, "bottleneck without conv6")}),
}  # fmt: skip


def full(whole: list[dict]) -> dict[str, Measured]:
    """What whole trainings say of the networks' parts, once all twelve seeds are in."""
    asked, found = rules.load_rules()[0], {}
    for name, (value, cases) in FULL.items():
        sides = {case: _full(whole, case) for pair in cases.values() for case in pair}
        found[name] = lacks(*sides.values())
        if not found[name].note:
            values = {case: list(map(value, runs)) for case, runs in sides.items()}
            pairs = [(values[first], values[second]) for first, second in cases.values()]
            each = [_compared(a, b, asked[name].paired) for a, b in pairs]
            unit = "loss" if value is _loss else "points"
            found[name] = _together(each, tuple(filter(None, cases)), unit)
    return found


def short_runs(runs: list[dict]) -> dict[str, Measured]:
    """What short trainings say: batches, rates, and settings."""

    def side(study: str, case: str) -> list[dict]:
        return _of([run for run in runs if (run["study"], run["case"]) == (study, case)], SEEDS)

    return {
        "small batches": _small_batches(side),
        "higher rates": _higher_rates(side),
        "step and gamma": _step_and_gamma(side),
        "adam": _adam(side),
    }


def _small_batches(side: Callable) -> Measured:
    """How much more a step from batches of 4 to 2 costs with batch norm than without."""
    sides = [side("batch", f"{norm} norm, batches of {size}")
             for norm in ("without", "with") for size in (4, 2)]  # fmt: skip
    if (lacking := lacks(*sides)).note:
        return lacking
    four, two, four_normed, two_normed = [np.array(list(map(end, runs))) for runs in sides]
    return _compared(four - two, four_normed - two_normed, True)


def _higher_rates(side: Callable) -> Measured:
    """At each rate: are the runs that end above 90 % more with batch norm than chance allows?"""
    rates = (0.003, 0.01, 0.03, 0.1)
    sides = [[side("norm", f"{norm} norm, lr {rate}") for norm in ("with", "without")]
             for rate in rates]  # fmt: skip
    if (lacking := lacks(*(runs for pair in sides for runs in pair))).note:
        return lacking
    counts = [[sum(end(run) > 0.9 for run in runs) for runs in pair] for pair in sides]
    seen = [f"rate {rate:g}: {a} against {b}" for rate, (a, b) in zip(rates, counts)]
    return Measured(tuple(chances(a, b, len(SEEDS)) for a, b in counts), tuple(seen), "")


def chances(a: int, b: int, of: int) -> tuple[float, float]:
    """Of a against b successes in as many tries: how likely chance alone gives a so many more, and
    so many fewer, by Fisher's exact test.
    """
    p = float(fisher_exact([[a, b], [of - a, of - b]]).pvalue)
    return (p if a > b else 1.0), (p if a < b else 1.0)


def _step_and_gamma(side: Callable) -> Measured:
    """The eight other pairs, less the published one; one variance for all nine."""
    names = [f"gamma {gamma}, step {step}" for gamma in (0.1, 0.03, 0.5) for step in (4, 3, 2)]
    sides = [side("grid", f"lr 0.001, {name}") for name in names]
    if (lacking := lacks(*sides)).note:
        return lacking
    values = np.array([list(map(end, runs)) for runs in sides])
    count = values.shape[1]
    error = math.sqrt(2 / count * values.var(axis=1, ddof=1).mean())
    moved = values.mean(1)[1:] - values.mean(1)[0]
    pooled = [Estimate(float(one), error, len(values) * (count - 1)) for one in moved]
    return Measured(tuple(pooled), tuple(names[1:]))


def _adam(side: Callable) -> Measured:
    names = ("betas 0.8 and 0.9", "weight decay 0.0001")
    base, *others = [side("optimizer", name) for name in ("adam", *(f"adam, {n}" for n in names))]
    if (lacking := lacks(base, *others)).note:
        return lacking
    ends = list(map(end, base))
    each = [_compared(ends, list(map(end, runs)), True) for runs in others]
    return _together(each, names, "points")


def corruptions(costs: Mapping[str, tuple[np.ndarray, np.ndarray]], writers) -> Measured:
    """For "diverse": of each corruption, which digits were read before and under it, `[N]` each.

    More than half of them must cost over five points, each corrected for their number: so many are
    sure as the one in the middle is.
    """
    worse = []
    for before, after in costs.values():
        low, high = writer_difference(before, after, writers)
        value = float(np.mean(after) - np.mean(before))
        worse.append(Estimate(value, max((high - low) / (2 * 1.96), 1e-9)))
    more = len(worse) // 2  # the place of the one that makes it more than half
    holds = sorted(min(1.0, len(worse) * one.p_below(-0.05)) for one in worse)[more]
    fails = sorted(min(1.0, len(worse) * one.p_above(-0.05)) for one in worse)
    sure = sum(len(worse) * one.p_below(-0.05) <= rules.LEVEL for one in worse)
    note = f"{sure} of {len(worse)} surely cost over five points"
    return Measured(((holds, fails[len(worse) - more - 1]),), unit="", note=note)


def _of(runs: list[dict], seeds: range) -> list[dict]:
    """The runs of these seeds, ordered."""
    return sorted((run for run in runs if run["seed"] in seeds), key=lambda run: run["seed"])


def _full(whole: list[dict], case: str) -> list[dict]:
    """The runs of a case that are as long as its published recipe."""
    epochs = NETWORKS[full_ablations.CASES[case].network].recipe.num_epochs
    return _of([r for r in whole if (r["case"], r["num_epochs"]) == (case, epochs)], SEEDS)


def _compared(a: Sequence[float], b: Sequence[float], paired: bool) -> Measured:
    """How much larger b is than a; of pairs, also how much their seeds go together."""
    alike = (correlation(a, b),) if paired and min(np.ptp(a), np.ptp(b)) > 0 else ()
    return Measured((compare(a, b, paired),), correlations=alike)


def _together(each: Sequence[Measured], cases: tuple[str, ...], unit: str) -> Measured:
    values = [value for one in each for value in one.values]
    correlations = [value for one in each for value in one.correlations]
    return Measured(tuple(values), cases, unit, tuple(correlations))


# How it is shown


def table(rows: Mapping[str, Row]) -> str:
    """A Markdown table: what was said, measured, could have been shown, and what follows."""
    lines = [
        "| network | claim | measured [95 % interval] | these runs show | verdict |",
        "|---|---|---|---|---|",
    ]
    for row in rows.values():
        cells = row.rule.network, row.rule.said, measured(row), smallest(row), verdict(row)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def measured(row: Row) -> str:
    """Each case with its interval; of several, so wide that all are right with 95 %."""
    values, cases, unit, correlations, note = row.measured
    names = cases or ("",) * len(values)
    lines = [
        f"{name}: {shown(value, unit, len(values))}" if name else shown(value, unit, len(values))
        for name, value in zip(names, values)
    ]
    if correlations:
        lines.append("r = " + ", ".join(f"{one:.2f}" for one in correlations))
    if note.startswith("of ") and lines:  # 6 of 8 blocks
        return f"{lines[0]} {note}"
    return "<br>".join(lines + [note] * bool(note)) or "–"


def shown(value, unit: str, cases: int = 1) -> str:
    """A value as a person reads it, and its interval if it has one; of two chances the smaller."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, tuple) and not isinstance(value, Estimate):
        return f"p = {p:.2g}" if (p := min(value)) >= 1e-4 else "p < 0.0001"
    scale, form, word = UNITS[unit]
    ends = (value.value, *value.interval(cases)) if isinstance(value, Estimate) else (value,)
    middle, *interval = (format(scale * number, form) for number in ends)
    return middle + (f" [{', '.join(interval)}]" if interval else "") + word


def smallest(row: Row) -> str:
    """How far from its bound the truth would have to be for four of five such runs to say so."""
    scale, form, _ = UNITS[row.measured.unit]
    each = [value.smallest_effect(len(row.measured.values)) for value in row.measured.values
            if isinstance(value, Estimate) and value.error]  # fmt: skip
    return "<br>".join(format(scale * one, form.removeprefix("+")) for one in each) or "–"


def verdict(row: Row) -> str:
    """The verdict, and the one that it would be without the correction, if that is another."""
    alone = row.judged.verdict
    return f"**{row.verdict}**" + (f" (alone: {alone})" if alone != row.verdict else "")


def counts(rows: Mapping[str, Row]) -> dict[str, int]:
    """How many claims have each of the five verdicts."""
    every = [row.verdict for row in rows.values()]
    order = (HOLDS, FAILS, rules.CONSISTENT, rules.UNDECIDED, UNMEASURED)
    return {name: every.count(name) for name in order}

"""What a part of the bottleneck network is worth: take it away, or change it, and train briefly.

A study is a set of cases, and the first case of each is its baseline: what was published, with a
shortened recipe and fewer digits. Short runs rank what matters early; they do not tell where a
whole training would end.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from mnist_lab.layers import count_parameters
from mnist_lab.recipes import BOTTLENECK_RECIPE, Recipe, StepDown, shortened
from mnist_lab.statistics import Difference, paired_interval, seed_interval
from mnist_lab.studies.measuring import conditions, digits
from mnist_lab.training import fit
from mnist_lab.validation import Count, check, one_of

NUM_EPOCHS = 5
NUM_DIGITS, FEW_DIGITS = 10_000, 2_000  # few where batches of 2 take a thousand steps for them
NUM_VALIDATION_DIGITS = 5_000
PRECISION = "fp32"  # the same on every machine
SHORT_RECIPE = shortened(BOTTLENECK_RECIPE, NUM_EPOCHS)
PER_EPOCH = (  # what a result says of every epoch; train_seconds are without the validation
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "train_seconds",
)

CONVOLUTIONS = {  # as in BottleneckNet
    "conv1": {"out_channels": 16, "kernel_size": 3},
    "conv2": {"out_channels": 16, "kernel_size": 3},
    "conv3": {"out_channels": 16, "kernel_size": 3},
    "conv4": {"out_channels": 32, "kernel_size": 3},
    "conv5": {"out_channels": 8, "kernel_size": 1},  # the bottleneck: no norm, no ReLU
    "conv6": {"out_channels": 16, "kernel_size": 3, "padding": 1},
    "conv7": {"out_channels": 16, "kernel_size": 3},
}
POOLINGS = {"conv2": "pool1", "conv4": "pool2"}  # what follows, even where the convolution is gone
DROPOUTS = ("end", "none", "throughout")
WITHOUT = Annotated[
    tuple[one_of(*CONVOLUTIONS), ...],
    Field(description=f"a tuple of names among {', '.join(CONVOLUTIONS)}"),
]


class BottleneckVariant(nn.Sequential):
    """`BottleneckNet`, its layers in a row under their own names, with something changed.

    Input `[N, 1, 28, 28]`, output logits `[N, 10]`. `without`: convolutions that are left out, each
    with its norm and ReLU; the next one takes the channels of the one before, and fc1 as many
    values as are left. Any can go. `norm`: whether there is batch norm. `dropout`: "end" as
    published, "none", or "throughout", which is behind every 3×3 convolution as in `GapNet`, and
    at the end.

    Raises `UserError` for any other convolution or dropout.
    """

    def __init__(self, without: tuple[str, ...] = (), norm: bool = True, dropout: str = "end"):
        without = check("without", without, WITHOUT)
        check("dropout", dropout, one_of(*DROPOUTS))
        super().__init__()
        channels = 1
        for name, shape in CONVOLUTIONS.items():
            if name not in without:
                self.add_module(name, nn.Conv2d(channels, **shape))
                channels = shape["out_channels"]
                if shape["kernel_size"] == 3:
                    self._add_companions(name[-1], channels, norm, dropout)
            if name in POOLINGS:
                self.add_module(POOLINGS[name], nn.MaxPool2d(2, 2))
        self.add_module("flatten", nn.Flatten())
        # In evaluation mode, or the norms would learn from the empty image.
        features = self.eval()(torch.zeros(1, 1, 28, 28)).shape[1]
        self.train()
        self.add_module("fc1", nn.Linear(features, 40))
        self.add_module("relu", nn.ReLU())
        if dropout != "none":
            self.add_module("drop", nn.Dropout(0.1))
        self.add_module("fc2", nn.Linear(40, 10))

    def _add_companions(self, number: str, channels: int, norm: bool, dropout: str) -> None:
        if norm:
            self.add_module(f"bn{number}", nn.BatchNorm2d(channels))
        self.add_module(f"relu{number}", nn.ReLU())
        if dropout == "throughout":
            self.add_module(f"drop{number}", nn.Dropout(0.1))


@dataclass(frozen=True)
class Case:
    """The arguments of `BottleneckVariant`, a recipe, and how many digits it trains on."""

    without: tuple[str, ...] = ()
    norm: bool = True
    dropout: str = "end"
    recipe: Recipe = SHORT_RECIPE
    num_digits: int = NUM_DIGITS


def _with(**changes) -> Recipe:
    return replace(SHORT_RECIPE, **changes)


def _grid(lr: float) -> dict[str, Case]:
    """Every pair of gamma and step, what was published first."""
    return {
        f"lr {lr}, gamma {gamma}, step {step}": Case(
            recipe=_with(lr=lr, schedule=StepDown(step, gamma))
        )
        for gamma in (0.1, 0.03, 0.5)
        for step in (4, 3, 2)
    }


NORMS = {"with norm": True, "without norm": False}

CASES: dict[str, dict[str, Case]] = {
    "layers": {
        "all seven": Case(),
        # Either way one convolution is left that makes 16 channels of 1: it is the same network.
        "without conv1 or conv2": Case(without=("conv2",)),
        "without conv3": Case(without=("conv3",)),
        "without conv4": Case(without=("conv4",)),
        # No bottleneck: conv6 takes all 32 channels.
        "without conv5 (direct 3×3)": Case(without=("conv5",)),
        "without conv6": Case(without=("conv6",)),
        "without conv7": Case(without=("conv7",)),
        "without conv2 and conv6": Case(without=("conv2", "conv6")),
        "without conv2, conv3 and conv7": Case(without=("conv2", "conv3", "conv7")),
    },
    "norm": {
        f"{words}, lr {lr}": Case(norm=norm, recipe=_with(lr=lr))
        for words, norm in NORMS.items()
        for lr in (0.001, 0.003, 0.01, 0.03, 0.1)
    },
    "batch": {
        f"{words}, batches of {size}": Case(
            norm=norm, recipe=_with(batch_size=size), num_digits=FEW_DIGITS
        )
        for words, norm in NORMS.items()
        for size in (64, 8, 4, 2)
    },
    "dropout": {dropout: Case(dropout=dropout) for dropout in DROPOUTS},
    "grid": _grid(0.001),
    "grid at other rates": _grid(0.0003) | _grid(0.003),
    "optimizer": {
        "adam": Case(),
        "adam, betas 0.8 and 0.9": Case(recipe=_with(betas=(0.8, 0.9))),
        "adam, weight decay 0.0001": Case(recipe=_with(weight_decay=1e-4)),
        "sgd, momentum 0.9, lr 0.01": Case(recipe=_with(optimizer="sgd", momentum=0.9, lr=0.01)),
        "sgd, momentum 0.9, lr 0.1": Case(recipe=_with(optimizer="sgd", momentum=0.9, lr=0.1)),
        "sgd, lr 0.1": Case(recipe=_with(optimizer="sgd", lr=0.1)),
    },
}


def cases(studies: Sequence[str] = (), seeds: int = 3) -> list[dict]:
    """Every case of these studies, or of all, with every seed."""
    names = [check("a study", study, one_of(*CASES)) for study in studies] or CASES
    return [
        {"study": study, "case": case, "seed": seed}
        for study in dict.fromkeys(names)
        for case in CASES[study]
        for seed in range(check("seeds", seeds, Count))
    ]


def run(study: str, case: str, seed: int) -> dict:
    """Train one case with one seed, in fp32 on the CPU.

    `PER_EPOCH` have an entry for each epoch. If the loss is no longer finite, `diverged` is True
    and they are empty.
    """
    chosen, data = CASES[study][case], digits()
    recipe, train = replace(chosen.recipe, seed=seed), data.train.first(chosen.num_digits)
    few = replace(data, train=train, validation=data.validation.first(NUM_VALIDATION_DIGITS))
    torch.manual_seed(seed)
    network = BottleneckVariant(chosen.without, chosen.norm, chosen.dropout)
    result = {
        "study": study,
        "case": case,
        "seed": seed,
        "num_digits": len(train),
        "parameters": count_parameters(network),
        "recipe": repr(recipe),
        **conditions(data, PRECISION),
        "diverged": False,
    }
    try:
        history = fit(network, few, recipe, device="cpu", precision=PRECISION, progress=False)
    except FloatingPointError:
        return result | {name: [] for name in PER_EPOCH} | {"diverged": True}
    return result | {name: getattr(history, name) for name in PER_EPOCH}


def table(runs: list[dict]) -> str:
    """A block for each study and collection of digits, a row for each case, as `CASES` orders them.

    The accuracies are those of the validation digits after the last epoch: their mean over seeds
    and, from two seeds on, its 95 % interval. The difference from the study's first case is in
    points, over the seeds that both have. Seconds are the median epoch's, of training alone.

    A run that diverged has no accuracy. It is counted in the last column and left out of all else:
    beside "diverged 2 of 3", the mean is that of the one that came through. A network that is stuck
    at chance has not diverged, and counts. A case without a run is a row that says so.
    """
    blocks = []
    for study in CASES:
        mine = [run for run in runs if run["study"] == study]
        for name in sorted({run["digits"] for run in mine}):
            blocks.append(_block(study, name, [run for run in mine if run["digits"] == name]))
    return "\n\n".join(blocks)


def _block(study: str, name: str, runs: list[dict]) -> str:
    lines = [f"{f'{study} ({name})':<34}{'validation accuracy':<28}"
             f"{'points from the first':<27}{'parameters':>10}{'s/epoch':>9}"]  # fmt: skip
    by_case = {case: [run for run in runs if run["case"] == case] for case in CASES[study]}
    baseline, *_ = by_case
    for case, mine in by_case.items():
        points = "–" if case == baseline else _points(by_case[baseline], mine)
        lines.append(_row(case, mine, points) if mine else f"{case:<34}no runs")
    return "\n".join(lines)


def _row(case: str, runs: list[dict], points: str) -> str:
    seconds = [second for run in runs for second in run["train_seconds"]]
    epoch = f"{statistics.median(seconds):.2f}" if seconds else "–"
    diverged = sum(run["diverged"] for run in runs)
    note = f"  diverged {diverged} of {len(runs)}" if diverged else ""
    return (
        f"{case:<34}{_mean(list(_last(runs).values())):<28}{points:<27}"
        f"{runs[0]['parameters']:>10,}{epoch:>9}{note}"
    )


def _last(runs: list[dict], what: str = "validation_accuracy") -> dict[int, float]:
    """By seed, what each run that did not diverge has come to."""
    return {run["seed"]: run[what][-1] for run in runs if not run["diverged"]}


def _mean(accuracies: list[float]) -> str:
    if not accuracies:
        return "–"
    mean = f"{statistics.mean(accuracies):.2%}"
    if len(accuracies) == 1:
        return mean
    low, high = seed_interval(accuracies)
    return f"{mean} [{low:.2%}, {high:.2%}]"


def _points(baseline: list[dict], runs: list[dict]) -> str:
    if len(_last(baseline).keys() & _last(runs).keys()) < 2:
        return "–"
    found = difference(baseline, runs)
    return f"{100 * found.mean:+.2f} [{100 * found.low:+.2f}, {100 * found.high:+.2f}]"


def difference(
    baseline: list[dict], runs: list[dict], what: str = "validation_accuracy", cases: int = 1
) -> Difference:
    """By how much a case ends above a baseline, over the seeds in which neither diverged.

    `what`: one of `PER_EPOCH`. `cases`: see `seed_interval`. Raises `UserError` for less than two
    seeds.
    """
    first, second = _last(baseline, what), _last(runs, what)
    seeds = sorted(first.keys() & second.keys())
    pairs = [first[seed] for seed in seeds], [second[seed] for seed in seeds]
    return paired_interval(*pairs, cases)

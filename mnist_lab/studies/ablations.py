"""What a part of the bottleneck network is worth: take it away, or change it, and train briefly.

A study is a set of cases, and the first case of each is its baseline: what was published, with a
shortened recipe and fewer digits. Short runs rank what matters early; they do not tell where a
whole training would end.
"""

import statistics
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import torch
from torch import nn

from mnist_lab.layers import count_parameters
from mnist_lab.networks import BottleneckNet
from mnist_lab.recipes import BOTTLENECK_RECIPE, StepDown, shortened
from mnist_lab.statistics import Difference, paired_interval, seed_interval
from mnist_lab.studies.measuring import conditions, digits
from mnist_lab.training import fit
from mnist_lab.validation import Count, UserError, check, one_of

SHORT_RECIPE = shortened(BOTTLENECK_RECIPE, num_epochs=5)
NUM_DIGITS = 10_000
FEW_DIGITS = {"batch": 2_000}  # batches of 2 take a thousand steps for them
NUM_VALIDATION_DIGITS = 5_000
PRECISION = "fp32"  # the same on every machine
# What a result says of every epoch; train_seconds are without the validation.
PER_EPOCH = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy",
             "train_seconds")  # fmt: skip
DROPOUTS = ("end", "none", "throughout")

with torch.device("meta"):  # so that no weights are drawn
    PUBLISHED = dict(BottleneckNet().named_children())
CONVOLUTIONS = {name: layer for name, layer in PUBLISHED.items() if isinstance(layer, nn.Conv2d)}


class BottleneckVariant(nn.Sequential):
    """`BottleneckNet`, its layers in a row under their own names, with something changed.

    Input `[N, 1, 28, 28]`, output logits `[N, 10]`. `without`: convolutions that are left out, each
    with its norm and ReLU; the next one takes the channels of the one before, and fc1 as many
    values as are left. `norm`: whether there is batch norm. `dropout`: "end" as published, "none",
    or "throughout", which is behind every 3×3 convolution as in `GapNet`, and at the end.

    Raises `UserError` for any other convolution or dropout.
    """

    def __init__(self, without: Sequence[str] = (), norm: bool = True, dropout: str = "end"):
        for name in without:
            check("without", name, one_of(*CONVOLUTIONS))
        check("dropout", dropout, one_of(*DROPOUTS))
        super().__init__()
        channels = 1
        for name, layer in PUBLISHED.items():
            if name in CONVOLUTIONS and name not in without:
                channels, number, before = layer.out_channels, name[-1], channels
                self.add_module(
                    name, nn.Conv2d(before, channels, layer.kernel_size, padding=layer.padding)
                )
                if name != "conv5":  # the bottleneck has neither norm nor ReLU
                    if norm:
                        self.add_module(f"bn{number}", nn.BatchNorm2d(channels))
                    self.add_module(f"relu{number}", nn.ReLU())
                    if dropout == "throughout":
                        self.add_module(f"drop{number}", nn.Dropout(0.1))
            if name.startswith("pool"):
                self.add_module(name, nn.MaxPool2d(2, 2))
        self.add_module("flatten", nn.Flatten())
        # In evaluation mode, or the norms would learn from the empty image.
        features = self.eval()(torch.zeros(1, 1, 28, 28)).shape[1]
        self.train()
        self.add_module("fc1", nn.Linear(features, 40))
        self.add_module("relu", nn.ReLU())
        if dropout != "none":
            self.add_module("drop", nn.Dropout(0.1))
        self.add_module("fc2", nn.Linear(40, 10))


NORMS = {"with norm": {"norm": True}, "without norm": {"norm": False}}
GRIDS = {  # every pair of gamma and step, what was published first
    lr: {
        f"lr {lr}, gamma {gamma}, step {step}": ({}, {"lr": lr, "schedule": StepDown(step, gamma)})
        for gamma in (0.1, 0.03, 0.5)
        for step in (4, 3, 2)
    }
    for lr in (0.0003, 0.001, 0.003)
}
SGD = {"optimizer": "sgd", "lr": 0.1}

# What each case changes of `BottleneckVariant`, and of `SHORT_RECIPE`.
CASES: dict[str, dict[str, tuple[dict, dict]]] = {
    "layers": {
        "all seven": ({}, {}),
        # Either way one convolution is left that makes 16 channels of 1: it is the same network.
        "without conv1 or conv2": ({"without": ["conv2"]}, {}),
        "without conv3": ({"without": ["conv3"]}, {}),
        "without conv4": ({"without": ["conv4"]}, {}),
        # No bottleneck: conv6 takes all 32 channels.
        "without conv5 (direct 3×3)": ({"without": ["conv5"]}, {}),
        "without conv6": ({"without": ["conv6"]}, {}),
        "without conv7": ({"without": ["conv7"]}, {}),
        "without conv2 and conv6": ({"without": ["conv2", "conv6"]}, {}),
        "without conv2, conv3 and conv7": ({"without": ["conv2", "conv3", "conv7"]}, {}),
    },
    "norm": {
        f"{words}, lr {lr}": (norm, {"lr": lr})
        for words, norm in NORMS.items()
        for lr in (0.001, 0.003, 0.01, 0.03, 0.1)
    },
    "batch": {
        f"{words}, batches of {size}": (norm, {"batch_size": size})
        for words, norm in NORMS.items()
        for size in (64, 8, 4, 2)
    },
    "dropout": {dropout: ({"dropout": dropout}, {}) for dropout in DROPOUTS},
    "grid": GRIDS[0.001],
    "grid at other rates": GRIDS[0.0003] | GRIDS[0.003],
    "optimizer": {
        "adam": ({}, {}),
        "adam, betas 0.8 and 0.9": ({}, {"betas": (0.8, 0.9)}),
        "adam, weight decay 0.0001": ({}, {"weight_decay": 1e-4}),
        "sgd, momentum 0.9, lr 0.01": ({}, SGD | {"momentum": 0.9, "lr": 0.01}),
        "sgd, momentum 0.9, lr 0.1": ({}, SGD | {"momentum": 0.9}),
        "sgd, lr 0.1": ({}, SGD),
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
    (of_network, of_recipe), data = CASES[study][case], digits()
    recipe = replace(SHORT_RECIPE, **of_recipe, seed=seed)
    train = data.train.first(FEW_DIGITS.get(study, NUM_DIGITS))
    few = replace(data, train=train, validation=data.validation.first(NUM_VALIDATION_DIGITS))
    torch.manual_seed(seed)
    network = BottleneckVariant(**of_network)
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
    """A block for each study, a row for each case, as `CASES` orders them.

    Accuracies are those of the validation digits after the last epoch: their mean over seeds and,
    from two seeds on, its 95 % interval. The difference from the study's first case is in points,
    over the seeds that both have. Seconds are the median epoch's, of training alone. A run that
    diverged is counted in the last column and left out of all else; one that is stuck at chance has
    not diverged.
    """
    blocks = []
    for study in [name for name in CASES if any(run["study"] == name for run in runs)]:
        title = f"{study} ({runs[0]['digits']})"
        lines = [f"{title:<34}{'validation accuracy':<28}{'points from the first':<27}"
                 f"{'parameters':>10}{'s/epoch':>9}"]  # fmt: skip
        mine = [
            [run for run in runs if (run["study"], run["case"]) == (study, case)]
            for case in CASES[study]
        ]
        lines += [f"{case:<34}{_row(some, mine[0])}" for case, some in zip(CASES[study], mine)]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _row(runs: list[dict], first: list[dict]) -> str:
    if not runs:
        return "no runs"
    mean = points = epoch = "–"
    if accuracies := list(_last(runs).values()):
        mean = f"{statistics.mean(accuracies):.2%}"
        epoch = f"{statistics.median(s for run in runs for s in run['train_seconds']):.2f}"
    with suppress(UserError):  # of a single run
        low, high = seed_interval(accuracies)
        mean += f" [{low:.2%}, {high:.2%}]"
    with suppress(UserError):  # there are not two seeds that both have
        found = difference(first, runs)
        if runs is not first:
            points = f"{100 * found.mean:+.2f} [{100 * found.low:+.2f}, {100 * found.high:+.2f}]"
    diverged = sum(run["diverged"] for run in runs)
    note = f"  diverged {diverged} of {len(runs)}" if diverged else ""
    return f"{mean:<28}{points:<27}{runs[0]['parameters']:>10,}{epoch:>9}{note}"


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


def _last(runs: list[dict], what: str = "validation_accuracy") -> dict[int, float]:
    """By seed, what each run that did not diverge has come to."""
    return {run["seed"]: run[what][-1] for run in runs if not run["diverged"]}

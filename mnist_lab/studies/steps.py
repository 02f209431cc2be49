"""What each step of notebooks 04 and 06 buys in a short training, over ten seeds.

The notebooks build their networks step by step, and train each once. Here each is trained in the
same way with every seed, so that the luck of one is told from the worth of a step. Short runs say
what helps early; they do not tell where a whole training would end.
"""

import statistics
from dataclasses import replace
from functools import partial
from itertools import pairwise

import torch
from torch import nn

from mnist_lab.layers import count_parameters
from mnist_lab.recipes import OneCycle, Recipe
from mnist_lab.statistics import Difference, paired_interval, seed_interval
from mnist_lab.studies.ablations import PER_EPOCH, PRECISION
from mnist_lab.studies.measuring import conditions, digits
from mnist_lab.training import fit
from mnist_lab.validation import Count, UserError, check

NUM_DIGITS = 2_500  # of the training digits, and as many of the validation digits
RECIPES = {  # those of the notebooks, on MNIST
    "04": Recipe(num_epochs=2, batch_size=128, lr=0.0005, schedule=OneCycle(0.005, 0.2)),
    "06": Recipe(num_epochs=2, batch_size=64, lr=0.001),
}
STEPS = {  # as the notebooks name them
    "04": ("1 plain convolutions", "2 pooling, transition", "3 batch norm", "4 dropout",
           "5 average pooling"),
    "06": ("1 plain convolutions", "2 first pooling", "3 batch norm", "4 second pooling",
           "5 bottleneck", "6 connected head"),
}  # fmt: skip


def gap_step(step: int) -> nn.Sequential:
    """The network of notebook 04 after so many steps; the fifth answers as `GapNet` does."""
    layers, before = [], 1
    for number, after in enumerate((16, 32, 16, 16, 16, 16), 1):
        if number == 3 and step >= 2:
            layers += [nn.Conv2d(before, 10, kernel_size=1, bias=False), nn.MaxPool2d(2, 2)]
            before = 10
        padding = int(number == 6)
        layers += [nn.Conv2d(before, after, 3, padding=padding, bias=False), nn.ReLU()]
        layers += [nn.BatchNorm2d(after)] if step >= 3 else []
        layers += [nn.Dropout(0.1)] if step >= 4 else []
        before = after
    side = 18 if step == 1 else 6
    if step < 5:
        return nn.Sequential(*layers, nn.Conv2d(16, 10, side, bias=False), nn.Flatten())
    head = [nn.Conv2d(16, 10, kernel_size=1, bias=False), nn.Flatten(), nn.LogSoftmax(dim=1)]
    return nn.Sequential(*layers, nn.AvgPool2d(side), *head)


def bottleneck_step(step: int) -> nn.Sequential:
    """The network of notebook 06 after so many steps; the sixth answers as `BottleneckNet` does."""

    def conv(before: int, after: int, padding: int = 0) -> list[nn.Module]:
        norm = [nn.BatchNorm2d(after)] if step >= 3 else []
        return [nn.Conv2d(before, after, 3, padding=padding), *norm, nn.ReLU()]

    layers = [*conv(1, 16), *conv(16, 16)]
    layers += [nn.MaxPool2d(2, 2)] if step >= 2 else []
    layers += [*conv(16, 16), *conv(16, 32)]
    layers += [nn.MaxPool2d(2, 2)] if step >= 4 else []
    if step >= 5:
        layers += [nn.Conv2d(32, 8, kernel_size=1), *conv(8, 16, padding=1), *conv(16, 16)]
    layers += [nn.Flatten()]
    if step == 6:
        layers += [nn.Linear(64, 40), nn.ReLU(), nn.Dropout(0.1), nn.Linear(40, 10)]
    else:
        values = {1: 32 * 20 * 20, 2: 32 * 8 * 8, 3: 32 * 8 * 8, 4: 32 * 4 * 4, 5: 16 * 2 * 2}
        layers += [nn.Linear(values[step], 10)]
    return nn.Sequential(*layers)


NETWORKS = {
    (notebook, name): partial(make, number)
    for notebook, make in (("04", gap_step), ("06", bottleneck_step))
    for number, name in enumerate(STEPS[notebook], 1)
}


def cases(seeds: int = 10) -> list[dict]:
    """Every step of both notebooks with every seed, seed by seed."""
    return [
        {"notebook": notebook, "step": step, "seed": seed}
        for seed in range(check("seeds", seeds, Count))
        for notebook, step in NETWORKS
    ]


def run(notebook: str, step: str, seed: int) -> dict:
    """Train the network of one step with one seed as its notebook does, in fp32 on the CPU.

    `PER_EPOCH` have an entry for each epoch.
    """
    data, recipe = digits(), replace(RECIPES[notebook], seed=seed)
    train, validation = data.train.first(NUM_DIGITS), data.validation.first(NUM_DIGITS)
    few = replace(data, train=train, validation=validation)
    torch.manual_seed(seed)
    network = NETWORKS[notebook, step]()
    history = fit(network, few, recipe, device="cpu", precision=PRECISION, progress=False)
    return {
        "notebook": notebook,
        "step": step,
        "seed": seed,
        "num_digits": len(train),
        "parameters": count_parameters(network),
        "recipe": repr(recipe),
        **conditions(data, PRECISION),
        **{name: getattr(history, name) for name in PER_EPOCH},
    }


def accuracies(runs: list[dict], notebook: str) -> dict[str, list[float]]:
    """By step, the validation accuracy after the last epoch, in the order of the seeds."""
    ordered = sorted(runs, key=lambda run: run["seed"])
    return {
        step: [
            run["validation_accuracy"][-1]
            for run in ordered
            if (run["notebook"], run["step"]) == (notebook, step)
        ]
        for step in STEPS[notebook]
    }


def gains(runs: list[dict], notebook: str) -> dict[str, Difference]:
    """By step from the second on, how much better it is than the step before, seed by seed.

    The intervals are wide enough that all of a notebook are right with 95 % (`paired_interval`).
    Raises `UserError` for less than two seeds, and unless all steps have the same.
    """
    ends = accuracies(runs, notebook)
    names = list(ends)
    return {
        name: paired_interval(ends[before], ends[name], cases=len(names) - 1)
        for before, name in pairwise(names)
    }


def table(runs: list[dict]) -> str:
    """A block for each notebook, a row for each step: parameters, the mean of the validation
    accuracy after the last epoch and its 95 % interval, and the points above the step before. The
    intervals of the points are right all together with 95 %; both take two seeds.
    """
    blocks = []
    for notebook in STEPS:
        ends = {name: some for name, some in accuracies(runs, notebook).items() if some}
        title = f"notebook {notebook} ({runs[0]['digits']})"
        lines = [f"{title:<26}{'seeds':>5}{'parameters':>12}   {'validation accuracy':<26}"
                 "points above the step before"]  # fmt: skip
        try:
            above = gains(runs, notebook)
        except UserError:
            above = {}
        for name, some in ends.items():
            size = count_parameters(NETWORKS[notebook, name]())
            mean, points = f"{statistics.mean(some):.2%}", "–"
            if len(some) > 1:
                mean += " [{:.2%}, {:.2%}]".format(*seed_interval(some))
            if name in above:
                points = "{:+.2f} [{:+.2f}, {:+.2f}]".format(*(100 * x for x in above[name][:3]))
            lines.append(f"{name:<26}{len(some):>5}{size:>12,}   {mean:<26}{points}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)

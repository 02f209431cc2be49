"""How soon a network reads 99 % of the test digits, against PyTorch's own MNIST example.

The example (pytorch/examples, mnist/main.py, written afresh from its description) trains for 14
epochs of 60,000 digits. The time of some of its steps is measured before each of our runs, and
scaled. Network and recipe differ from the example's, so the ratio is not what `fit` alone buys.
Both take a thread for every core, as on a machine that has nothing else to do.
"""

import statistics
import time
from dataclasses import replace
from functools import partial
from timeit import timeit

import torch
from torch import nn
from torch.optim import lr_scheduler

from mnist_lab.augment import Shift
from mnist_lab.data import Digits, load_data
from mnist_lab.evaluation import evaluate
from mnist_lab.recipes import OneCycle, Recipe
from mnist_lab.statistics import seed_interval
from mnist_lab.studies.measuring import conditions, digits
from mnist_lab.studies.textbook import textbook_fit
from mnist_lab.training import fit
from mnist_lab.validation import UserError, check, whole

EXAMPLE_EPOCHS, EXAMPLE_DIGITS = 14, 60_000
EXAMPLE = Recipe(EXAMPLE_EPOCHS, batch_size=64, lr=1.0, loss="nll")
EXAMPLE_SEEDS, STEPS = 3, 30  # of its training; timed beside each of our runs

FAST = Recipe(
    num_epochs=1,
    batch_size=256,
    lr=0.03,
    betas=(0.7, 0.9),  # in a run of some hundred steps, older gradients mislead
    schedule=OneCycle(max_lr=0.03, pct_start=0.3, cycle_momentum=False),
    label_smoothing=0.1,
)
GOALS = {  # by test accuracy: how many training digits an epoch has, and the recipe
    0.99: (40_000, FAST),
    0.994: (50_000, replace(FAST, num_epochs=5, augment=(Shift(1),))),
}


class StridedNet(nn.Sequential):
    """A network for speed, 23,658 parameters: its first convolution looks at every other pixel.

    Input `[N, 1, 28, 28]`, output logits `[N, 10]`. A stride instead of a pooling: Springenberg et
    al., "Striving for Simplicity", arXiv:1412.6806. Pooling comes before batch norm and ReLU, so
    that these work on a quarter of the values.
    """

    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 16, kernel_size=5, stride=2, bias=False),  # 16×12×12
            nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 24, kernel_size=3, bias=False),  # 24×10×10
            nn.MaxPool2d(2, 2), nn.BatchNorm2d(24), nn.ReLU(),  # 24×5×5
            nn.Conv2d(24, 64, kernel_size=3, bias=False),  # 64×3×3
            nn.BatchNorm2d(64), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 3 * 3, 10),
        )  # fmt: skip


class ExampleNet(nn.Sequential):
    """The network of PyTorch's MNIST example, 1,199,882 parameters.

    Input `[N, 1, 28, 28]`, output log-probabilities `[N, 10]`.
    """

    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Dropout(0.25), nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(),
            nn.Dropout(0.5), nn.Linear(128, 10), nn.LogSoftmax(1),
        )  # fmt: skip


def cases(seeds: int = 10, example_epochs: int = 0) -> list[dict]:
    """Every goal with every seed, and the example itself, trained for so many epochs (0: not).

    Two seeds at least: a mean has no interval before. Raises `UserError` without MNIST.
    """
    seeds = check("seeds", seeds, whole(2))
    example_epochs = check("example_epochs", example_epochs, whole(0))
    if digits().name != "MNIST":
        raise UserError(
            f"the goals are shares of MNIST's test digits, and here are the {digits().name}: set "
            "MNIST_LAB_DATA."
        )
    ours = [{"goal": goal, "seed": seed} for goal in GOALS for seed in range(seeds)]
    theirs = [{"example_epochs": example_epochs, "seed": seed} for seed in range(EXAMPLE_SEEDS)]
    threads = {"threads": torch.get_num_threads()}
    return [case | threads for case in ours + theirs * (example_epochs > 0)]


def run(
    seed: int, threads: int, goal: float | None = None, example_epochs: int | None = None
) -> dict:
    """Our training to a goal, or the example's for so many epochs.

    Ours has `seconds`, accuracies (`validation`, `test`), and beside them `example_seconds`, what
    the example's 14 epochs take. The example's `test` are its accuracies after each epoch.
    """
    torch.set_num_threads(threads)
    if goal is None:
        test = _train_example(load_data(split="as published"), example_epochs, seed)
        result = {"example_epochs": example_epochs, "precision": "fp32", "test": test}
    else:
        num_digits, recipe = GOALS[goal]
        example_seconds = _example_seconds()  # before `fit` changes the allocator
        _train(10 * FAST.batch_size, FAST)  # a warm-up
        result = {"goal": goal, "example_seconds": example_seconds}
        result |= _train(num_digits, replace(recipe, seed=seed))
    return {"seed": seed, "threads": threads, **conditions(digits(), result["precision"]), **result}


def _train(num_digits: int, recipe: Recipe) -> dict:
    """From uint8 tensors to trained weights; then ask about validation and test digits.

    `fit` validates after each epoch; that is left out of the seconds.
    """
    data = digits()
    torch.manual_seed(recipe.seed)
    start = time.perf_counter()
    network, train = StridedNet(), data.train.first(num_digits)
    history = fit(
        network, replace(data, train=train), recipe,
        device="cpu", num_threads=torch.get_num_threads(), progress=False,
    )  # fmt: skip
    seconds = time.perf_counter() - start - sum(history.seconds) + sum(history.train_seconds)
    return {
        "num_digits": len(train),
        "recipe": repr(recipe),
        "precision": history.precision,
        "seconds": seconds,
        "validation": history.validation_accuracy[-1],
        "test": evaluate(network, data.test, recipe).accuracy,
    }


def _train_example(data: Digits, num_epochs: int, seed: int = 0) -> list[float]:
    """The example's accuracy on the validation digits after each epoch."""
    torch.manual_seed(seed)
    recipe = replace(EXAMPLE, num_epochs=num_epochs, seed=seed)
    return textbook_fit(ExampleNet(), data, recipe, _adadelta)


def _adadelta(network: nn.Module, recipe: Recipe, num_batches: int) -> tuple:
    optimizer = torch.optim.Adadelta(network.parameters(), recipe.lr)
    per_epoch = lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    return optimizer, lr_scheduler.ConstantLR(optimizer, factor=1), per_epoch


def _example_seconds() -> float:
    """What all its epochs take, by those of some steps, their data included."""
    train, one = digits().train.first(STEPS * EXAMPLE.batch_size), digits().validation.first(1)
    work = partial(_train_example, Digits("", train, one, one), 1)
    work()  # a warm-up
    return timeit(work, number=1) * EXAMPLE_EPOCHS * EXAMPLE_DIGITS / len(train)


def table(runs: list[dict]) -> str:
    """A line for each goal, and one for the example if it was trained."""
    goals, example = dict.fromkeys(run["goal"] for run in runs if "goal" in run), example_of(runs)
    lines = [_line(goal, to_goal(goal, runs)) for goal in goals]
    if example:
        means = ", ".join(f"{statistics.mean(epoch):.2%}" for epoch in zip(*example))
        first = epochs_to(0.99, example) or "more"
        lines.append(f"the example, mean of {len(example)} seeds: {means}; epochs to 99 %: {first}")
    return "\n".join(lines)


def to_goal(goal: float, runs: list[dict]) -> list[dict]:
    """Our runs to this goal."""
    return [run for run in runs if run.get("goal") == goal]


def example_of(runs: list[dict]) -> list[list[float]]:
    """The test accuracies of each run of the example, by epoch."""
    return [run["test"] for run in runs if "example_epochs" in run]


def ratio(runs: list[dict]) -> float:
    """How many times as long the example's whole schedule takes: the median over the seeds."""
    return statistics.median(run["example_seconds"] / run["seconds"] for run in runs)


def epochs_to(goal: float, example: list[list[float]]) -> int | None:
    """After how many epochs the mean accuracy of several runs first reaches the goal."""
    means = [statistics.mean(epoch) for epoch in zip(*example)]
    return next((epoch for epoch, mean in enumerate(means, 1) if mean >= goal), None)


def _line(goal: float, runs: list[dict]) -> str:
    test = [run["test"] for run in runs]
    low, high = seed_interval(test)
    reached = "reached" if statistics.mean(test) >= goal else "NOT reached"
    return (
        f"goal {goal:.1%} {reached}: test {statistics.mean(test):.2%} [{low:.2%}, {high:.2%}] over "
        f"{len(runs)} seeds, validation {statistics.mean(run['validation'] for run in runs):.2%}, "
        f"in {statistics.median(run['seconds'] for run in runs):.2f} s ({runs[0]['precision']}); "
        f"14 epochs of PyTorch's example: "
        f"{statistics.median(run['example_seconds'] for run in runs):,.0f} s (scaled), "
        f"{ratio(runs):.0f} times as long"
    )

"""How soon a network reads 99 % of the test digits, against PyTorch's own MNIST example.

The example (pytorch/examples, mnist/main.py, written afresh from its description) trains for 14
epochs of 60,000 digits. The time of some of its steps is measured between our runs, and scaled.
Network and recipe differ from the example's, so the ratio is not what `fit` alone buys. Both take a
thread for every core, as on a machine that has nothing else to do.
"""

import statistics
import time
from dataclasses import dataclass, replace
from itertools import chain, islice, repeat

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader

from mnist_lab.augment import Shift, textbook_transform
from mnist_lab.data import Split
from mnist_lab.evaluation import evaluate
from mnist_lab.networks import StridedNet
from mnist_lab.recipes import OneCycle, Recipe
from mnist_lab.statistics import seed_interval
from mnist_lab.studies.measuring import conditions, digits, own_process
from mnist_lab.studies.textbook import textbook_accuracy, textbook_epoch
from mnist_lab.training import fit
from mnist_lab.validation import UserError, check, whole

EXAMPLE_EPOCHS, EXAMPLE_DIGITS, EXAMPLE_BATCH = 14, 60_000, 64
EXAMPLE_STEPS = EXAMPLE_EPOCHS * -(-EXAMPLE_DIGITS // EXAMPLE_BATCH)
EXAMPLE_SEEDS, STEPS_BESIDE = 3, 30  # of its training; beside each of our runs


@dataclass(frozen=True)
class Goal:
    """How many training digits an epoch has, and the recipe, that reach a test accuracy."""

    num_digits: int
    recipe: Recipe


FAST = Recipe(
    num_epochs=1,
    batch_size=256,
    lr=0.03,
    betas=(0.7, 0.9),  # in a run of some hundred steps, older gradients mislead
    schedule=OneCycle(max_lr=0.03, pct_start=0.3, cycle_momentum=False),
    label_smoothing=0.1,
)
GOALS = {
    0.99: Goal(num_digits=40_000, recipe=FAST),
    0.994: Goal(num_digits=50_000, recipe=replace(FAST, num_epochs=5, augment=(Shift(1),))),
}


class ExampleNet(nn.Module):
    """The network of PyTorch's MNIST example, 1,199,882 parameters.

    Input `[N, 1, 28, 28]`, output log-probabilities `[N, 10]`.
    """

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.dropout1, self.dropout2 = nn.Dropout(0.25), nn.Dropout(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(x)))), 2)
        x = torch.flatten(self.dropout1(x), 1)
        x = self.dropout2(F.relu(self.fc1(x)))
        return F.log_softmax(self.fc2(x), dim=1)


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
    threads = torch.get_num_threads()
    ours = [{"goal": goal, "seed": seed} for goal in GOALS for seed in range(seeds)]
    theirs = [{"example_epochs": example_epochs, "seed": seed} for seed in range(EXAMPLE_SEEDS)]
    return [case | {"threads": threads} for case in ours + theirs * (example_epochs > 0)]


def run(
    seed: int, threads: int, goal: float | None = None, example_epochs: int | None = None
) -> dict:
    """Our training to a goal, or the example's for so many epochs.

    Ours has `seconds`, accuracies (`validation`, `test`), and beside them `example_seconds`, what
    the example's 14 epochs take. The example's `test` are its accuracies after each epoch.
    """
    if goal is None:
        torch.set_num_threads(threads)
        result = {"example_epochs": example_epochs, "precision": "fp32"}
        result["test"] = _example_accuracies(seed, example_epochs)
    else:
        result = {"goal": goal} | _both(seed, threads, GOALS[goal])
    conditions_here = conditions(digits(), result["precision"])
    return {"seed": seed, "threads": threads, **conditions_here, **result}


def _both(seed: int, threads: int, goal: Goal) -> dict:
    """Ours and some steps of the example, each in a process of its own, after a warm-up."""
    with own_process() as ours, own_process() as theirs:
        for process in (ours, theirs):
            process.submit(torch.set_num_threads, threads).result()
        warm_up = replace(GOALS[0.99], num_digits=10 * FAST.batch_size)
        ours.submit(_train, warm_up, 0).result()
        theirs.submit(_example_step, 5).result()
        result = ours.submit(_train, goal, seed).result()
        step = theirs.submit(_example_step, STEPS_BESIDE).result()
    return result | {"example_seconds": EXAMPLE_STEPS * step}


def _train(goal: Goal, seed: int) -> dict:
    """From uint8 tensors to trained weights; then ask about validation and test digits.

    `fit` validates after each epoch; that is left out of the seconds.
    """
    data, recipe = digits(), replace(goal.recipe, seed=seed)
    torch.manual_seed(seed)
    start = time.perf_counter()
    network, train = StridedNet(), data.train.first(goal.num_digits)
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


def _example(split: Split) -> tuple[nn.Module, torch.optim.Optimizer, DataLoader]:
    network = ExampleNet()
    optimizer = torch.optim.Adadelta(network.parameters(), lr=1.0)
    return network, optimizer, _batches(split, EXAMPLE_BATCH, shuffle=True)


def _batches(split: Split, size: int, shuffle: bool = False) -> DataLoader:
    return DataLoader(split.dataset(textbook_transform((), 0.1307, 0.3081)), size, shuffle)


def _example_step(steps: int) -> float:
    """Mean seconds of a step of the example, its data included; two steps warm up."""
    network, optimizer, batches = _example(digits().train)
    textbook_epoch(network, islice(batches, 2), optimizer, F.nll_loss)
    endless = chain.from_iterable(repeat(batches))
    start = time.perf_counter()
    textbook_epoch(network, islice(endless, steps), optimizer, F.nll_loss)
    return (time.perf_counter() - start) / steps


def _example_accuracies(seed: int, num_epochs: int) -> list[float]:
    """Test accuracy of the example after each epoch, trained on all 60,000 digits."""
    torch.manual_seed(seed)
    data = digits()
    parts = (data.train, data.validation)
    both = Split(torch.cat([p.images for p in parts]), torch.cat([p.labels for p in parts]))
    network, optimizer, batches = _example(both)
    test, schedule, accuracies = _batches(data.test, 1000), StepLR(optimizer, 1, 0.7), []
    for _ in range(num_epochs):
        textbook_epoch(network, batches, optimizer, F.nll_loss)
        schedule.step()
        accuracies.append(textbook_accuracy(network, test))
    return accuracies


def table(runs: list[dict]) -> str:
    """A line for each goal, and one for the example if it was trained."""
    example = example_of(runs)
    lines = [_line(goal, to_goal(goal, runs)) for goal in GOALS]
    return "\n".join(lines + ([_example_line(runs)] if example else []))


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
    if len(runs) < 2:
        return f"goal {goal:.1%}: a mean needs two runs, and there are {len(runs)}"
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


def _example_line(runs: list[dict]) -> str:
    """When the example itself first has a mean test accuracy of 99 %, and the ratio to that."""
    example, ours = example_of(runs), to_goal(0.99, runs)
    means = ", ".join(f"{statistics.mean(epoch):.2%}" for epoch in zip(*example))
    said = f"the example, mean test accuracy over {len(example)} seeds after each epoch: {means}"
    first = epochs_to(0.99, example)
    if first is None:
        return f"{said}: not yet 99 %"
    said += f": 99 % after {first}"
    return said + (
        f", {ratio(ours) * first / EXAMPLE_EPOCHS:.0f} times as long as ours" if ours else ""
    )

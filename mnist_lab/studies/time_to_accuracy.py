"""How soon a network reads 99 % of the test digits, against PyTorch's own MNIST example.

The example (pytorch/examples, mnist/main.py, written afresh from its description) trains for 14
epochs of 60,000 digits. The time of some of its steps is measured between our runs, and scaled.
Network and recipe differ from the example's, so the ratio is not what `fit` alone buys. Both take a
thread for every core: nobody races on a busy machine.
"""

import itertools
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader

from mnist_lab.augment import Shift, textbook_transform
from mnist_lab.data import Digits, Split, load_data
from mnist_lab.evaluation import evaluate
from mnist_lab.networks import StridedNet
from mnist_lab.recipes import OneCycle, Recipe
from mnist_lab.records import processor
from mnist_lab.statistics import seed_interval
from mnist_lab.studies.textbook import textbook_accuracy
from mnist_lab.training import fit
from mnist_lab.validation import UserError

EXAMPLE_EPOCHS, EXAMPLE_DIGITS, EXAMPLE_BATCH = 14, 60_000, 64
EXAMPLE_STEPS = EXAMPLE_EPOCHS * -(-EXAMPLE_DIGITS // EXAMPLE_BATCH)
EXAMPLE_SEEDS, STEPS_BESIDE = 3, 30  # of its training; beside each of our runs


@dataclass(frozen=True)
class Sprint:
    """A recipe, how many training digits it sees in an epoch, and the accuracy it aims at."""

    goal: float
    digits: int
    recipe: Recipe


FAST = Recipe(
    num_epochs=1,
    batch_size=256,
    lr=0.03,
    betas=(0.7, 0.9),  # in a run of some hundred steps, older gradients mislead
    schedule=OneCycle(max_lr=0.03, pct_start=0.3, cycle_momentum=False),
    label_smoothing=0.1,
)
SPRINTS = (
    Sprint(goal=0.99, digits=40_000, recipe=FAST),
    Sprint(goal=0.994, digits=50_000, recipe=replace(FAST, num_epochs=5, augment=(Shift(1),))),
)


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


def cases(seeds: int, example_epochs: int) -> tuple[list[dict], list[dict]]:
    """The arguments of `run` for every sprint and seed, and those of `example`.

    Raises `ValueError` for less than two seeds (a mean has no interval then), for less than no
    epochs, and without MNIST.
    """
    if seeds < 2:
        raise UserError(f"seeds must be 2 or more, not {seeds}.")
    if example_epochs < 0:
        raise UserError(f"example_epochs must be 0 or more, not {example_epochs}.")
    digits = load_data().name
    if digits != "MNIST":
        raise UserError(f"the race is about MNIST, and its example too; here are the {digits}.")
    threads = torch.get_num_threads()
    sprints = [
        {"goal": sprint.goal, "seed": seed, "threads": threads}
        for sprint in SPRINTS
        for seed in range(seeds)
    ]
    examples = [
        {"seed": seed, "num_epochs": example_epochs, "threads": threads}
        for seed in range(EXAMPLE_SEEDS)
    ]
    return sprints, examples if example_epochs else []


def run(goal: float, seed: int, threads: int) -> dict:
    """Our sprint to this goal, and beside it the seconds of a step of the example.

    Each side has a process of its own, because `fit` changes its process's memory allocator, and
    warms up first.
    """
    sprint = next(sprint for sprint in SPRINTS if sprint.goal == goal)
    pool = 1, multiprocessing.get_context("spawn"), torch.set_num_threads, (threads,)
    with ProcessPoolExecutor(*pool) as ours, ProcessPoolExecutor(*pool) as theirs:
        ours.submit(_sprint, SPRINTS[0], 0, True).result()
        theirs.submit(_example_seconds, 5).result()
        result = ours.submit(_sprint, sprint, seed).result()
        step = theirs.submit(_example_seconds, STEPS_BESIDE).result()
    return result | {"goal": goal, "threads": threads, "example_step": step}


def example(seed: int, num_epochs: int, threads: int) -> dict:
    """The example itself, trained for so many epochs: minutes for each."""
    torch.set_num_threads(threads)
    return {"test": _example_accuracies(seed, num_epochs)}


def record(results: list[dict], examples: list[dict]) -> dict:
    """What `run` and `example` have returned for all of the `cases`, taken together."""
    taken = {
        "digits": "MNIST",
        "processor": processor(),
        "threads": results[0]["threads"],
        "torch": torch.__version__,
        "sprints": [
            _result(sprint, [result for result in results if result["goal"] == sprint.goal])
            for sprint in SPRINTS
        ],
    }
    return taken | ({"example": [each["test"] for each in examples]} if examples else {})


def table(record: dict) -> str:
    """A line for each sprint, and one for the example if it was trained."""
    lines = [line(result) for result in record["sprints"]]
    return "\n".join(lines + ([example_line(record)] if "example" in record else []))


def _result(sprint: Sprint, runs: list[dict]) -> dict:
    seconds = [run["seconds"] for run in runs]
    whole = [EXAMPLE_STEPS * run["example_step"] for run in runs]
    return {
        "goal": sprint.goal,
        "digits": runs[0]["digits"],
        "recipe": repr(sprint.recipe),
        "precision": runs[0]["precision"],
        "seeds": len(runs),
        "validation": [run["validation"] for run in runs],
        "test": [run["test"] for run in runs],
        "seconds": seconds,
        "example_seconds": whole,
        "ratio": statistics.median(slow / fast for slow, fast in zip(whole, seconds)),
    }


def line(result: dict) -> str:
    """One sprint as text: accuracy with its interval, seconds, and the ratio to the example."""
    low, high = seed_interval(result["test"])
    reached = "reached" if statistics.mean(result["test"]) >= result["goal"] else "NOT reached"
    return (
        f"goal {result['goal']:.1%} {reached}: test {statistics.mean(result['test']):.2%} "
        f"[{low:.2%}, {high:.2%}] over {result['seeds']} seeds, validation "
        f"{statistics.mean(result['validation']):.2%}, in "
        f"{statistics.median(result['seconds']):.2f} s ({result['precision']}); 14 epochs of "
        f"PyTorch's example: {statistics.median(result['example_seconds']):,.0f} s (scaled), "
        f"{result['ratio']:.0f} times as long"
    )


def example_line(record: dict) -> str:
    """When the example itself first has a mean test accuracy of 99 %, and the ratio to that."""
    means = [statistics.mean(epoch) for epoch in zip(*record["example"])]
    said = (
        f"the example, mean test accuracy over {len(record['example'])} seeds after each epoch: "
        + ", ".join(f"{mean:.2%}" for mean in means)
    )
    first = epochs_to(0.99, record["example"])
    if first is None:
        return f"{said}: not yet 99 %"
    ratio = record["sprints"][0]["ratio"] * first / EXAMPLE_EPOCHS
    return f"{said}: 99 % after {first}, {ratio:.0f} times as long as the sprint"


def epochs_to(goal: float, runs: list[list[float]]) -> int | None:
    """After how many epochs the mean accuracy of several runs first reaches the goal."""
    means = [statistics.mean(epoch) for epoch in zip(*runs)]
    return next((epoch for epoch, mean in enumerate(means, 1) if mean >= goal), None)


# What follows runs in the worker processes.


@cache
def _data() -> Digits:
    return load_data()


def _sprint(sprint: Sprint, seed: int, warm_up: bool = False) -> dict:
    """Train from uint8 tensors to trained weights, then ask about validation and test digits.

    `fit` validates after each epoch; that is left out of the seconds.
    """
    data, recipe = _data(), replace(sprint.recipe, seed=seed)
    digits = 10 * recipe.batch_size if warm_up else sprint.digits
    torch.manual_seed(seed)
    start = time.perf_counter()
    network = StridedNet()
    train = data.train.first(digits)
    history = fit(
        network, replace(data, train=train), recipe,
        device="cpu", num_threads=torch.get_num_threads(), progress=False,
    )  # fmt: skip
    seconds = time.perf_counter() - start - sum(history.seconds) + sum(history.train_seconds)
    return {
        "seconds": seconds,
        "precision": history.precision,
        "digits": len(train),
        "validation": history.validation_accuracy[-1],
        "test": evaluate(network, data.test, recipe).accuracy,
    }


def _example(split: Split):
    network = ExampleNet().train()
    optimizer = torch.optim.Adadelta(network.parameters(), lr=1.0)
    plain = textbook_transform((), 0.1307, 0.3081)
    batches = DataLoader(split.dataset(plain), EXAMPLE_BATCH, shuffle=True)
    return network, optimizer, batches


def _example_step(network, optimizer, images: Tensor, labels: Tensor) -> None:
    optimizer.zero_grad()
    F.nll_loss(network(images), labels).backward()
    optimizer.step()


def _example_seconds(steps: int) -> float:
    """Mean seconds of a step of the example, its data included; two steps warm up."""
    network, optimizer, batches = _example(_data().train)
    endless = itertools.chain.from_iterable(itertools.repeat(batches))
    for step, (images, labels) in enumerate(endless):
        if step == 2:
            start = time.perf_counter()
        if step == steps + 2:
            break
        _example_step(network, optimizer, images, labels)
    return (time.perf_counter() - start) / steps


def _example_accuracies(seed: int, num_epochs: int) -> list[float]:
    """Test accuracy of the example after each epoch, trained on all 60,000 digits."""
    torch.manual_seed(seed)
    data = _data()
    parts = (data.train, data.validation)
    both = Split(torch.cat([p.images for p in parts]), torch.cat([p.labels for p in parts]))
    network, optimizer, batches = _example(both)
    plain = textbook_transform((), 0.1307, 0.3081)
    test = DataLoader(data.test.dataset(plain), 1000)
    schedule, accuracies = StepLR(optimizer, 1, 0.7), []
    for _ in range(num_epochs):
        network.train()
        for images, labels in batches:
            _example_step(network, optimizer, images, labels)
        schedule.step()
        accuracies.append(textbook_accuracy(network, test))
    return accuracies

"""Is `fit` as accurate as the textbook way? Both train from the same weights, seed by seed."""

import multiprocessing
import statistics
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache

import torch
from tqdm import tqdm

from mnist_lab.bench.epochs import NETWORKS, WAYS
from mnist_lab.bench.textbook import textbook_fit
from mnist_lab.data import Digits, load_data
from mnist_lab.intervals import seed_interval
from mnist_lab.records import processor, save_measurement
from mnist_lab.training import Recipe, StepDown, fit


def main(network: str, seeds: int = 5, num_epochs: int = 3) -> dict:
    """Print both validation accuracies of each seed, and the mean of their differences.

    Two runs train at a time, with one thread each. Writes a record into `runs/compare/` and
    returns it. Raises `ValueError` for less than two seeds: a mean has no interval then.
    """
    if seeds < 2:
        raise ValueError(f"seeds must be 2 or more, not {seeds}.")
    make, recipe = NETWORKS[network]
    recipe = shortened(recipe, num_epochs)
    runs = [(way, network, seed, num_epochs) for seed in range(seeds) for way in WAYS]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        bar = tqdm(pool.map(_train, *zip(*runs)), total=len(runs), unit="run", disable=None)
        accuracies, precisions = zip(*bar)
    by_way = {way: list(accuracies[position :: len(WAYS)]) for position, way in enumerate(WAYS)}
    record = {
        "network": make.__name__,
        "num_epochs": num_epochs,
        "recipe": repr(recipe),
        "digits": load_data().name,
        "processor": processor(),
        "torch": torch.__version__,
        "precision": precisions[-1],
        "validation": by_way,
    }
    print(table(record))
    save_measurement("compare", record, network)
    return record


def shortened(recipe: Recipe, num_epochs: int) -> Recipe:
    """The recipe for fewer epochs, its schedule in proportion, so that it still ends calmly."""
    schedule = recipe.schedule
    if isinstance(schedule, StepDown):
        step_size = max(1, round(schedule.step_size * num_epochs / recipe.num_epochs))
        schedule = replace(schedule, step_size=step_size)
    return replace(recipe, num_epochs=num_epochs, schedule=schedule)


def table(record: dict) -> str:
    """A row for each seed, and the mean difference with its 95 % interval, in points."""
    lines = [f"{record['network']:<14}{'textbook':>10}{'fit':>10}{'difference':>12}"]
    pairs = list(zip(*(record["validation"][way] for way in WAYS)))
    differences = [100 * (fast - slow) for slow, fast in pairs]
    for seed, ((slow, fast), difference) in enumerate(zip(pairs, differences)):
        lines.append(f"{f'seed {seed}':<14}{slow:>10.2%}{fast:>10.2%}{difference:>+12.2f}")
    slow, fast = (statistics.mean(way) for way in zip(*pairs))
    low, high = seed_interval(differences)
    lines.append(f"{'mean':<14}{slow:>10.2%}{fast:>10.2%}{statistics.mean(differences):>+12.3f}"
                 f"   [{low:+.3f}, {high:+.3f}]")  # fmt: skip
    return "\n".join(lines)


@cache
def _data() -> Digits:
    torch.set_num_threads(1)
    return load_data()


def _train(way: str, network: str, seed: int, num_epochs: int) -> tuple[float, str]:
    """Validation accuracy after the last epoch, and the precision."""
    data, (make, recipe) = _data(), NETWORKS[network]
    recipe = replace(shortened(recipe, num_epochs), seed=seed)
    torch.manual_seed(seed)  # the same first weights for both
    net = make()
    if way == "textbook":
        return textbook_fit(net, data, recipe)[-1], "fp32"
    history = fit(net, data, recipe, device="cpu", progress=False)
    return history.validation_accuracy[-1], history.precision

"""Is `fit` as accurate as the textbook way? Both train from the same weights, seed by seed."""

import statistics
from dataclasses import replace

import torch

from mnist_lab.data import load_data
from mnist_lab.recipes import NETWORKS, shortened
from mnist_lab.records import processor
from mnist_lab.statistics import seed_interval
from mnist_lab.studies.epoch_time import WAYS
from mnist_lab.studies.textbook import textbook_fit
from mnist_lab.training import fit
from mnist_lab.validation import UserError


def cases(network: str, seeds: int, num_epochs: int) -> list[dict]:
    """The arguments of `run` for every seed and both ways.

    Raises `ValueError` for less than one epoch, and for less than two seeds: a mean has no interval
    then.
    """
    if seeds < 2:
        raise UserError(f"seeds must be 2 or more, not {seeds}.")
    shortened(NETWORKS[network].recipe, num_epochs)
    return [
        {"way": way, "network": network, "seed": seed, "num_epochs": num_epochs}
        for seed in range(seeds)
        for way in WAYS
    ]


def run(way: str, network: str, seed: int, num_epochs: int) -> dict:
    """Train on the CPU: the validation accuracy after the last epoch, and with what it was got."""
    data, (make, recipe, _) = load_data(), NETWORKS[network]
    recipe = replace(shortened(recipe, num_epochs), seed=seed)
    torch.manual_seed(seed)  # the same first weights for both
    net = make()
    if way == "textbook":
        accuracies, precision = textbook_fit(net, data, recipe), "fp32"
    else:
        history = fit(net, data, recipe, device="cpu", progress=False)
        accuracies, precision = history.validation_accuracy, history.precision
    return {
        "way": way,
        "validation": accuracies[-1],
        "precision": precision,
        "digits": data.name,
        "processor": processor(),
    }


def record(network: str, num_epochs: int, results: list[dict]) -> dict:
    """What `run` has returned for all of the `cases`, in their order, taken together."""
    make, recipe, _ = NETWORKS[network]
    return {
        "network": make.__name__,
        "num_epochs": num_epochs,
        "recipe": repr(shortened(recipe, num_epochs)),
        "digits": results[-1]["digits"],
        "processor": " and ".join(sorted({result["processor"] for result in results})),
        "torch": torch.__version__,
        "precision": results[-1]["precision"],  # that of `fit`
        "validation": {
            way: [result["validation"] for result in results if result["way"] == way]
            for way in WAYS
        },
    }


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

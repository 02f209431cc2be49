"""Is `fit` as accurate as the textbook way? Both train from the same weights, seed by seed."""

import statistics
from dataclasses import replace

import torch

from mnist_lab.recipes import NETWORKS, shortened
from mnist_lab.statistics import seed_interval
from mnist_lab.studies.epoch_time import WAYS
from mnist_lab.studies.measuring import NETWORK, conditions, digits
from mnist_lab.studies.textbook import textbook_fit
from mnist_lab.training import fit
from mnist_lab.validation import Count, check, whole


def cases(network: str, seeds: int = 5, num_epochs: int = 3) -> list[dict]:
    """Every seed both ways. Two seeds at least: a mean has no interval before."""
    check("network", network, NETWORK)
    check("num_epochs", num_epochs, Count)
    return [
        {"network": network, "way": way, "seed": seed, "num_epochs": num_epochs}
        for seed in range(check("seeds", seeds, whole(2)))
        for way in WAYS
    ]


def run(network: str, way: str, seed: int, num_epochs: int) -> dict:
    """Train on the CPU; `validation` is the accuracy after the last epoch."""
    make, recipe, _ = NETWORKS[network]
    recipe = replace(shortened(recipe, num_epochs), seed=seed)
    torch.manual_seed(seed)  # the same first weights for both
    net = make()
    if way == "textbook":
        accuracies, precision = textbook_fit(net, digits(), recipe), "fp32"
    else:
        history = fit(net, digits(), recipe, device="cpu", progress=False)
        accuracies, precision = history.validation_accuracy, history.precision
    return {
        "network": make.__name__,
        "way": way,
        "seed": seed,
        "num_epochs": num_epochs,
        "recipe": repr(recipe),
        **conditions(digits(), precision),
        "validation": accuracies[-1],
    }


def table(runs: list[dict]) -> str:
    """A row for each seed of a network, and the mean difference with its 95 % interval, in points.

    Raises `UserError` unless two seeds were run both ways: a mean has no interval then.
    """
    pairs, points = paired(runs), differences(runs)
    lines = [f"{runs[0]['network']:<14}{'textbook':>10}{'fit':>10}{'difference':>12}"]
    for (seed, (slow, fast)), difference in zip(pairs.items(), points):
        lines.append(f"{f'seed {seed}':<14}{slow:>10.2%}{fast:>10.2%}{difference:>+12.2f}")
    slow, fast, difference = map(statistics.mean, (*zip(*pairs.values()), points))
    low, high = seed_interval(points)
    mean = f"{'mean':<14}{slow:>10.2%}{fast:>10.2%}{difference:>+12.3f}"
    return "\n".join([*lines, f"{mean}   [{low:+.3f}, {high:+.3f}]"])


def by_network(runs: list[dict]) -> list[list[dict]]:
    """The runs of each network."""
    names = dict.fromkeys(run["network"] for run in runs)
    return [[run for run in runs if run["network"] == name] for name in names]


def paired(runs: list[dict]) -> dict[int, tuple[float, float]]:
    """By seed, the accuracies of both ways (textbook, `fit`), where there are both."""
    slow, fast = (
        {run["seed"]: run["validation"] for run in runs if run["way"] == way} for way in WAYS
    )
    return {seed: (slow[seed], fast[seed]) for seed in sorted(slow.keys() & fast.keys())}


def differences(runs: list[dict]) -> list[float]:
    """By how many points `fit` is above the textbook way, seed by seed."""
    return [100 * (fast - slow) for slow, fast in paired(runs).values()]

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
    """For each network a row for each seed, and the mean difference with its 95 % interval.

    Differences are in points. A seed that was run one way only counts for nothing.
    """
    return "\n\n".join(map(_block, by_network(runs)))


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


def _block(runs: list[dict]) -> str:
    lines = [f"{runs[0]['network']:<14}{'textbook':>10}{'fit':>10}{'difference':>12}"]
    for seed, (slow, fast) in paired(runs).items():
        difference = f"{100 * (fast - slow):>+12.2f}"
        lines.append(f"{f'seed {seed}':<14}{slow:>10.2%}{fast:>10.2%}{difference}")
    alone = sorted({run["seed"] for run in runs} - paired(runs).keys())
    lines += [f"{f'seed {seed}':<14}left out: it was run one way only" for seed in alone]
    if len(paired(runs)) < 2:
        return "\n".join([*lines, "a mean needs two seeds that were run both ways"])
    slow, fast = map(statistics.mean, zip(*paired(runs).values()))
    points = differences(runs)
    low, high = seed_interval(points)
    lines.append(f"{'mean':<14}{slow:>10.2%}{fast:>10.2%}{statistics.mean(points):>+12.3f}"
                 f"   [{low:+.3f}, {high:+.3f}]")  # fmt: skip
    return "\n".join(lines)

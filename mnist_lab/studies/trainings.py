"""Train networks of `NETWORKS` whole, seed after seed: the runs that the published figures are of.

Each follows its recipe, in fp32 on the CPU, to the last epoch; then the test digits are read, once.
Its record and its weights are left in `runs/sweep/`, as those of training notebooks are.
"""

import statistics
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import torch

from mnist_lab.data import SPLITS, Digits, load_data
from mnist_lab.evaluation import evaluate
from mnist_lab.files import project_root
from mnist_lab.layers import count_parameters
from mnist_lab.recipes import NETWORKS
from mnist_lab.records import save_record
from mnist_lab.statistics import seed_interval
from mnist_lab.studies.measuring import NETWORK, conditions
from mnist_lab.training import fit
from mnist_lab.validation import Count, check, one_of

PRECISION = "fp32"


def cases(networks: Sequence[str] = (), seeds: int = 10, split: str = "random") -> list[dict]:
    """These networks, or all, with seeds 0, 1, …; `split` as of `load_data`.

    Raises `UserError` for what is none.
    """
    names = [check("a network", name, NETWORK) for name in networks] or NETWORKS
    check("split", split, one_of(*SPLITS))
    return [
        {"network": name, "seed": seed, "split": split}
        for seed in range(check("seeds", seeds, Count))
        for name in dict.fromkeys(names)
    ]


@cache
def digits(split: str) -> Digits:
    """Read once in each process."""
    return load_data(split=split)


def run(network: str, seed: int, split: str) -> dict:
    """One training, and which record it has left."""
    entry, data = NETWORKS[network], digits(split)
    recipe = replace(entry.recipe, seed=seed)
    torch.manual_seed(seed)
    net = entry.network()
    history = fit(net, data, recipe, device="cpu", precision=PRECISION, progress=False)
    test = evaluate(net, data.test, recipe)
    folder = project_root() / "runs" / "sweep" / f"{network}-{split.replace(' ', '-')}-seed{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "network": network,
        "seed": seed,
        "split": split,
        "parameters": count_parameters(net),
        "record": save_record(net, data, history, test, folder).name,
        "validation_accuracy": history.validation_accuracy,
        "test_accuracy": test.accuracy,
        "seconds": sum(history.seconds),
        **conditions(data, PRECISION),
    }


def table(runs: list[dict]) -> str:
    """A row for each network and split: the test accuracy after the last epoch, mean and interval.

    Minutes are the median run's.
    """
    lines = [f"{'network':<14}{'split':<14}{'parameters':>10}{'seeds':>7}{'minutes':>9}   test"]
    for network, split in dict.fromkeys((run["network"], run["split"]) for run in runs):
        mine = [run for run in runs if (run["network"], run["split"]) == (network, split)]
        test = [run["test_accuracy"] for run in mine]
        text = f"{statistics.mean(test):.3%}"
        if len(test) > 1:
            text += " [{:.3%}, {:.3%}]".format(*seed_interval(test))
        minutes = statistics.median(run["seconds"] for run in mine) / 60
        lines.append(
            f"{network:<14}{split:<14}{mine[0]['parameters']:>10,}{len(mine):>7}{minutes:>9.1f}"
            f"   {text}"
        )
    return "\n".join(lines)

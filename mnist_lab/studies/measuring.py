"""What several studies need: the digits, what a result was measured with, a process of its own."""

import multiprocessing
import statistics
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache

import torch

from mnist_lab.data import Digits, load_data
from mnist_lab.recipes import NETWORKS
from mnist_lab.records import processor
from mnist_lab.statistics import seed_interval
from mnist_lab.validation import check, one_of

NETWORK = one_of(*NETWORKS)
PUBLISHED = ("gap", "bottleneck")  # the two designs that the course rebuilds


@cache
def digits() -> Digits:
    """Read once in each process."""
    return load_data()


def conditions(data: Digits, precision: str) -> dict:
    """What a result was measured with."""
    return {
        "digits": data.name,
        "precision": precision,
        "processor": processor(),
        "torch": torch.__version__,
    }


def chosen_networks(network: str | None) -> list[str]:
    """This network, or the two published ones. Raises `UserError` for an unknown one."""
    return list(PUBLISHED) if network is None else [check("network", network, NETWORK)]


def own_process() -> ProcessPoolExecutor:
    """A fresh process for one side of a comparison: `fit` changes its process's allocator."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


def heading(run: dict) -> str:
    """Whose figures follow, and what they were measured with."""
    return (
        f"{run['network']} on {run['digits']}; {run['precision']}, {run['processor']}, "
        f"torch {run['torch']}"
    )


def mean_text(accuracies: Sequence[float]) -> str:
    """The mean over seeds, and from two on its 95 % interval."""
    text = f"{statistics.mean(accuracies):.2%}"
    if len(accuracies) > 1:
        text += " [{:.2%}, {:.2%}]".format(*seed_interval(accuracies))
    return text

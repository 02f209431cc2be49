"""The textbook way of training against `fit`: seconds per epoch, measured alternately in one run.

The textbook way: torchvision's transforms on PIL images, one by one, a DataLoader, fp32, PyTorch's
own memory format and dropout, each epoch followed by a validation the same way.
"""

import json
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import datetime

import torch
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from mnist_lab.augment import textbook_transform
from mnist_lab.data import Digits, load_data, project_root
from mnist_lab.networks import BottleneckNet, GapNet
from mnist_lab.records import processor, write_whole
from mnist_lab.training import BOTTLENECK_RECIPE, GAP_RECIPE, LOSSES, Recipe, fit

NETWORKS = {"gap": (GapNet, GAP_RECIPE), "bottleneck": (BottleneckNet, BOTTLENECK_RECIPE)}
QUICK_DIGITS, WARM_UP_DIGITS = 3_840, 1_280


def textbook_epoch(network: nn.Module, data: Digits, recipe: Recipe) -> float:
    """One epoch as most tutorials write it, and its validation; the validation accuracy."""
    augmented = textbook_transform(recipe.augment, recipe.mean, recipe.std)
    plain = textbook_transform((), recipe.mean, recipe.std)
    batches = DataLoader(data.train.dataset(augmented), recipe.batch_size, shuffle=True)
    optimizer = torch.optim.Adam(network.parameters(), recipe.lr, weight_decay=recipe.weight_decay)
    network.train()
    for images, labels in batches:
        optimizer.zero_grad()
        loss = LOSSES[recipe.loss](network(images), labels)
        loss.backward()
        optimizer.step()
    network.eval()
    correct = 0
    with torch.no_grad():
        for images, labels in DataLoader(data.validation.dataset(plain), 1000):
            correct += (network(images).argmax(1) == labels).sum().item()
    return correct / len(data.validation)


def main(network: str = "both", pairs: int = 5, quick: bool = False) -> dict:
    """Print the table, write its record into `runs/bench/`, and return the record."""
    if pairs < 1:
        raise ValueError(f"pairs must be 1 or more, not {pairs}.")
    data = load_data()
    if quick:
        pairs = min(pairs, 3)
        data = _first(data, QUICK_DIGITS)
    print(f"{data.name}, {len(data.train):,} digits an epoch; {processor()}, "
          f"{torch.get_num_threads()} threads; {pairs} pairs, alternating")  # fmt: skip
    record = {
        "digits": data.name,
        "train_digits": len(data.train),
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    for name in NETWORKS if network == "both" else (network,):
        record[name] = _compare(name, data, pairs)
        print(_row(NETWORKS[name][0].__name__, record[name]))
    stamp = datetime.now().strftime("%Y-%m-%dT%H-%M-%S")
    path = project_root() / "runs" / "bench" / f"{stamp}.json"
    write_whole(path, json.dumps(record, indent=1) + "\n")
    return record


def _compare(name: str, data: Digits, pairs: int) -> dict[str, list[float]]:
    """Seconds of both ways, pair by pair, so that a slow minute of the machine hits both.

    Each way has a process of its own, because `fit` changes its process's memory allocator.
    """
    seconds = {"textbook": [], "fit": []}
    spawn = multiprocessing.get_context("spawn")
    workers = {way: ProcessPoolExecutor(1, spawn) for way in seconds}
    try:
        for way, worker in workers.items():  # warm-up: the first call of everything is slow
            worker.submit(_time_epoch, way, name, _first(data, WARM_UP_DIGITS)).result()
        for _ in tqdm(range(pairs), desc=name, unit="pair", leave=False, disable=None):
            for way, worker in workers.items():
                seconds[way].append(worker.submit(_time_epoch, way, name, data).result())
    finally:
        for worker in workers.values():
            worker.shutdown()
    return seconds


def _time_epoch(way: str, name: str, data: Digits) -> float:
    make, recipe = NETWORKS[name]
    network = make()
    start = time.perf_counter()
    if way == "textbook":
        textbook_epoch(network, data, recipe)
    else:
        fit(network, data, replace(recipe, num_epochs=1), progress=False)
    return time.perf_counter() - start


def _first(data: Digits, count: int) -> Digits:
    train, validation = data.train.first(count), data.validation.first(count // 5)
    return replace(data, train=train, validation=validation)


def _row(network: str, seconds: dict) -> str:
    ratios = [slow / fast for slow, fast in zip(seconds["textbook"], seconds["fit"])]
    slow, fast = (statistics.median(seconds[name]) for name in ("textbook", "fit"))
    return (
        f"{network:<15}textbook {slow:7.2f} s   fit {fast:7.2f} s   "
        f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), "
        f"so fit takes {1 / statistics.median(ratios):.0%}"
    )

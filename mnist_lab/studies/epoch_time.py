"""Seconds of an epoch: the textbook way of training against `fit`, measured in turns.

And the parts of a step, memory and inference, and how far the machine's own limit is from there.
"""

import os
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import psutil
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function
from tqdm import tqdm

from mnist_lab.data import Digits
from mnist_lab.evaluation import predict
from mnist_lab.recipes import NETWORKS, Recipe
from mnist_lab.speed import limit_threads
from mnist_lab.studies.measuring import chosen_networks, conditions, digits, heading, own_process
from mnist_lab.studies.roofline import measure_peak, step_cost
from mnist_lab.studies.textbook import textbook_accuracy, textbook_batches, textbook_fit
from mnist_lab.training import choose_precision, fit
from mnist_lab.validation import Count, Positive, check

WAYS = ("textbook", "fit")
EPOCH = 50_000  # digits; with fewer, seconds are scaled to this many
WARM_UP_DIGITS, QUICK_PAIRS, QUICK_MINUTES = 1_280, 2, 0.1
# `FastDropout` draws its random numbers in one of nine steps of GapNet; OneCycle needs six.
PROFILED_STEPS = {"textbook": 6, "fit": 9}
NAMES = {  # in a profile
    "textbook": {
        "data": "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__",
        "dropout": "aten::dropout",
    },
    "fit": {"data": "data", "dropout": "dropout"},
}


def cases(
    network: str | None = None,
    pairs: int = 5,
    minutes: float = 10,
    precision: str = "auto",
    quick: bool = False,
) -> list[dict]:
    """One for each network, or for this one.

    `pairs`: how often each way is timed. `minutes`: about how long the epochs of all networks may
    take. Where that is not enough for whole epochs, both ways train on the first digits only, and
    seconds are scaled. `precision`: of `fit`. `quick`: less than a minute for all.
    """
    names, pairs = chosen_networks(network), check("pairs", pairs, Count)
    minutes = check("minutes", minutes, Positive)
    if quick:
        pairs, minutes = min(pairs, QUICK_PAIRS), min(minutes, QUICK_MINUTES)
    case = {
        "pairs": pairs,
        "minutes": minutes / len(names),
        "precision": choose_precision(precision, torch.device("cpu")),
    }
    return [{"network": name} | case for name in names]


def run(network: str, pairs: int, minutes: float, precision: str) -> dict:
    """Every figure of one network: for each way a list, pair by pair.

    Each way has a process of its own, so its peak memory is its own, too.
    """
    make, recipe, _ = NETWORKS[network]
    with limit_threads() as threads:
        peak = measure_peak(precision)
    with ExitStack() as stack:
        workers = {way: stack.enter_context(own_process()) for way in WAYS}
        measured = _measure(workers, network, pairs, 60 * minutes, precision)
    return {
        "network": make.__name__,
        "batch_size": recipe.batch_size,
        **conditions(digits(), precision),
        "threads": threads,
        "pairs": pairs,
        "peak": asdict(peak),
        **measured,
        "least_per_batch": asdict(step_cost(make(), recipe.batch_size, peak, precision)),
    }


def _measure(workers: dict, name: str, pairs: int, seconds: float, precision: str) -> dict:
    def ask(work, *arguments):
        return {
            way: worker.submit(work, way, name, *arguments).result()
            for way, worker in workers.items()
        }

    # Both load their libraries and the digits at once. The first call of everything is slow: the
    # first epoch warms up, and tells how much there is time for.
    loading = [worker.submit(_num_digits) for worker in workers.values()]
    available = min(future.result() for future in loading)
    warm_up = min(WARM_UP_DIGITS, available)
    pace = sum(ask(_epoch, warm_up, precision).values()) / warm_up
    count = int(min(available, max(warm_up, seconds / pairs / pace)))
    epochs, parts, inference = [], [], []
    for _ in tqdm(range(pairs), desc=name, unit="pair", leave=False, disable=None):
        epochs.append(ask(_epoch, count, precision))
        parts.append(ask(_parts, precision))
        inference.append(ask(_inference))
    return {
        "digits_per_epoch": count,
        "seconds_per_epoch": {way: [EPOCH / count * pair[way] for pair in epochs] for way in WAYS},
        "seconds_per_batch": _by_figure(parts),
        "inference": _by_figure(inference),
        "peak_bytes": {way: worker.submit(_peak_bytes).result() for way, worker in workers.items()},
    }


def _by_figure(pairs: list[dict]) -> dict:
    """From a list of pairs of figures to each figure's lists, way by way."""
    figures = pairs[0]["fit"]
    return {
        figure: {way: [pair[way][figure] for pair in pairs] for way in WAYS} for figure in figures
    }


# The table


def table(runs: list[dict]) -> str:
    """A block for each network: medians of both ways, and the ratio with its spread."""
    return "\n\n".join(_block(run) for run in runs)


def ratios(figures: dict[str, list[float]]) -> list[float]:
    """How many times as long the textbook way takes, pair by pair."""
    return [slow / fast for slow, fast in zip(figures["textbook"], figures["fit"])]


def _block(run: dict) -> str:
    batch, inference, peak = run["batch_size"], run["inference"], run["peak"]
    scaled = ", scaled" if run["digits_per_epoch"] < EPOCH else ""
    held = (f"{run['peak_bytes'][way] / 1e6:>10,.0f}" for way in WAYS)
    lines = [
        f"{heading(run)}, threads: {run['threads']}; peak {peak['operations'] / 1e9:.0f} GFLOP/s, "
        f"{peak['bytes'] / 1e9:.0f} GB/s",
        f"{'':<34}{'textbook':>10}{'fit':>10}{'ratio':>8}   spread",
        _row(f"epoch of {EPOCH:,}, s{scaled}", run["seconds_per_epoch"]),
        *(
            _row(f"  {part}, ms per batch of {batch}", figures, 1000)
            for part, figures in run["seconds_per_batch"].items()
        ),
        _row("images per second, inference", inference["images_per_second"], more_is_better=True),
        _row("latency of one image, ms", inference["latency"], 1000),
        f"{'peak memory, MB':<34}{''.join(held)}",
        _limit(run),
    ]
    return "\n".join(lines)


def _row(title: str, figures: dict, factor: float = 1, more_is_better: bool = False) -> str:
    medians = [factor * statistics.median(figures[way]) for way in WAYS]
    cells = "".join(f"{value:>10,.{0 if value >= 1000 else 2}f}" for value in medians)
    if min(figures["textbook"] + figures["fit"]) <= 0:  # nothing was measured, or only noise
        return f"{title:<34}{cells}{'-':>8}"
    times = [1 / ratio if more_is_better else ratio for ratio in ratios(figures)]
    spread = f"{min(times):.2f} to {max(times):.2f}"
    return f"{title:<34}{cells}{statistics.median(times):>8.2f}   {spread}"


def _limit(run: dict) -> str:
    least = run["least_per_batch"]
    shortest = EPOCH / run["batch_size"] * least["seconds"]
    times = statistics.median(run["seconds_per_epoch"]["fit"]) / shortest
    return (
        f"limit: {least['operations'] / 1e9:.2f} GFLOP and {least['bytes'] / 1e6:.0f} MB per batch "
        f"take at least {1000 * least['seconds']:.1f} ms, {shortest:.1f} s per epoch; fit takes "
        f"{times:.1f} times as long"
    )


# What follows runs in the worker processes.


def _num_digits() -> int:
    return len(digits().train)


def _epoch(way: str, name: str, count: int, precision: str) -> float:
    """Seconds of one epoch and its validation, on the first digits of both splits."""
    data = digits()
    train = data.train.first(count)
    share = len(train) / len(data.train)
    validation = data.validation.first(max(1, round(share * len(data.validation))))
    data = replace(data, train=train, validation=validation)
    return _train(way, name, data, NETWORKS[name].recipe, precision)


@limit_threads()
def _train(way: str, name: str, data: Digits, recipe: Recipe, precision: str) -> float:
    """Seconds of one epoch of these digits."""
    network, recipe = NETWORKS[name].network(), replace(recipe, num_epochs=1)
    start = time.perf_counter()
    if way == "textbook":
        textbook_fit(network, data, recipe)
    else:
        fit(network, data, recipe, device="cpu", precision=precision, progress=False)
    return time.perf_counter() - start


@dataclass(frozen=True)
class _Labelled:
    """A transform of single images that has a name in a profile, as those of batches have."""

    transform: object

    def torchvision(self) -> Callable:
        alone = self.transform.torchvision()

        def labelled(image):
            with record_function("augmentation"):
                return alone(image)

        return labelled


def _parts(way: str, name: str, precision: str) -> dict[str, float]:
    """Mean seconds per batch of each part of a training step; together they are the step.

    They are those of a profile, which itself takes a little time for every operation. Dropout is
    that of the forward direction; what it takes backward is in `backward`.
    """
    data, recipe = digits(), NETWORKS[name].recipe
    train = data.train.first(PROFILED_STEPS[way] * recipe.batch_size)
    data = replace(data, train=train, validation=data.validation.first(1))
    if way == "textbook":
        recipe = replace(recipe, augment=tuple(map(_Labelled, recipe.augment)))
    os.environ["KINETO_LOG_LEVEL"] = "99"  # else the profiler reports that it found no GPU
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as seen:
        whole = _train(way, name, data, recipe, precision)
    seconds = {event.key: event.cpu_time_total / 1e6 for event in seen.key_averages()}
    parts = {
        "data": seconds[NAMES[way]["data"]],
        "augmentation": seconds.get("augmentation", 0.0),
        "forward": seconds["forward"],
        "dropout": seconds.get(NAMES[way]["dropout"], 0.0),
        "backward": seconds["backward"],
        "optimizer": seconds["optimizer"],
    }
    if way == "textbook":  # its data are augmented while they are fetched
        parts["data"] -= parts["augmentation"]
    parts["forward"] -= parts["dropout"]
    parts["the rest"] = whole - sum(parts.values())
    steps = -(-len(train) // recipe.batch_size)
    return {part: time / steps for part, time in parts.items()}


@limit_threads()
def _inference(way: str, name: str, count: int = 500) -> dict[str, float]:
    """Images per second from the stored pixels to the answers, and the latency of one of them."""
    make, recipe, _ = NETWORKS[name]
    data, network = digits(), make().eval()
    many, one = data.validation.first(count), data.validation.first(1)
    if way == "fit":
        network.to(memory_format=torch.channels_last)
        read, read_one = (partial(predict, network, split, recipe) for split in (many, one))
    else:
        _, batches = textbook_batches(replace(data, validation=many), recipe)
        read = partial(textbook_accuracy, network, batches)
        read_one = partial(_answer, network, batches.dataset)
    _seconds(read), _seconds(read_one)  # warm-up
    latency = statistics.median(_seconds(read_one) for _ in range(20))
    return {"images_per_second": len(many) / _seconds(read), "latency": latency}


@torch.no_grad()
def _answer(network: nn.Module, dataset) -> None:
    network(dataset[0][0].unsqueeze(0))


def _seconds(work: Callable) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _peak_bytes() -> int:
    """The most memory that this process ever held."""
    status = Path(f"/proc/{os.getpid()}/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    info = psutil.Process().memory_info()  # elsewhere: Windows knows the peak, macOS the present
    return getattr(info, "peak_wset", info.rss)

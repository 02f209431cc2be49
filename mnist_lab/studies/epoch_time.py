"""Seconds of an epoch: the textbook way of training against `fit`, measured in turns.

And the parts of a step, memory and inference, and how far the machine's own limit is from there.
"""

import os
import re
import statistics
from collections import defaultdict
from dataclasses import replace
from functools import partial
from pathlib import Path
from timeit import repeat, timeit
from types import SimpleNamespace

import psutil
import torch
from torch.profiler import ProfilerActivity, profile, record_function

from mnist_lab.data import Digits
from mnist_lab.evaluation import predict
from mnist_lab.recipes import NETWORKS, Entry
from mnist_lab.speed import limit_threads
from mnist_lab.studies.measuring import chosen_networks, conditions, digits, heading, own_process
from mnist_lab.studies.roofline import measure_peak, step_cost
from mnist_lab.studies.textbook import textbook_accuracy, textbook_batches, textbook_fit
from mnist_lab.training import choose_precision, fit
from mnist_lab.validation import Count, Positive, check

WAYS = ("textbook", "fit")
EPOCH = 50_000  # digits; with fewer, seconds are scaled to this many
WARM_UP_DIGITS = 1_280
INFERENCE = ("images_per_second", "latency")
# `FastDropout` draws its random numbers in one of nine steps of GapNet; OneCycle needs six.
PROFILED_STEPS = {"textbook": 6, "fit": 9}
FETCHING = "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__"  # its name in a profile


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
    seconds are scaled. `precision`: of `fit`. `quick`: less than two minutes for all.
    """
    names, pairs = chosen_networks(network), check("pairs", pairs, Count)
    minutes = check("minutes", minutes, Positive)
    if quick:
        pairs, minutes = min(pairs, 2), min(minutes, 0.1)
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
    available, turns = len(digits().train), {way: [] for way in WAYS}
    warm_up = min(WARM_UP_DIGITS, available)
    with own_process() as slow, own_process() as fast:
        workers = dict(zip(WAYS, (slow, fast)))
        # The first call of everything is slow. So both begin with a short epoch, here at once,
        # which tells how much there is time for. From then on one waits for the other.
        first = [workers[way].submit(_epoch, way, network, warm_up, precision) for way in WAYS]
        pace = sum(seconds.result() for seconds in first) / EPOCH
        count = affordable(60 * minutes / pairs, pace, available)
        for way in pairs * WAYS:
            asked = workers[way].submit(_figures, way, network, count, precision)
            turns[way].append(asked.result())
        memory = {way: workers[way].submit(_peak_bytes).result() for way in WAYS}
    figures = {
        name: {way: [turn[name] for turn in turns[way]] for way in WAYS} for name in turns["fit"][0]
    }
    return {
        "network": make.__name__,
        "batch_size": recipe.batch_size,
        **conditions(digits(), precision),
        "threads": threads,
        "pairs": pairs,
        "peak": peak._asdict(),
        "digits_per_epoch": count,
        "seconds_per_epoch": figures.pop("epoch"),
        "inference": {name: figures.pop(name) for name in INFERENCE},
        "seconds_per_batch": figures,
        "peak_bytes": memory,
        "least_per_batch": step_cost(make(), recipe.batch_size, peak, precision)._asdict(),
    }


def affordable(seconds: float, pace: float, available: int) -> int:
    """How many digits take so many seconds; at least as many as warm up, if there are."""
    return int(min(available, max(WARM_UP_DIGITS, seconds / pace)))


# What follows runs in the worker processes.


def _figures(way: str, name: str, count: int, precision: str) -> dict[str, float]:
    return {
        "epoch": _epoch(way, name, count, precision),
        **_parts(way, name, precision),
        **_inference(way, name),
    }


def _epoch(way: str, name: str, count: int, precision: str) -> float:
    """Seconds of one epoch and its validation, from the first digits of both splits."""
    num_validation = max(1, round(count * len(digits().validation) / len(digits().train)))
    return EPOCH / count * _train(way, NETWORKS[name], count, num_validation, precision)


@limit_threads()
def _train(way: str, entry: Entry, count: int, num_validation: int, precision: str) -> float:
    """Seconds of one epoch of so many digits."""
    train, validation = digits().train.first(count), digits().validation.first(num_validation)
    data, recipe = Digits("", train, validation, validation), replace(entry.recipe, num_epochs=1)
    work = partial(textbook_fit, entry.network(), data, recipe)
    if way == "fit":
        work = partial(fit, *work.args, device="cpu", precision=precision, progress=False)
    return timeit(work, number=1)


def _parts(way: str, name: str, precision: str) -> dict[str, float]:
    """Mean seconds per batch of each part of a training step; together they are the step.

    They are those of a profile, which itself takes a little time for every operation. Dropout is
    that of the forward direction; what it takes backward is in `backward`.
    """
    entry, steps = NETWORKS[name], PROFILED_STEPS[way]
    count = steps * entry.recipe.batch_size
    if way == "textbook":
        labelled = tuple(map(_labelled, entry.recipe.augment))
        entry = entry._replace(recipe=replace(entry.recipe, augment=labelled))
    os.environ["KINETO_LOG_LEVEL"] = "99"  # else the profiler reports that it found no GPU
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as seen:
        whole = _train(way, entry, count, 1, precision)
    seconds = defaultdict(float)
    seconds |= {event.key: event.cpu_time_total / 1e6 for event in seen.key_averages()}
    # Each way has other names; in the textbook way digits are augmented while they are fetched.
    fetching, dropout = ("data", "dropout") if way == "fit" else (FETCHING, "aten::dropout")
    within = seconds["augmentation"] if way == "textbook" else 0.0
    parts = {
        "data": seconds[fetching] - within,
        "augmentation": seconds["augmentation"],
        "forward": seconds["forward"] - seconds[dropout],
        "dropout": seconds[dropout],
        "backward": seconds["backward"],
        "optimizer": seconds["optimizer"],
    }
    parts["the rest"] = whole - sum(parts.values())
    return {part: time / steps for part, time in parts.items()}


def _labelled(transform) -> SimpleNamespace:
    """The transform of single images, with the name in a profile that those of batches have."""
    named = record_function("augmentation")(transform.torchvision())
    return SimpleNamespace(torchvision=lambda: named)


@torch.no_grad()
@limit_threads()
def _inference(way: str, name: str) -> dict[str, float]:
    """Images per second from the stored pixels to the answers, and the latency of one of them."""
    make, recipe, _ = NETWORKS[name]
    data, network = digits(), make().eval()
    many, one = data.validation.first(500), data.validation.first(1)
    if way == "fit":
        network.to(memory_format=torch.channels_last)
        read, read_one = (partial(predict, network, split, recipe) for split in (many, one))
    else:
        _, batches = textbook_batches(replace(data, validation=many), recipe)
        read = partial(textbook_accuracy, network, batches)

        def read_one():
            network(batches.dataset[0][0][None])

    read(), read_one()  # warm-up
    latency = statistics.median(repeat(read_one, number=1, repeat=20))
    return dict(zip(INFERENCE, (len(many) / timeit(read, number=1), latency)))


def _peak_bytes() -> int:
    """The most memory that this process ever held; where the system does not tell: what it does."""
    try:
        status = Path("/proc/self/status").read_text()
        return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])
    except OSError:
        return psutil.Process().memory_info().rss


# The table


def table(runs: list[dict]) -> str:
    """A block for each network: medians of both ways, and the ratio with its spread."""
    return "\n\n".join(map(_block, runs))


def ratios(figures: dict[str, list[float]]) -> list[float]:
    """How many times as long the textbook way takes, pair by pair."""
    return [slow / fast for slow, fast in zip(figures["textbook"], figures["fit"])]


def _block(run: dict) -> str:
    inference, peak, least = run["inference"], run["peak"], run["least_per_batch"]
    scaled = ", scaled" if run["digits_per_epoch"] < EPOCH else ""
    shortest = EPOCH / run["batch_size"] * least["seconds"]
    times = statistics.median(run["seconds_per_epoch"]["fit"]) / shortest
    lines = [
        f"{heading(run)}, threads: {run['threads']}; peak {peak['operations'] / 1e9:.0f} GFLOP/s, "
        f"{peak['bytes'] / 1e9:.0f} GB/s",
        f"{'':<34}{'textbook':>10}{'fit':>10}{'ratio':>8}   spread",
        _row(f"epoch of {EPOCH:,}, s{scaled}", run["seconds_per_epoch"]),
        *(
            _row(f"  {part}, ms per batch of {run['batch_size']}", figures, 1000)
            for part, figures in run["seconds_per_batch"].items()
        ),
        _row("images per second, inference", inference["images_per_second"], more_is_better=True),
        _row("latency of one image, ms", inference["latency"], 1000),
        f"{'peak memory, MB':<34}" + "".join(f"{run['peak_bytes'][w] / 1e6:>10,.0f}" for w in WAYS),
        f"limit: {least['operations'] / 1e9:.2f} GFLOP and {least['bytes'] / 1e6:.0f} MB per batch "
        f"take at least {1000 * least['seconds']:.1f} ms, {shortest:.1f} s per epoch; fit takes "
        f"{times:.1f} times as long",
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

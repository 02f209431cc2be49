"""The textbook way of training against `fit`, measured alternately in one run.

Seconds per epoch, the parts of a step, memory and inference, and how far the machine's own limit is
from there. Each way has a process of its own, because `fit` changes its process's memory allocator.
"""

import itertools
import multiprocessing
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path

import psutil
import torch
from torch import Tensor, nn
from tqdm import tqdm

from mnist_lab.data import Digits, load_data
from mnist_lab.evaluation import predict
from mnist_lab.recipes import NETWORKS
from mnist_lab.records import processor, save_measurement
from mnist_lab.speed import FastDropout, choose_threads, keep_freed_memory, limit_threads
from mnist_lab.studies.roofline import measure_peak, step_cost
from mnist_lab.studies.textbook import textbook_accuracy, textbook_batches, textbook_fit
from mnist_lab.training import Batches, choose_precision, fit, make_optimizer
from mnist_lab.validation import UserError

WAYS = ("textbook", "fit")
EPOCH = 50_000  # digits; with fewer, seconds are scaled to this many
WARM_UP_DIGITS, QUICK_MINUTES, QUICK_PAIRS = 1_280, 0.1, 2
PARTS = ("data", "augmentation", "forward", "dropout", "backward", "optimizer")


def main(
    network: str = "both", pairs: int = 5, minutes: float = 10, precision: str = "auto"
) -> dict:
    """Print the table, write its record into `runs/bench/`, and return the record.

    `minutes`: about how long the epochs of all networks may take. Where that is not enough for
    whole epochs, both ways train on the first digits only, and seconds are scaled.
    Raises `ValueError` for fewer than one pair or no time.
    """
    if pairs < 1 or minutes <= 0:
        raise UserError(f"pairs and minutes must be above 0, not {pairs} and {minutes}.")
    data, names = load_data(), list(NETWORKS) if network == "both" else [network]
    precision, threads = choose_precision(precision, torch.device("cpu")), choose_threads()
    with limit_threads():
        peak = measure_peak(precision)
    record = {
        "digits": data.name,
        "processor": processor(),
        "threads": threads,
        "torch": torch.__version__,
        "precision": precision,
        "pairs": pairs,
        "peak": asdict(peak),
    }
    print(f"{data.name}; {processor()}, {threads} threads, torch "
          f"{torch.__version__}, {precision}; peak {peak.operations / 1e9:.0f} GFLOP/s, "
          f"{peak.bytes / 1e9:.0f} GB/s")  # fmt: skip
    context = multiprocessing.get_context("spawn")
    if "forkserver" in multiprocessing.get_all_start_methods():  # not on Windows
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])  # import torch once for all, not in each worker
    for name in names:
        with ExitStack() as stack:  # new processes for each network: their peak memory is its own
            workers = {way: stack.enter_context(ProcessPoolExecutor(1, context)) for way in WAYS}
            record[name] = _measure(name, workers, pairs, 60 * minutes / len(names), precision)
        make, recipe, _ = NETWORKS[name]
        cost = asdict(step_cost(make(), recipe.batch_size, peak, precision))
        record[name]["least_per_batch"] = cost
        print(table(make.__name__, recipe.batch_size, record[name]), flush=True)
    save_measurement("bench", record)
    return record


def _measure(name: str, workers: dict, pairs: int, seconds: float, precision: str) -> dict:
    """All figures of one network, way by way and pair by pair."""

    def ask(work, *arguments):
        return {way: worker.submit(work, way, name, *arguments).result()
                for way, worker in workers.items()}  # fmt: skip

    # Both load their libraries and the digits at once. The first call of everything is slow: the
    # first epoch warms up, and tells how much there is time for.
    loading = [worker.submit(_available) for worker in workers.values()]
    available = min(future.result() for future in loading)
    warm_up = min(WARM_UP_DIGITS, available)
    pace = sum(ask(_epoch, warm_up, precision).values()) / warm_up
    digits = int(min(available, max(warm_up, seconds / pairs / pace)))
    epochs, parts, inference = ([] for _ in range(3))
    for _ in tqdm(range(pairs), desc=name, unit="pair", leave=False, disable=None):
        epochs.append(ask(_epoch, digits, precision))
        parts.append(ask(_parts, precision))
        inference.append(ask(_inference))
    peak_bytes = {way: worker.submit(_peak_bytes).result() for way, worker in workers.items()}
    return {
        "digits_per_epoch": digits,
        "seconds_per_epoch": _by_way(epochs, scale=EPOCH / digits),
        "seconds_per_batch": {part: _by_way(parts, part) for part in PARTS},
        "inference": {figure: _by_way(inference, figure) for figure in inference[0]["fit"]},
        "peak_bytes": peak_bytes,
    }


def table(network: str, batch_size: int, record: dict) -> str:
    """The figures of one network as text: medians of both ways, and the ratio with its spread."""
    lines = [f"\n{network:<34}{'textbook':>10}{'fit':>10}{'ratio':>8}   spread"]

    def row(title, figures, factor=1.0, more_is_better=False):
        values = (factor * statistics.median(figures[way]) for way in WAYS)
        cells = "".join(f"{value:>10,.{0 if value >= 1000 else 2}f}" for value in values)
        if min(figures["textbook"] + figures["fit"]) <= 0:  # a difference within the noise
            lines.append(f"{title:<34}{cells}{'-':>8}")
            return
        ratios = [slow / fast for slow, fast in zip(figures["textbook"], figures["fit"])]
        if more_is_better:
            ratios = [1 / ratio for ratio in ratios]
        lines.append(f"{title:<34}{cells}{statistics.median(ratios):>8.2f}"
                     f"   {min(ratios):.2f} to {max(ratios):.2f}")  # fmt: skip

    scaled = record["digits_per_epoch"] < EPOCH
    row(f"epoch of {EPOCH:,}, s" + (", scaled" if scaled else ""), record["seconds_per_epoch"])
    for part, figures in record["seconds_per_batch"].items():
        row(f"  {part}, ms per batch of {batch_size}", figures, 1000)
    row("images per second, inference", record["inference"]["images_per_second"], 1, True)
    row("latency of one image, ms", record["inference"]["latency"], 1000)
    peak, least = record["peak_bytes"], record["least_per_batch"]
    lines.append(f"{'peak memory, MB':<34}"
                 + "".join(f"{peak[way] / 1e6:>10,.0f}" for way in WAYS))  # fmt: skip
    batches = EPOCH / batch_size
    seconds = statistics.median(record["seconds_per_epoch"]["fit"])
    lines.append(
        f"limit: {least['operations'] / 1e9:.2f} GFLOP and {least['bytes'] / 1e6:.0f} MB per batch "
        f"take at least {1000 * least['seconds']:.1f} ms, {batches * least['seconds']:.1f} s per "
        f"epoch; fit takes {seconds / (batches * least['seconds']):.1f} times as long"
    )
    return "\n".join(lines)


def _by_way(pairs: list[dict], figure: str | None = None, scale: float = 1.0) -> dict:
    """From a list of pairs to a list for each way."""
    return {
        way: [scale * (pair[way] if figure is None else pair[way][figure]) for pair in pairs]
        for way in WAYS
    }


# What follows runs in the worker processes.


@cache
def _data() -> Digits:
    return load_data()


def _available() -> int:
    return len(_data().train)


@limit_threads()
def _epoch(way: str, name: str, digits: int, precision: str) -> float:
    """Seconds of one epoch and its validation, on the first digits of both splits."""
    make, recipe, _ = NETWORKS[name]
    recipe, data = replace(recipe, num_epochs=1), _data()
    train = data.train.first(digits)
    share = len(train) / len(data.train)
    validation = data.validation.first(max(1, round(share * len(data.validation))))
    data, network = replace(data, train=train, validation=validation), make()
    start = time.perf_counter()
    if way == "textbook":
        textbook_fit(network, data, recipe)
    else:
        fit(network, data, recipe, device="cpu", precision=precision, progress=False)
    return time.perf_counter() - start


class _Clock:
    """Adds up seconds by name."""

    def __init__(self):
        self.seconds = defaultdict(float)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[part] += time.perf_counter() - start


@dataclass(frozen=True)
class _Timed:
    """A transform of a recipe, for one image or a batch, under a clock."""

    transform: object
    clock: _Clock

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        with self.clock("augmentation"):
            return self.transform(images, generator)

    def torchvision(self):
        alone = self.transform.torchvision()

        def timed(image):
            with self.clock("augmentation"):
                return alone(image)

        return timed


@limit_threads()
def _parts(way: str, name: str, precision: str, steps: int | None = None) -> dict[str, float]:
    """Mean seconds per batch of each part of a training step.

    Dropout is what a step takes longer with it than without: it works in both directions.
    """
    if steps is None:
        steps = 10 if way == "fit" else 3  # the cheap dropout draws anew every ninth step or so
    make, recipe, _ = NETWORKS[name]
    clock, plain, network = _Clock(), _Clock(), make()
    timed = replace(recipe, augment=tuple(_Timed(each, clock) for each in recipe.augment))
    if way == "textbook":
        source, context = textbook_batches(_data(), timed)[0], nullcontext()
    else:
        network.to(memory_format=torch.channels_last)
        generator = torch.Generator().manual_seed(recipe.seed)
        source = Batches(_data().train, timed, generator)
        context = FastDropout(generator)
        keep_freed_memory()
    optimizer, _, _ = make_optimizer(network, recipe, 1000, fused=way == "fit")
    batches = itertools.chain.from_iterable(itertools.repeat(source))
    low = way == "fit" and precision == "bf16"
    with context:
        for step in range(2 * steps):
            with_dropout = step % 2 == 0
            _dropout(network.train(), with_dropout)
            if step == 2:  # the first steps warm up
                clock.seconds.clear(), plain.seconds.clear()
            with clock("data"):
                images, labels = next(batches)
            one = clock if with_dropout else plain
            with one("forward"), torch.autocast("cpu", torch.bfloat16, enabled=low):
                if way == "fit":
                    images = images.to(memory_format=torch.channels_last)
                outputs = network(images)
            with one("backward"):
                recipe.loss_of(outputs.float(), labels).backward()
            with clock("optimizer"):
                optimizer.step()
                optimizer.zero_grad()
    every, half = clock.seconds, steps - 1
    dropout = sum(every[part] - plain.seconds[part] for part in ("forward", "backward"))
    return {
        "data": (every["data"] - every["augmentation"]) / (2 * half),
        "augmentation": every["augmentation"] / (2 * half),
        "forward": plain.seconds["forward"] / half,
        "dropout": dropout / half,
        "backward": plain.seconds["backward"] / half,
        "optimizer": every["optimizer"] / (2 * half),
    }


def _dropout(network: nn.Module, on: bool) -> None:
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.train(on)


@limit_threads()
def _inference(way: str, name: str, digits: int = 500) -> dict[str, float]:
    """Images per second from the stored pixels to the answers, and the latency of one of them."""
    make, recipe, _ = NETWORKS[name]
    data, network = _data(), make()
    if way == "fit":
        network.to(memory_format=torch.channels_last)

    many, one = data.validation.first(digits), data.validation.first(1)
    if way == "fit":
        read, read_one = (partial(predict, network, split, recipe) for split in (many, one))
    else:
        batches = textbook_batches(replace(data, validation=many), recipe)[1]
        single = batches.dataset
        read = partial(textbook_accuracy, network.eval(), batches)
        read_one = torch.no_grad()(lambda: network(single[0][0].unsqueeze(0)))
    _seconds(read), _seconds(read_one)  # warm-up
    latency = statistics.median(_seconds(read_one) for _ in range(20))
    return {"images_per_second": len(many) / _seconds(read), "latency": latency}


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

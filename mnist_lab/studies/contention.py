"""What a training loses to other work on the same machine, by its number of threads.

Three situations in turn: alone, beside one process that does nothing but compute, and beside a
second training. Every training has a process of its own, as two notebooks would.
"""

import multiprocessing
import statistics
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cache

import torch
from joblib import cpu_count
from tqdm import tqdm

from mnist_lab.data import Digits, load_data
from mnist_lab.recipes import NETWORKS
from mnist_lab.records import processor, save_measurement
from mnist_lab.speed import choose_threads
from mnist_lab.training import choose_precision, fit
from mnist_lab.validation import UserError

SITUATIONS = ("alone", "busy", "second")  # beside nothing, a busy process, a second training
STEPS = 60  # of a turn: a few seconds, long enough for the scheduler to have its say
WARM_UP_STEPS = 10  # OneCycle could not rise within fewer


def main(network: str = "both", rounds: int = 5, precision: str = "auto") -> dict:
    """Print the table, write its record into `runs/bench/`, and return the record.

    Every round visits every situation with every number of threads: those that `fit` chooses, and
    one for each core. Raises `ValueError` for less than one round.
    """
    if rounds < 1:
        raise UserError(f"pairs must be 1 or more, not {rounds}.")
    precision = choose_precision(precision, torch.device("cpu"))
    names = list(NETWORKS) if network == "both" else [network]
    record = {
        "digits": load_data().name,
        "processor": processor(),
        "torch": torch.__version__,
        "cores": cpu_count(),
        "chosen": choose_threads(),
        "precision": precision,
        "rounds": rounds,
    }
    print(f"{record['digits']}; {record['processor']}, {cpu_count()} cores, {precision}")
    for name in names:
        numbers = sorted({choose_threads(), cpu_count()})
        record[name] = _measure(name, numbers, rounds, precision)
        print(table(NETWORKS[name].network.__name__, record["chosen"], record[name]), flush=True)
    save_measurement("bench", record, "busy")
    return record


def table(network: str, chosen: int, figures: dict) -> str:
    """Milliseconds a step by threads and situation: medians, and the ratios that they come to."""
    lines = [f"\n{network + ', ms a step':<28}{'alone':>10}{'busy':>10}{'second':>10}"
             f"{'busy/alone':>13}{'second/alone':>14}{'alone/best':>12}"]  # fmt: skip
    medians = {
        threads: [1000 * statistics.median(seconds[situation]) for situation in SITUATIONS]
        for threads, seconds in figures.items()
    }
    best = min(alone for alone, _, _ in medians.values())
    for threads, (alone, busy, second) in medians.items():
        title = f"{threads} thread{'s'[: int(threads) > 1]}"
        title += " (fit's choice)" if int(threads) == chosen else ""
        lines.append(f"{title:<28}{alone:>10.1f}{busy:>10.1f}{second:>10.1f}{busy / alone:>13.2f}"
                     f"{second / alone:>14.2f}{alone / best:>12.2f}")  # fmt: skip
    return "\n".join(lines)


def _measure(name: str, numbers: list[int], rounds: int, precision: str) -> dict[str, dict]:
    """Seconds a step, for each number of threads (as JSON's keys, texts) and each situation."""
    figures = {str(number): {situation: [] for situation in SITUATIONS} for number in numbers}
    spawn = multiprocessing.get_context("spawn")  # own processes: `fit` changes the allocator
    with ProcessPoolExecutor(1, spawn) as one, ProcessPoolExecutor(1, spawn) as other:

        def seconds(number: int, *workers: ProcessPoolExecutor, steps: int = STEPS) -> float:
            futures = [w.submit(_seconds, name, number, precision, steps) for w in workers]
            return max(future.result() for future in futures)

        seconds(1, one, other, steps=WARM_UP_STEPS)
        for _ in tqdm(range(rounds), desc=name, unit="round", leave=False, disable=None):
            for number in numbers:
                alone, busy, second = figures[str(number)].values()
                alone.append(seconds(number, one))
                with busy_core():
                    busy.append(seconds(number, one))
                second.append(seconds(number, one, other))
    return figures


@contextmanager
def busy_core() -> Iterator[None]:
    """While it lasts, a process beside this one keeps a core busy."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


# What follows runs in the worker processes.


@cache
def _data() -> Digits:
    return load_data()


def _seconds(name: str, num_threads: int, precision: str, steps: int) -> float:
    """Mean seconds of a training step of `fit`, without its validation."""
    make, recipe, _ = NETWORKS[name]
    data = _data()
    train = data.train.first(steps * recipe.batch_size)
    data = replace(data, train=train, validation=data.validation.first(250))
    recipe = replace(recipe, num_epochs=1)
    history = fit(
        make(), data, recipe,
        device="cpu", precision=precision, num_threads=num_threads, progress=False,
    )  # fmt: skip
    return history.train_seconds[0] / len(history.batch_loss)

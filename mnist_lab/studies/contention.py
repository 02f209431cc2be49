"""What a training loses to other work on the same machine, by its number of threads.

Three situations in turn: alone, beside one process that does nothing but compute, and beside a
second training. Every training has a process of its own, as two notebooks would.
"""

import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from joblib import cpu_count

from mnist_lab.recipes import NETWORKS
from mnist_lab.speed import choose_threads
from mnist_lab.studies.measuring import chosen_networks, conditions, digits, heading, own_process
from mnist_lab.training import choose_precision, fit
from mnist_lab.validation import Count, check

SITUATIONS = ("alone", "busy", "second")  # beside nothing, a busy process, a second training
STEPS = 60  # of a turn: a few seconds, long enough for the scheduler to have its say
WARM_UP_STEPS = 10  # OneCycle could not rise within fewer
BUSY = """\
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
while True: pass
"""  # until its parent ends, whatever ends that


def cases(network: str | None = None, rounds: int = 5, precision: str = "auto") -> list[dict]:
    """One for each network, or for this one. `rounds`: how often each situation is timed."""
    case = {
        "rounds": check("rounds", rounds, Count),
        "precision": choose_precision(precision, torch.device("cpu")),
    }
    return [{"network": name} | case for name in chosen_networks(network)]


def run(network: str, rounds: int, precision: str) -> dict:
    """`seconds` of a step by the number of threads (texts, as JSON's keys are) and the situation.

    Every round visits every situation with every number of threads: those that `fit` chooses, and
    one for each core.
    """
    numbers = sorted({choose_threads(), cpu_count()})
    figures = {str(number): {situation: [] for situation in SITUATIONS} for number in numbers}

    def seconds(number: int, *processes, steps: int = STEPS) -> float:
        asked = [process.submit(_step, network, number, precision, steps) for process in processes]
        return max(answer.result() for answer in asked)

    with own_process() as one, own_process() as other:
        seconds(1, one, other, steps=WARM_UP_STEPS)
        for number in rounds * numbers:
            alone, busy, second = figures[str(number)].values()
            alone.append(seconds(number, one))
            with busy_core():
                busy.append(seconds(number, one))
            second.append(seconds(number, one, other))
    return {
        "network": NETWORKS[network].network.__name__,
        **conditions(digits(), precision),
        "cores": cpu_count(),
        "chosen": choose_threads(),
        "rounds": rounds,
        "seconds": figures,
    }


@contextmanager
def busy_core() -> Iterator[None]:
    """While it lasts, a process beside this one keeps a core busy."""
    process = subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE)
    try:
        yield
    finally:
        process.kill()
        process.communicate()


def _step(name: str, num_threads: int, precision: str, steps: int) -> float:
    """In a worker: mean seconds of a training step of `fit`, without its validation."""
    make, recipe, _ = NETWORKS[name]
    data, recipe = digits(), replace(recipe, num_epochs=1)
    train = data.train.first(steps * recipe.batch_size)
    data = replace(data, train=train, validation=data.validation.first(250))
    history = fit(
        make(), data, recipe,
        device="cpu", precision=precision, num_threads=num_threads, progress=False,
    )  # fmt: skip
    return history.train_seconds[0] / len(history.batch_loss)


def table(runs: list[dict]) -> str:
    """A block for each network: medians by threads and situation, and the ratios they come to."""
    return "\n\n".join(map(_block, runs))


def _block(run: dict) -> str:
    lines = [f"{heading(run)}, {run['cores']} cores",
             f"{'ms a step':<28}{'alone':>10}{'busy':>10}{'second':>10}"
             f"{'busy/alone':>13}{'second/alone':>14}{'alone/best':>12}"]  # fmt: skip
    medians = {
        threads: [1000 * statistics.median(seconds[situation]) for situation in SITUATIONS]
        for threads, seconds in run["seconds"].items()
    }
    best = min(alone for alone, _, _ in medians.values())
    for threads, (alone, busy, second) in medians.items():
        title = f"threads: {threads}{' (fit)' if int(threads) == run['chosen'] else ''}"
        lines.append(f"{title:<28}{alone:>10.1f}{busy:>10.1f}{second:>10.1f}{busy / alone:>13.2f}"
                     f"{second / alone:>14.2f}{alone / best:>12.2f}")  # fmt: skip
    return "\n".join(lines)

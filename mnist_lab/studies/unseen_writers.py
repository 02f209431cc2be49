"""Are the digits of people whom a network has never met harder to read?

A random validation split takes its digits from the writers of the training digits. Here each of
six runs holds out a sixth of the writers, with all that they wrote, and of the other writers a
sixth of their digits. So over six runs five digits in six are read twice: once by a network that
knows their writer from other digits, once by one that does not. The two answers are compared digit
by digit, which leaves out how hard the digits are.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mnist_lab.data import Split, load_data, load_writers
from mnist_lab.evaluation import evaluate
from mnist_lab.recipes import NETWORKS, shortened
from mnist_lab.statistics import paired_interval, writer_difference
from mnist_lab.studies.measuring import NETWORK, conditions, digits
from mnist_lab.training import fit
from mnist_lab.validation import Count, UserError, check

FOLDS = 6
KINDS = ("known", "strangers")  # the names that results have for the digits of either writers


def cases(network: str = "bottleneck", num_epochs: int = 20) -> list[dict]:
    """One for each fold. Raises `UserError` without MNIST, the only digits with known writers."""
    check("network", network, NETWORK)
    check("num_epochs", num_epochs, Count)
    if not digits().is_mnist:
        raise UserError(
            "who wrote a digit is known of MNIST alone, which is not what load_data() finds: set "
            "MNIST_LAB_DATA, and unset MNIST_LAB_SOURCE."
        )
    return [{"network": network, "fold": fold, "num_epochs": num_epochs} for fold in range(FOLDS)]


def run(network: str, fold: int, num_epochs: int) -> dict:
    """Train on what this fold leaves, with the published recipe at this length, in fp32.

    Says which digits were read wrong, by their number in MNIST's 60,000. The fold is the seed, too.
    Raises `DataError` without MNIST.
    """
    data, (make, recipe, _) = load_data("mnist", split="as published"), NETWORKS[network]
    recipe = replace(shortened(recipe, num_epochs), seed=fold)
    known, unseen = held_out(data.train, fold)
    train, validation = data.train.take(~(known | unseen)), data.train.take(known)
    torch.manual_seed(fold)
    net = make()
    few = replace(data, train=train, validation=validation)
    history = fit(net, few, recipe, precision="fp32", progress=False)
    result = {
        "network": make.__name__,
        "fold": fold,
        "num_epochs": num_epochs,
        "recipe": repr(recipe),
        "train": len(train),
        **conditions(data, "fp32"),
        "seconds": sum(history.seconds),
    }
    for kind, mask in zip(KINDS, (known, unseen)):
        mistakes = evaluate(net, data.train.take(mask), recipe).mistakes()
        numbers = mask.nonzero().flatten().tolist()
        wrong = sorted(numbers[mistake.index] for mistake in mistakes)
        result[kind] = {"total": len(numbers), "wrong": wrong}
    return result


def held_out(split: Split, fold: int) -> tuple[Tensor, Tensor]:
    """Which digits this fold holds out although their writers stay, and which with their writers.

    Two masks `[N]`. Every sixth has about as many writers of each series.
    """
    of_writer, of_digit = folds(split.writers, split.series)
    unseen = of_writer == fold
    return ~unseen & (of_digit == fold), unseen


def folds(writers: Tensor, series: Tensor) -> tuple[Tensor, Tensor]:
    """The sixth of each digit's writer, and of the digit itself: `[N]` each, 0 to 5."""
    draws = np.random.RandomState(0)  # never changes
    of_writer = torch.full((int(writers.max()) + 1,), -1)
    for one in series.unique():
        names = writers[series == one].unique()
        of_writer[names] = torch.from_numpy(draws.permutation(len(names)) % FOLDS)
    return of_writer[writers], torch.from_numpy(draws.permutation(len(writers)) % FOLDS)


def both_ways(runs: list[dict]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which digits were read right by a network that knew the writer, and which by one that did
    not: `[M]` each, of the digits that both were asked; and their writers `[M]`.

    Raises `UserError` unless the runs are one network's six folds.
    """
    found = sorted(run["fold"] for run in runs)
    if found != list(range(FOLDS)):
        raise UserError(f"runs must be of the folds 0 to {FOLDS - 1}, one of each, not {found}.")
    writers, series = load_writers(train=True)
    of_writer, of_digit = folds(writers, series)
    right = np.ones((len(KINDS), len(writers)), bool)
    for kind, answers in zip(KINDS, right):
        answers[[index for run in runs for index in run[kind]["wrong"]]] = False
    return tuple(part[(of_writer != of_digit).numpy()] for part in (*right, writers))


def table(runs: list[dict]) -> str:
    """Accuracy of one network on either kind of digits, fold by fold, and the difference with its
    intervals. Raises `UserError` as `both_ways` does.
    """
    lines = [
        f"{runs[0]['network']}, {runs[0]['num_epochs']} epochs",
        f"{'':<16}{KINDS[0]:>10}{KINDS[1]:>12}{'difference':>12}",
    ]
    shares = [[1 - len(run[kind]["wrong"]) / run[kind]["total"] for run in runs] for kind in KINDS]
    for run, a, b in zip(runs, *shares):
        name = f"fold {run['fold']}"
        lines.append(f"{name:<16}{a:>10.2%}{b:>12.2%}{100 * (b - a):>+12.2f}")
    known, unseen, writers = both_ways(runs)
    low, high = writer_difference(known, unseen, writers)
    over_folds = paired_interval(*shares)
    lines += [
        f"{'the same digits':<16}{known.mean():>10.2%}{unseen.mean():>12.2%}"
        f"{100 * (unseen.mean() - known.mean()):>+12.3f}   "
        f"[{100 * low:+.3f}, {100 * high:+.3f}] over writers",
        f"{'over folds':<46}{100 * over_folds.mean:>+.3f}   "
        f"[{100 * over_folds.low:+.3f}, {100 * over_folds.high:+.3f}]",
    ]
    return "\n".join(lines)

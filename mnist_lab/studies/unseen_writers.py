"""Are the digits of people whom a network has never met harder to read?

A random validation split takes its digits from the writers of the training digits. Here each of
six runs holds out a sixth of the writers, the strangers, with all that they wrote, and of the other
writers a sixth of their digits. So over six runs five digits in six are read twice: once by a
network that knows their writer from other digits, once by one that does not. The two answers are
compared digit by digit, which leaves out how hard the digits are.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mnist_lab.data import Split, load_data, load_writers
from mnist_lab.evaluation import evaluate
from mnist_lab.recipes import NETWORKS, shortened
from mnist_lab.records import processor
from mnist_lab.statistics import paired_interval, writer_difference
from mnist_lab.training import fit
from mnist_lab.validation import UserError

FOLDS = 6


def run(network: str, fold: int, num_epochs: int) -> dict:
    """Train on what this fold leaves, with the published recipe at this length, in fp32; return
    which digits were read wrong, by their number in MNIST's 60,000.

    The fold is the seed, too. Raises `DataError` without MNIST.
    """
    data = load_data("mnist", split="as published")
    make, recipe, _ = NETWORKS[network]
    recipe = replace(shortened(recipe, num_epochs), seed=fold)
    strangers, known = held_out(data.train, fold)
    torch.manual_seed(fold)
    net = make()
    train, validation = data.train.take(~(strangers | known)), data.train.take(known)
    history = fit(
        net, replace(data, train=train, validation=validation), recipe,
        precision="fp32", progress=False,
    )  # fmt: skip
    return {
        "network": make.__name__,
        "fold": fold,
        "num_epochs": num_epochs,
        "recipe": repr(recipe),
        "train": len(train),
        "processor": processor(),
        "torch": torch.__version__,
        "seconds": sum(history.seconds),
        **{
            name: {"total": int(mask.sum()), "wrong": _wrong(net, data.train, mask, recipe)}
            for name, mask in (("strangers", strangers), ("known", known))
        },
    }


def held_out(split: Split, fold: int) -> tuple[Tensor, Tensor]:
    """Which digits this fold holds out because of their writers, and which in spite of them.

    Two masks `[N]`. Every sixth has about as many writers of each series.
    """
    of_writer, of_digit = folds(split.writers, split.series)
    strangers = of_writer == fold
    return strangers, ~strangers & (of_digit == fold)


def folds(writers: Tensor, series: Tensor) -> tuple[Tensor, Tensor]:
    """The sixth of each digit's writer, and of the digit itself: `[N]` each, 0 to 5."""
    draws = np.random.RandomState(0)  # never changes
    of_writer = torch.full((int(writers.max()) + 1,), -1)
    for one in series.unique():
        names = writers[series == one].unique()
        of_writer[names] = torch.from_numpy(draws.permutation(len(names)) % FOLDS)
    return of_writer[writers], torch.from_numpy(draws.permutation(len(writers)) % FOLDS)


def both_ways(results: list[dict]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which digits were read right by a network that knew the writer, and which by one that did
    not: `[M]` each, of the digits that both were asked; and their writers `[M]`.

    Raises `ValueError` unless `results` are one network's six folds.
    """
    if sorted(result["fold"] for result in results) != list(range(FOLDS)):
        raise UserError(f"results must be of the folds 0 to {FOLDS - 1}, one of each.")
    writers, series = load_writers(train=True)
    of_writer, of_digit = folds(writers, series)
    asked_twice = (of_writer != of_digit).numpy()
    right = {}
    for name in ("known", "strangers"):
        right[name] = np.ones(len(writers), bool)
        right[name][[index for result in results for index in result[name]["wrong"]]] = False
    return right["known"][asked_twice], right["strangers"][asked_twice], writers[asked_twice]


def table(results: list[dict]) -> str:
    """Accuracy on either kind of digits, fold by fold, and the difference with its intervals."""
    title = f"{results[0]['num_epochs']} epochs"
    lines = [f"{title:<16}{'known':>10}{'strangers':>12}{'difference':>12}"]
    shares = {
        name: [1 - len(one[name]["wrong"]) / one[name]["total"] for one in results]
        for name in ("known", "strangers")
    }
    for result, known, strangers in zip(results, *shares.values()):
        name = f"fold {result['fold']}"
        difference = 100 * (strangers - known)
        lines.append(f"{name:<16}{known:>10.2%}{strangers:>12.2%}{difference:>+12.2f}")
    known, strangers, writers = both_ways(results)
    low, high = writer_difference(known, strangers, writers)
    over_folds = paired_interval(*shares.values())
    lines += [
        f"{'the same digits':<16}{known.mean():>10.2%}{strangers.mean():>12.2%}"
        f"{100 * (strangers.mean() - known.mean()):>+12.3f}   "
        f"[{100 * low:+.3f}, {100 * high:+.3f}] over writers",
        f"{'over folds':<46}{100 * over_folds.mean:>+.3f}   "
        f"[{100 * over_folds.low:+.3f}, {100 * over_folds.high:+.3f}]",
    ]
    return "\n".join(lines)


def _wrong(network, split: Split, mask: Tensor, recipe) -> list[int]:
    numbers = mask.nonzero().flatten()
    mistakes = evaluate(network, split.take(mask), recipe).mistakes()
    return sorted(int(numbers[mistake.index]) for mistake in mistakes)

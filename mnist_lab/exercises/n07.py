"""The exercises of notebook 07: a stepwise schedule, calibration, a map in two steps, looks."""

from itertools import combinations, pairwise

import numpy as np
import torch
from torch import Tensor

from mnist_lab.exercises.cases import draw, rand, randn
from mnist_lab.exercises.checks import by_example, expect_kind, expect_shape, refuse
from mnist_lab.exercises.question import exercise


@exercise("Down by steps")
def down_by_steps(lr_at):
    cases = [(epoch, 0.001, 15, 0.1) for epoch in (1, 15, 16, 31)]
    for _ in range(3):
        lr, size, gamma = draw.uniform(0.01, 1), draw.randint(2, 9), draw.uniform(0.2, 0.9)
        epochs = 1, size, size + 1, 2 * size, 2 * size + 1, 7 * size, 7 * size + 1
        cases += [(epoch, lr, size, gamma) for epoch in epochs]
    cases.append((36, 0.010191, 5, 0.2))  # the smallest: whoever rounds is told so each time
    slips = (
        (lambda e, lr, n, g: lr * g ** (e // n), "the fifteenth epoch still has the first rate."),
        (lambda e, lr, n, g: lr * g**e, "nothing has been multiplied in the first epoch."),
        (lambda e, lr, n, g: lr, "after 15 epochs the rate falls to a tenth."),
        (lambda e, lr, n, g: lr if e <= n else lr * g, "after 30 epochs it falls once more."),
        (lambda e, lr, n, g: lr * g ** ((e - 1) // 15), "other steps than 15 are asked, too."),
        (lambda e, lr, n, g: lr * 0.1 ** ((e - 1) // n), "other factors than 0.1 are asked, too."),
    )
    by_example("lr_at", lr_at, lambda e, lr, n, g: lr * g ** ((e - 1) // n), cases, slips)


@exercise("How much is its certainty worth?")
def how_much_is_its_certainty_worth(ece):
    def of(combine):
        return lambda *answers: combine(*_bins(*answers))

    slips = (
        (of(lambda gaps, shares: gaps.abs().mean()), "weigh each bin by its number of answers."),
        (of(lambda gaps, shares: gaps @ shares), "gaps above and below cancel each other."),
        (of(lambda gaps, shares: (gaps @ shares).abs()), "gaps above and below cancel each other."),
        (of(lambda gaps, shares: gaps.abs().max()), "the mean is expected, not the largest."),
        (of(lambda gaps, shares: (gaps**2 @ shares).sqrt()), "take the distances, not squares."),
        (lambda *a: _ece(*a) * len(a[0]), "it is a sum over the answers; divide by their number."),
        (lambda *a: _ece(*a) * 100, "it is in percent; a fraction is expected."),
        (lambda *a: torch.nan, "a bin without answers has no mean; leave it out."),
        (lambda *a: _ece(*a, upper=False), "an answer on an edge belongs to the bin below it."),
        (lambda *a: _ece(*a[:2], EXAMPLE), "are the edges fixed? Take `edges`."),
    )
    otherwise = "The distance of each bin counts as often as the bin holds answers."
    cases = [_drawn_answers() for _ in range(3)]
    by_example("ece", ece, _ece, cases, slips, otherwise=otherwise)


EXAMPLE = [0.0, 0.5, 0.9, 1.0]
OTHER_EDGES = [EXAMPLE, [0.0, 1.0], *(torch.linspace(0, 1, n + 1).tolist() for n in (5, 10, 15))]


def _drawn_answers() -> tuple[Tensor, Tensor, list[float]]:
    """Confidences, which answers are right, and edges; with other edges the error is another."""
    while True:
        inner = sorted(draw.sample(range(4, 29), 4))
        edges = [0.0, *(place / 32 for place in inner), 1.0]  # float32 holds 32nds exactly
        bins = list(pairwise(edges))
        bins.pop(draw.randrange(1, 4))  # one stays empty
        sure, right = [], []
        for low, high in bins:
            sure += [low + (high - low) * rand(draw.randint(8, 20)), torch.tensor([high] * 2)]
            right += [rand(len(sure[-2])) < draw.choice((0.25, 0.75)), torch.tensor([True] * 2)]
        sure, right = torch.cat(sure), torch.cat(right)
        errors = [_ece(sure, right, edges), _ece(sure, right, edges, upper=False)]
        errors += [_ece(sure, right, other) for other in OTHER_EDGES]
        if all(abs(one - other) > 0.003 for one, other in combinations(errors, 2)):
            return sure, right, edges


def _ece(sure: Tensor, right: Tensor, edges: list[float], upper: bool = True) -> float:
    gaps, shares = _bins(sure, right, edges, upper)
    return float(gaps.abs() @ shares)


def _bins(sure, right, edges, upper=True) -> tuple[Tensor, Tensor]:
    """Of each bin the mean confidence less the share that is right, and its share of the answers.

    A bin holds its upper edge, or else its lower one.
    """
    number = torch.bucketize(sure, torch.tensor(edges), right=not upper)
    counts, sums = number.bincount(), number.bincount(sure.double() - right.double())
    filled = counts > 0
    return sums[filled] / counts[filled], counts[filled] / counts.sum(dtype=torch.double)


@exercise("A bottleneck, from a matrix")
def a_bottleneck_from_a_matrix(low_rank):
    def product(matrix, width):
        found = low_rank(matrix, width)
        expect_kind(found, (tuple, list), "what low_rank returns", "a pair of matrices")
        refuse((len(found) != 2, f"low_rank returns {len(found)} things, not `down, up`."))
        down, up = (torch.as_tensor(m) if isinstance(m, np.ndarray) else m for m in found)
        rows, columns = matrix.shape
        shapes = [list(getattr(m, "shape", ())) for m in found]
        swapped = shapes == [[rows, width], [width, columns]]
        refuse((swapped, "the two matrices are interchanged: `down` is applied first."))
        expect_shape(down, (width, columns), "`down`")
        expect_shape(up, (rows, width), "`up`")
        return up.double() @ down.double()

    def of(combine):
        return lambda matrix, n: combine(*torch.linalg.svd(matrix, full_matrices=False), n)

    slips = (
        (of(lambda u, s, v, n: u[:, :n] @ v[:n]), "the singular values are left out."),
        (of(lambda u, s, v, n: u[:, :n] * s[:n] ** 2 @ v[:n]), "the singular values are in twice."),
        (of(lambda u, s, v, n: u[:, -n:] * s[-n:] @ v[-n:]), "the least important part is kept."),
    )
    right = of(lambda u, s, v, n: u[:, :n] * s[:n] @ v[:n])
    cases = [(_matrix(*size), n) for *size, n in ((6, 9, 2), (9, 6, 3), (5, 8, 5))]
    by_example("`up @ down` of low_rank", product, right, cases, slips)


def _matrix(rows: int, columns: int) -> Tensor:
    """Its singular values lie apart: luck has no say in which directions are the most important."""
    count = min(rows, columns)
    left, right = (torch.linalg.qr(randn(size, count)).Q for size in (rows, columns))
    return left * (torch.arange(count, 0, -1) + rand(count) / 2) @ right.T


@exercise("The epoch that was chosen")
def the_epoch_that_was_chosen(report):
    def at_best(history, test):
        return test[history.index(max(history))]

    slips = (
        (lambda history, test: max(test), "it is still the best of the test accuracies."),
        (lambda history, test: max(history), "it is the accuracy on validation."),
        (lambda h, t: at_best(h[::-1], t[::-1]), "of two equal epochs it takes the later one."),
        (lambda h, t: max(zip(h, t))[1], "of two equal epochs it takes the luckier one."),
        (lambda history, test: test[-1], "the last epoch is a good rule, but not the one asked."),
        (lambda h, t: h.index(max(h)), "it is the place of the epoch, not its test accuracy."),
        (lambda h, t: h.index(max(h)) + 1, "it is the number of the epoch, not its test accuracy."),
    )
    cases = [_drawn_looks(first, luckier) for first in (1, 0, 2) for luckier in (False, True)]
    by_example("report", report, at_best, cases, slips)


def _drawn_looks(first: int, later_is_luckier: bool) -> tuple[list[float], list[float]]:
    """The best on validation is epoch `first`, and a later one; on the test digits a third one."""
    history = [value / 10_000 for value in draw.sample(range(9_700, 9_900), 7)]
    test = [value / 10_000 for value in draw.sample(range(9_700, 9_900, 4), 7)]
    later, luckiest = draw.sample([place for place in range(6) if place > first], 2)
    history[first] = history[later] = 0.995
    test[luckiest] = 0.999
    if (test[first] < test[later]) != later_is_luckier:
        test[first], test[later] = test[later], test[first]
    return history, test

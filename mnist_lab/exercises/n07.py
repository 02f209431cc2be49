"""The exercises of notebook 07: calibration, a temperature, covering, a map in two steps."""

from collections.abc import Callable
from itertools import combinations, pairwise, product

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn.functional import cross_entropy

from mnist_lab.exercises.cases import draw, generator, rand, randn
from mnist_lab.exercises.checks import by_example, expect_kind, expect_shape, refuse
from mnist_lab.exercises.question import Wrong, exercise


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


@exercise("Three mistakes in a mending")
def three_mistakes_in_a_mending(mend):
    def of(twice=False, upper=5.0, times=False):
        def found(outputs, labels, test):
            def loss(temperature):
                scores = outputs.double() / temperature
                return cross_entropy(scores.softmax(1) if twice else scores, labels).item()

            best = minimize_scalar(loss, bounds=(0.2, upper), method="bounded").x
            return (test.double() * best if times else test.double() / best).softmax(1)

        return found

    left = (
        ("twice", True, "`cross_entropy` takes the softmax itself: give it the scores."),
        ("upper", 1.0, "a network that is too sure needs a temperature above 1."),
        ("times", True, "the outputs of the test are to be divided, as those of validation are."),
    )
    slips = [
        (lambda outputs, labels, test: test.softmax(1), "that is with the temperature 1."),
        (lambda *case: of()(*case).log(), "these are logarithms; probabilities are expected."),
    ]
    slips += [
        (of(**{name: value for name, value, _ in some}), some[0][2])
        for count in (1, 2, 3)
        for some in combinations(left, count)
    ]
    cases = [_scaled(draw.uniform(*span)) for span in ((0.6, 0.7), (1.8, 2.2), (3.2, 3.6))]
    by_example("mend", mend, of(), cases, slips, absolute=0.015)


def _scaled(temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs that are right about their own certainty when divided by about this temperature."""
    scores, test = 3 * randn(200, 10), 3 * randn(40, 10)
    labels = scores.softmax(1).multinomial(1, generator=generator).flatten()
    return temperature * scores, labels, temperature * test


@exercise("Cover it, and look")
def cover_it_and_look(fall_map):
    def of(combine=lambda before, after: before - after, value=None, wipe=True):
        def found(answer, image, size, ink):
            corners = [side - size + 1 for side in image.shape[1:]]
            pictures, copy = [], image.clone()
            for row, column in product(*map(range, corners)):
                copy = image.clone() if wipe else copy
                copy[:, row : row + size, column : column + size] = ink if value is None else value
                pictures.append(copy.clone())
            return combine(answer(image[None]), answer(torch.stack(pictures))).reshape(corners)

        return found

    slips = (
        (of(lambda before, after: after - before), "the sign is turned: a fall is positive."),
        (of(lambda before, after: after), "that is the probability itself, not how far it falls."),
        (of(lambda before, after: (before - after).clamp_min(0)), "a rise is a negative fall."),
        (of(lambda before, after: (before - after).abs()), "a rise is a negative fall."),
        (of(lambda before, after: (before - after) / before), "the fall is not to be divided."),
        (of(value=0), "the square is covered with `ink`, not with 0."),
        (of(wipe=False), "squares from before are still covered: begin with a fresh copy."),
    )
    cases = [(*_looker(*sides), size, draw.choice((-0.75, 0.5, 2.0)))
             for sides, size in (((9, 7), 3), ((6, 8), 2), ((5, 5), 4), ((4, 6), 1))]  # fmt: skip
    by_example("fall_map", fall_map, of(), cases, slips, absolute=1e-5)


def _looker(height: int, width: int) -> tuple[Callable, Tensor]:
    """A function that answers by all pixels, and a picture of which it is not too sure."""
    weights, image = randn(height, width), randn(1, height, width)
    weights *= 2 / weights.norm()
    offset = float((weights * image[0]).sum())

    def answer(images: Tensor) -> Tensor:
        if images.dim() != 4 or list(images.shape[1:]) != [1, height, width]:
            raise Wrong(f"`answer` is given {list(images.shape)}; [N, 1, {height}, {width}] "
                        "is expected.")  # fmt: skip
        return ((images[:, 0] * weights).sum((1, 2)) - offset + 0.4).sigmoid()

    return answer, image


@exercise("A bottleneck, from a matrix")
def a_bottleneck_from_a_matrix(low_rank):
    def joined(matrix, width):
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
    by_example("`up @ down` of low_rank", joined, right, cases, slips)


def _matrix(rows: int, columns: int) -> Tensor:
    """Its singular values lie apart: luck has no say in which directions are the most important."""
    count = min(rows, columns)
    left, right = (torch.linalg.qr(randn(size, count)).Q for size in (rows, columns))
    return left * (torch.arange(count, 0, -1) + rand(count) / 2) @ right.T

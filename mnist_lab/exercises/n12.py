"""The exercises of notebook 12: when to answer at all, and MNIST's preparation."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from mnist_lab.exercises.cases import draw, rand
from mnist_lab.exercises.checks import by_example, refuse
from mnist_lab.exercises.question import exercise


@exercise("When to keep silent")
def when_to_keep_silent(least_certainty):
    def of(choose=min, within=lambda one, least: one >= least):
        def least(sure, right, asked):
            shares = {}
            for value in sure.unique().tolist():
                kept = torch.tensor([within(one, value) for one in sure.tolist()])
                if kept.any():
                    shares[value] = right[kept].double().mean().item()
            good = [value for value, share in shares.items() if share >= asked]
            return float(choose(good, shares, asked)) if good else math.inf

        return least

    def lowest(good, shares, asked):
        return min(good)

    def first_from_above(good, shares, asked):
        least = math.inf
        for value in sorted(shares, reverse=True):
            if shares[value] < asked:
                return least
            least = value
        return least

    def one_by_one(sure, right, asked):
        values, order = sure.sort(descending=True, stable=True)
        shares = right[order].double().cumsum(0) / torch.arange(1, len(order) + 1)
        good = values[shares >= asked]
        return float(good[-1]) if len(good) else math.inf

    def single(sure, right, asked):  # the least sure of the right answers
        return float(sure[right].min()) if right.any() else math.inf

    slips = [
        (of(first_from_above), "it stops where the share falls below what is asked for the first "
         "time from above; further down it may be reached again."),
        (of(lambda good, shares, asked: max(good)), "the lowest is asked: the network keeps silent "
         "more often than it must."),
        (of(lowest, lambda one, least: one > least), "an answer as sure as that counts, too."),
        (lambda *case: min(of(lowest)(*case), 1.0), "if no certainty is enough, infinity is "
         "expected: `float(\"inf\")`."),
        (one_by_one, "answers that are equally sure are given together, or not at all."),
        (single, "it is the share of *all* answers at least so sure that counts."),
        (lambda sure, right, asked: float(asked), "how sure it is, and how often it is right, are "
         "two things: count."),
    ]  # fmt: skip
    cases = [
        # From above: right, right, wrong, then right again so often that the share recovers.
        (_row(0.99, 0.97, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6), _row(1, 1, 0, 1, 1, 1, 0, 0) > 0, 0.8),
        # Equal certainties come together, the wrong one too.
        (_row(0.9, 0.9, 0.9, 0.8, 0.7), _row(1, 1, 0, 1, 0) > 0, 0.7),
        (_row(0.9, 0.8, 0.8, 0.7), _row(1, 1, 0, 1) > 0, 0.9),
        (_row(0.9, 0.8, 0.8, 0.7), _row(1, 0, 1, 1) > 0, 0.9),
        (_row(0.9, 0.8, 0.7), _row(0, 1, 0) > 0, 0.9),
        (_row(0.5, 0.7, 0.6), _row(1, 1, 1) > 0, 1.0),
    ]
    for count in (20, 30, 40):
        sure = torch.tensor([draw.randint(32, 64) / 64 for _ in range(count)])
        cases.append((sure, rand(count) < sure, draw.choice((0.75, 0.8, 0.85)) + 0.001))
    why = "Of the answers that are at least so sure, what share is right?"
    by_example("least_certainty", least_certainty, of(lowest), cases, slips, otherwise=why)


def _row(*values: float) -> Tensor:
    return torch.tensor(values)


@exercise("Where is the middle?")
def where_is_the_middle(centre_of_mass):
    def rounded(whole):
        return lambda ink: [whole(number) for number in _middle(ink)]

    fractions, digits = "the fractions are expected, too.", "it is rounded; give all digits."
    slips = (
        (lambda ink: _middle(ink)[::-1], "row and column are interchanged."),
        (rounded(lambda n: n + 1), "the first row counts as 1; it is number 0."),
        (
            lambda ink: [(n - 1) / 2 for n in ink.shape],
            "that is the middle of the box, of any ink.",
        ),
        (lambda ink: [n / 2 for n in ink.shape], "that is half of the sides, whatever the ink."),
        (lambda ink: _middle(ink > 0), "weigh each pixel by its ink, not only whether it has any."),
        (rounded(round), fractions),
        (rounded(int), fractions),
        (rounded(lambda n: round(n, 1)), digits),
        (rounded(lambda n: round(n, 2)), digits),
    )
    cases = [(_ink(*size, 0.3, 0.6),) for size in ((20, 9), (8, 20), (7, 7))]
    near, why = 2e-5, "Is each pixel weighed by its ink?"
    by_example(
        "centre_of_mass", centre_of_mass, _middle, cases, slips, tolerance=near, otherwise=why
    )


def _middle(ink: Tensor) -> tuple[float, float]:
    return ndimage.center_of_mass(ink.numpy().astype(float))


def _ink(height: int, width: int, row: float, column: float) -> Tensor:
    """Ink that is densest there, `row` and `column` from 0 to 1, and thin where it is far."""
    while True:
        rows, columns = torch.linspace(0, 1, height), torch.linspace(0, 1, width)
        away = (rows - row)[:, None] ** 2 + (columns - column) ** 2
        ink = (255 * torch.exp(-16 * away) * (0.6 + 0.4 * rand(height, width))).byte()
        if all(0.01 < abs(n % 1 - 0.5) < 0.49 for n in _middle(ink)):  # to be rounded, or not
            return ink


@exercise("A digit in the wrong place")
def a_digit_in_the_wrong_place(place):
    def placed(digit):
        picture = place(digit)
        kind = getattr(picture, "dtype", None)
        other = kind not in (None, torch.uint8, np.uint8)
        refuse((other, f"the picture holds {kind}; torch.uint8 is expected."))
        return picture

    def of(**changed):
        return lambda digit: _placed(digit, **changed)

    beside = "the digit is a pixel beside its place: is 14 less the middle rounded?"
    slips = (
        (lambda digit: 255 - _placed(digit), "black and white are interchanged: ink is bright."),
        (of(ground=255), "around the digit MNIST is black, not white."),
        (of(order=-1), "the centre's row and column are interchanged."),
        (of(whole=int), beside),
        *((of(at=at), beside) for at in (13, 13.5, 14.5, 15)),
        (of(around=True), "what reaches over an edge is moved back to it."),
    )
    places = [(20, 8, 0.5, 0.3), (9, 20, 0.2, 0.5), (20, 20, 0.5, 0.4)]
    places += [(20, 9, 0, 0.4), (20, 9, 1, 0.4), (8, 20, 0.6, 0), (8, 20, 0.6, 1), (20, 20, 1, 0)]
    by_example("place", placed, _placed, [(_ink(*one),) for one in places], slips)


def _placed(digit: Tensor, at=14, order=1, ground=0, whole=round, around=False) -> Tensor:
    corner = [whole(at - value) for value in _middle(digit)[::order]]
    if around:
        picture = F.pad(digit, (0, 28 - digit.shape[1], 0, 28 - digit.shape[0]))
        return picture.roll(corner, (0, 1))
    top, left = (min(max(start, 0), 28 - side) for start, side in zip(corner, digit.shape))
    picture = torch.full((28, 28), ground, dtype=torch.uint8)
    picture[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return picture

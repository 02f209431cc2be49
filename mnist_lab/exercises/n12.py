"""The exercises of notebook 12: MNIST's preparation, step by step."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from mnist_lab.exercises.cases import draw, rand
from mnist_lab.exercises.checks import by_example, refuse
from mnist_lab.exercises.question import exercise


@exercise("Into the box")
def into_the_box(new_size):
    def of(whole):
        def size(height, width):
            factor = 20 / max(height, width)
            return whole(height * factor), whole(width * factor)

        return size

    def at_least_1(whole):
        return lambda side: max(1, whole(side))

    side = at_least_1(round)
    slips = (
        (of(round), "a thin line must not vanish."),
        (lambda *sides: (20, 20), "a digit twice as high as wide stays so."),
        (lambda *sides: of(side)(*sides)[::-1], "rows come first, then columns."),
        (lambda h, w: (20, side(w * 20 / h)), "the longer side is 20, also of a wide digit."),
        (lambda h, w: (side(h * 20 / w), 20), "the longer side is 20, also of a high digit."),
        (of(at_least_1(int)), "round to the nearest, not down."),
        (of(at_least_1(math.ceil)), "round to the nearest, not up."),
        (
            of(at_least_1(lambda exact: int(exact + 0.5))),
            "`round` takes a half to the even number.",
        ),
        (of(lambda exact: exact), "whole numbers are expected: round them."),
        (lambda h, w: (h, w) if max(h, w) < 20 else of(side)(h, w), "small digits grow."),
    )
    cases = [(100, 50), (10, 5), (30, 20), (30, 19), (100, 1), (8, 5), (16, 2), (40, 25), (40, 1)]
    cases += [*(case[::-1] for case in cases), (1, 1)]
    sides = [(draw.randint(1, 200), draw.randint(1, 200)) for _ in range(30)]
    cases += [(h, w) for h, w in sides if 40 * min(h, w) % max(h, w)]  # 12.5 may be 12.499999
    by_example("new_size", new_size, of(side), cases, slips)


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

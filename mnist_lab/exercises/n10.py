"""The exercises of notebook 10: MNIST's preparation, step by step."""

import random

import torch
from scipy import ndimage
from torch import Tensor

from mnist_lab.exercises.checks import (
    as_number,
    expect_function,
    expect_kind,
    expect_shape,
    expect_tensor,
    expect_unchanged,
)
from mnist_lab.exercises.question import Wrong, exercise


@exercise(
    title="Into the box",
    task="""
    Write `new_size(height, width)`: the ink of a digit is cut out and measures `height` by `width`
    pixels. Return the pair `(rows, columns)`, whole numbers, to which it must be scaled so that its
    longer side is 20 and its proportions are kept, rounded to the nearest whole number with
    `round`. Nothing may vanish: no side becomes 0.
    """,
    start="""
    def new_size(height, width):
        return ...
    """,
    hint="""
    One factor for both sides: 20 divided by the longer one. What does it make of a 1 that is a
    hundred pixels high and a single pixel wide?
    """,
    solution="""
    def new_size(height, width):
        factor = 20 / max(height, width)
        return max(1, round(height * factor)), max(1, round(width * factor))
    """,
    right="""
    A one stays slender and a zero stays round, whatever size they are written in.
    """,
)
def into_the_box(new_size):
    expect_function(new_size, "new_size")
    cases = [
        (100, 50, (20, 10), "a digit twice as high as wide stays so."),
        (50, 100, (10, 20), "a wide digit has its columns at 20."),
        (10, 5, (20, 10), "a small digit is enlarged."),
        (100, 1, (20, 1), "a thin line must not vanish."),
        (30, 20, (20, 13), "13.33 is rounded to 13."),
        (30, 19, (20, 13), "12.67 is rounded to 13."),
    ]
    sides = [(random.randint(1, 200), random.randint(1, 200)) for _ in range(30)]
    cases += [(h, w, _size(h, w), "other sizes are asked, too.") for h, w in sides]
    for height, width, expected, why in cases:
        call = f"new_size({height}, {width})"
        found = new_size(height, width)
        expect_kind(found, (tuple, list, Tensor), call, "a pair")
        if len(found) != 2:
            raise Wrong(f"{call} has {len(found)} values; two are expected: rows and columns.")
        rows, columns = (as_number(side, f"a side of {call}") for side in found)
        if (rows, columns) != expected:
            raise Wrong(f"{call} is ({rows:g}, {columns:g}); {expected} is expected: {why}")


def _size(height: int, width: int) -> tuple[int, int]:
    factor = 20 / max(height, width)
    return max(1, round(height * factor)), max(1, round(width * factor))


@exercise(
    title="Where is the middle?",
    task="""
    Write `centre_of_mass(ink)`. `ink` is a tensor `[height, width]` of whole numbers from 0 to 255
    (`uint8`). Return `(row, column)`: the mean row and the mean column of its pixels, each pixel
    weighed by its ink. The first row and the first column are number 0.
    """,
    start="""
    import torch


    def centre_of_mass(ink):
        return ...
    """,
    hint="""
    `ink.sum(1)` is the ink of each row, and `torch.arange(height)` are the numbers of the rows.
    """,
    solution="""
    import torch


    def centre_of_mass(ink):
        ink = ink.float()
        height, width = ink.shape
        row = (torch.arange(height) * ink.sum(1)).sum() / ink.sum()
        column = (torch.arange(width) * ink.sum(0)).sum() / ink.sum()
        return row.item(), column.item()
    """,
    right="""
    The middle of the ink, not of the box around it: a 7 has most of its ink at the top, and so it
    is put lower.
    """,
)
def where_is_the_middle(centre_of_mass):
    expect_function(centre_of_mass, "centre_of_mass")
    for height, width in ((20, 9), (8, 20), (5, 5)):
        ink = torch.randint(0, 256, (height, width), dtype=torch.uint8)
        ink[: height // 2, : width // 3] = 255
        found, before = centre_of_mass(given := ink.clone()), ink
        expect_unchanged(given, before, "`ink`")
        expect_kind(found, (tuple, list, Tensor), "centre_of_mass(ink)", "a pair")
        if len(found) != 2:
            raise Wrong(f"there are {len(found)} values; two are expected: row and column.")
        row, column = (as_number(value, "a value of centre_of_mass(ink)") for value in found)
        wanted = ndimage.center_of_mass(ink.numpy().astype(float))
        _compare_middles((row, column), wanted, (height, width))


def _compare_middles(found, wanted, shape) -> None:
    def near(one, other):
        return all(abs(a - b) < 1e-2 for a, b in zip(one, other))

    if near(found, wanted):
        return
    for other, why in (
        (wanted[::-1], "row and column are interchanged."),
        ([value + 1 for value in wanted], "the first row counts as 1; it is number 0."),
        ([(n - 1) / 2 for n in shape], "that is the middle of the box, whatever the ink."),
        ([n / 2 for n in shape], "that is half of the sides, whatever the ink."),
    ):
        if near(found, other):
            raise Wrong(why)
    raise Wrong(
        f"the middle is ({found[0]:.2f}, {found[1]:.2f}); ({wanted[0]:.2f}, {wanted[1]:.2f}) is "
        "expected: is each pixel weighed by its ink?"
    )


@exercise(
    title="A digit in the wrong place",
    task="""
    `place(digit)` shall put a scaled digit, `[height, width]` with sides up to 20, on an empty
    picture of 28×28 so that its centre of mass comes to lie at pixel (14, 14), rounded. With square
    digits nobody notices, but others land in the wrong place, and some do not fit at all. There
    are **two** mistakes. Mend them. (No digit needs to be cut off: one that would reach over the
    edge is moved back to it.)
    """,
    start="""
    import torch
    from scipy import ndimage


    def place(digit):
        height, width = digit.shape
        row, column = ndimage.center_of_mass(digit.numpy().astype(float))
        top = min(max(round(14 - column), 0), 28 - height)
        left = min(max(round(14 - row), 0), 28 - width)
        picture = torch.full((28, 28), 255, dtype=torch.uint8)
        picture[top : top + height, left : left + width] = digit
        return picture
    """,
    hint="""
    Which of the two numbers says how far down the middle lies? And is an empty MNIST picture black
    or white?
    """,
    solution="""
    import torch
    from scipy import ndimage


    def place(digit):
        height, width = digit.shape
        row, column = ndimage.center_of_mass(digit.numpy().astype(float))
        top = min(max(round(14 - row), 0), 28 - height)
        left = min(max(round(14 - column), 0), 28 - width)
        picture = torch.zeros((28, 28), dtype=torch.uint8)
        picture[top : top + height, left : left + width] = digit
        return picture
    """,
    right="""
    Exchanged axes and exchanged black and white are the two classics of every demonstration that
    "does not work": nothing crashes, and the network is blamed.
    """,
)
def a_digit_in_the_wrong_place(place):
    expect_function(place, "place")
    for height, width in ((20, 8), (9, 20), (20, 20)):
        digit = torch.randint(0, 256, (height, width), dtype=torch.uint8)
        digit[: height // 3] = 255
        found = place(given := digit.clone())
        expect_unchanged(given, digit, "`digit`")
        expect_shape(found, (28, 28), "place(digit)")
        expected = _placed(digit)
        if found.dtype != torch.uint8:
            raise Wrong(f"the picture holds {found.dtype}; torch.uint8 is expected.")
        if torch.equal(found, 255 - expected):
            raise Wrong("black and white are interchanged everywhere: ink is bright.")
        if found[0, 0] == found[-1, -1] == 255:
            raise Wrong("around the digit the picture is white (255); MNIST's is black.")
        if torch.equal(found, _placed(digit, exchanged=True)):
            raise Wrong("the centre's row and column are still interchanged.")
        for dy, dx in ((0, 1), (1, 0), (1, 1), (0, -1), (-1, 0), (-1, -1)):
            if torch.equal(found.roll((dy, dx), (0, 1)), expected):
                raise Wrong("the digit is a pixel beside its place: is 14 rounded, and kept?")
        expect_tensor(found, expected, "place(digit)")


def _placed(digit: Tensor, exchanged: bool = False) -> Tensor:
    middle = ndimage.center_of_mass(digit.numpy().astype(float))
    corners = [round(14 - value) for value in (middle[::-1] if exchanged else middle)]
    top, left = (min(max(corner, 0), 28 - side) for corner, side in zip(corners, digit.shape))
    picture = torch.zeros(28, 28, dtype=torch.uint8)
    picture[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return picture

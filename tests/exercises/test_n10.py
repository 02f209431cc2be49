import pytest
from answers import Case, answers

SIZE = "def new_size(height, width):\n    factor = 20 / max(height, width)\n    return {}"
MIDDLE = """
import torch
def centre_of_mass(ink):
    ink = ink{kind}
    rows, columns = torch.meshgrid(*[torch.arange({first}, n + {first}) for n in ink.shape],
                                   indexing="ij")
    row, column = (rows * ink).sum() / ink.sum(), (columns * ink).sum() / ink.sum()
    return {result}
"""


def middle(kind=".double()", first=0, result="row, column"):
    return MIDDLE.format(kind=kind, first=first, result=result)


PLACE = """
import torch
from scipy import ndimage
def place(digit):
    height, width = digit.shape
    row, column = ndimage.center_of_mass(digit.numpy().astype(float))
    top = min(max({top}, 0), 28 - height)
    left = min(max({left}, 0), 28 - width)
    picture = {empty}
    picture[top : top + height, left : left + width] = digit
    return {result}
"""


def place(top="round(14 - row)", left="round(14 - column)",
          empty="torch.zeros(28, 28, dtype=torch.uint8)", result="picture"):  # fmt: skip
    return PLACE.format(top=top, left=left, empty=empty, result=result)


WHITE = "torch.full((28, 28), 255, dtype=torch.uint8)"

CASES = {
    "into_the_box": Case(
        other=[
            SIZE.format("[round(side * factor) or 1 for side in (height, width)]"),
            "import torch\n" + SIZE.format("torch.tensor([height, width]).mul(factor).round()"
                                           ".clamp(min=1)"),
        ],
        wrong={
            SIZE.format("round(height * factor), round(width * factor)"): "must not vanish",
            SIZE.format("20, 20"): "twice as high as wide",
            SIZE.format("max(1, round(width * factor)), max(1, round(height * factor))"):
                "(10, 20); (20, 10) is expected",
            SIZE.format("20, max(1, round(width * 20 / height))"): "a wide digit",
            SIZE.format("max(1, int(height * factor)), max(1, int(width * factor))"): "12.67",
            SIZE.format("(height, width) if factor > 1 else new_size(1, 2)[::-1] and "
                        "(round(height * factor), round(width * factor))"): "is enlarged",
            SIZE.format("factor"): "a float; a pair is expected",
            SIZE.format("max(1, round(height * factor)), max(1, round(width * factor)), 1"):
                "has 3 values",
        },
    ),
    "where_is_the_middle": Case(
        other=[
            middle(),
            middle(kind=".to(torch.int64)"),
            "from scipy import ndimage\n"
            "def centre_of_mass(ink):\n    return ndimage.center_of_mass(ink.numpy() * 1.0)",
        ],
        wrong={
            middle(result="column, row"): "interchanged",
            middle(first=1): "the first row counts as 1",
            "def centre_of_mass(ink):\n    return [(n - 1) / 2 for n in ink.shape]":
                "the middle of the box",
            "def centre_of_mass(ink):\n    return [n / 2 for n in ink.shape]": "half of the sides",
            middle(kind=".float().sqrt()"): "is each pixel weighed",
            middle(result="row"): "len() of a 0-d tensor",
            middle(result="(row, column, 0)"): "3 values",
            "def centre_of_mass(ink):\n    ink[:] = 1\n    return 2, 2": "in place",
        },
    ),
    "a_digit_in_the_wrong_place": Case(
        other=[
            place(),
            place(top="int(14.5 - row)", left="int(14.5 - column)"),
            place(empty="digit.new_zeros(28, 28)"),
        ],
        wrong={
            place(empty=WHITE): "is white (255)",
            place(top="round(14 - column)", left="round(14 - row)"): "still interchanged",
            place(result="255 - picture"): "ink is bright",
            place(top="round(13 - row)", left="round(13 - column)"): "a pixel beside",
            place(result="picture / 255"): "torch.float32; torch.uint8",
            place(result="picture[None]"): "[1, 28, 28]; [28, 28] is expected",
            place(top="4", left="4"): "other values",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("answer", answers("10", CASES))
def test_every_answer_gets_its_verdict(answer):
    answer.prove()

import pytest
from answers import Case, proofs

SILENT = "def least_certainty(sure, right, asked):\n    {}"
GOOD = "good = [v for v in sure.tolist() if right[sure >= v].double().mean() >= asked]\n    "
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
    top, left = {top}, {left}
    top, left = {edges}
    picture = {empty}
    picture[top : top + height, left : left + width] = digit
    return {result}
"""


def place(top="round(14 - row)", left="round(14 - column)",
          edges="min(max(top, 0), 28 - height), min(max(left, 0), 28 - width)",
          empty="torch.zeros(28, 28, dtype=torch.uint8)", result="picture"):  # fmt: skip
    return PLACE.format(top=top, left=left, edges=edges, empty=empty, result=result)


WHITE = "torch.full((28, 28), 255, dtype=torch.uint8)"

ROLLED = """
import torch
from scipy import ndimage
def place(digit):
    row, column = ndimage.center_of_mass(digit.numpy().astype(float))
    picture = torch.zeros(28, 28, dtype=torch.uint8)
    picture[:digit.shape[0], :digit.shape[1]] = digit
    return picture.roll((round(14 - row), round(14 - column)), (0, 1))
"""

CASES = {
    "when_to_keep_silent": Case(
        other=[
            "import math\n" + SILENT.format("least = math.inf\n"
            "    for value in sure.tolist():\n"
            "        kept = [bool(r) for s, r in zip(sure.tolist(), right) if s >= value]\n"
            "        if sum(kept) / len(kept) >= asked:\n            least = min(least, value)\n"
            "    return least"),
            "import numpy as np\n" + SILENT.format("s, r = sure.numpy(), right.numpy()\n"
            "    good = [v for v in s if r[s >= v].mean() >= asked]\n"
            "    return np.min(good) if good else np.inf"),
            "import torch\n" + SILENT.format("s, order = sure.sort(descending=True)\n"
            "    share = right[order].double().cumsum(0) / torch.arange(1, len(s) + 1)\n"
            "    last = torch.cat([s[:-1] != s[1:], torch.tensor([True])])\n"
            "    good = s[last & (share >= asked)]\n"
            "    return good[-1] if len(good) else torch.tensor(float('inf'))"),
        ],
        wrong={
            SILENT.format("least = float('inf')\n"
            "    for v in sorted(set(sure.tolist()), reverse=True):\n"
            "        if right[sure >= v].double().mean() < asked:\n            break\n"
            "        least = v\n    return least"): "further down it may be reached again",
            SILENT.format(GOOD + "return max(good) if good else float('inf')"): "the lowest is ask",
            SILENT.format(GOOD.replace(">= v", "> v") + "return min(good) if good else 9e9"):
            "an answer as sure as that counts",
            SILENT.format(GOOD + "return min(good) if good else 1.0"): '`float("inf")`',
            SILENT.format("return sure[right].min()"): "that counts",
            "import torch\n" + SILENT.format("s, order = sure.sort(descending=True)\n"
            "    share = right[order].double().cumsum(0) / torch.arange(1, len(s) + 1)\n"
            "    good = s[share >= asked]\n"
            "    return good[-1] if len(good) else float('inf')"): "equally sure",
            SILENT.format("return asked"): "are two things: count",
            SILENT.format(GOOD + "return min(good)"): "running it",
            SILENT.format(GOOD + "return min(good) if good else None"): "None",
            SILENT.format(GOOD.replace("sure.tolist()", "[k / 100 for k in range(100)]")
            + "return min(good) if good else float('inf')"): "what share is right?",
            SILENT.format("sure[:] = 1\n    return 1.0"): "`sure` is changed by it",
        },
    ),
    "where_is_the_middle": Case(
        other=[
            middle(),
            middle(kind=".to(torch.int64)"),
            middle(kind=".float()", result="torch.stack([row, column])"),
            middle(result="torch.stack([row, column]).numpy()"),
            "from scipy import ndimage\n"
            "def centre_of_mass(ink):\n    return ndimage.center_of_mass(ink.numpy() * 1.0)",
        ],
        wrong={
            middle(result="column, row"): "interchanged",
            middle(first=1): "the first row counts as 1",
            "def centre_of_mass(ink):\n    return [(n - 1) / 2 for n in ink.shape]":
                "the middle of the box",
            "def centre_of_mass(ink):\n    return [n / 2 for n in ink.shape]": "half of the sides",
            middle(kind=".float().sqrt()"): "is expected. Is each pixel weighed",
            middle(kind=".sign().long()"): "not only whether it has any",
            middle(result="round(row.item()), round(column.item())"): "fractions are expected",
            middle(result="int(row), int(column)"): "fractions are expected",
            middle(result="round(row.item(), 2), round(column.item(), 2)"): "all digits",
            middle(result="row"): "; 2 values are expected",
            middle(result="(row, column, 0)"): "0); 2 values",
            "def centre_of_mass(ink):\n    ink[:] = 1\n    return 2, 2": "`ink` is changed",
        },
    ),
    "a_digit_in_the_wrong_place": Case(
        other=[
            place(),
            place(top="int(14.5 - row) if row < 14 else 0",
                  left="int(14.5 - column) if column < 14 else 0"),
            place(empty="digit.new_zeros(28, 28)"),
            place(top="14 - round(row)", left="14 - round(column)", result="picture.numpy()"),
        ],
        wrong={
            place(empty=WHITE): "black, not white",
            place(top="round(14 - column)", left="round(14 - row)"): "are interchanged",
            place(result="255 - picture"): "ink is bright",
            place(top="round(13 - row)", left="round(13 - column)"): "a pixel beside its place",
            place(top="int(14 - row)", left="int(14 - column)"): "is 14 less the middle",
            place(result="picture / 255"): "torch.float32; torch.uint8",
            place(result="picture.float()"): "torch.float32; torch.uint8",
            place(result="picture[None]"): "[1, 28, 28]; a tensor of",
            place(top="4", left="4"): "other values",
            place(edges="top, left"): "RuntimeError",
            place(edges="max(top, 0), max(left, 0)"): "RuntimeError",
            place(edges="min(top, 28 - height), min(left, 28 - width)"): "RuntimeError",
            place(edges="min(max(top, 0), 28 - height), left"): "RuntimeError",
            place(edges="top, min(max(left, 0), 28 - width)"): "RuntimeError",
            place(edges="min(max(top, 4), 24 - height), min(max(left, 4), 24 - width)"):
                "other values",
            ROLLED: "moved back",
            place(result="digit"): "[28, 28] is expected",
            place(result="digit.zero_()"): "`digit` is changed",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("proof", proofs("12", CASES))
def test_every_answer_gets_its_verdict(proof):
    proof()

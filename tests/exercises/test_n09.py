import pytest
from answers import Case, proofs

from mnist_lab.exercises.n09 import AS_GOOD, PARTS, UNDECIDED, WORSE, drawn_in_letters
from mnist_lab.exercises.question import COLUMNS

SIDES = """
import numpy as np
from scipy.stats import norm, t
def compare_sides(a, b, paired):
    a, b = np.array(a), np.array(b)
    one, other = np.var(a, ddof={ddof}) / {n}, np.var(b, ddof={ddof}) / {m}
    squares, df = one + other, {df}
    if {paired}:
        squares, df = np.var(b - a, ddof={ddof}) / {n}, len(a) - 1
    half = {factor} * squares ** 0.5
    middle = {middle}
    return {result}
"""
WELCH = "(one + other) ** 2 / (one ** 2 / (len(a) - 1) + other ** 2 / (len(b) - 1))"


def sides(ddof=1, n="len(a)", m="len(b)", df=WELCH, paired="paired", factor="t.ppf(0.975, df)",
          middle="b.mean() - a.mean()", result="middle, middle - half, middle + half"):  # fmt: skip
    return SIDES.format(ddof=ddof, n=n, m=m, df=df, paired=paired, factor=factor, middle=middle,
                        result=result)  # fmt: skip


LOSS = """
import numpy as np
from scipy.stats import t, ttest_ind
def extra_loss(four, two, four_without, two_without):
    a, b, c, d = map(np.array, (four, two, four_without, two_without))
    x = {x}
    half = {factor} * x.std(ddof={ddof}) / {root}
    return {result}
"""


def loss(x="(a - b) - (c - d)", factor="t.ppf(0.975, len(x) - 1)", ddof=1, root="len(x) ** 0.5",
         result="x.mean(), x.mean() - half, x.mean() + half"):  # fmt: skip
    return LOSS.format(x=x, factor=factor, ddof=ddof, root=root, result=result)


NOISE = """
import torch
def noisy(images, deviation):
    noise = {noise}
    return {result}
"""


def noisy(noise="deviation * torch.randn(images.shape)",
          result="(images + noise).round().clamp(0, 255).to(torch.uint8)"):  # fmt: skip
    return NOISE.format(noise=noise, result=result)


def parts(as_good='"AE"', worse='"C"', undecided='"BDF"'):
    return f"as_good = {as_good}\nworse = {worse}\nundecided = {undecided}"


CASES = {
    "two_sides_properly": Case(
        other=[
            sides(),
            sides(result="[middle, middle - half, middle + half]"),
            sides(result="np.array([middle, middle - half, middle + half], np.float32)"),
            """
from scipy.stats import ttest_ind, ttest_rel
def compare_sides(a, b, paired):
    test = ttest_rel(b, a) if paired else ttest_ind(b, a, equal_var=False)
    low, high = test.confidence_interval()
    return sum(b) / len(b) - sum(a) / len(a), low, high
""",
            """
from mnist_lab.studies.rules import compare
def compare_sides(a, b, paired):
    found = compare(a, b, paired)
    return found.value, *found.interval()
""",
            """
import torch
from scipy.stats import t
def compare_sides(a, b, paired):
    a, b = torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)
    if paired:
        error, df = (b - a).std() / len(a) ** 0.5, len(a) - 1
    else:
        one, other = a.var() / len(a), b.var() / len(b)
        error = (one + other).sqrt()
        df = float((one + other) ** 2 / (one**2 / (len(a) - 1) + other**2 / (len(b) - 1)))
    middle = b.mean() - a.mean()
    half = float(t.ppf(0.975, df)) * error
    return torch.stack([middle, middle - half, middle + half])
""",
        ],
        wrong={
            sides(middle="a.mean() - b.mean()"): "it is a − b",
            sides(result="100 * middle, 100 * (middle - half), 100 * (middle + half)"): "not %",
            sides(result="middle, middle + half, middle - half"): "interchanged",
            sides(paired="False"): "always two groups",
            sides(ddof=0): "the divisor n − 1",
            sides(factor="1.96"): "known deviation",
            sides(df="len(a) + len(b) - 2"): "are too many",
            sides(factor="t.ppf(0.95, df)"): "an interval of 90 %",
            sides(n="1", m="1"): "s/√n",
            """
from scipy.stats import ttest_ind, ttest_rel
def compare_sides(a, b, paired):
    low, high = (ttest_rel(b, a) if paired else ttest_ind(b, a)).confidence_interval()
    return (low + high) / 2, low, high
""": "one variance for both",
            sides(result="middle - half, middle + half"): "3 values are expected",
            sides(result="middle"): "3 values are expected",
            sides(paired="True"): "ValueError",
            sides(df="min(len(a), len(b)) - 1"): "is expected",
            sides(factor="t.ppf(0.975, df + 1)"): "is expected",
            "def compare_sides(a, b, paired):\n    a.sort()\n    return 0, 0, 0": "is changed",
        },
        alike={
            sides(factor="norm.ppf(0.975)"): "known deviation",
            sides(factor="2"): "is expected",
        },
    ),
    "read_a_plot": Case(
        other=[
            parts('"ea"', '"c"', '"fdb"'),
            parts('["A", "E"]', '{"C"}', '("B", "D", "F")'),
            parts('"A, E"', '["C"]', '"B D F"'),
        ],
        wrong={
            parts(undecided='"BDFC"'): "in two of the three",
            parts(undecided='"BD"'): "F stands nowhere",
            parts('"ACE"', '""'): "whole interval is outside",
            parts('"A"', '"CE"'): "whole interval is inside",
            parts('"ABE"', undecided='"DF"'): "reaches out of the margin",
            parts(worse='"CD"', undecided='"BF"'): "reaches into the margin",
            parts('"A"', undecided='"BDEF"'): "lies within the margin",
            parts(worse='""', undecided='"BCDF"'): "lies beyond the margin",
            parts('"AEX"'): "X in it",
            parts('"AEA"'): "a letter twice",
            parts("3"): "not a text of letters",
            parts(worse="None"): "`worse` is not a text",
        },
        alike={parts("[1, 2]"): "`as_good` is not a text",
               parts('"ABCDEF"', '""', '""'): "whole interval is outside",
               parts('""', '""', '""'): "stands nowhere"},
    ),
    "who_loses_more": Case(
        other=[
            loss(),
            loss("(d - b) - (c - a)"),
            loss(result="np.array([x.mean(), x.mean() - half, x.mean() + half], np.float32)"),
            """
from mnist_lab import paired_interval
def extra_loss(four, two, four_without, two_without):
    without = [a - b for a, b in zip(four_without, two_without)]
    found = paired_interval(without, [a - b for a, b in zip(four, two)])
    return found.mean, found.low, found.high
""",
            """
import torch
from scipy.stats import t
def extra_loss(*sides):
    four, two, four_without, two_without = torch.tensor(sides, dtype=torch.float64)
    extra = (four - two) - (four_without - two_without)
    n = len(extra)
    half = float(t.ppf(0.975, n - 1)) * extra.std() / n**0.5
    return extra.mean(), extra.mean() - half, extra.mean() + half
""",
        ],
        wrong={
            loss("(c - d) - (a - b)"): "the sign is turned",
            loss("a - b"): "lost with batch norm, and no more",
            loss("c - d"): "lost without batch norm",
            loss("d - b"): "compares the two at batches of 2",
            loss("(a - b) + (c - d)"): "added up",
            loss(ddof=0): "the divisor n − 1",
            loss(factor="1.96"): "1.96 is for",
            loss(result="100 * x.mean(), 100 * (x.mean() - half), 100 * (x.mean() + half)"):
                "not %",
            loss(result="x.mean(), x.mean() + half, x.mean() - half"): "is expected",
            loss(root="1"): "is expected",
            loss(result="x.mean()"): "3 values are expected",
            """
from scipy.stats import ttest_ind
def extra_loss(four, two, four_without, two_without):
    with_norm = [a - b for a, b in zip(four, two)]
    without = [a - b for a, b in zip(four_without, two_without)]
    low, high = ttest_ind(with_norm, without, equal_var=False).confidence_interval()
    return (low + high) / 2, low, high
""": "these are two groups",
            "def extra_loss(four, two, four_without, two_without):\n    four.clear()\n    return 1":
                "`four` is changed",
        },
        alike={loss("b - d"): "compares the two at batches of 2",
               loss("(a - c) - (c - d)"): "is expected"},
    ),
    "find_the_bugs_noise": Case(
        other=[
            noisy(),
            noisy(result="(images + noise).clamp(0, 255).to(torch.uint8)"),
            noisy("torch.randn_like(images, dtype=torch.float32) * deviation"),
            noisy("torch.normal(0.0, float(deviation), images.shape)"),
            noisy(result="(images.int() + noise.round().int()).clamp(0, 255).byte()"),
            """
import numpy as np
import torch
def noisy(images, deviation):
    noise = np.random.default_rng().normal(0, deviation, images.shape)
    return torch.from_numpy(np.clip(np.rint(images.numpy() + noise), 0, 255).astype(np.uint8))
""",
            """
import torch
def noisy(images, deviation):
    spoilt = torch.empty_like(images)
    for number, image in enumerate(images):
        noise = deviation * torch.randn(image.shape)
        spoilt[number] = (image + noise).round().clamp(0, 255)
    return spoilt
""",
        ],
        wrong={
            noisy("deviation * torch.randn(images.shape[1:])"): "all pictures get the same noise",
            noisy(result="(images + noise).int().to(torch.uint8)"): "wraps around",
            noisy("deviation * torch.randn(len(images), 1, 1, 1)"): "the same number",
            noisy("deviation * torch.randn(len(images), 1, 28, 1)"): "whole rows or columns",
            noisy("deviation * torch.randn(images.shape, "
                  "generator=torch.Generator().manual_seed(1))"): "a seed set within",
            noisy("torch.randn(images.shape)"): "scatter by",
            noisy("deviation * torch.rand(images.shape)"): "has to be 0",
            noisy("deviation * 3**0.5 * (2 * torch.rand(images.shape) - 1)"): "normal distribution",
            noisy(result="(images + noise).clamp(0, 255)"): "torch.uint8 is expected",
            noisy(result="(images + noise).abs().clamp(0, 255).to(torch.uint8)"): "stay as they",
            noisy(result="images"): "comes out as it was",
            noisy(result="(images + noise).clamp(0, 255).to(torch.uint8)[:1]"): "of the shape",
            noisy(result="images.copy_((images + noise).clamp(0, 255))"): "`images` is changed",
        },
        alike={
            noisy("deviation**0.5 * torch.randn(images.shape)"): "scatter by",
            noisy("deviation * torch.randn(1, 1, 28, 28)"): "all pictures get the same noise",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("proof", proofs("09", CASES))
def test_it_takes_right_answers_and_says_why_others_are_not(proof):
    proof()


def test_the_plot_shows_what_is_said_of_it():
    """Each letter is where the rule puts it, with both ends two columns from the margin."""
    heading, *lines = drawn_in_letters().splitlines()
    assert len(lines) == len(PARTS) and max(map(len, lines)) <= COLUMNS
    left, right = 4 + 24, 4 + 40
    assert heading.index("-0.1") < left < heading.index("+0.0") < right < heading.index("+0.2")
    for line in lines:
        low, high, name = line.index("["), line.index("]"), line[0]
        assert min(abs(end - side) for end in (low, high) for side in (left, right)) >= 2
        inside, outside = left < low and high < right, high < left or right < low
        assert inside == (name in AS_GOOD) and outside == (name in WORSE)
        assert (name in UNDECIDED) == (not inside and not outside)

"""The exercises of notebook 09: comparisons, a plot to be read, and noise."""

import numpy as np
import torch
from scipy.stats import norm, t, ttest_ind, ttest_rel
from torch import Tensor

from mnist_lab.exercises.cases import draw, randint
from mnist_lab.exercises.checks import by_example, call_with_copies, refuse
from mnist_lab.exercises.question import Wrong, exercise


@exercise("Two sides, properly")
def two_sides_properly(compare_sides):
    def of(found):
        low, high = found.confidence_interval(0.95)
        return -(low + high) / 2, -high, -low  # SciPy's is a − b

    def right(a, b, paired):
        return of(ttest_rel(a, b) if paired else ttest_ind(a, b, equal_var=False))

    def by_hand(a, b, paired, ddof=1, factor=None, root=True):
        a, b = np.array(a), np.array(b)
        squares = [np.var(x, ddof=ddof) / (len(x) if root else 1) for x in (a, b)]
        degrees = sum(squares) ** 2 / sum(e**2 / (len(x) - 1) for e, x in zip(squares, (a, b)))
        error = sum(squares) ** 0.5
        if paired:
            error = (np.var(b - a, ddof=ddof) / (len(a) if root else 1)) ** 0.5
            degrees = len(a) - 1
        half = error * (factor(a, b, degrees) if factor else t.ppf(0.975, degrees))
        middle = b.mean() - a.mean()
        return middle, middle - half, middle + half

    def all_degrees(a, b, degrees):
        return t.ppf(0.975, degrees if degrees == len(a) - 1 else len(a) + len(b) - 2)

    slips = (
        (lambda a, b, paired: [-x for x in np.array(right(a, b, paired))[[0, 2, 1]]],
         "it is a − b; by how much b is larger was asked."),
        (lambda a, b, paired: [100 * x for x in right(a, b, paired)],
         "fractions are expected, not %."),
        (lambda a, b, paired: tuple(np.array(right(a, b, paired))[[0, 2, 1]]),
         "low and high are interchanged."),
        (lambda a, b, paired: of(ttest_rel(a, b) if paired else ttest_ind(a, b)),
         "unpaired, that is one variance for both sides; Welch lets each keep its own."),
        (lambda a, b, paired: right(a, b, False),
         "these are always two groups: where `paired` is True, take the differences of the pairs."),
        (lambda *case: by_hand(*case, ddof=0), "a sample's own mean asks for the divisor n − 1."),
        (lambda *case: by_hand(*case, factor=lambda *_: norm.ppf(0.975)),
         "1.96 is for a known deviation; here it is estimated: take t."),
        (lambda *case: by_hand(*case, factor=lambda *_: 1.96),
         "1.96 is for a known deviation; here it is estimated: take t."),
        (lambda *case: by_hand(*case, factor=all_degrees),
         "unpaired, n₁ + n₂ − 2 degrees of freedom are too many, unless both scatter alike."),
        (lambda *case: by_hand(*case, factor=lambda a, b, df: t.ppf(0.95, df)),
         "that is an interval of 90 %: 2.5 % lie beyond each of its ends."),
        (lambda *case: by_hand(*case, root=False),
         "s is the scatter of one run; that of a mean of n is s/√n."),
    )  # fmt: skip
    cases = [(*_sides(5, 9), False), (*_sides(6, 6), False), (*_sides(8, 3), False)]
    cases += [(*_sides(n, n, together=True), True) for n in (7, 4, 2)]
    by_example("compare_sides", compare_sides, right, cases, slips, absolute=1e-5)


def _sides(n: int, m: int, together: bool = False) -> tuple[list[float], list[float]]:
    """Accuracies of two sides: the second scatters several times as much, or with the first.

    None is sorted, so that whoever sorts it in place changes it.
    """
    first = [draw.uniform(0.975, 0.985) + 0.001 * place for place in range(n)]
    second = [draw.uniform(0.88, 0.91) + 0.01 * place for place in range(m)]
    first[:2], second[:2] = sorted(first[:2], reverse=True), sorted(second[:2], reverse=True)
    if together:
        second = [a + draw.uniform(0.002, 0.004) + 0.001 * i for i, a in enumerate(first)]
    return first, second


# A change of accuracy in points, and the ends of its interval.
PARTS = {
    "A": (0.0, -0.0625, 0.0625),
    "B": (-0.0625, -0.175, 0.05),
    "C": (-0.25, -0.3375, -0.1625),
    "D": (-0.1375, -0.225, -0.05),
    "E": (-0.0375, -0.0625, -0.0125),
    "F": (0.0625, -0.025, 0.15),
}
AS_GOOD, WORSE, UNDECIDED = {"A", "E"}, {"C"}, {"B", "D", "F"}


def drawn_in_letters() -> str:
    """A plot of `PARTS` in letters, between −0.4 and +0.2 points, with a margin of 0.1."""

    def place(points: float) -> int:
        return round((points + 0.4) / 0.0125)

    marks = {place(tenth / 10): f"{tenth / 10:+.1f}" for tenth in range(-4, 3)}
    lines = ["  " + "".join(f"{text:<8}" for text in marks.values()).rstrip()]
    for name, (middle, low, high) in PARTS.items():
        row = [" "] * (place(0.2) + 1)
        row[place(-0.1)] = row[place(0.1)] = ":"
        for column in range(place(low), place(high) + 1):
            row[column] = "-"
        row[place(low)], row[place(middle)], row[place(high)] = "[", "o", "]"
        lines.append(f"{name}   {''.join(row)}".rstrip())
    return "\n".join(lines)


@exercise("Read a plot")
def read_a_plot(as_good, worse, undecided):
    given = {"as_good": as_good, "worse": worse, "undecided": undecided}
    letters = {name: _letters(value, name) for name, value in given.items()}
    every = sorted(letter for found in letters.values() for letter in found)
    lost = sorted(PARTS.keys() - set(every))
    refuse(
        (len(set(every)) < len(every), "a letter stands in two of the three texts."),
        (lost, f"{' and '.join(lost)} stands nowhere: each letter belongs in one of the texts."),
        (letters["as_good"] & WORSE, "`as_good` has a letter whose whole interval is outside."),
        (letters["worse"] & AS_GOOD, "`worse` has a letter whose whole interval is inside."),
        (letters["as_good"] & UNDECIDED, "an interval in `as_good` reaches out of the margin."),
        (letters["worse"] & UNDECIDED, "an interval in `worse` reaches into the margin."),
        (letters["undecided"] & AS_GOOD, "an interval in `undecided` lies within the margin."),
        (letters["undecided"] & WORSE, "an interval in `undecided` lies beyond the margin."),
    )


def _letters(value, name: str) -> set[str]:
    """The letters of a text, or of a list or set of them."""
    parts = list(value) if isinstance(value, (str, list, tuple, set, frozenset)) else [None]
    if not all(isinstance(part, str) for part in parts):
        raise Wrong(f'`{name}` is not a text of letters; such as "BE" is expected.')
    text = "".join(parts).upper()
    found = [letter for letter in text if letter not in " ,;'\""]
    strange = sorted(set(found) - PARTS.keys())
    twice = len(set(found)) < len(found)
    refuse(
        (strange, f"`{name}` has {' and '.join(strange)[:20]} in it; the changes are A to F."),
        (twice, f"`{name}` has a letter twice."),
    )
    return set(found)


@exercise("Who loses more?")
def who_loses_more(extra_loss):
    def of(extra, factor=None, ddof=1, scale=1.0):
        def found(*sides):
            values = extra(*map(np.array, sides))
            n, middle = len(values), values.mean()
            reach = t.ppf(0.975, n - 1) if factor is None else factor
            half = reach * values.std(ddof=ddof) / n**0.5
            return scale * middle, scale * (middle - half), scale * (middle + half)

        return found

    def more(a, b, c, d):
        return (a - b) - (c - d)

    def separate(*sides):
        a, b, c, d = map(np.array, sides)
        found = ttest_ind(a - b, c - d, equal_var=False)
        low, high = found.confidence_interval(0.95)
        return (low + high) / 2, low, high

    slips = (
        (of(lambda a, b, c, d: -more(a, b, c, d)),
         "the sign is turned: it is positive where more is lost with batch norm."),
        (of(lambda a, b, c, d: a - b), "that is what is lost with batch norm, and no more."),
        (of(lambda a, b, c, d: c - d), "that is what is lost without batch norm."),
        (of(lambda a, b, c, d: d - b), "that compares the two at batches of 2, not their losses."),
        (of(lambda a, b, c, d: b - d), "that compares the two at batches of 2, not their losses."),
        (of(lambda a, b, c, d: (a - b) + (c - d)), "the two losses are added up."),
        (of(more, ddof=0), "a sample's own mean asks for the divisor n − 1."),
        (of(more, factor=1.96), "1.96 is for a known deviation; here it is estimated: take t."),
        (of(more, factor=norm.ppf(0.975)), "the deviation is estimated: take t, not 1.96."),
        (of(more, scale=100), "fractions are expected, not %."),
        (separate, "these are two groups; but the seeds are the same: take one number of each."),
    )  # fmt: skip
    cases = [tuple(_batches(n) for _ in range(4)) for n in (3, 5, 4, 2)]
    by_example("extra_loss", extra_loss, of(more), cases, slips, absolute=1e-5)


def _batches(count: int) -> list[float]:
    return [draw.uniform(0.93, 0.95) + 0.01 * draw.random() for _ in range(count)]


@exercise("Find the bugs: noise")
def find_the_bugs_noise(noisy):
    for deviation in (draw.choice((10, 15, 20)), draw.choice((30, 40))):
        grey = torch.full((40, 1, 28, 28), 128, dtype=torch.uint8)
        _expect_noise(_made(noisy, grey, deviation), deviation)
        _expect_ends(noisy, deviation)
    images = randint(0, 256, 6, 1, 28, 28).to(torch.uint8)
    apart = _made(noisy, images, 2.0).double() - images.double()
    far = "the noise is far larger than asked for: is the picture itself still in it?"
    refuse((apart.abs().median() > 10, far))
    again = [_made(noisy, images[:1], 5.0) for _ in range(2)]  # a single picture is a batch, too
    refuse((torch.equal(*again), "every call gives the same noise: is a seed set within?"))


def _made(noisy, images: Tensor, deviation: float) -> Tensor:
    found = call_with_copies(noisy, images, deviation)
    if not isinstance(found, Tensor) or found.shape != images.shape:
        raise Wrong(f"a tensor of the shape {list(images.shape)} is expected from `noisy`.")
    if found.dtype != torch.uint8:
        raise Wrong(f"what comes out is {found.dtype}; torch.uint8 is expected.")
    return found


def _expect_noise(found: Tensor, deviation: float) -> None:
    """40 grey pictures: 31,360 draws, whose mean and scatter are known to a hundredth of it."""
    noise = found.double() - 128
    spread, pixels = noise.std().item(), noise.flatten(1)
    same = torch.corrcoef(pixels)[~torch.eye(len(pixels), dtype=torch.bool)].mean()
    rows = noise.var(dim=3).mean() < 0.5 * spread**2 or noise.var(dim=2).mean() < 0.5 * spread**2
    refuse(
        (spread < 0.01, "a grey picture comes out as it was: there is no noise."),
        (pixels.std(1).mean() < 0.5 * spread, "within a picture all pixels get the same number."),
        (same > 0.3, "all pictures get the same noise: each pixel of each needs its own draw."),
        (rows, "in a picture whole rows or columns get the same number."),
        (abs(noise.mean()) > 0.1 * deviation + 0.6, "the noise makes the picture brighter or "
         "darker on average: its mean has to be 0."),
        (abs(spread - deviation) > 0.1 * deviation, f"with a deviation of {deviation}, grey "
         f"pictures scatter by {spread:.3g}."),
        (noise.abs().max() < 2.5 * deviation, "large deviations never come: is the noise really "
         "drawn from the normal distribution?"),
    )  # fmt: skip


def _expect_ends(noisy, deviation: float) -> None:
    """On black, half of the noise cannot be seen; none of it makes black white, or the reverse."""
    for value, far, words in (
        (0, lambda x: x > 6.5 * deviation, "black turns bright"),
        (255, lambda x: x < 255 - 6.5 * deviation, "white turns dark"),
    ):
        if 6.5 * deviation < 250:
            found = _made(noisy, torch.full((20, 1, 28, 28), value, dtype=torch.uint8), deviation)
            refuse((far(found.double()).any(), f"{words}: what lies beyond the ends of the scale "
                    "wraps around in 8 bits."))  # fmt: skip
            share = (found == value).double().mean()
            refuse((not 0.4 < share < 0.65, f"of {value}, {share:.0%} of the pixels stay as they "
                    "were; about half of the noise lies beyond the end of the scale."))  # fmt: skip

"""The exercises of notebook 03: one more run, people drawn, a plot read, Holm, a claim judged."""

import random
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm, t

from mnist_lab.exercises.cases import draw
from mnist_lab.exercises.checks import as_number, by_example, call_with_copies, refuse
from mnist_lab.exercises.question import Wrong, exercise
from mnist_lab.plots import COLUMN, STYLE, show


@exercise("Where will the mean of the next runs lie?")
def mean_of_the_next_runs(next_mean):
    def of(scatter, factor=lambda n: t.ppf(0.975, n - 1), ddof=1, turn=1):
        def interval(accuracies, more):
            n, deviation = len(accuracies), accuracies.std(ddof=ddof)
            half = turn * factor(n) * deviation * scatter(n, more)
            return accuracies.mean() - half, accuracies.mean() + half

        return interval

    def both(n, more):
        return (1 / n + 1 / more) ** 0.5

    known = "1.96 is for a deviation that is known; here stands t with n − 1 degrees of freedom."
    slips = [
        (of(lambda n, more: n**-0.5), "that is where the recipe's own mean lies: the runs to come "
         "have luck, too."),
        (of(lambda n, more: (1 + 1 / n) ** 0.5), "that is for one more run, whatever `more` is."),
        (of(lambda n, more: more**-0.5), "the mean that you have has luck, too."),
        (of(lambda n, more: n**-0.5 + more**-0.5), "it is the variances that add up."),
        (of(lambda n, more: 1 / n + 1 / more), "of the variances' sum the root is missing."),
        (of(lambda n, more: (n + more) ** -0.5), "1/n and 1/more are added, not n and more."),
        (of(both, lambda n: norm.ppf(0.975)), known),
        (of(both, lambda n: 1.96), known),
        (of(both, lambda n: 1), "t is missing: that is one deviation to each side."),
        (of(both, lambda n: t.ppf(0.975, n)), "t has n − 1 degrees of freedom."),
        (of(both, lambda n: t.ppf(0.95, n - 1)), "2.5 % have to be cut off on each side, not 5 %."),
        (of(both, ddof=0), "a sample's own mean asks for the divisor n − 1: `ddof=1`."),
        (of(both, turn=-1), "low and high are interchanged."),
    ]  # fmt: skip
    sizes = [(5, 3), (4, 1), (8, 20), (2, 2), (draw.randint(3, 9), draw.randint(2, 9))]
    cases = [(np.array([draw.uniform(0.8, 0.9) for _ in range(n)]), more) for n, more in sizes]
    why = "Two lucks, that of the mean you have and that of the mean to come."
    by_example("next_mean", next_mean, of(both), cases, slips, tolerance=2e-5, otherwise=why)


@exercise("Draw people, not digits")
def draw_people_not_digits(draw_people):
    people, often = 30, 30  # so many that each verdict below is wrong less than once in 10^11
    names = draw.sample(range(1_000, 4_000), people)
    sizes = [draw.randint(2, 7) for _ in names]
    sizes[draw.randrange(people)] = 60  # one of them wrote a third of all
    writers = np.repeat(names, sizes)
    np.random.default_rng(draw.getrandbits(32)).shuffle(writers)
    drawn = []  # of each draw, how often each person comes
    for _ in range(often):
        digits = _whole_numbers(call_with_copies(draw_people, writers), writers)
        counts = np.bincount(digits, minlength=len(writers))
        each = [counts[writers == name] for name in names]
        uneven = any(one.min() != one.max() for one in each)
        refuse((uneven, "of one person, some digits come more often than others: with a person "
                "come all of their digits."))  # fmt: skip
        drawn.append([one[0] for one in each])
    times = np.array(drawn)
    once, totals, of_the_largest = times.max() <= 1, times.sum(1), times[:, np.argmax(sizes)]
    refuse(
        (once and (totals == people).all(), "everybody comes exactly once: draw with replacement."),
        (once, "nobody ever comes twice: who is drawn twice brings all of their digits twice."),
        (
            (totals != people).any(),
            f"of {people} people, {totals[totals != people][:1].sum()} are drawn; draw as many "
            "as there are.",
        ),
        ((times == times[0]).all(), f"{often} calls draw the same people each time: a seed?"),
        (
            of_the_largest.sum() > 100,
            "whoever wrote more digits is drawn more often: each person has the same chance.",
        ),
        ((times.sum(0) == 0).any(), f"in {often} draws, one person never came."),
    )


def _whole_numbers(found, writers: np.ndarray) -> np.ndarray:
    """The numbers of digits in an answer, in whatever row they come."""
    asked = f"the numbers of the digits are expected, from 0 to {len(writers) - 1}, in one row."
    try:
        numbers = np.asarray(found)
    except (TypeError, ValueError, RuntimeError):
        numbers = np.asarray(None)
    mask = numbers.dtype.kind == "b" and numbers.shape == writers.shape
    row = numbers.dtype.kind in "iuf" and numbers.ndim == 1
    refuse(
        (found is None, f"draw_people(writers) is None (is there a `return`?); {asked}"),
        (mask, "True and False cannot say that a digit comes twice: return numbers of digits."),
        (not row, f"what it returns is no row: {asked}"),
        (not numbers.size, f"it draws nobody: {asked}"),
    )
    refuse((np.isin(numbers, writers).all(), f"those are people; {asked}"))
    whole = numbers.astype(np.int64) if np.isfinite(numbers).all() else np.array([-1])
    outside = whole.min() < 0 or whole.max() >= len(writers) or not np.array_equal(whole, numbers)
    refuse((outside, f"not all that it returns are such numbers: {asked}"))
    return whole


@exercise("Read the losses")
def read_the_losses(my_number, validation, reported, overfits_from):
    letters, _, turn = _made_up_losses(_number_of_a_picture(my_number))
    found = {
        "validation": _letter(validation, "validation"),
        "reported": _letter(reported, "reported"),
    }
    refuse(
        (found["validation"] == found["reported"], "two losses cannot be one and the same curve."),
        (found["validation"] != letters["validation"], "`validation` is another curve: what has "
         "been learnt by heart does not help there, and so one curve does not go on falling."),
        (found["reported"] != letters["reported"], "`reported` is another curve: is a network "
         "better or worse off while dropout is at work and the digits are turned?"),
    )  # fmt: skip
    epoch = as_number(overfits_from, "`overfits_from`")
    other = "which is not the epoch after which the validation loss only rises."
    refuse((not abs(epoch - turn) <= 2, f"`overfits_from` is {epoch:,.6g}, {other}"))


def losses_to_read(number: int) -> None:
    """Draw the picture of this number: three losses over the epochs, called A, B and C."""
    letters, curves, _ = _made_up_losses(_number_of_a_picture(number))
    names = {letter: name for name, letter in letters.items()}
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(COLUMN, 3.2), layout="constrained")
        for letter, style, mark in zip("ABC", ("-", "--", ":"), "osX"):
            losses = curves[names[letter]]
            epochs = range(1, len(losses) + 1)
            axis.plot(epochs, losses, style, marker=mark, markevery=5, lw=2, label=letter)
        axis.set(xlabel="epoch", ylabel="loss", yscale="log", xticks=range(0, len(losses) + 1, 4))
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
        every = range(3, len(losses), 4)
        told = "; ".join(
            f"{letter} " + ", ".join(f"{curves[names[letter]][i]:.2g}" for i in every)
            for letter in "ABC"
        )
        show(figure, f"Three losses after epochs 4, 8, 12 and so on to {len(losses)}: {told}.")


def _made_up_losses(number: int) -> tuple[dict[str, str], dict[str, np.ndarray], int]:
    """Of each loss its letter and its values, and the epoch at which that of validation turns."""
    drawn, epochs = random.Random(f"losses {number}"), np.arange(1, 41)
    turn, lowest, letters = drawn.randint(8, 28), drawn.uniform(0.15, 0.3), list("ABC")
    drawn.shuffle(letters)
    before, after = np.clip(turn - epochs, 0, None) / turn, np.clip(epochs - turn, 0, None)
    shake = np.exp([drawn.uniform(-0.004, 0.004) for _ in epochs])
    curves = {
        "validation": lowest * np.exp(1.7 * before**1.3 + 0.03 * after) * shake,
        "reported": 0.12 + 1.5 * np.exp(-2 * epochs / turn),
        "alike": 0.003 + 1.1 * np.exp(-2.2 * epochs / turn),
    }
    return dict(zip(curves, letters)), curves, turn


def _number_of_a_picture(number) -> int:
    whole = isinstance(number, (int, np.integer)) and not isinstance(number, bool)
    if not whole:
        raise Wrong("`my_number` is no whole number: it chooses your picture.")
    return int(number)


def _letter(value, name: str) -> str:
    if not isinstance(value, str) or value.strip().upper() not in ("A", "B", "C"):
        raise Wrong(f'`{name}` is the letter of a curve: "A", "B" or "C", in quotes.')
    return value.strip().upper()


@exercise("Holm, as programs print it")
def holm_as_programs_print_it(adjusted):
    def of(combine: Callable, factor=lambda m, place: m - place):
        def values(p):
            order = np.argsort(p, kind="stable")
            scaled = [factor(len(p), place) * p[which] for place, which in enumerate(order)]
            found = np.empty(len(p))
            found[order] = combine(np.array(scaled))
            return found.tolist()

        return values

    def highest(scaled):
        return np.minimum(np.maximum.accumulate(scaled), 1)

    right = of(highest)

    def from_behind(scaled):
        return np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)

    slips = [
        (lambda p: sorted(right(p)), "they are sorted: each has to stand where its question does."),
        (of(lambda s: np.minimum(s, 1), lambda m, place: m), "that is Bonferroni's: the factor is "
         "m for the smallest p only."),
        (of(lambda s: s, lambda m, place: m), "that is Bonferroni's, and may be above 1."),
        (of(lambda s: np.minimum(s, 1)), "a p may not come out below that of a smaller one: where "
         "Holm stops, all behind it stop."),
        (of(lambda s: np.minimum(s, 1), lambda m, place: m - place - 1), "the smallest p is "
         "multiplied by m, the largest by 1."),
        (of(np.maximum.accumulate), "no p is above 1."),
        (of(lambda s: s), "a p may not come out below that of a smaller one, nor above 1."),
        (of(from_behind), "that is Hochberg's, which begins at the largest: a p takes the largest "
         "of the products *up to* its place."),
        (of(from_behind, lambda m, place: m / (place + 1)), "that is Benjamini and Hochberg's, "
         "which promises less: false alarms as a share of all alarms."),
        (lambda p: (np.asarray(right(p)) <= 0.05).tolist(), "numbers are expected, not whether "
         "each is shown."),
        (lambda p: list(p), "nothing is corrected."),
    ]  # fmt: skip
    # In the first, Holm's values are another than Bonferroni's, Hochberg's and unsorted ones.
    cases = [(np.array(p),) for p in (
        [0.03, 0.004, 0.55, 0.022, 0.021, 0.6], [0.04, 0.04, 0.01], [0.2], [0.9, 0.8, 0.001, 0.7],
    )]  # fmt: skip
    for count in (5, 12, draw.randint(2, 9)):
        cases.append((np.array([draw.uniform(0, 1) ** 3 for _ in range(count)]),))
    why = "Sort, multiply by m, m − 1, …, and let no value fall below the one before it."
    by_example("adjusted", adjusted, right, cases, slips, otherwise=why)


@exercise("Just as good?")
def just_as_good(judge):
    def right(a, b, margin):
        low, high = _interval(b - a)
        return "holds" if low > -margin else "does not hold" if high < -margin else "undecided"

    situations = [  # mean and margin in deviations of the mean; t is 2.78 for 5 runs
        (5, -6.0, 1.0, "B is worse by more than the margin, and not by luck."),
        (5, -1.0, 6.0, "B may be a little worse, but by less than the margin."),
        (5, -4.0, 9.0, "B is worse, and not by luck; but surely by less than the margin."),
        (5, -1.0, 1.0, "No difference is shown; that does not show that there is none."),
        (5, 1.0, 1.0, "B looks better, but it may be worse by more than the margin."),
        (5, 6.0, 1.0, "Who is better is also as good: only worse is bounded."),
        (5, -1.0, 3.95, "The interval of 95 % just stays above the margin."),
        (5, -3.95, 1.0, "The interval of 95 % just stays below the margin."),
        (5, -1.0, 3.62, "The interval of 95 % just reaches over the margin."),
        (5, -3.62, 1.0, "The interval of 95 % just reaches up to the margin."),
    ]
    for n, mean, margin in ((8, 0.5, 4.0), (12, -5.0, 1.5), (3, -3.0, 1.0)):
        situations.append((n, mean, margin, "The numbers are drawn anew each time."))
    for n, mean, margin, why in situations:
        a, b, unit = _drawn_pairs(n, mean)
        low, high = _interval(b - a)
        told = f"The interval of b − a is [{low:+.4f}, {high:+.4f}]. {why}"
        by_example("judge", judge, right, [(a, b, margin * unit)], otherwise=told)


def _interval(values: np.ndarray) -> tuple[float, float]:
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return values.mean() - half, values.mean() + half


def _drawn_pairs(n: int, mean: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Accuracies whose differences have exactly this mean, in deviations of the mean (the last).

    What the two runs of a pair share scatters far more: unpaired, nothing is ever decided.
    """
    unit = draw.uniform(0.0004, 0.0008)
    noise = np.array([draw.gauss(0, 1) for _ in range(n)])
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    shared = 0.95 + 0.02 * np.array(draw.sample(np.linspace(-1, 1, n).tolist(), n))
    return shared, shared + unit * (mean + n**0.5 * noise), unit

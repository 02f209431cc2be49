"""The exercises of notebook 03 tell right answers from wrong ones."""

import numpy as np
import pytest
from answers import Case, proofs

from mnist_lab.exercises.n03 import _made_up_losses, losses_to_read
from mnist_lab.statistics import prediction_interval

NEXT = "import numpy as np\nfrom scipy.stats import norm, t\ndef next_mean(accuracies, more):\n    "
PARTS = "n, m, s = len(accuracies), accuracies.mean(), accuracies.std(ddof=1)\n    "
BOTH = "h = t.ppf(0.975, n - 1) * s * (1 / n + 1 / more) ** 0.5\n    "
ENDS = "return m - h, m + h"
PEOPLE = "import numpy as np\nimport random\ndef draw_people(writers):\n    "
NAMES = "names = np.unique(writers)\n    rng = np.random.default_rng()\n    "
DRAWN = NAMES + "drawn = rng.choice(names, len(names))\n    "
THEIRS = "return np.concatenate([np.flatnonzero(writers == name) for name in drawn])"
HOLM = "import numpy as np\ndef adjusted(p):\n    "
ORDER = "order, m = np.argsort(p), len(p)\n    found = np.empty(m)\n    "
JUDGE = (
    "import numpy as np\nfrom scipy.stats import t, ttest_1samp, ttest_ind\n"
    "def judge(a, b, margin):\n    "
)
LOW_HIGH = "low, high = ttest_1samp(b - a, 0).confidence_interval()\n    "
WORDS = "return 'holds' if low > -margin else 'does not hold' if high < -margin else 'undecided'"


def read(number: int, validation="", reported="", more: float = 0) -> str:
    """An answer to the picture of a number: what is right, but for what is given."""
    letters, _, turn = _made_up_losses(number)
    validation, reported = validation or letters["validation"], reported or letters["reported"]
    return (
        f"my_number = {number}\nvalidation = {validation!r}\nreported = {reported!r}\n"
        f"overfits_from = {turn + more}"
    )


LETTERS = _made_up_losses(5)[0]

CASES = {
    "mean_of_the_next_runs": Case(
        other=[
            NEXT + "n, m = len(accuracies), np.mean(accuracies)\n"
            "    variance = sum((accuracies - m) ** 2) / (n - 1)\n"
            "    return t.interval(0.95, n - 1, m, np.sqrt(variance / n + variance / more))",
            "import torch\n" + NEXT + "x = torch.tensor(accuracies).float()\n"
            "    h = t.ppf(0.975, len(x) - 1) * x.std() * (1 / len(x) + 1 / more) ** 0.5\n"
            "    return torch.stack([x.mean() - h, x.mean() + h])",
            "import statistics\n" + NEXT + "x = accuracies.tolist()\n"
            "    h = t.isf(0.025, len(x) - 1) * statistics.stdev(x)\n"
            "    h *= ((len(x) + more) / (len(x) * more)) ** 0.5\n"
            "    return [statistics.fmean(x) - h, statistics.fmean(x) + h]",
        ],
        wrong={
            NEXT + PARTS + "h = t.ppf(0.975, n - 1) * s / n**0.5\n    " + ENDS: "own mean lies",
            NEXT + PARTS + "h = t.ppf(0.975, n - 1) * s * (1 + 1 / n) ** 0.5\n    " + ENDS:
            "for one more run, whatever",
            NEXT + PARTS + "h = t.ppf(0.975, n - 1) * s / more**0.5\n    " + ENDS:
            "the mean that you have has luck",
            NEXT + PARTS + "h = t.ppf(0.975, n - 1) * s * (n**-0.5 + more**-0.5)\n    " + ENDS:
            "variances that add up",
            NEXT + PARTS + "h = t.ppf(0.975, n - 1) * s * (1 / n + 1 / more)\n    " + ENDS:
            "the root is missing",
            NEXT + PARTS + "h = t.ppf(0.975, n - 1) * s / (n + more) ** 0.5\n    " + ENDS:
            "are added, not n and more",
            NEXT + PARTS + BOTH.replace("t.ppf(0.975, n - 1)", "1.96") + ENDS: "1.96 is for a",
            NEXT + PARTS + BOTH.replace("t.ppf(0.975, n - 1) * ", "") + ENDS: "t is missing",
            NEXT + PARTS + BOTH.replace("n - 1", "n") + ENDS: "has n − 1 degrees",
            NEXT + PARTS + BOTH.replace("0.975", "0.95") + ENDS: "on each side, not 5 %",
            NEXT + PARTS.replace("ddof=1", "") + BOTH + ENDS: "asks for the divisor n − 1",
            NEXT + PARTS + BOTH + "return m + h, m - h": "low and high are interchanged",
            NEXT + PARTS + BOTH + "return h": "2 values are expected",
            NEXT + PARTS + BOTH + "return 100 * (m - h), 100 * (m + h)": "Two lucks",
            NEXT + PARTS + BOTH + "accuracies.sort()\n    " + ENDS: "`accuracies` is changed by it",
        },
        alike={NEXT + PARTS + BOTH.replace("t.ppf(0.975, n - 1)", "norm.ppf(0.975)") + ENDS:
               "1.96 is for a"},
    ),
    "draw_people_not_digits": Case(
        other=[
            PEOPLE + NAMES + "digits = []\n    for _ in names:\n"
            "        name = random.choice(names)\n"
            "        digits += [i for i, one in enumerate(writers) if one == name]\n"
            "    return digits",
            "import torch\n" + PEOPLE + "names, place = np.unique(writers, return_inverse=True)\n"
            "    times = np.bincount(np.random.randint(len(names), size=len(names)), "
            "minlength=len(names))\n"
            "    return torch.arange(len(writers)).repeat_interleave("
            "torch.from_numpy(times[place]))",
            "from collections import defaultdict\n" + PEOPLE + "of = defaultdict(list)\n"
            "    for digit, name in enumerate(writers):\n        of[int(name)].append(digit)\n"
            "    drawn = random.choices(list(of.values()), k=len(of))\n"
            "    return np.array(sum(drawn, []), dtype=np.int32)",
        ],
        wrong={
            PEOPLE + "return np.random.default_rng().integers(len(writers), size=len(writers))":
            "some digits come more often than others",
            PEOPLE + NAMES + "drawn = rng.permutation(names)\n    " + THEIRS: "exactly once",
            PEOPLE + DRAWN + "return np.flatnonzero(np.isin(writers, drawn))": "nobody ever comes",
            PEOPLE + NAMES + "drawn = rng.choice(names, len(writers))\n    " + THEIRS:
            "draw as many as there are",
            PEOPLE + DRAWN.replace("default_rng()", "default_rng(0)") + THEIRS: "a seed?",
            PEOPLE + NAMES + "drawn = rng.choice(writers, len(names))\n    " + THEIRS:
            "each person has the same chance",
            PEOPLE + NAMES + "drawn = rng.choice(names[:-1], len(names))\n    " + THEIRS:
            "one person never came",
            PEOPLE + DRAWN + "return drawn": "those are people",
            PEOPLE + DRAWN + "return np.isin(writers, drawn)": "True and False cannot say",
            PEOPLE + DRAWN + THEIRS.replace("np.concatenate(", "list("): "is no row",
            PEOPLE + DRAWN + THEIRS + " + 5_000": "not all that it returns are such numbers",
            PEOPLE + DRAWN + THEIRS.replace("return", "d =") + "\n    return (i for i in d)":
            "is no row",
            PEOPLE + DRAWN + "return []": "it draws nobody",
            PEOPLE + DRAWN + "pass": "None (is there a `return`?)",
            PEOPLE + "writers.sort()\n    " + DRAWN + THEIRS: "`writers` is changed by it",
        },
        alike={
            PEOPLE + NAMES + "drawn = rng.choice(names, len(names) - 1)\n    " + THEIRS: "draw as",
            PEOPLE + DRAWN + THEIRS.replace("name) for", "name)[:1] for"):
            "come more often than others",
            PEOPLE + DRAWN + THEIRS.replace(" for name in drawn]", " for name in drawn] + [[0.5]]"):
            "not all that it returns",
        },
    ),
    "read_the_losses": Case(
        other=[
            *map(read, range(-2, 9)),
            read(12, more=2),
            read(13, more=-2),
            read(14, validation=_made_up_losses(14)[0]["validation"].lower() + " "),
            "import numpy as np\n" + read(7).replace("my_number = 7", "my_number = np.int64(7)"),
            read(10**30),
        ],
        wrong={
            read(5, validation=LETTERS["alike"]): "`validation` is another curve",
            read(5, reported=LETTERS["alike"]): "`reported` is another curve",
            read(5, reported=LETTERS["validation"]): "one and the same curve",
            read(5, more=3): "is not the epoch after which",
            read(5) + "\noverfits_from = float('nan')": "`overfits_from` is nan",
            read(5, validation="D"): "`validation` is the letter of a curve",
            read(5).replace("my_number = 5", "my_number = 'five'"): "no whole number",
            read(5) + "\noverfits_from = 'twelve'": "a number is expected",
        },
        alike={
            read(5, more=-3): "is not the epoch",
            read(5).replace("my_number = 5", "my_number = 2.5"): "no whole number",
            read(5) + "\nreported = 3": "`reported` is the letter",
        },
    ),
    "holm_as_programs_print_it": Case(
        other=[
            HOLM + "found = [1.0] * len(p)\n    so_far = 0.0\n"
            "    for place, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):\n"
            "        so_far = max(so_far, min(1.0, (len(p) - place) * float(p[i])))\n"
            "        found[i] = so_far\n    return found",
            "import torch\n" + HOLM + "x, order = torch.tensor(p).float().sort()\n"
            "    x = (x * torch.arange(len(p), 0, -1)).cummax(0).values.clamp(max=1)\n"
            "    return x[order.argsort()]",
            HOLM + "return np.array([max(min(1, q * np.sum(p >= q)) for q in p if q <= one) "
            "for one in p])",
        ],
        wrong={
            HOLM + "m = len(p)\n    return np.minimum(1, np.maximum.accumulate("
            "np.sort(p) * np.arange(m, 0, -1)))": "they are sorted",
            HOLM + "return np.minimum(1, p * len(p))": "the factor is m for the smallest",
            HOLM + "return p * len(p)": "and may be above 1",
            HOLM + ORDER + "found[order] = p[order] * np.arange(m, 0, -1)\n"
            "    return np.minimum(found, 1)": "all behind it stop",
            HOLM + ORDER + "found[order] = p[order] * np.arange(m - 1, -1, -1)\n"
            "    return np.minimum(found, 1)": "the largest by 1",
            HOLM + ORDER + "found[order] = np.maximum.accumulate(p[order] * np.arange(m, 0, -1))\n"
            "    return found": "no p is above 1",
            HOLM + ORDER + "found[order] = p[order] * np.arange(m, 0, -1)\n    return found":
            "nor above 1",
            HOLM + ORDER + "x = p[order] * np.arange(m, 0, -1)\n"
            "    found[order] = np.minimum.accumulate(x[::-1])[::-1]\n"
            "    return np.minimum(found, 1)": "that is Hochberg's",
            HOLM + ORDER + "x = p[order] * m / np.arange(1, m + 1)\n"
            "    found[order] = np.minimum.accumulate(x[::-1])[::-1]\n"
            "    return np.minimum(found, 1)": "promises less",
            HOLM + "shown = np.zeros(len(p), bool)\n"
            "    for place, i in enumerate(np.argsort(p)):\n"
            "        if p[i] > 0.05 / (len(p) - place):\n            break\n"
            "        shown[i] = True\n    return shown": "not whether each is shown",
            HOLM + "return p": "nothing is corrected",
            HOLM + "return p[0]": "6 values are expected",
            HOLM + "p.sort()\n    return p": "`p` is changed by it",
            HOLM + "return p / len(p)": "Sort, multiply by m",
        },
    ),
    "just_as_good": Case(
        other=[
            JUDGE + LOW_HIGH + WORDS,
            "import torch\n" + JUDGE + "d = torch.tensor(b) - torch.tensor(a)\n"
            "    half = t.isf(0.025, len(d) - 1) * d.std() / len(d) ** 0.5\n"
            "    low, high = d.mean() - half, d.mean() + half\n    " + WORDS,
            JUDGE + "d = a - b\n    half = t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / len(d)**0.5\n"
            "    if d.mean() + half < margin:\n        return 'holds'\n"
            "    if d.mean() - half > margin:\n        return 'does not hold'\n"
            "    return 'undecided'",
        ],
        wrong={
            JUDGE + "return 'holds' if (b - a).mean() > -margin else 'does not hold'":
            "does not show that there is none",
            JUDGE + LOW_HIGH + "return 'holds' if high > 0 else 'does not hold'":
            "surely by less than the margin",
            JUDGE + "low, high = ttest_ind(b, a, equal_var=False).confidence_interval()\n    "
            + WORDS: "B is worse by more than the margin, and not by luck",
            JUDGE + LOW_HIGH.replace("b - a", "a - b") + WORDS: "B is worse by more than the",
            JUDGE + LOW_HIGH + "margin = 0\n    " + WORDS: "may be a little worse",
            JUDGE + LOW_HIGH + "if -margin < low and high < margin:\n        return 'holds'\n"
            "    return 'does not hold' if high < -margin or low > margin else 'undecided'":
            "only worse is bounded",
            JUDGE + LOW_HIGH.replace("interval()", "interval(0.9)") + WORDS: "just reaches over",
            JUDGE + "d = b - a\n    half = t.ppf(0.975, len(d) - 1) * d.std() / len(d) ** 0.5\n"
            "    low, high = d.mean() - half, d.mean() + half\n    " + WORDS: "just reaches over",
            JUDGE + "d = b - a\n    half = 1.96 * d.std(ddof=1) / len(d) ** 0.5\n"
            "    low, high = d.mean() - half, d.mean() + half\n    " + WORDS:
            "'holds'; 'undecided' is expected",
            JUDGE + LOW_HIGH.replace("interval()", "interval(0.99)") + WORDS: "just stays above",
            JUDGE + LOW_HIGH + "return low > -margin": "is a bool; 'does not hold' is expected",
            JUDGE + LOW_HIGH + WORDS.replace("does not hold", "no"): "'no'; 'does not hold'",
            JUDGE + LOW_HIGH + "b -= a\n    " + WORDS: "`b` is changed by it",
            JUDGE + LOW_HIGH + "return low, high": "The interval of b − a is",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("proof", proofs("03", CASES))
def test_every_answer_gets_its_verdict(proof):
    proof()


def test_the_mean_of_one_more_run_is_one_more_run():
    names = {}
    exec(NEXT + PARTS + BOTH + ENDS, names)
    runs = np.array([0.91, 0.93, 0.92, 0.95])
    assert np.allclose(names["next_mean"](runs, 1), prediction_interval(runs))


def test_every_picture_can_be_read():
    """The validation loss is lowest where it is said to be, and nowhere far from it nearly so."""
    for number in range(500):
        _, curves, turn = _made_up_losses(number)
        losses = curves["validation"]
        assert losses.argmin() + 1 == turn and 8 <= turn <= 28
        far = np.abs(np.arange(1, len(losses) + 1) - turn) > 2
        assert losses[far].min() > 1.03 * losses.min()
        assert (curves["reported"] > 1.1 * curves["alike"]).all()
        assert (np.diff(curves["reported"]) < 0).all() and (np.diff(curves["alike"]) < 0).all()


def test_the_picture_is_drawn_again_for_the_same_number_and_another_for_another(monkeypatch):
    told = []
    monkeypatch.setattr("mnist_lab.exercises.n03.show", lambda figure, alt: told.append(alt))
    for number in (3, 3, 4):
        losses_to_read(number)
    assert told[0] == told[1] != told[2] and "; B " in told[0]

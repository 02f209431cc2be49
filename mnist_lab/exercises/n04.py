"""The exercises of notebook 04: a verdict with three outcomes, OneCycle, evaluation, class maps."""

import random

import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from mnist_lab.exercises.checks import as_number, expect_function, expect_tensor
from mnist_lab.exercises.question import Wrong, exercise


@exercise(
    title="Three outcomes",
    task="""
    Write `verdict(low, high, asked)`. A network was measured, and the 95 % interval of its accuracy
    reaches from `low` to `high`; `asked` is the accuracy that was asked for ("at least …"). It
    returns the text `"yes"` if the whole interval lies at or above what was asked, `"NO"` if the
    whole interval lies below, and `"undecided"` otherwise.
    """,
    start="""
    def verdict(low, high, asked):
        return ...
    """,
    hint="""
    Two comparisons are enough: one looks at the lower end of the interval, one at the upper.
    """,
    solution="""
    def verdict(low, high, asked):
        if low >= asked:
            return "yes"
        return "NO" if high < asked else "undecided"
    """,
    right="""
    A row that can only say yes or NO turns with every seed. This one says when a single run cannot
    tell.
    """,
)
def three_outcomes(verdict):
    expect_function(verdict, "verdict")
    cases = (
        (0.995, 0.997, 0.994, "yes", "the whole interval lies above 0.994."),
        (0.99, 0.993, 0.994, "NO", "the whole interval lies below 0.994."),
        (0.993, 0.9949, 0.994, "undecided", "0.994 lies inside of the interval, above its middle."),
        (0.9932, 0.9958, 0.994, "undecided", "0.994 lies inside, though the middle is above it."),
        (0.994, 0.996, 0.994, "yes", "an interval that begins at what was asked is not below it."),
        (0.99, 0.994, 0.994, "undecided", "the upper end just reaches what was asked."),
    )
    for low, high, asked, expected, why in cases:
        _compare_verdicts(verdict, low, high, asked, expected, why)
    for _ in range(20):
        low, high, asked = (round(random.uniform(0.5, 1), 3) for _ in range(3))
        low, high = min(low, high), max(low, high)
        expected = "yes" if low >= asked else "NO" if high < asked else "undecided"
        _compare_verdicts(verdict, low, high, asked, expected, "other limits are asked, too.")


def _compare_verdicts(verdict, low, high, asked, expected: str, why: str) -> None:
    found, call = verdict(low, high, asked), f"verdict({low}, {high}, {asked})"
    if not isinstance(found, str):
        raise Wrong(f"{call} is {found!r}; a text is expected, here {expected!r}.")
    if found != expected:
        raise Wrong(f"{call} is {found!r}; {expected!r} is expected: {why}")


@exercise(
    title="OneCycle by hand",
    task="""
    Write `lr_at(step, total, max_lr, share)`: the learning rate of a one-cycle schedule in straight
    lines. It begins at `max_lr / 25` in step 0, rises in a straight line to `max_lr` in step
    `share * total - 1`, and falls in a straight line to `max_lr / 250_000` in the last step,
    `total - 1`. (`OneCycleLR` in PyTorch does so with `anneal_strategy="linear"`; the recipe here
    rounds the corners with a cosine.)
    """,
    start="""
    def lr_at(step, total, max_lr, share):
        return ...
    """,
    hint="""
    A straight line from a to b: a + (b - a) * part, where part goes from 0 to 1. Which part of the
    way up has been gone in `step`, and which part of the way down?
    """,
    solution="""
    def lr_at(step, total, max_lr, share):
        first, last = max_lr / 25, max_lr / 250_000
        top = share * total - 1
        if step <= top:
            return first + (max_lr - first) * step / top
        return max_lr + (last - max_lr) * (step - top) / (total - 1 - top)
    """,
    right="""
    It is held against PyTorch's own scheduler, step by step. The end is so low that the last steps
    hardly move a weight.
    """,
)
def one_cycle_by_hand(lr_at):
    expect_function(lr_at, "lr_at")
    for _ in range(3):
        total, share = random.choice([50, 80, 120]), random.choice([0.2, 0.25, 0.3])
        max_lr = random.choice([0.005, 0.01, 0.5])
        truth = _one_cycle(total, max_lr, share)
        top = round(share * total) - 1
        for step, where in (
            (0, "the first step"), (top // 2, "on the way up"), (top, "near the top"),
            (total - 1, "the last step"), ((top + total) // 2, "on the way down"),
        ):  # fmt: skip
            call = f"lr_at({step}, {total}, {max_lr}, {share})"
            found = as_number(lr_at(step, total, max_lr, share), call)
            if abs(found - truth[step]) > 1e-6 * max_lr:
                raise Wrong(f"{call}, {where}, is {found:.6g}; {truth[step]:.6g} is expected.")


def _one_cycle(total: int, max_lr: float, share: float) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = OneCycleLR(optimizer, max_lr, total_steps=total, pct_start=share,
                          anneal_strategy="linear", cycle_momentum=False)  # fmt: skip
    rates = []
    for _ in range(total):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        if len(rates) < total:
            schedule.step()
    return rates


@exercise(
    title="Two mistakes in an evaluation",
    task="""
    `accuracy(network, batches)` shall say which share of all digits a network reads rightly, as it
    would be used. `batches` is a list of pairs: images, and their labels. There are **two**
    mistakes in it, both common, and both change the number only a little. Mend them.
    """,
    start="""
    import torch


    def accuracy(network, batches):
        shares = []
        with torch.no_grad():
            for images, labels in batches:
                answers = network(images).argmax(1)
                shares.append((answers == labels).float().mean().item())
        return sum(shares) / len(shares)
    """,
    hint="""
    What does dropout do while you measure? And if the last batch holds a single digit, how much
    does this digit count?
    """,
    solution="""
    import torch


    def accuracy(network, batches):
        network.eval()
        correct = total = 0
        with torch.no_grad():
            for images, labels in batches:
                answers = network(images).argmax(1)
                correct += (answers == labels).sum().item()
                total += len(labels)
        return correct / total
    """,
    right="""
    `no_grad` saves memory, `eval()` changes the answers: they are two different things. And digits
    are counted, not averages of averages.
    """,
)
def two_mistakes_in_an_evaluation(accuracy):
    expect_function(accuracy, "accuracy")
    for _ in range(3):
        network, batches = _network_that_drops(), []
        for size in (8, 8, 1):
            images = torch.randn(size, 6)
            labels = network.eval()(images).argmax(1)
            wrong = size // 2 if size > 1 else 1
            labels[:wrong] = (labels[:wrong] + 1) % 3
            batches.append((images, labels))
        network.train()
        modes: list[bool] = []
        network[2].register_forward_hook(lambda dropout, *_, to=modes: to.append(dropout.training))
        found = as_number(accuracy(network, batches), "accuracy(…)")
        if any(modes):
            raise Wrong("the network was left in training mode, and its dropout is on meanwhile.")
        if abs(found - (4 / 8 + 4 / 8 + 0) / 3) < 1e-6:
            raise Wrong("each batch counts the same, though the last one holds a single digit.")
        if abs(found - 8) < 1e-6 or abs(found - 800 / 17) < 1e-3:
            raise Wrong(f"accuracy(…) is {found:.4g}; a share from 0 to 1 is expected.")
        if abs(found - 8 / 17) > 1e-6:
            raise Wrong(
                f"accuracy(…) is {found:.4f}; {8 / 17:.4f} is expected: every digit counts once."
            )


def _network_that_drops() -> nn.Module:
    """Its dropout decides: in training mode the answers are at random."""
    return nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Dropout(0.9), nn.Linear(64, 3))


@exercise(
    title="Where did it look?",
    task="""
    Write `class_map(features, weights, digit)`. `features` `[C, h, w]` are the maps before global
    average pooling, `weights` `[10, C]` those of the classifier behind it. It returns the class
    activation map of `digit`, `[h, w]`: at each place, the sum over the channels of weight times
    feature. Then check in your head: why is its mean the score of the digit?
    """,
    start="""
    def class_map(features, weights, digit):
        return ...
    """,
    hint="""
    Ten channels would be ten products and a sum. `weights[digit][:, None, None]` has a shape that
    can be multiplied with `features`.
    """,
    solution="""
    def class_map(features, weights, digit):
        return (weights[digit][:, None, None] * features).sum(0)
    """,
    right="""
    Mean and weighted sum may be exchanged, both being linear: so the map says how much each place
    adds to the score, and it costs nothing.
    """,
)
def where_did_it_look(class_map):
    expect_function(class_map, "class_map")
    for channels, height, width in ((16, 6, 6), (4, 5, 7)):
        features, weights = torch.randn(channels, height, width), torch.randn(10, channels)
        digit = random.randrange(10)
        expected = torch.einsum("c,chw->hw", weights[digit], features)
        found, what = class_map(features.clone(), weights.clone(), digit), "class_map(…)"
        if isinstance(found, torch.Tensor) and found.shape == features.shape:
            raise Wrong("there is a map for each channel still: add them up over the channels.")
        if isinstance(found, torch.Tensor) and found.dim() == 0:
            raise Wrong("that is one number, the score perhaps; a map `[h, w]` is expected.")
        for other, why in (
            (expected / channels, "it is the mean over the channels; the sum is expected."),
            (features.sum(0), "the weights of the classifier are not in it."),
            (expected.relu(), "what speaks against the digit is cut off: keep negative values."),
        ):
            close = isinstance(found, torch.Tensor) and found.shape == other.shape
            if close and torch.allclose(found, other, atol=1e-5):
                raise Wrong(why)
        expect_tensor(found, expected, what)

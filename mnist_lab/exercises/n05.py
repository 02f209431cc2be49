"""The exercises of notebook 05: a verdict with three outcomes, OneCycle, evaluation, class maps."""

import math
from operator import truediv

import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from mnist_lab.exercises.cases import draw, randn
from mnist_lab.exercises.checks import by_example, refuse
from mnist_lab.exercises.question import exercise


@exercise("Three outcomes")
def three_outcomes(verdict):
    def right(low, high, asked):
        return "yes" if low >= asked else "NO" if high < asked else "undecided"

    cases = [
        (0.995, 0.997, 0.994, "Here the whole interval lies above 0.994."),
        (0.99, 0.993, 0.994, "Here the whole interval lies below 0.994."),
        (0.993, 0.9949, 0.994, "Here 0.994 lies inside of the interval, above its middle."),
        (0.9932, 0.9958, 0.994, "Here 0.994 lies inside, though the middle is above it."),
        (0.994, 0.996, 0.994, "An interval that begins at what was asked is not below it."),
        (0.99, 0.994, 0.994, "Here the upper end just reaches what was asked."),
    ]
    for place in (0, 1, 2) * 7:  # what was asked lies below, inside, above
        three = sorted(draw.sample(range(500, 1_000), 3))
        asked = three.pop(place) / 1_000
        cases.append((three[0] / 1_000, three[1] / 1_000, asked, "Other limits are asked, too."))
    for *case, why in cases:
        by_example("verdict", verdict, right, [tuple(case)], otherwise=why)


@exercise("OneCycle by hand")
def one_cycle_by_hand(lr_at):
    def of(top, fall=250_000):  # straight lines up to `top(share * total)`, and down
        def rate(step, total, max_lr, share):
            first, last, peak = max_lr / 25, max_lr / fall, top(share * total)
            if step <= peak:
                return first + (max_lr - first) * step / peak
            return max_lr + (last - max_lr) * (step - peak) / (total - 1 - peak)

        return rate

    between = "the peak may lie between two steps: do not round where it is."
    other_share = "`share` may be another than 0.2."
    slips = [
        (of(lambda place: int(place) - 1), between),
        (of(lambda place: round(place) - 1), between),
        (of(lambda place: place), "the peak lies one step earlier: the first step is number 0."),
        (lambda step, total, lr, _: of(lambda n: n - 1)(step, total, lr, 0.2), other_share),
        (of(lambda place: place - 1, 25), "it has to fall much further: to `max_lr / 250_000`."),
    ]
    max_lrs = draw.sample([0.005, 0.01, 0.5], 2) * 2
    for (total, share), max_lr in zip(((47, 0.25), (50, 0.3), (53, 0.35), (60, 0.15)), max_lrs):
        top, end = share * total - 1, total - 1
        steps = [0, int(top) // 2, math.floor(top), math.ceil(top), int(top + end) // 2, end]
        cases = [(step, total, max_lr, share) for step in steps]
        peak, near = f"The peak is at {top:g}: there it turns.", 1e-6 * max_lr
        by_example("lr_at", lr_at, _one_cycle, cases, slips, absolute=near, otherwise=peak)


def _one_cycle(step: int, total: int, max_lr: float, share: float) -> float:
    """The rate of PyTorch's own scheduler."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    named = {"anneal_strategy": "linear", "cycle_momentum": False}
    schedule = OneCycleLR(optimizer, max_lr, total_steps=total, pct_start=share, **named)
    for _ in range(step):
        schedule.step()
    return schedule.get_last_lr()[0]


@exercise("Two mistakes in an evaluation")
def two_mistakes_in_an_evaluation(accuracy):
    def watched(network, batches):
        modes = []
        network[2].register_forward_hook(lambda dropout, *_: modes.append(dropout.training))
        found = accuracy(network, batches)
        refuse((any(modes), "the network is in training mode, and its dropout is on meanwhile."))
        network.train()  # how it is left is not asked
        return found

    def of(combine):  # the numbers of right answers, and of digits, in each batch
        def slip(network, batches):
            right = [(network.eval()(x).argmax(1) == y).sum().item() for x, y in batches]
            return combine(right, [len(labels) for _, labels in batches])

        return slip

    slips = [
        (of(lambda n, all_: sum(map(truediv, n, all_)) / 3), "each batch counts the same so."),
        (of(lambda n, _: sum(n)), "it is the number of right answers; a share is expected."),
        (of(lambda n, all_: 100 * sum(n) / sum(all_)), "it is in percent; a share is expected."),
        (of(lambda n, all_: 1 - sum(n) / sum(all_)), "it is the share of wrong answers."),
    ]
    first, both, cases = draw.randint(7, 8), draw.randint(15, 17), []
    for last in (1, 2, 3):  # three totals; no share is 1/2, where right and wrong are the same
        # The dropout decides: in training mode the answers are at random.
        layers = nn.Linear(6, 64), nn.ReLU(), nn.Dropout(0.9), nn.Linear(64, 3)
        network, batches = nn.Sequential(*layers), []
        for size, wrong in ((first, 5), (both - first, 4), (last, last)):
            images = randn(size, 6)
            labels = network.eval()(images).argmax(1)
            labels[:wrong] = (labels[:wrong] + 1) % 3
            batches.append((images, labels))
        cases.append((network.train(), batches))
    right, every = of(lambda n, all_: sum(n) / sum(all_)), "Every digit counts once."
    by_example("accuracy", watched, right, cases, slips, tolerance=5e-5, otherwise=every)


@exercise("Where did it look?")
def where_did_it_look(class_map):
    def right(features, weights, digit):
        return torch.einsum("c,chw->hw", weights[digit], features)

    def answered(features, weights):
        return int((weights @ features.mean((1, 2))).argmax())

    slips = [
        (lambda f, w, d: w[d][:, None, None] * f, "add up the maps of the channels."),
        (lambda *case: right(*case).mean(), "that is the score; a map `[h, w]` is expected."),
        (lambda *case: right(*case) / len(case[0]), "it is the mean over the channels, no sum."),
        (lambda f, w, d: f.sum(0), "the weights of the classifier are not in it."),
        (lambda *case: right(*case).relu(), "negative values are cut off: keep them."),
        (lambda f, w, d: right(f, w, answered(f, w)), "it is the map of the digit it answers."),
    ]
    cases, digits = [], draw.sample(range(10), 10)
    for channels, height, width in ((16, 6, 6), (draw.randint(17, 40), 5, 7), (3, 6, 6)):
        features, weights = randn(channels, height, width), randn(10, channels)
        other = next(digit for digit in digits if digit != answered(features, weights))
        digits.remove(other)  # no digit twice
        cases.append((features, weights, other))
    by_example("class_map", class_map, right, cases, slips)

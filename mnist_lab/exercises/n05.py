"""The exercises of notebook 05: a schedule, OneCycle, evaluation, class maps."""

import math
from operator import truediv

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from mnist_lab.exercises import watch
from mnist_lab.exercises.cases import draw, randn
from mnist_lab.exercises.checks import agrees, by_example, refuse
from mnist_lab.exercises.question import exercise, watched


@exercise("A schedule that never comes down")
def schedule_that_never_comes_down(rates):
    def gone_through(*case):
        return watched(watch.rates_of, rates, *case)

    def of(total=lambda batches, epochs: batches * epochs, often=lambda batches: 1):
        def steps(batches, epochs, max_lr, share):
            optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=0.5)
            schedule = OneCycleLR(optimizer, max_lr, total_steps=total(batches, epochs),
                                  pct_start=share)  # fmt: skip
            used = []
            for number in range(1, batches * epochs + 1):
                used.append(schedule.get_last_lr()[0])
                if number % often(batches) == 0:
                    optimizer.step()
                    schedule.step()
            return used

        return steps

    right, epochs_only = of(), lambda batches, epochs: epochs
    per_epoch = "the rate has to move after every batch, not after every epoch."
    slips = [
        (of(epochs_only, lambda batches: batches), per_epoch),
        (of(often=lambda batches: batches), per_epoch + " So it never gets near its peak."),
        (lambda b, e, lr, s: [0.5] * (b * e), "the schedule moves nothing."),
        (lambda b, e, lr, s: of()(b, e, lr, 0.3), "where is `share`?"),
    ]
    why = "OneCycle rises in the first `share` of all steps, and falls until the last."
    cases = [(draw.randint(4, 7), draw.randint(5, 8), draw.uniform(0.01, 0.1), share)
             for share in (0.22, 0.35)]  # fmt: skip
    what = "what the optimizer stepped with"
    by_example(what, lambda *case: gone_through(*case)[1], right, cases, slips, otherwise=why)
    for case in cases:
        found = gone_through(*case)[0]
        rows = isinstance(found, (list, tuple, torch.Tensor, np.ndarray)) and np.ndim(found) == 1
        refuse((not rows, "it returns no list of the rates."))
        count = case[0] * case[1]
        refuse((len(found) != count, f"a rate for each step is expected, {count}; there are "
                f"{len(found)}."))  # fmt: skip
        moved = agrees(list(found)[:-1], right(*case)[1:])
        refuse((moved, "it is noted after the schedule has moved on."))
        by_example("rates", lambda *one: gone_through(*one)[0], right, [case],
                   otherwise="They are not those that the optimizer stepped with.")  # fmt: skip


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
    def asked(network, batches):
        return watched(watch.accuracy_of, accuracy, network, batches)

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
    for last in (2, 3, 4):  # three totals; no share is 1/2, where right and wrong are the same
        # The dropout decides: in training mode the answers are at random.
        layers = nn.Linear(6, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.9)
        network, batches = nn.Sequential(*layers, nn.Linear(64, 3)), []
        for size, wrong in ((first, 5), (both - first, 4), (last, last)):
            images = randn(size, 6)
            labels = network.eval()(images).argmax(1)
            labels[:wrong] = (labels[:wrong] + 1) % 3
            batches.append((images, labels))
        cases.append((network.train(), batches))
    right, every = of(lambda n, all_: sum(n) / sum(all_)), "Every digit counts once."
    by_example("accuracy", asked, right, cases, slips, tolerance=5e-5, otherwise=every)


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

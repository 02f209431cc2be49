"""The exercises of notebook 04: a verdict with three outcomes, OneCycle, evaluation, class maps."""

import copy
import math

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from mnist_lab.exercises.cases import draw, randn
from mnist_lab.exercises.checks import agrees, as_number, by_example, expect_unchanged
from mnist_lab.exercises.question import Wrong, exercise


@exercise("Three outcomes")
def three_outcomes(verdict):
    for low, high, asked, why in (
        (0.995, 0.997, 0.994, "the whole interval lies above 0.994."),
        (0.99, 0.993, 0.994, "the whole interval lies below 0.994."),
        (0.993, 0.9949, 0.994, "0.994 lies inside of the interval, above its middle."),
        (0.9932, 0.9958, 0.994, "0.994 lies inside, though the middle is above it."),
        (0.994, 0.996, 0.994, "an interval that begins at what was asked is not below it."),
        (0.99, 0.994, 0.994, "the upper end just reaches what was asked."),
    ):
        by_example("verdict", verdict, _verdict, [(low, high, asked)], otherwise=f"Here {why}")
    cases = []
    for place in (0, 1, 2) * 7:  # what was asked lies below, inside, above
        three = sorted(draw.sample(range(500, 1_000), 3))
        asked = three.pop(place) / 1_000
        cases.append((three[0] / 1_000, three[1] / 1_000, asked))
    others = "Other limits are asked, too."
    by_example("verdict", verdict, _verdict, cases, otherwise=others)


def _verdict(low: float, high: float, asked: float) -> str:
    return "yes" if low >= asked else "NO" if high < asked else "undecided"


@exercise("OneCycle by hand")
def one_cycle_by_hand(lr_at):
    between = draw.choice([(47, 0.25), (53, 0.35), (55, 0.3), (90, 0.15), (49, 0.3)])
    whole = draw.choice([(40, 0.25), (50, 0.3), (60, 0.15)])
    while whole[1] == between[1]:  # whoever does not look at `share` is wrong at least once
        whole = draw.choice([(40, 0.25), (50, 0.3), (60, 0.15)])
    for (total, share), max_lr in zip((between, whole), draw.sample([0.005, 0.01, 0.5], 2)):
        top = share * total - 1
        rates = _one_cycle(total, max_lr, share)
        steps = (0, int(top) // 2, math.floor(top), math.ceil(top), (int(top) + total) // 2,
                 total - 1)  # fmt: skip
        slips = [
            (lambda step, total, lr, share: _straight(step, total, lr, int(share * total) - 1),
             "the peak may lie between two steps: do not round where it is."),
            (lambda step, total, lr, share: _straight(step, total, lr, round(share * total) - 1),
             "the peak may lie between two steps: do not round where it is."),
            (lambda step, total, lr, share: _straight(step, total, lr, share * total),
             "the peak lies one step earlier: the first step is number 0."),
            (lambda step, total, lr, share: _straight(step, total, lr, 0.2 * total - 1),
             "`share` may be another than 0.2."),
            (lambda step, total, lr, share: _straight(step, total, lr, share * total - 1, lr / 25),
             "it has to fall much further than it rose: to `max_lr / 250_000`."),
        ]  # fmt: skip
        by_example("lr_at", lr_at, lambda step, *_, rates=rates: rates[step],
                   [(step, total, max_lr, share) for step in steps], slips,
                   absolute=1e-6 * max_lr, otherwise=_where(top))  # fmt: skip


def _where(top: float) -> str:
    return f"The peak is at {top:g}: before it the line rises, behind it falls."


def _straight(step: int, total: int, max_lr: float, top: float, last: float | None = None) -> float:
    first, last = max_lr / 25, max_lr / 250_000 if last is None else last
    if step <= top:
        return first + (max_lr - first) * step / top
    return max_lr + (last - max_lr) * (step - top) / (total - 1 - top)


def _one_cycle(total: int, max_lr: float, share: float) -> list[float]:
    """The rates of PyTorch's own scheduler, step by step."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = OneCycleLR(optimizer, max_lr, total_steps=total, pct_start=share,
                          anneal_strategy="linear", cycle_momentum=False)  # fmt: skip
    rates = schedule.get_last_lr()
    for _ in range(total - 1):
        schedule.step()
        rates += schedule.get_last_lr()
    return rates


@exercise("Two mistakes in an evaluation")
def two_mistakes_in_an_evaluation(accuracy):
    first, both = draw.randint(7, 8), draw.randint(15, 17)
    for last in (1, 2, 3):  # three totals; no share is 1/2, where right and wrong are the same
        network, batches = _network_that_drops(), []
        for size, wrong in ((first, 5), (both - first, 4), (last, last)):
            images = randn(size, 6)
            labels = network.eval()(images).argmax(1)
            labels[:wrong] = (labels[:wrong] + 1) % 3
            batches.append((images, labels))
        _look_at_accuracy(accuracy, network.train(), batches)


def _look_at_accuracy(accuracy, network: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> None:
    modes: list[bool] = []
    network[2].register_forward_hook(lambda dropout, *_: modes.append(dropout.training))
    total = sum(len(labels) for _, labels in batches)
    shares = [(network.eval()(images).argmax(1) == labels).float().mean().item()
              for images, labels in batches]  # fmt: skip
    expected = sum(share * len(labels) for share, (_, labels) in zip(shares, batches)) / total
    network.train()
    modes.clear()
    weights, given = copy.deepcopy(network.state_dict()), copy.deepcopy(batches)
    found = as_number(accuracy(network, given), "accuracy(…)")
    expect_unchanged(given, batches, "`batches`")
    expect_unchanged(network.state_dict(), weights, "`network`")
    if any(modes):
        raise Wrong("the network was left in training mode, and its dropout is on meanwhile.")
    if agrees(found, expected):
        return
    for other, why in (
        (sum(shares) / 3, "each batch counts the same, though the last one is smaller."),
        (expected * total, "it is the number of right answers; a share from 0 to 1 is expected."),
        (expected * 100, "it is in percent; a share from 0 to 1 is expected."),
        (1 - expected, "it is the share of wrong answers."),
    ):
        if agrees(found, other):
            raise Wrong(f"accuracy(…) is {found:.4g}: {why}")
    raise Wrong(f"accuracy(…) is {found:.4f}; {expected:.4f} is expected: every digit counts once.")


def _network_that_drops() -> nn.Module:
    """Its dropout decides: in training mode the answers are at random."""
    return nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Dropout(0.9), nn.Linear(64, 3))


@exercise("Where did it look?")
def where_did_it_look(class_map):
    slips = [
        (lambda maps, weights, digit: weights[digit][:, None, None] * maps,
         "there is a map for each channel still: add them up over the channels."),
        (lambda *case: _class_map(*case).mean(),
         "that is one number, the score; a map `[h, w]` is expected."),
        (lambda *case: _class_map(*case) / len(case[0]),
         "it is the mean over the channels; the sum is expected."),
        (lambda maps, weights, digit: maps.sum(0),
         "the weights of the classifier are not in it."),
        (lambda *case: _class_map(*case).relu(),
         "what speaks against the digit is cut off: keep negative values."),
        (lambda maps, weights, digit: _class_map(maps, weights, _best(maps, weights)),
         "it is the map of the digit that the network answers; another may be asked for."),
    ]  # fmt: skip
    cases, digits = [], draw.sample(range(10), 10)
    for channels, height, width in ((16, 6, 6), (draw.randint(17, 40), 5, 7), (3, 6, 6)):
        features, weights = randn(channels, height, width), randn(10, channels)
        other = next(digit for digit in digits if digit != _best(features, weights))
        digits.remove(other)  # no digit twice
        cases.append((features, weights, other))
    by_example("class_map", class_map, _class_map, cases, slips)


def _class_map(features: Tensor, weights: Tensor, digit: int) -> Tensor:
    return torch.einsum("c,chw->hw", weights[digit], features)


def _best(features: Tensor, weights: Tensor) -> int:
    return int((weights @ features.mean((1, 2))).argmax())

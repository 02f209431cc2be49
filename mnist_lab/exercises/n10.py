"""The exercises of notebook 10: estimating time, measuring honestly, leaving work out."""

import copy
import statistics
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from mnist_lab.exercises.cases import draw, rand, randn
from mnist_lab.exercises.checks import by_example, expect_kind, refuse
from mnist_lab.exercises.question import AnswerFailed, Wrong, call, exercise


@exercise("What does it wait for?")
def what_does_it_wait_for(estimate):
    def of(weigh=lambda compute, memory: max(compute, memory), size=4, parts=(1, 1, 1), kernel=2,
           products=1, said=("computing", "memory")):  # fmt: skip
        def seconds(inside, outside, window, side, macs_per_second, bytes_per_second):
            places = side**2
            macs = products * inside * outside * window**kernel * places
            numbers = inside * places, outside * places, inside * outside * window**2
            moved = size * sum(part * number for part, number in zip(parts, numbers))
            compute, memory = macs / macs_per_second, moved / bytes_per_second
            return weigh(compute, memory), said[compute < memory]

        return seconds

    slips = (
        (of(lambda c, m: c + m), "it computes while it moves: the longer of the two counts."),
        (of(min), "it has to wait for the longer of the two."),
        (of(lambda c, m: c), "moving the numbers takes its time, too."),
        (of(size=1), "a number in 32 bits is 4 bytes."),
        (of(size=32), "a number in 32 bits is 4 bytes, not 32."),
        (of(parts=(0, 1, 1)), "the maps that come in have to be read."),
        (of(parts=(1, 0, 1)), "the maps that go out have to be written."),
        (of(parts=(1, 1, 0)), "the weights have to be read."),
        (of(kernel=1), "a window has kernel × kernel weights."),
        (of(kernel=0), "a window has kernel × kernel weights."),
        (of(products=2), "a product and its addition are one multiply-accumulate."),
        (of(said=("memory", "computing")), "the two words are interchanged."),
        (of(said=("compute", "memory")), 'the words are "computing" and "memory".'),
    )
    # Now the one, now the other is longer, and never by less than a third.
    cases = [(16, 32, 3, 24, 4e10, 2e10), (32, 10, 1, 24, 4e10, 2e9), (1, 16, 3, 26, 1e11, 1e10)]
    for _ in range(6):
        inside, outside, window, side = draw.sample(range(3, 30), 4)
        macs, moved = (
            inside * outside * window**2 * side**2,
            4 * ((inside + outside) * side**2 + inside * outside * window**2),
        )
        rate, longer = draw.uniform(1e9, 9e10), draw.choice((0.2, 0.6, 1.6, 4))
        cases.append((inside, outside, window, side, rate, longer * rate * moved / macs))
    by_example("estimate", estimate, of(), cases, slips)


@exercise("A stopwatch that cheats")
def a_stopwatch_that_cheats(speedup):
    def of(combine):
        return lambda olds, news: combine([old / new for old, new in zip(olds, news)])

    def timed(olds, news):
        return _time_with(speedup, olds, news)

    median, flipped = statistics.median, "it is new over old: turn it round."
    each, both = "take old over new in each pair.", "of an even number, take the middle two's mean."
    within = "take the ratio within each pair, then the median."
    slips = (
        (of(lambda ratios: 1 / median(ratios)), flipped),
        (of(lambda ratios: median(1 / ratio for ratio in ratios)), flipped),
        (of(lambda ratios: 1 / median(1 / ratio for ratio in ratios)), each),
        (of(statistics.median_low), both),
        (of(statistics.median_high), both),
        (of(statistics.mean), "a single hiccup moves the mean: take the median."),
        (of(max), "a single hiccup moves the largest: take the median."),
        (of(min), "a single hiccup moves the smallest: take the median."),
        (of(lambda ratios: ratios[0]), "it is the ratio of the first pair; all of them count."),
        (of(lambda ratios: ratios[-1]), "it is the ratio of the last pair; all of them count."),
        (lambda olds, news: sum(olds) / sum(news), within),
        (lambda olds, news: median(olds) / median(news), within),
        (lambda olds, news: min(olds) / min(news), within),
        (lambda olds, news: median(old / new for old in olds for new in news), within),
    )
    cases = [_drawn_seconds(pairs, first) for first in (min, max) for pairs in (4, 5, 6)]
    what, why = "what speedup returns", "Is a warm-up timed, or something rounded?"
    by_example(what, timed, of(median), cases, slips, tolerance=1e-5, otherwise=why)


def _drawn_seconds(pairs: int, first: Callable) -> tuple[list[float], list[float]]:
    """What the calls of each pair take; their ratios lie far apart, and the first at one end.

    The median, 1.00045 and more, is none that rounding leaves as it is.
    """
    middle, apart = draw.randint(1_000, 2_000) / 1_000 + 0.00045, draw.uniform(0.2, 0.4)
    ratios = [middle - apart, middle + apart * (1.4 if pairs % 2 else 1)] + [middle] * (pairs % 2)
    for _ in range((pairs - 2) // 2):
        ratios += [draw.uniform(0.02, 0.3), draw.uniform(4, 90)]
    draw.shuffle(ratios)
    end = first(ratios)
    ratios.sort(key=lambda ratio: ratio != end)
    news = [draw.uniform(0.5, 3) for _ in range(pairs)]
    return [ratio * new for ratio, new in zip(ratios, news)], news


def _time_with(speedup, olds: list[float], news: list[float]):
    """Ask for the ratio of works that take so long; a first call of either takes much longer."""
    calls, now, looks, pairs = "", 0.0, 0, len(olds)

    def clock():
        nonlocal looks
        looks += 1
        return now

    def work(kind, seconds):
        left = iter([60.0, *seconds])

        def run():
            nonlocal calls, now
            calls, now = calls + kind, now + next(left, 60.0)

        return run

    try:
        found = speedup(work("o", olds), work("n", news), clock, pairs)
    except AnswerFailed as error:
        if looks and len(calls) > 2:
            raise
        raise Wrong("`old`, `new` and `clock` are functions: call them, with brackets.") from error
    turns = calls[2:] == "on" * pairs and calls[0] != calls[1]
    refuse(
        (
            len(calls) != 2 * pairs + 2,
            f"there are {len(calls)} calls for {pairs} pairs and a warm-up.",
        ),
        (not turns, f"the calls come as {calls} (o: old, n: new): they do not alternate."),
    )
    return found


@exercise("A layer that can be left out")
def a_layer_that_can_be_left_out(fold):
    def folded(conv, norm, images):
        found = fold(conv, norm)
        expect_kind(found, nn.Conv2d, "fold(conv, norm)", "an nn.Conv2d")
        own = copy.deepcopy(found).double()  # its weights and bias alone, no forward of its own
        return call(nn.Conv2d.forward, own, images.double())

    def of(combine):  # map and bias of the convolution; the norm's mean, scale, shift and weight
        def maps(conv, norm, images):
            bias = torch.zeros(len(norm.bias)) if conv.bias is None else conv.bias
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            parts = bias, norm.running_mean, scale, norm.bias, norm.weight
            bias, *parts = (part[:, None, None] for part in parts)
            return combine(conv(images) - bias, bias, *parts)

        return maps

    def without_eps(conv, norm, images):
        figures = norm.running_mean, norm.running_var, norm.weight, norm.bias
        return F.batch_norm(conv(images), *figures, eps=0)

    slips = (
        (of(lambda x, b, *_: x + b), "it is the convolution still, without the norm."),
        (without_eps, "eps is left out, or another one is used."),
        (of(lambda x, b, m, k, s, w: (x + b) * k + s), "the running mean is left out."),
        (of(lambda x, b, m, k, s, w: (x + b - m) * k), "the shift (the norm's bias) is left out."),
        (of(lambda x, b, m, k, s, w: (x + b) * k - m + s), "the running mean is not scaled."),
        (of(lambda x, b, m, k, s, w: (x - m) * k + s), "the convolution's bias is left out."),
        (of(lambda x, b, m, k, s, w: (x - m) * k + b + s), "the convolution's bias is not scaled."),
        (of(lambda x, b, m, k, s, w: (x + b - m) * k**2 / w + s), "take the variance's root."),
    )
    right = of(lambda x, b, m, k, s, w: (x + b - m) * k + s)
    for inside, outside, kernel, named in (
        (3, 8, 3, {}),
        (2, 5, 3, {"stride": 2, "padding": 1, "bias": False}),
        (4, 8, 3, {"padding": 2, "dilation": 2, "groups": 2}),
        (3, 3, (3, 5), {"padding": (1, 2), "padding_mode": "circular", "groups": 3}),
        (3, 4, 5, {"padding": "same", "bias": False}),
    ):
        conv = nn.Conv2d(inside, outside, kernel, **named)
        norm = nn.BatchNorm2d(outside, eps=draw.uniform(0.05, 0.2))
        for values in (*conv.parameters(), norm.weight, norm.bias, norm.running_mean):
            values.data = randn(*values.shape)
        norm.running_var = 0.5 + rand(outside)
        kept = f"Has it the convolution's {', '.join(named)}?" if named else ""
        case = conv, norm, randn(4, inside, 9, 9)
        with torch.no_grad():
            what = "the map of the new convolution"
            by_example(what, folded, right, [case], slips, otherwise=kept)

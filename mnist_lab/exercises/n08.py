"""The exercises of notebook 08: counting work, measuring honestly, leaving work out."""

import copy
import statistics

import torch
from torch import Tensor, nn

from mnist_lab.exercises.cases import draw, rand, randn
from mnist_lab.exercises.checks import (
    agrees,
    as_number,
    by_example,
    call_with_copies,
    expect_function,
    expect_kind,
    expect_tensor,
)
from mnist_lab.exercises.question import AnswerFailed, Wrong, call, exercise


@exercise("How much work?")
def how_much_work(macs):
    def right(inside, outside, kernel, height, width):
        return inside * outside * kernel**2 * height * width

    slips = (
        (
            lambda i, o, k, h, w: right(i, o, k, 1, 1),
            "these are weights; each works at each place.",
        ),
        (lambda i, o, k, h, w: right(i, o, 1, h, w) * k, "a window has kernel × kernel weights."),
        (lambda i, o, k, h, w: right(i, o, 1, h, w), "a window has kernel × kernel weights."),
        (lambda i, o, k, h, w: right(1, o, k, h, w), "each input channel has weights of its own."),
        (lambda i, o, k, h, w: right(i, 1, k, h, w), "every output channel is computed."),
        (lambda i, o, k, h, w: right(i, o, k, h, h), "a map is height × width."),
        (lambda *case: right(*case) * 2, "a product and its addition count as one."),
        (lambda *case: right(*case) / 1e6, "count them one by one, not in millions."),
        (lambda i, o, k, h, w: right(i, o, k, h, w) + o * h * w, "leave the bias out: no product."),
        (lambda i, o, k, h, w: right(i, o, k, h - k + 1, w - k + 1), "this map is what comes out."),
    )
    cases = [(1, 16, 3, 26, 26), (32, 10, 1, 24, 24)]
    cases += [tuple(draw.sample(range(2, 20), 5)) for _ in range(5)]
    by_example("macs", macs, right, cases, slips)


@exercise("A stopwatch that cheats")
def a_stopwatch_that_cheats(speedup):
    expect_function(speedup, "`speedup`")
    for low_first in (True, False):
        for pairs in (4, 5, 6):
            _time_with(speedup, *_drawn_seconds(pairs, low_first))


def _drawn_seconds(pairs: int, low_first: bool) -> tuple[list[float], list[float]]:
    """What the calls of each pair take; their ratios lie far apart, and the first at one end.

    The median, 1.00045 and more, is none that rounding leaves as it is.
    """
    middle, apart = draw.randint(1_000, 2_000) / 1_000 + 0.00045, draw.uniform(0.2, 0.4)
    low, high = [middle - apart], [middle + apart * (1.4 if pairs % 2 else 1)]
    low += [draw.uniform(0.02, 0.3) for _ in range((pairs - 2) // 2)]
    high += [draw.uniform(4, 90) for _ in range((pairs - 2) // 2)]
    ratios = low + high + [middle] * (pairs % 2)
    draw.shuffle(ratios)
    first = min(ratios) if low_first else max(ratios)
    ratios.remove(first)
    news = [draw.uniform(0.5, 3) for _ in range(pairs)]
    return [ratio * new for ratio, new in zip([first, *ratios], news)], news


def _time_with(speedup, olds: list[float], news: list[float]) -> None:
    """Ask for the ratio of works that take so long; a first call of either takes much longer."""
    calls, now, looks = "", 0.0, 0

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

    pairs = len(olds)
    try:
        found = speedup(work("o", olds), work("n", news), clock, pairs)
    except AnswerFailed as error:
        if looks and len(calls) > 2:
            raise
        raise Wrong("`old`, `new` and `clock` are functions: call them, with brackets.") from error
    if len(calls) != 2 * pairs + 2:
        raise Wrong(
            f"there are {len(calls)} calls for {pairs} pairs; {2 * pairs + 2} are expected: each "
            "once to warm up, then each once in every pair."
        )
    if calls[2:] != "on" * pairs or calls[0] == calls[1]:
        raise Wrong(f"the calls come as {calls} (o: old, n: new): they do not alternate.")
    _compare_medians(as_number(found, "what speedup returns"), olds, news)


def _compare_medians(found: float, olds: list[float], news: list[float]) -> None:
    ratios = [old / new for old, new in zip(olds, news)]
    right, median = statistics.median(ratios), statistics.median
    within = "take the ratio within each pair, then the median."
    for value, why in (
        (1 / right, "it is new over old: turn it round."),
        (median(new / old for old, new in zip(olds, news)), "it is new over old: turn it round."),
        (1 / median(new / old for old, new in zip(olds, news)), "take old over new in each pair."),
        (statistics.median_low(ratios), "with an even number, take the mean of the middle two."),
        (statistics.median_high(ratios), "with an even number, take the mean of the middle two."),
        (statistics.mean(ratios), "a single hiccup moves the mean: take the median."),
        (max(ratios), "a single hiccup moves the largest: take the median."),
        (min(ratios), "a single hiccup moves the smallest: take the median."),
        (ratios[0], "it is the ratio of the first pair; all of them count."),
        (ratios[-1], "it is the ratio of the last pair; all of them count."),
        (sum(olds) / sum(news), within),
        (median(olds) / median(news), within),
        (min(olds) / min(news), within),
        (median(old / new for old in olds for new in news), within),
    ):
        if agrees(found, value, 1e-5) and not agrees(value, right, 1e-5):
            raise Wrong(f"{why} (It is {found:.6g}; {right:.6g} is expected.)")
    if not agrees(found, right, 1e-5):
        told = ", ".join(f"{ratio:.6g}" for ratio in ratios)
        raise Wrong(
            f"the ratios are {told}, and it is {found:.6g}; {right:.6g} is expected. Is a warm-up "
            "timed, or something rounded?"
        )


@exercise("A layer that can be left out")
def a_layer_that_can_be_left_out(fold):
    expect_function(fold, "`fold`")
    for inside, outside, kernel, named in (
        (3, 8, 3, {}),
        (2, 5, 3, {"stride": 2, "padding": 1, "bias": False}),
        (4, 8, 3, {"padding": 2, "dilation": 2, "groups": 2}),
        (3, 3, (3, 5), {"padding": (1, 2), "padding_mode": "circular", "groups": 3}),
        (3, 4, 5, {"padding": "same", "bias": False}),
    ):
        conv = nn.Conv2d(inside, outside, kernel, **named)
        norm = nn.BatchNorm2d(outside, eps=draw.uniform(0.05, 0.2))
        with torch.no_grad():
            for values in (*conv.parameters(), norm.weight, norm.bias, norm.running_mean):
                values.copy_(randn(*values.shape))
            norm.running_var.copy_(0.5 + rand(outside))
            folded = call_with_copies(fold, conv, norm)
            expect_kind(folded, nn.Conv2d, "fold(conv, norm)", "an nn.Conv2d")
            images = randn(4, inside, 9, 9)
            found = call(nn.Conv2d.forward, copy.deepcopy(folded).double(), images.double())
            _compare_answers(found, conv, norm, images, named)


def _compare_answers(found: Tensor, conv, norm, images: Tensor, named: dict) -> None:
    """What the new convolution's own weights and bias give, in float64."""

    def channels(values):
        return values[:, None, None]

    maps = conv(images)
    scale = channels(norm.weight / (norm.running_var + norm.eps).sqrt())
    mean, shift = channels(norm.running_mean), channels(norm.bias)
    own = channels(conv.bias) if conv.bias is not None else 0
    slips = (
        (maps, "it is the convolution still, without the norm."),
        ((maps - mean) * channels(norm.weight / norm.running_var.sqrt()) + shift,
         "eps is left out, or another one is used."),
        (maps * scale + shift, "the running mean is left out."),
        ((maps - mean) * scale, "the shift (the norm's bias) is left out."),
        (maps * scale - mean + shift, "the running mean has to be scaled, too."),
        ((maps - own - mean) * scale + shift, "the convolution's own bias is left out."),
        ((maps - own - mean) * scale + own + shift, "its own bias has to be scaled."),
        ((maps - mean) * scale**2 / channels(norm.weight) + shift,
         "it divides by the variance; its square root is meant."),
    )  # fmt: skip
    expected = copy.deepcopy(norm).eval()(maps)
    if agrees(found, expected):
        return
    for other, why in slips:
        if agrees(found, other):
            raise Wrong(why)
    kept = f"Has it the convolution's {', '.join(named)}?" if named else ""
    what = "the map of the new convolution"
    if found.shape != expected.shape:
        has = f"{what} is {list(found.shape[1:])}; {list(expected.shape[1:])} is expected."
        raise Wrong(f"{has} {kept}".rstrip())
    try:
        expect_tensor(found, expected, what)
    except Wrong as wrong:
        raise Wrong(f"{wrong} {kept}".rstrip()) from None

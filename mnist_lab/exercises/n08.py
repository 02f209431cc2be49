"""The exercises of notebook 08: counting work, measuring honestly, leaving work out."""

import random

import torch
from torch import nn

from mnist_lab.exercises.checks import (
    as_number,
    expect_function,
    expect_kind,
    expect_tensor,
)
from mnist_lab.exercises.question import Wrong, exercise


@exercise(
    title="How much work?",
    task="""
    Write `macs(in_channels, out_channels, kernel, height, width)`: the multiply-accumulates of a
    convolution with `kernel` × `kernel` windows for one image, when the map that comes *out* has
    `height` × `width` places. (The bias adds, but multiplies nothing.)
    """,
    start="""
    def macs(in_channels, out_channels, kernel, height, width):
        return ...
    """,
    hint="""
    How many products are there for one number of one output channel? And how many such numbers are
    there in all?
    """,
    solution="""
    def macs(in_channels, out_channels, kernel, height, width):
        one_number = in_channels * kernel * kernel
        return one_number * out_channels * height * width
    """,
    right="""
    Work grows with the places, parameters do not: a layer can be small and dear.
    """,
)
def how_much_work(macs):
    expect_function(macs, "macs")
    cases = [(1, 16, 3, 26, 26), (32, 10, 1, 24, 24)]
    cases += [tuple(random.randint(2, 20) for _ in range(5)) for _ in range(5)]
    for case in cases:
        inside, outside, kernel, height, width = case
        truth = inside * outside * kernel**2 * height * width
        found = as_number(macs(*case), f"macs{case}")
        if found == truth:
            continue
        for value, why in (
            (truth // (height * width), "these are the weights; each works at every place."),
            (truth // kernel, "a window has kernel × kernel weights."),
            (truth // inside, "every input channel has weights of its own in the window."),
            (truth // outside, "every output channel is computed."),
            (2 * truth, "a product and its addition count as one."),
            (truth + outside * height * width, "the bias is no product: leave it out."),
        ):
            if found == value:
                raise Wrong(f"macs{case} is {found:,.0f}: {why}")
        raise Wrong(f"macs{case} is {found:,.0f}; {truth:,} is expected.")


@exercise(
    title="A stopwatch that cheats",
    task="""
    `ratio(old, new, clock, pairs)` is to say how many times as long a call of `old()` takes as a
    call of `new()`. `clock()` returns the seconds so far. The rules of section 3: call both once to
    warm up; then time `pairs` pairs, **alternating**: old, new, old, new, …; return the **median**
    of the ratios within the pairs. As it stands, it breaks all three rules.
    """,
    start="""
    import statistics


    def ratio(old, new, clock, pairs):
        start = clock()
        for _ in range(pairs):
            old()
        middle = clock()
        for _ in range(pairs):
            new()
        return (middle - start) / (clock() - middle)
    """,
    hint="""
    A function of its own that times a single call makes the rest short. `statistics.median` takes a
    list.
    """,
    solution="""
    import statistics


    def ratio(old, new, clock, pairs):
        def seconds(work):
            start = clock()
            work()
            return clock() - start

        old(), new()
        return statistics.median([seconds(old) / seconds(new) for _ in range(pairs)])
    """,
    right="""
    It was tried with a clock that can be turned: with slow first calls, a machine that slows down
    half-way, and one hiccup.
    """,
)
def a_stopwatch_that_cheats(ratio):
    expect_function(ratio, "ratio")
    for pairs in (5, 7):
        bench = _Bench(old=2.0, new=0.5)
        found = as_number(ratio(bench.old, bench.new, bench.clock, pairs), "ratio(…)")
        calls = "".join(bench.calls)
        if len(calls) < 2 * pairs + 2:
            raise Wrong(f"there are {len(calls)} calls for {pairs} pairs and a warm-up of both.")
        if not calls.endswith("on" * pairs):
            raise Wrong(f"the calls come as {calls} (o: old, n: new): the pairs do not alternate.")
        if abs(found - 0.25) < 1e-6:
            raise Wrong("it is new over old: turn it round.")
        if abs(found - 4) > 1e-6:
            raise Wrong(f"with 2 s and 0.5 s a call the ratio is {found:.4g}; 4 is expected.")
        warm = _Bench(old=2.0, new=0.5, first=50.0)
        found = as_number(ratio(warm.old, warm.new, warm.clock, pairs), "ratio(…)")
        hiccup = _Bench(old=2.0, new=0.5, hiccup=2 * 2 + 1)
        jolted = as_number(ratio(hiccup.old, hiccup.new, hiccup.clock, pairs), "ratio(…)")
        slowing = _Bench(old=2.0, new=0.5, slowing=3.0)
        drifted = as_number(ratio(slowing.old, slowing.new, slowing.clock, pairs), "ratio(…)")
        for value, why in (
            (found, "the first call of each is slow, and it is timed: warm up before."),
            (jolted, "a single hiccup moves it: take the median of the ratios."),
            (drifted, "a machine that slows down half-way moves it: take ratios within pairs."),
        ):
            if abs(value - 4) > 1e-6:
                raise Wrong(f"{why} (It is {value:.4g}; 4 is expected.)")


class _Bench:
    """Two kinds of work and a clock that goes on with them only."""

    def __init__(self, old: float, new: float, first=1.0, hiccup=-1, slowing=1.0):
        self.seconds, self.first = {"o": old, "n": new}, first
        self.hiccup, self.slowing = hiccup, slowing
        self.now, self.calls = 0.0, []

    def clock(self) -> float:
        return self.now

    def old(self) -> None:
        self._work("o")

    def new(self) -> None:
        self._work("n")

    def _work(self, kind: str) -> None:
        factor = self.first if kind not in self.calls else 1.0
        if len(self.calls) == self.hiccup:
            factor *= 100
        if len(self.calls) > 6:  # from the third pair on
            factor *= self.slowing
        self.calls.append(kind)
        self.now += factor * self.seconds[kind]


@exercise(
    title="A layer that can be left out",
    task="""
    In `eval()`, batch norm behind a convolution only scales and shifts each channel by fixed
    numbers. So a convolution with other weights and a bias can do both. Write `fold(conv, norm)`:
    given an `nn.Conv2d` and the `nn.BatchNorm2d` behind it, return a **new** `nn.Conv2d` that gives
    what both together give in `eval()`. The two that are given stay as they are.
    """,
    start="""
    def fold(conv, norm):
        return ...
    """,
    hint="""
    Batch norm makes (x − running_mean) / √(running_var + eps) · weight + bias of each channel x.
    With scale = weight / √(running_var + eps), what becomes of the convolution's weights, and what
    of its bias, if it has one? `copy.deepcopy` keeps stride and padding.
    """,
    solution="""
    import torch
    from torch import nn


    def fold(conv, norm):
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        folded = nn.Conv2d(
            conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding
        )
        bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias
        with torch.no_grad():
            folded.weight.copy_(conv.weight * scale[:, None, None, None])
            folded.bias.copy_((bias - norm.running_mean) * scale + norm.bias)
        return folded
    """,
    right="""
    A layer less to read and write for each image, with the same answers: tools that make networks
    ready for use do this first. During training it cannot be done; why?
    """,
)
def a_layer_that_can_be_left_out(fold):
    expect_function(fold, "fold")
    for inside, outside, has_bias, stride, padding in ((3, 8, True, 1, 0), (2, 5, False, 2, 1)):
        conv = nn.Conv2d(inside, outside, 3, stride, padding, bias=has_bias)
        norm = nn.BatchNorm2d(outside, eps=0.1).eval()
        with torch.no_grad():
            for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                values.uniform_(0.5, 2)
            images = torch.randn(4, inside, 9, 9)
            maps = conv(images)
            wanted = norm(maps)
        before = [tensor.clone() for tensor in (*conv.parameters(), *norm.state_dict().values())]
        folded = fold(conv, norm)
        expect_kind(folded, nn.Conv2d, "fold(conv, norm)", "an nn.Conv2d")
        after = [*conv.parameters(), *norm.state_dict().values()]
        if folded is conv:
            raise Wrong("it is the given convolution itself: make a new one.")
        if not all(torch.equal(a, b) for a, b in zip(before, after)):
            raise Wrong("the given layers are changed: make a new convolution.")
        with torch.no_grad():
            _compare_answers(folded.eval()(images), wanted, maps, conv, norm)


def _compare_answers(found, wanted, maps, conv, norm) -> None:
    def close(other):
        return found.shape == other.shape and torch.allclose(found, other, atol=1e-4)

    def channels(values):
        return values[:, None, None]

    if close(wanted):
        return
    if found.shape != wanted.shape:
        raise Wrong(
            f"its map is {list(found.shape[1:])}; {list(wanted.shape[1:])} is expected: are stride "
            "and padding those of the convolution?"
        )
    scale = channels(norm.weight / (norm.running_var + norm.eps).sqrt())
    mean, shift = channels(norm.running_mean), channels(norm.bias)
    without_eps = channels(norm.weight / norm.running_var.sqrt())
    old_bias = channels(conv.bias) if conv.bias is not None else 0
    for other, why in (
        (maps, "it is the convolution still, without the norm."),
        ((maps - mean) * without_eps + shift, "eps is left out, or another one is used."),
        (maps * scale + shift, "the running mean is left out."),
        ((maps - mean) * scale, "the shift (the norm's bias) is left out."),
        (maps * scale - mean + shift, "the running mean has to be scaled, too."),
        ((maps - old_bias - mean) * scale + shift, "the convolution's own bias is left out."),
        ((maps - old_bias - mean) * scale + old_bias + shift, "its own bias has to be scaled."),
        ((maps - mean) / channels(norm.running_var + norm.eps) * channels(norm.weight) + shift,
         "it divides by the variance; its square root is meant."),
    ):  # fmt: skip
        if close(other):
            raise Wrong(why)
    expect_tensor(found, wanted, "what the new convolution gives", tolerance=1e-3)

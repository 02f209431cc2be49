"""Faster, but the same: the fast dropout is a dropout, and the switches ask before they act."""

import ctypes
import math
import platform
from itertools import pairwise

import psutil
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import chi2
from torch import nn

from mnist_lab import speed
from mnist_lab.speed import (
    MOST_THREADS,
    WINDOWS_PER_DRAW,
    FastDropout,
    choose_threads,
    dropped_positions,
    has_native_bf16,
    keep_freed_memory,
    limit_threads,
    release_memory,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def drop(x, p, seed=0):
    layer = nn.Dropout(p)
    with FastDropout(generator(seed)):
        return layer(x)


# A dropout like any other


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.9])
def test_a_share_p_is_dropped_and_the_rest_is_scaled(p):
    x = torch.rand(1_000, 1_000, generator=generator(1)) + 1
    y = drop(x, p)
    dropped = y == 0
    deviation = (p * (1 - p) / x.numel()) ** 0.5
    assert abs(dropped.double().mean() - p) < 4 * deviation
    assert torch.equal(y[~dropped], (x * (1 / (1 - p)))[~dropped])
    assert abs((y / x).double().mean() - 1) < 4 * deviation / (1 - p), "biased"


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_neighbours_and_consecutive_masks_are_independent(p):
    layer, x = nn.Dropout(p), torch.ones(2**20)
    with FastDropout(generator()):
        masks = [(layer(x) == 0).double() - p for _ in range(4)]
    pairs = [(masks[0][lag:], masks[0][:-lag]) for lag in (1, 2, 3, 26, 676)]
    for one, other in pairs + list(pairwise(masks)):
        correlation = (one * other).mean() / (p * (1 - p))
        assert abs(correlation) < 4 / len(x) ** 0.5


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_every_position_is_dropped_equally_often(p):
    layer, times, x = nn.Dropout(p), 1_000, torch.ones(40)
    with FastDropout(generator()):
        often = sum((layer(x) == 0).double() for _ in range(times))
    statistic = ((often - times * p) ** 2).sum() / (times * p * (1 - p))
    assert 0.001 < chi2.sf(statistic, len(x)) < 0.999


def channels_last(x):
    return x.contiguous(memory_format=torch.channels_last)


LAYOUTS = {
    "contiguous": lambda x: x,
    "channels_last": channels_last,
    "transposed": lambda x: x.transpose(1, 3),
    "every other": lambda x: x[:, :, ::2],
    "offset": lambda x: x[1:],
    "expanded": lambda x: x[:1].expand(5, -1, -1, -1),
}


@pytest.mark.parametrize("of_input", LAYOUTS)
def test_backward_drops_what_forward_dropped_in_every_layout(of_input):
    x = LAYOUTS[of_input](torch.rand(4, 6, 8, 6, generator=generator(1)) + 1)
    x.requires_grad_()
    y = drop(x, 0.3)
    kept = (y != 0).float()
    assert 0.1 < 1 - kept.mean() < 0.5
    torch.testing.assert_close(y, x * kept / 0.7)
    same = torch.rand(y.shape, generator=generator(2)) + 1
    for gradient in (
        same,
        channels_last(same),
        same.transpose(1, 3).contiguous().transpose(1, 3),
        same.repeat_interleave(2, dim=2)[:, :, ::2],
        torch.cat([same[:1], same])[1:],
        same[:1].expand_as(y),
    ):
        (found,) = torch.autograd.grad(y, x, gradient, retain_graph=True)
        torch.testing.assert_close(found, gradient * kept / 0.7)


def test_the_memory_format_is_kept():
    x = channels_last(torch.ones(2, 3, 4, 5)).requires_grad_()
    y = drop(x, 0.5)
    assert y.is_contiguous(memory_format=torch.channels_last)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert gradient.is_contiguous(memory_format=torch.channels_last)


def test_its_generator_alone_decides():
    x = torch.ones(1_000)
    torch.manual_seed(5)
    first = drop(x, 0.5, seed=1)
    assert torch.equal(first, drop(x, 0.5, seed=1))
    assert not torch.equal(first, drop(x, 0.5, seed=2))
    moved = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(moved, torch.rand(1)), "the global generator was used"


def test_two_layers_and_two_steps_drop_differently():
    network = nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5))
    with FastDropout(generator()):
        both = (network(torch.ones(100_000)) == 0).float().mean()
    assert 0.745 < both < 0.755


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_ones_stay_ones_on_average_over_many_masks(p):
    layer, x, times = nn.Dropout(p), torch.ones(2**18), 4 * WINDOWS_PER_DRAW * 4
    with FastDropout(generator()):
        mean = sum(layer(x).double().mean() for _ in range(times)) / times
    independent = 4 * 2**20  # four sequences were drawn, the rest are repetitions
    assert abs(mean - 1) < 5 * math.sqrt(p / (1 - p) / independent)


def test_probabilities_and_precisions_each_keep_their_own():
    with FastDropout(generator()):
        for p in (0.1, 0.5, 0.1):
            for dtype in (torch.float32, torch.bfloat16):
                x = torch.ones(2**18, dtype=dtype, requires_grad=True)
                y = F.dropout(x, p)
                assert y.dtype == dtype and y.unique().tolist() == [0, y.new_tensor(1 / (1 - p))]
                share = (y == 0).double().mean()
                assert abs(share - p) < 4 * math.sqrt(p * (1 - p) / len(x))
                (gradient,) = torch.autograd.grad(y.sum(), x)
                assert torch.equal(gradient, y), "a mask times ones is the mask"


def test_values_that_share_or_skip_memory_are_dropped_one_by_one():
    row, column = torch.ones(1, 1_000).expand(1_000, -1), torch.ones(1_000, 1).expand(-1, 1_000)
    for x in (row, column, torch.ones(1_000, 2_000)[:, ::2]):
        dropped = (drop(x, 0.5) == 0).double() - 0.5
        for across in (0, 1):
            here, there = dropped.narrow(across, 0, 999), dropped.narrow(across, 1, 999)
            assert abs((here * there).mean() / 0.25) < 4 / here.numel() ** 0.5


# The sequence the masks are cut from


@pytest.fixture
def draws(monkeypatch):
    """The length of each sequence that is drawn, and the positions that it drops."""
    drawn, real = [], speed.dropped_positions

    def draw(count, p, generator):
        drawn.append((count, real(count, p, generator)))
        return drawn[-1][1]

    monkeypatch.setattr(speed, "dropped_positions", draw)
    return drawn


def test_the_sequence_is_drawn_afresh_when_it_was_used_up(draws):
    layer, x = nn.Dropout(0.1), torch.ones(2**18)
    uses = WINDOWS_PER_DRAW * 2**20 // len(x)
    with FastDropout(generator()):
        for use in range(1, 3 * uses + 1):
            layer(x)
            assert len(draws) == -(-use // uses)
    assert [length for length, _ in draws] == [2**20] * 3
    assert not torch.equal(draws[0][1][:100], draws[1][1][:100])


def test_a_bigger_tensor_gets_a_longer_sequence(draws):
    layer = nn.Dropout(0.5)
    with FastDropout(generator()):
        layer(torch.ones(100))
        layer(torch.ones(2**18))
        assert [length for length, _ in draws] == [2**20]
        layer(torch.ones(2**18 + 1))
        layer(torch.ones(100))
    assert [length for length, _ in draws] == [2**20, 2**20 + 4], "four windows must fit"


def test_a_mask_outlives_its_sequence(draws):
    layer, x = nn.Dropout(0.5), torch.ones(1_000, requires_grad=True)
    with FastDropout(generator()):
        y = layer(x)
        layer(torch.ones(2**19))
    assert len(draws) == 2
    y.sum().backward()
    assert torch.equal(x.grad, y)


def test_layers_of_one_probability_share_a_sequence(draws):
    network = nn.Sequential(nn.Dropout(0.1), nn.ReLU(), nn.Dropout(0.1))
    with FastDropout(generator()):
        network(torch.ones(1_000))
    assert len(draws) == 1


@pytest.mark.parametrize(
    "layer",
    [nn.Dropout(0), nn.Dropout(1), nn.Dropout(0.5, inplace=True), nn.Dropout2d(0.5),
     nn.Dropout(0.5).eval()],
    ids=repr,
)  # fmt: skip
def test_other_layers_compute_as_they_did(layer, draws):
    x = torch.ones(4, 3, 5, 5)
    torch.manual_seed(0)
    plain = layer(x.clone())
    torch.manual_seed(0)
    with FastDropout(generator()):
        assert torch.equal(layer(x.clone()), plain)
    assert not draws


def test_the_function_is_answered_as_the_module_is(draws):
    with FastDropout(generator()):
        y = F.dropout(torch.ones(1_000), p=0.25)
        F.dropout(torch.ones(5), 0.25, training=False)
    assert len(draws) == 1 and y.max() == torch.tensor(1 / 0.75)
    F.dropout(torch.ones(5))
    assert len(draws) == 1, "it goes on after its end"


# Positions


@pytest.mark.parametrize("p", [1e-9, 0.1, 0.9, 1 - 1e-9])
def test_positions_are_sorted_unique_and_in_range_and_as_many_as_they_should(p):
    rng = generator()
    for count, times in ((0, 5), (1, 1_000), (2, 50), (1_000, 50)):
        total = 0
        for _ in range(times):
            positions = dropped_positions(count, p, rng)
            assert positions.dtype == torch.int64
            assert (positions.diff() > 0).all()
            assert not len(positions) or (positions[0] >= 0 and positions[-1] < count)
            total += len(positions)
        spread = math.sqrt(times * count * p * (1 - p))
        assert abs(total - times * count * p) <= 4 * spread + 1


def test_when_the_first_draws_do_not_reach_the_end_more_are_drawn(monkeypatch):
    real, calls = torch.rand, []

    def unlucky(count, generator, device):
        calls.append(count)
        # Zeros are the shortest distances: all neighbours are chosen, and the draws run out.
        first = len(calls) == 1
        return torch.zeros(count) if first else real(count, generator=generator, device=device)

    monkeypatch.setattr(torch, "rand", unlucky)
    positions = dropped_positions(10_000, 0.1, generator())
    first = calls[0]
    assert first < 10_000 and len(calls) == 2
    assert torch.equal(positions[:first], torch.arange(first))
    rest = positions[first:]
    assert (positions.diff() > 0).all() and rest[-1] < 10_000
    left = 10_000 - first
    assert abs(len(rest) - left * 0.1) < 4 * math.sqrt(left * 0.1 * 0.9)


# The processor and the C library


@pytest.mark.parametrize(
    ("cpuinfo", "native"),
    [
        ("model name : Xeon\nflags\t\t: fpu avx512f avx512_bf16 amx_tile\n", True),
        ("flags\t\t: fpu amx_bf16\n", True),
        ("model name : avx512_bf16\nflags\t\t: fpu avx512f avx512_bf16_not\n", False),
        ("Features\t: fp asimd bf16\n", False),
        (None, False),
    ],
)
def test_the_processor_is_asked_whether_it_has_bf16(monkeypatch, tmp_path, cpuinfo, native):
    path = tmp_path / "cpuinfo"
    if cpuinfo:  # else a system that does not tell
        path.write_text(cpuinfo)
    monkeypatch.setattr(speed, "Path", lambda _: path)
    assert has_native_bf16(torch.device("cpu")) is native
    assert not has_native_bf16(torch.device("cuda")) and not has_native_bf16(torch.device("mps"))


class Library:
    """A C library that answers as it is told, and remembers what was asked."""

    def __init__(self, *answers):
        self.answers, self.asked = iter(answers), []

    def mallopt(self, option, value):
        self.asked.append((option, value))
        return next(self.answers)


@pytest.mark.parametrize(
    ("name", "answers", "kept"),
    [
        ("glibc", (1, 1), True),
        ("glibc", (0,), False),
        ("glibc", (1, 0), False),
        ("musl", (), False),
    ],
)
def test_glibc_alone_is_asked_to_keep_big_buffers(monkeypatch, name, answers, kept):
    library = Library(*answers)
    monkeypatch.setattr(platform, "libc_ver", lambda: (name, "2.36"))
    monkeypatch.setattr(speed.ctypes, "CDLL", lambda _: library)
    assert keep_freed_memory() is kept
    # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of malloc.h
    assert library.asked == [(-3, 32 * 2**20), (-1, 2**30)][: len(answers)]


# Threads


@pytest.mark.parametrize(
    ("cores", "told", "chosen"),
    [(1, "", 1), (2, "", 1), (4, "", 2), (6, "", 3), (64, "", MOST_THREADS),
     (2, "2", 2), (64, "64", 64), (4, "1", 1), (4, "0", 2), (4, "many", 2)],
)  # fmt: skip
def test_the_number_of_threads_follows_from_the_machine_unless_told(
    cores, told, chosen, monkeypatch
):
    monkeypatch.setattr(speed, "cpu_count", lambda: cores)
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert choose_threads() == chosen


@pytest.mark.parametrize(("asked", "rule", "taken"), [(None, 1, 1), (None, 3, 2), (3, 1, 3)])
def test_threads_are_taken_for_a_while_and_given_back(asked, rule, taken, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", str(rule))
    with limit_threads(2):
        with pytest.raises(KeyError), limit_threads(asked) as number:
            assert number == torch.get_num_threads() == taken
            raise KeyError
        assert torch.get_num_threads() == 2


@pytest.mark.parametrize("number", [0, True, "2"])
def test_a_number_of_threads_must_be_one(number):
    wanted = "num_threads must be a whole number from 1 on, not"
    with pytest.raises(ValueError, match=wanted), limit_threads(number):
        pass


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps holes")
def test_memory_in_holes_is_given_back():
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]

    def block(size):
        memory = libc.malloc(size)
        ctypes.memset(memory, 1, size)
        return memory

    # Between large ones that go, small ones that stay, each larger than any hole there was before.
    large, small = zip(*[(block(100_000), block(5_000)) for _ in range(2_000)])
    for memory in large:
        libc.free(memory)
    before = psutil.Process().memory_info().rss
    release_memory()
    given_back = before - psutil.Process().memory_info().rss
    for memory in small:
        libc.free(memory)
    assert given_back > 100e6

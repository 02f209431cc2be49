"""Faster, but the same: the fast dropout is a dropout, and the switches ask before they act."""

import io
import math
import platform
import subprocess
import sys
from itertools import pairwise

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
@pytest.mark.parametrize("lag", [1, 2, 3, 26, 676])
def test_neighbours_are_dropped_independently(p, lag):
    dropped = (drop(torch.ones(1_000_000), p) == 0).double() - p
    correlation = (dropped[lag:] * dropped[:-lag]).mean() / (p * (1 - p))
    assert abs(correlation) < 4 / 1_000_000**0.5


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_every_position_is_dropped_equally_often(p):
    layer, times, x = nn.Dropout(p), 2_000, torch.ones(40)
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


@pytest.mark.parametrize("of_gradient", LAYOUTS)
@pytest.mark.parametrize("of_input", LAYOUTS)
def test_backward_drops_what_forward_dropped_in_every_layout(of_input, of_gradient):
    x = LAYOUTS[of_input](torch.rand(4, 6, 8, 6, generator=generator(1)) + 1)
    x.requires_grad_()
    y = drop(x, 0.3)
    same = torch.rand(y.shape, generator=generator(2)) + 1
    gradient = {
        "channels_last": channels_last(same),
        "transposed": same.transpose(1, 3).contiguous().transpose(1, 3),
        "every other": same.repeat_interleave(2, dim=2)[:, :, ::2],
        "offset": torch.cat([same[:1], same])[1:],
        "expanded": same[:1].expand_as(y),
    }.get(of_gradient, same)
    y.backward(gradient)
    kept = (y != 0).float()
    assert 0.1 < 1 - kept.mean() < 0.5
    torch.testing.assert_close(y, x * kept / 0.7)
    torch.testing.assert_close(x.grad, gradient * kept / 0.7)


def test_the_memory_format_is_kept():
    x = channels_last(torch.ones(2, 3, 4, 5)).requires_grad_()
    y = drop(x, 0.5)
    assert y.is_contiguous(memory_format=torch.channels_last)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert gradient.is_contiguous(memory_format=torch.channels_last)


def test_bf16_stays_bf16():
    y = drop(torch.ones(1_000, dtype=torch.bfloat16), 0.5)
    assert y.dtype == torch.bfloat16
    assert sorted(set(y.tolist())) == [0.0, 2.0]


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
    x = torch.ones(1_000)
    with FastDropout(generator()):
        masks = [network[i](x) for i in (0, 1, 0)]
        both = (network(x) == 0).float().mean()
    assert not any(torch.equal(a, b) for a, b in zip(masks, [*masks[1:], masks[0]]))
    assert 0.68 < both < 0.82


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_ones_stay_ones_on_average_over_many_masks(p):
    layer, x, times = nn.Dropout(p), torch.ones(2**18), 4 * WINDOWS_PER_DRAW * 4
    with FastDropout(generator()):
        mean = sum(layer(x).double().mean() for _ in range(times)) / times
    independent = 4 * 2**20  # four sequences were drawn, the rest are repetitions
    assert abs(mean - 1) < 5 * math.sqrt(p / (1 - p) / independent)


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_consecutive_masks_of_a_big_tensor_have_nothing_in_common(p):
    layer, x = nn.Dropout(p), torch.ones(2**20)
    with FastDropout(generator()):
        dropped = [(layer(x) == 0).double() - p for _ in range(6)]
    for one, next_one in pairwise(dropped):
        correlation = (one * next_one).mean() / (p * (1 - p))
        assert abs(correlation) < 4 / len(x) ** 0.5


def test_layers_with_another_probability_each_keep_their_own():
    network, x = nn.Sequential(nn.Dropout(0.1), nn.Dropout(0.5)), torch.ones(2**18)
    with FastDropout(generator()):
        for p, layer in [(0.1, network[0]), (0.5, network[1]), (0.1, network[0])]:
            y = layer(x)
            assert y.max() == torch.tensor(1 / (1 - p))
            share = (y == 0).double().mean()
            assert abs(share - p) < 4 * math.sqrt(p * (1 - p) / len(x))


def test_one_layer_serves_two_precisions():
    layer = nn.Dropout(0.5)
    with FastDropout(generator()):
        for dtype in (torch.float32, torch.bfloat16, torch.float32):
            assert layer(torch.ones(100, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_gradient_is_the_mask(dtype):
    x = torch.ones(1_000, dtype=dtype, requires_grad=True)
    y = drop(x, 0.3)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert gradient.dtype == dtype
    assert torch.equal(gradient, y), "a mask times ones is the mask"


@pytest.mark.parametrize(
    "x",
    [
        torch.ones(1, 1_000).expand(1_000, -1),
        torch.ones(1_000, 1).expand(-1, 1_000),
        torch.ones(1_000, 2_000)[:, ::2],
    ],
    ids=["one row", "one column", "every other"],
)
@pytest.mark.parametrize("across", [0, 1])
def test_values_that_share_or_skip_memory_are_dropped_one_by_one(x, across):
    dropped = (drop(x, 0.5) == 0).double() - 0.5
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


def test_nothing_is_dropped_in_evaluation_mode():
    layer, x = nn.Dropout(0.5).eval(), torch.ones(100)
    with FastDropout(generator()):
        assert torch.equal(layer(x), x)
        assert not torch.equal(layer.train()(x), x)


@pytest.mark.parametrize(
    "layer",
    [nn.Dropout(0), nn.Dropout(1), nn.Dropout(0.5, inplace=True), nn.Dropout2d(0.5), nn.ReLU()],
    ids=repr,
)
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


@pytest.mark.parametrize("count", [0, 1, 2, 7, 1_000])
@pytest.mark.parametrize("p", [1e-9, 1e-4, 0.1, 0.5, 0.9, 0.9999, 1 - 1e-9])
def test_positions_are_sorted_unique_and_in_range(count, p):
    rng = generator()
    total, times = 0, 50
    for _ in range(times):
        positions = dropped_positions(count, p, rng)
        assert positions.dtype == torch.int64
        assert (positions.diff() > 0).all()
        assert not len(positions) or (positions[0] >= 0 and positions[-1] < count)
        total += len(positions)
    spread = math.sqrt(times * count * p * (1 - p))
    assert abs(total - times * count * p) <= 4 * spread + 1


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_even_a_single_position_is_chosen_with_probability_p(p):
    rng = generator()
    chosen = sum(len(dropped_positions(1, p, rng)) for _ in range(2_000))
    assert abs(chosen - 2_000 * p) < 4 * math.sqrt(2_000 * p * (1 - p))


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
        ("model name : avx512_bf16\nflags\t\t: fpu avx512f avx2\n", False),
        ("flags\t\t: fpu avx512_bf16_not\n", False),
        ("Features\t: fp asimd bf16\n", False),
        ("", False),
    ],
)
def test_the_processor_is_asked_whether_it_has_bf16(monkeypatch, cpuinfo, native):
    monkeypatch.setattr(speed, "open", lambda path: io.StringIO(cpuinfo), raising=False)
    assert has_native_bf16(torch.device("cpu")) is native


def test_a_system_that_does_not_tell_has_no_bf16(monkeypatch):
    def refuse(path):
        raise FileNotFoundError(path)

    monkeypatch.setattr(speed, "open", refuse, raising=False)
    assert has_native_bf16(torch.device("cpu")) is False


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_only_processors_are_asked(monkeypatch, device):
    monkeypatch.setattr(speed, "open", lambda path: io.StringIO("flags : amx_bf16"), raising=False)
    assert has_native_bf16(torch.device(device)) is False


def test_keeping_memory_works_or_declines_on_this_platform():
    assert keep_freed_memory() in (True, False)


@pytest.mark.parametrize("library", [("musl", "1.2"), ("", "")])
def test_another_c_library_is_left_alone(monkeypatch, library):
    monkeypatch.setattr(platform, "libc_ver", lambda: library)
    monkeypatch.setattr(speed.ctypes, "CDLL", lambda name: pytest.fail("it was loaded"))
    assert keep_freed_memory() is False


@pytest.mark.parametrize(("answers", "kept"), [([1, 1], True), ([0], False), ([1, 0], False)])
def test_glibc_is_asked_to_keep_big_buffers(monkeypatch, answers, kept):
    asked = []

    class Library:
        def mallopt(self, option, value):
            asked.append((option, value))
            return answers[len(asked) - 1]

    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(speed.ctypes, "CDLL", lambda name: Library())
    assert keep_freed_memory() is kept
    # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of malloc.h
    assert asked == [(-3, 32 * 2**20), (-1, 2**30)][: len(asked)]


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


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("asked", "rule", "taken"), [(None, 1, 1), (None, 3, 2), (3, 1, 3)])
def test_threads_are_taken_for_a_while_and_given_back(asked, rule, taken, two_threads, monkeypatch):
    monkeypatch.setattr(speed, "choose_threads", lambda: rule)
    with pytest.raises(KeyError), limit_threads(asked) as number:
        assert number == torch.get_num_threads() == taken
        raise KeyError
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("number", [0, -1, 1.5, True, "2"])
def test_a_number_of_threads_must_be_one(number):
    wanted = "num_threads must be a whole number from 1 on, not"
    with pytest.raises(ValueError, match=wanted), limit_threads(number):
        pass


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps holes")
def test_memory_in_holes_is_given_back():
    script = """
import ctypes
from mnist_lab.speed import release_memory
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def block(size):
    memory = libc.malloc(size)
    ctypes.memset(memory, 1, size)
    return memory
# Between large ones that go, small ones that stay, each larger than any hole there was before.
pairs = [(block(100_000), block(5_000)) for _ in range(2_000)]
for large, small in pairs:
    libc.free(large)
before = resident()
release_memory()
print((before - resident()) // 10**6)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(run.stdout) > 100

"""What makes training faster without changing what is computed.

Each function says what it buys and where it does not apply.
"""

import ctypes
import math
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from joblib import cpu_count
from torch import Tensor, nn
from torch.profiler import record_function

from mnist_lab.validation import UserError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h
WINDOWS_PER_DRAW = 4
MOST_THREADS = 4  # more were never measured: they would share out ever smaller pieces


def choose_threads() -> int:
    """How many threads a training takes: half of the cores, from 1 to `MOST_THREADS`.

    A step of these networks takes some ten milliseconds, in which its threads meet at hundreds of
    barriers. One that has to share its core keeps all others waiting, each time: with a thread for
    every core, a single busy process beside it makes a training several times as slow. Half of the
    cores leave room for it, or for a second training. The number depends on the machine alone and
    not on its load, so that the same seed gives the same result. `OMP_NUM_THREADS` overrides it.
    """
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    return max(1, min(cpu_count() // 2, MOST_THREADS))


@contextmanager
def limit_threads(number: int | None = None) -> Iterator[int]:
    """While it lasts, PyTorch computes with `number` threads, which it yields.

    Without a number: with `choose_threads()`, unless PyTorch was told to take fewer. Raises
    `ValueError` for a number that is not whole or below 1.
    """
    before = torch.get_num_threads()
    if number is None:
        number = min(before, choose_threads())
    elif isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise UserError(f"num_threads must be a whole number from 1 on, not {number!r}.")
    torch.set_num_threads(number)
    try:
        yield number
    finally:
        torch.set_num_threads(before)


def keep_freed_memory() -> bool:
    """Let glibc keep big freed buffers for the next step; True if it agreed.

    By default a buffer of some megabytes goes back to the system at every step, and comes back
    as fresh pages that the kernel must clear first. Does nothing where the C library is not
    glibc (macOS, Windows, Alpine). 32 MiB is the most that glibc accepts, and above every buffer
    of `fit` at the published batch sizes.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    kept = libc.mallopt(M_MMAP_THRESHOLD, 32 * 2**20)
    return bool(kept and libc.mallopt(M_TRIM_THRESHOLD, 2**30))


def release_memory() -> None:
    """Return freed memory to the system now, where the C library is glibc.

    It keeps the holes between what is still in use, and a notebook that evaluates and trains many
    times grows by a tenth or two.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def has_native_bf16(device: torch.device) -> bool:
    """Whether the processor multiplies in bfloat16 itself.

    Where it does (AVX-512 BF16, AMX, Ampere and later), training in bf16 is faster; where it does
    not, bf16 is emulated and several times slower than fp32. Where nobody can be asked (not Linux
    on x86), the answer is no.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    try:
        with open("/proc/cpuinfo") as file:
            flags = next((line.split() for line in file if line.startswith("flags")), [])
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


@contextmanager
def fast_dropout(network: nn.Module, generator: torch.Generator) -> Iterator[None]:
    """While it lasts, the network's `nn.Dropout`s take their masks from one random sequence.

    PyTorch draws a random number for every value, and on most CPUs serially (on Intel's, MKL
    shares the work): more than a third of a textbook GapNet step on two cores. Here a long sequence
    of zeros (probability p) and 1 / (1 - p) is drawn, and each mask is a window of it at a random
    place; the sequence is drawn afresh once every number in it has been used `WINDOWS_PER_DRAW`
    times on average. Each mask by itself is exactly a dropout mask; two of them, of two layers or
    two steps, may share a stretch, shifted by a random distance. The modules stay `nn.Dropout`;
    CUDA draws in parallel and needs none of this.
    """
    layers = [
        module
        for module in network.modules()
        if type(module) is nn.Dropout and not module.inplace and 0 < module.p < 1
    ]
    sequences: dict[tuple, _Masks] = {}
    for layer in layers:
        layer.forward = _forward(layer, sequences, generator)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # the class's own method shows again


def _forward(layer: nn.Dropout, sequences: dict, generator: torch.Generator):
    def forward(x: Tensor) -> Tensor:
        if not layer.training or x.device.type != "cpu":
            return nn.Dropout.forward(layer, x)
        key = layer.p, x.dtype
        if key not in sequences:
            sequences[key] = _Masks(*key, generator)
        with record_function("cheap dropout"):  # its name in a profile
            return x * sequences[key].like(x)

    return forward


class _Masks:
    """Dropout masks of one probability and dtype, cut from one random sequence."""

    def __init__(self, p: float, dtype: torch.dtype, generator: torch.Generator):
        self.p, self.dtype, self.generator = p, dtype, generator
        self.sequence, self.left = torch.empty(0, dtype=dtype), 0

    def like(self, x: Tensor) -> Tensor:
        """A mask with the shape and, if x is dense, the memory format of x."""
        count = x.numel()
        if self.left < count or len(self.sequence) < 4 * count:
            self._draw(max(4 * count, len(self.sequence), 2**20))
        self.left -= count
        start = torch.randint(len(self.sequence) - count + 1, (), generator=self.generator)
        return self.sequence.as_strided(x.shape, torch.empty_like(x).stride(), int(start))

    def _draw(self, length: int) -> None:
        self.sequence = torch.full((length,), 1 / (1 - self.p), dtype=self.dtype)
        self.sequence[dropped_positions(length, self.p, self.generator)] = 0
        self.left = WINDOWS_PER_DRAW * length


def dropped_positions(count: int, p: float, generator: torch.Generator) -> Tensor:
    """The sorted positions in `range(count)` that independent coins of probability `p` choose.

    The distances between them follow a geometric distribution: drawing the distances takes a
    tenth (p = 0.1) of the random numbers that tossing every coin would.
    """
    mean = count * p
    draws = int(mean + 8 * math.sqrt(mean) + 16)  # eight deviations: practically always enough
    positions = torch.empty(0, dtype=torch.int64)
    last = -1
    while last < count:
        uniform = torch.rand(draws, generator=generator)
        gaps = uniform.neg_().log1p_().div_(math.log1p(-p)).long().add_(1)
        gaps[0] += last
        positions = torch.cat([positions, gaps.cumsum(0)])
        last = int(positions[-1])
    return positions[: torch.searchsorted(positions, count)]

"""What makes training faster without changing what is computed.

Each function says what it buys and where it does not apply.
"""

import ctypes
import math
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
import torch.nn.functional as F
from joblib import cpu_count
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.profiler import record_function

from mnist_lab.validation import Count, check

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h
WINDOWS_PER_DRAW = 4
MOST_THREADS = 4  # more were never measured: they would share out ever smaller pieces


def choose_threads() -> int:
    """How many threads a training takes: half of the cores, from 1 to `MOST_THREADS`.

    In a step of some ten milliseconds, the threads meet at hundreds of barriers: one that has to
    share its core keeps all others waiting. With a thread for every core, a single busy process
    beside it makes a training several times as slow. The number depends on the machine alone and
    not on its load, so that the same seed gives the same result. `OMP_NUM_THREADS` overrides it.
    """
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    return max(1, min(cpu_count() // 2, MOST_THREADS))


@contextmanager
def limit_threads(number: int | None = None) -> Iterator[int]:
    """While it lasts, PyTorch computes with `number` threads, which it yields.

    Without a number: with `choose_threads()`, unless PyTorch was told to take fewer.
    """
    before = torch.get_num_threads()
    if number is None:
        number = min(before, choose_threads())
    number = check("num_threads", number, Count)
    torch.set_num_threads(number)
    try:
        yield number
    finally:
        torch.set_num_threads(before)


def keep_freed_memory() -> bool:
    """Let glibc keep big freed buffers for the next step; True if it agreed.

    By default a buffer of some megabytes goes back to the system at every step, and comes back
    as fresh pages that the kernel must clear first. 32 MiB is the most that glibc accepts, and
    above every buffer of `fit` at the published batch sizes.
    """
    libc = _glibc()
    kept = libc and libc.mallopt(M_MMAP_THRESHOLD, 32 * 2**20)
    return bool(kept and libc.mallopt(M_TRIM_THRESHOLD, 2**30))


def release_memory() -> None:
    """Return to the system what glibc keeps: the holes between what is still in use.

    Without it, a notebook that evaluates and trains many times grows by a tenth or two.
    """
    if libc := _glibc():
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The C library, unless it is another one (macOS, Windows, Alpine)."""
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def has_native_bf16(device: torch.device) -> bool:
    """Whether the device is a processor that multiplies in bfloat16 itself.

    Where it does (AVX-512 BF16, AMX), training in bf16 is faster; where it does not, bf16 is
    emulated and several times slower than fp32. Where nobody can be asked (not Linux on x86), the
    answer is no.
    """
    flags = cpu_info("flags").split() if device.type == "cpu" else []
    return "avx512_bf16" in flags or "amx_bf16" in flags


def cpu_info(name: str) -> str:
    """What Linux says of the processor, such as its "flags"; "" elsewhere."""
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        if found := re.search(rf"^{name}\s*: (.*)", text, re.MULTILINE):
            return found[1].strip()
    return ""


class FastDropout(TorchFunctionMode):
    """While it lasts (`with`), dropout on the CPU takes its masks from one random sequence.

    PyTorch draws a random number for every value, and on most CPUs serially (on Intel's, MKL
    shares the work): more than a third of a textbook GapNet step on two cores. Here a long sequence
    of zeros (probability p) and 1 / (1 - p) is drawn, and each mask is a window of it at a random
    place; the sequence is drawn afresh once every number in it has been used `WINDOWS_PER_DRAW`
    times on average. Each mask by itself is exactly a dropout mask; two of them, of two layers or
    two steps, may share a stretch, shifted by a random distance.

    It answers the calls of `F.dropout`, which `nn.Dropout` makes too: the network itself is not
    touched, and can be copied and saved meanwhile. CUDA draws in parallel and needs none of this.
    """

    def __init__(self, generator: torch.Generator):
        super().__init__()
        self.generator = generator
        self.sequences: dict[tuple, tuple[Tensor, int]] = {}  # and how much of each is left

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        return self.dropout(*args, **kwargs) if function is F.dropout else function(*args, **kwargs)

    def dropout(self, x: Tensor, p: float = 0.5, training=True, inplace=False) -> Tensor:
        if inplace or not training or not 0 < p < 1 or x.device.type != "cpu":
            return F.dropout(x, p, training, inplace)
        with record_function("dropout"):  # its name in a profile
            return x * self._mask(x, p)

    def _mask(self, x: Tensor, p: float) -> Tensor:
        """A mask with the shape and, if x is dense, the memory format of x."""
        count = x.numel()
        sequence, left = self.sequences.get((p, x.dtype), (torch.empty(0, device="cpu"), 0))
        if left < count or len(sequence) < 4 * count:
            length = max(4 * count, len(sequence), 2**20)
            sequence = torch.full((length,), 1 / (1 - p), dtype=x.dtype, device="cpu")
            sequence[dropped_positions(length, p, self.generator)] = 0
            left = WINDOWS_PER_DRAW * length
        self.sequences[p, x.dtype] = sequence, left - count
        places = len(sequence) - count + 1
        start = torch.randint(places, (), generator=self.generator, device="cpu")
        return sequence.as_strided(x.shape, torch.empty_like(x).stride(), int(start))


def dropped_positions(count: int, p: float, generator: torch.Generator) -> Tensor:
    """The sorted positions in `range(count)` that independent coins of probability `p` choose.

    The distances between them follow a geometric distribution: drawing the distances takes a
    tenth (p = 0.1) of the random numbers that tossing every coin would.
    """
    mean = count * p
    draws = int(mean + 8 * math.sqrt(mean) + 16)  # eight deviations: practically always enough
    positions = torch.empty(0, dtype=torch.int64, device="cpu")
    last = -1
    while last < count:
        uniform = torch.rand(draws, generator=generator, device="cpu")
        gaps = uniform.neg_().log1p_().div_(math.log1p(-p)).long().add_(1)
        gaps[0] += last
        positions = torch.cat([positions, gaps.cumsum(0)])
        last = int(positions[-1])
    return positions[: torch.searchsorted(positions, count)]

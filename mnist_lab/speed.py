"""What makes training faster without changing what is computed.

Each function says what it buys and where it does not apply.
"""

import ctypes
import math
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h


def keep_freed_memory() -> bool:
    """Let glibc keep big freed buffers for the next step; True if it agreed.

    By default a buffer of some megabytes goes back to the system at every step, and comes back
    as fresh pages that the kernel must clear first. Does nothing where the C library is not
    glibc (macOS, Windows, Alpine). 32 MiB is above every buffer of these networks.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    kept = libc.mallopt(M_MMAP_THRESHOLD, 32 * 2**20)
    return bool(kept and libc.mallopt(M_TRIM_THRESHOLD, 2**30))


def has_native_bf16(device: torch.device) -> bool:
    """Whether the processor multiplies in bfloat16 itself.

    Where it does (AVX-512 BF16, AMX, Ampere and later), training in bf16 takes about two thirds
    of the time; where it does not, bf16 is emulated and several times slower than fp32.
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
def cheap_dropout(network: nn.Module, generator: torch.Generator) -> Iterator[None]:
    """While it lasts, the network's `nn.Dropout`s draw a random number per *dropped* value.

    PyTorch draws one for every value, serially on a CPU: nearly a third of a GapNet step. The
    distances between dropped values follow a geometric distribution, so drawing the distances
    gives the same dropout for a tenth of the random numbers (p = 0.1). The modules stay
    `nn.Dropout`; CUDA draws in parallel and needs none of this.
    """
    layers = [
        module
        for module in network.modules()
        if type(module) is nn.Dropout and not module.inplace and 0 < module.p < 1
    ]
    for layer in layers:
        layer.forward = _forward(layer, generator)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # the class's own method shows again


def _forward(layer: nn.Dropout, generator: torch.Generator):
    def forward(x: Tensor) -> Tensor:
        if not layer.training or x.device.type != "cpu":
            return nn.Dropout.forward(layer, x)
        return _SparseDropout.apply(x, layer.p, generator)

    return forward


class _SparseDropout(torch.autograd.Function):
    """Zero a few values and scale the others, forward and backward alike."""

    @staticmethod
    def forward(ctx, x: Tensor, p: float, generator: torch.Generator) -> Tensor:
        ctx.p, ctx.dropped = p, dropped_positions(x.numel(), p, generator)
        scaled = x * (1 / (1 - p))
        ctx.stride = scaled.stride()  # positions count along memory, in whatever format x has
        return _zero(scaled, ctx.dropped)

    @staticmethod
    def backward(ctx, grad: Tensor):
        scaled = torch.empty_strided(grad.shape, ctx.stride, dtype=grad.dtype)
        torch.mul(grad, 1 / (1 - ctx.p), out=scaled)
        return _zero(scaled, ctx.dropped), None, None


def _zero(x: Tensor, positions: Tensor) -> Tensor:
    x.as_strided((x.numel(),), (1,)).index_fill_(0, positions, 0)
    return x


def dropped_positions(count: int, p: float, generator: torch.Generator) -> Tensor:
    """The sorted positions in `range(count)` that independent coins of probability `p` choose."""
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

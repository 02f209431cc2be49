"""How fast a training step could be on this machine: its operations and bytes, and the roofline.

Source: Williams et al., "Roofline: An Insightful Visual Performance Model",
doi:10.1145/1498765.1498785.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from mnist_lab.layers import list_layers

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
REPEATS, ENOUGH_SECONDS = 12, 1.0  # emulated bf16 takes seconds for a single product


@dataclass(frozen=True)
class Peak:
    """The most a processor was seen to do: operations per second, and bytes moved per second."""

    operations: float
    bytes: float


@dataclass(frozen=True)
class Step:
    """What one training step costs at least: operations, bytes to and from memory, seconds.

    `seconds` adds up, layer by layer, the longer of the two: the roofline.
    """

    operations: float
    bytes: float
    seconds: float


def measure_peak(precision: str = "fp32") -> Peak:
    """Multiply two big matrices, and copy a big tensor: the best of several tries each."""
    dtype, side, length = DTYPES[precision], 1024, 2**24
    draws = torch.Generator().manual_seed(0)
    a, b = (torch.randn(side, side, generator=draws).to(dtype) for _ in range(2))
    source, target = torch.zeros(length), torch.zeros(length)
    return Peak(
        operations=2 * side**3 / _best_seconds(lambda: a @ b),
        bytes=2 * 4 * length / _best_seconds(lambda: target.copy_(source)),
    )


def step_cost(network: nn.Module, batch_size: int, peak: Peak, precision: str = "fp32") -> Step:
    """The least that a step (forward and backward) costs, layer by layer.

    Forward, a layer reads its input and writes its output; backward, it reads the input again and
    the gradient of its output, and writes the gradient of its input. A product is two operations,
    and is needed three times: for the output, for the gradients of weights and of the input (the
    first needs none of the latter). Functions that are no modules are left out, and so are weights,
    which are small here, and `nn.Flatten`, which moves nothing: this is a lower limit.
    """
    size = DTYPES[precision].itemsize
    operations = moved = seconds = 0.0
    rows = [layer for layer in list_layers(network) if not isinstance(layer.module, nn.Flatten)]
    first = next((layer for layer in rows if layer.macs), None)
    for layer in rows:
        passes = 2 if layer is first else 3
        inputs, outputs = _count(layer.input), _count(layer.output)
        layer_operations = 2 * passes * layer.macs * batch_size
        layer_bytes = size * batch_size * (passes * inputs + 2 * outputs)
        operations, moved = operations + layer_operations, moved + layer_bytes
        seconds += max(layer_operations / peak.operations, layer_bytes / peak.bytes)
    return Step(operations, moved, seconds)


def _best_seconds(work: Callable) -> float:
    tries: list[float] = []
    while len(tries) < REPEATS and sum(tries) < ENOUGH_SECONDS:
        start = time.perf_counter()
        work()
        tries.append(time.perf_counter() - start)
    return min(tries)


def _count(shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel()

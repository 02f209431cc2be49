"""How fast a training step could be on this machine: its operations and bytes, and the roofline.

Source: Williams et al., "Roofline: An Insightful Visual Performance Model",
doi:10.1145/1498765.1498785.
"""

import math
from timeit import repeat
from typing import NamedTuple

import torch
from torch import nn

from mnist_lab.layers import Layer, list_layers

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Peak(NamedTuple):
    """The most a processor was seen to do: operations per second, and bytes moved per second."""

    operations: float
    bytes: float


class LayerCost(NamedTuple):
    """What one training step costs in one layer at least: operations, bytes to and from memory.

    `passes`: how often its product is needed.
    """

    layer: Layer
    passes: int
    operations: float
    bytes: float


class Step(NamedTuple):
    """What one training step costs at least: operations, bytes to and from memory, seconds.

    `seconds` adds up, layer by layer, the longer of the two: the roofline.
    """

    operations: float
    bytes: float
    seconds: float


def measure_peak(precision: str = "fp32", tries: int = 12, length: int = 2**24) -> Peak:
    """Multiply two big matrices, and copy a tensor of `length`: the best of several tries each."""
    dtype, side = DTYPES[precision], 1024
    draws = torch.Generator().manual_seed(0)
    a, b = (torch.randn(side, side, generator=draws).to(dtype) for _ in range(2))
    source, target = torch.zeros(length), torch.zeros(length)
    multiplied = repeat(lambda: a @ b, number=1, repeat=tries)
    copied = repeat(lambda: target.copy_(source), number=1, repeat=tries)
    return Peak(operations=2 * side**3 / min(multiplied), bytes=2 * 4 * length / min(copied))


def layer_costs(network: nn.Module, batch_size: int, precision: str = "fp32") -> list[LayerCost]:
    """The least that a step (forward and backward) costs in each layer.

    Forward, a layer reads its input and writes its output; backward, it reads the input again and
    the gradient of its output, and writes the gradient of its input. A product is two operations,
    and is needed three times: for the output, for the gradients of weights and of the input (the
    first needs none of the latter). Functions that are no modules are left out, and so are weights,
    which are small here, and `nn.Flatten`, which moves nothing: this is a lower limit.
    """
    rows = [layer for layer in list_layers(network) if not isinstance(layer.module, nn.Flatten)]
    first, costs = next((layer for layer in rows if layer.macs), None), []
    for layer in rows:
        passes = 2 if layer is first else 3
        values = passes * math.prod(layer.input) + 2 * math.prod(layer.output)
        products = 2 * passes * layer.macs * batch_size
        traffic = DTYPES[precision].itemsize * values * batch_size
        costs.append(LayerCost(layer, passes, products, traffic))
    return costs


def step_cost(network: nn.Module, batch_size: int, peak: Peak, precision: str = "fp32") -> Step:
    """The least that a step costs: its `layer_costs` added up."""
    operations = moved = seconds = 0.0
    for _, _, products, traffic in layer_costs(network, batch_size, precision):
        operations, moved = operations + products, moved + traffic
        seconds += max(products / peak.operations, traffic / peak.bytes)
    return Step(operations, moved, seconds)

"""What the cases of a check are drawn from: generators of its own.

The student may have seeded Python's and PyTorch's, and would then be asked the same each time.
"""

import random

import torch
from torch import Tensor

draw = random.Random()  # `draw.randint(1, 6)`, `draw.choice(…)`, `draw.uniform(0, 1)`, …
generator = torch.Generator().manual_seed(draw.getrandbits(63))


def randn(*shape: int) -> Tensor:
    """A tensor of this shape, from the normal distribution."""
    return torch.randn(shape, generator=generator)


def rand(*shape: int) -> Tensor:
    """A tensor of this shape, evenly from 0 to 1."""
    return torch.rand(shape, generator=generator)


def randint(low: int, high: int, *shape: int) -> Tensor:
    """A tensor of this shape of whole numbers from `low` to `high - 1`."""
    return torch.randint(low, high, shape, generator=generator)


def randperm(count: int) -> Tensor:
    """The numbers from 0 to `count - 1` in a random order."""
    return torch.randperm(count, generator=generator)

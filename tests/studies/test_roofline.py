"""The least a step costs: against numbers worked out by hand."""

from timeit import repeat

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from mnist_lab.layers import count_macs, list_layers
from mnist_lab.networks import BottleneckNet, GapNet
from mnist_lab.studies.roofline import Peak, layer_costs, measure_peak, step_cost


class Tiny(nn.Sequential):
    """The map after the convolution has 2 × 26 × 26 = 1,352 values."""

    def __init__(self):
        super().__init__(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(1_352, 10))


# For one image. The convolution needs no gradient of its input, the ReLU multiplies nothing.
OPERATIONS = {"conv": 2 * 2 * 9 * 1_352, "relu": 0, "fc": 2 * 3 * 1_352 * 10}
# Forward: input, output. Backward: input, gradient of the output, gradient of the input.
VALUES = {
    "conv": 784 + 1_352 + 784 + 1_352,
    "relu": 1_352 + 1_352 + 1_352 + 1_352 + 1_352,
    "fc": 1_352 + 10 + 1_352 + 10 + 1_352,
}


@pytest.mark.parametrize(
    ("peak", "seconds"),
    [
        (Peak(operations=1_000, bytes=1e15), sum(OPERATIONS.values()) / 1_000),
        (Peak(operations=1e15, bytes=100), 4 * sum(VALUES.values()) / 100),
        # The convolution and the ReLU wait for memory, the linear layer is busy multiplying.
        (Peak(operations=4_000, bytes=1_000), 4 * (4_272 + 6_760) / 1_000 + 81_120 / 4_000),
    ],
    ids=["fast memory", "fast multiplying", "each layer takes the longer of its two times"],
)
@pytest.mark.parametrize("batch_size", [1, 128])
def test_a_step_costs_what_was_worked_out_by_hand(peak, seconds, batch_size):
    step = step_cost(Tiny(), batch_size, peak)
    assert step.operations == batch_size * sum(OPERATIONS.values()) == batch_size * 129_792
    assert step.bytes == batch_size * 4 * sum(VALUES.values()) == batch_size * 60_432
    assert step.seconds == pytest.approx(batch_size * seconds)


def test_each_layer_costs_what_was_worked_out_by_hand():
    costs = layer_costs(Tiny(), 8)
    assert [cost.operations for cost in costs] == [8 * n for n in OPERATIONS.values()]
    assert [cost.bytes for cost in costs] == [8 * 4 * n for n in VALUES.values()]
    assert [cost.passes for cost in costs] == [2, 3, 3]


def test_bf16_moves_half_the_bytes_for_the_same_operations():
    peak = Peak(operations=1e15, bytes=100)
    full, half = (step_cost(Tiny(), 8, peak, precision) for precision in ("fp32", "bf16"))
    assert half.operations == full.operations
    assert half.bytes == full.bytes / 2
    assert half.seconds == pytest.approx(full.seconds / 2)


@pytest.mark.parametrize("make", [GapNet, BottleneckNet])
def test_every_product_is_needed_three_times_but_in_the_first_layer_twice(make):
    network = make()
    products = 3 * count_macs(network) - list_layers(network)[0].macs
    assert step_cost(network, 128, Peak(1.0, 1.0)).operations == 2 * 128 * products


def test_dropout_in_front_is_no_product_and_the_first_layer_may_have_none():
    peak, conv = Peak(1e9, 1e9), nn.Conv2d(1, 1, 3)
    alone, behind = (
        step_cost(nn.Sequential(*layers), 1, peak) for layers in ([conv], [nn.Dropout(0.1), conv])
    )
    assert behind.operations == alone.operations and behind.bytes > alone.bytes
    assert step_cost(nn.Sequential(nn.ReLU()), 1, peak).operations == 0


class Watch(TorchFunctionMode):
    """Remembers the types that were multiplied."""

    def __init__(self):
        super().__init__()
        self.multiplied = []

    def __torch_function__(self, function, types, arguments=(), options=None):
        if function in (torch.Tensor.matmul, torch.Tensor.__matmul__):
            self.multiplied += [(argument.dtype, *argument.shape) for argument in arguments]
        return function(*arguments, **(options or {}))


@pytest.mark.parametrize(
    ("precision", "dtype", "tries"),
    [
        ("fp32", torch.float32, 5),
        pytest.param("bf16", torch.bfloat16, 1, marks=pytest.mark.slow),  # where it is emulated
    ],
)
def test_a_peak_is_measured_in_its_own_precision(precision, dtype, tries):
    before = torch.get_rng_state()
    with Watch() as watch:
        peak = measure_peak(precision, tries)
    assert torch.equal(torch.get_rng_state(), before)
    assert watch.multiplied == [(dtype, 1024, 1024)] * 2 * tries
    # No computer is slower than a million or faster than 100,000 billion of them a second.
    assert 1e6 < peak.operations < 1e14 and 1e6 < peak.bytes < 1e13


def test_a_peak_is_as_high_as_products_and_copies_are_fast():
    a, b, c = torch.randn(1024, 1024), torch.randn(2**24), torch.zeros(2**24)
    for _ in range(5):  # the machine may be busy
        product = min(repeat(lambda: a @ a, number=1, repeat=3))
        copy = min(repeat(lambda: c.copy_(b), number=1, repeat=3))
        peak = measure_peak(tries=3)
        ratios = peak.operations * product / (2 * 1024**3), peak.bytes * copy / (2 * 4 * 2**24)
        if all(0.7 < ratio < 1.4 for ratio in ratios):
            return
    pytest.fail(f"not what was measured here: {ratios}")


def test_an_unknown_precision_has_no_peak():
    with pytest.raises(KeyError, match="fp16"):
        measure_peak("fp16")

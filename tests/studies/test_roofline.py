"""The least a step costs: against numbers worked out by hand."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from mnist_lab.layers import count_macs, list_layers
from mnist_lab.networks import BottleneckNet, GapNet, StridedNet
from mnist_lab.studies import roofline
from mnist_lab.studies.roofline import Peak, measure_peak, step_cost


class Tiny(nn.Module):
    """Convolution → ReLU → linear. The map after the convolution has 2 × 26 × 26 = 1,352 values."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(1_352, 10)

    def forward(self, x):
        return self.fc(torch.flatten(self.relu(self.conv(x)), 1))


# For one image. The convolution needs no gradient of its input, the ReLU multiplies nothing.
OPERATIONS = {"conv": 2 * 2 * 9 * 1_352, "relu": 0, "fc": 2 * 3 * 1_352 * 10}
# Forward: input, output. Backward: input, gradient of the output, gradient of the input.
VALUES = {
    "conv": 784 + 1_352 + 784 + 1_352,
    "relu": 1_352 + 1_352 + 1_352 + 1_352 + 1_352,
    "fc": 1_352 + 10 + 1_352 + 10 + 1_352,
}


def test_operations_and_bytes_are_those_worked_out_by_hand():
    step = step_cost(Tiny(), 1, Peak(1.0, 1.0))
    assert step.operations == sum(OPERATIONS.values()) == 129_792
    assert step.bytes == 4 * sum(VALUES.values()) == 60_432


def test_where_memory_is_fast_the_operations_take_the_time():
    step = step_cost(Tiny(), 1, Peak(operations=1_000, bytes=1e15))
    assert step.seconds == pytest.approx(129.792)


def test_where_multiplying_is_fast_the_bytes_take_the_time():
    step = step_cost(Tiny(), 1, Peak(operations=1e15, bytes=100))
    assert step.seconds == pytest.approx(604.32)


def test_each_layer_takes_the_longer_of_its_two_times():
    step = step_cost(Tiny(), 1, Peak(operations=4_000, bytes=1_000))
    convolution = max(48_672 / 4_000, 4 * 4_272 / 1_000)  # waits for memory
    relu = 4 * 6_760 / 1_000
    linear = max(81_120 / 4_000, 4 * 4_076 / 1_000)  # is busy multiplying
    assert step.seconds == pytest.approx(convolution + relu + linear) == pytest.approx(64.408)


def test_bf16_moves_half_the_bytes_for_the_same_operations():
    peak = Peak(operations=1e15, bytes=100)
    full, half = (step_cost(Tiny(), 8, peak, precision) for precision in ("fp32", "bf16"))
    assert half.operations == full.operations
    assert half.bytes == full.bytes / 2
    assert half.seconds == pytest.approx(full.seconds / 2)


def test_the_cost_grows_with_the_batch():
    peak = Peak(operations=4_000, bytes=1_000)
    one, many = (step_cost(Tiny(), size, peak) for size in (1, 128))
    assert many.operations == 128 * one.operations
    assert many.bytes == 128 * one.bytes
    assert many.seconds == pytest.approx(128 * one.seconds)


@pytest.mark.parametrize("make", [GapNet, BottleneckNet, StridedNet])
def test_every_product_is_needed_three_times_but_in_the_first_layer_twice(make):
    network = make()
    products = 3 * count_macs(network) - list_layers(network)[0].macs
    assert step_cost(network, 128, Peak(1.0, 1.0)).operations == 2 * 128 * products


# What the processor can do


class Watch(TorchFunctionMode):
    """Remembers the types that were multiplied."""

    def __init__(self):
        super().__init__()
        self.multiplied = set()

    def __torch_function__(self, function, types, arguments=(), options=None):
        if function in (torch.Tensor.matmul, torch.Tensor.__matmul__):
            self.multiplied |= {argument.dtype for argument in arguments}
        return function(*arguments, **(options or {}))


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_a_peak_is_measured_in_its_own_precision(monkeypatch, precision, dtype):
    monkeypatch.setattr(roofline, "REPEATS", 1)  # bf16 may be emulated: seconds a try
    before = torch.get_rng_state()
    with Watch() as watch:
        peak = measure_peak(precision)
    assert torch.equal(torch.get_rng_state(), before)
    assert watch.multiplied == {dtype}
    assert 0 < peak.operations < float("inf")
    assert 0 < peak.bytes < float("inf")


def test_a_peak_is_the_work_of_a_try_by_the_shortest_time(monkeypatch):
    # The clock is read before and after each try; the first three tries are the multiplications.
    took = [3.0, 0.5, 2.0, 4.0, 0.25, 1.0]
    readings = iter([reading for seconds in took for reading in (10.0, 10.0 + seconds)])
    monkeypatch.setattr(roofline, "time", SimpleNamespace(perf_counter=lambda: next(readings)))
    monkeypatch.setattr(roofline, "REPEATS", 3)
    monkeypatch.setattr(roofline, "ENOUGH_SECONDS", 100)
    peak = measure_peak()
    products = 1_024**3  # of two matrices with 1,024 rows and columns
    assert peak.operations == 2 * products / 0.5
    assert peak.bytes == 2 * 2**26 / 0.25  # 64 MiB are read, and written


def test_an_unknown_precision_has_no_peak():
    with pytest.raises(KeyError, match="fp16"):
        measure_peak("fp16")


def test_what_only_changes_a_shape_costs_nothing_and_dropout_in_front_is_no_product():
    peak = Peak(1e9, 1e9)
    alone = step_cost(nn.Sequential(nn.Conv2d(1, 1, 3)), 1, peak)
    assert step_cost(nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten()), 1, peak) == alone
    behind = step_cost(nn.Sequential(nn.Dropout(0.1), nn.Conv2d(1, 1, 3)), 1, peak)
    assert behind.operations == alone.operations and behind.bytes > alone.bytes
    assert step_cost(nn.Sequential(nn.ReLU()), 1, peak).operations == 0

"""The two published networks against their published tables, and all against their comments."""

import inspect
import re

import pytest
import torch
from torch import nn
from torchsummary import summary

from mnist_lab.networks import BottleneckNet, GapNet, Net2k, Net8k, Net20k, Net700

GAP_TABLE = """
Conv2d-1 16 26 26 144
ReLU-2 16 26 26 0
BatchNorm2d-3 16 26 26 32
Dropout-4 16 26 26 0
Conv2d-5 32 24 24 4,608
ReLU-6 32 24 24 0
BatchNorm2d-7 32 24 24 64
Dropout-8 32 24 24 0
Conv2d-9 10 24 24 320
MaxPool2d-10 10 12 12 0
Conv2d-11 16 10 10 1,440
ReLU-12 16 10 10 0
BatchNorm2d-13 16 10 10 32
Dropout-14 16 10 10 0
Conv2d-15 16 8 8 2,304
ReLU-16 16 8 8 0
BatchNorm2d-17 16 8 8 32
Dropout-18 16 8 8 0
Conv2d-19 16 6 6 2,304
ReLU-20 16 6 6 0
BatchNorm2d-21 16 6 6 32
Dropout-22 16 6 6 0
Conv2d-23 16 6 6 2,304
ReLU-24 16 6 6 0
BatchNorm2d-25 16 6 6 32
Dropout-26 16 6 6 0
AvgPool2d-27 16 1 1 0
Conv2d-28 10 1 1 160
"""
BOTTLENECK_TABLE = """
Conv2d-1 16 26 26 160
BatchNorm2d-2 16 26 26 32
Conv2d-3 16 24 24 2,320
BatchNorm2d-4 16 24 24 32
MaxPool2d-5 16 12 12 0
Conv2d-6 16 10 10 2,320
BatchNorm2d-7 16 10 10 32
Conv2d-8 32 8 8 4,640
BatchNorm2d-9 32 8 8 64
MaxPool2d-10 32 4 4 0
Conv2d-11 8 4 4 264
Conv2d-12 16 4 4 1,168
BatchNorm2d-13 16 4 4 32
Conv2d-14 16 2 2 2,320
BatchNorm2d-15 16 2 2 32
Linear-16 40 2,600
Dropout-17 40 0
Linear-18 10 410
"""
GAP_MEGABYTES = {"Input": 0.00, "Forward/backward pass": 1.06, "Params": 0.05, "Total": 1.12}
BOTTLENECK_MEGABYTES = {"Input": 0.00, "Params": 0.06, "Total": 0.46}


def what_passes_through(network):
    """The inputs and outputs of a network's children, by name, for a random batch."""
    inputs, outputs = {}, {}

    def remember(name):
        def hook(module, x, y):
            inputs[name], outputs[name] = x[0], y

        return hook

    for name, module in network.named_children():
        module.register_forward_hook(remember(name))
    outputs["network"] = network(torch.randn(4, 1, 28, 28))
    return inputs, outputs


@pytest.mark.parametrize(
    ("make", "table", "total", "megabytes"),
    [
        (GapNet, GAP_TABLE, "13,808", GAP_MEGABYTES),
        (BottleneckNet, BOTTLENECK_TABLE, "16,426", BOTTLENECK_MEGABYTES),
    ],
)
def test_torchsummary_prints_the_published_table(capsys, make, table, total, megabytes):
    summary(make(), (1, 28, 28), device="cpu")
    printed = capsys.readouterr().out
    rows = re.findall(r"^ *(\w+-\d+) +\[-1, ([\d, ]+)\] +([\d,]+)$", printed, re.MULTILINE)
    assert [[name, *shape.split(", "), count] for name, shape, count in rows] == [
        line.split() for line in table.strip().splitlines()
    ]
    assert f"Total params: {total}\nTrainable params: {total}\n" in printed
    sizes = re.findall(r"^(?:Estimated )?(.+?) [sS]ize \(MB\): (.+)$", printed, re.MULTILINE)
    assert {name: float(size) for name, size in sizes}.items() >= megabytes.items()


@pytest.mark.parametrize("make", [GapNet, BottleneckNet])
def test_the_shapes_in_the_comments_are_the_shapes_of_the_outputs(make):
    said = re.findall(r"self\.(\w+) = .*# (\d+×\d+×\d+)", inspect.getsource(make))
    network = make()
    _, outputs = what_passes_through(network)
    shapes = {name: "×".join(map(str, y.shape[1:])) for name, y in outputs.items()}
    assert len(said) >= 4 and shapes.items() >= dict(said).items()
    assert network(torch.randn(3, 1, 28, 28)).shape == (3, 10)


@pytest.mark.parametrize(
    ("make", "widths", "count"),
    [(Net20k, (16, 16, 26, 26, 26), 18_850), (Net8k, (10, 12, 16, 16, 16), 7_816)],
)
def test_the_plain_networks_have_the_shapes_and_parameters_that_they_say(make, widths, count):
    network = make()
    _, outputs = what_passes_through(network)
    sides = (26, 12, 10, 4, 4, 1)
    shapes = [tuple(y.shape[1:]) for name, y in outputs.items() if name not in ("fc", "network")]
    assert shapes == [
        (width, side, side) for width, side in zip((*widths, widths[-1]), sides, strict=True)
    ]
    before = (1, *widths[:-1])
    by_hand = sum(9 * a * b + 2 * b for a, b in zip(before, widths)) + 10 * widths[-1] + 10
    assert by_hand == count == sum(p.numel() for p in network.parameters())
    assert f"{count:,} parameters" in make.__doc__


@pytest.mark.parametrize(
    ("make", "c", "of_norm", "count"), [(Net2k, 28, 2, 1_914), (Net700, 14, 1, 682)]
)
def test_the_shared_networks_use_one_block_five_times_with_norms_of_their_own(
    make, c, of_norm, count
):
    network, seen = make(), []
    hooked = {network.depthwise: "3×3", network.pointwise: "1×1"}
    hooked |= {norm: number for number, norm in enumerate(network.norms)}
    for module, name in hooked.items():
        module.register_forward_hook(
            lambda module, x, y, name=name: seen.append((name, *y.shape[1:]))
        )
    assert network(torch.randn(4, 1, 28, 28)).shape == (4, 10)
    expected = [(0, c, 13, 13)]
    for number, side in enumerate((11, 9, 7, 5, 3), 1):
        expected += [(name, c, side, side) for name in ("3×3", "1×1", number)]
    assert seen == expected
    by_hand = c * c + (28 + 6 * of_norm) * c + 10
    assert by_hand == count == sum(p.numel() for p in network.parameters())
    assert f"{count:,} parameters" in make.__doc__


def test_the_gap_network_gives_log_probabilities_and_the_other_logits():
    outputs = GapNet()(3 * torch.randn(5, 1, 28, 28))
    torch.testing.assert_close(outputs.exp().sum(1), torch.ones(5))
    _, parts = what_passes_through(BottleneckNet())
    assert torch.equal(parts["network"], parts["fc2"])


def test_dropout_drops_a_tenth():
    for network in (GapNet(), BottleneckNet()):
        dropouts = [part for part in network.modules() if isinstance(part, nn.Dropout)]
        assert dropouts and all(dropout.p == 0.1 for dropout in dropouts)


def test_relu_follows_every_norm_of_the_bottleneck_network_and_nothing_else():
    inputs, outputs = what_passes_through(BottleneckNet())
    after_relu = {"bn1": "conv2", "bn2": "pool1", "bn3": "conv4", "bn4": "pool2", "bn6": "conv7"}
    for before, after in (after_relu | {"fc1": "drop"}).items():
        assert torch.equal(outputs[before].relu(), inputs[after])
    assert torch.equal(outputs["bn7"].relu().flatten(1), inputs["fc1"])
    as_it_is = {"conv1": "bn1", "conv5": "conv6", "pool1": "conv3", "pool2": "conv5", "drop": "fc2"}
    for before, after in as_it_is.items():
        assert torch.equal(outputs[before], inputs[after])

"""What a network is made of: counted by hand, and probed by changing pixels."""

import pytest
import torch
from torch import nn

from mnist_lab.anatomy import (
    check_requirements,
    count_macs,
    count_parameters,
    describe,
    layer_table,
    layers,
    receptive_field,
)
from mnist_lab.networks import BottleneckNet, GapNet

# Parameters and multiply-accumulates


def test_multiply_accumulates_are_counted_as_by_hand():
    network = nn.Sequential(
        nn.Conv2d(1, 6, 3),  # 6×26×26 values of 9 products
        nn.BatchNorm2d(6),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 4, 3, stride=2, padding=1, groups=2, bias=False),  # 4×7×7 of 3×9
        nn.Flatten(),
        nn.Linear(196, 10),  # 10 of 196
    )
    by_hand = [6 * 26 * 26 * 9, 0, 0, 4 * 7 * 7 * 27, 0, 1_960]
    assert [row.macs for row in layers(network)] == by_hand
    assert count_macs(network) == sum(by_hand)


def test_the_published_networks_cost_what_their_tables_say():
    gap = (
        144 * 26**2 + 4_608 * 24**2 + 320 * 24**2 + 1_440 * 10**2 + 2_304 * (8**2 + 2 * 6**2) + 160
    )
    assert count_macs(GapNet()) == gap
    weights = {26: 144, 24: 2_304, 10: 2_304, 8: 4_608, 4: 256 + 1_152, 2: 2_304}
    bottleneck = sum(count * side**2 for side, count in weights.items()) + 64 * 40 + 40 * 10
    assert count_macs(BottleneckNet()) == bottleneck


def test_frozen_parameters_are_not_counted():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    assert count_parameters(network) == 40 + 8
    network[0].bias.requires_grad = False
    assert count_parameters(network) == 36 + 8
    assert [row.parameters for row in layers(network)] == [36, 8]


def test_layers_are_the_leaves_in_the_order_of_the_forward_pass():
    rows = layers(GapNet())
    assert len(rows) == 28
    assert [row.kind for row in rows[:5]] == ["Conv2d", "ReLU", "BatchNorm2d", "Dropout", "Conv2d"]
    assert rows[0].name == "convblock1.0"
    assert (rows[9].kind, rows[9].input, rows[9].output) == (
        "MaxPool2d",
        (10, 24, 24),
        (10, 12, 12),
    )


def test_looking_at_a_network_leaves_it_as_it_was():
    network = GapNet()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for training in (True, False):
        network.train(training)
        layers(network)
        assert all(module.training is training for module in network.modules())
        assert not any(module._forward_hooks for module in network.modules())
    assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())


def test_the_table_shows_what_the_layers_are():
    lines = layer_table(GapNet()).splitlines()
    assert lines[0].split() == ["layer", "output", "parameters", "MACs", "sees"]
    assert len(lines) == 29
    assert lines[1].split() == ["Conv2d", "16×26×26", "144", "97,344", "3×3"]
    assert lines[5].split() == ["Conv2d", "32×24×24", "4,608", "2,654,208", "5×5"]


# Receptive fields


@torch.no_grad()
def seen(network, size):
    """For each leaf, the side of what its middle value sees, and how far its neighbours lie apart.

    A row of pixels is seen when raising it raises the value: with positive weights nothing that
    is seen can cancel out, and unlike a gradient this also sees all that max pooling looks at.
    """
    for parameter in network.parameters():
        parameter.fill_(0.01)
    outputs = []
    leaves = [module for module in network.modules() if not any(module.children())]
    hooks = [leaf.register_forward_hook(lambda leaf, x, y: outputs.append(y)) for leaf in leaves]
    images = torch.ones(size + 1, 1, size, size, dtype=torch.float64)
    rows = torch.arange(size)
    images[rows, :, rows] = 1e9  # image i has row i raised; the last one is left as it is
    network.double().eval()(images)
    for hook in hooks:
        hook.remove()
    network.float()
    found = []
    for output in outputs:
        values = output[:, 0, :, output.shape[-1] // 2] if output.ndim == 4 else output[:, :1]
        raised = values[:-1] != values[-1]
        middle = (values.shape[1] - 1) // 2
        first, last = (int(end(raised[:, middle].nonzero())) for end in (torch.min, torch.max))
        neighbour = int(raised[:, min(middle + 1, values.shape[1] - 1)].nonzero().min())
        found.append((last - first + 1, neighbour - first))
    return found


CHAINS = {
    "3×3": [nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3)],
    "strides": [nn.Conv2d(1, 2, 5, stride=2), nn.Conv2d(2, 2, 3, stride=3), nn.Conv2d(2, 2, 3)],
    "dilation": [nn.Conv2d(1, 2, 3, dilation=3), nn.Conv2d(2, 2, 3, stride=2, dilation=2)],
    "max pooling": [nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.Conv2d(2, 2, 3), nn.MaxPool2d(3, 2)],
    "dilated max pooling": [nn.MaxPool2d(3, stride=1, dilation=2), nn.Conv2d(1, 1, 3)],
    "average pooling": [nn.AvgPool2d(3), nn.BatchNorm2d(1), nn.Conv2d(1, 2, 3), nn.AvgPool2d(2)],
    "padding": [nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(2, 2, 5, padding="same")],
    "tuples": [nn.Conv2d(1, 2, (3, 3), (2, 2)), nn.MaxPool2d((2, 2)), nn.Conv2d(2, 2, (3, 3))],
    "1×1": [nn.Conv2d(1, 2, 1), nn.Dropout(0.5), nn.Conv2d(2, 2, 3)],
}


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_the_receptive_field_is_what_changes_the_output(chain):
    network = nn.Sequential(*chain)
    rows = layers(network, (1, 64, 64))
    assert [(row.field, row.jump) for row in rows] == seen(network, 64)
    assert receptive_field(network) == rows[-1].field


@pytest.mark.parametrize(("make", "linear"), [(GapNet, 0), (BottleneckNet, 3)])
def test_the_published_networks_see_what_the_table_says(make, linear):
    rows = layers(make())
    convolutional = nn.Sequential(*[row.module for row in rows[: len(rows) - linear]])
    found = seen(convolutional, 64)
    assert [row.field for row in rows[: len(found)]] == [field for field, _ in found]


@pytest.mark.parametrize(
    "head",
    [
        [nn.AdaptiveAvgPool2d(1), nn.Conv2d(2, 10, 1)],
        [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 10)],
        [nn.Flatten(), nn.Linear(2 * 13 * 13, 4), nn.ReLU(), nn.Linear(4, 10)],
        [nn.AvgPool2d(13), nn.Flatten(), nn.Linear(2, 10)],
    ],
    ids=["adaptive", "adaptive and linear", "linear", "average"],
)
def test_a_head_sees_the_whole_map_and_no_more(head):
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), *head)
    assert receptive_field(network) == 28
    assert seen(network, 28)[-1][0] == 28


def test_pooling_to_a_small_map_sees_a_part_of_the_map():
    network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.AdaptiveAvgPool2d(4))
    assert [(row.field, row.jump) for row in layers(network)] == seen(network, 28)


# The published assignment

ASKED = ["parameters", "epochs", "batch norm", "dropout", "pooling or a linear head", "accuracy"]


def verdicts(network, num_epochs=19, accuracy=0.994):
    rows = check_requirements(network, num_epochs, accuracy)
    assert all(words in row.asked for words, row in zip(ASKED, rows)) and len(rows) == 6
    return [words for words, row in zip(ASKED, rows) if not row.met]


def network(norm=True, dropout=True, head="adaptive", width=4):
    heads = {
        "adaptive": [nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, 10, 1), nn.Flatten()],
        "average": [nn.AvgPool2d(26), nn.Conv2d(width, 10, 1), nn.Flatten()],
        "linear": [nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(width, 10)],
        "neither": [nn.Conv2d(width, 10, 26), nn.Flatten()],
        "local pooling": [nn.AvgPool2d(2), nn.Conv2d(width, 10, 13), nn.Flatten()],
        "pooling of nothing": [nn.Conv2d(width, 10, 26), nn.AdaptiveAvgPool2d(1), nn.Flatten()],
    }
    return nn.Sequential(
        nn.Conv2d(1, width, 3),
        *[nn.BatchNorm2d(width)] * norm,
        *[nn.Dropout(0.1)] * dropout,
        *heads[head],
    )


@pytest.mark.parametrize(
    ("make", "missing"),
    [
        (GapNet, []),
        (BottleneckNet, []),
        (network, []),
        (lambda: network(norm=False), ["batch norm"]),
        (lambda: network(dropout=False), ["dropout"]),
        (lambda: network(norm=False, dropout=False), ["batch norm", "dropout"]),
        (lambda: network(width=1_000), ["parameters"]),
        (lambda: network(head="average"), []),
        (lambda: network(head="linear"), []),
        (lambda: network(head="neither", width=2), ["pooling or a linear head"]),
        (lambda: network(head="local pooling"), ["pooling or a linear head"]),
        (lambda: network(head="pooling of nothing", width=2), ["pooling or a linear head"]),
    ],
)
def test_each_requirement_is_judged_by_itself(make, missing):
    assert verdicts(make()) == missing


@pytest.mark.parametrize(
    ("parameters", "missing"), [(19_999, []), (20_000, ["parameters"]), (20_001, ["parameters"])]
)
def test_fewer_than_20_000_parameters_means_fewer(parameters, missing):
    net = network()
    net.spare = nn.Identity()
    net.spare.weight = nn.Parameter(torch.zeros(parameters - count_parameters(net)))
    assert verdicts(net) == missing


@pytest.mark.parametrize(("epochs", "missing"), [(1, []), (19, []), (20, ["epochs"])])
def test_fewer_than_20_epochs_means_fewer(epochs, missing):
    assert verdicts(network(), num_epochs=epochs) == missing


@pytest.mark.parametrize(
    ("accuracy", "missing"),
    [(1.0, []), (0.994, []), (9_940 / 10_000, []), (0.99399, ["accuracy"]), (0.9939, ["accuracy"])],
)
def test_at_least_99_4_percent_includes_99_4_percent(accuracy, missing):
    assert verdicts(network(), accuracy=accuracy) == missing


@pytest.mark.parametrize("accuracy", [-0.1, 1.01, 99.4, float("nan")])
def test_an_accuracy_must_be_a_fraction(accuracy):
    with pytest.raises(ValueError, match="accuracy must be a fraction from 0 to 1"):
        check_requirements(network(), 19, accuracy)


def test_a_run_has_at_least_one_epoch():
    with pytest.raises(ValueError, match="num_epochs must be 1 or more, not 0"):
        check_requirements(network(), 0, 0.99)


class Impostor(nn.Module):
    """Calls its convolutions what they are not."""

    def __init__(self):
        super().__init__()
        self.batch_norm = nn.Conv2d(1, 2, 3)
        self.dropout = nn.Conv2d(2, 2, 3)
        self.gap = self.linear = nn.Conv2d(2, 10, 24)

    def forward(self, x):
        return self.gap(self.dropout(self.batch_norm(x))).flatten(1)


def test_names_are_not_evidence():
    assert verdicts(Impostor()) == ["batch norm", "dropout", "pooling or a linear head"]
    unnamed = nn.Sequential(*[row.module for row in layers(GapNet())], nn.Flatten())
    assert verdicts(unnamed) == []


def test_the_requirements_read_as_a_table():
    rows = check_requirements(network(norm=False), 20, 0.9939)
    assert [str(row).split()[0] for row in rows] == ["yes", "NO", "NO", "yes", "yes", "NO"]
    assert str(rows[1]).endswith(" 20") and str(rows[5]).endswith(" 99.39%")
    heads = [check_requirements(network(head=head), 1, 1)[4].measured for head in ("average",
             "linear", "neither")]  # fmt: skip
    assert heads == ["AvgPool2d over 26×26", "1 linear layers", "neither"]


def test_a_network_is_described_in_one_line():
    sentence = "output 10, 13,808 parameters, sees 32×32 pixels"
    assert describe(nn.Sequential(GapNet(), nn.Flatten())) == sentence

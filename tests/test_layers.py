"""What a network is made of: counted by hand and by PyTorch, and probed by changing pixels."""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mnist_lab.layers import (
    check_requirements,
    count_macs,
    count_parameters,
    describe,
    layer_table,
    list_layers,
    receptive_field,
)
from mnist_lab.networks import BottleneckNet, GapNet
from mnist_lab.validation import UserError


class Wired(nn.Module):
    """Parts by their names, and a function that says how an image passes through them."""

    def __init__(self, wiring, **parts):
        super().__init__()
        self.wiring = wiring
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.wiring(self, x)


def conv(inputs=1, outputs=1, kernel=3, **settings):
    return nn.Conv2d(inputs, outputs, kernel, **settings)


# Parameters and multiply-accumulates


def test_multiply_accumulates_are_half_the_operations_that_torch_counts():
    padded = [conv(1, 4, padding=(2, 0)), conv(4, 4, groups=4), conv(4, 8, 1, stride=2)]
    for network in (
        BottleneckNet(),
        nn.Sequential(*padded, conv(8, 8, padding="same", dilation=2)),
    ):
        with FlopCounterMode(display=False) as counter:
            network(torch.zeros(2, 1, 28, 28))
        assert count_macs(network) == counter.get_total_flops() // 2 // 2


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
    assert [row.macs for row in list_layers(network)] == by_hand


def test_a_layer_that_is_used_twice_works_twice_but_has_its_parameters_once():
    network = nn.Sequential(conv(), *[conv()] * 2)
    rows = list_layers(network)
    assert [row.name for row in rows] == ["0", "1", "1"]
    assert [row.parameters for row in rows] == [10, 10, 0] and count_parameters(network) == 20
    assert [row.macs for row in rows] == [9 * side**2 for side in (26, 24, 22)]


def test_frozen_parameters_are_not_counted():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    network[0].bias.requires_grad = False
    assert count_parameters(network) == 36 + 8
    assert [row.parameters for row in list_layers(network)] == [36, 8]


def test_layers_are_the_leaves_in_the_order_of_the_forward_pass():
    rows = list_layers(GapNet())
    assert [row.kind for row in rows[:5]] == ["Conv2d", "ReLU", "BatchNorm2d", "Dropout", "Conv2d"]
    assert (len(rows), rows[0].name, rows[9].name) == (28, "convblock1.0", "pool1")
    assert (rows[9].input, rows[9].output) == ((10, 24, 24), (10, 12, 12))


def state(network):
    """All that looking at a network could change, in it and in the process."""
    generators = torch.get_rng_state(), np.random.get_state()[1], random.getstate()
    modes = [module.training for module in network.modules()]
    hooks = [len(module._forward_hooks) for module in network.modules()]
    values = {name: value.clone() for name, value in network.state_dict().items()}
    return *generators, modes, hooks, values


@pytest.mark.parametrize("channels", [1, 3], ids=["an image", "what it cannot take"])
def test_looking_at_a_network_leaves_it_and_the_random_state_as_they_were(channels):
    """`F.dropout` draws, unlike `nn.Dropout`, in evaluation mode too."""
    network = Wired(lambda net, x: F.dropout(net.gap(x)), gap=GapNet())
    network.gap.convblock4.eval()  # a mode of its own
    before = state(network)
    try:
        list_layers(network, (channels, 28, 28))
    except UserError:
        assert channels == 3
    torch.testing.assert_close(state(network), before)


def test_the_table_shows_what_the_layers_are():
    lines = layer_table(GapNet()).splitlines()
    assert lines[0].split() == ["layer", "output", "parameters", "MACs", "sees"]
    assert len(lines) == 29 and {len(line) for line in lines} == {58}
    assert lines[1].split() == ["Conv2d", "16×26×26", "144", "97,344", "3×3"]
    assert lines[5].split() == ["Conv2d", "32×24×24", "4,608", "2,654,208", "5×5"]
    sentence = "output 10, 13,808 parameters, sees 32×32 pixels"
    assert describe(nn.Sequential(GapNet(), nn.Flatten())) == sentence


# Receptive fields


@torch.no_grad()
def seen(network, size):
    """For each leaf, the side of what its middle value sees, and how far its neighbours lie apart.

    A row of pixels is seen when raising it raises the value: with positive weights nothing that
    is seen can cancel out, and unlike a gradient this also sees all that max pooling looks at.
    """
    for parameter in network.parameters():
        parameter.fill_(0.1)
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
    "strides": [conv(1, 2, 5, stride=2), conv(2, 2, 3, stride=3), conv(2, 2)],
    "dilation": [conv(1, 2, 3, dilation=3), conv(2, 1, 3, stride=2, dilation=2), nn.ReLU()],
    "max pooling": [conv(), nn.MaxPool2d(2), nn.MaxPool2d(3, stride=1, dilation=2), conv()],
    "average pooling": [nn.AvgPool2d(3), nn.BatchNorm2d(1), conv(1, 2, 1), nn.AvgPool2d(3, 2)],
    "padding": [conv(1, 2, 5, padding=(2, 0)), nn.MaxPool2d((2, 2)), conv(2, 2, padding="same")],
    "groups": [conv(1, 4), conv(4, 4, groups=4), conv(4, 2, groups=2)],
    "used twice": [conv(), nn.MaxPool2d(2, padding=(1, 0)), *[conv(), nn.Dropout(0.5)] * 2],
    "adaptive pooling": [conv(padding=1), nn.AdaptiveAvgPool2d(32), nn.AdaptiveMaxPool2d((8, 8))],
}


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_the_receptive_field_is_what_changes_the_output(chain):
    network = nn.Sequential(*chain)
    rows = list_layers(network, (1, 64, 64))
    assert [(row.field, row.jump) for row in rows] == seen(network, 64)


@pytest.mark.parametrize(("make", "linear"), [(GapNet, 0), (BottleneckNet, 3)])
def test_the_published_networks_see_what_the_table_says(make, linear):
    rows = list_layers(make())
    found = seen(nn.Sequential(*[row.module for row in rows[: len(rows) - linear]]), 52)
    assert [row.field for row in rows[: len(found)]] == [field for field, _ in found]


@pytest.mark.parametrize("head", [
    [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 10)],
    [nn.Flatten(), nn.Linear(2 * 13 * 13, 4), nn.ReLU(), nn.Linear(4, 10)],
])  # fmt: skip
def test_a_head_sees_the_whole_map_and_no_more(head):
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), *head)
    assert receptive_field(network) == seen(network, 28)[-1][0] == 28


def test_windows_are_square_on_images_that_are_not():
    rows = list_layers(nn.Sequential(conv(1, 2, 3, stride=2), nn.MaxPool2d(2)), (1, 28, 40))
    assert [(row.output, row.field) for row in rows] == [((2, 13, 19), 3), ((2, 6, 9), 5)]


FOLLOWED = [
    (nn.Sequential(), 1),
    (nn.Sequential(nn.MaxPool2d(2), nn.ReLU(inplace=True)), 2),
    (nn.Sequential(conv(1, 2), nn.LocalResponseNorm(2), nn.Softmax2d(), conv(2)), 5),
    (nn.Sequential(nn.Flatten(), nn.Linear(784, 5), nn.LayerNorm(5), nn.LogSoftmax(1)), 28),
    (nn.Sequential(nn.Flatten(), nn.Unflatten(1, (1, 28, 28)), conv()), 3),
    (nn.Sequential(nn.LazyConv2d(2, 3), nn.AdaptiveAvgPool2d(1)), 28),
    (GapNet().double(), 32),
    (Wired(lambda net, x: net.conv(input=(x - 0.13) / 0.31), conv=conv()), 3),
    (Wired(lambda net, x: net.b(net.a(x).squeeze()), a=conv(1, 2, 28), b=nn.Linear(2, 2)), 28),
    # What a short cut adds is part of what the layer saw that it goes around.
    (Wired(lambda net, x: net.b(net.a(x) + x), a=conv(padding=1), b=conv()), 5),
]


@pytest.mark.parametrize(("network", "field"), FOLLOWED)
def test_whatever_works_pixel_by_pixel_is_followed(network, field):
    assert receptive_field(network) == field


# What is refused


class Blurred(nn.Conv2d):
    """A convolution of another kind."""

    def forward(self, x):
        return super().forward(F.avg_pool2d(x, 3, 1, 1))


TWO = {"a": conv(), "b": conv()}
WIDER = {"a": conv(padding=1), "b": conv(1, 1, 5, padding=2)}
LEAVES = [
    # Windows that are not square, or not all alike.
    conv(kernel=(3, 5)), conv(stride=(1, 2)), conv(dilation=(2, 1)), nn.AvgPool2d([2, 3]),
    nn.MaxPool2d((3, 5), stride=(2,)), nn.AdaptiveMaxPool2d((4, 7)), nn.AdaptiveMaxPool2d(5),
    # Pixels are mixed in ways that nobody knows.
    Blurred(1, 1, 3), nn.Upsample(scale_factor=2), nn.LayerNorm((28, 28)), nn.Linear(28, 28),
    nn.BatchNorm2d(1, track_running_stats=False), nn.Softmax(-1), nn.Flatten(2),
]  # fmt: skip
REFUSED = [
    *((nn.Sequential(leaf), f"{type(leaf).__name__} 0") for leaf in LEAVES),
    (Wired(lambda net, x: net.fc(x.view(-1, 392)), fc=nn.Linear(392, 2)), "Linear fc"),
    (Wired(lambda net, x: net.a(x.flatten(2)), a=nn.Conv1d(1, 2, 3)), "Conv1d a"),
    (nn.Sequential(nn.Flatten(), nn.Linear(784, 49), nn.Unflatten(1, (1, 7, 7))), "Unflatten 2"),
    (Wired(lambda net, x: [net.a(x)], a=conv()), "its output"),
    (Wired(lambda net, x: net.lstm(x[:, 0])[0], lstm=nn.LSTM(28, 2)), "LSTM lstm"),
    (Wired(lambda net, x: net.a(x, x), a=nn.Bilinear(28, 28, 2)), "Bilinear a"),
    (Wired(lambda net, x: x, spare=nn.Identity()), "its modules"),
    (nn.Sequential(conv(), nn.ConvTranspose2d(1, 1, 1)), "products that"),
    (nn.Sequential(nn.utils.parametrizations.weight_norm(conv())), "_?(Param|Weight)"),
    (Wired(lambda net, x: torch.cat([net.a(x), net.b(x)], 1), **TWO), "Conv2d b"),
    (Wired(lambda net, x: net.a(x) + net.b(x), **WIDER), "Conv2d b"),
    (Wired(lambda net, x: (net.a(x), net.b(x))[1], **TWO), "Conv2d b"),
]


def refuses(network, word, image_size=(1, 28, 28)):
    with pytest.raises(UserError, match=f"add up at {word}") as refused:
        list_layers(network, image_size)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("network", "word"), REFUSED, ids=[word for _, word in REFUSED])
def test_a_network_that_rows_cannot_tell_is_refused_in_a_sentence(network, word):
    refuses(network, word)
    assert "accuracy" not in verdicts(network), "it can be held against the assignment"


def test_what_sees_all_of_an_image_that_is_not_square_is_refused():
    refuses(nn.Sequential(nn.AdaptiveMaxPool2d(1)), "AdaptiveMaxPool2d 0", (1, 28, 20))
    refuses(nn.Sequential(nn.Flatten(), nn.Linear(28 * 20, 1)), "Linear 1", (1, 28, 20))


@pytest.mark.parametrize("function", [
    lambda x: F.avg_pool2d(x, 3, 1, 1), lambda x: x[:, :, 1:, 1:], lambda x: x - x.mean(),
    lambda x: x.roll(1, 2), lambda x: x.roll(1, 0), torch.zeros_like,
])  # fmt: skip
def test_functions_that_mix_pixels_are_refused_before_a_layer_and_at_the_end(function):
    refuses(Wired(lambda net, x: net.b(function(net.a(x))), **TWO), "Conv2d b")
    refuses(Wired(lambda net, x: function(net.a(x)), a=conv()), "its output")


@pytest.mark.parametrize("multiply", [
    lambda y: y @ torch.eye(2), lambda y: torch.einsum("ni,ij->nj", y, torch.eye(2)),
    nn.Linear(2, 2),  # a module in a closure is in no network
])  # fmt: skip
def test_products_and_parameters_outside_of_a_networks_modules_are_refused(multiply):
    parts = {"a": nn.Linear(784, 2), "b": nn.Linear(2, 2)}
    network = Wired(lambda net, x: multiply(net.b(net.a(x.flatten(1)))), **parts)
    refuses(network, "products that are in no layer")
    network = Wired(lambda net, x: net.a(x), scale=nn.Parameter(torch.ones(1)), a=conv())
    refuses(network.requires_grad_(False), "parameters that are in no layer")


def stumble(net, x):
    raise RuntimeError("a reason\nof several lines")


@pytest.mark.parametrize("network", [nn.Sequential(conv(3)), Wired(stumble, a=conv())])
@pytest.mark.parametrize(
    "look", [list_layers, lambda network: check_requirements(network, 1, 1, 1, 1)]
)
def test_a_network_that_takes_no_such_image_is_refused_in_one_line(network, look):
    kind = type(network).__name__
    with pytest.raises(UserError, match=rf"\A{kind} cannot take an image of 1×28×28: .+\Z"):
        look(network)


# The published assignment

ASKED = ["parameters", "epochs", "batch norm", "dropout", "pooling or a linear head", "accuracy"]


def verdicts(network, num_epochs=19, accuracy=0.994):
    rows = check_requirements(network, num_epochs, accuracy, accuracy, accuracy)
    assert all(words in row.asked for words, row in zip(ASKED, rows)) and len(rows) == 6
    return [words for words, row in zip(ASKED, rows) if not row.met]


def network(norm=True, dropout=True, head="adaptive", width=4):
    heads = {
        "adaptive": [nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, 10, 1), nn.Flatten()],
        "average": [nn.AvgPool2d(26), nn.Conv2d(width, 10, 1), nn.Flatten()],
        "linear": [nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(width, 10)],
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
    ("made", "missing"),
    [
        (GapNet(), []),
        (BottleneckNet(), []),
        (network(norm=False), ["batch norm"]),
        (network(dropout=False, head="average"), ["dropout"]),
        (network(width=1_000).requires_grad_(False), ["parameters"]),
        (network(head="linear"), []),
        (network(head="local pooling"), ["pooling or a linear head"]),
        (network(head="pooling of nothing", width=2), ["pooling or a linear head"]),
        (nn.Sequential(*network(), nn.Unflatten(1, (1, 10)), nn.LSTM(10, 10)), []),  # has no table
    ],
)
def test_each_requirement_is_judged_by_itself(made, missing):
    assert verdicts(made) == missing


@pytest.mark.parametrize(
    ("parameters", "epochs", "missing"),
    [(19_999, np.int64(19), []), (20_000, 20, ["parameters", "epochs"])],
)
def test_fewer_than_20_000_parameters_and_20_epochs_means_fewer(parameters, epochs, missing):
    net = network()
    net.spare = nn.Identity()
    net.spare.weight = nn.Parameter(torch.zeros(parameters - count_parameters(net)))
    assert verdicts(net, epochs) == missing


@pytest.mark.parametrize(
    ("low", "high", "met"),
    [(0.994, 0.996, True), (0.9939, 0.994, None), (0.99, 0.9939, False)],
)
def test_an_accuracy_whose_interval_holds_what_is_asked_is_undecided(low, high, met):
    row = check_requirements(network(), 19, low, low, high)[5]
    assert row.met is met
    assert str(row).split()[0] == {True: "yes", False: "NO", None: "undecided"}[met]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, 0.99, 0.98, 1), "num_epochs must be a whole number from 1 on, not 0"),
        ((19, 99.4, 0.98, 1), "accuracy must be a number from 0 to 1, not 99.4"),
        ((19, 0.99, None, 1), "low must be"),
        ((19, 0.99, 0.98, True), "high must be"),
        ((19, 0.9, 0.95, 0.99), r"0.9 must lie in its interval, 0.95 to 0.99"),
        ((19, 0.9, 0.8, 0.85), "must lie in its interval"),
    ],
)
def test_what_was_measured_must_be_possible(arguments, words):
    with pytest.raises(UserError, match=words):
        check_requirements(network(), *arguments)


def test_names_are_not_evidence():
    names = {"batch_norm": conv(1, 2), "dropout": conv(2, 2), "gap": conv(2, 10, 24)}
    impostor = Wired(lambda net, x: net.gap(net.dropout(net.batch_norm(x))).flatten(1), **names)
    assert verdicts(impostor) == ["batch norm", "dropout", "pooling or a linear head"]
    unnamed = nn.Sequential(*[row.module for row in list_layers(GapNet())], nn.Flatten())
    assert verdicts(unnamed) == []


def test_the_requirements_read_as_a_table():
    rows = check_requirements(network(norm=False), 20, 0.9939, 0.99, 0.9939)
    assert [str(row).split()[0] for row in rows] == ["yes", "NO", "NO", "yes", "yes", "NO"]
    assert str(rows[1]).endswith(" 20") and str(rows[5]).endswith(" 99.39% [99.00%, 99.39%]")
    heads = ("average", "linear", "local pooling")
    measured = [check_requirements(network(head=head), 1, 1, 1, 1)[4].measured for head in heads]
    assert measured == ["AvgPool2d over 26×26", "1 linear layers", "neither"]

"""Networks that a line describes: counted by hand, and computed by hand where they share."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mnist_lab.layers import count_parameters
from mnist_lab.studies.candidates import build
from mnist_lab.studies.search import CANDIDATES
from mnist_lab.validation import UserError

BUDGETS = {"20k": 20_000, "8k": 8_000, "2k": 2_000, "700": 700}


@pytest.mark.parametrize(
    ("line", "count"),
    [
        # 3×3 convolutions, scale and shift of each norm, and ten weights a channel with ten biases.
        ("plain 4p 6", 9 * 4 + 9 * 4 * 6 + 2 * 10 + 6 * 10 + 10),
        ("plain 4p 6 learned", 9 * 4 + 9 * 4 * 6 + 2 * 10 + 11 * 11 * 6 + 6 * 10 + 10),
        ("shared 5p . .", 9 * 5 + (9 * 5 + 5 * 5) + 3 * 2 * 5 + 5 * 10 + 10),
        ("shared 5p . . tied", 9 * 5 + (9 * 5 + 5 * 5) + 2 * 5 + 5 * 10 + 10),
        ("shared 5p . . shift", 9 * 5 + (9 * 5 + 5 * 5) + 3 * 5 + 5 * 10 + 10),
        ("shared 5p . . none", 9 * 5 + (9 * 5 + 5 * 5) + 5 * 10 + 10),
        ("shared 5p . . full", 9 * 5 + 9 * 5 * 5 + 3 * 2 * 5 + 5 * 10 + 10),
        ("shared 5p . . own", 9 * 5 + 2 * (9 * 5 + 5 * 5) + 3 * 2 * 5 + 5 * 10 + 10),
        ("shared 5p . . stem", (9 * 5 + 5 * 5) + 3 * 2 * 5 + 5 * 10 + 10),
        ("shared 12p . . tied headless", 9 * 12 + (9 * 12 + 12 * 12) + 2 * 12),
    ],
)
def test_the_parameters_are_those_counted_by_hand(line, count):
    assert count_parameters(build(line)) == count


@pytest.mark.parametrize("budget", CANDIDATES)
def test_every_candidate_keeps_to_its_budget_and_answers(budget):
    for line in CANDIDATES[budget]:
        network = build(line)
        assert 0.85 * BUDGETS[budget] < count_parameters(network) <= BUDGETS[budget], line
        assert network(torch.randn(2, 1, 28, 28)).shape == (2, 10)
        assert all(p.grad is None for p in network.parameters())


@pytest.mark.parametrize(
    ("line", "sizes"),
    [("plain 2 3p 4s 5", [26, 12, 12, 10]), ("shared 3p . .sp .", [13, 11, 5, 3])],
)
def test_a_map_shrinks_by_the_border_and_the_pooling(line, sizes):
    network, seen = build(line), []
    for norm in network.norms:
        norm.register_forward_hook(lambda norm, x, y: seen.append(y.shape[-1]))
    network(torch.randn(2, 1, 28, 28))
    assert seen == sizes


def test_the_one_block_is_used_again_with_a_norm_of_its_own():
    network = build("shared 4 .p .s").eval()
    for scale, norm in enumerate(network.norms, 1):
        nn.init.constant_(norm.weight, scale)
    x = torch.randn(3, 1, 28, 28)
    stem, (depthwise, pointwise) = network.convs[0], network.convs[1]

    def block(x):
        x = F.conv2d(F.conv2d(x, depthwise.weight, groups=4), pointwise.weight)
        return x

    y = F.relu(stem(x) / (1 + 1e-5) ** 0.5)
    y = F.relu(2 * F.max_pool2d(block(y), 2) / (1 + 1e-5) ** 0.5)
    y = F.relu(3 * block(F.pad(y, [1, 1, 1, 1])) / (1 + 1e-5) ** 0.5)
    torch.testing.assert_close(network(x), network.head(y.mean((2, 3))), rtol=1e-4, atol=1e-5)


def test_tied_norms_keep_their_own_statistics_and_learn_together():
    network = build("shared 4p . . tied")
    assert len({id(norm.weight) for norm in network.norms}) == 1
    network(torch.randn(8, 1, 28, 28))
    means = torch.stack([norm.running_mean for norm in network.norms])
    assert (means[0] != means[1]).any() and (means[1] != means[2]).any()


def test_a_stem_that_is_the_blocks_own_has_its_filters():
    network = build("shared 12p . stem headless").eval()
    depthwise, pointwise = network.convs[1]
    x = torch.randn(3, 1, 28, 28)
    y = F.max_pool2d(F.conv2d(x.expand(-1, 12, -1, -1), depthwise.weight, groups=12), 2)
    y = F.relu(y / (1 + 1e-5) ** 0.5)
    y = F.conv2d(F.conv2d(y, depthwise.weight, groups=12), pointwise.weight) / (1 + 1e-5) ** 0.5
    torch.testing.assert_close(network(x), y.mean((2, 3))[:, :10], rtol=1e-4, atol=1e-5)


def test_silu_takes_the_place_of_every_relu():
    network, seen = build("plain 8p 8 silu").eval(), []
    network.convs[1].register_forward_hook(lambda conv, x, y: seen.append(x[0]))
    x = network.norms[0](F.max_pool2d(network.convs[0](images := torch.randn(4, 1, 28, 28)), 2))
    y = network.norms[1](network.convs[1](F.silu(x)))
    expected = network.head(F.silu(y).mean((2, 3)))
    torch.testing.assert_close(network(images), expected, rtol=1e-4, atol=1e-5)
    assert (seen[-1] < 0).any()


def test_dropout_is_behind_every_relu():
    network = build("plain 8p 8 dropout")
    calls = []
    network.drop.register_forward_hook(lambda drop, x, y: calls.append(bool((x[0] >= 0).all())))
    network(torch.randn(4, 1, 28, 28))
    assert calls == [True, True] and network.drop.p == 0.1


@pytest.mark.parametrize(
    "line",
    ["", "plain", "plain 16pp", "plain 0", "plain 8 tall", "shared 8 8", "shared .", "shared 8",
     "plain 8p 8p 8p 8p", "plain . 8", "dense 8", "plain 8p 8 stem"],
)  # fmt: skip
def test_a_line_that_describes_no_network_is_refused(line):
    with pytest.raises(UserError, match=f"must be a line such as .*, not {re.escape(repr(line))}"):
        build(line)

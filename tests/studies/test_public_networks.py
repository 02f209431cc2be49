"""The public networks: counted and measured as their sources say, trained on all digits."""

import json
import re
from dataclasses import replace

import pytest
import torch

from mnist_lab.data import load_data
from mnist_lab.layers import count_parameters
from mnist_lab.studies import public_networks
from mnist_lab.studies.public_networks import (
    CASES,
    Net697,
    Net1936,
    Net15794,
    WholeNorm,
    cases,
    run,
    table,
)
from mnist_lab.validation import UserError

TABLES = {  # parameters of each layer, and the maps' sizes, as the sources print them
    Net697: ([60, 89, 99, 181, 178, 90], [(6, 28), (5, 12), (9, 10), (10, 8), (8, 6)]),
    Net1936: ([80, 306, 936, 432, 170], [(8, 26), (26, 11), (26, 11), (26, 11), (26, 11)]),
    Net15794: (
        [80, 730, 1456, 136, 730, 1456, 4060, 7010],
        [(8, 26), (10, 24), (16, 22), (8, 22), (10, 9), (16, 7), (28, 5)],
    ),
}


def own(module):
    return sum(p.numel() for p in module.parameters(recurse=False))


@pytest.mark.parametrize("network", TABLES, ids=lambda network: network.__name__)
def test_every_layer_has_the_parameters_and_the_size_of_its_source(network):
    counts, sizes = TABLES[network]
    net, seen, separable = network(), [], {}
    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(
                lambda layer, x, y: seen.append((y.shape[1], y.shape[2], layer.groups > 1))
            )
    net(torch.randn(4, 1, 28, 28))
    assert [(c, s) for c, s, depthwise in seen if not depthwise] == sizes
    found = []
    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv2d) and layer.groups > 1:
            separable = layer
        elif isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            found.append(own(layer) + (own(separable) if separable else 0))
            separable = {}
    assert found == counts


def test_the_counts_are_those_of_their_names():
    counts = [count_parameters(case.network()) for case in CASES.values()]
    assert counts == [697, 1936, 15794] == [int(name.replace(",", "")) for name in CASES]


@pytest.mark.parametrize("shape", [(5, 3, 4, 4), (5, 16)])
def test_the_norm_takes_all_values_of_an_image_together(shape):
    norm, x = WholeNorm(), 3 + 2 * torch.randn(shape)
    norm.scale.data.fill_(1.5), norm.shift.data.fill_(-0.5)
    flat = x.flatten(1)
    expected = 1.5 * (flat - flat.mean(1, True)) / flat.std(1, correction=0, keepdim=True) - 0.5
    torch.testing.assert_close(norm(x).flatten(1), expected, rtol=1e-4, atol=1e-4)
    assert count_parameters(norm) == 2


def test_the_shared_block_is_used_three_times():
    network, calls = Net1936(), []
    network.shared.register_forward_hook(lambda *_: calls.append(1))
    network(torch.randn(2, 1, 28, 28))
    assert len(calls) == 3


def test_a_run_tells_every_epochs_test_accuracy(monkeypatch):
    small = load_data("digits", split="as published")
    few = replace(
        small, train=small.train.first(100), validation=small.test.first(40),
        test=small.test.first(40),
    )  # fmt: skip
    monkeypatch.setattr(public_networks, "all_digits", lambda: few)
    results = [run("697", seed=seed, num_epochs=2) for seed in range(2)]
    assert json.loads(json.dumps(results)) == results
    first, second = results
    assert first["train"] == 100 and len(first["test_accuracy"]) == 2
    assert first["parameters"] == 697 and "StepDown(step_size=1," in first["recipe"]
    assert first["test_accuracy"] != second["test_accuracy"]


def test_the_test_digits_are_what_is_validated():
    data = load_data("digits", split="as published")
    assert torch.equal(data.validation.images, data.test.images)


def test_the_table_holds_the_last_epoch_against_the_best():
    runs = [
        {"network": "697", "test_accuracy": values}
        for values in ([0.9, 0.98, 0.97], [0.9, 0.96, 0.95])
    ]
    heading, row = table(runs).splitlines()
    assert heading.split()[:3] == ["parameters", "published", "seeds"]
    numbers = re.findall(r"[\d.]+", row)
    assert numbers[:4] == ["697", "99.03", "2", "96.00"] and numbers[-2:] == ["97.00", "98.00"]


def test_the_cases_are_every_network_with_every_seed():
    found = cases(seeds=2)
    assert [(case["network"], case["seed"]) for case in found] == [
        (name, seed) for seed in range(2) for name in CASES
    ]
    assert [case["num_epochs"] for case in found[:3]] == [200, 75, 20]
    for options in ({"seeds": 0}, {"num_epochs": 0}):
        with pytest.raises(UserError, match="must be a whole number from 1 on"):
            cases(**options)

"""Networks as messages: what is made again computes the same, and only PyTorch's layers are."""

import pytest
import torch
from torch import nn

from mnist_lab.grading.messages import decode, encode
from mnist_lab.grading.modules import LAYERS, describe, make, rebuild


def sent(module: nn.Module) -> dict:
    """A module's description, as it arrives."""
    return decode(encode(describe(module, id)))


def network() -> nn.Module:
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Conv2d(3, 4, 3, groups=1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
    return nn.Sequential(
        nn.Conv2d(1, 3, (3, 5), stride=2, padding=1, padding_mode="reflect"),
        inner, nn.MaxPool2d(2), nn.Dropout(0.3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 10),
    )  # fmt: skip


def test_a_network_made_again_computes_the_same():
    before, images = network(), torch.randn(6, 1, 28, 28)
    before(images)  # its norm has seen something
    before.eval()[0].weight.requires_grad_(False)
    known: dict[int, object] = {}
    after = rebuild(sent(before), known, {})
    assert torch.equal(after(images), before(images))
    assert [one.training for one in after.modules()] == [False] * len(list(after.modules()))
    assert [one.requires_grad for one in after.parameters()] == [
        one.requires_grad for one in before.parameters()
    ]
    assert known[id(before[1])] is after[1]


@pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)
def test_each_layer_is_made_with_its_own_arguments(kind):
    given = {"in_channels": 2, "out_channels": 4, "kernel_size": 3, "in_features": 2,
             "out_features": 3, "num_features": 4, "num_groups": 2, "num_channels": 4, "p": 0.25,
             "output_size": 2, "stride": 2}  # fmt: skip
    before = kind(**{name: given[name] for name in LAYERS[kind] if name in given})
    after = make(sent(before))
    assert type(after) is kind and repr(after) == repr(before)


class Own(nn.Module):
    pass


def test_another_module_is_not_made():
    assert make(sent(Own())) is None
    with pytest.raises(ValueError, match="none of PyTorch's layers"):
        rebuild(sent(nn.Sequential(Own())), {}, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [("out_channels", 10**9), ("kernel_size", [3, 10**4]), ("padding", -(10**9)), ("stride", {})],
)
def test_a_layer_that_no_answer_has_is_refused(name, value):
    form = sent(nn.Conv2d(1, 1, 3))
    form["values"][name] = value
    with pytest.raises(ValueError, match=name):
        make(form)


def test_what_is_shared_stays_shared():
    first = nn.Linear(3, 3)
    network = nn.Sequential(first, nn.ReLU(), nn.Linear(3, 3))
    network[2].weight = first.weight
    again = rebuild(sent(network), {}, {})
    assert again[0].weight is again[2].weight and again[0].bias is not again[2].bias
    assert sum(one.numel() for one in again.parameters()) == 9 + 3 + 3

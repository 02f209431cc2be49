"""Looking inside: hooks return what passes, maps add up, what a value sees is measured."""

import numpy as np
import pytest
import torch
from torch import nn

from mnist_lab import BottleneckNet, GapNet, list_layers
from mnist_lab.interpret import (
    bounding_box,
    class_activation_maps,
    feature_maps,
    measure_receptive_field,
    occlusion_map,
)
from mnist_lab.validation import UserError

IMAGES = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def trained_a_little(network):
    """Running statistics that are not the fresh ones, so that the two modes differ."""
    network.train()
    with torch.no_grad():
        network(IMAGES + 1)
    return network


def pooled(*head):
    """Global average pooling as GapNet has it, but with another head behind it."""
    return nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), *head)


def test_feature_maps_are_what_the_layer_answers_in_evaluation_mode():
    network = trained_a_little(GapNet())
    maps = feature_maps(network, IMAGES, network.convblock1)
    assert network.training and network.convblock1.training and not maps.requires_grad
    torch.testing.assert_close(maps, network.eval().convblock1(IMAGES))


def test_of_a_layer_that_is_used_twice_it_is_the_last_answer():
    conv = nn.Conv2d(1, 1, 3)
    maps = feature_maps(nn.Sequential(conv, conv), IMAGES, conv)
    torch.testing.assert_close(maps, conv(conv(IMAGES)).detach())


def test_a_layer_of_another_network_is_refused_and_no_hook_is_left():
    network, other = GapNet(), nn.ReLU()
    network.convblock4.eval()
    with pytest.raises(UserError, match=r"nothing passed through ReLU\(\)"):
        feature_maps(network, IMAGES, other)
    with pytest.raises(RuntimeError):
        feature_maps(network, torch.zeros(1, 3, 28, 28), network.convblock1)
    with pytest.raises(RuntimeError):
        class_activation_maps(network, torch.zeros(1, 3, 28, 28))
    assert not any(module._forward_hooks for module in (other, *network.modules()))
    assert not any(module._forward_pre_hooks for module in network.modules())
    assert network.training and network.convblock1.training and not network.convblock4.training


POOLED = {
    "GapNet": GapNet(),
    "linear, a bias": pooled(nn.Flatten(), nn.Dropout(0.5), nn.Linear(6, 10)),
    "linear, no bias": pooled(nn.Flatten(), nn.Linear(6, 10, bias=False), nn.LogSoftmax(1)),
    "1×1, a bias, frozen": pooled(nn.Conv2d(6, 10, 1), nn.Flatten()).requires_grad_(False),
    "1×1 in groups": pooled(nn.Conv2d(6, 10, 1, groups=2), nn.Flatten()),
}


@pytest.mark.parametrize("network", POOLED.values(), ids=POOLED)
def test_the_mean_of_a_class_map_is_the_score_of_its_digit(network):
    trained_a_little(network)
    maps = class_activation_maps(network, IMAGES)
    assert network.training and maps.shape[:2] == (3, 10) and maps.shape[2] > 1
    assert not maps.requires_grad
    with torch.no_grad():
        answers = network.eval()(IMAGES)
    scores = maps.mean((2, 3))
    torch.testing.assert_close(scores.log_softmax(1), answers.log_softmax(1), atol=1e-4, rtol=0)
    if network is POOLED["linear, a bias"]:
        torch.testing.assert_close(scores, answers, atol=1e-4, rtol=0)


@pytest.mark.parametrize("network", [
    BottleneckNet(), pooled(nn.Flatten(), nn.Linear(6, 6), nn.Linear(6, 10)),
    pooled(nn.Flatten()), pooled(nn.Flatten(), nn.ReLU(), nn.Linear(6, 10)),
    pooled(nn.BatchNorm2d(6, affine=False), nn.Flatten(), nn.Linear(6, 10)),
    pooled(nn.Flatten(), nn.BatchNorm1d(6)),
])  # fmt: skip
def test_a_network_that_ends_otherwise_has_no_class_maps(network):
    with pytest.raises(UserError, match=f"{type(network).__name__} does not end .*: use occlusion"):
        class_activation_maps(network, IMAGES)


class Corner(nn.Module):
    """Says 1 when the pixel at row 5, column 20 is bright, else 0."""

    def forward(self, x):
        bright = x[:, 0, 5, 20]
        return torch.stack([-bright, bright, *[bright * 0 - 9] * 8], 1)


def test_covering_what_decides_lowers_the_probability_most():
    image = torch.zeros(1, 28, 28)
    image[0, 5, 20] = 2.0
    falls = occlusion_map(Corner(), image, digit=1, size=5)
    assert falls.shape == (28, 28)
    assert bounding_box(falls) == (3, 18, 5, 5), "patches centred up to 2 pixels away cover it"
    # Without the bright pixel, 0 and 1 are equally likely.
    assert 0.45 < falls[5, 20] < 0.5 and -0.5 < occlusion_map(Corner(), image, 0, 5)[5, 20] < -0.45
    torch.testing.assert_close(occlusion_map(Corner(), image, np.int64(1), np.int64(5)), falls)
    filled = occlusion_map(Corner(), -image, 0, 5, fill=2.0)
    assert filled[5, 20] > 0.9, "ink where there must be none"
    wide = torch.zeros(1, 28, 34)
    wide[0, 5, 20] = 2.0
    assert bounding_box(occlusion_map(Corner(), wide, 1)) == (2, 17, 7, 7)


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"size": 4}, "size must be odd, .* not 4"), ({"size": 0}, "size"), ({"size": True}, "size"),
     ({"digit": 10}, "digit must be a whole number from 0 to 9")],
)  # fmt: skip
def test_a_patch_has_a_middle_and_a_digit_is_one(settings, words):
    with pytest.raises(UserError, match=words):
        occlusion_map(Corner(), IMAGES[0], **{"digit": 3, **settings})


@pytest.mark.parametrize("network", [GapNet(), BottleneckNet()])
def test_the_measured_field_is_the_computed_one(network):
    rows = [row for row in list_layers(network) if len(row.output) == 3]
    for row in rows[:: 2 if len(rows) > 12 else 1]:
        height, width = bounding_box(measure_receptive_field(network, row.module))[2:]
        assert (height, width) == (min(row.field, 28),) * 2, row.name
    assert network.training and all(p.grad is None for p in network.parameters())


def test_measuring_draws_from_a_generator_of_its_own():
    network = nn.Sequential(nn.Conv2d(1, 2, 3, stride=2), nn.ReLU(), nn.Flatten())
    state = torch.get_rng_state()
    with torch.no_grad():
        first = measure_receptive_field(network, network[1], np.int64(3))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert torch.equal(measure_receptive_field(network, network[1], 3), first)
    assert measure_receptive_field(network.double(), network[1]).dtype == torch.float64
    with pytest.raises(UserError, match=r"Flatten.* no maps"):
        measure_receptive_field(network, network[2])
    with pytest.raises(UserError, match="draws"):
        measure_receptive_field(network, network[1], draws=0)


def test_a_frame_needs_something_to_frame():
    field = torch.zeros(28, 28)
    with pytest.raises(UserError, match="zero everywhere"):
        bounding_box(field)
    field[3, 7] = field[5, 8] = -1
    assert bounding_box(field) == (3, 7, 3, 2)

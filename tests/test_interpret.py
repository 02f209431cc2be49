"""Looking inside: hooks return what passes, maps add up, what a value sees is measured."""

import pytest
import torch
from torch import nn

from mnist_lab import BottleneckNet, GapNet, StridedNet, list_layers
from mnist_lab.interpret import (
    bounding_box,
    class_activation_maps,
    feature_maps,
    measure_receptive_field,
    occlusion_map,
)

IMAGES = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def trained_a_little(network):
    """Running statistics that are not the fresh ones, so that the two modes differ."""
    network.train()
    with torch.no_grad():
        network(IMAGES + 1)
    return network


class PooledLinear(nn.Module):
    """Global average pooling as GapNet has it, but with a linear layer and a bias behind it."""

    def __init__(self):
        super().__init__()
        self.conv, self.pool, self.fc = (
            nn.Conv2d(1, 6, 3),
            nn.AdaptiveAvgPool2d(1),
            nn.Linear(6, 10),
        )

    def forward(self, x):
        return self.fc(self.pool(self.conv(x)).flatten(1))


def test_feature_maps_are_what_the_layer_answers_in_evaluation_mode():
    network = trained_a_little(GapNet())
    maps = feature_maps(network, IMAGES, network.convblock1)
    assert network.training and network.convblock1.training and not maps.requires_grad
    torch.testing.assert_close(maps, network.eval().convblock1(IMAGES))


def test_a_layer_of_another_network_is_refused_and_no_hook_is_left():
    network, other = GapNet(), nn.ReLU()
    with pytest.raises(ValueError, match=r"nothing passed through ReLU\(\)"):
        feature_maps(network, IMAGES, other)
    with pytest.raises(RuntimeError):
        feature_maps(network, torch.zeros(1, 3, 28, 28), network.convblock1)
    assert not other._forward_hooks and not network.convblock1._forward_hooks
    assert network.training


@pytest.mark.parametrize("network", [GapNet(), PooledLinear()], ids=["GapNet", "with a bias"])
def test_the_mean_of_a_class_map_is_the_score_of_its_digit(network):
    trained_a_little(network)
    maps = class_activation_maps(network, IMAGES)
    assert network.training and maps.shape[:2] == (3, 10) and maps.shape[2] > 1
    scores = maps.mean((2, 3))
    with torch.no_grad():
        answers = network.eval()(IMAGES)
    torch.testing.assert_close(scores.log_softmax(1), answers.log_softmax(1), atol=1e-4, rtol=0)


@pytest.mark.parametrize("network", [BottleneckNet(), StridedNet()])
def test_a_network_that_ends_otherwise_has_no_class_maps(network):
    with pytest.raises(
        ValueError, match=f"{type(network).__name__} does not end in global .*: use"
    ):
        class_activation_maps(network, IMAGES)


def test_covering_what_decides_lowers_the_probability_most():
    class Corner(nn.Module):
        """Says 1 when the pixel at row 5, column 20 is bright, else 0."""

        def forward(self, x):
            bright = x[:, 0, 5, 20]
            return torch.stack([-bright, bright, *[bright * 0 - 9] * 8], 1)

    image = torch.zeros(1, 28, 28)
    image[0, 5, 20] = 2.0
    falls = occlusion_map(Corner(), image, digit=1, size=5)
    assert falls.shape == (28, 28)
    assert bounding_box(falls) == (3, 18, 5, 5), "patches centred up to 2 pixels away cover it"
    # Without the bright pixel, 0 and 1 are equally likely.
    assert 0.45 < falls[5, 20] < 0.5 and -0.5 < occlusion_map(Corner(), image, 0, 5)[5, 20] < -0.45


def test_a_patch_has_a_middle():
    with pytest.raises(ValueError, match=r"size must be odd, .* not 4"):
        occlusion_map(GapNet(), IMAGES[0], 3, size=4)


@pytest.mark.parametrize("network", [GapNet(), BottleneckNet(), StridedNet()])
def test_the_measured_field_is_the_computed_one(network):
    torch.manual_seed(0)
    rows = [row for row in list_layers(network) if len(row.output) == 3]
    for row in rows[:: 2 if len(rows) > 12 else 1]:
        height, width = bounding_box(measure_receptive_field(network, row.module))[2:]
        assert (height, width) == (min(row.field, 28),) * 2, row.name
    assert network.training and all(p.grad is None for p in network.parameters())

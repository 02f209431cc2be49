"""Pictures of the inside are drawn, described and closed."""

import matplotlib
import pytest
import torch

from mnist_lab import plots as figures_inside
from mnist_lab.evaluation import Bin
from mnist_lab.interpret import measure_receptive_field
from mnist_lab.layers import list_layers
from mnist_lab.networks import GapNet

matplotlib.use("Agg")
import matplotlib.pyplot as plt

pytestmark = pytest.mark.filterwarnings("error")

BINS = [Bin(0.5, 0.7, 10, 0.625, 0.6, 0.3, 0.8), Bin(0.7, 0.9, 1000, 0.8, 0.81, 0.78, 0.83)]
NETWORK = GapNet()
ROWS = list_layers(NETWORK)[:2]


@pytest.fixture
def shown(monkeypatch):
    """What is shown: the figure, drawn once, and its text."""
    pictures = []

    def show(figure, alt):
        figure.canvas.draw()
        pictures.append((figure, alt))
        plt.close(figure)

    monkeypatch.setattr(figures_inside, "show", show)
    yield pictures
    assert plt.get_fignums() == []


def test_maps_fill_rows_and_keep_their_titles(shown):
    figures_inside.show_maps(torch.rand(10, 3, 3), list("abcdefghij"), "ten filters", columns=8)
    ((figure, alt),) = shown
    assert alt == "ten filters" and len(figure.axes) == 16
    assert [axis.get_title() for axis in figure.axes[:10]] == list("abcdefghij")
    assert sum(bool(axis.images) for axis in figure.axes) == 10


def test_class_maps_lie_over_their_picture_with_the_line_where_they_are_high(shown):
    places = torch.arange(6.0)
    maps = torch.stack([-places[:, None] - places, torch.ones(6, 6)])  # the second is even
    pictures = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
    figures_inside.show_class_activation_maps(
        pictures, maps, ["a", "b"], "two maps", jump=2, columns=2
    )
    ((figure, _),) = shown
    first, second = figure.axes
    assert len(first.collections) == 1 and not second.collections
    highest = first.collections[0].get_paths()[-1].vertices
    # Six places, two pixels apart, around the middle: from 8.5 to 18.5.
    assert highest.min() == 8.5 and highest.mean(0).max() < 12, "not around the upper left"


def test_a_field_is_framed_where_it_is_not_zero(shown):
    fields = [measure_receptive_field(NETWORK, row.module) for row in ROWS]
    figures_inside.plot_measured_receptive_fields(ROWS, fields)
    ((figure, alt),) = shown
    (frame,) = figure.axes[0].patches
    assert frame.get_bbox().bounds == (12.5, 12.5, 3, 3)
    assert "computed: 3\nmeasured: 3" in figure.axes[0].get_title()
    assert "convblock1.0 3, convblock1.1 3" in alt


def test_the_reliability_diagram_has_accuracy_interval_and_confidence(shown):
    figures_inside.plot_reliability(BINS)
    ((figure, alt),) = shown
    (axis,) = figure.axes
    right, sure = (line.get_ydata() for line in (axis.lines[0], axis.lines[-1]))
    assert list(right) == [60, 81] and list(sure) == [62.5, 80]
    assert "of 10 digits of which it is 62.5% sure 60.0% are right" in alt


def test_each_digit_is_named_where_its_middle_is(shown):
    labels = torch.tensor([0, 0, 0, 7])
    points = torch.tensor([[0.0, 0.0], [1.0, 1.0], [9.0, 2.0], [5.0, 5.0]])
    figures_inside.plot_embedding(points, labels, "a cloud")
    ((figure, _),) = shown
    names = {text.get_text(): text.xy for text in figure.axes[0].texts}
    assert names == {"0": (1.0, 1.0), "7": (5.0, 5.0)}

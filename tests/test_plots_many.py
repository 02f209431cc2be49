"""Pictures of many runs: what is drawn is what was given, and the text says so."""

import matplotlib
import pytest

from mnist_lab import plots as figures_many

matplotlib.use("Agg")
import matplotlib.pyplot as plt

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def drawn(monkeypatch):
    """The figures and their texts, before they are shown."""
    shown = []
    monkeypatch.setattr(figures_many, "show", lambda figure, alt: shown.append((figure, alt)))
    yield shown
    plt.close("all")


def lines_of(axis):
    return [[list(map(float, column)) for column in line.get_data()] for line in axis.lines]


def test_every_run_is_a_dot_its_mean_a_bar_and_the_claim_a_cross(drawn):
    results = {"last": [0.99, 0.995], "best": [0.996]}
    figures_many.plot_dots(results, "accuracy", {"best": 0.9939})
    ((figure, alt),) = drawn
    last, best = lines_of(figure.axes[0])[:2], lines_of(figure.axes[0])[2:]
    assert [line[0] for line in last] == [[99.0, 99.5], [99.25]]
    assert [line[0] for line in best] == [[99.6], [99.6], [pytest.approx(99.39)]]
    assert [line[1] for line in best] == [[1], [1], [1]], "a row of its own"
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["last", "best"]
    assert alt == ("accuracy of each run: last 99.00% to 99.50%; "
                   "best 99.60% to 99.60%, published 99.39%.")  # fmt: skip


def test_intervals_reach_from_end_to_end(drawn):
    figures_many.plot_intervals({"a": (0.01, -0.01, 0.02)}, "difference", bound=-0.001)
    ((figure, alt),) = drawn
    axis = figure.axes[0]
    (bar,) = [segment for collection in axis.collections for segment in collection.get_segments()]
    assert bar[:, 0].tolist() == pytest.approx([-1, 2]) and bar[:, 1].tolist() == [0, 0]
    bound = next(line for line in axis.lines if line.get_linestyle() == "--")
    assert list(bound.get_xdata()) == [-0.1, -0.1]
    assert axis.get_xlabel() == "difference, points (bars: 95 % interval)"
    assert alt == "difference, points: a 1.00 [-1.00, 2.00]. A line at -0.10."
    figures_many.plot_intervals({"a": (0.99, 0.98, 1.0)}, "accuracy", unit="%")
    figure, alt = drawn[1]
    assert not any(line.get_linestyle() == "--" for line in figure.axes[0].lines)
    assert alt == "accuracy, %: a 99.00 [98.00, 100.00]."


def test_trajectories_show_each_run_the_mean_and_the_claims(drawn):
    figures_many.plot_trajectories([[0.9, 0.98], [0.92, 1.0]], {2: 0.97}, "accuracy")
    ((figure, alt),) = drawn
    lines = lines_of(figure.axes[0])
    assert lines == [
        [[1, 2], pytest.approx([90, 98])],
        [[1, 2], pytest.approx([92, 100])],
        [[1, 2], pytest.approx([91, 99])],
        [[2], [97]],
    ]
    assert alt == ("accuracy of 2 runs over 2 epochs: the mean rises from 91.00 to 99.00 %. "
                   "Published: epoch 2 97.00%.")  # fmt: skip


def test_a_grid_writes_each_value_in_its_field(drawn):
    tables = {"rate 1": [[0.91, 0.92, 0.93], [0.94, 0.95, 0.96]], "rate 2": [[0.5, 0.6, 0.7]] * 2}
    figures_many.plot_grid(tables, [0.1, 0.5], [2, 3, 4], "gamma", "step", "accuracy")
    ((figure, alt),) = drawn
    first = figure.axes[0]
    fields = {tuple(map(int, text.get_position())): text.get_text() for text in first.texts}
    assert fields == {(0, 0): "91.0", (1, 0): "92.0", (2, 0): "93.0",
                      (0, 1): "94.0", (1, 1): "95.0", (2, 1): "96.0"}  # fmt: skip
    assert [axis.get_title() for axis in figure.axes] == ["rate 1", "rate 2"]
    assert [label.get_text() for label in first.get_yticklabels()] == ["0.1", "0.5"]
    assert (first.get_xlabel(), first.get_ylabel()) == ("step", "gamma")
    assert alt == "accuracy, %, over gamma and step: from 50.0 to 96.0."


def test_curves_have_a_panel_for_each_name_and_a_band_for_each_curve(drawn):
    rising = [(0.5, 0.4, 0.6), (0.75, 0.7, 0.8)]
    panels = {title: {"A": rising, "B": rising[::-1]} for title in "vwxyz"}
    figures_many.plot_curves(panels, "strength", "accuracy")
    ((figure, alt),) = drawn
    shown = [axis for axis in figure.axes if axis.axison]
    assert [axis.get_title() for axis in shown] == list("vwxyz")
    assert lines_of(shown[4]) == [[[0, 1], [50, 75]], [[0, 1], [75, 50]]]
    edges = shown[4].collections[0].get_paths()[0].vertices[:, 1]
    assert (edges.min(), edges.max()) == pytest.approx((40, 80))
    assert alt.startswith("accuracy at the last of strength: v: A 75%, B 50%; w: ")

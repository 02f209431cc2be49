"""Every picture is drawn, described, shown and closed; what is drawn is what was given."""

import base64
import html
import re

import matplotlib
import numpy as np
import pytest
import torch

from mnist_lab import plots
from mnist_lab.data import Split
from mnist_lab.evaluation import Bin, Evaluation
from mnist_lab.interpret import measure_receptive_field
from mnist_lab.layers import list_layers
from mnist_lab.networks import GapNet
from mnist_lab.recipes import GAP_RECIPE
from mnist_lab.training import History

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from IPython import display

pytestmark = pytest.mark.filterwarnings("error")

PICTURE = r'<img alt="([^"<>]*)" src="data:image/png;base64,([^"]*)">'
LABELS = [3, 1, 4, 1, 5]
SPLIT = Split(torch.rand(5, 1, 28, 28).mul(255).byte(), torch.tensor(LABELS))
BINS = [Bin(0.5, 0.7, 10, 0.625, 0.6, 0.3, 0.8), Bin(0.7, 0.9, 1000, 0.8, 0.81, 0.78, 0.83)]
NETWORK = GapNet()
LAYERS = list_layers(NETWORK)


@pytest.fixture(autouse=True)
def no_figure_of_other_tests():
    """What notebooks' cells drew in this process before."""
    plt.close("all")


def answers(*guesses):
    probabilities = torch.full((5, 10), 0.02)
    for row, guess in zip(probabilities, guesses):
        row[guess] = 0.82
    correct = sum(guess == label for guess, label in zip(guesses, LABELS))
    return Evaluation(probabilities, SPLIT.labels, correct, 0.1, 0.9)


def history(train=(0.7, 0.85, 0.9), validation=(0.7, 0.85, 0.9)):
    losses = [1 / (epoch + 1) for epoch in range(len(train))]
    rates = [0.01 * batch for batch in range(2 * len(train))]
    return History("GapNet", "small digits", GAP_RECIPE, "cpu", "fp32", 1, losses, list(train),
                   losses, list(validation), losses, losses, losses * 2, rates)  # fmt: skip


DRAWINGS = {
    "images": lambda: plots.show_images(torch.rand(3, 1, 28, 28), list("abc"), "alt", columns=2),
    "digits": lambda: plots.show_digits(SPLIT, 3),
    "bars": lambda: plots.plot_bars(["a", "b"], {"label": [1.0, 2.0]}, 'a "3" < 5 & more'),
    "layers": lambda: plots.plot_layers(LAYERS),
    "receptive fields": lambda: plots.plot_receptive_fields(LAYERS[:5], SPLIT.images[0]),
    "history": lambda: plots.plot_history(history()),
    "confusion": lambda: plots.plot_confusion(answers(3, 7, 4, 7, 6)),
    "no confusion": lambda: plots.plot_confusion(answers(*LABELS)),
    "mistakes": lambda: plots.show_mistakes(answers(3, 7, 4, 7, 6), SPLIT),
    "batches": lambda: plots.plot_batches({"a": [2.0, 1.0], "b": [2.0, 1.5]}),
    "shares": lambda: plots.plot_shares({"a": 0.001}, "one step"),
    "dots": lambda: plots.plot_dots({"a": [0.9, 0.92], "b": [0.95]}, "accuracy"),
    "intervals": lambda: plots.plot_intervals({"a": (0.9, 0.8, 0.95)}, "accuracy"),
    "reliability": lambda: plots.plot_reliability({"a": BINS}),
    "trajectories": lambda: plots.plot_trajectories([[0.9, 0.98]], {2: 0.97}, "accuracy"),
    "embedding": lambda: plots.plot_embedding(torch.rand(5, 2), SPLIT.labels, "a cloud"),
}
EVERY = pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)


@pytest.fixture
def notebook(monkeypatch):
    """As if in a notebook; returns what was displayed."""
    shown = []
    monkeypatch.setattr("IPython.get_ipython", lambda: object())
    monkeypatch.setattr(display, "display", lambda data, **options: shown.append((data, options)))
    return shown


@pytest.fixture
def drawn(monkeypatch):
    """The figures and their texts, as they are shown."""
    shown = []
    monkeypatch.setattr(plots, "show", lambda figure, alt: shown.append((figure, alt)))
    return shown


def lines_of(axis):
    return [[[float(value) for value in column] for column in line.get_data()]
            for line in axis.lines]  # fmt: skip


def texts_of(texts):
    return [text.get_text() for text in texts]


# Showing


@EVERY
def test_a_notebook_stores_a_readable_picture_with_its_text(notebook, monkeypatch, draw):
    """Seven inches are shown 600 pixels wide: text of 8 points is then 9.5 pixels high."""
    before, close, closed = dict(plt.rcParams), plt.close, []
    monkeypatch.setattr(plt, "close", lambda figure: (closed.append(figure), close(figure)))
    draw()
    ((data, options),) = notebook
    assert set(data) == {"text/html", "text/plain"} and options == {"raw": True}
    alt, png = re.fullmatch(PICTURE, data["text/html"]).groups()
    assert base64.b64decode(png).startswith(b"\x89PNG")
    assert html.unescape(alt) == data["text/plain"] != ""
    assert plt.get_fignums() == [], "a figure was left open"
    texts = [text for text in closed[0].findobj(matplotlib.text.Text) if text.get_text()]
    assert closed[0].get_size_inches()[0] == 7 and min(t.get_fontsize() for t in texts) >= 8
    assert dict(plt.rcParams) == before, "the caller's own pictures have the caller's style"


def test_outside_of_a_notebook_nothing_is_left_open_or_complained_about(monkeypatch):
    monkeypatch.setattr("IPython.get_ipython", lambda: None)
    monkeypatch.setenv("DISPLAY", ":0")  # matplotlib keeps quiet about Agg on a headless Linux
    DRAWINGS["bars"]()
    assert plt.get_fignums() == []
    with pytest.raises(ValueError):
        plots.plot_intervals({"a": (0.9, 0.95, 1.0)}, "an interval that does not hold its mean")
    assert plt.get_fignums() == []


# Pictures


def test_digits_and_mistakes_are_shown_with_their_images(drawn, capsys):
    plots.show_digits(SPLIT, 3)
    plots.show_mistakes(answers(3, 7, 4, 1, 6), SPLIT, count=2)
    wrong = ["1 read as 7\n(82% sure)", "5 read as 6\n(82% sure)"]
    for (figure, _), titles, indices in zip(drawn, (["3", "1", "4"], wrong), ((0, 1, 2), (1, 4))):
        titled = [axis for axis in figure.axes if axis.get_title()]
        assert [axis.get_title() for axis in titled] == titles
        for axis, index in zip(titled, indices):
            assert (axis.images[0].get_array() == SPLIT.images[index, 0].numpy()).all()
    assert [alt for _, alt in drawn] == [
        "Handwritten digits: 3, 1, 4.",
        "The surest mistakes: 1 read as 7 (82% sure), 5 read as 6 (82% sure)",
    ]
    plots.show_mistakes(answers(*LABELS), SPLIT)
    assert len(drawn) == 2 and capsys.readouterr().out == "There are no mistakes to show.\n"


def test_filters_fill_rows_and_each_has_a_scale_of_its_own(drawn):
    filters = torch.rand(10, 3, 3) * torch.arange(1, 11)[:, None, None]
    plots.show_images(filters.requires_grad_(), list("abcdefghij"), "ten filters", columns=8)
    ((figure, alt),) = drawn
    assert alt == "ten filters" and len(figure.axes) == 16
    assert [axis.get_title() for axis in figure.axes[:10]] == list("abcdefghij")
    pictures = [axis.images[0] for axis in figure.axes if axis.images]
    highest = filters.detach().amax((1, 2)).tolist()
    assert [picture.get_clim()[1] for picture in pictures] == highest


def test_maps_lie_over_their_picture_with_the_line_where_they_are_high(drawn):
    places = torch.arange(6.0)
    maps = torch.stack([-places[:, None] - places, torch.ones(6, 6)])  # the second is even
    pictures = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
    plots.show_images(pictures, ["a", "b"], "two maps", columns=2, maps=maps, jump=2)
    first, second = drawn[0][0].axes
    assert len(first.collections) == 1 and not second.collections
    highest = first.collections[0].get_paths()[-1].vertices
    # Six places, two pixels apart, around the middle: from 8.5 to 18.5.
    assert highest.min() == 8.5 and highest.mean(0).max() < 12, "not around the upper left"


def test_frames_stand_a_pixel_off_the_field_of_the_same_value(drawn):
    rows = [LAYERS[index] for index in (0, 4, 27)]
    fields = [measure_receptive_field(NETWORK, row.module) for row in rows[:2]]
    plots.plot_receptive_fields(rows, SPLIT.images[0])
    plots.plot_receptive_fields(rows[:2], fields=fields)
    (computed, alt), (measured, said) = drawn
    frames = [[axis.patches[-1].get_bbox().bounds for axis in figure.axes]
              for figure in (computed, measured)]  # fmt: skip
    assert frames[0] == [(11.5, 11.5, 5, 5), (10.5, 10.5, 7, 7), (-1.5, -1.5, 30, 30)]
    assert frames[1] == frames[0][:2]
    assert "computed: 32" in computed.axes[2].get_title()
    assert "measured: 3" in measured.axes[0].get_title() and "convblock2.0 5" in said
    assert "convblock1.0 3, convblock2.0 5, convblock8 32" in alt


# A row for each name


def rows_of(axis):
    assert axis.yaxis_inverted(), "the first name belongs on top"
    return texts_of(axis.get_yticklabels())


def test_bars_are_as_long_as_their_values_and_the_limit_is_a_line(drawn):
    plots.plot_bars(["a", "b"], {"label": [1_500, 20]}, "alt")
    plots.plot_bars(["c", "a"], {"seconds": [60.0, 12.34]}, "alt", "{:.1f} s".format, 7.6)
    axis, limited = (figure.axes[0] for figure, _ in drawn)
    assert [bar.get_width() for bar in axis.patches] == [1_500, 20]
    assert texts_of(axis.texts) == ["1,500", "20"] and not axis.lines
    assert (rows_of(axis), axis.get_xlabel()) == (["a", "b"], "label")
    assert rows_of(limited) == ["c", "a"] and texts_of(limited.texts) == ["60.0 s", "12.3 s"]
    assert set(limited.lines[0].get_xdata()) == {7.6}
    assert texts_of(limited.get_legend().get_texts()) == ["limit: 7.6 s"]


def test_shares_are_bars_of_milliseconds_the_longest_first(drawn):
    plots.plot_shares({"data": 0.002, "backward": 0.005, "forward": 0.003}, "one batch")
    ((figure, alt),) = drawn
    axis = figure.axes[0]
    assert [bar.get_width() for bar in axis.patches] == pytest.approx([5, 3, 2])
    assert texts_of(axis.texts) == ["50%", "30%", "20%"]
    assert rows_of(axis) == ["backward", "forward", "data"]
    assert axis.get_xlabel() == "milliseconds of one batch"
    assert alt == "Shares of the time of one batch: backward 50%, forward 30%, data 20%."


def test_layers_show_parameters_and_work(drawn):
    rows = [row for row in LAYERS if row.parameters or row.macs]
    plots.plot_layers(LAYERS)
    ((figure, alt),) = drawn
    left, right = ([bar.get_width() for bar in axis.patches] for axis in figure.axes)
    assert left == [row.parameters for row in rows] and right == [row.macs / 1e3 for row in rows]
    assert rows_of(figure.axes[0])[0] == "Conv2d  16×26×26"
    assert "Conv2d convblock2.0 4,608 and 2,654,208" in alt


def test_every_run_is_a_dot_its_mean_a_bar_and_the_claim_a_cross(drawn):
    results = {"last": [0.99, 0.995], "best": [0.996]}
    plots.plot_dots(results, "accuracy", {"best": 0.9939, "of another": 0.5})
    plots.plot_dots(results, "accuracy")
    ((figure, alt), (plain, _)) = drawn
    last, best = lines_of(figure.axes[0])[:2], lines_of(figure.axes[0])[2:]
    assert last == [[pytest.approx([99, 99.5]), [0, 0]], [pytest.approx([99.25]), [0]]]
    assert best == [[pytest.approx([99.6]), [1]]] * 2 + [[pytest.approx([99.39]), [1]]]
    assert rows_of(figure.axes[0]) == ["last", "best"]
    assert figure.axes[0].get_xlabel() == "accuracy, % (dots: runs, bar: mean, cross: published)"
    assert plain.axes[0].get_xlabel() == "accuracy, % (dots: runs, bar: mean)"
    assert len(plain.axes[0].lines) == 4
    assert alt == ("accuracy of each run: last 99.00% to 99.50%; "
                   "best 99.60% to 99.60%, published 99.39%.")  # fmt: skip


def test_intervals_reach_from_end_to_end(drawn):
    plots.plot_intervals({"a": (0.01, -0.01, 0.02)}, "difference", bound=-0.001)
    plots.plot_intervals({"a": (0.99, 0.98, 1.0)}, "accuracy", unit="%")
    (figure, alt), (plain, said) = drawn
    axis = figure.axes[0]
    (bar,) = [segment for collection in axis.collections for segment in collection.get_segments()]
    assert bar[:, 0].tolist() == pytest.approx([-1, 2]) and bar[:, 1].tolist() == [0, 0]
    bound = next(line for line in axis.lines if line.get_linestyle() == "--")
    assert list(bound.get_xdata()) == [-0.1, -0.1]
    assert axis.get_xlabel() == "difference, points (bars: 95 % interval)"
    assert alt == "difference, points: a 1.00 [-1.00, 2.00]. A line at -0.10."
    assert not any(line.get_linestyle() == "--" for line in plain.axes[0].lines)
    assert said == "accuracy, %: a 99.00 [98.00, 100.00]."


def test_the_reliability_has_errors_interval_and_what_is_said(drawn):
    none = Bin(0.9, 1.0, 10, 0.95, 1.0, 0.7, 1.0)
    plots.plot_reliability({"one": BINS, "other": [none]})
    ((figure, alt),) = drawn
    one, other = figure.axes
    lines = [(line.get_marker(), list(line.get_xdata())) for line in one.lines]
    found = {kind: [x for marker, x in lines if marker == kind] for kind in "|ox"}
    assert np.array(found["|"]) == pytest.approx(np.array([[20, 70], [17, 22]]))
    assert np.array(found["o"]) == pytest.approx(np.array([[40], [19]]))
    assert np.array(found["x"]) == pytest.approx(np.array([[37.5], [20]]))
    assert rows_of(one) == ["up to 70 % sure", "up to 90 % sure", "up to 100 % sure"]
    assert one.get_xscale() == "log" and texts_of(one.texts) == ["10", "1,000"]
    assert not any(line.get_marker() == "o" for line in other.lines), "no error, no dot"
    assert other.lines[0].get_xdata()[0] == one.get_xlim()[0], "its interval begins beyond the axis"
    assert "one, up to 70 % sure, 10 digits: 40 [20, 70], cross 38" in alt


# Runs


def test_a_history_is_drawn_over_its_epochs(drawn):
    plots.plot_history(history())
    ((figure, alt),) = drawn
    loss, accuracy, rate = figure.axes
    for axis in (loss, accuracy):
        assert [line[0] for line in lines_of(axis)] == [[1, 2, 3]] * 2
    assert [line[1] for line in lines_of(accuracy)] == [pytest.approx([70, 85, 90])] * 2
    assert [line[1] for line in lines_of(loss)] == [pytest.approx([1, 1 / 2, 1 / 3])] * 2
    assert rate.lines[0].get_xdata()[[0, -1]].tolist() == [0.5, 3]
    assert list(rate.lines[0].get_ydata()) == history().batch_lr
    assert texts_of(figure.legends[0].get_texts()) == ["training (augmented)", "validation"]
    assert "3 epochs on small digits" in alt and "the loss goes from 1.0000 to 0.3333" in alt
    assert "the accuracy from 70.00% to 90.00%" in alt
    assert {axis.get_xlim() for axis in figure.axes} == {(0, 3.5)}


@pytest.mark.parametrize(
    ("train", "validation", "cut"),
    [
        ((0.1, 0.1, 0.1), (0.1, 0.1, 0.1), ""),
        ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0), ""),
        ((0.52,), (0.81,), ""),
        ((0.97, 0.98, 0.99), (0.4, 0.5, 0.6), ""),
        ((0.2, 0.3, 0.4), (0.97, 0.98, 0.99), "not shown: down to 20 %"),
    ],
)
def test_the_accuracies_are_always_in_their_panel(drawn, train, validation, cut):
    """All of the validation, half of the training or more; what is cut off is said."""
    plots.plot_history(history(train, validation))
    axis = drawn[0][0].axes[1]
    low, high = axis.get_ylim()
    inside = [[low < y < high for y in line[1]] for line in lines_of(axis)]
    assert all(inside[1]) and sum(inside[0]) >= len(train) / 2
    assert axis.get_title() == cut and bool(cut) != all(inside[0])
    assert all(line.get_marker() not in ("", "None") for line in axis.lines), "one epoch is a point"
    assert len(axis.get_yticks()) and max(axis.get_yticks()) <= 100
    shown = [tick for tick in axis.get_xticks() if 0 < tick <= len(train) + 0.5]
    assert shown and all(tick == int(tick) for tick in shown)


def test_every_run_of_batches_is_drawn_and_nothing_is_a_line_in_the_middle(drawn):
    plots.plot_batches({f"run {index}": [2, 0.5 + index / 100, 0.6] for index in range(4)})
    plots.plot_batches({"by hand, less fit": [0.0, -0.5]}, "difference of the loss")
    plots.plot_batches({"by hand, less fit": [0.0, 0.0]}, "difference of the loss")
    (axis,), (below,), (none,) = (figure.axes for figure, _ in drawn)
    assert lines_of(axis) == [[[1, 2, 3], [2, 0.5 + i / 100, 0.6]] for i in range(4)]
    assert len({line.get_linestyle() for line in axis.lines}) == 3
    assert axis.get_ylim()[0] == 0 and axis.get_ylim()[1] > 2
    assert all(f"run {index} from 2 to 0.6, at most 2" in drawn[0][1] for index in range(4))
    assert below.get_ylim()[0] < -0.5 and none.get_ylim() == (-1e-6, 1e-6)
    assert none.get_ylabel() == "difference of the loss"


def test_trajectories_show_each_run_the_mean_and_the_claims(drawn):
    plots.plot_trajectories([[0.9, 0.98], [0.92, 1.0]], {2: 0.97}, "accuracy")
    ((figure, alt),) = drawn
    assert lines_of(figure.axes[0]) == [
        [[1, 2], pytest.approx([90, 98])],
        [[1, 2], pytest.approx([92, 100])],
        [[1, 2], pytest.approx([91, 99])],
        [[2], [97]],
    ]
    entries = texts_of(figure.axes[0].get_legend().get_texts())
    assert entries == ["each run", "mean", "published"]
    assert alt == ("accuracy of 2 runs over 2 epochs: the mean rises from 91.00 to 99.00 %. "
                   "Published: epoch 2 97.00%.")  # fmt: skip


# Answers


def test_the_confusion_is_written_into_its_cells(drawn):
    plots.plot_confusion(answers(3, 7, 4, 7, 6))
    plots.plot_confusion(answers(*LABELS))
    (figure, alt), (_, perfect) = drawn
    texts = {text.get_position(): text.get_text() for text in figure.axes[0].texts}
    assert texts == {(3, 3): "1", (4, 4): "1", (7, 1): "2", (6, 5): "1"}
    assert "5 digits with 3 mistakes; the most frequent: 1 read as 7, 2 times" in alt
    assert all(tick == int(tick) for tick in figure.axes[1].get_yticks())
    assert "with 0 mistakes." in perfect


def test_each_digit_is_drawn_as_its_numeral_and_no_class_hides_the_others(drawn):
    points = torch.tensor([[0.0, 0.0], [1.0, 1.0], [9.0, 2.0], [5.0, 5.0]])
    plots.plot_embedding(points, torch.tensor([0, 0, 0, 7]), "a cloud", count=2)
    ((figure, _),) = drawn
    clouds = [cloud.get_offsets().tolist() for cloud in figure.axes[0].collections]
    assert clouds == [[[0, 0], [1, 1]], [[5, 5]]]

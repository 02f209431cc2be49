"""Every picture is drawn, described and closed."""

import base64
import html
import re

import matplotlib
import pytest
import torch

from mnist_lab import plots as figures
from mnist_lab.data import Split
from mnist_lab.evaluation import Evaluation
from mnist_lab.layers import list_layers
from mnist_lab.networks import BottleneckNet, GapNet
from mnist_lab.recipes import GAP_RECIPE
from mnist_lab.statistics import wilson_interval
from mnist_lab.training import History

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from IPython import display

pytestmark = pytest.mark.filterwarnings("error")

PICTURE = r'<img alt="([^"<>]*)" src="data:image/png;base64,([^"]*)">'
LABELS = [3, 1, 4, 1, 5]
SPLIT = Split(torch.rand(5, 1, 28, 28).mul(255).byte(), torch.tensor(LABELS))


def answers(*guesses):
    probabilities = torch.full((5, 10), 0.02)
    for row, guess in zip(probabilities, guesses):
        row[guess] = 0.82
    correct = sum(guess == label for guess, label in zip(guesses, LABELS))
    return Evaluation(probabilities, SPLIT.labels, correct, 0.1, 0.9)


def history(epochs=3):
    falling = [1 / (epoch + 1) for epoch in range(epochs)]
    rising = [1 - 0.3 * loss for loss in falling]
    rates = [0.01 * batch for batch in range(2 * epochs)]
    return History("GapNet", "small digits", GAP_RECIPE, "cpu", "fp32", 1, falling, rising, falling,
                   rising, falling, falling, falling * 2, rates)  # fmt: skip


PICTURES = {
    "images": lambda: figures.show_images(torch.rand(12, 1, 28, 28), list("abcdefghijkl"), "alt"),
    "one image": lambda: figures.show_images(torch.rand(1, 1, 28, 28), ["a"], "alt", columns=1),
    "digits": lambda: figures.show_digits(SPLIT, 3),
    "bars": lambda: figures.plot_bars(["a", "b"], [1.0, 2.0], "label", "alt"),
    "layers": lambda: figures.plot_layers(list_layers(GapNet())),
    "receptive field": lambda: figures.plot_receptive_field(
        SPLIT.images[0], list_layers(BottleneckNet())[:5]
    ),
    "one field": lambda: figures.plot_receptive_field(SPLIT.images[0], list_layers(GapNet())[:1]),
    "history": lambda: figures.plot_history(history()),
    "one epoch": lambda: figures.plot_history(history(1)),
    "confusion": lambda: figures.plot_confusion(answers(3, 7, 4, 7, 6)),
    "no confusion": lambda: figures.plot_confusion(answers(*LABELS)),
    "mistakes": lambda: figures.show_mistakes(answers(3, 7, 4, 7, 6), SPLIT),
    "steps": lambda: figures.plot_steps(["a", "b"], [0.9, 1.0], 300),
    "batches": lambda: figures.plot_batches({"a": [2.0, 1.0], "b": [2.0, 1.5]}),
    "difference": lambda: figures.plot_difference("loss", [2.0, 1.0], [2.0, 1.5]),
    "seeds": lambda: figures.plot_seeds({"a": [0.9, 0.92], "b": [0.95]}, 300),
    "shares": lambda: figures.plot_shares({"a": 0.001, "b": 0.003}, "one step"),
    "one share": lambda: figures.plot_shares({"a": 0.001}, "one step"),
    "ladder": lambda: figures.plot_ladder({"a": 100.0, "b": 20.0}, 5.0),
    "one rung": lambda: figures.plot_ladder({"a": 100.0}, 5.0),
}
EVERY = pytest.mark.parametrize("draw", PICTURES.values(), ids=PICTURES)


@pytest.fixture(autouse=True)
def nothing_open():
    yield
    plt.close("all")


@pytest.fixture
def notebook(monkeypatch):
    """As if in a notebook; returns what was displayed."""
    shown = []
    monkeypatch.setattr("IPython.get_ipython", lambda: object())
    monkeypatch.setattr(display, "display", lambda data, **options: shown.append((data, options)))
    return shown


@pytest.fixture
def drawn(monkeypatch):
    """The figures and their texts, before they are shown."""
    shown = []
    monkeypatch.setattr(figures, "show", lambda figure, alt: shown.append((figure, alt)))
    return shown


@EVERY
def test_a_notebook_stores_the_picture_with_its_text(notebook, draw):
    draw()
    ((data, options),) = notebook
    assert set(data) == {"text/html", "text/plain"} and options == {"raw": True}
    alt, png = re.fullmatch(PICTURE, data["text/html"]).groups()
    assert base64.b64decode(png).startswith(b"\x89PNG")
    assert html.unescape(alt) == data["text/plain"] != ""
    assert plt.get_fignums() == [], "a figure was left open"


@EVERY
def test_outside_of_a_notebook_nothing_is_left_open_or_complained_about(monkeypatch, draw):
    monkeypatch.setattr("IPython.get_ipython", lambda: None)
    monkeypatch.setenv("DISPLAY", ":0")  # matplotlib keeps quiet about Agg on a headless Linux
    draw()
    assert plt.get_fignums() == []


def test_without_mistakes_there_is_a_sentence_instead_of_a_picture(notebook, capsys):
    figures.show_mistakes(answers(*LABELS), SPLIT)
    assert notebook == []
    assert capsys.readouterr().out == "There are no mistakes to show.\n"


def test_a_text_with_quotes_and_brackets_is_still_one_text(notebook):
    alt = 'a "3" < 5 & more'
    figures.show(plt.figure(), alt)
    ((data, _),) = notebook
    assert html.unescape(re.fullmatch(PICTURE, data["text/html"])[1]) == alt


def test_what_the_accuracy_axis_cuts_off_is_said(drawn):
    low = history()
    low.train_accuracy[0] = 0.31
    figures.plot_history(low)
    axis = drawn[0][0].axes[1]
    assert axis.get_ylim()[0] >= 60 and [text.get_text() for text in axis.texts] == [
        "not shown: down to 31 %"
    ]
    fine = history()
    fine.train_accuracy[:] = fine.validation_accuracy[:] = [0.95, 0.97, 0.98]
    figures.plot_history(fine)
    assert not drawn[1][0].axes[1].texts


def test_the_bar_of_the_confusion_counts_in_whole_mistakes(drawn):
    figures.plot_confusion(answers(3, 7, 4, 7, 6))
    figure = drawn[0][0]
    figure.canvas.draw()
    assert all(tick == int(tick) for tick in figure.axes[1].get_yticks())


def test_a_difference_is_drawn_batch_by_batch(drawn):
    figures.plot_difference("difference of the loss", [2.0, 1.0], [2.0, 1.5])
    figures.plot_difference("difference of the loss", [2.0, 1.0], [2.0, 1.0])
    (figure, alt), (none, said) = drawn
    assert list(figure.axes[0].lines[0].get_ydata()) == [0, -0.5]
    assert "2 batches: at most 0.5 from zero" in alt and "at most 0 from zero" in said
    assert none.axes[0].get_ylim() == (-1e-6, 1e-6)


def test_the_digits_stand_under_their_labels(drawn):
    figures.show_digits(SPLIT, 3)
    ((figure, alt),) = drawn
    assert alt == "Handwritten digits: 3, 1, 4."
    titled = [axis for axis in figure.axes if axis.get_title()]
    assert [axis.get_title() for axis in titled] == ["3", "1", "4"]
    for axis, image in zip(titled, SPLIT.images):
        assert (axis.images[0].get_array() == image[0].numpy()).all()


def test_the_mistakes_are_shown_with_their_images(drawn):
    figures.show_mistakes(answers(3, 7, 4, 1, 6), SPLIT, count=2)
    ((figure, alt),) = drawn
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert titles == ["1 read as 7\n(82% sure)", "5 read as 6\n(82% sure)"]
    for axis, index in zip(figure.axes, (1, 4)):
        assert (axis.images[0].get_array() == SPLIT.images[index, 0].numpy()).all()
    assert alt == "The surest mistakes: 1 read as 7 (82% sure), 5 read as 6 (82% sure)"


def test_bars_are_as_long_as_their_values(drawn):
    figures.plot_bars(["a", "b"], [1_500, 20], "label", "alt")
    axis = drawn[0][0].axes[0]
    assert [bar.get_width() for bar in axis.patches] == [1_500, 20]
    assert [text.get_text() for text in axis.texts] == ["1,500", "20"]
    assert axis.yaxis_inverted(), "the first name belongs on top"


def test_layers_show_parameters_and_work(drawn):
    rows = [row for row in list_layers(GapNet()) if row.parameters]
    figures.plot_layers(list_layers(GapNet()))
    ((figure, alt),) = drawn
    left, right = ([bar.get_width() for bar in axis.patches] for axis in figure.axes)
    assert left == [row.parameters for row in rows]
    assert right == [row.macs / 1e3 for row in rows]
    assert "Most parameters: Conv2d with output (32, 24, 24)" in alt


def test_the_frames_are_as_wide_as_the_field_but_stay_on_the_image(drawn):
    rows = [list_layers(GapNet())[index] for index in (0, 4, 27)]  # they see 3, 5 and 32 pixels
    figures.plot_receptive_field(SPLIT.images[0], rows)
    ((figure, alt),) = drawn
    frames = [axis.patches[0] for axis in figure.axes]
    assert [frame.get_width() for frame in frames] == [3, 5, 28]
    assert all(frame.get_x() + frame.get_width() / 2 == 13.5 for frame in frames)
    assert "3, 5, 32 pixels" in alt


def test_a_history_is_drawn_over_its_epochs(drawn):
    figures.plot_history(history())
    ((figure, alt),) = drawn
    loss, accuracy, rate = figure.axes
    for axis in (loss, accuracy):
        assert [list(line.get_xdata()) for line in axis.lines] == [[1, 2, 3]] * 2
    assert list(accuracy.lines[1].get_ydata()) == pytest.approx([70, 85, 90])
    assert rate.lines[0].get_xdata()[-1] == 3
    assert list(rate.lines[0].get_ydata()) == history().batch_lr
    assert "ends at 0.3333, the accuracy at 90.00%" in alt


def test_the_confusion_is_written_into_its_cells(drawn):
    figures.plot_confusion(answers(3, 7, 4, 7, 6))
    ((figure, alt),) = drawn
    texts = {text.get_position(): text.get_text() for text in figure.axes[0].texts}
    assert texts == {(3, 3): "1", (4, 4): "1", (7, 1): "2", (6, 5): "1"}
    assert "5 digits with 3 mistakes; the most frequent: 1 read as 7, 2 times" in alt


def test_a_perfect_confusion_names_no_mistake(drawn):
    figures.plot_confusion(answers(*LABELS))
    assert "read as" not in drawn[0][1]


def test_steps_have_their_interval(drawn):
    figures.plot_steps(["a", "b"], [0.9, 1.0], 100)
    bars = drawn[0][0].axes[0].collections[0].get_segments()
    for bar, correct in zip(bars, (90, 100)):
        assert bar[:, 0] / 100 == pytest.approx(wilson_interval(correct, 100))


@pytest.mark.parametrize("count", [1, 3, 6])
@pytest.mark.parametrize(
    ("draw", "lines_per_run"),
    [
        (lambda runs: figures.plot_batches(runs), 1),
        (lambda runs: figures.plot_seeds(runs, 300), 2),
    ],
    ids=["batches", "seeds"],
)
def test_every_run_is_drawn(drawn, draw, lines_per_run, count):
    draw({f"run {index}": [0.5 + index / 100, 0.6] for index in range(count)})
    ((figure, alt),) = drawn
    lines = figure.axes[0].lines
    assert len(lines) == count * lines_per_run
    assert all(f"run {index}" in alt for index in range(count))


def test_shares_are_bars_of_milliseconds_the_longest_first(drawn):
    figures.plot_shares({"data": 0.002, "backward": 0.005, "forward": 0.003}, "one batch")
    ((figure, alt),) = drawn
    axis = figure.axes[0]
    assert [bar.get_width() for bar in axis.patches] == pytest.approx([5, 3, 2])
    assert [text.get_text() for text in axis.texts] == ["50%", "30%", "20%"]
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert names == ["backward", "forward", "data"]
    assert axis.yaxis_inverted(), "the longest belongs on top"
    assert axis.get_xlabel() == "milliseconds of one batch"
    assert alt == "Shares of the time of one batch: backward 50%, forward 30%, data 20%."


def test_a_ladder_keeps_the_order_of_its_steps_and_shows_the_limit(drawn):
    figures.plot_ladder({"textbook": 60.0, "in memory": 90.4, "no dropout": 12.0}, 7.6)
    ((figure, alt),) = drawn
    axis = figure.axes[0]
    assert [bar.get_width() for bar in axis.patches] == [60.0, 90.4, 12.0]
    assert [text.get_text() for text in axis.texts] == ["60 s", "90 s", "12 s"]
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert names == ["textbook", "in memory", "no dropout"]
    assert axis.yaxis_inverted(), "the first step belongs on top"
    (limit,) = axis.lines
    assert set(limit.get_xdata()) == {7.6}
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["limit: 7.6 s"]
    steps = "textbook 60 s, in memory 90 s, no dropout 12 s"
    assert alt == f"Seconds per epoch after each step: {steps}; the limit is 7.6 s."

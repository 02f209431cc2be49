"""The writing pad, as the browser talks to it."""

import base64

import pytest
from pictures import SEVEN, THREE, encoded, photo
from PIL import Image

from mnist_lab.drawing.pad import DrawingPad
from mnist_lab.networks import BottleneckNet
from mnist_lab.recipes import NETWORKS


@pytest.fixture(scope="module")
def shared():
    return DrawingPad()


@pytest.fixture
def pad(shared):
    shared.strokes, shared.photo = [], ""
    ask(shared)
    return shared


def ask(pad, **message):
    """What the browser's side does: some traits and the count of questions, in one message."""
    pad.set_state(message | {"asked": pad.asked + 1})
    assert pad.answered == pad.asked


def best(pad):
    return {name: chances.index(max(chances)) for name, chances in pad.answers.items()}


def test_it_answers_what_is_written(pad):
    ask(pad, strokes=[[list(point) for point in stroke] for stroke in SEVEN])
    assert best(pad) == {"GapNet": 7, "BottleneckNet": 7} and pad.message == ""
    assert len(pad.seen) == 784 and max(pad.seen) > 200
    assert len(pad.where) == 6 and max(max(row) for row in pad.where) == 1
    assert pad.mapped == "GapNet"
    ask(pad, strokes=THREE)
    assert best(pad) == {"GapNet": 3, "BottleneckNet": 3}


def test_an_empty_pad_says_nothing_and_shows_nothing(pad):
    ask(pad, strokes=SEVEN)
    ask(pad, strokes=[])
    assert (pad.answers, pad.seen, pad.where, pad.message) == ({}, [], [], "")


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"strokes": [[[0.5, None]]]}, "strokes must be"),
        ({"strokes": [[[0.5, 0.5]]]}, "too little ink"),
        ({"photo": "!"}, "no picture"),
        ({"photo": "A"}, "base64"),
        ({"photo": base64.b64encode(b"nonsense").decode()}, "no picture"),
        ({"photo": base64.b64encode(encoded(Image.new("L", (50, 50), 200), "PNG")).decode()},
         "there is nothing to read: the picture is empty."),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_sentence_and_it_goes_on(pad, message, said):
    ask(pad, strokes=SEVEN)
    ask(pad, **message)
    assert said in pad.message and (pad.answers, pad.seen, pad.where) == ({}, [], [])
    ask(pad, strokes=SEVEN, photo="")
    assert best(pad)["GapNet"] == 7 and pad.message == ""


def test_a_photo_takes_the_place_of_strokes(pad):
    ask(pad, strokes=THREE, photo=base64.b64encode(encoded(photo(), "PNG")).decode())
    assert best(pad) == {"GapNet": 7, "BottleneckNet": 7}
    ask(pad, strokes=THREE, photo="")
    assert best(pad)["GapNet"] == 3


def test_only_networks_that_come_trained_answer_and_not_all_have_maps(monkeypatch):
    # Without weights it is not on the pad; taking it away would change the order for all others.
    monkeypatch.setitem(NETWORKS, "gap", NETWORKS["gap"]._replace(weights=None))
    pad = DrawingPad()
    ask(pad, strokes=SEVEN)
    assert best(pad) == {BottleneckNet.__name__: 7} and len(pad.seen) == 784
    assert (pad.mapped, pad.where, pad.message) == ("", [], "")


def test_where_there_is_no_browser_it_reads_as_a_text(pad):
    assert repr(pad) == "The writing pad: run this cell, then write a digit on it."
    assert {pad._esm, pad._css} and "render" in str(pad._esm)

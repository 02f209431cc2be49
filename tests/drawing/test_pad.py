"""The writing pad, as the browser talks to it."""

import base64
import io

import pytest
from pictures import SEVEN, THREE, photo
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


@pytest.mark.parametrize("strokes", [[3], [[1, 2]], [[[0.5, None]]], [["ab", "cd"]]])
def test_nonsense_is_one_sentence_and_it_goes_on(pad, strokes):
    ask(pad, strokes=strokes)
    assert pad.message.startswith("strokes must be") and pad.answers == {}
    ask(pad, strokes=SEVEN)
    assert best(pad)["GapNet"] == 7 and pad.message == ""


def test_a_photo_takes_the_place_of_strokes(pad):
    file = io.BytesIO()
    photo().save(file, "PNG")
    ask(pad, strokes=THREE, photo=base64.b64encode(file.getvalue()).decode())
    assert best(pad) == {"GapNet": 7, "BottleneckNet": 7}
    ask(pad, strokes=THREE, photo="")
    assert best(pad)["GapNet"] == 3


@pytest.mark.parametrize("text", ["!", "AAAA", base64.b64encode(b"nonsense").decode()])
def test_a_photo_that_is_none_is_one_sentence(pad, text):
    ask(pad, photo=text)
    assert "photo did not arrive" in pad.message or "no picture" in pad.message
    assert pad.answers == {} and pad.seen == []


def test_a_blank_photo_is_said_to_be_empty(pad):
    file = io.BytesIO()
    Image.new("L", (50, 50), 200).save(file, "PNG")
    ask(pad, photo=base64.b64encode(file.getvalue()).decode())
    assert pad.message == "there is nothing to read: the picture is empty."


def test_a_dot_is_said_to_be_no_digit(pad):
    ask(pad, strokes=[[[0.5, 0.5]]])
    assert "too little ink" in pad.message and pad.answers == {}


def test_only_networks_that_come_trained_answer_and_not_all_have_maps(monkeypatch):
    # Without weights it is not on the pad; taking it away would change the order for all others.
    monkeypatch.setitem(NETWORKS, "gap", NETWORKS["gap"]._replace(weights=None))
    monkeypatch.setitem(NETWORKS, "untrained", NETWORKS["bottleneck"]._replace(weights=None))
    pad = DrawingPad()
    ask(pad, strokes=SEVEN)
    assert best(pad) == {BottleneckNet.__name__: 7} and len(pad.seen) == 784
    assert (pad.mapped, pad.where, pad.message) == ("", [], "")


def test_where_there_is_no_browser_it_reads_as_a_text(pad):
    assert repr(pad) == "The writing pad: run this cell, then write a digit on it."
    assert {pad._esm, pad._css} and "render" in str(pad._esm)

"""Dataclasses that refuse what does not fit, and are dataclasses like any other."""

import copy
import pickle
from dataclasses import FrozenInstanceError, asdict, fields, replace
from typing import Annotated

import numpy as np
import pytest
import torch
from pydantic import Field

from mnist_lab.validation import Count, FractionBelow1, Switch, validated

Even = Annotated[int, Field(multiple_of=2, description="an even number")]


@validated
class Box:
    side: Count
    share: FractionBelow1 = 0.5
    lid: Switch = False
    shares: Annotated[tuple[FractionBelow1, ...], Field(description="a tuple of shares")] = ()
    seats: Even | None = None

    def __post_init__(self):
        if self.lid and self.side > 9:  # compares: it would fail for a side of another type
            raise ValueError("a lid is at most 9 wide.")


def test_it_is_a_dataclass_like_any_other():
    box = Box(3, share=0.25)
    assert [field.name for field in fields(Box)] == ["side", "share", "lid", "shares", "seats"]
    assert repr(box) == "Box(side=3, share=0.25, lid=False, shares=(), seats=None)"
    assert asdict(box) == {"side": 3, "share": 0.25, "lid": False, "shares": (), "seats": None}
    assert replace(box, side=4) == Box(4, 0.25) != box
    assert len({box, Box(3, 0.25), Box(4)}) == 2
    assert pickle.loads(pickle.dumps(box)) == copy.deepcopy(box) == box
    with pytest.raises(FrozenInstanceError):
        box.side = 4


@pytest.mark.parametrize("call", [lambda: Box(), lambda: Box(3, width=1), lambda: Box(*range(6))])
def test_a_wrong_call_is_no_wrong_value(call):
    with pytest.raises(TypeError, match=r"Box\.__init__\(\)"):
        call()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"side": 0}, "side must be a whole number from 1 on, not 0."),
        ({"side": "3", "lid": True}, "side must be a whole number from 1 on, not '3'."),
        ({"side": 3, "share": True}, "share must be a number from 0 to below 1, not True."),
        ({"side": 3, "share": 1}, "share must be a number from 0 to below 1, not 1."),
        ({"side": 3, "shares": (0.5, 2)}, "shares must be a tuple of shares, not (0.5, 2)."),
        ({"side": 3, "lid": 1}, "lid must be True or False, not 1."),
        ({"side": 0, "share": 2}, "side must be a whole number from 1 on, not 0."),
        ({"side": 10, "lid": True}, "a lid is at most 9 wide."),
    ],
    ids=str,
)
def test_one_sentence_names_the_first_value_that_does_not_fit(values, sentence):
    for make in (lambda: Box(**values), lambda: replace(Box(1), **values)):
        with pytest.raises(ValueError) as caught:
            make()
        assert str(caught.value) == sentence
        assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("value", "beginning"), [(torch.zeros(99, 99), "tensor([[0., 0., "), ("3" * 999, "'333333")]
)
def test_a_long_value_is_told_by_its_beginning_on_one_line(value, beginning):
    with pytest.raises(ValueError) as caught:
        Box(value)
    sentence = str(caught.value)
    assert sentence.startswith(f"side must be a whole number from 1 on, not {beginning}")
    assert "\n" not in sentence and len(sentence) < 150


def test_values_stay_as_they_are_written_but_for_those_of_numpy():
    assert repr(Box(3, share=0).share) == "0"
    box = Box(3, share=np.float32(0.5), shares=(np.float64(0.25),))
    assert [type(value) for value in (box.share, *box.shares)] == [float, float]
    assert (box.share, box.shares) == (0.5, (0.25,))

"""What a value must be, and dataclasses that are dataclasses like any other."""

import copy
import pickle
import re
from dataclasses import FrozenInstanceError, asdict, fields, replace
from math import inf, nan
from typing import Annotated

import numpy as np
import pytest
import torch
from pydantic import Field

from mnist_lab.validation import (
    Count,
    Fraction,
    FractionBelow1,
    Positive,
    Seed,
    Switch,
    UserError,
    check,
    instance,
    number,
    one_of,
    validated,
    whole,
)

KINDS = {
    "a whole number from 1 on": (Count, [1, 10**9], [0, 1.0, "1", True, None, np.float64(1), nan]),
    "a whole number from 0 to 18446744073709551615": (Seed, [0, 2**64 - 1], [-1, 2**64]),
    "a whole number from 2 to 3": (whole(2, 3), [2, 3], [1, 4]),
    "a number above 0": (Positive, [1e-9, 7], [0, -0.1, inf, nan, "7", True, None, 1j]),
    "a number from 0 to 1": (Fraction, [0, 1], [-1e-9, 1.0001]),
    "a number from 0 to below 1": (FractionBelow1, [0.0, 0.9999], [-1e-9, 1]),
    "a share": (number("a share", gt=0, le=0.5), [0.5], [0, 0.6]),
    "True or False": (Switch, [True, False], [0, 1, "no", None]),
    "one of a, b": (one_of("a", "b"), ["a", "b"], ["c", "A", "", None, ["a"]]),
    "a list or so": (instance(list, "a list or so"), [[], [1]], [list, (), None]),
}


@pytest.mark.parametrize("words", KINDS)
def test_each_kind_takes_what_it_says_and_refuses_the_rest(words):
    kind, right, wrong = KINDS[words]
    for value in right:
        assert check("it", value, kind) == value and type(check("it", value, kind)) is type(value)
    for value in wrong:
        sentence = f"^it must be {words}, not {re.escape(repr(value))}.$"
        with pytest.raises(UserError, match=sentence) as caught:
            check("it", value, kind)
        assert caught.value.__suppress_context__


def test_numpys_numbers_become_pythons():
    for value, kind in ((np.int64(5), Count), (np.float32(0.5), Fraction), (np.uint8(1), Positive)):
        found = check("it", value, kind)
        assert found == value and type(found) in (int, float)


@pytest.mark.parametrize(
    ("value", "beginning"), [(torch.zeros(99, 99), "tensor([[0., 0., "), ("3" * 999, "'333333")]
)
def test_a_long_value_is_told_by_its_beginning_on_one_line(value, beginning):
    with pytest.raises(UserError) as caught:
        check("side", value, Count)
    sentence = str(caught.value)
    assert sentence.startswith(f"side must be a whole number from 1 on, not {beginning}")
    assert "\n" not in sentence and len(sentence) < 150


# Dataclasses

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
    for arguments in ((), range(6)):
        with pytest.raises(TypeError, match=r"Box\.__init__\(\)"):
            Box(*arguments)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"side": "3", "lid": True}, "side must be a whole number from 1 on, not '3'."),
        ({"side": 3, "shares": (0.5, 2)}, "shares must be a tuple of shares, not (0.5, 2)."),
        ({"side": 0, "share": 2}, "side must be a whole number from 1 on, not 0."),
        ({"side": 10, "lid": True}, "a lid is at most 9 wide."),
    ],
    ids=str,
)
def test_one_sentence_names_the_first_value_that_does_not_fit(values, sentence):
    for make in (lambda: Box(**values), lambda: replace(Box(1), **values)):
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            make()


def test_fields_stay_as_they_are_written_but_for_numpys_numbers():
    assert repr(Box(3, share=0).share) == "0"
    box = Box(3, share=np.float32(0.5), shares=(np.float64(0.25),))
    assert [type(value) for value in (box.share, *box.shares)] == [float, float]
    assert (box.share, box.shares) == (0.5, (0.25,))


def test_a_kind_that_is_asked_for_again_is_the_same_and_has_its_adapter():
    assert whole(2, 9) is whole(2, 9) and whole(2, 9) is not whole(2, 8)
    assert one_of("a", "b") is one_of("a", "b")
    assert instance(Box, "a Box") is instance(Box, "a Box")

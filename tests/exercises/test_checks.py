"""What the checkers ask: each refusal has its own sentence, and every right form passes."""

import numpy as np
import pytest
import torch
from torch import nn

from mnist_lab.exercises import checks as expect
from mnist_lab.exercises.question import Wrong

NAN = float("nan")


@pytest.mark.parametrize(
    "value",
    [3, 3.0, torch.tensor(3), torch.tensor([3.0], requires_grad=True), np.float32(3)],
)
def test_a_number_has_many_forms(value):
    expect.expect_number(value, 3, "`n`")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [(4, "`n` is 4, which is too high"), (2.5, "too low"), (NAN, "NaN"), (True, "is True"),
     ("3", "is '3'"), (None, "None"), (torch.ones(2), "a Tensor"), ([3], "a list"), (..., "still"),
     (int, "the class int")],
)  # fmt: skip
def test_another_number_or_none_is_refused(value, sentence):
    with pytest.raises(Wrong, match=sentence):
        expect.expect_number(value, 3, "`n`")


def test_a_tolerance_is_kept():
    expect.expect_number(3.1, 3, "`n`", tolerance=0.2)
    with pytest.raises(Wrong):
        expect.expect_number(3.3, 3, "`n`", tolerance=0.2)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (torch.ones(3, 2), r"the shape \[3, 2\]; \[2, 3\] is expected"),
        (torch.ones(2, 3) + torch.eye(3)[:2], r"2 instead of 1 at \[0, 0\]"),
        (torch.full((2, 3), NAN), "holds NaN"),
        (torch.full((2, 3), torch.inf), "an infinite value"),
        (torch.ones(2, 3) + 0j, "complex"),
        (np.ones((2, 3)), "a ndarray; a tensor is expected"),
        (torch.Tensor, "is a class"),
        (None, "is there a `return`"),
        (..., "still `...`"),
    ],
)
def test_another_tensor_is_refused(value, sentence):
    with pytest.raises(Wrong, match=sentence):
        expect.expect_tensor(value, torch.ones(2, 3), "`t`")


def test_a_tensor_may_have_another_type_and_a_gradient():
    expect.expect_tensor(torch.ones(2, dtype=torch.long), torch.ones(2), "`t`")
    expect.expect_tensor(torch.ones(2, requires_grad=True), torch.ones(2).double(), "`t`")
    expect.expect_tensor(torch.tensor(torch.inf), torch.tensor(torch.inf), "`t`")


def test_modules_functions_and_parameters():
    layer = nn.Linear(3, 2)
    expect.expect_module(layer, "`m`")
    expect.expect_parameters(layer, 8, "`m`")
    assert expect.expect_function(abs, "`f`") is abs
    with pytest.raises(Wrong, match="make an instance"):
        expect.expect_module(nn.Linear, "`m`")
    with pytest.raises(Wrong, match="8 parameters; 9 are expected"):
        expect.expect_parameters(layer, 9, "`m`")
    with pytest.raises(Wrong, match="an int; a function"):
        expect.expect_function(3, "`f`")


def test_a_change_in_place_is_refused():
    expect.expect_unchanged(torch.ones(2), torch.ones(2), "`x`")
    with pytest.raises(Wrong, match="not in place"):
        expect.expect_unchanged(torch.zeros(2), torch.ones(2), "`x`")

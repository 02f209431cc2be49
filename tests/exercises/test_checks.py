"""What the checkers ask: each refusal has its own sentence, and every right form passes."""

import numpy as np
import pytest
import torch
from torch import nn

from mnist_lab.exercises import checks as expect
from mnist_lab.exercises.checks import agrees, by_example, call_with_copies
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
    [(4, "`n` is 4, which is not the number"), (2.5, "is 2.5, which is not"), (NAN, "NaN"),
     (True, "is True"), ("3", "is '3'"), (None, "None"), (torch.ones(2), "a Tensor"),
     ([3], "a list"), (..., "still"), (int, "the class int")],
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
        (np.ones((2, 3)), "a NumPy array; a tensor is expected"),
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
    expect.expect_unchanged([torch.tensor(NAN)], [torch.tensor(NAN)], "`x`")
    with pytest.raises(Wrong, match="not in place"):
        expect.expect_unchanged(torch.zeros(2), torch.ones(2), "`x`")


PAIR = (1.5, 3)


@pytest.mark.parametrize(
    ("found", "expected", "same"),
    [
        (3.0, 3, True), (3.0001, 3, False), (np.int64(3), 3, True), (torch.tensor([3]), 3, True),
        (30_001, 30_000, False), (30_001.0, 30_000.0, True), (True, 1, False), ("3", 3, False),
        (None, 3, False), (1.00009, 1.0, True), (1.0002, 1.0, False), (7.0781e-6, 7.07811e-6, True),
        (7.08e-6, 7.07e-6, False), (1e-8, 0.0, True), (1e-5, 0.0, False), (NAN, 1.0, False),
        (NAN, NAN, True), (torch.inf, torch.inf, True), (-torch.inf, torch.inf, False),
        (torch.inf, 1.0, False), ("yes", "yes", True), ("Yes", "yes", False), (True, True, True),
        (np.True_, True, True), (torch.tensor(False), True, False), (1, True, False),
        (list(PAIR), PAIR, True), (torch.tensor(PAIR), PAIR, True), (np.array(PAIR), PAIR, True),
        ((torch.tensor(1.5), 3), PAIR, True), (np.array([[1.5, 3]]), PAIR, False),
        ((3, 1.5), PAIR, False), (1.5, PAIR, False), (torch.tensor(1.5), PAIR, False),
        ((1.5, 3, 0), PAIR, False), (torch.ones(2, 3).double(), torch.ones(2, 3), True),
        (np.ones((2, 3)), torch.ones(2, 3), True), (torch.ones(3, 2), torch.ones(2, 3), False),
        (torch.ones(6), torch.ones(2, 3), False), (torch.ones(2) + 0j, torch.ones(2), False),
        ([1.0, 1.0], torch.ones(2), False), (torch.tensor([1e-6, 1]), torch.tensor([0.0, 1]), True),
        (torch.tensor([3.0, 4]), torch.tensor([3, 4]), True),
        (torch.tensor([3.01, 4]), torch.tensor([3, 4]), False),
        ((torch.ones(2), torch.ones(3)), (torch.ones(2), torch.ones(3)), True),
    ],
)  # fmt: skip
def test_one_comparison_for_all_forms(found, expected, same):
    assert agrees(found, expected) is same


def test_what_is_within_an_absolute_tolerance_is_the_same():
    assert agrees(2e-8, 3e-8, absolute=1e-7) and not agrees(2e-8, 3e-8)


def mean(x, times):
    return x.mean() * times


CASES = [(torch.randn(size), times) for size, times in ((5, 1.5), (8, 2))]
SLIPS = [
    (lambda x, times: x.sum() * times, "divide the sum."),
    (lambda x, times: x.mean() / 0, "this slip bears no case."),
    (lambda x, times: x.mean() * 1.5, "`times` may be another."),
]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda x, times: x.sum() * times, r"^mean\(x, 1\.5\) is \S+: divide the sum\.$"),
        (lambda x, times: x.mean() * 1.5, r"^mean\(x, 2\) is \S+: `times` may be another\.$"),
        (lambda x, times: 7e9, r"^mean\(x, 1\.5\) is 7e\+09; \S+ is expected\. Think\.$"),
        (lambda x, times: x * times, r"is a Tensor; a number is expected"),
        (lambda x, times: NAN, r"is nan; \S+ is expected"),
        (lambda x, times: None, r"is there a `return`"),
        (lambda x, times: [1.0], r"is a list; a number"),
        (lambda x, times: x.mul_(times).mean(), "`x` is changed by it: work on a copy"),
        (3, "`mean` is an int; a function"),
    ],
)
def test_by_example_refuses_with_the_slip_or_with_what_is_expected(answer, sentence):
    with pytest.raises(Wrong, match=sentence):
        by_example("mean", answer, mean, CASES, SLIPS, otherwise="Think.")


@pytest.mark.parametrize(
    "answer", [mean, lambda x, times: x.numpy().mean() * times, lambda a, b: [mean(a, b)][0]]
)
def test_by_example_takes_what_is_right(answer):
    before = CASES[0][0].clone()
    by_example("mean", answer, mean, CASES, SLIPS)
    assert torch.equal(CASES[0][0], before)


def test_a_slip_has_to_explain_all_that_was_seen():
    """The second case alone would be taken for the sum."""
    cases = [(torch.tensor([2.0, 4.0]), 1), (torch.tensor([3.0, 3.0]), 1)]
    slips = [(lambda x, times: x.sum(), "the sum")]
    with pytest.raises(Wrong, match="is 6; 3 is expected"):
        by_example("mean", lambda x, _: x.mean() if x[0] < 3 else x.sum(), mean, cases, slips)


@pytest.mark.parametrize(
    ("found", "expected", "sentence"),
    [
        ((1, 2, 3), (1, 2), r"f\(\) has 3 values; 2 are expected"),
        (torch.tensor(1), (1, 2), "a Tensor; 2 values are expected"),
        (torch.zeros(2, 3), (torch.ones(3), torch.ones(3)), "a Tensor; 2 tensors are expected"),
        ((2, 1), (1, 2), r"f\(\) is \(2, 1\); \(1, 2\) is expected"),
        (((1, 2), 1), (1, 2), "value 1 of f.. is a tuple; a number"),
        (1, "yes", "an int; a text is expected, here 'yes'"),
        ("no", "yes", "'no'; 'yes' is expected"),
        (1, True, "an int; True or False is expected"),
        (torch.ones(2, 2), torch.ones(2, 3), r"the shape \[2, 2\]; \[2, 3\] is expected"),
        (torch.zeros(2, 2), torch.ones(2, 2), r"0 instead of 1 at \[0, 0\]"),
        (np.zeros((2, 2)), torch.ones(2, 2), r"0 instead of 1 at \[0, 0\]"),
        ([[1.0]], torch.ones(1, 1), "a list; a tensor"),
        (..., 1, "is still `...`"),
        (0.99224, 0.99221, "0.99224; 0.99221 is expected"),
        (0.12345678, 0.12345679, "0.12345678; 0.12345679 is expected"),
    ],
)
def test_what_is_wrong_is_said(found, expected, sentence):
    with pytest.raises(Wrong, match=sentence):
        by_example("f", lambda: found, lambda: expected, [()], tolerance=1e-9)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda x: x.append(1), lambda x: x.pop(), lambda x: x[0].add_(1),
        lambda x: x[1].update(a=2), lambda x: x[1].pop("a"), lambda x: x.__setitem__(2, 7.5),
        lambda x: x[3].__setitem__(0, 1), lambda x: x[0].resize_(4),
    ],
)  # fmt: skip
def test_no_argument_may_be_changed(spoil):
    argument = [torch.zeros(2), {"a": 1}, 7, np.zeros(2)]
    with pytest.raises(Wrong, match="`x` is changed by it"):
        call_with_copies(lambda x: spoil(x), argument)
    call_with_copies(lambda x: list(x), argument)


def test_a_network_is_an_argument_too():
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    for spoil in (lambda net: net.eval(), lambda net: nn.init.zeros_(net[0].weight)):
        with pytest.raises(Wrong, match="`net` is changed by it"):
            call_with_copies(spoil, network)
    call_with_copies(lambda net: net(torch.ones(1, 2)), network)
    assert network.training

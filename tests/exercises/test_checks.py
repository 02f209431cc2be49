"""What the checkers ask: each refusal says what is not so, and every right form passes."""

import numpy as np
import pytest
import torch
from torch import nn

from mnist_lab.exercises import checks
from mnist_lab.exercises.checks import agrees, by_example, call_with_copies
from mnist_lab.exercises.question import Wrong

NAN = float("nan")
PAIR = (1.5, 3)
BACKWARDS = np.arange(6.0)[::-1].reshape(2, 3)


@pytest.mark.parametrize(
    ("found", "expected", "same"),
    [
        (3.0, 3, True), (3.0001, 3, False), (np.int64(3), 3, True), (torch.tensor([3]), 3, True),
        (30_001, 30_000, False), (30_001.0, 30_000.0, True), (True, 1, False), ("3", 3, False),
        (None, 3, False), (..., 3, False), (1.00009, 1.0, True), (1.0002, 1.0, False),
        (7.0781e-6, 7.07811e-6, True), (7.08e-6, 7.07e-6, False), (1e-8, 0.0, True),
        (1e-5, 0.0, False), (NAN, 1.0, False), (NAN, NAN, True), (torch.inf, torch.inf, True),
        (-torch.inf, torch.inf, False), (torch.inf, 1.0, False), (10**400, 1.0, False),
        ("yes", "yes", True), ("Yes", "yes", False), (True, True, True), (np.True_, True, True),
        (torch.tensor(False), True, False), (1, True, False), (np.array("yes"), "yes", True),
        (list(PAIR), PAIR, True), (torch.tensor(PAIR), PAIR, True), (np.array(PAIR), PAIR, True),
        ((torch.tensor(1.5), 3), PAIR, True), (np.array([[1.5, 3]]), PAIR, False),
        ((3, 1.5), PAIR, False), (1.5, PAIR, False), (torch.tensor(1.5), PAIR, False),
        ((1.5, 3, 0), PAIR, False), (torch.ones(2, 3).double(), torch.ones(2, 3), True),
        (np.ones((2, 3)), torch.ones(2, 3), True), (torch.ones(3, 2), torch.ones(2, 3), False),
        (torch.ones(6), torch.ones(2, 3), False), (torch.ones(2) + 0j, torch.ones(2), False),
        ([1.0, 1.0], torch.ones(2), False), (torch.tensor([1e-6, 1]), torch.tensor([0.0, 1]), True),
        (np.array(3, dtype=object), 3, True),
        (torch.tensor([3.01, 4]), torch.tensor([3, 4]), False),
        (BACKWARDS, torch.arange(6.0).flip(0).view(2, 3), True),
        (BACKWARDS.astype(">f4"), torch.arange(6.0).flip(0).view(2, 3), True),
        (torch.ones(2, 3).to_sparse(), torch.ones(2, 3), True),
        (torch.ones(2, device="meta"), torch.ones(2), False),
        (np.array(["a", "b"]), torch.ones(2), False), (np.array([None, 1]), torch.ones(2), False),
        ((torch.ones(2), torch.ones(3)), (torch.ones(2), torch.ones(3)), True),
    ],
)  # fmt: skip
def test_one_comparison_for_all_forms(found, expected, same):
    assert agrees(found, expected) is same


def test_what_is_within_an_absolute_tolerance_is_the_same():
    assert agrees(2e-8, 3e-8, absolute=1e-7) and not agrees(2e-8, 3e-8)


@pytest.mark.parametrize(
    ("found", "expected", "part"),
    [
        (4, 3, "f is 4; 3 is expected. Think."), (True, 3, "True; a number"),
        ("3", 3, "'3'; a number"), (None, 3, "is there a `return`"), (..., 3, "is still `...`"),
        (int, 3, "the class int; a number"), (torch.ones(2, 2), 3, "a Tensor of the shape [2, 2];"),
        ([3], 3, "[3]; a number"), (10**400, 3, "an int; a number"), ({}, 3, "a dict; a number"),
        ((1, 2, 3), (1, 2), "(1, 2, 3); 2 values"), (torch.tensor(1), (1, 2), "1; 2 values"),
        ((2, 1), (1, 2), "f is (2, 1); (1, 2) is"), (1, "yes", "1; 'yes' is"),
        (1, True, "1; True is"), ("a" * 99, "yes", "; 'yes' is"),
        (torch.ones(2, 2), torch.ones(2, 3), "; a tensor of the shape [2, 3] is expected. Think."),
        (torch.zeros(2, 2), torch.ones(2, 2), "0 instead of 1 at [0, 0]. Think."),
        (np.eye(2), torch.ones(2, 2), "0 instead of 1 at [0, 1]"),
        (torch.tensor([1, NAN]), torch.ones(2), "nan instead of 1 at [1]"),
        ((torch.ones(2), 1), (torch.ones(2), torch.ones(2)), "value 2 of f is 1; a tensor"),
        ([1, 2, 3, 4, 6], [1, 2, 3, 4, 5], "value 5 of f is 6; 5 is expected. Think."),
        (0.99224, 0.99221, "0.99224; 0.99221 is"),
        (0.12345678, 0.12345679, "0.12345678; 0.12345679 is"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(found, expected, part):
    with pytest.raises(Wrong) as refused:
        checks.expect_value(found, expected, "f", tolerance=1e-9, otherwise="Think.")
    assert part in str(refused.value)


def test_predicted_numbers_are_not_given_away():
    slips = [((1, None), "one."), ((3, 3), "both.")]
    checks.expect_numbers({"a": np.float32(3), "b": torch.tensor([4.1])}, (3, 4), slips, 0.2)
    for a, b, said in ((1, 4, "one."), (3, 3, "both."), (2, 4, "`a` is 2"), (3, NAN, "`b` is nan"),
                       (3, 4.3, "`b` is 4.3, which is not the number that is asked for. Think."),
                       (None, 4, "`a` is None")):  # fmt: skip
        with pytest.raises(Wrong) as refused:
            checks.expect_numbers({"a": a, "b": b}, (3, 4), slips, 0.2, "Think.")
        assert str(refused.value).startswith(said)


def test_modules_are_looked_into():
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2, track_running_stats=False))
    checks.expect_kind(network, nn.Module, "m", "a module")
    checks.expect_shape(torch.ones(2, 3), (2, 3), "m")
    assert checks.only(network, nn.Linear) is network[0]
    for refused in (
        lambda: checks.expect_kind(nn.Linear, nn.Module, "m", "a module"),
        lambda: checks.expect_shape(np.ones((2, 3)), (2, 3), "m"),
        lambda: checks.expect_shape(torch.ones(3, 2), (2, 3), "m"),
        lambda: checks.only(network, nn.ReLU),
        lambda: checks.only(nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)), nn.Linear),
        lambda: checks.only(network, nn.BatchNorm1d),
    ):
        with pytest.raises(Wrong):
            refused()


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
        (lambda x, times: x * times, r"is a Tensor of the shape \[5\]; a number is expected"),
        (lambda x, times: x.mul_(times).mean(), "`x` is changed by it: work on a copy"),
    ],
)
def test_by_example_refuses_with_the_slip_or_with_what_is_expected(answer, sentence):
    with pytest.raises(Wrong, match=sentence):
        by_example("mean", answer, mean, CASES, SLIPS, otherwise="Think.")


@pytest.mark.parametrize("answer", [mean, lambda x, times: x.numpy().mean() * times])
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
    "spoil",
    [
        lambda x: x.append(1), lambda x: x.pop(), lambda x: x[0].add_(1),
        lambda x: x[1].update(a=2), lambda x: x[1].pop("a"), lambda x: x.__setitem__(2, 7.5),
        lambda x: x[3].__setitem__(0, 1), lambda x: x[0].resize_(4), lambda x: x.sort(key=id),
    ],
)  # fmt: skip
def test_no_argument_may_be_changed(spoil):
    argument = [torch.zeros(2), {"a": 1}, 7, np.array([0, NAN])]
    with pytest.raises(Wrong, match="`x` is changed by it"):
        call_with_copies(lambda x, f: spoil(x), argument, print)
    call_with_copies(lambda x, f: list(x), argument, print)


def test_a_network_is_an_argument_too():
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    for spoil in (lambda net: net.eval(), lambda net: nn.init.zeros_(net[0].weight)):
        with pytest.raises(Wrong, match="`net` is changed by it"):
            call_with_copies(spoil, network)
    call_with_copies(lambda net: net(torch.ones(1, 2)), network)
    assert network.training

"""Nonsense of every type: no checker takes it for right, or fails over it."""

import numpy as np
import pytest
import torch
from torch import nn

from mnist_lab.exercises import exercises, numbers
from mnist_lab.exercises.question import UNANSWERED, WRONG, judge

NONSENSE = [
    None, "x", b"x", float("nan"), float("inf"), -1, 10**400, True, [], {},
    [None] * 3, [[1], [1, 2]],
    (None, None), np.array([]), np.array([None, "a"]), np.zeros((2, 3, 4)),
    np.array([(1, 2)], dtype="i4,i4"), np.datetime64("2020"), torch.tensor([]),
    torch.zeros(3, dtype=torch.complex64), torch.zeros(2, device="meta"),
    torch.zeros(2, requires_grad=True), range(5), iter([1]), print, int, nn.Linear(2, 2),
    nn.Sequential(), Exception("x"),
]  # fmt: skip
EXERCISES = [one for number in numbers() for one in exercises(number)]


@pytest.mark.slow
@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.name)
def test_nonsense_is_wrong_for_every_checker(exercise, capsys):
    names: dict = {}
    exec(exercise.given, names)
    exec(exercise.solution, names)
    for variable in exercise.variables:
        of_a_function = [lambda *_, value=value, **__: value for value in NONSENSE]
        for value in [*NONSENSE, *(of_a_function if callable(names[variable]) else ())]:
            verdict = judge(exercise, {**names, variable: value})
            assert verdict.outcome in (WRONG, UNANSWERED), (variable, value, verdict.why)

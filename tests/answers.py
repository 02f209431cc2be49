"""Right and wrong answers for the checkers of the exercises, and the proof that each is told."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pytest
from torch import nn

from mnist_lab.exercises import cases, exercises
from mnist_lab.exercises.question import RIGHT, UNANSWERED, WRONG, Exercise, judge

OFTEN = 100  # checks of each answer in the slow tests: a verdict must not depend on luck


def made(**texts: str) -> Callable[[Callable], Exercise]:
    """Make a checker an exercise of these texts, for the tests of what lies around it."""
    return lambda checker: Exercise(checker=checker, **texts)


@dataclass(frozen=True)
class Case:
    """Answers as a student would type them: right ones of `other` forms, `wrong` ones with a part
    of the sentence that refuses them, which is another for each, and some that are wrong `alike`.
    """

    other: list[str]
    wrong: dict[str, str]
    alike: dict[str, str] = field(default_factory=dict)


def proofs(number: str, cases: dict[str, Case]) -> list:
    """What `pytest.mark.parametrize` needs to prove the exercises of a notebook."""
    found, params = exercises(number), []
    assert [exercise.name for exercise in found] == list(cases), "one case for each, in order"
    for exercise in found:
        proof = partial(prove, exercise, cases[exercise.name])
        often = f"{exercise.name}, {OFTEN} times"
        params.append(pytest.param(proof, id=exercise.name))
        params.append(pytest.param(partial(proof, OFTEN), id=often, marks=pytest.mark.slow))
    return params


def prove(exercise: Exercise, case: Case, times: int = 1) -> None:
    """Every answer gets its verdict, each time.

    What is drawn is the same in every run of the tests, so that none of them fails by luck.
    """
    cases.draw.seed(exercise.name)
    cases.generator.manual_seed(0)
    assert len(case.other) >= 1 and len(case.wrong) >= 3
    expect(exercise, exercise.start, UNANSWERED)
    expect(exercise, exercise.solution, RIGHT, exercise.right, times)
    for code in case.other:
        expect(exercise, code, RIGHT, times=times)
    said = {expect(exercise, code, WRONG, part, times) for code, part in case.wrong.items()}
    assert len(said) >= len(set(case.wrong.values())), said
    for code, part in case.alike.items():
        expect(exercise, code, WRONG, part, times)
    for spoil in (raises, lambda value: None):
        expect(exercise, exercise.solution, WRONG, spoil=spoil)


def expect(
    exercise: Exercise,
    code: str,
    outcome: str,
    part: str = "",
    times: int = 1,
    spoil: Callable = lambda value: value,
) -> str:
    """The answer gets this verdict in each of `times` checks; what is said at last."""
    names: dict = {}
    exec(compile(exercise.given, "<given>", "exec"), names)
    exec(compile(code, "<answer>", "exec"), names)
    names.update({name: spoil(names[name]) for name in exercise.variables})
    for _ in range(times):
        verdict = judge(exercise, names)
        assert verdict.outcome == outcome and part in verdict.why, f"{code}\n{verdict.why}"
    return verdict.why


def raises(value):
    """The same answer, but its code raises; a value without code becomes something else."""

    def fail(*_, **__):
        raise ZeroDivisionError("on purpose")

    if isinstance(value, type):
        return type(value.__name__, (value,), {"__init__": fail})
    if isinstance(value, nn.Module):
        value.forward = fail
        return value
    return fail if callable(value) else object()

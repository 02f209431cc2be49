"""Right and wrong answers for the checkers of the exercises, and the proof that each is told."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from torch import nn

from mnist_lab.exercises import exercises
from mnist_lab.exercises import time_limit as watched
from mnist_lab.exercises.question import RIGHT, UNANSWERED, WRONG, Exercise, Verdict, judge


@dataclass(frozen=True)
class Case:
    """Answers as a student would type them: right ones of `other` forms, `wrong` ones with a part
    of the sentence that refuses them."""

    other: list[str]
    wrong: dict[str, str]


@dataclass(frozen=True)
class Answer:
    """An answer to an exercise, and the verdict that it has to get."""

    exercise: Exercise
    code: str
    outcome: str
    part: str = ""
    spoil: Callable = field(default=lambda value: value)

    def judged(self) -> Verdict:
        namespace: dict = {}
        exec(compile(self.exercise.given, "<given>", "exec"), namespace)
        exec(compile(self.code, "<answer>", "exec"), namespace)
        for name in self.exercise.variables:
            namespace[name] = self.spoil(namespace[name])
        return judge(self.exercise, namespace)

    def prove(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            if self.spoil is never_ends:
                patch.setattr(watched, "TIME_LIMIT", 0.5)
            verdict = self.judged()
        assert verdict.outcome == self.outcome, verdict
        assert self.part in verdict.why, verdict


@dataclass(frozen=True)
class Sentences:
    """The wrong answers to an exercise are refused for different reasons."""

    answers: list[Answer]

    def prove(self) -> None:
        sentences = [answer.judged().why for answer in self.answers]
        assert len(set(sentences)) == len(sentences), sentences


def answers(number: str, cases: dict[str, Case]) -> list:
    """What `pytest.mark.parametrize` needs to prove the exercises of a notebook."""
    found = exercises(number)
    assert [exercise.name for exercise in found] == list(cases), "one case for each, in order"
    return [
        pytest.param(answer, id=f"{exercise.name}: {label}")
        for exercise in found
        for label, answer in _answers(exercise, cases[exercise.name])
    ]


def _answers(exercise: Exercise, case: Case):
    assert len(case.other) >= 1 and len(case.wrong) >= 3, exercise.name
    wrong = [Answer(exercise, code, WRONG, part) for code, part in case.wrong.items()]
    yield "delivered", Answer(exercise, exercise.start, UNANSWERED)
    yield "solution", Answer(exercise, exercise.solution, RIGHT, exercise.right)
    for number, code in enumerate(case.other, 1):
        yield f"right {number}", Answer(exercise, code, RIGHT)
    for number, answer in enumerate(wrong, 1):
        yield f"wrong {number}", answer
    yield "sentences differ", Sentences(wrong)
    for name, spoil in (("raises", raises), ("never ends", never_ends), ("none", none)):
        yield name, Answer(exercise, exercise.solution, WRONG, spoil=spoil)


def raises(value):
    """The same answer, but its code raises; a value without code becomes something else."""

    def fail(*_, **__):
        raise ZeroDivisionError("on purpose")

    return _with_code(value, fail)


def never_ends(value):
    """The same answer, but its code never ends."""

    def go_on(*_, **__):
        while True:
            pass

    return _with_code(value, go_on)


def none(value):
    return None


def _with_code(value, function):
    if isinstance(value, type):
        return type(value.__name__, (value,), {"__init__": function})
    if isinstance(value, nn.Module):
        value.forward = function
        return value
    return function if callable(value) else object()

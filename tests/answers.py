"""Right and wrong answers for the checkers of the exercises, and the proof that each is told."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest
from torch import nn

from mnist_lab.exercises import exercises
from mnist_lab.exercises.question import RIGHT, UNANSWERED, WRONG, Exercise, Verdict, judge

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


@dataclass(frozen=True)
class Answer:
    """An answer to an exercise, and the verdict that it has to get in each of `checks`."""

    exercise: Exercise
    code: str
    outcome: str
    part: str = ""
    spoil: Callable = field(default=lambda value: value)
    checks: int = 2

    def namespace(self) -> dict:
        names: dict = {}
        exec(compile(self.exercise.given, "<given>", "exec"), names)
        exec(compile(self.code, "<answer>", "exec"), names)
        for name in self.exercise.variables:
            names[name] = self.spoil(names[name])
        return names

    def judged(self) -> Verdict:
        return judge(self.exercise, self.namespace())

    def prove(self) -> None:
        names = self.namespace()
        for _ in range(self.checks):
            verdict = judge(self.exercise, names)
            assert verdict.outcome == self.outcome, verdict
            assert self.part in verdict.why, verdict


@dataclass(frozen=True)
class Sentences:
    """Wrong answers of different kinds are refused for different reasons."""

    answers: list[Answer]

    def prove(self) -> None:
        sentences = [answer.judged().why for answer in self.answers]
        kinds = {answer.part for answer in self.answers}
        assert len(set(sentences)) >= len(kinds), sentences


def answers(number: str, cases: dict[str, Case]) -> list:
    """What `pytest.mark.parametrize` needs to prove the exercises of a notebook."""
    found = exercises(number)
    assert [exercise.name for exercise in found] == list(cases), "one case for each, in order"
    return [
        param
        for exercise in found
        for label, answer in _answers(exercise, cases[exercise.name])
        for param in _params(f"{exercise.name}: {label}", answer)
    ]


def _params(label: str, answer: Answer | Sentences) -> Iterator:
    yield pytest.param(answer, id=label)
    if isinstance(answer, Answer) and answer.checks > 1 and answer.outcome != UNANSWERED:
        often = replace(answer, checks=OFTEN)
        yield pytest.param(often, id=f"{label}, {OFTEN} times", marks=pytest.mark.slow)


def _answers(exercise: Exercise, case: Case) -> Iterator[tuple[str, Answer | Sentences]]:
    assert len(case.other) >= 1 and len(case.wrong) >= 3, exercise.name
    wrong = [Answer(exercise, code, WRONG, part) for code, part in case.wrong.items()]
    yield "delivered", Answer(exercise, exercise.start, UNANSWERED)
    yield "solution", Answer(exercise, exercise.solution, RIGHT, exercise.right)
    for number, code in enumerate(case.other, 1):
        yield f"right {number}", Answer(exercise, code, RIGHT)
    for number, answer in enumerate(wrong, 1):
        yield f"wrong {number}", answer
    for number, (code, part) in enumerate(case.alike.items(), 1):
        yield f"wrong alike {number}", Answer(exercise, code, WRONG, part)
    yield "sentences differ", Sentences(wrong)
    for name, spoil in (("raises", raises), ("none", none)):
        yield name, Answer(exercise, exercise.solution, WRONG, spoil=spoil, checks=1)


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


def none(value):
    return None

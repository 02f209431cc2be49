"""An answer judged elsewhere gets the verdict that `check` would have given it."""

import importlib
import random

import pytest

from mnist_lab.exercises import exercises, folders, numbers
from mnist_lab.exercises.question import RIGHT, UNANSWERED, WRONG, Exercise, verdict
from mnist_lab.grading import judging
from mnist_lab.grading.judging import judge_elsewhere
from mnist_lab.grading.sandbox import Limits

pytestmark = pytest.mark.slow  # the first answer waits until PyTorch is loaded twice
HIDDEN = [str(folder) for folder in folders()]
EVERY = [(number, one) for number in numbers() for one in exercises(number)]


def cases(number: str, exercise: Exercise) -> list[tuple[str, str, str]]:
    """Answers, the outcome of each, and what is said: those that the checkers are proven with."""
    proven = importlib.import_module(f"exercises.test_n{number}").CASES[exercise.name]
    wrong = [(code, WRONG, said) for code, said in {**proven.wrong, **proven.alike}.items()]
    right = [(code, RIGHT, "") for code in (exercise.solution, *proven.other)]
    return [*right, (exercise.start, UNANSWERED, ""), *wrong]


def expect_alike(exercise: Exercise, code: str, outcome: str, said: str) -> None:
    found, _ = judge_elsewhere(exercise, code, hidden=HIDDEN)
    assert found.outcome == outcome and said in found.why, (exercise.title, code, found)


@pytest.mark.parametrize("number", ["02", "04"])
def test_functions_and_networks_are_judged_as_here(number):
    draw = random.Random(1)
    for exercise in exercises(number):
        first, *others = cases(number, exercise)
        for case in (first, draw.choice(others)):
            expect_alike(exercise, *case)


@pytest.mark.parametrize(
    ("number", "exercise"), EVERY, ids=lambda value: getattr(value, "name", value)
)
def test_every_proven_answer_gets_the_same_verdict(number, exercise):
    draw = random.Random(exercise.name)
    first, *others = cases(number, exercise)
    for case in (first, *draw.sample(others, min(6, len(others)))):
        expect_alike(exercise, *case)


def made(check) -> Exercise:
    return Exercise(title="A", task="", start="f = ...", checker=check)


def test_a_check_that_takes_too_long_is_ended(monkeypatch):
    monkeypatch.setattr(judging, "CHECK", 0.0)

    def check(f):
        for _ in range(f()):
            pass

    found, _ = judge_elsewhere(made(check), "def f(): return 10**11", limits=Limits(seconds=1))
    assert found.outcome == WRONG and "too long to be checked" in found.why


def test_a_check_that_has_failed_says_nothing_about_the_answer():
    def check(f):
        raise ZeroDivisionError

    found, _ = judge_elsewhere(made(check), "f = 3")
    assert found == verdict(made(check), {"f": 3}) and found.outcome not in (RIGHT, WRONG)


def test_a_student_has_numbers_of_their_own():
    def check(f, *, wide):
        assert f == wide or judging  # the answer is known to the student's own code only
        if f != wide:
            from mnist_lab.exercises.question import Wrong

            raise Wrong("it is another number.")

    exercise = Exercise(
        "A", "", "f = ...", check, draws=lambda draw: {"wide": draw.randint(1, 10**6)}
    )
    code = f"f = {exercise.numbers('anna')['wide']}"
    assert judge_elsewhere(exercise, code, key="anna")[0].outcome == RIGHT
    assert judge_elsewhere(exercise, code, key="bert")[0].outcome == WRONG

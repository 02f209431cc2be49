"""One exercise: its texts, and the check that tells a right answer from a wrong one.

`check`, `hint` and `solution` are the three calls that learners know from Kaggle's learntools
(https://github.com/Kaggle/learntools).
"""

import copy
import functools
import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

import torch

from mnist_lab.exercises.time_limit import TooLong, last_line_outside, watched
from mnist_lab.exercises.unanswered import has_gap, is_as_delivered

COLUMNS = 58  # what a page of JupyterLab holds in a window of 900 pixels
RIGHT, WRONG, UNANSWERED = "Right", "Not right", "Not answered yet"
FAILED = "This check itself has failed"  # nothing is known about the answer


class Wrong(Exception):
    """An answer is not right; the text says why, in a sentence."""


class AnswerFailed(Exception):
    """The student's code raised what is the cause of this."""


def call(answer: Callable, *arguments, **named):
    """What the student's code returns; what it raises is the answer's fault, not the checker's.

    Functions come to the checkers wrapped in it; a class or a module they call with it.
    """
    try:
        return answer(*arguments, **named)
    except (AnswerFailed, Wrong):
        raise
    except Exception as error:
        raise AnswerFailed from error


@dataclass(frozen=True)
class Exercise:
    """What a student is asked, and how the answer is known.

    `task` and `title` are Markdown. `given`: a cell of code before the answer's. `start`: the
    answer's cell as delivered, `...` where something is missing; `solution`: one that is right.
    `right` is said when it is. `checker` raises `Wrong` for an answer that is not right; its
    parameters name the variables of the notebook that it reads.
    """

    title: str
    task: str
    start: str
    hint: str
    solution: str
    right: str
    checker: Callable[..., None]
    given: str = ""

    @property
    def name(self) -> str:
        return self.checker.__name__

    @property
    def variables(self) -> list[str]:
        """The names that an answer defines."""
        return list(inspect.signature(self.checker).parameters)


def exercise(
    *, title: str, task: str, start: str, hint: str, solution: str, right: str, given: str = ""
) -> Callable[[Callable[..., None]], Exercise]:
    """Make a checker the exercise of these texts; their common indentation is taken off."""
    texts = {"title": title, "task": task, "start": start, "hint": hint, "solution": solution,
             "right": right, "given": given}  # fmt: skip
    texts = {name: textwrap.dedent(text).strip("\n") for name, text in texts.items()}
    return lambda checker: Exercise(checker=checker, **texts)


@dataclass(frozen=True)
class Verdict:
    """What became of an answer: RIGHT, WRONG, UNANSWERED or FAILED, and why."""

    outcome: str
    why: str

    def __str__(self) -> str:
        """As `check` prints it, in lines that fit a narrow page."""
        return textwrap.fill(
            f"{self.outcome}{':' if self.outcome == WRONG else '.'} {self.why}", COLUMNS
        )


def judge(exercise: Exercise, namespace: dict) -> Verdict:
    """The verdict on the answer that stands in `namespace`.

    The answer is copied, the random numbers are drawn anew, and what the student's code raises, or
    its never ending, becomes a sentence.
    """
    answers = {}
    for name in exercise.variables:
        if name not in namespace:
            return Verdict(UNANSWERED, f"There is no `{name}` so far: the cell has to define it.")
        answers[name] = namespace[name]
    if any(is_as_delivered(name, value, exercise.start) for name, value in answers.items()):
        return Verdict(UNANSWERED, "Change the code above, then run it.")
    for name, value in answers.items():
        if re.search(rf"^(def|class) {name}\b", exercise.start, re.M) and not callable(value):
            return Verdict(WRONG, f"`{name}` is {value!r:.60}; a function is expected.")
    with torch.random.fork_rng(devices=[]):
        torch.seed()
        try:
            watched(lambda: exercise.checker(**{k: _copied(v) for k, v in answers.items()}))
        except Exception as error:
            if not _is_the_answers(error):
                return Verdict(FAILED, _failure(error))
            why = _sentence(error)
            if any(map(has_gap, answers.values())):
                why += " There is still a `...` in it."
            return Verdict(WRONG, why)
    return Verdict(RIGHT, exercise.right)


def _copied(value):
    """A copy for the checker to play with; the value itself where there can be none."""
    if inspect.isroutine(value):
        return functools.wraps(value)(functools.partial(call, value))
    try:
        return copy.deepcopy(value)
    except Exception:
        return value


def _is_the_answers(error: Exception) -> bool:
    """Whether the student's code is the cause, and not the checker's."""
    return isinstance(error, (Wrong, TooLong, AnswerFailed)) or bool(last_line_outside(error))


def _failure(error: Exception) -> str:
    return (
        f"it says nothing about your answer, right or wrong. Please report it, with your answer: "
        f"{type(error).__name__}: {error}"
    )


def _sentence(error: Exception) -> str:
    if isinstance(error, (Wrong, TooLong)):
        return str(error)
    error = error.__cause__ if isinstance(error, AnswerFailed) else error
    message = " ".join(str(error).split())
    said = f": {message[:300]}" if message else ""
    return f"running it{last_line_outside(error)} ends in {type(error).__name__}{said}."


class Question:
    """An exercise in a notebook: `check()` the answer, ask for a `hint()` or the `solution()`."""

    def __init__(self, exercise: Exercise, namespace: dict):
        self._exercise, self._namespace = exercise, namespace

    def check(self) -> None:
        """Say whether the answer is right, and if not, why."""
        print(judge(self._exercise, self._namespace))

    def hint(self) -> None:
        """Say what may help."""
        print(textwrap.fill(self._exercise.hint, COLUMNS))

    def solution(self) -> None:
        """Show an answer that is right."""
        print(self._exercise.solution)

    def __repr__(self) -> str:
        return f"{self._exercise.title}: .check(), .hint() or .solution()"

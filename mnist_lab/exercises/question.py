"""One exercise: its texts, and the check that tells a right answer from a wrong one.

`check`, `hint` and `solution` are the three calls that learners know from Kaggle's learntools
(https://github.com/Kaggle/learntools).
"""

import copy
import functools
import inspect
import re
import sysconfig
import textwrap
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from torch import nn

from mnist_lab.exercises.global_state import restored
from mnist_lab.exercises.time_limit import Stopped, TooLong, run_in_time
from mnist_lab.exercises.unanswered import is_as_delivered

COLUMNS = 58  # what a page of JupyterLab holds in a window of 900 pixels
RIGHT, WRONG, UNANSWERED = "Right", "Not right", "Not answered yet"
FAILED = "The check itself has failed"  # nothing is known about the answer
NOT_THE_STUDENTS = (
    str(Path(__file__).parents[1]),
    *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
)


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
    except (AnswerFailed, Wrong, Stopped):
        raise
    except BaseException as error:  # `SystemExit` and whatever the student has made
        raise AnswerFailed from error


@dataclass(frozen=True)
class Exercise:
    """What a student is asked, and how the answer is known.

    The texts are Markdown, from the `.md` file. `given`: a cell of code before the answer's.
    `start`: the answer's cell as delivered, `...` where something is missing; `solution`: one that
    is right. `right` is said when it is. `checker` raises `Wrong` for an answer that is not right;
    its parameters name the variables of the notebook that it reads.
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


def exercise(title: str) -> Callable[[Callable[..., None]], Exercise]:
    """Make a checker the exercise of this title; its texts are in the `.md` beside its file."""

    def made(checker: Callable[..., None]) -> Exercise:
        file = Path(inspect.getfile(checker)).with_suffix(".md")
        return Exercise(title=title, checker=checker, **read_texts(file)[title])

    return made


@functools.cache
def read_texts(file: Path) -> dict[str, dict[str, str]]:
    """Every exercise's texts by its title (`## …`): `task`, and what stands under `### Hint`, …"""
    texts = {}
    _, *sections = re.split(r"^## (.+)\n", file.read_text(encoding="utf-8"), flags=re.M)
    for title, section in zip(sections[::2], sections[1::2]):
        task, *parts = re.split(r"^### (\w+)\n", section, flags=re.M)
        named = zip(["task", *parts[::2]], [task, *parts[1::2]])
        texts[title] = {name.lower(): _without_fence(text.strip()) for name, text in named}
    return texts


def _without_fence(text: str) -> str:
    return text.removeprefix("```python\n").removesuffix("\n```")


@dataclass(frozen=True)
class Verdict:
    """What became of an answer: RIGHT, WRONG, UNANSWERED or FAILED, and why."""

    outcome: str
    why: str

    def __str__(self) -> str:
        """As `check` prints it, in lines that fit a narrow page."""
        colon = self.outcome in (WRONG, FAILED)
        return textwrap.fill(f"{self.outcome}{':' if colon else '.'} {self.why}", COLUMNS)


def judge(exercise: Exercise, namespace: dict) -> Verdict:
    """The verdict on the answer that stands in `namespace`.

    The answer is copied, what it changes for the whole process is put back, and what the student's
    code raises, or its never ending, becomes a sentence.
    """
    missing = [name for name in exercise.variables if name not in namespace]
    if missing:
        return Verdict(UNANSWERED, f"There is no `{missing[0]}` so far: the cell has to define it.")
    answers = {name: namespace[name] for name in exercise.variables}
    same = [name for name, value in answers.items() if is_as_delivered(name, value, exercise.start)]
    if same:
        half = f"`{same[0]}` is still as it was delivered: fill it in, too."
        whole = "Change the code above, then run it."
        return Verdict(UNANSWERED, whole if len(same) == len(answers) else half)
    # IPython's `exit` and `quit` raise nothing: they end the kernel when the cell is over.
    with restored(), patch.dict(namespace, exit=_leave, quit=_leave):
        try:
            return run_in_time(lambda: _verdict(exercise, answers))
        except TooLong as error:
            return Verdict(WRONG, str(error))


def _leave(*_) -> None:
    raise SystemExit


def _verdict(exercise: Exercise, answers: dict) -> Verdict:
    try:
        copies = {}
        for name, value in answers.items():
            asked = re.search(rf"^(def|class) {name}\b", exercise.start, re.M)
            if asked and not callable(value):
                raise Wrong(f"`{name}` is a {type(value).__name__}; a function is expected.")
            copies[name] = _copied(value, bool(asked) and asked[1] == "def")
        exercise.checker(**copies)
    except Stopped:
        raise
    except Wrong as wrong:
        return Verdict(WRONG, str(wrong))
    except BaseException as error:
        return _verdict_on(error)
    return Verdict(RIGHT, exercise.right)


def _verdict_on(error: BaseException) -> Verdict:
    """What an error means: it is the answer's, or else the checker's."""
    from_answer = isinstance(error, AnswerFailed)
    error = error.__cause__ if from_answer else error
    frames = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in frames if not frame.filename.startswith(NOT_THE_STUDENTS)]
    said = " ".join(traceback.format_exception_only(error)[-1].split())[:300]
    if not frames and not from_answer:
        return Verdict(
            FAILED,
            "it says nothing about your answer, right or wrong. Please report it, with your "
            f"answer: {said}",
        )
    line = f": `{frames[-1].line[:60]}`" if frames and frames[-1].line else ""
    place = f" (line {frames[-1].lineno}{line})" if frames else ""
    gap = " There is still a `...` in it." if "ellipsis" in said else ""
    return Verdict(WRONG, f"running it{place} ends in {said.rstrip('.')}.{gap}")


def _copied(value: object, is_function: bool = False):
    """A copy for the checker to play with; the value itself where there can be none.

    A class or a module may stand where a function was asked for (`is_function`).
    """
    try:
        copied = copy.deepcopy(value)
    except Exception:
        copied = value
    if callable(value) and (is_function or not isinstance(value, (type, nn.Module))):
        wrapped = functools.partial(call, copied)
        wrapped.__wrapped__ = value  # where its parameters' names are read
        return wrapped
    return copied


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

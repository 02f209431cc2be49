"""One exercise: its texts, and the check that tells a right answer from a wrong one.

`check`, `hint` and `solution` are the three calls that learners know from Kaggle's learntools
(https://github.com/Kaggle/learntools).
"""

import copy
import functools
import inspect
import random
import re
import sysconfig
import textwrap
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from torch import nn

from mnist_lab.exercises.global_state import restored
from mnist_lab.exercises.time_limit import Stopped, TooLong, run_in_time
from mnist_lab.exercises.unanswered import is_as_delivered
from mnist_lab.validation import UserError

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


class Reported(Exception):
    """What an answer's code has raised elsewhere, and in which of its lines (0: unknown)."""

    def __init__(self, said: str, line: int, source: str):
        super().__init__(said)
        self.line, self.source = line, source


def watched(watch: Callable, answer: Callable, *arguments):
    """What `watch(answer, *arguments)`, of the module `watch`, sees of an answer.

    It runs beside the answer, wherever that is: arguments and result are numbers, texts, tensors,
    or rows of them.
    """
    elsewhere = getattr(getattr(answer, "__wrapped__", None), "watched", None)
    return elsewhere(watch.__name__, *arguments) if elsewhere else watch(answer, *arguments)


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
    its parameters name the variables of the notebook that it reads. A student's copy may lack
    solutions, and checkers (None).
    """

    title: str
    task: str
    start: str
    checker: Callable[..., None] | None
    hint: str = ""
    solution: str = ""
    right: str = ""
    given: str = ""
    draws: Callable[[random.Random], dict] | None = None

    @property
    def name(self) -> str:
        """Raises `UserError` where there is no checker."""
        if self.checker is None:
            raise UserError(f"{self.title!r} has no checker here: its n??.py is missing.")
        return self.checker.__name__

    @property
    def variables(self) -> list[str]:
        """The names that an answer defines."""
        parameters = inspect.signature(self.checker).parameters.values()
        return [one.name for one in parameters if one.kind is not one.KEYWORD_ONLY]

    def numbers(self, key: str) -> dict:
        """What is drawn for the student of this key: the same whenever it is asked."""
        return self.draws(random.Random(f"{key} {self.title}")) if self.draws else {}

    def for_key(self, text: str, key: str) -> str:
        """A text with the student's numbers in the place of their names in braces."""
        return text.format(**self.numbers(key)) if self.draws else text


def exercise(
    title: str, draws: Callable[[random.Random], dict] | None = None
) -> Callable[[Callable[..., None]], Exercise]:
    """Make a checker the exercise of this title; its texts are in the `.md` beside its file.

    `draws`: what is drawn for each student, such as `lambda draw: {"width": draw.randint(8, 32)}`:
    task and start have `{width}` in them, and the checker a parameter `width` behind a `*`.
    """

    def made(checker: Callable[..., None]) -> Exercise:
        file = Path(inspect.getfile(checker)).with_suffix(".md")
        return Exercise(title=title, checker=checker, draws=draws, **read_texts(file)[title])

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


def judge(exercise: Exercise, namespace: dict, key: str = "") -> Verdict:
    """The verdict on the answer that stands in `namespace`.

    The answer is copied, what it changes for the whole process is put back, and what the student's
    code raises, or its never ending, becomes a sentence.
    """
    answers = {name: namespace[name] for name in exercise.variables if name in namespace}
    there = {
        name: is_as_delivered(name, value, exercise.for_key(exercise.start, key))
        for name, value in answers.items()
    }
    if early := unanswered(exercise, there):
        return early
    # IPython's `exit` and `quit` raise nothing: they end the kernel when the cell is over.
    with restored(), patch.dict(namespace, exit=_leave, quit=_leave):
        try:
            return run_in_time(lambda: verdict(exercise, answers, key))
        except TooLong as error:
            return Verdict(WRONG, str(error))


def _leave(*_) -> None:
    raise SystemExit


def unanswered(exercise: Exercise, there: Mapping[str, bool]) -> Verdict | None:
    """The verdict where there is no answer to judge; `there`: of each variable that the cell has
    defined, whether it is still as delivered."""
    missing = [name for name in exercise.variables if name not in there]
    if missing:
        return Verdict(UNANSWERED, f"There is no `{missing[0]}` so far: the cell has to define it.")
    same = [name for name in exercise.variables if there[name]]
    if not same:
        return None
    half = f"`{same[0]}` is still as it was delivered: fill it in, too."
    whole = "Change the code above, then run it."
    return Verdict(UNANSWERED, whole if len(same) == len(there) else half)


def verdict(exercise: Exercise, answers: dict, key: str = "") -> Verdict:
    """The verdict on answers, by the names of the exercise's variables; `key`: a student's."""
    try:
        copies = {}
        for name, value in answers.items():
            asked = re.search(rf"^(def|class) {name}\b", exercise.start, re.M)
            if asked and not callable(value):
                raise Wrong(f"`{name}` is of type {type(value).__name__}; a function is expected.")
            copies[name] = _copied(value, bool(asked) and asked[1] == "def")
        exercise.checker(**copies, **exercise.numbers(key))
    except Stopped:
        raise
    except Wrong as wrong:
        return Verdict(WRONG, str(wrong))
    except BaseException as error:
        return verdict_on(error, exercise.checker)
    return Verdict(RIGHT, exercise.right)


def verdict_on(error: BaseException, checker: Callable) -> Verdict:
    """What an error means: it is the answer's, or else the checker's."""
    from_answer = isinstance(error, AnswerFailed)
    error = error.__cause__ if from_answer else error
    frames = traceback.extract_tb(error.__traceback__)
    ours = (*NOT_THE_STUDENTS, inspect.getfile(checker))  # an instructor's own lies elsewhere
    frames = [frame for frame in frames if not frame.filename.startswith(ours)]
    said = " ".join(traceback.format_exception_only(error)[-1].split())[:300]
    if not frames and not from_answer:
        return Verdict(
            FAILED,
            "it says nothing about your answer, right or wrong. Please report it, with your "
            f"answer: {said}",
        )
    line = f": `{frames[-1].line[:60]}`" if frames and frames[-1].line else ""
    place = f" (line {frames[-1].lineno}{line})" if frames else ""
    if isinstance(error, Reported):
        said, line = str(error), f": `{error.source.strip()[:60]}`" if error.source.strip() else ""
        place = f" (line {error.line}{line})" if error.line else ""
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

    def __init__(self, exercise: Exercise, namespace: dict, key: str = ""):
        self._exercise, self._namespace, self._key = exercise, namespace, key

    def check(self) -> None:
        """Say whether the answer is right, and if not, why."""
        later = "It is checked when you hand it in."
        exercise = self._exercise
        print(judge(exercise, self._namespace, self._key) if exercise.checker else later)

    def hint(self) -> None:
        """Say what may help."""
        print(textwrap.fill(self._exercise.hint, COLUMNS))

    def solution(self) -> None:
        """Show an answer that is right."""
        print(self._exercise.solution or "This copy of the course has no solutions.")

    def __repr__(self) -> str:
        return f"{self._exercise.title}: .check(), .hint() or .solution()"

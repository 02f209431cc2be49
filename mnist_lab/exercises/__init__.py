"""Exercises that check themselves: `q1, q2, q3 = questions("04", globals())`.

`n04.md` holds the texts of notebook 04's exercises, `n04.py` what checks the answers: the cells
there, and the solutions, are written from both. `quick` and `guess` are smaller: see `warm_up`.
"""

import importlib
import pkgutil

from mnist_lab.exercises.question import Exercise, Question
from mnist_lab.exercises.warm_up import guess as guess
from mnist_lab.exercises.warm_up import quick as quick
from mnist_lab.validation import UserError


def numbers() -> list[str]:
    """The notebooks that have exercises: "01", "02", …"""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name[1:] for name in names if name[0] == "n" and name[1:].isdigit())


def exercises(number: str) -> list[Exercise]:
    """The exercises of a notebook, in order. Raises `UserError` for a notebook that has none."""
    if number not in numbers():
        raise UserError(f"notebook {number!r} has no exercises; there are: {', '.join(numbers())}.")
    module = importlib.import_module(f"{__name__}.n{number}")
    return [value for value in vars(module).values() if isinstance(value, Exercise)]


def questions(number: str, namespace: dict) -> tuple[Question, ...]:
    """The questions of a notebook, in order; their answers are looked up in `namespace`.

    Raises `UserError` for a notebook that has none.
    """
    return tuple(Question(exercise, namespace) for exercise in exercises(number))

"""Exercises that check themselves: `q1, q2, q3 = questions("04", globals())`.

`n04.md` holds the texts of notebook 04's exercises, `n04.py` what checks the answers: the cells
there, and the solutions, are written from both. `quick` and `guess` are smaller: see `warm_up`.
"""

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

from mnist_lab.exercises.question import Exercise, Question, read_texts
from mnist_lab.exercises.warm_up import guess as guess
from mnist_lab.exercises.warm_up import quick as quick
from mnist_lab.validation import UserError

FOLDER = Path(__file__).parent
OWN = "MNIST_LAB_EXERCISES"  # the environment variable that names a folder of further exercises


def folders() -> list[Path]:
    """Where exercises lie: in an instructor's folder, if `OWN` names one, and in the course's."""
    own = os.environ.get(OWN)
    return [*([Path(own).expanduser().resolve()] if own else []), FOLDER]


def numbers() -> list[str]:
    """The notebooks that have exercises: "01", "02", …"""
    return sorted({path.stem[1:] for folder in folders() for path in folder.glob("n[0-9][0-9].md")})


def exercises(number: str) -> list[Exercise]:
    """The exercises of a notebook, in order. Raises `UserError` for a notebook that has none.

    Where the file of texts stands alone, as in a student's copy, they have no checker.
    """
    if number not in numbers():
        raise UserError(f"notebook {number!r} has no exercises; there are: {', '.join(numbers())}.")
    folder = next(folder for folder in folders() if (folder / f"n{number}.md").exists())
    if not (folder / f"n{number}.py").exists():
        texts = read_texts(folder / f"n{number}.md")
        return [Exercise(title=title, checker=None, **parts) for title, parts in texts.items()]
    return [
        value for value in vars(_module(folder, number)).values() if isinstance(value, Exercise)
    ]


def _module(folder: Path, number: str) -> ModuleType:
    """The module of checkers; of a folder of one's own it is loaded by its path, once."""
    if folder == FOLDER:
        return importlib.import_module(f"{__name__}.n{number}")
    path = folder / f"n{number}.py"
    if str(path) not in sys.modules:
        spec = importlib.util.spec_from_file_location(str(path), path)
        sys.modules[str(path)] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[str(path)])
    return sys.modules[str(path)]


def questions(number: str, namespace: dict, key: str = "") -> tuple[Question, ...]:
    """The questions of a notebook, in order; their answers are looked up in `namespace`.

    `key`: the student's, where numbers are drawn for each. Raises `UserError` for a notebook that
    has none.
    """
    return tuple(Question(exercise, namespace, key) for exercise in exercises(number))

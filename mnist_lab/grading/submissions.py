"""What was handed in: which files, and the exercise cells in them, wherever they have gone.

An exercise's cell carries the exercise's name in its metadata. Cells that were copied, split or
typed anew are found; what was found in another way than by the name is remarked.
"""

import ast
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mnist_lab.course.exercise_cells import MARK
from mnist_lab.exercises.question import Exercise

LARGEST = 32 << 20  # bytes of a notebook
LONGEST = 100_000  # characters of an answer
MAGIC = re.compile(r"^([ \t]*)(?:[%!].*|[\w.]+\?{1,2}|\?{1,2}[\w.]+)[ \t]*$", re.MULTILINE)


MOST_DEFINITIONS = 500
DEFINITION = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef
LITERAL = (ast.Constant, ast.Tuple, ast.List, ast.Dict, ast.UnaryOp, ast.unaryop, ast.expr_context)


@dataclass
class Answer:
    """The code that was handed in for an exercise; None if there is none. `remarks`: how found."""

    code: str | None
    given: str = ""
    key: str = ""
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Submission:
    """A file that was handed in, by its place in the folder: of two alike names each is one."""

    name: str
    path: Path


def find_submissions(folder: Path) -> list[Submission]:
    """Every notebook in a folder and in those in it, in order; links and devices are left out."""
    paths = sorted(
        path for path in folder.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts
    )
    files = [path for path in paths if path.is_file() and not path.is_symlink()]
    names = [path.relative_to(folder).with_suffix("").as_posix() for path in files]
    return [Submission(readable(name), path) for name, path in zip(names, files)]


def readable(text: str) -> str:
    """A text that can be written as UTF-8, and does nothing to a terminal."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def read_cells(path: Path) -> list[dict]:
    """The cells of a notebook's file, whatever its version. Raises `ValueError` if it is none."""
    if path.stat().st_size > LARGEST:
        raise ValueError(f"it is larger than {LARGEST >> 20} MB.")
    try:
        notebook = json.loads(path.read_text("utf-8-sig"))
        sheets = notebook.get("worksheets") or [notebook]
        cells = [cell for sheet in sheets for cell in sheet["cells"]]
        return [cell for cell in cells if isinstance(cell, dict)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        raise ValueError("it is no notebook: it cannot be read.") from error


def find_answers(cells: Sequence[dict], wanted: Mapping[str, Exercise]) -> dict[str, Answer]:
    """The answer to each exercise that is `wanted`, by its name ("11/share_a_block")."""
    marked: dict[str, list[str]] = {}
    given: dict[str, str] = {}
    keys: dict[str, str] = {}
    every: list[tuple[str, str]] = []
    for cell in cells:
        text = _source(cell)
        mark = (
            cell.get("metadata", {}).get(MARK, {}) if isinstance(cell.get("metadata"), dict) else {}
        )
        mark = mark if isinstance(mark, dict) else {}
        if cell.get("cell_type") != "code":
            continue
        of, name = str(mark.get("given", "")), str(mark.get("exercise", ""))
        if of in wanted:
            given[of] = _plain(text)
        elif name in wanted:
            marked.setdefault(name, []).append(text)
            keys[name] = str(mark.get("key", ""))[:80]
        every.append((name, text))
    answers = {}
    for name, exercise in wanted.items():
        others = [text for other, text in every if other != name]
        one = _answer(exercise, marked.get(name, []), others, given.get(name, exercise.given))
        one.key = keys.get(name, "")
        one.remarks += [f"Its numbers are those of {one.key!r}."] if exercise.draws else []
        answers[name] = one
    return answers


def _source(cell: dict) -> str:
    """A cell's code; older notebooks call it `input`, and it may be a list of lines."""
    text = cell.get("source", cell.get("input", ""))
    text = "".join(map(str, text)) if isinstance(text, list) else str(text)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _answer(exercise: Exercise, marked: list[str], others: list[str], given: str) -> Answer:
    remarks = []
    changed = [text for text in marked if not _is_start(text, exercise)]
    if len(marked) > 1:
        remarks.append(f"{len(marked)} cells carry this exercise's name; they are run in order.")
    parts = changed or marked[:1]
    if not changed:
        typed = [text for text in others if _defines(text, exercise.variables)]
        if typed:
            parts = typed[-1:]
            remarks.append("The answer stands in a cell of its own, and was found by its names.")
    if not parts:
        return Answer(None, given, remarks=["There is no cell of this exercise."])
    code = "\n".join(parts)
    if len(code) > LONGEST:
        remarks = [f"The answer is longer than {LONGEST:,} characters."]
        return Answer(None, given, remarks=remarks)
    return Answer(_plain(code), given, remarks=remarks)


def _is_start(text: str, exercise: Exercise) -> bool:
    """Whether a cell is as it was delivered, up to spaces and calls such as `q1.check()`."""
    return _bare(text) == _bare(exercise.start)


def _bare(text: str) -> str:
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not re.match(r"(# )?q\d+\.", line))


def _defines(text: str, names: Sequence[str]) -> bool:
    return all(re.search(rf"^(def |class )?{name}\b *[=(:,]", text, re.MULTILINE) for name in names)


def _plain(code: str) -> str:
    """Python without what only a notebook understands: `%timeit`, `!ls`, `?`."""
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return MAGIC.sub(r"\1pass", code)
    return code


def definitions(cells: Sequence[dict]) -> list[str]:
    """The imports, functions, classes and constants of a notebook: an answer may use their names.

    Those of the exercises' own cells are left out.
    """
    found = []
    for cell in cells:
        metadata = cell.get("metadata")
        marked = isinstance(metadata, dict) and MARK in metadata
        if cell.get("cell_type") == "code" and not marked:
            with suppress(SyntaxError, ValueError, RecursionError, MemoryError):
                body = ast.parse(_plain(_source(cell))).body
                found += [ast.unparse(one) for one in body if _defines_only(one)]
    return found[:MOST_DEFINITIONS]


def _defines_only(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Assign):
        return all(isinstance(one, LITERAL) for one in ast.walk(statement.value))
    return isinstance(statement, DEFINITION)

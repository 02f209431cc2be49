"""What was handed in: which files, and the exercise cells in them, wherever they have gone.

An exercise's cell carries the exercise's name in its metadata. Cells that were copied, split or
typed anew are found; what was found in another way than by the name is remarked.
"""

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager

from mnist_lab.course.exercise_cells import MARK
from mnist_lab.exercises.question import Exercise

LARGEST = 32 << 20  # bytes of a notebook
LONGEST = 100_000  # characters of an answer
SHELL = re.compile(r"^\s*[%!].*$", re.MULTILINE)


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
    return [Submission(path.relative_to(folder).with_suffix("").as_posix(), path) for path in files]


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
    others = []
    for cell in cells:
        text = _source(cell)
        mark = (
            cell.get("metadata", {}).get(MARK, {}) if isinstance(cell.get("metadata"), dict) else {}
        )
        mark = mark if isinstance(mark, dict) else {}
        if cell.get("cell_type") != "code":
            continue
        if mark.get("given") in wanted:
            given[mark["given"]] = text
        elif mark.get("exercise") in wanted:
            marked.setdefault(mark["exercise"], []).append(text)
            keys[mark["exercise"]] = str(mark.get("key", ""))[:80]
        else:
            others.append(text)
    answers = {}
    for name, exercise in wanted.items():
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
        return Answer(None, given, ["There is no cell of this exercise."])
    code = "\n".join(parts)
    if len(code) > LONGEST:
        return Answer(None, given, [f"The answer is longer than {LONGEST:,} characters."])
    return Answer(_plain(code), given, remarks)


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
        code = TransformerManager().transform_cell(code)
    except SyntaxError:
        code = SHELL.sub("", code)
    lines = (line for line in code.split("\n"))
    return "\n".join("" if line.lstrip().startswith("get_ipython()") else line for line in lines)


def import_lines(cells: Sequence[dict]) -> list[str]:
    """Each import of a delivered notebook: an answer may use its names."""
    return [
        line
        for cell in cells
        if cell.get("cell_type") == "code"
        for line in _imports(_source(cell))
    ]


def _imports(text: str) -> Iterator[str]:
    try:
        tree = ast.parse(text)
    except SyntaxError:  # a cell of magics
        return
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield ast.unparse(statement)

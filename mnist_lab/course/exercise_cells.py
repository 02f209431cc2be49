"""The cells of the exercises, and the solutions: both are written from `mnist_lab/exercises`.

A notebook's exercises stand before its experiments. Its solutions are a notebook of their own, with
answers to the experiments (`experiments_04.md`), and are executed as they are written.
"""

import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode, writes
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from mnist_lab.course.kernels import kernel_config
from mnist_lab.course.notebooks import find_notebooks, read_notebook, same_source
from mnist_lab.exercises import exercises, numbers
from mnist_lab.exercises.question import RIGHT, Verdict
from mnist_lab.files import write_file, write_files
from mnist_lab.validation import UserError

MARK = "mnist_lab"  # in a cell's metadata: by it `grade` knows the exercise's cells
QUIET = ["--log-level=CRITICAL"]  # the kernel's start is no news
EXPERIMENTS = "## Experiments"
CALL = "# q{0}.hint()\n# q{0}.solution()\nq{0}.check()"
INTRODUCTION = """\
## Exercises

Fill in what is missing and run the cell: `check()` says at once whether your answer is right, and
if not, why. Take the `#` away from `hint()` or `solution()` when you need them. All solutions, and
what the experiments below show, are together in [a notebook of their own](solutions/{name})."""
TOP = """\
# {number} · Solutions

One way to solve each exercise of [{title}](../{name}). Others are right, too: `check()` in that
notebook tells. Try first, if only for ten minutes: what you find here then answers a question
that you have. If you are stuck, read one solution, close this page, and write it yourself."""
TOP_EXPERIMENTS = """\
# {number} · What the experiments show

Answers to the experiments of [{title}](../{name})."""
COMPARE = """\
## Experiments

What to expect, and why. Numbers of yours may differ, with the machine and the seed: what counts is
whether you guessed the direction, and can say why."""
TEXTS = Path(inspect.getfile(exercises)).parent


def solutions_path(folder: Path, number: str) -> Path:
    """Where the solutions of a notebook lie, in the folder of the course."""
    return folder / "solutions" / f"solutions_{number}.ipynb"


def write_exercises(folder: Path, names: Sequence[str] = ()) -> list[Path]:
    """Write the exercises of the notebooks in `folder`, and their solutions; return what changed.

    `names` as in `find_notebooks`. Raises `UserError` for a notebook without a place for them, and
    for a solution that does not run.
    """
    texts = {}
    for path in [path for path in find_notebooks(folder, names) if path.name[:2] in solved()]:
        notebook, target = with_exercises(path), solutions_path(folder, path.name[:2])
        if not same_source(notebook, read_notebook(path)):
            texts[path] = writes(notebook) + "\n"
        if not target.exists() or not is_current(read_notebook(target), path):
            texts[target] = writes(_executed(solutions(path), target)) + "\n"
    write_files(texts)
    return list(texts)


def solved() -> list[str]:
    """The notebooks that have solutions: those with exercises, or with answers to experiments."""
    answered = (path.stem.removeprefix("experiments_") for path in TEXTS.glob("experiments_*.md"))
    return sorted({*numbers(), *answered})


def experiments(number: str) -> list[str]:
    """What each of a notebook's experiments shows, in order: Markdown with code to be run."""
    file = TEXTS / f"experiments_{number}.md"
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    return [answer.strip() for answer in re.split(r"^## \d+\n", text, flags=re.M)[1:]]


def write_for(path: Path, key: str, target: Path) -> None:
    """Write a student's own copy of a notebook, with the numbers that are drawn for the key."""
    write_file(target, writes(with_exercises(path, key)) + "\n")


def with_exercises(path: Path, key: str = "") -> NotebookNode:
    """The notebook with its exercises as they are now; outputs stay where nothing has changed."""
    notebook, number = read_notebook(path), path.name[:2]
    if number not in numbers():
        return notebook
    old = {cell.id: cell for cell in notebook.cells if cell.id.startswith(f"q{number}-")}
    cells = [cell for cell in notebook.cells if cell.id not in old]
    places = [i for i, cell in enumerate(cells) if cell.source.startswith(EXPERIMENTS)]
    if len(places) != 1:
        raise UserError(
            f"{path} needs one cell that begins with {EXPERIMENTS!r}: the exercises go before it."
        )
    new = exercise_cells(number, key=key)
    for cell in new:
        if cell.id in old and old[cell.id].source == cell.source and cell.cell_type == "code":
            cell.outputs, cell.execution_count = old[cell.id].outputs, old[cell.id].execution_count
    notebook.cells = [*cells[: places[0]], *new, *cells[places[0] :]]
    return notebook


def exercise_cells(number: str, solved: bool = False, key: str = "") -> list[NotebookNode]:
    """The cells of a notebook's exercises: to be filled in, or `solved`; `key`: a student's."""
    found = exercises(number)
    names = ", ".join(f"q{i}" for i in range(1, len(found) + 1))
    begin = f"from mnist_lab.exercises import questions\n\n{names} = "
    plain = {"tags": []}  # as papermill leaves it
    student = f", {key!r}" if key else ""
    first = f'{begin}questions("{number}", globals(){student})'
    cells = [new_code_cell(first, id=f"q{number}-begin", metadata=plain)]
    if not solved:
        text = INTRODUCTION.format(name=solutions_path(Path(), number).name)
        cells.insert(0, new_markdown_cell(text, id=f"q{number}-text", metadata=plain))
    for i, exercise in enumerate(found, 1):
        name = f"{number}/{exercise.name}"
        task = f"### Exercise {i}: {exercise.title}\n\n{exercise.for_key(exercise.task, key)}"
        cells.append(new_markdown_cell(task, id=f"q{number}-{i}-task", metadata=plain))
        if exercise.given:
            # A picture is no two times the same file.
            drawn = {"tags": ["nbval-ignore-output"]} | ({} if solved else {MARK: {"given": name}})
            given = new_code_cell(exercise.given, id=f"q{number}-{i}-given", metadata=drawn)
            cells.append(given)
        answer = exercise.solution if solved else exercise.for_key(exercise.start, key)
        answer += "\n\n\n" if answer.splitlines()[-1].startswith(" ") else "\n\n"
        answer += f"q{i}.check()" if solved else CALL.format(i)
        mark = {} if solved else {MARK: {"exercise": name} | ({"key": key} if key else {})}
        answers = {"id": f"q{number}-{i}-answer", "metadata": plain | mark}
        cells.append(new_code_cell(answer, **answers))
    return cells


def experiment_cells(number: str) -> list[NotebookNode]:
    """The cells of the answers to a notebook's experiments: texts, and code between them."""
    answers = experiments(number)
    cells = [new_markdown_cell(COMPARE, id=f"s{number}-experiments")] if answers else []
    for i, answer in enumerate(answers, 1):
        # Text and code take turns.
        for k, part in enumerate(re.split(r"^```(?:python)?$", answer, flags=re.M)):
            named = {"id": f"s{number}-{i}-{k}"}
            text = part.strip() if k else f"### Experiment {i}\n\n{part.strip()}".strip()
            if text:
                cells.append((new_code_cell if k % 2 else new_markdown_cell)(text, **named))
    return cells


def solutions(path: Path) -> NotebookNode:
    """The solutions of a notebook's exercises, and its experiments', not yet executed."""
    notebook, number = read_notebook(path), path.name[:2]
    title = notebook.cells[0].source.splitlines()[0].removeprefix("# ")
    top = TOP if number in numbers() else TOP_EXPERIMENTS
    top = top.format(number=number, title=title, name=path.name)
    setup = next(cell for cell in notebook.cells if cell.cell_type == "code")
    cells = [
        new_markdown_cell(top, id=f"s{number}-top"),
        new_code_cell(setup.source, id=f"s{number}-setup"),
        *(exercise_cells(number, solved=True) if number in numbers() else ()),
        *experiment_cells(number),
    ]
    return new_notebook(cells=cells, metadata={"kernelspec": notebook.metadata["kernelspec"]})


def is_current(stored: NotebookNode, path: Path) -> bool:
    """Whether stored solutions are a notebook's, and say what is said of a right answer now."""
    answers = [cell for cell in stored.cells if cell.id.endswith("-answer")]
    said = ["".join(output.get("text", "") for output in cell.outputs) for cell in answers]
    asked = exercises(path.name[:2]) if path.name[:2] in numbers() else []
    right = [f"{Verdict(RIGHT, exercise.right)}\n" for exercise in asked]
    return same_source(solutions(path), stored) and said == right


def _executed(notebook: NotebookNode, target: Path) -> NotebookNode:
    options = {"record_timing": False, "extra_arguments": QUIET}
    try:
        with TemporaryDirectory() as folder:
            return NotebookClient(notebook, config=kernel_config(folder), **options).execute()
    except CellExecutionError as error:
        raise UserError(f"{target.name} does not run: {error.ename}: {error.evalue}") from error

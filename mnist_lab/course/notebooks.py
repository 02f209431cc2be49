"""What the course reads off its notebooks: which there are, their source, tags and key figures."""

import re
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from mnist_lab.files import read_text
from mnist_lab.validation import UserError

COST = re.compile(r"^\*\*Cost:\*\*.*$", re.MULTILINE)  # measured, like an output
# Metadata that only an execution writes; "widgets" are the states of widgets, their code with them.
EXECUTION = ("papermill", "execution", "widgets", "language_info")
WIDGET = "application/vnd.jupyter.widget-view+json"  # needs a kernel that is gone


def find_notebooks(folder: Path, names: Sequence[str] = ()) -> list[Path]:
    """The notebooks of the course in order; with names, those only.

    A name is a path to a notebook, or the beginning of a notebook's name ("03", "solutions").
    Raises `UserError` for a name that fits none.
    """
    course = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not course:
        raise UserError(f"there are no notebooks in {folder}.")
    known = course + find_solutions(folder)
    chosen = {path for name in names for path in _named(name, known)}
    return sorted(chosen) if names else course


def find_solutions(folder: Path) -> list[Path]:
    """The notebooks that hold the solutions of the exercises, in order."""
    return sorted((folder / "solutions").glob("solutions_[0-9][0-9].ipynb"))


def _named(name: str, course: list[Path]) -> list[Path]:
    if name.endswith(".ipynb") and Path(name).is_file():
        return [Path(name).resolve()]
    found = [path for path in course if name and path.name.startswith(name)]
    if not found:
        known = ", ".join(path.stem for path in course)
        raise UserError(f"no notebook begins with {name!r}; there are: {known}.")
    return found


def read_notebook(path: Path) -> NotebookNode:
    """A notebook. Raises `UserError` for a file that is none."""
    text = read_text(path)
    try:
        return nbformat.reads(text, as_version=4)
    except (nbformat.ValidationError, nbformat.reader.NotJSONError, AttributeError) as error:
        raise UserError(f"{path} is not a notebook.") from error


def without_traces(notebook: NotebookNode) -> NotebookNode:
    """The notebook without what papermill and its kernel add; it is changed in place.

    A text that arrived in two pieces becomes one, and of a widget its text remains.
    """
    for part in (notebook, *notebook.cells):
        for name in EXECUTION[:3]:
            part.metadata.pop(name, None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)
            for output in cell.outputs:
                output.get("data", {}).pop(WIDGET, None)
    return notebook


def _joined(outputs: Sequence[NotebookNode]) -> list[NotebookNode]:
    joined = []
    for output in outputs:
        last = joined[-1] if joined else {}
        if output.output_type == last.get("output_type") == "stream" and output.name == last.name:
            last.text += output.text
        else:
            joined.append(output)
    return joined


def same_source(one: NotebookNode, other: NotebookNode) -> bool:
    """Whether two notebooks are the same but for what an execution writes and its parameters."""
    return _source(one) == _source(other)


def _source(notebook: NotebookNode) -> tuple:
    cells = [
        (cell.cell_type, COST.sub("", cell.source), cell.get("attachments"), _kept(cell.metadata))
        for cell in notebook.cells
        if not has_tag(cell, "injected-parameters")
    ]
    return _kept(notebook.metadata), cells


def _kept(metadata: NotebookNode) -> dict:
    # papermill gives every cell its tags, be they none.
    return {
        name: value for name, value in metadata.items() if name not in EXECUTION and value != []
    }


def has_tag(cell: NotebookNode, tag: str) -> bool:
    """Whether a cell carries the tag."""
    return tag in cell.metadata.get("tags", [])


def runs_alone(notebook: NotebookNode) -> bool:
    """Whether a notebook measures time, and so wants every core to itself: the tag `alone`."""
    return any(has_tag(cell, "alone") for cell in notebook.cells)


def key_figures(notebook: NotebookNode) -> dict[str, str]:
    """What the cells tagged `key-figures` print: lines of `name: value`."""
    printed = [
        line
        for cell in notebook.cells
        if has_tag(cell, "key-figures")
        for output in cell.outputs
        for line in output.get("text", "").splitlines()
    ]
    return dict(line.split(": ", 1) for line in printed if ": " in line)


def last_cell(notebook: NotebookNode) -> tuple[int, NotebookNode] | None:
    """The code cell that papermill came to last, and its number; None before the first."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    begun = [
        (number, cell)
        for number, cell in enumerate(code, 1)
        if cell.metadata.get("papermill", {}).get("start_time")
    ]
    return begun[-1] if begun else None

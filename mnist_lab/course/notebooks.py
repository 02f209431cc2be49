"""What the course reads off its notebooks: which there are, their source, tags and key figures."""

import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from mnist_lab.files import read_text
from mnist_lab.validation import UserError

COST = re.compile(r"^\*\*Cost:\*\*.*$", re.MULTILINE)  # measured, like an output
NEEDED = re.compile(r"\*\*You need:\*\* about (\d+) minutes")
# Metadata that only an execution writes; "widgets" are the states of widgets, their code with them.
TRACES = {"papermill", "execution", "widgets"}
EXECUTION = {*TRACES, "language_info"}
WIDGET = "application/vnd.jupyter.widget-view+json"  # needs a kernel that is gone


def find_notebooks(folder: Path, names: Sequence[str] = ()) -> list[Path]:
    """The notebooks of the course in order; with names, those only.

    A name is a path to a notebook, or the beginning of a notebook's name ("04", "solutions").
    Raises `UserError` for a name that fits none.
    """
    course = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not course:
        raise UserError(f"there are no notebooks in {folder}.")
    known, chosen = course + find_solutions(folder), set()
    for name in names:
        found = {path for path in known if name and path.name.startswith(name)}
        if name.endswith(".ipynb") and Path(name).is_file():
            found = {Path(name).resolve()}
        if not found:
            stems = ", ".join(path.stem for path in known)
            raise UserError(f"no notebook begins with {name!r}; there are: {stems}.")
        chosen |= found
    return sorted(chosen) if names else course


def find_solutions(folder: Path) -> list[Path]:
    """The notebooks that hold the solutions of the exercises, in order."""
    return sorted((folder / "solutions").glob("solutions_[0-9][0-9].ipynb"))


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
        for name in TRACES:
            part.metadata.pop(name, None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)
            for output in cell.outputs:
                output.get("data", {}).pop(WIDGET, None)
    return notebook


def _joined(outputs: Sequence[NotebookNode]) -> list[NotebookNode]:
    joined = []
    for stream, pieces in groupby(outputs, lambda output: output.get("name")):
        first, *others = pieces
        if stream:  # nothing else has a name
            first.text += "".join(other.text for other in others)
            others = []
        joined += [first, *others]
    return joined


def same_source(one: NotebookNode, other: NotebookNode) -> bool:
    """Whether two notebooks are the same but for what an execution writes and its parameters."""
    return _source(one) == _source(other)


def _source(notebook: NotebookNode) -> list:
    cells = [cell for cell in notebook.cells if not has_tag(cell, "injected-parameters")]
    return [_kept(notebook.metadata)] + [
        (cell.cell_type, COST.sub("", cell.source), cell.get("attachments"), _kept(cell.metadata))
        for cell in cells
    ]


def _kept(metadata: NotebookNode) -> dict:
    # papermill gives every cell its tags, be they none.
    return {name: metadata[name] for name in metadata.keys() - EXECUTION if metadata[name] != []}


def has_tag(cell: NotebookNode, tag: str) -> bool:
    """Whether a cell carries the tag."""
    return tag in cell.metadata.get("tags", [])


def runs_alone(notebook: NotebookNode) -> bool:
    """Whether a notebook measures time, and so wants every core to itself: the tag `alone`."""
    return any(has_tag(cell, "alone") for cell in notebook.cells)


def key_figures(notebook: NotebookNode) -> dict[str, str]:
    """What the cells tagged `key-figures` print: lines of `name: value`."""
    cells = [cell for cell in notebook.cells if has_tag(cell, "key-figures")]
    texts = [output.get("text", "") for cell in cells for output in cell.outputs]
    lines = [line for text in texts for line in text.splitlines()]
    return dict(line.split(": ", 1) for line in lines if ": " in line)


def minutes_needed(notebook: NotebookNode) -> int:
    """What its head says that a person needs, exercises included. Raises `UserError` if nothing."""
    found = NEEDED.search(notebook.cells[0].source)
    if not found:
        raise UserError("the head of a notebook must say: **You need:** about … minutes.")
    return int(found[1])


def last_cell(notebook: NotebookNode) -> tuple[int, NotebookNode] | None:
    """The code cell that papermill came to last, and its number; None before the first."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in reversed(list(enumerate(code, 1))):
        if cell.metadata.get("papermill", {}).get("start_time"):
            return number, cell
    return None

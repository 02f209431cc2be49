"""The stored solutions of the exercises: run again, they print what is stored."""

import warnings
from pathlib import Path

import nbformat
import pytest
from cells import code_cells, printed
from nbformat.v4 import new_code_cell, new_notebook, new_output

from conftest import ROOT
from mnist_lab.course.notebooks import find_solutions
from mnist_lab.exercises import numbers

SOLUTIONS = find_solutions(ROOT / "notebooks")


def changed_outputs(notebook: nbformat.NotebookNode) -> list[str]:
    """Run the code cells in order; what each prints where it is not what is stored."""
    namespace = {"__name__": "__main__"}
    found = []
    for cell in code_cells(notebook):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            now = printed(cell, namespace)
        if now != "".join(output.get("text", "") for output in cell.outputs):
            found.append(f"{cell.id}: {now}")
    return found


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_the_stored_solutions_are_right(path: Path):
    notebook = nbformat.read(path, as_version=4)
    assert changed_outputs(notebook) == []
    answers = [cell for cell in notebook.cells if cell.id.endswith("-answer")]
    assert bool(answers) == (path.stem[-2:] in numbers())
    assert all(cell.outputs[0].text.startswith("Right. ") for cell in answers)


def test_an_output_that_has_changed_is_found():
    cells = [
        new_code_cell("x = 2", id="silent"),
        new_code_cell("print(x)", id="same", outputs=[new_output("stream", text="2\n")]),
        new_code_cell("print(x)", id="other", outputs=[new_output("stream", text="3\n")]),
    ]
    assert changed_outputs(new_notebook(cells=cells)) == ["other: 2\n"]

"""A student runs a cell twice, or goes back to section 2 and on: no error, and the same result."""

import re
from contextlib import chdir
from itertools import chain

import matplotlib
import nbformat
import pytest
from cells import code_cells
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from conftest import NOTEBOOKS, ROOT


def from_section_2(notebook: NotebookNode) -> list[NotebookNode]:
    """The code cells from the second numbered heading on."""
    cells = notebook.cells
    start = next(k for k, cell in enumerate(cells) if re.search(r"^## 2\. ", cell.source, re.M))
    return [cell for cell in cells[start:] if cell.cell_type == "code"]


def changes(notebook: NotebookNode) -> list[str]:
    """Run every code cell twice in a row, then all from section 2 on: what fails, and what prints
    something else. Cells whose output is not compared (times, trainings) must only run.
    """
    shell = InteractiveShell()
    first: dict[str, str] = {}
    found = []
    twice = chain.from_iterable((cell, cell) for cell in code_cells(notebook))
    for cell in chain(twice, from_section_2(notebook)):
        with capture_output() as output:
            result = shell.run_cell(cell.source)
        if not result.success:
            found.append(f"{cell.id}: {result.error_before_exec or result.error_in_exec!r}")
        elif "nbval-ignore-output" not in cell.metadata.get("tags", []):
            before = first.setdefault(cell.id, output.stdout)
            if output.stdout != before:
                found.append(f"{cell.id}: {before!r}, then {output.stdout!r}")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_can_be_run_again(path, monkeypatch, tmp_path):
    matplotlib.use("agg")
    monkeypatch.setenv("MNIST_LAB_RECORDS", str(tmp_path))
    with chdir(ROOT / "notebooks"):
        assert changes(nbformat.read(path, as_version=4)) == []


def test_what_cannot_be_run_again_is_found():
    cells = [
        new_markdown_cell("## 1. One"),
        new_code_cell("names = ['a']", id="good"),
        new_code_cell("print(names.pop())", id="twice"),
        new_code_cell("total = 1", id="start"),
        new_markdown_cell("**Analysis:** so it is.\n\n## 2. Two"),
        new_code_cell("print(total)", id="later"),
        new_code_cell("total = 2", id="changes"),
    ]
    first, second = changes(new_notebook(cells=cells))
    assert first.startswith("twice: IndexError") and second == "later: '1\\n', then '2\\n'"

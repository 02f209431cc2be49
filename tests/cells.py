"""Cells of a notebook, run in the process of the tests: a kernel would mostly import."""

import contextlib
import io

from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell: NotebookNode, namespace: dict) -> str:
    """Run a cell among the names of those before it; what it prints."""
    code = TransformerManager().transform_cell(cell.source)
    with contextlib.redirect_stdout(io.StringIO()) as text:
        exec(compile(code, cell.get("id", "cell"), "exec"), namespace)
    return text.getvalue()

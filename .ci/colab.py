"""Execute the notebooks where there is no repository, as on Colab; a warning is a failure too.

    python .ci/colab.py [NOTEBOOK ...]

Run by the Python that has `.ci/colab.txt`. Leaves with 1 if a notebook fails.
"""

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parents[1]


def complaints(notebook: nbformat.NotebookNode) -> list[str]:
    """Execute the notebook in an empty folder; the error and the warnings of its cells."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        client = NotebookClient(notebook, timeout=1800, kernel_name="python3", resources=resources)
        try:
            client.execute()
        except CellExecutionError as error:
            found.append(f"{error.ename}: {error.evalue}")
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stderr":
                found.append(f"cell {number} warns: {output.text.strip()}")
    return found


def main(files: list[str]) -> int:
    failed = 0
    for file in files or sorted((ROOT / "notebooks").rglob("*.ipynb")):
        found = complaints(nbformat.read(file, as_version=4))
        print(file, "fails" if found else "runs", *found, sep="\n    ", flush=True)
        failed += bool(found)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

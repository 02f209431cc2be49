"""From a finished run to the repository: stored outputs, records, costs and tables.

What the notebooks and the README state as measured is written here, never by hand.
"""

import base64
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import nbformat

from mnist_lab.course import Outcome, find_notebooks, load_summary
from mnist_lab.records import load_records, results_table, write_whole

COST = re.compile(r"^\*\*Cost:\*\*.*$", re.MULTILINE)
COSTS_FILE = "costs.json"


def publish(run: Path, root: Path) -> None:
    """Take over a whole run on MNIST with the stored parameters, or raise `ValueError`.

    Nothing is written unless everything can be.
    """
    outcomes = {outcome.notebook: outcome for outcome in load_summary(run)}
    executed = {}
    for path in find_notebooks(root / "notebooks"):
        outcome = outcomes.get(path.stem)
        if outcome is None or outcome.status != "ok" or outcome.digits != "MNIST":
            raise ValueError(f"{run} holds no finished run of {path.stem} on MNIST.")
        executed[path] = _clean(nbformat.read(run / path.name, as_version=4), outcome)
    for path, notebook in executed.items():
        write_whole(path, nbformat.writes(notebook) + "\n")
    records = root / "notebooks" / "records"
    records.mkdir(exist_ok=True)
    for record in (run / "records").glob("*.json"):
        shutil.copy(record, records)
    shutil.copy(run / "summary.json", records / COSTS_FILE)
    _take_picture(root)
    refresh_readme(root)


def _take_picture(root: Path) -> None:
    """The README's picture: that of the notebook cell tagged `readme-picture`."""
    for path in find_notebooks(root / "notebooks"):
        for cell in nbformat.read(path, as_version=4).cells:
            if "readme-picture" in cell.metadata.get("tags", []):
                png = base64.b64decode(cell.outputs[0].data["image/png"])
                (root / "notebooks" / "records" / "picture.png").write_bytes(png)


def newest_run(root: Path) -> Path:
    """The latest folder of `runs/` that holds a summary. Raises `ValueError` if there is none."""
    runs = sorted((root / "runs").glob("*/summary.json"))
    if not runs:
        raise ValueError(f"there is no run in {root / 'runs'}: execute the course first.")
    return runs[-1].parent


def _clean(notebook: nbformat.NotebookNode, outcome: Outcome) -> nbformat.NotebookNode:
    """The executed notebook without papermill's traces, its measured cost written in."""
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            raise ValueError(f"{outcome.notebook} was run with other parameters than the stored.")
    notebook.cells[0].source = COST.sub(cost_line(outcome), notebook.cells[0].source)
    return notebook


def cost_line(outcome: Outcome) -> str:
    """The line at the top of a notebook that says what it costs."""
    return (
        f"**Cost:** about {_duration(outcome.seconds)} and {outcome.peak_mb:,} MB of memory on "
        "two CPU cores, measured with MNIST."
    )


def refresh_readme(root: Path) -> None:
    """Write the README's tables anew from the records and the costs."""
    path, records = root / "README.md", root / "notebooks" / "records"
    text = path.read_text(encoding="utf-8")
    costs = notebook_table(load_costs(records))
    for name, table in (("notebooks", costs), ("results", results_table(load_records(records)))):
        text = re.sub(
            rf"(<!-- {name} -->\n).*?(\n<!-- end -->)",
            lambda match, table=table: match[1] + table + match[2],
            text,
            flags=re.DOTALL,
        )
    write_whole(path, text)


def load_costs(records: Path) -> list[Outcome]:
    """What the published run of every notebook cost."""
    return [Outcome(**row) for row in json.loads((records / COSTS_FILE).read_text())]


def notebook_table(outcomes: Sequence[Outcome]) -> str:
    """A Markdown table: a row for each notebook, with its measured cost."""
    rows = ["| notebook | time | memory |", "|---|---|---|"]
    for row in outcomes:
        title = row.notebook.replace("_", " ")
        link = f"[{title}](notebooks/{row.notebook}.ipynb)"
        rows.append(f"| {link} | {_duration(row.seconds)} | {row.peak_mb:,} MB |")
    return "\n".join(rows)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"

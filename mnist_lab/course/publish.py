"""From a finished run to the repository: stored outputs, records, costs, tables and weights.

The outputs of the notebooks, the published records and the tables in docs/ are written here.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from nbformat import NotebookNode, writes

from mnist_lab.course.model_card import model_card
from mnist_lab.course.notebooks import (
    COST,
    find_notebooks,
    has_tag,
    minutes_needed,
    read_notebook,
    same_source,
    without_traces,
)
from mnist_lab.course.outcomes import SUMMARY, Outcome, load_outcomes, summary_text
from mnist_lab.course.published_studies import STUDIES, load_studies, merge, study_text
from mnist_lab.course.tables import cost_line, notebook_table, results_table, speed_tables
from mnist_lab.files import read_text, write_files
from mnist_lab.pretrained import load_weights, read_weights
from mnist_lab.recipes import NETWORKS
from mnist_lab.records import RECORDS, as_recorded, kind_of_run, load_measurement, load_record
from mnist_lab.validation import UserError

PUBLISHED = Path("mnist_lab", "published")  # of the repository
COSTS_FILE = "costs.json"
SPLIT = {"name": "random", "train": 50_000, "validation": 10_000, "test": 10_000}
# As `plots.show` writes it.
PICTURE = re.compile(r'<img [^>]*src="data:image/png;base64,([^"]+)"')


def publish(run: Path, root: Path) -> None:
    """Take over a run on MNIST, with their stored parameters, of all notebooks or of some.

    The others stay as they were published, with their costs. Raises `UserError` for any other run,
    for a notebook that was edited since, for one that was never published, for what is missing and
    for what cannot be written. Nothing is written unless everything can be.
    """
    paths = {path.stem: path for path in find_notebooks(root / "notebooks")}
    new = {row.notebook: row for row in load_outcomes(run / SUMMARY) if row.notebook in paths}
    executed = {}
    for name, outcome in new.items():
        if outcome.status != "ok" or outcome.digits != "MNIST":
            raise UserError(f"{run} holds no finished run of {name} on MNIST.")
        executed[paths[name]] = _taken_over(run / paths[name].name, paths[name], outcome)
    costs = {row.notebook: row for row in load_outcomes(root / PUBLISHED / COSTS_FILE)} | new
    if lacking := sorted(paths.keys() - costs.keys()):
        raise UserError(f"{run} holds no run of {lacking[0]}, which was never published.")
    rows = [costs[name] for name in paths]
    notebooks = {path: executed.get(path) or read_notebook(path) for path in paths.values()}
    minutes = {path.stem: minutes_needed(notebook) for path, notebook in notebooks.items()}
    files = {path: writes(notebook) + "\n" for path, notebook in executed.items()}
    files[root / PUBLISHED / COSTS_FILE] = summary_text(rows)
    files[root / PUBLISHED / "picture.png"] = _picture(list(notebooks.values()))
    files |= _with_tables(root, {"notebooks": notebook_table(rows, minutes)})
    write_files(files)


def publish_records(sweep: Path, root: Path) -> list[Path]:
    """Take over the records that `sweep` and the studies have left; return what has changed.

    That is, trainings in fp32 and studies of MNIST, not what was tried on the small digits. A run
    that was published before is replaced, and everything else that is published stays. The
    tables and the pretrained networks (see `pretrained_files`) follow from all of it. Raises
    `UserError` for a damaged record or weights, and for what cannot be written; then nothing is.
    """
    folder, new, left = root / PUBLISHED, {}, {}
    for path in sorted(sweep.glob(f"[!.]*/{RECORDS}")):
        record = load_record(path)
        if record["digits"] != "small digits" and record["precision"] == "fp32":
            new[path.name], left[path.name] = record, path.with_suffix(".safetensors")
    old = {path.name: load_record(path) for path in folder.glob(RECORDS)}
    records, studies = dict(sorted((old | new).items())), load_studies(folder)
    paths = [path for kind in STUDIES for path in sorted((root / "runs" / kind).glob("*.json"))]
    for measured in map(load_measurement, paths):  # of each study, the oldest first
        if measured["digits"] == "MNIST":
            studies = merge(studies, measured, folder)
    results, speed = results_table(records.values()), speed_tables(studies.values())
    files = {
        **{folder / name: json.dumps(record, indent=1) + "\n" for name, record in new.items()},
        **{path: study_text(record) for path, record in studies.items()},
        **pretrained_files(root / "mnist_lab" / "weights", left, records),
        **_with_tables(root, {"results": results, "speed": speed}),
    }
    changed = {path: content for path, content in files.items() if not _holds(path, content)}
    write_files(changed)
    return list(changed)


def _holds(path: Path, content: str | bytes) -> bool:
    content = content.encode() if isinstance(content, str) else content
    return path.is_file() and path.read_bytes() == content


def pretrained_files(
    folder: Path, left: Mapping[str, Path], records: Mapping[str, dict]
) -> dict[Path, str | bytes]:
    """What belongs in `folder`: the weights of each pretrained network, and its model card.

    `records`, by their file names: all that are published. `left`: where runs may have left their
    weights, by the names of their records; those in `folder` stay where a run has left none. A
    network without any is left out. Raises `UserError` for weights that are not of its run.
    """
    files = {}
    for name in [name for name, entry in NETWORKS.items() if entry.weights]:
        kind, target = published_kind(name), folder / NETWORKS[name].weights
        runs = {file: record for file, record in records.items() if kind_of_run(record) == kind}
        first = next((file for file, record in runs.items() if record["seed"] == 0), "")
        there = [path for path in (left.get(first), target) if path and path.is_file()]
        if there:
            load_weights(name, there[0])
            _, source = read_weights(there[0])
            if source != first:
                raise UserError(
                    f"{there[0]} must be from seed 0 of the published {name} recipe, not from "
                    f"{source or 'an unnamed run'}: sweep again."
                )
            files[target] = there[0].read_bytes()
            files[target.with_suffix(".md")] = model_card(name, first, runs)
    return files


def published_kind(name: str) -> str:
    """The kind of run (`kind_of_run`) whose seed 0 is the pretrained network of this name."""
    entry = NETWORKS[name]
    run = {"network": entry.network.__name__, "digits": "MNIST", "split": SPLIT,
           "precision": "fp32", "recipe": as_recorded(entry.recipe)}  # fmt: skip
    return kind_of_run(run)


def _taken_over(copy: Path, stored: Path, outcome: Outcome) -> NotebookNode:
    """The executed notebook without papermill's traces, its measured cost written in."""
    notebook = without_traces(read_notebook(copy))
    if any(has_tag(cell, "injected-parameters") for cell in notebook.cells):
        raise UserError(f"{copy} was run with other parameters than the stored.")
    if not same_source(notebook, read_notebook(stored)):
        raise UserError(
            f"{stored} differs from {copy} in more than outputs: execute it as it is now, with "
            f"python -m mnist_lab run --resume {copy.parent}"
        )
    notebook.cells[0].source = COST.sub(cost_line(outcome), notebook.cells[0].source)
    return notebook


def _picture(notebooks: Sequence[NotebookNode]) -> bytes:
    """The README's picture: that of the notebook cell tagged `readme-picture`."""
    cells = [cell for notebook in notebooks for cell in notebook.cells]
    tagged = [cell for cell in cells if has_tag(cell, "readme-picture")]
    for output in [output for cell in tagged for output in cell.outputs]:
        if found := PICTURE.search(output.get("data", {}).get("text/html", "")):
            return base64.b64decode(found[1])
    raise UserError("no cell tagged readme-picture has made a picture: the README needs one.")


def _with_tables(root: Path, tables: Mapping[str, str]) -> dict[Path, str]:
    """The page of each table, `docs/<name>.md`, with the table between its marks made anew."""
    pages = {}
    for name, table in tables.items():
        page = root / "docs" / f"{name}.md"
        before, *found = re.split(
            r"(<!-- table -->\n).*?(\n<!-- end -->)", read_text(page), flags=re.S
        )
        if len(found) != 3:
            raise UserError(f"{page} needs one <!-- table --> and its <!-- end -->.")
        pages[page] = "".join([before, found[0], table, *found[1:]])
    return pages


def newest_run(root: Path) -> Path:
    """The latest folder of `runs/` that holds a summary. Raises `UserError` if there is none."""
    runs = sorted((root / "runs").glob(f"*/{SUMMARY}"))
    if not runs:
        raise UserError(f"there is no run in {root / 'runs'}: execute the course first.")
    return runs[-1].parent

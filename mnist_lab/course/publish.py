"""From a finished run to the repository: stored outputs, records, costs, tables and weights.

What the notebooks and the README state as measured is written here, never by hand.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from nbformat import NotebookNode, writes

from mnist_lab.course.execute import SUMMARY, Outcome, load_outcomes, summary_text
from mnist_lab.course.model_card import card
from mnist_lab.course.notebooks import (
    COST,
    find_notebooks,
    has_tag,
    read,
    same_source,
    without_traces,
)
from mnist_lab.course.readme_tables import cost_line, notebook_table, results_table, speed_tables
from mnist_lab.files import write_files
from mnist_lab.pretrained import load_weights, published_kind, read_weights
from mnist_lab.recipes import NETWORKS
from mnist_lab.records import RECORDS, kind_of_run, load_record
from mnist_lab.validation import UserError

COSTS_FILE = "costs.json"
PICTURE = re.compile(
    r'<img [^>]*src="data:image/png;base64,([^"]+)"'
)  # as `figures.show` writes it
STUDIES = ("ablate", "strangers")  # that notebook 07 reads


def publish(run: Path, root: Path) -> None:
    """Take over a whole run on MNIST of the stored notebooks with their stored parameters.

    Raises `ValueError` for any other run, for a notebook that was edited since, for what is missing
    and for what cannot be written. Nothing is written unless everything can be.
    """
    outcomes = {outcome.notebook: outcome for outcome in load_outcomes(run / SUMMARY)}
    executed = {}
    for path in find_notebooks(root / "notebooks"):
        outcome = outcomes.get(path.stem)
        if outcome is None or outcome.status != "ok" or outcome.digits != "MNIST":
            raise UserError(f"{run} holds no finished run of {path.stem} on MNIST.")
        executed[path] = _taken_over(run / path.name, path, outcome)
    records, rows = root / "mnist_lab" / "published", [outcomes[path.stem] for path in executed]
    tables = {"notebooks": notebook_table(rows), "speed": speed_tables(records / "speed")}
    write_files(
        {path: writes(notebook) + "\n" for path, notebook in executed.items()}
        | {records / COSTS_FILE: summary_text(rows)}
        | {records / "picture.png": _picture(list(executed.values()))}
        | {root / "README.md": _with_tables(root / "README.md", tables)}
    )


def publish_records(sweep: Path, root: Path) -> None:
    """Take over the records that `sweep` has left; the results follow from them.

    That is, those in fp32, and not those on the small digits, which are for trying out. A record of
    a run that was published before is replaced, and so are the studies by newer ones. The
    pretrained networks follow too, see `pretrained_files`. Raises `ValueError` for a damaged record
    or weights, for no record at all, and for what cannot be written; then nothing is.
    """
    records, new, kept = root / "mnist_lab" / "published", {}, {}
    for path in sorted(sweep.glob(f"[!.]*/{RECORDS}")):
        record = load_record(path)
        if record["digits"] != "small digits" and record["precision"] == "fp32":
            new[path.name], kept[path.name] = record, path.with_suffix(".safetensors")
    if not new:
        raise UserError(f"there is no record of MNIST's size in fp32 in {sweep}: sweep first.")
    old = {path.name: json.loads(_text(path)) for path in records.glob(RECORDS)}
    together = dict(sorted((old | new).items()))
    table = results_table(list(together.values()))
    write_files(
        {records / name: json.dumps(record, indent=1) + "\n" for name, record in new.items()}
        | {records / f"{kind}.json": text for kind, text in _newest_studies(root).items()}
        | pretrained_files(root / "mnist_lab" / "weights", kept, together)
        | {root / "README.md": _with_tables(root / "README.md", {"results": table})}
    )


def _newest_studies(root: Path) -> dict[str, str]:
    """What `ablate` and `strangers` measured last on MNIST, one line for each of their runs."""
    texts = {}
    for kind in STUDIES:
        for path in sorted((root / "runs" / kind).glob("*.json")):
            record = json.loads(_text(path))
            if record["digits"] == "MNIST":
                lines = ",\n".join(json.dumps(run) for run in record["runs"])
                texts[kind] = f'{{"digits": "MNIST", "runs": [\n{lines}\n]}}\n'
    return texts


def pretrained_files(
    folder: Path, kept: Mapping[str, Path], records: Mapping[str, dict]
) -> dict[Path, str | bytes]:
    """What belongs in `folder`: the weights of each pretrained network, and its model card.

    `records`, by their file names: all that are published. `kept`: where runs may have left their
    weights, by the names of their records; those in `folder` stay where a run has left none. A
    network without any is left out. Raises `ValueError` for weights that are not of its run.
    """
    files = {}
    for name in NETWORKS:
        kind, target = published_kind(name), folder / f"{name}.safetensors"
        runs = {file: record for file, record in records.items() if kind_of_run(record) == kind}
        first = next((file for file, record in runs.items() if record["seed"] == 0), None)
        weights = kept.get(first, target)
        if not weights.exists():
            weights = target
        if weights.exists():
            load_weights(name, weights)
            _, source = read_weights(weights)
            if first is None or source != first:
                raise UserError(
                    f"{weights} must be from seed 0 of the published {name} recipe, not from "
                    f"{source or 'an unnamed run'}: sweep again."
                )
            files[target] = weights.read_bytes()
            files[target.with_suffix(".md")] = card(name, first, runs)
    return files


def _taken_over(copy: Path, stored: Path, outcome: Outcome) -> NotebookNode:
    """The executed notebook without papermill's traces, its measured cost written in."""
    notebook = without_traces(read(copy))
    if any(has_tag(cell, "injected-parameters") for cell in notebook.cells):
        raise UserError(f"{copy} was run with other parameters than the stored.")
    if not same_source(notebook, read(stored)):
        raise UserError(
            f"{stored} differs from {copy} in more than outputs: execute it as it is now, with "
            f"python -m mnist_lab run --resume {copy.parent}"
        )
    notebook.cells[0].source = COST.sub(cost_line(outcome), notebook.cells[0].source)
    return notebook


def _picture(notebooks: Sequence[NotebookNode]) -> bytes:
    """The README's picture: that of the notebook cell tagged `readme-picture`."""
    for notebook in notebooks:
        for cell in notebook.cells:
            if has_tag(cell, "readme-picture"):
                for output in cell.outputs:
                    if found := PICTURE.search(output.get("data", {}).get("text/html", "")):
                        return base64.b64decode(found[1])
    raise UserError("no cell tagged readme-picture has made a picture: the README needs one.")


def _with_tables(readme: Path, tables: Mapping[str, str]) -> str:
    """The README's text, each table between its marks made anew."""
    text = _text(readme)
    for name, table in tables.items():
        marks = rf"(<!-- {name} -->\n).*?(\n<!-- end -->)"
        text, count = re.subn(
            marks, lambda match, table=table: match[1] + table + match[2], text, flags=re.DOTALL
        )
        if count != 1:
            raise UserError(f"{readme} needs one <!-- {name} --> and its <!-- end -->: {count}.")
    return text


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error


def newest_run(root: Path) -> Path:
    """The latest folder of `runs/` that holds a summary. Raises `ValueError` if there is none."""
    runs = sorted((root / "runs").glob(f"*/{SUMMARY}"))
    if not runs:
        raise UserError(f"there is no run in {root / 'runs'}: execute the course first.")
    return runs[-1].parent

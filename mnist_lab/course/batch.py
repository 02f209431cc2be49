"""Notebooks as tasks: the course as a whole, and a sweep over seeds and parameters.

A batch of the course is a folder: `batch.json` says what was asked for and `summary.json` what
became of it, so an interrupted batch can be continued, and only as it was begun. The runs of a
sweep have a folder each, whose name their parameters decide: so the same sweep, begun again, does
only what is missing. A notebook that measures time has a cell tagged `alone`.
"""

import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

import nbformat
import papermill

from mnist_lab.course.notebooks import read_notebook, runs_alone, same_source
from mnist_lab.course.outcomes import Outcome, load_json
from mnist_lab.course.runner import Task, folder_name, run_tasks
from mnist_lab.data import load_data
from mnist_lab.files import write_file
from mnist_lab.records import load_records
from mnist_lab.validation import Count, Seed, UserError, check

BATCH = "batch.json"


@dataclass(frozen=True)
class Batch:
    """What a batch was asked for. `digits`: a source of `load_data`, what "auto" came to."""

    notebooks: list[Path]
    digits: str
    parameters: dict
    jobs: int


def begin(
    notebooks: Sequence[Path],
    runs: Path,
    dataset: str | None = None,
    parameters: Mapping | None = None,
    jobs: int = 2,
) -> Path:
    """Make the folder of a new batch in `runs`, named after the time, and return it.

    `parameters` override those of the notebooks that declare them. `jobs` notebooks run at a time,
    but never more than there are cores. Raises `UserError` for a parameter that no notebook
    declares, for two notebooks of one name, and for less than one job.
    """
    check("jobs", jobs, Count)
    declared = _declared_parameters(notebooks).values()
    for name in parameters or {}:
        if not any(name in names for names in declared):
            raise UserError(f"no notebook has a parameter {name!r}.")
    data = load_data(dataset or "auto")  # once for all: it may download, or say why it cannot
    folder = runs / f"{datetime.now():%Y-%m-%dT%H-%M-%S-%f}"  # two may begin in the same second
    paths = [os.path.relpath(path, folder) for path in notebooks]
    batch = asdict(Batch(paths, data.source, parameters or {}, jobs))
    write_file(folder / BATCH, json.dumps(batch, indent=1) + "\n")
    return folder


def load_batch(folder: Path) -> Batch:
    """What a folder's batch was asked for. Raises `UserError` if it holds none."""
    batch = load_json(folder / BATCH, Batch)
    paths = [Path(os.path.normpath(folder / path)) for path in batch.notebooks]
    return replace(batch, notebooks=paths)


def run_batch(folder: Path) -> list[Outcome]:
    """Execute what is missing in a batch's folder, and return what became of each notebook.

    A notebook that has finished is not run again, unless its source has changed since or its
    executed copy is missing. Raises `UserError` for a folder without a batch, and what `run_tasks`
    raises.
    """
    batch = load_batch(folder)
    load_data(batch.digits)  # or say at once why it cannot be used
    tasks = []
    for path, declared in _declared_parameters(batch.notebooks).items():
        parameters = {name: batch.parameters[name] for name in declared if name in batch.parameters}
        if declared.get("dataset", "auto").strip("\"'") != "auto":  # it would choose for itself
            parameters["dataset"] = batch.digits
        alone = runs_alone(read_notebook(path))
        tasks.append(_notebook_task(path, parameters, batch.digits, name=path.stem, alone=alone))
    if batch.jobs > 1:  # the last are the longest: begun first, they leave no core idle at the end
        tasks.reverse()
    command = f"continue with python -m mnist_lab run --resume {os.path.relpath(folder)}"
    outcomes = run_tasks(tasks, folder, batch.jobs, to_continue=command)
    return sorted(outcomes, key=lambda row: row.notebook)


def plan_sweep(notebooks: Sequence[Path], grid: Mapping[str, Sequence], digits: str) -> list[Task]:
    """A run of every notebook with every combination of the grid's values, "seed" among them.

    Raises `UserError` for a notebook without a parameter of the grid, for two notebooks of one
    name, and for what is no seed.
    """
    tasks = []
    for path, declared in _declared_parameters(notebooks).items():
        for name in grid.keys() - declared:
            raise UserError(f"{path.stem} has no parameter {name!r}.")
        for values in itertools.product(*grid.values()):
            parameters = dict(zip(grid, values))
            check("seed", parameters["seed"], Seed)
            name = folder_name(path.stem.split("_")[0], digits, parameters, path.stem)
            tasks.append(_notebook_task(path, parameters, digits, name=name, home=name))
    return tasks


def _notebook_task(path: Path, parameters: dict, digits: str, **place) -> Task:
    """A task that leaves an executed copy of a notebook, and in a `home` of its own a record."""
    source = path.read_text(encoding="utf-8")
    order = {"source": source, "arguments": parameters, "cwd": str(path.parent.resolve())}
    verify = partial(_verify, path.name, source, "home" in place)
    return Task(order=order, target=path.name, digits=digits, verify=verify, **place)


def _verify(name: str, source: str, needs_record: bool, folder: Path) -> None:
    executed = read_notebook(folder / name)
    if not same_source(executed, nbformat.reads(source, as_version=4)):
        raise UserError("its source has changed since.")
    if needs_record and not load_records(folder):
        raise UserError("its record is missing.")


def _declared_parameters(notebooks: Sequence[Path]) -> dict[Path, dict[str, str]]:
    """The parameters of each notebook, and the source text of their values.

    Raises `UserError` for what is no notebook, and for two of one name.
    """
    declared = {}
    for path in notebooks:
        read_notebook(path)  # papermill's own words for what is no notebook are many
        found = papermill.inspect_notebook(str(path))
        declared[path] = {name: row["default"] for name, row in found.items()}
    if len({path.stem for path in notebooks}) < len(notebooks):
        raise UserError("two of the notebooks have the same name: run them one after the other.")
    return declared

"""Notebooks as tasks: the course as a whole, and a sweep over seeds and parameters.

A batch of the course is a folder: `batch.json` says what was asked for and `summary.json` what
became of it, so an interrupted batch can be continued, and only as it was begun. The runs of a
sweep have a folder each, whose name their parameters decide: so the same sweep, begun again, does
only what is missing.

Notebooks run side by side and share the cores: networks as small as these are trained sooner two
at a time with one thread each than one after the other with two. A notebook that measures time has
a cell tagged `alone`: it runs after the others, with every core to itself.
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
from mnist_lab.records import RECORDS, load_record
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

    `parameters` override those of the notebooks that declare them; `dataset` (`load_data`'s source)
    is one of them. `jobs` notebooks run at a time, but never more than there are cores. Raises
    `UserError` for a parameter that no notebook declares, for two notebooks of one name, and for
    less than one job.
    """
    check("jobs", jobs, Count)
    parameters, declared = dict(parameters or {}), _declared_parameters(notebooks)
    for name in parameters:
        if not any(name in names for names in declared.values()):
            raise UserError(f"no notebook has a parameter {name!r}.")
    source = parameters.pop("dataset", dataset)
    if dataset not in (None, source):
        raise UserError(f"-p dataset {source} contradicts --dataset {dataset}: give one of them.")
    data = load_data(source or "auto")  # once for all: it may download, or say why it cannot
    folder = runs / f"{datetime.now():%Y-%m-%dT%H-%M-%S-%f}"  # two may begin in the same second
    paths = [os.path.relpath(path, folder) for path in notebooks]
    batch = asdict(Batch(paths, data.source, parameters, jobs))
    write_file(folder / BATCH, json.dumps(batch, indent=1) + "\n")
    return folder


def load_batch(folder: Path) -> Batch:
    """What a folder's batch was asked for. Raises `UserError` if it holds none."""
    batch = load_json(folder / BATCH, Batch, "a batch that can be continued")
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
        task = _notebook_task(path, parameters, batch.digits)
        tasks.append(replace(task, records="records", alone=runs_alone(read_notebook(path))))
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
    tasks = {}
    for path, declared in _declared_parameters(notebooks).items():
        for name in grid:
            if name == "dataset":
                raise UserError("the digits are no part of a grid: choose them with --dataset.")
            if name not in declared:
                raise UserError(f"{path.stem} has no parameter {name!r}.")
        for values in itertools.product(*grid.values()):
            parameters = dict(zip(grid, values))
            check("seed", parameters["seed"], Seed)
            task = _notebook_task(path, parameters, digits)
            name = folder_name(path.stem.split("_")[0], digits, parameters, path.stem)
            complete = partial(_training_problem, task.problem)
            tasks[name] = replace(task, name=name, home=name, problem=complete)
    return list(tasks.values())


def _notebook_task(path: Path, parameters: dict, digits: str) -> Task:
    """A task that leaves an executed copy of a notebook."""
    source = path.read_text(encoding="utf-8")
    order = {"function": None, "source": source, "arguments": parameters,
             "cwd": str(path.parent.resolve())}  # fmt: skip
    problem = partial(_notebook_problem, path.name, source)
    return Task(name=path.stem, order=order, target=path.name, digits=digits, problem=problem)


def _notebook_problem(name: str, source: str, folder: Path) -> str:
    if not (folder / name).exists():
        return "its executed copy is missing."
    same = same_source(read_notebook(folder / name), nbformat.reads(source, as_version=4))
    return "" if same else "its source has changed since."


def _training_problem(notebook_problem: partial, folder: Path) -> str:
    records = list(folder.glob(RECORDS))
    for record in records:
        load_record(record)
    return notebook_problem(folder) or ("" if records else "its record is missing.")


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

"""Studies: many runs of a function, executed by `sweep` as it executes notebooks.

A run is a notebook of one cell, which calls the function with the run's parameters and leaves what
it returns in `runs/studies/<kind>/<run>/result.json`. So whatever stops a study, what had finished
is kept, and the same study, begun again, does only what is missing.
"""

import hashlib
import inspect
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import nbformat
import torch
from nbformat.v4 import new_code_cell, new_notebook

import mnist_lab
from mnist_lab.course import worker
from mnist_lab.course.execute import summary_table
from mnist_lab.course.sweep import Run, sweep
from mnist_lab.data import load_data
from mnist_lab.files import project_root
from mnist_lab.records import processor, save_measurement
from mnist_lab.studies import ablations
from mnist_lab.studies import fit_accuracy as accuracy
from mnist_lab.studies import time_to_accuracy as racing
from mnist_lab.studies import unseen_writers as folding
from mnist_lab.validation import UserError

RESULT = "result.json"
CELL = """\
{conditions}
import json
import os
from pathlib import Path

from mnist_lab.files import write_file
from {module} import {name}

result = {name}({arguments})
write_file(Path(os.environ["MNIST_LAB_RECORDS"], "{file}"), json.dumps(result))
"""
KERNEL = {"name": "python3", "language": "python", "display_name": "Python 3"}


class Failed(Exception):
    """Some runs of a study have failed. What had finished is kept."""


def compare(
    network: str, seeds: int, num_epochs: int, jobs: int | None = None, cluster: str | None = None
) -> dict:
    """Print both validation accuracies of each seed, and the mean of their differences.

    Writes a record into `runs/compare/` and returns it. Raises `ValueError` as `accuracy.cases`,
    and what `conduct` raises.
    """
    runs = study(accuracy.run, accuracy.cases(network, seeds, num_epochs), load_data().source)
    record = accuracy.record(network, num_epochs, conduct("compare", runs, jobs, cluster))
    print(accuracy.table(record))
    save_measurement("compare", record, network)
    return record


def race(seeds: int, example_epochs: int = 0) -> dict:
    """Run every sprint with `seeds` seeds, one after the other; print and return the record.

    `example_epochs`: train PyTorch's example for so many epochs too, to see when it first has a
    mean of 99 %. Writes into `runs/race/`. Raises `ValueError` as `race.cases`, and what `conduct`
    raises.
    """
    sprints, examples = racing.cases(seeds, example_epochs)
    runs = study(racing.run, sprints, "mnist") + study(racing.example, examples, "mnist")
    results = conduct("race", runs, jobs=1)
    record = racing.record(results[: len(sprints)], results[len(sprints) :])
    print(racing.table(record))
    save_measurement("race", record)
    return record


def ablate(
    studies: Sequence[str], seeds: int, jobs: int | None = None, cluster: str | None = None
) -> dict:
    """Train every case of these studies, or of all, with `seeds` seeds; print a table.

    Writes a record into `runs/ablate/` and returns it. Raises `ValueError` for an unknown study,
    and what `conduct` raises.
    """
    for name in studies:
        if name not in ablations.CASES:
            known = ", ".join(ablations.CASES)
            raise UserError(f"there is no study {name!r}; there are: {known}.")
    cases = [
        {"study": name, "case": case, "seed": seed}
        for name in dict.fromkeys(studies or ablations.CASES)
        for case in ablations.CASES[name]
        for seed in range(seeds)
    ]
    results = conduct("ablate", study(ablations.run, cases, load_data().source), jobs, cluster)
    print(ablations.table(results))
    return _write("ablate", results[0]["digits"], results)


def strangers(
    network: str, num_epochs: int, jobs: int | None = None, cluster: str | None = None
) -> dict:
    """Hold out a sixth of the writers, six times; print a table, return the record.

    Writes into `runs/strangers/`. Raises `ValueError` without MNIST, and what `conduct` raises.
    """
    if not load_data().is_mnist:
        raise UserError(
            "who wrote a digit is known of MNIST alone, and it is not here: set MNIST_LAB_DATA."
        )
    cases = [
        {"network": network, "fold": fold, "num_epochs": num_epochs}
        for fold in range(folding.FOLDS)
    ]
    results = conduct("strangers", study(folding.run, cases, "mnist"), jobs, cluster)
    print(folding.table(results))
    return _write("strangers", "MNIST", results)


def _write(kind: str, digits: str, results: list[dict]) -> dict:
    record = {"digits": digits, "runs": results}
    save_measurement(kind, record)
    return record


def study(function: Callable[..., dict], cases: Sequence[dict], digits: str) -> list[Run]:
    """A run for each case, the function's arguments, on the digits of this source.

    The function is imported where it runs. What it returns must be a dict that JSON can hold.
    """
    module, name = function.__module__, function.__name__
    # In the notebook's source, and so a result that was got under others is out of date.
    conditions = f"# torch {torch.__version__}, {processor()}, code {_code(function)}"
    runs = []
    for case in cases:
        arguments = ", ".join(f"{argument}={argument}" for argument in case)
        cell = CELL.format(
            conditions=conditions, module=module, name=name, arguments=arguments, file=RESULT
        )
        notebook = new_notebook(cells=[new_code_cell(cell)], metadata={"kernelspec": KERNEL})
        title = f"{module.split('.')[-1]}_{name}"
        runs.append(Run(title, nbformat.writes(notebook), tuple(case.items()), digits, load_result))
    return runs


def conduct(
    kind: str, runs: Sequence[Run], jobs: int | None = None, cluster: str | None = None
) -> list[dict]:
    """Do the runs that have no whole result in `runs/studies/<kind>/`; every result, in order.

    If any has failed: prints what became of each and raises `Failed`. Raises what `sweep` raises.
    """
    folder = project_root() / "runs" / "studies" / kind
    outcomes = sweep(runs, folder, jobs, cluster)
    failed = sum(outcome.status != worker.OK for outcome in outcomes)
    if failed:
        print(summary_table(outcomes))
        raise Failed(
            f"{failed} of {len(runs)} runs failed, so the study is not complete: the same command "
            "tries them again, and keeps the others."
        )
    return [load_result(folder / run.name) for run in runs]


def load_result(folder: Path) -> dict:
    """What the function of a run returned. Raises `ValueError` unless it is there and whole."""
    try:
        return json.loads((folder / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / RESULT} is not a whole result ({error}).") from error


def _code(function: Callable) -> str:
    """A hash of all the code that a result may depend on: the function's and the library's."""
    library = Path(mnist_lab.__file__).parent
    below = {*library.glob("[!_]*.py"), *library.glob("bench/*.py")}
    sources = sorted(below | {Path(inspect.getfile(function))})
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]

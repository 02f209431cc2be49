"""Studies: every case is a task, which calls the study's function; their results are one record.

What has finished lies in `runs/studies/<study>/<case>/result.json`. So whatever stops a study, the
same study, begun again, does only what is missing, unless the library's code, PyTorch or the
processor have changed since.
"""

import hashlib
import json
import shutil
from datetime import datetime
from functools import partial
from importlib import import_module
from pathlib import Path

import torch

import mnist_lab
from mnist_lab.course import worker
from mnist_lab.course.outcomes import StudyFailed, load_json, summary_table
from mnist_lab.course.runner import Task, folder_name, run_tasks
from mnist_lab.data import load_data
from mnist_lab.files import project_root, write_file
from mnist_lab.records import processor
from mnist_lab.validation import UserError

RESULT = "result.json"


def conduct(
    name: str, *, jobs: int | None = None, cluster: str | None = None, timing=False, **options
) -> dict:
    """Run every case of the study `mnist_lab.studies.<name>`; print its table, return its record.

    The cases run side by side with one thread each; those of a study about `timing` one after the
    other with every core, and once complete it is measured anew the next time. The record is
    written into `runs/<name>/`. Raises `StudyFailed`, and what the study's `cases` (which takes the
    `options`) and `run_tasks` raise.
    """
    study, root = import_module(f"mnist_lab.studies.{name}"), project_root()
    cases, data, folder = study.cases(**options), load_data(), root / "runs" / "studies" / name
    conditions = {"code": _code(study), "PyTorch": torch.__version__, "processor": processor()}
    verify = partial(_verify, conditions)
    tasks = []
    for case in cases:
        order = {"function": f"{study.__name__}:run", "arguments": case, "conditions": conditions}
        home = folder_name(name, data.source, case)
        place = {"name": home, "home": home, "target": RESULT, "digits": data.source}
        tasks.append(Task(order=order, verify=verify, alone=timing, **place))
    outcomes = run_tasks(tasks, folder, jobs, cluster, cores=1)
    failed = [row for row in outcomes if row.status != worker.OK]
    if failed:
        raise StudyFailed(
            f"{len(failed)} of {len(tasks)} runs failed, so the study is not complete: the same "
            f"command tries them again, and keeps the others.\n\n{summary_table(failed)}"
        )
    runs = [_load_result(folder / task.home)["result"] for task in tasks]
    record = {"kind": name, "digits": data.name, "runs": runs}
    print(study.table(runs))
    path = root / "runs" / name / f"{datetime.now():%Y-%m-%dT%H-%M-%S}.json"
    write_file(path, json.dumps(record, indent=1) + "\n")
    print(f"\nwritten: {path.relative_to(root)}")
    if timing:
        shutil.rmtree(folder, ignore_errors=True)
    return record


def _verify(conditions: dict[str, str], folder: Path) -> None:
    """Raise `UserError` unless a result was got in these conditions."""
    before = _load_result(folder)["conditions"]
    changed = [name for name, value in conditions.items() if before.get(name) != value]
    if changed:
        raise UserError(f"{' and '.join(changed)} changed since.")


def _load_result(folder: Path) -> dict[str, dict]:
    return load_json(folder / RESULT, dict[str, dict])


def _code(study) -> str:
    """A hash of all the code that a result may depend on: the study's and the library's."""
    library = Path(mnist_lab.__file__).parent
    below = {*library.glob("[!_]*.py"), *library.glob("studies/*.py"), Path(study.__file__)}
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(below))).hexdigest()[:16]

"""Papermill over the notebooks: the whole course in one batch, with what it cost.

A batch is a folder. `batch.json` says what was asked for, and `summary.json`, rewritten after each
notebook, what became of it: so an interrupted batch can be continued, and only as it was begun.

Notebooks run side by side and share the cores: networks as small as these are trained sooner two
at a time with one thread each than one after the other with two. A notebook that measures time has
a cell tagged `alone`: it runs after the others, with every core to itself.
"""

import itertools
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from queue import SimpleQueue

import papermill
from filelock import Timeout
from joblib import Parallel, cpu_count, delayed

from mnist_lab.course import worker
from mnist_lab.course.notebooks import key_figures, read, runs_alone, same_source
from mnist_lab.course.supervise import Stop, signals_pull, supervise
from mnist_lab.data import load_data
from mnist_lab.files import WriteError, folder_lock, write_file
from mnist_lab.speed import choose_threads
from mnist_lab.validation import UserError

BATCH, SUMMARY = "batch.json", "summary.json"


@dataclass(frozen=True)
class Batch:
    """What a batch was asked for. `digits`: a source of `load_data`, what "auto" came to."""

    notebooks: list[Path]
    digits: str
    parameters: dict
    jobs: int


@dataclass
class Outcome:
    """What became of one notebook, on so many cores. `peak_mb`: its kernel's memory, 10⁶ bytes."""

    notebook: str
    status: str  # "ok" or "failed…"
    seconds: float
    cores: int
    peak_mb: int
    digits: str
    figures: dict[str, str] = field(default_factory=dict)
    error: str = ""


def begin(
    notebooks: Sequence[Path],
    runs: Path,
    dataset: str | None = None,
    parameters: dict | None = None,
    jobs: int = 2,
) -> Path:
    """Make the folder of a new batch in `runs`, named after the time, and return it.

    `parameters` override those of the notebooks that declare them; `dataset` (`load_data`'s source)
    is one of them. `jobs` notebooks run at a time, but never more than there are cores. Raises
    `ValueError` for a parameter that no notebook declares, for two notebooks of one name, and for
    less than one job.
    """
    if jobs < 1:
        raise UserError(f"jobs must be 1 or more, not {jobs}.")
    if len({path.stem for path in notebooks}) < len(notebooks):
        raise UserError("two of the notebooks have the same name: run them one after the other.")
    parameters = dict(parameters or {})
    declared = {name for path in notebooks for name in declared_parameters(path)}
    for name in parameters:
        if name not in declared:
            raise UserError(f"no notebook has a parameter {name!r}.")
    source = parameters.pop("dataset", dataset)
    if dataset not in (None, source):
        raise UserError(f"-p dataset {source} contradicts --dataset {dataset}: give one of them.")
    data = load_data(source or "auto")  # once for all: it may download, or say why it cannot
    folder = _new_folder(runs)
    batch = Batch(list(notebooks), data.source, parameters, jobs)
    paths = [os.path.relpath(path, folder) for path in notebooks]
    write_file(folder / BATCH, json.dumps(asdict(batch) | {"notebooks": paths}, indent=1) + "\n")
    return folder


def load_batch(folder: Path) -> Batch:
    """What a folder's batch was asked for. Raises `ValueError` if it holds none."""
    try:
        batch = json.loads((folder / BATCH).read_text(encoding="utf-8"))
        paths = [Path(os.path.normpath(folder / path)) for path in batch.pop("notebooks")]
        return Batch(paths, **batch)
    except (OSError, TypeError, KeyError, ValueError) as error:
        raise UserError(
            f"{folder} holds no batch that can be continued ({BATCH}: {error}): begin a new one."
        ) from error


def run_batch(folder: Path) -> list[Outcome]:
    """Execute what is missing in a batch's folder, and return what became of each notebook.

    A notebook that has finished is not run again, unless its source has changed since or its
    executed copy is missing: then it is named. Raises `ValueError` for a folder without a batch, or
    with another runner at work; `Interrupted` after SIGINT, SIGTERM or SIGHUP; `WriteError`.
    What had finished is kept in each case.
    """
    batch, stop = load_batch(folder), Stop()
    digits = load_data(batch.digits).name
    with only_runner(folder), signals_pull(stop):
        for leftover in folder.glob(".partial-*"):  # of a runner that was killed
            leftover.unlink()
        outcomes = {outcome.notebook: outcome for outcome in load_outcomes(folder / SUMMARY)}
        missing = [path for path in batch.notebooks if _is_missing(path, folder, outcomes)]
        alone = [path for path in missing if runs_alone(read(path))]
        others = [path for path in missing if path not in alone]
        for result in itertools.chain(
            _execute(others, batch.jobs, folder, batch, digits, stop),
            _execute(alone, 1, folder, batch, digits, stop),
        ):
            try:
                if isinstance(result, WriteError):
                    raise result
                if result:
                    outcomes[result.notebook] = result
                    rows = [outcomes[name] for name in sorted(outcomes)]
                    write_file(folder / SUMMARY, summary_text(rows))
            except WriteError as error:
                stop.pull(error)
        if stop.reason:
            raise stop.reason
    return [outcomes[path.stem] for path in batch.notebooks]


def summary_text(outcomes: Sequence[Outcome]) -> str:
    """What `load_outcomes` reads."""
    return json.dumps([asdict(row) for row in outcomes], indent=1, ensure_ascii=False) + "\n"


def load_outcomes(path: Path) -> list[Outcome]:
    """The outcomes that an earlier run wrote into this file; none if there is no such file.

    Raises `ValueError` for a file that another version of the library wrote.
    """
    try:
        return [Outcome(**row) for row in json.loads(path.read_text())] if path.exists() else []
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{path} is no summary that this version can read ({error}): delete it."
        ) from error


def summary_table(outcomes: Sequence[Outcome]) -> str:
    """The end of a batch as text: a row for each notebook, then the failures in full."""
    name = max(38, *(len(row.notebook) for row in outcomes)) + 2
    wide = max(len(row.status) for row in outcomes) + 2
    lines = [
        f"{'notebook':<{name}}{'status':<{wide}}{'seconds':>8}{'peak MB':>9}  {'digits':<14}figures"
    ]
    for row in outcomes:
        figures = "; ".join(f"{name}: {value}" for name, value in row.figures.items())
        lines.append(
            f"{row.notebook:<{name}}{row.status:<{wide}}{row.seconds:>8.1f}{row.peak_mb:>9,}"
            f"  {row.digits:<14}{figures}"
        )
    lines += [f"\n{row.notebook}, {row.error}" for row in outcomes if row.error]
    return "\n".join(lines)


def _new_folder(runs: Path) -> Path:
    """A folder of its own for each batch, also for two that begin in the same second."""
    stamp = datetime.now().strftime("%Y-%m-%dT%H-%M-%S")
    for number in itertools.count(1):
        folder = runs / (f"{stamp}-{number}" if number > 1 else stamp)
        try:
            runs.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
            return folder
        except FileExistsError:
            continue
        except OSError as error:
            raise WriteError(folder, error.strerror) from error


def declared_parameters(path: Path) -> dict[str, str]:
    """The parameters of a notebook, and the source text of their values."""
    read(path)  # papermill's own words for what is no notebook are many
    return {name: row["default"] for name, row in papermill.inspect_notebook(str(path)).items()}


def _is_missing(path: Path, folder: Path, outcomes: dict[str, Outcome]) -> bool:
    """Whether a notebook has to be executed; if it had finished before, say why again."""
    if path.stem not in outcomes or outcomes[path.stem].status != worker.OK:
        return True
    copy = folder / path.name
    if not copy.exists():
        print(f"{path.stem} is run again: its executed copy is missing.")
    elif not same_source(read(copy), read(path)):
        print(f"{path.stem} is run again: its source has changed since.")
    else:
        return False
    return True


def _execute(notebooks: Sequence[Path], jobs: int, *batch) -> Iterator[Outcome | WriteError | None]:
    """`_run` for every notebook, `jobs` side by side; results in the order they are ready."""
    workers = max(1, min(jobs, cpu_count(), len(notebooks)))
    lines: SimpleQueue[int] = SimpleQueue()  # of the terminal: one for each progress bar
    for line in range(workers):
        lines.put(line)
    cores = _cores(workers)
    if workers > 1:  # the last are the longest: begun first, they leave no core idle at the end
        notebooks = reversed(notebooks)
    # Threads are enough: each watches over a process of its own.
    parallel = Parallel(workers, prefer="threads", return_as="generator_unordered",
                        pre_dispatch=workers)  # fmt: skip
    yield from parallel(delayed(_run)(path, cores, lines, *batch) for path in notebooks)


def _cores(workers: int) -> int:
    """How many cores a notebook may use: those of `OMP_NUM_THREADS`, or its share of all.

    A share is not more than a training takes anyway, so that the same seed gives the same result
    however many notebooks run side by side.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return choose_threads()
    return cpu_count() if workers == 1 else min(cpu_count() // workers, choose_threads())


def _run(
    path: Path, cores: int, lines: SimpleQueue, folder: Path, batch: Batch, digits: str, stop: Stop
) -> Outcome | WriteError | None:
    """Execute one notebook: what became of it, or what could not be written; None once stopped."""
    if stop.is_set():
        return None
    declared = declared_parameters(path)
    parameters = {name: batch.parameters[name] for name in declared if name in batch.parameters}
    if declared.get("dataset", "auto").strip("\"'") != "auto":  # it would choose for itself
        parameters["dataset"] = batch.digits
    environment = {
        "MNIST_LAB_SOURCE": batch.digits,
        "MNIST_LAB_RECORDS": str(folder.resolve() / "records"),
    }
    if cores < cpu_count():
        environment["OMP_NUM_THREADS"] = str(cores)
    line = lines.get()
    try:
        result = supervise(path, folder / path.name, parameters, environment, stop, line=line)
    except WriteError as error:
        return error
    finally:
        lines.put(line)
    if result is None:
        return None
    figures = key_figures(read(folder / path.name)) if result.status == worker.OK else {}
    return Outcome(path.stem, result.status, result.seconds, cores, result.peak_mb, digits,
                   figures, result.error)  # fmt: skip


@contextmanager
def only_runner(folder: Path) -> Iterator[None]:
    """Two runners in one folder would overwrite each other's notebooks: refuse the second."""
    lock = folder_lock(folder, timeout=0)
    try:
        with lock:
            yield
            with suppress(OSError):  # Windows keeps what is open
                os.unlink(lock.lock_file)
    except Timeout:
        raise UserError(f"another runner is at work in {folder}: wait until it ends.") from None

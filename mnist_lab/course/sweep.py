"""Many runs of the training notebooks: one for each seed and each set of parameters.

Every run has a folder in `runs/sweep/`, whose name its parameters decide, with its executed
notebook and its record: so the same sweep, begun again, does only what is missing. A run is one
process with one thread; they share the cores of this machine, or those of a Dask cluster. `studies`
makes runs of functions, too.
"""

import hashlib
import itertools
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import nbformat
from joblib import Parallel, cpu_count, delayed
from tqdm import tqdm

from mnist_lab.course import worker
from mnist_lab.course.execute import (
    Outcome,
    declared_parameters,
    load_outcomes,
    only_runner,
    summary_text,
)
from mnist_lab.course.notebooks import key_figures, read, same_source
from mnist_lab.course.supervise import Stop, signals_pull, supervise
from mnist_lab.data import NAMES
from mnist_lab.files import WriteError, write_files
from mnist_lab.records import RECORDS, load_record
from mnist_lab.validation import UserError

OUTCOME = "outcome.json"  # beside the record: the row of the table
POLL_SECONDS, CONNECT_SECONDS = 0.5, 10


def records_in(folder: Path) -> list[Path]:
    """The records that a run has left in its folder. Raises `ValueError` for a damaged one."""
    paths = list(folder.glob(RECORDS))
    for path in paths:
        load_record(path)
    return paths


@dataclass(frozen=True)
class Run:
    """A notebook, as text, to be executed with these parameters on the digits of this source.

    `left`: finds in the run's folder what it should leave there, and is as strict as `records_in`.
    """

    notebook: str
    source: str
    parameters: tuple[tuple[str, object], ...]
    digits: str
    left: Callable[[Path], object] = records_in

    @property
    def name(self) -> str:
        """Readable, and different for every other run."""
        said = ",".join(f"{name}={value}" for name, value in self.parameters)
        identity = json.dumps([self.notebook, self.parameters, self.digits])
        key = hashlib.sha256(identity.encode()).hexdigest()[:8]
        words = f"{self.notebook.split('_')[0]}-{self.digits}-{said}"
        return re.sub(r"[^\w.,=-]", "_", words)[:80] + f"-{key}"


@dataclass(frozen=True)
class Done:
    """What came of a run: its row, and its files by their names."""

    outcome: Outcome
    files: dict[str, bytes]


def plan(
    notebooks: Sequence[Path], seeds: int, grid: Mapping[str, Sequence], digits: str
) -> list[Run]:
    """Every notebook with every seed below `seeds` and every combination of the grid's values.

    Raises `ValueError` for a notebook without a seed or a parameter of the grid, and for no seeds.
    """
    if seeds < 1:
        raise UserError(f"seeds must be 1 or more, not {seeds}.")
    runs = []
    for path in notebooks:
        declared = declared_parameters(path)
        for name in (*grid, "seed"):
            if name == "dataset":
                raise UserError("the digits are no part of a grid: choose them with --dataset.")
            if name not in declared:
                raise UserError(f"{path.stem} has no parameter {name!r}.")
        source = path.read_text(encoding="utf-8")
        columns = {**grid, "seed": range(seeds)}
        for values in itertools.product(*columns.values()):
            runs.append(Run(path.stem, source, tuple(zip(columns, values)), digits))
    return runs


def sweep(
    runs: Sequence[Run], folder: Path, jobs: int | None = None, cluster: str | None = None
) -> list[Outcome]:
    """Do the runs that have no valid record in `folder`, and return what became of each.

    `jobs` runs at a time, by default one for each core; or, with `cluster`, as many as the workers
    of the Dask scheduler at this address take. Raises `ValueError` for less than one job, for a
    folder with another runner at work and for a scheduler that does not answer; `Interrupted` after
    SIGINT, SIGTERM or SIGHUP; `WriteError`. What had finished is kept.
    """
    if jobs is not None and jobs < 1:
        raise UserError(f"jobs must be 1 or more, not {jobs}.")
    stop = Stop()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(folder, error.strerror) from error
    with only_runner(folder), signals_pull(stop):
        for leftover in folder.glob(".partial-*"):  # of a runner that was killed
            shutil.rmtree(leftover)
        missing = [run for run in runs if not _is_done(run, folder)]
        here = _here(missing, folder, jobs, stop)
        results = _on_cluster(missing, cluster, stop) if cluster else here
        for done in tqdm(results, total=len(missing), unit="run", disable=not missing):
            try:
                if done is not None:
                    _keep(done, folder / done.outcome.notebook)
            except WriteError as error:
                stop.pull(error)
        if stop.reason:
            raise stop.reason
    return [outcome for run in runs for outcome in load_outcomes(folder / run.name / OUTCOME)]


def execute_run(run: Run, stop: Stop | None = None, folder: Path | None = None) -> Done | None:
    """Execute one run with one thread, here and now; None if `stop` was pulled meanwhile.

    Its files lie in a temporary folder, below `folder` if one is given.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as name:
        scratch = Path(name)
        source, target = (scratch / part / f"{run.notebook}.ipynb" for part in ("in", "out"))
        environment = {
            "MNIST_LAB_SOURCE": run.digits,
            "MNIST_LAB_RECORDS": str(scratch / "records"),
            "OMP_NUM_THREADS": "1",
        }
        for path in (source, target):
            path.parent.mkdir()
        source.write_text(run.source, encoding="utf-8")
        result = supervise(
            source, target, dict(run.parameters), environment, stop or Stop(), folder=Path.cwd()
        )
        if result is None:
            return None
        figures = key_figures(read(target)) if result.status == worker.OK else {}
        outcome = Outcome(run.name, result.status, result.seconds, 1, result.peak_mb,
                          NAMES[run.digits], figures, result.error)  # fmt: skip
        kept = [*target.parent.glob("*.ipynb"), *scratch.glob("records/[!.]*")]
        return Done(outcome, {path.name: path.read_bytes() for path in kept})


def _is_done(run: Run, folder: Path) -> bool:
    """Whether a run has left all that it should; what is damaged or out of date is named."""
    mine = folder / run.name
    try:
        if [row.status for row in load_outcomes(mine / OUTCOME)] != [worker.OK]:
            return False
        left = run.left(mine)
        if same_source(read(mine / f"{run.notebook}.ipynb"), nbformat.reads(run.source, 4)):
            return bool(left)
        print(f"{run.name} is run again: the notebook has changed since.")
    except ValueError as error:
        print(f"{run.name} is run again: {error}")
    return False


def _here(runs: Sequence[Run], folder: Path, jobs: int | None, stop: Stop) -> Iterator[Done | None]:
    def run_unless_stopped(run: Run) -> Done | None:
        try:
            return None if stop.is_set() else execute_run(run, stop, folder)
        except OSError as error:
            stop.pull(WriteError(folder, error.strerror or str(error)))
            return None

    # Threads are enough: each watches over a process of its own.
    workers = max(1, min(jobs or cpu_count(), len(runs)))
    parallel = Parallel(workers, prefer="threads", return_as="generator_unordered")
    yield from parallel(delayed(run_unless_stopped)(run) for run in runs)


def _on_cluster(runs: Sequence[Run], address: str, stop: Stop) -> Iterator[Done]:
    """A run whose worker dies is given to another by Dask, three times at most."""
    try:
        from distributed import Client, wait
    except ImportError:
        raise UserError('a cluster needs Dask: pip install "mnist-lab[cluster]".') from None
    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise UserError(f"no Dask scheduler answers at {address} ({error}).") from error
    with client:
        left = {client.submit(execute_run, run, pure=False): run for run in runs}
        while left and not stop.is_set():
            with suppress(TimeoutError):
                for future in wait(
                    list(left), timeout=POLL_SECONDS, return_when="FIRST_COMPLETED"
                ).done:
                    run = left.pop(future)
                    yield future.result() if future.status == "finished" else _lost(run, future)
        client.cancel(list(left))


def _lost(run: Run, future) -> Done:
    error = f"no cell that is known\n\n{type(future.exception()).__name__}: {future.exception()}"
    return Done(Outcome(run.name, worker.DIED, 0, 1, 0, NAMES[run.digits], {}, error), {})


def _keep(done: Done, folder: Path) -> None:
    """Write a run's files whole or not at all, in the place of what an earlier try has left."""
    partial = folder.with_name(f".partial-{folder.name}")
    try:
        write_files(
            {partial / name: content for name, content in done.files.items()}
            | {partial / OUTCOME: summary_text([done.outcome])}
        )
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)
    except OSError as error:
        raise WriteError(folder, error.strerror or str(error)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)

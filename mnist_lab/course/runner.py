"""Tasks, each in a process of its own: side by side, whole or not at all, continued after any stop.

A task's result is files, in a folder that all tasks share or in one of its own, and a row of that
folder's `summary.json`; what has its result is not done again. However the runner ends, nothing
that it has started outlives it by more than some seconds: a signal pulls `Stop`, and a runner that
is killed drops the lifeline that `worker` holds. A process that dies is a row like any failure.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import psutil
from filelock import AcquireReturnProxy, Timeout
from joblib import Parallel, cpu_count, delayed
from tqdm import tqdm

from mnist_lab.course import worker
from mnist_lab.course.outcomes import SUMMARY, Interrupted, Outcome, load_outcomes, summary_text
from mnist_lab.data import NAMES
from mnist_lab.files import WriteError, folder_lock, read_json, write_files
from mnist_lab.speed import choose_threads
from mnist_lab.validation import Count, UserError, check

PARTIAL = ".partial-"  # begins the name of a folder where a task is being done
POLL_SECONDS, CONNECT_SECONDS = 0.1, 10
LET_GO_SECONDS = 5  # how long a worker may take to end what it has started
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # the last is a closed terminal; Windows has none


@dataclass(frozen=True, kw_only=True)
class Task:
    """A unit of work: `order` is what a worker does, into the file `target` of a new folder.

    `digits`: a source of `load_data`. `verify` raises `UserError` unless the result that an earlier
    run left in this folder is whole and current. `home`: the folder of its result, within the
    runner's; "" for that which all share, with the notebooks' records in its `records`. `alone`: it
    measures time, so nothing else may run beside it.
    """

    name: str
    order: dict = field(repr=False)
    target: str
    digits: str
    verify: Callable[[Path], None] = field(repr=False)
    home: str = ""
    alone: bool = False


Result = tuple[Task, Outcome, dict[str, bytes]]  # the files by their paths


class Stop(threading.Event):
    """Set when nothing more begins and what runs must end. `reason`: the first one given."""

    reason: Exception | None = None

    def pull(self, reason: Exception) -> None:
        self.reason = self.reason or reason
        self.set()


def run_tasks(
    tasks: Sequence[Task],
    folder: Path,
    jobs: int | None = None,
    cluster: str | None = None,
    cores: int | None = None,
    to_continue: str = "the same command continues.",
) -> list[Outcome]:
    """Do the tasks that have no whole result in `folder`; what became of each.

    `jobs` at a time, by default one for each core; or, with `cluster`, as many as the workers of
    the Dask scheduler at this address take. Each may use `cores`, by default a fair share. Those
    that are `alone` come last, one at a time and with every core.

    Raises `UserError` for less than one job, a folder with another runner at work and a scheduler
    that does not answer; `Interrupted` after SIGINT, SIGTERM or SIGHUP; `WriteError`. What had
    finished is kept, and a note on the last two says so, with how `to_continue`.
    """
    jobs, stop = check("jobs", cpu_count() if jobs is None else jobs, Count), Stop()
    with only_runner(folder), signals_pull(stop):
        for leftover in folder.glob(f"{PARTIAL}*"):  # of a runner that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        outcomes = _finished(tasks, folder)
        missing = [task for task in tasks if task.name not in outcomes]
        alone = [task for task in missing if task.alone]
        others = [task for task in missing if not task.alone]
        here = _here(others, folder, jobs, cores, stop)
        results = _on_cluster(others, cluster, stop) if cluster else here
        results = chain(results, _here(alone, folder, 1, None, stop))
        for task, outcome, files in tqdm(results, total=len(missing), disable=not missing):
            outcomes[task.name] = outcome
            names = sorted(one.name for one in tasks if one.home == task.home)
            files[SUMMARY] = summary_text([outcomes[name] for name in names if name in outcomes])
            try:
                if task.home:  # nothing of an earlier try may stay
                    shutil.rmtree(folder / task.home, ignore_errors=True)
                write_files({folder / task.home / name: files[name] for name in files})
            except WriteError as error:
                stop.pull(error)
        if stop.reason:
            stop.reason.add_note(f"What had finished is kept: {to_continue}")
            raise stop.reason
    return [outcomes[task.name] for task in tasks]


def folder_name(title: str, digits: str, arguments: dict, *identity: str) -> str:
    """A name for a task and its folder: readable, and another for every other task."""
    said = ",".join(f"{name}={value}" for name, value in arguments.items())
    whole = json.dumps([title, digits, list(arguments.items()), *identity])
    key = hashlib.sha256(whole.encode()).hexdigest()[:8]
    return re.sub(r"[^\w.,=-]", "_", f"{title}-{digits}-{said}")[:80] + f"-{key}"


def only_runner(folder: Path) -> AcquireReturnProxy:
    """Make the folder; until the end of a `with` statement, refuse a second runner in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return folder_lock(folder, timeout=0).acquire()
    except Timeout:
        raise UserError(f"another runner is at work in {folder}: wait until it ends.") from None
    except OSError as error:
        raise WriteError(error.filename or folder, error.strerror) from error


@contextmanager
def signals_pull(stop: Stop) -> Iterator[None]:
    """While it lasts, a signal to end pulls `stop`, and raises nothing anywhere."""
    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # nohup
            signal.signal(number, lambda number, _: stop.pull(Interrupted(number)))
    try:
        yield
    finally:
        stop.set()  # whatever ends the runner, nothing more begins
        for number, handler in before.items():
            signal.signal(number, handler)


def _finished(tasks: Sequence[Task], folder: Path) -> dict[str, Outcome]:
    """The rows of the tasks that have their whole result; any other that was "ok" is named."""
    finished = {}
    for task in tasks:
        try:
            rows = {row.notebook: row for row in load_outcomes(folder / task.home / SUMMARY)}
            if task.name in rows and rows[task.name].status == worker.OK:
                task.verify(folder / task.home)
                finished[task.name] = rows[task.name]
        except UserError as error:
            print(f"{task.name} is run again: {error}")
    return finished


def _here(
    tasks: Sequence[Task], folder: Path, jobs: int, cores: int | None, stop: Stop
) -> Iterator[Result]:
    """The tasks' results in the order they are ready; of those that were stopped none."""
    workers = max(1, min(jobs, cpu_count(), len(tasks)))
    if cores is None:  # a share is not more than a training takes: the seed decides the result
        share = cpu_count() if workers == 1 else min(cpu_count() // workers, choose_threads())
        cores = choose_threads() if "OMP_NUM_THREADS" in os.environ else share

    def work(task: Task, line: int) -> Result | None:
        try:
            return None if stop.is_set() else execute(task, folder, cores, stop, line)
        except OSError as error:
            stop.pull(WriteError(error.filename or folder, error.strerror or str(error)))

    # Threads are enough: each watches over a process of its own.
    parallel = Parallel(
        workers, prefer="threads", return_as="generator_unordered", pre_dispatch=workers
    )
    works = (delayed(work)(task, 1 + number % workers) for number, task in enumerate(tasks))
    yield from filter(None, parallel(works))


def _on_cluster(tasks: Sequence[Task], address: str, stop: Stop) -> Iterator[Result]:
    """As `_here`, on one core each. A task whose Dask worker dies goes to another, three times."""
    try:
        from distributed import Client, wait

        client = Client(address, timeout=CONNECT_SECONDS)
    except (ImportError, OSError, ValueError) as error:
        needs = 'a running scheduler, and pip install "mnist-lab[cluster]"'
        raise UserError(f"no Dask at {address} ({error}): it needs {needs}.") from error
    with client:
        left = {client.submit(execute, task, pure=False): task for task in tasks}
        while left and not stop.is_set():
            with suppress(TimeoutError):
                for future in wait(list(left), POLL_SECONDS, "FIRST_COMPLETED").done:
                    task, lost = left.pop(future), future.exception()
                    digits = NAMES[task.digits]
                    row = Outcome(task.name, worker.FAILED, 0, 1, 0, digits, error=repr(lost))
                    yield (task, row, {}) if lost else future.result()
        client.cancel(list(left))


def execute(
    task: Task,
    folder: Path | None = None,
    cores: int = 1,
    stop: Stop | None = None,
    line: int | None = None,
) -> Result | None:
    """Do a task, here and now, in a new folder in `folder`; None if `stop` was pulled meanwhile.

    `line`: of the terminal, for its progress bar. Raises `OSError` for what cannot be written.
    """
    stop, start = stop or Stop(), time.perf_counter()
    with (
        tempfile.TemporaryDirectory(dir=folder, prefix=PARTIAL, ignore_cleanup_errors=True) as name,
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as private,
    ):
        scratch = Path(name).resolve()
        order = task.order | {"target": str(scratch / task.target)}
        bar = line and {"desc": task.name[:40], "position": line}
        text = json.dumps({"order": order, "folders": [name, private], "bar": bar})
        Path(private, worker.ORDER).write_text(text, encoding="utf-8")
        environment = {
            "MNIST_LAB_SOURCE": task.digits,
            "MNIST_LAB_RECORDS": str(scratch if task.home else scratch / "records"),
            "JUPYTER_RUNTIME_DIR": private,  # a kernel's files end with it; sockets need it short
        }
        if cores < cpu_count():
            environment["OMP_NUM_THREADS"] = str(cores)
        peak = _supervise(private, environment, stop)
        try:
            status, error, figures = read_json(Path(private, worker.ANSWER))
            paths = [path for path in scratch.rglob("[!.]*") if path.is_file()]
        except UserError:  # it was killed, so what it has left may be half
            status, error, figures = "failed: its process died", worker.DEATH, {}
            paths = []
        if stop.is_set() and status != worker.OK:
            return None
        seconds = time.perf_counter() - start
        digits, megabytes = NAMES[task.digits], round(peak / 1e6)
        outcome = Outcome(task.name, status, seconds, cores, megabytes, digits, figures, error)
        return task, outcome, {str(path.relative_to(scratch)): path.read_bytes() for path in paths}


def _supervise(private: str, environment: dict, stop: Stop) -> int:
    """Let a worker do the order in this folder; return the most bytes that it held.

    That is, what it has started (a notebook's kernel), or itself if it starts nothing.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", worker.__name__, private],
        stdin=subprocess.PIPE,  # the lifeline
        stdout=2,  # what it prints is no output of the runner
        env=os.environ | environment,
        start_new_session=True,  # Ctrl-C is for the runner, which then lets go
    )
    peak, started = 0, set()
    while process.poll() is None and not stop.wait(POLL_SECONDS):
        with suppress(psutil.Error):  # one of them has just ended
            parent = psutil.Process(process.pid)
            children = parent.children(recursive=True)
            started.update(children)
            peak = max(peak, sum(one.memory_info().rss for one in children or [parent]))
    process.stdin.close()  # the worker ends what it has started, and itself
    with suppress(subprocess.TimeoutExpired):
        process.wait(LET_GO_SECONDS)
    process.kill()
    for orphan in started:  # of a worker that was killed
        with suppress(psutil.Error):
            orphan.kill()
    process.wait()
    return peak

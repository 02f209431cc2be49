"""Watching over the process that executes a notebook: its memory, its end, its death.

However the runner ends, nothing that it started outlives it by more than some seconds: a signal
pulls `stop`, and a runner that is killed drops the lifeline that `worker` holds.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from mnist_lab.course import worker
from mnist_lab.course.notebooks import last_cell, read
from mnist_lab.files import WriteError

POLL_SECONDS = 0.1
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # the last is a closed terminal; Windows has none


class Interrupted(Exception):
    """A signal stopped the batch."""

    def __init__(self, number: int):
        super().__init__(f"Stopped by {signal.Signals(number).name}.")
        self.number = number


class Stop(threading.Event):
    """Set when nothing more shall begin and what runs shall end. `reason`: the first one given."""

    reason: Exception | None = None

    def pull(self, reason: Exception) -> None:
        self.reason = self.reason or reason
        self.set()


@dataclass(frozen=True)
class Result:
    """How a notebook's execution ended. `peak_mb`: the most memory of its kernel, 10⁶ bytes."""

    status: str
    error: str
    seconds: float
    peak_mb: int


@contextmanager
def signals_pull(stop: Stop) -> Iterator[None]:
    """While it lasts, a signal to end pulls `stop`, and raises nothing anywhere."""
    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # Python leaves signals to the main thread
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # nohup
            signal.signal(number, lambda number, _: stop.pull(Interrupted(number)))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def supervise(
    notebook: Path,
    target: Path,
    parameters: dict,
    environment: dict,
    stop: Stop,
    *,
    folder: Path | None = None,
    line: int | None = None,
) -> Result | None:
    """Execute a notebook into `target`, which is written whole or not at all.

    `environment`: variables for the kernel. `folder`: where it stands, else the notebook's own.
    `line`: that of a progress bar, in the terminal. Returns None, and leaves nothing, if `stop` was
    pulled before the end. Raises `WriteError`.
    """
    try:
        return _supervise(notebook, target, parameters, environment, stop, folder, line)
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(target.parent, error.strerror or str(error)) from error


def _supervise(notebook, target, parameters, environment, stop, folder, line) -> Result | None:
    partial, start = target.with_name(f".partial-{target.name}"), time.perf_counter()
    task = {"source": str(notebook.resolve()), "target": str(partial.resolve()),
            "parameters": parameters, "folder": str(folder or notebook.resolve().parent),
            "line": line}  # fmt: skip
    with tempfile.TemporaryFile("w+", encoding="utf-8") as answer:
        process = subprocess.Popen(
            [sys.executable, "-P", worker.__file__, json.dumps(task)],
            stdin=subprocess.PIPE,
            stdout=answer,
            env=os.environ | environment,
            start_new_session=True,  # Ctrl-C is for the runner, which then lets go
        )
        peak = _watch(process, stop)
        answer.seek(0)
        text = answer.read()
    seconds = time.perf_counter() - start
    # A worker that was killed has not answered.
    status, error = json.loads(text.splitlines()[-1]) if text else (worker.DIED, "")
    if status == worker.UNWRITABLE or (stop.is_set() and status != worker.OK):
        with suppress(OSError):
            partial.unlink()
        if stop.is_set():
            return None
        raise WriteError(target.parent, error)
    if status == worker.DIED:
        error = _epitaph(partial)
    if partial.exists():
        os.replace(partial, target)
    return Result(status, error, seconds, round(peak / 1e6))


def _watch(process: subprocess.Popen, stop: Stop) -> int:
    """Wait until the worker has ended or `stop` is pulled: the most bytes that its kernel held."""
    peak, family = 0, set()
    while process.poll() is None and not stop.wait(POLL_SECONDS):
        with suppress(psutil.Error):
            before, family = family, set(psutil.Process(process.pid).children(recursive=True))
            # A process that is just being started still shows the memory of the one that starts it.
            peak = max(peak, sum(map(_bytes, family & before)))
    process.stdin.close()  # the worker lets its kernel go, and ends
    try:
        process.wait(worker.GRACE_SECONDS + 2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for orphan in family:  # of a worker that was killed
        with suppress(psutil.Error):
            orphan.kill()
    return peak


def _bytes(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:  # it has ended meanwhile
        return 0


def _epitaph(partial: Path) -> str:
    """In which cell a kernel died, and what that often means."""
    try:
        number, cell = last_cell(read(partial))
        place = f"cell [{number}]:\n{cell.source}"
    except (OSError, ValueError, TypeError):  # killed while it was writing, or before it did
        place = "a cell that could not be written down any more"
        partial.unlink(missing_ok=True)
    return (
        f"{place}\n\nThe kernel died, killed from outside or by its own code. Where the memory ran "
        "out, --jobs 1 needs less of it at a time."
    )

"""What the tests of the runner start, ask of its processes, and end."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook

KERNEL = {"name": "python3", "language": "python", "display_name": "Python 3"}
posix = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


def write_notebook(path, *sources, parameters="n = 1", figures="print('n:', n)", tags=()):
    """A notebook: its parameters, a cell for each source, and its key figures."""
    cells = [new_code_cell(parameters, metadata={"tags": ["parameters", *tags]})]
    cells += [new_code_cell(source) for source in sources]
    cells.append(new_code_cell(figures, metadata={"tags": ["key-figures"]}))
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": KERNEL}), path)
    return path


def processes_of(folder) -> list[psutil.Process]:
    """The workers and kernels that work for a runner in this folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("MNIST_LAB_RECORDS", "").startswith(str(folder)):
                found.append(process)
    return found


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)


@contextlib.contextmanager
def started(*command, **options):
    """A process in a session of its own, as in a terminal, whatever this one ignores.

    It is killed at the end, with all that it has started.
    """

    def as_in_a_terminal():  # in a shell's background SIGINT is ignored from the start
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            signal.signal(getattr(signal, name), signal.SIG_DFL)

    process = subprocess.Popen([sys.executable, *command], text=True, start_new_session=True,
                               preexec_fn=as_in_a_terminal, **options)  # fmt: skip
    try:
        yield process
    finally:
        family = [process]
        with contextlib.suppress(psutil.Error):
            family += psutil.Process(process.pid).children(recursive=True)
        for one in family:
            with contextlib.suppress(psutil.Error):
                one.kill()
        process.communicate()


@contextlib.contextmanager
def signal_when(condition, number):
    """Send this process a signal once the condition holds; without a runner it would raise."""

    def raise_in_main_thread(number, frame):
        raise KeyboardInterrupt(f"signal {number}")

    before = signal.signal(number, raise_in_main_thread)

    def send():
        wait_for(condition)
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        sender.join()
        signal.signal(number, before)

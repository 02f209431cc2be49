"""What the tests of runners ask about processes."""

import contextlib
import time

import psutil


def processes_of(folder) -> list[str]:
    """The command lines of the workers and kernels that work for a folder's batch."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("MNIST_LAB_RECORDS", "").startswith(str(folder)):
                found.append(" ".join(process.cmdline()))
    return found


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.1)

"""A student's code has to end, whatever it does."""

import _thread
import ctypes
import sys
import time
from collections.abc import Callable

TIME_LIMIT = 10.0  # seconds; a check takes less than one
PATIENCE = 4  # times as long for code that waits, or shares a busy machine
STOPPING = 5.0  # seconds


class TooLong(Exception):
    """The code did not end in time."""


class Stopped(SystemExit):
    """What ends the code from outside: no `except Exception` in it keeps this back."""


def run_in_time(work: Callable[[], object]) -> object:
    """What `work` returns, or raises, in a thread of its own.

    Raises `TooLong` when it takes more than `TIME_LIMIT` seconds. It is stopped then; what a single
    call in C does, such as `sum(range(10**12))`, can only be stopped when that call is over.
    """
    returned: list = []
    raised: list[BaseException] = []
    running = _thread.allocate_lock()
    running.acquire()

    def run() -> None:
        try:
            returned.append(work())
        except BaseException as error:  # `exit()` must not end the thread unseen
            raised.append(error)
        finally:
            running.release()

    # Not threading's: one more `Stopped` may come just after the code's end. Here it ends the
    # thread without a word; in the middle of what `threading` does then, it would be printed.
    thread = _thread.start_new_thread(run, ())
    try:
        in_time = _ends(running)
    finally:  # also after Ctrl-C
        stopped = _stop(thread, running)
    if not in_time:
        advice = "" if stopped else " It cannot be stopped: restart the kernel."
        raise TooLong(
            f"it does not end within {TIME_LIMIT:g} seconds: does a loop never stop?{advice}"
        )
    if raised:
        raise raised[0]
    return returned[0]


def _ends(running: _thread.LockType) -> bool:
    """Whether it ends in time, which is time on the processor while there is enough on the wall."""
    wall, processor = time.monotonic(), time.process_time()
    while not running.acquire(timeout=TIME_LIMIT / 20):
        waited, computed = time.monotonic() - wall, time.process_time() - processor
        if waited > TIME_LIMIT * PATIENCE or min(waited, computed) > TIME_LIMIT:
            return False
    running.release()
    return True


def _stop(thread: int, running: _thread.LockType) -> bool:
    """Whether it has ended, or could be stopped.

    A bare `except:` in a loop catches this exception, but not every time: so it is raised again
    and again, with hardly a moment in between. On a busy machine that may not be enough.
    """
    interval, end = sys.getswitchinterval(), time.monotonic() + STOPPING
    sys.setswitchinterval(1e-6)
    try:
        while running.locked() and time.monotonic() < end:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread), ctypes.py_object(Stopped)
            )
    finally:
        sys.setswitchinterval(interval)
    return running.acquire(timeout=0.1)

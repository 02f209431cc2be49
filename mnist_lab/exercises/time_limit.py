"""A student's code, run where it can do no harm: what it raises is passed on, and it has to end."""

import ctypes
import sysconfig
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

TIME_LIMIT = 10.0  # seconds; a check takes less than one
PATHS = sysconfig.get_paths()
NOT_THE_STUDENTS = (str(Path(__file__).parents[1]), PATHS["stdlib"], PATHS["purelib"])


class TooLong(Exception):
    """The code did not end in time."""


class _Stopped(BaseException):
    """What ends the code from outside: no `except Exception` in it keeps this back."""


def watched(work: Callable[[], None]) -> None:
    """Run `work` for at most `TIME_LIMIT` seconds; raise what it raises, as an `Exception`.

    Raises `TooLong` when it does not end. It is stopped then, unless it waits outside of Python.
    """
    raised: list[BaseException] = []
    done = threading.Event()  # `join` would forget a thread that goes on when Ctrl-C ends it

    def run() -> None:
        try:
            work()
        except BaseException as error:  # `exit()` in an answer must not end the kernel
            raised.append(error)
        done.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        in_time = done.wait(TIME_LIMIT)
    finally:  # also after Ctrl-C
        _stop(thread, done)
    if not in_time:
        raise TooLong(f"it does not end within {TIME_LIMIT:g} seconds: does a loop never stop?")
    for error in raised:
        if isinstance(error, Exception):
            raise error
        raise RuntimeError(f"{type(error).__name__} was raised") from error


def _stop(thread: threading.Thread, done: threading.Event) -> None:
    for _ in range(20):  # a bare `except:` catches it, but not every time
        if done.wait(0):
            return
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(_Stopped)
        )
        done.wait(0.1)


def last_line_outside(error: BaseException) -> str:
    """ " (line 3: `x / 0`)": the last line of the answer itself that `error` came through."""
    frames = [
        frame
        for frame in traceback.extract_tb((error.__cause__ or error).__traceback__)
        if not frame.filename.startswith(NOT_THE_STUDENTS)
    ]
    if not frames:
        return ""
    line = f": `{frames[-1].line[:60]}`" if frames[-1].line else ""
    return f" (line {frames[-1].lineno}{line})"

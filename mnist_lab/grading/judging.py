"""One answer judged: its code runs in a process of its own, the check runs here."""

import multiprocessing
import os
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from multiprocessing.connection import Connection

from mnist_lab.exercises.question import (
    WRONG,
    AnswerFailed,
    Exercise,
    Verdict,
    Wrong,
    unanswered,
    verdict,
    verdict_on,
)
from mnist_lab.exercises.time_limit import Stopped
from mnist_lab.grading import preloaded, sandbox
from mnist_lab.grading.answering import serve
from mnist_lab.grading.distant import Ended, Link
from mnist_lab.grading.messages import Damaged, decode, encode
from mnist_lab.grading.sandbox import Limits

LIMITS = Limits()
START = 60.0  # seconds that a process may take to begin on a busy machine
CHECK = 30.0  # seconds that the check itself may take beyond the answer's


def judge_elsewhere(
    exercise: Exercise,
    code: str,
    given: str | None = None,
    imports: Sequence[str] = (),
    limits: Limits = LIMITS,
    hidden: Sequence[str] = (),
    key: str = "",
) -> tuple[Verdict, list[str]]:
    """The verdict on an answer's cell, and what the sandbox could not take from it.

    `given` (by default as delivered) and `imports` are run before it, as far as they can be.
    `hidden`: folders that it must not read. `key`: the student's. An answer whose process ended,
    for whatever reason, is not right.
    """
    with _process(limits, hidden) as (connection, lacking):
        link = Link(connection, limits.seconds, code)
        try:
            _stop_after(limits.seconds + CHECK)
            before = {"given": exercise.given if given is None else given, "imports": list(imports)}
            asked = {"start": exercise.for_key(exercise.start, key), "names": exercise.variables}
            with warnings.catch_warnings():  # a verdict is a sentence, without raw warnings
                warnings.simplefilter("ignore")
                found = link.request("run", code=code, **before, **asked)
                there = {name: bool(same) for name, (same, _) in found.items()}
                answers = {name: value for name, (_, value) in found.items()}
                said = unanswered(exercise, there) or verdict(exercise, answers, key)
        except Wrong as wrong:
            said = Verdict(WRONG, str(wrong))
        except AnswerFailed as failed:
            said = verdict_on(failed, exercise.checker)
        except (Ended, ValueError, TypeError, AttributeError) as error:
            said = Verdict(WRONG, str(error) if isinstance(error, Ended) else "it sends no answer.")
        except Stopped:
            said = Verdict(WRONG, "what it returns takes too long to be checked.")
        finally:
            _stop_after(0)
        return (Verdict(WRONG, link.failed) if link.failed else said), lacking


def _stop_after(seconds: float) -> None:
    """Raise `Stopped` here after so long, unless asked again with 0; not on Windows."""

    def stop(*_):
        raise Stopped

    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, seconds)


@contextmanager
def _process(limits: Limits, hidden: Sequence[str]) -> Iterator[tuple[Connection, list[str]]]:
    """The connection to a new process in its sandbox; it is killed at the end."""
    here, there = _context().Pipe()
    process = _context().Process(target=_work, args=(there, limits, list(hidden)), daemon=True)
    process.start()
    there.close()
    try:
        lacking = decode(here.recv_bytes(1 << 16)) if here.poll(START) else []
        yield here, lacking
    except (EOFError, OSError, Damaged) as error:
        raise RuntimeError("a process for answers could not be started") from error
    finally:
        process.kill()
        process.join()
        here.close()


@cache
def _context():
    """Processes are forked from one that has PyTorch loaded, and nothing of this one."""
    os.environ["OMP_NUM_THREADS"] = "1"
    way = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(way)
    if way == "forkserver":
        context.set_forkserver_preload([serve.__module__, preloaded.__name__])
    return context


def _work(connection: Connection, limits: Limits, hidden: list[str]) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    sandbox.close_files_but(connection.fileno())  # some lead to the processes around it
    lacking = sandbox.enter(limits, hidden)
    connection.send_bytes(encode(lacking))
    serve(connection)

"""What an answer may change for the whole process, put back after a check."""

import copy
import os
import random
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch.nn.modules import module as modules

from mnist_lab.exercises.time_limit import THREAD

MOST_PRINTED = 2_000  # characters: a `print` in a loop must not flood the page


def _hooks() -> dict:
    """Hooks of all modules, and the like: a forgotten one makes right answers fail."""
    names = [name for name in vars(modules) if name.startswith("_global_")]
    return {name: copy.copy(getattr(modules, name)) for name in names}


def _put_hooks(hooks: dict) -> None:
    for name, before in hooks.items():
        now = getattr(modules, name)
        if isinstance(now, dict):  # the same dictionary: whoever removes a hook looks there
            now.clear()
            now.update(before)
        else:
            setattr(modules, name, before)


def _put_environment(before: dict) -> None:
    os.environ.clear()
    os.environ.update(before)


# How each setting is read, and how it is put back.
SETTINGS: list[tuple[Callable, Callable]] = [
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_num_threads, torch.set_num_threads),
    (
        lambda: (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        lambda both: torch.use_deterministic_algorithms(both[0], warn_only=both[1]),
    ),
    (
        lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        lambda both: torch.set_anomaly_enabled(*both),
    ),
    (
        lambda: dict(vars(torch._tensor_str.PRINT_OPTS)),
        lambda options: torch.set_printoptions(**options),
    ),
    (np.get_printoptions, lambda options: np.set_printoptions(**options)),
    (np.geterr, lambda errors: np.seterr(**errors)),
    (_hooks, _put_hooks),
    (lambda: dict(os.environ), _put_environment),
    (os.getcwd, os.chdir),
    (sys.getrecursionlimit, sys.setrecursionlimit),
]
RANDOM: list[tuple[Callable, Callable]] = [
    (random.getstate, random.setstate),
    (np.random.get_state, np.random.set_state),
]


@contextmanager
def restored() -> Iterator[None]:
    """Within it, draws are new and output is bounded; after it, all is as it was before.

    Autograd's modes and autocast belong to a thread: a check has one of its own.
    """
    settings = [(read, put, read()) for read, put in SETTINGS]
    states = [(put, read()) for read, put in RANDOM]
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices), warnings.catch_warnings(), _bounded_output():
        warnings.simplefilter("ignore")  # a verdict is a sentence, without raw warnings around it
        torch.seed()
        try:
            yield
        finally:
            for read, put, before in settings:
                if _differs(read, before):
                    put(before)
            for put, before in states:
                put(before)


def _differs(read: Callable, before: object) -> bool:
    try:
        return read() != before
    except OSError:  # the working folder is gone
        return True


class _Bounded:
    """Standard output or standard error: of an answer, the first characters are let through."""

    def __init__(self, target):
        self._target, self._left = target, MOST_PRINTED

    def __getattr__(self, name: str):
        return getattr(self._target, name)

    def write(self, text: str) -> int:
        if threading.current_thread().name != THREAD:
            return self._target.write(text)
        if self._left > 0:
            self._target.write(text[: self._left])
            self._left -= len(text)
            if self._left <= 0:
                self._target.write("\n[more was printed, and is not shown]\n")
        return len(text)


@contextmanager
def _bounded_output() -> Iterator[None]:
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_Bounded, before)
    try:
        yield
    finally:  # what could not be stopped remains bounded
        if all(thread.name != THREAD for thread in threading.enumerate()):
            sys.stdout, sys.stderr = before

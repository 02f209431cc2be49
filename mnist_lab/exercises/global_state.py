"""What an answer may change for the whole process, put back after a check."""

import copy
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from unittest.mock import patch

import numpy as np
import torch
from torch.nn.modules import module as modules

from mnist_lab.exercises.cases import draw

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


def _put_path(path: list[str]) -> None:
    sys.path[:] = path


# How each setting is read, and how it is put back, where no context manager does both.
SETTINGS: list[tuple[Callable, Callable]] = [
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    (lambda: dict(vars(torch._tensor_str.PRINT_OPTS)), lambda old: torch.set_printoptions(**old)),
    (_hooks, _put_hooks),
    (sys.getrecursionlimit, sys.setrecursionlimit),
    (lambda: list(sys.path), _put_path),
    (random.getstate, random.setstate),
    (np.random.get_state, np.random.set_state),
]


@contextmanager
def restored() -> Iterator[None]:
    """Within it, draws are new and output is bounded; after it, all is as it was before.

    Autograd's modes and autocast belong to a thread: a check has one of its own.
    """
    before = [(put, read()) for read, put in SETTINGS]
    anomaly = torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()
    with (
        torch.random.fork_rng(range(torch.cuda.device_count() * torch.cuda.is_initialized())),
        torch.autograd.set_detect_anomaly(*anomaly),
        np.printoptions(),
        np.errstate(),
        patch.dict(os.environ),
        chdir("."),
        redirect_stdout(_Bounded(sys.stdout)),
        redirect_stderr(_Bounded(sys.stderr)),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # a verdict is a sentence, without raw warnings around it
        torch.manual_seed(draw.getrandbits(63))
        try:
            yield
        finally:
            for put, value in before:
                put(value)


class _Bounded:
    """Standard output or standard error, of which the first characters are let through."""

    def __init__(self, target):
        self._target, self._left = target, MOST_PRINTED

    def __getattr__(self, name: str):
        return getattr(self._target, name)

    def write(self, text: str) -> int:
        if self._left > 0:
            self._target.write(text[: self._left])
            self._left -= len(text)
            if self._left <= 0:
                self._target.write("\n[more was printed, and is not shown]\n")
        return len(text)

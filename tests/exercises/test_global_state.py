"""Nothing that an answer changes for the whole process outlives its check."""

import os
import random
import sys
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from mnist_lab.exercises.global_state import MOST_PRINTED, restored

CHANGES = {
    "default dtype": (torch.get_default_dtype, lambda: torch.set_default_dtype(torch.float64)),
    "threads": (torch.get_num_threads, lambda: torch.set_num_threads(3)),
    "determinism": (
        torch.get_deterministic_debug_mode,
        lambda: torch.use_deterministic_algorithms(True, warn_only=True),
    ),
    "anomaly": (torch.is_anomaly_enabled, lambda: torch.autograd.set_detect_anomaly(True)),
    "torch's print": (lambda: str(torch.tensor(1 / 3)), lambda: torch.set_printoptions(9)),
    "NumPy's print": (lambda: str(np.array([1 / 3])), lambda: np.set_printoptions(precision=2)),
    "NumPy's errors": (np.geterr, lambda: np.seterr(all="raise")),
    "a hook": (
        lambda: nn.Identity()(torch.tensor(1.0)).item(),
        lambda: nn.modules.module.register_module_forward_hook(lambda m, i, output: output + 1),
    ),
    "environment": (lambda: dict(os.environ), lambda: os.environ.update(PATH="", MNIST_LAB_X="1")),
    "folder": (os.getcwd, lambda: os.chdir("/")),
    "path": (lambda: list(sys.path), lambda: sys.path.insert(0, "/nowhere")),
    "recursion": (sys.getrecursionlimit, lambda: sys.setrecursionlimit(5_000)),
    "warnings": (lambda: list(warnings.filters), lambda: warnings.simplefilter("error")),
    "output": (lambda: sys.stdout, lambda: setattr(sys, "stdout", None)),
    "torch's numbers": (lambda: torch.get_rng_state().tolist(), lambda: torch.manual_seed(1)),
    "Python's numbers": (random.getstate, lambda: random.seed(1)),
    "NumPy's numbers": (lambda: np.random.get_state()[1].tolist(), lambda: np.random.seed(1)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_taken_back(name):
    read, change = CHANGES[name]
    before = read()
    with restored():
        change()
        assert name == "output" or read() != before
    assert read() == before


def test_a_folder_that_is_gone_is_left(tmp_path):
    before = os.getcwd()
    with restored():
        os.chdir(tmp_path)
        tmp_path.rmdir()
    assert os.getcwd() == before


def test_random_numbers_are_drawn_anew():
    drawn = []
    for _ in range(2):
        torch.manual_seed(0)
        with restored():
            drawn.append(torch.rand(()).item())
    assert drawn[0] != drawn[1]


def test_an_error_takes_them_back_too():
    with pytest.raises(KeyError), restored():
        torch.set_default_dtype(torch.float64)
        raise KeyError
    assert torch.get_default_dtype() == torch.float32


def test_output_is_bounded_and_warnings_are_silent(capsys):
    with restored():
        print("a" * 10)
        warnings.warn("careful", stacklevel=1)
        for _ in range(1_000):
            print("b" * 50)
    printed = capsys.readouterr()
    assert printed.out.startswith("a" * 10 + "\n" + "b" * 50)
    assert len(printed.out) < MOST_PRINTED + 50 and "is not shown" in printed.out
    assert printed.err == ""
    print("c" * 10_000)
    assert len(capsys.readouterr().out) > 10_000

"""Code that is watched: it is stopped when it does not end, and what it raises is passed on."""

import _thread
import threading

import pytest

from mnist_lab.exercises import time_limit as watched
from mnist_lab.exercises.time_limit import TooLong, last_line_outside


def forever():
    while True:
        pass


def test_what_it_raises_is_passed_on():
    with pytest.raises(ZeroDivisionError):
        watched.watched(lambda: 1 / 0)
    with pytest.raises(RuntimeError, match="SystemExit was raised"):
        watched.watched(exit)


def test_it_is_stopped(monkeypatch):
    monkeypatch.setattr(watched, "TIME_LIMIT", 0.2)
    before = set(threading.enumerate())
    with pytest.raises(TooLong, match="does not end within"):
        watched.watched(forever)
    for thread in set(threading.enumerate()) - before:
        thread.join(1)
        assert not thread.is_alive()


def test_an_interrupt_stops_it_too():
    before = set(threading.enumerate())
    threading.Timer(0.2, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        watched.watched(forever)
    for thread in set(threading.enumerate()) - before:
        thread.join(1)
        assert not thread.is_alive()


def test_the_line_named_is_the_answers_not_the_librarys():
    import torch

    namespace = {"torch": torch}
    exec(compile("def f():\n    x = 1\n    torch.zeros(2).view(3)", "<answer>", "exec"), namespace)
    with pytest.raises(RuntimeError) as failure:
        watched.watched(namespace["f"])
    assert last_line_outside(failure.value) == " (line 3)"

"""Code that has to end: it is stopped when it does not, and what it raises is passed on."""

import _thread
import signal
import threading
import time

import pytest

from mnist_lab.exercises import time_limit
from mnist_lab.exercises.time_limit import TooLong, run_in_time


def forever():
    while True:
        pass


def inside_a_broad_except():
    while True:
        try:
            for _ in range(10**6):
                pass
        except Exception:
            pass


@pytest.fixture
def briefly(monkeypatch):
    monkeypatch.setattr(time_limit, "TIME_LIMIT", 0.2)


@pytest.fixture(autouse=True)
def no_thread_stays():
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(2)
        assert not thread.is_alive()


@pytest.mark.parametrize("code", ["1 / 0", "exit()", "raise KeyboardInterrupt"])
def test_what_it_returns_or_raises_is_passed_on(code):
    with pytest.raises((ZeroDivisionError, SystemExit, KeyboardInterrupt)):
        run_in_time(lambda: exec(code))
    assert run_in_time(lambda: 7) == 7


@pytest.mark.parametrize("endless", [forever, inside_a_broad_except])
def test_it_is_stopped(endless, briefly):
    with pytest.raises(TooLong, match=r"within 0.2 seconds: does a loop never stop\?$"):
        run_in_time(endless)


def test_an_interrupt_stops_it_too():
    # A shell starts its background jobs with Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Timer(0.2, _thread.interrupt_main).start()
        with pytest.raises(KeyboardInterrupt):
            run_in_time(forever)
    finally:
        signal.signal(signal.SIGINT, before)


def test_waiting_costs_patience_only(briefly):
    run_in_time(lambda: time.sleep(0.4))
    with pytest.raises(TooLong):
        run_in_time(lambda: time.sleep(1.5))


def test_what_cannot_be_stopped_says_so(briefly, monkeypatch):
    monkeypatch.setattr(time_limit, "STOPPING", 0.01)
    with pytest.raises(TooLong, match="restart the kernel"):
        run_in_time(lambda: time.sleep(2))

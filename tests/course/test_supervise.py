"""Watching over a worker: whose memory is counted, what is said when it cannot be asked."""

import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from mnist_lab.course import supervise
from mnist_lab.course.supervise import Interrupted, Stop, signals_pull
from mnist_lab.files import WriteError


@dataclass(frozen=True)
class Fake:
    """A process that holds so many bytes."""

    name: str
    held: int

    def memory_info(self):
        if self.held < 0:
            raise psutil.NoSuchProcess(1)
        return SimpleNamespace(rss=self.held)

    def kill(self):
        pass


def test_the_memory_is_that_of_the_kernel_and_of_what_it_started(monkeypatch):
    kernel, helper = Fake("kernel", 50), Fake("helper", 20)
    copy = Fake("copy of its parent, just being started", 1_000)
    polls = [[], [copy], [kernel, helper], [kernel, helper, copy], [kernel, Fake("gone", -1)]]
    left = iter(polls)
    monkeypatch.setattr(
        psutil, "Process", lambda _: SimpleNamespace(children=lambda recursive: next(left))
    )
    ended = iter([None] * len(polls) + [0])
    process = SimpleNamespace(
        pid=1, poll=lambda: next(ended), stdin=SimpleNamespace(close=lambda: None),
        wait=lambda seconds=None: 0,
    )  # fmt: skip
    monkeypatch.setattr(supervise, "POLL_SECONDS", 0)
    assert supervise._watch(process, Stop()) == 70


def test_a_worker_that_does_not_let_go_is_killed(monkeypatch):
    monkeypatch.setattr(supervise.worker, "GRACE_SECONDS", -1.5)  # half a second in all
    stop = Stop()
    stop.pull(Interrupted(signal.SIGTERM))
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", stubborn], stdin=subprocess.PIPE)
    supervise._watch(process, stop)
    assert process.returncode not in (None, 0)


def test_a_notebook_lost_in_the_middle_of_writing_is_said_and_removed(tmp_path):
    partial = tmp_path / ".partial-00_a.ipynb"
    partial.write_text('{"cells": [')
    assert "could not be written down" in supervise._epitaph(partial)
    assert not partial.exists()
    assert "could not be written down" in supervise._epitaph(partial)


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    answer = '["unwritable", "No space left on device"]'
    script = tmp_path / "worker.py"
    script.write_text(f"print({answer!r})")
    monkeypatch.setattr(supervise.worker, "__file__", str(script))
    with pytest.raises(WriteError, match=r"run cannot be written \(No space left on device\)"):
        supervise.supervise(Path("00_a.ipynb"), tmp_path / "run" / "00_a.ipynb", {}, {}, Stop())


def test_what_had_finished_when_the_stop_came_is_kept(tmp_path, monkeypatch):
    stop, target = Stop(), tmp_path / "00_a.ipynb"
    partial = tmp_path / ".partial-00_a.ipynb"

    def watch(process, stop):
        process.communicate()
        stop.pull(Interrupted(signal.SIGINT))
        return 0

    monkeypatch.setattr(supervise, "_watch", watch)
    for answer, kept in (('["ok", ""]', True), ('["failed: the kernel died", ""]', False)):
        script = tmp_path / "worker.py"
        script.write_text(f"print({answer!r})")
        partial.write_text("executed")
        monkeypatch.setattr(supervise.worker, "__file__", str(script))
        result = supervise.supervise(Path("00_a.ipynb"), target, {}, {}, stop)
        assert (result is not None) == target.exists() == kept and not partial.exists()
        target.unlink(missing_ok=True)


def test_signals_pull_the_stop_and_are_given_back():
    before = signal.getsignal(signal.SIGTERM)
    stop = Stop()
    with signals_pull(stop):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(number)
    assert stop.is_set() and stop.reason.number == signal.SIGTERM, "the first counts"
    assert signal.getsignal(signal.SIGTERM) == before


def test_what_is_ignored_stays_ignored_and_another_thread_leaves_signals_alone():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with signals_pull(Stop()):
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)
    seen = []

    def elsewhere():
        with signals_pull(Stop()):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [before]

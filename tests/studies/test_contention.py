"""Beside other work: what is measured in which situation, and what the table makes of it."""

import subprocess
import sys
import time
from concurrent.futures import Future

import psutil
import pytest
from joblib import cpu_count
from stand_ins import InProcess

from mnist_lab.speed import choose_threads
from mnist_lab.studies import contention
from mnist_lab.studies.contention import BUSY, busy_core, run, table


def busy_processes(parent=None):
    """Its children that compute."""
    children = (parent or psutil.Process()).children()
    return [child for child in children if "while True: pass" in command(child)]


def command(process):
    """How it was started; nothing of one that has ended and is not waited for."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_every_situation_is_visited_in_every_round(few, monkeypatch):
    asked = []

    class Recorder(InProcess):
        """One of two processes; the second is twice as slow."""

        def submit(self, work, name, threads, precision, steps):
            asked.append((self, threads, steps, len(busy_processes())))
            assert (name, precision) == ("gap", "fp32")
            answer = Future()
            answer.set_result(0.1 if self is asked[0][0] else 0.2)
            return answer

    monkeypatch.setattr(contention, "own_process", Recorder)
    result = run("gap", rounds=2, precision="fp32")
    one, other = asked[0][0], asked[1][0]
    assert asked[:2] == [(one, 1, 10, 0), (other, 1, 10, 0)], "both warm up"
    threads = sorted({choose_threads(), cpu_count()})
    assert asked[2:] == 2 * [
        (who, number, 60, busy)
        for number in threads
        for who, busy in ((one, 0), (one, 1), (one, 0), (other, 0))
    ]
    figures = {"alone": [0.1] * 2, "busy": [0.1] * 2, "second": [0.2] * 2}
    assert result["seconds"] == {str(number): figures for number in threads}
    assert (result["cores"], result["chosen"]) == (cpu_count(), choose_threads())
    assert (result["network"], result["digits"], result["rounds"]) == ("GapNet", "few digits", 2)
    assert not busy_processes(), "one is left"


def test_a_step_is_one_of_fit_on_the_first_digits(few):
    begin = time.perf_counter()
    seconds = contention._step("bottleneck", 1, "fp32", steps=1)  # of 64 digits
    assert 0 < seconds < time.perf_counter() - begin
    begin = time.perf_counter()
    assert 0 < 2 * contention._step("bottleneck", 1, "fp32", 60) < time.perf_counter() - begin


def test_a_busy_core_is_idle_again_afterwards_whatever_happens():
    with pytest.raises(KeyError), busy_core():
        (process,) = busy_processes()
        before = sum(process.cpu_times()[:2])
        while sum(process.cpu_times()[:2]) - before < 0.1:  # it computes
            time.sleep(0.05)
        raise KeyError
    assert not process.is_running()


def test_a_busy_core_does_not_outlive_a_parent_that_is_killed():
    code = (  # as `busy_core` starts it, without PyTorch's seconds
        "import subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', {BUSY!r}], stdin=subprocess.PIPE)\n"
        "print('busy', flush=True)\ntime.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    parent.stdout.readline()
    for _ in range(200):  # what it was started with may be unknown for a moment
        if found := busy_processes(psutil.Process(parent.pid)):
            break
        time.sleep(0.05)
    (busy,) = found
    parent.kill()
    parent.communicate()
    busy.wait(timeout=60)


def test_a_row_has_the_medians_and_what_they_come_to():
    measured = {
        "network": "SomeNet", "digits": "MNIST", "precision": "fp32", "processor": "P",
        "torch": "2", "cores": 2, "chosen": 1,
        "seconds": {
            "1": {"alone": [0.03, 0.02, 0.09], "busy": [0.045] * 3, "second": [0.06] * 3},
            "2": {"alone": [0.02] * 3, "busy": [0.2] * 3, "second": [0.1] * 3},
        },
    }  # fmt: skip
    heading, head, *rows = table([measured]).splitlines()
    assert heading == "SomeNet on MNIST; fp32, P, torch 2, 2 cores"
    assert head.split() == ["ms", "a", "step", "alone", "busy", "second", "busy/alone",
                            "second/alone", "alone/best"]  # fmt: skip
    one, two = (row[28:].split() for row in rows)
    assert one == ["30.0", "45.0", "60.0", "1.50", "2.00", "1.50"]
    assert two == ["20.0", "200.0", "100.0", "10.00", "5.00", "1.00"]
    assert rows[0].startswith("threads: 1 (fit) ") and rows[1].startswith("threads: 2   ")
    assert table([measured] * 2).split("\n\n") == [table([measured])] * 2

"""Beside other work: what is measured in which situation, and what the table makes of it."""

import subprocess
import sys
import time as clock

import psutil
import pytest
from stand_ins import InProcess
from torch import nn

from mnist_lab.recipes import NETWORKS, Entry, Recipe
from mnist_lab.studies import contention
from mnist_lab.studies.contention import BUSY, busy_core, run, table
from mnist_lab.training import History

PLAIN = Recipe(num_epochs=7, batch_size=1, lr=0.01)


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
    seen, made = [], []

    class Linear(nn.Module):
        pass

    def fit(network, data, recipe, *, num_threads, precision, **_):
        steps = len(data.train)
        seen.append((num_threads, len(busy_processes()), steps))
        assert (type(network), recipe.num_epochs, precision) == (Linear, 1, "fp32")
        # A second training is as slow as the slower of both.
        seconds = 6.0 * (1 + len(seen) % 2)
        return History("", "", recipe, "cpu", precision, 1, train_seconds=[seconds],
                       batch_loss=[0.0] * steps)  # fmt: skip

    def own_process():
        made.append(InProcess())
        return made[-1]

    monkeypatch.setattr(contention, "fit", fit)
    monkeypatch.setattr(contention, "own_process", own_process)
    monkeypatch.setattr(contention, "cpu_count", lambda: 2)
    monkeypatch.setattr(contention, "choose_threads", lambda: 1)
    monkeypatch.setitem(NETWORKS, "gap", Entry(Linear, PLAIN, ""))
    result = run("gap", rounds=2, precision="fp32")
    assert len(made) == 2, "each training has a process of its own"
    assert seen[:2] == [(1, 0, 10)] * 2, "both warm up"
    one_round = [(threads, others, 60) for threads in (1, 2) for others in (0, 1, 0, 0)]
    assert seen[2:] == one_round * 2
    figures = {"alone": [0.2] * 2, "busy": [0.1] * 2, "second": [0.2] * 2}
    assert result["seconds"] == {"1": figures, "2": figures}
    assert (result["network"], result["cores"], result["chosen"]) == ("Linear", 2, 1)
    assert not busy_processes(), "one is left"


def test_a_busy_core_is_idle_again_afterwards_whatever_happens():
    with pytest.raises(KeyError), busy_core():
        (process,) = busy_processes()
        before = sum(process.cpu_times()[:2])
        while sum(process.cpu_times()[:2]) - before < 0.1:  # it computes
            clock.sleep(0.05)
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
    (busy,) = busy_processes(psutil.Process(parent.pid))
    parent.kill()
    parent.communicate()
    busy.wait(timeout=60)


RUN = {
    "network": "SomeNet",
    "digits": "MNIST",
    "precision": "fp32",
    "processor": "P",
    "torch": "2",
    "cores": 2,
    "chosen": 1,
    "seconds": {
        "1": {"alone": [0.03, 0.02, 0.09], "busy": [0.045] * 3, "second": [0.06] * 3},
        "2": {"alone": [0.02] * 3, "busy": [0.2] * 3, "second": [0.1] * 3},
    },
}


def test_a_row_has_the_medians_and_what_they_come_to():
    heading, head, *rows = table([RUN]).splitlines()
    assert heading == "SomeNet on MNIST; fp32, P, torch 2, 2 cores"
    assert head.split() == ["ms", "a", "step", "alone", "busy", "second", "busy/alone",
                            "second/alone", "alone/best"]  # fmt: skip
    one, two = (row[28:].split() for row in rows)
    assert one == ["30.0", "45.0", "60.0", "1.50", "2.00", "1.50"]
    assert two == ["20.0", "200.0", "100.0", "10.00", "5.00", "1.00"]
    assert rows[0].startswith("1 thread (fit's choice)") and rows[1].startswith("2 threads  ")
    assert table([RUN, RUN]).split("\n\n") == [table([RUN])] * 2

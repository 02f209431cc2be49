"""Beside other work: what is measured in which situation, and what the table makes of it."""

import json
from dataclasses import replace

import psutil
import pytest
import torch
from stand_ins import InProcess
from torch import nn

from mnist_lab import records
from mnist_lab.data import load_data
from mnist_lab.recipes import Recipe
from mnist_lab.studies import contention as busy
from mnist_lab.studies import epoch_time as epochs
from mnist_lab.training import History

PLAIN = Recipe(num_epochs=7, batch_size=4, lr=0.01)


def test_a_row_has_the_medians_and_what_they_come_to():
    figures = {
        "1": {"alone": [0.03, 0.02, 0.09], "busy": [0.045] * 3, "second": [0.06] * 3},
        "2": {"alone": [0.02] * 3, "busy": [0.2] * 3, "second": [0.1] * 3},
    }
    head, *rows = busy.table("SomeNet", 1, figures).splitlines()[1:]
    assert head.split() == ["SomeNet,", "ms", "a", "step", "alone", "busy", "second", "busy/alone",
                            "second/alone", "alone/best"]  # fmt: skip
    one, two = (row[28:].split() for row in rows)
    assert one == ["30.0", "45.0", "60.0", "1.50", "2.00", "1.50"]
    assert two == ["20.0", "200.0", "100.0", "10.00", "5.00", "1.00"]
    assert rows[0].startswith("1 thread (fit's choice)") and rows[1].startswith("2 threads  ")


@pytest.fixture
def few(monkeypatch):
    """80 training digits, and pools that work where they are."""
    data = load_data("digits")
    monkeypatch.setattr(busy, "_data", lambda: replace(data, train=data.train.first(80)))
    monkeypatch.setattr(busy, "ProcessPoolExecutor", InProcess)
    network = lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10))  # noqa: E731
    monkeypatch.setitem(epochs.NETWORKS, "gap", (network, PLAIN, None))


def test_every_situation_is_visited_in_every_round(few, monkeypatch):
    beside, seen = [], []

    def busy_processes():
        lines = [" ".join(process.cmdline()) for process in psutil.Process().children()]
        return sum("while True: pass" in line for line in lines)

    def fit(network, data, recipe, *, num_threads, precision, **_):
        beside.append((num_threads, busy_processes()))
        steps = len(data.train) // recipe.batch_size
        seen.append((steps, recipe.num_epochs, precision))
        return History("", "", recipe, "cpu", precision, 1, train_seconds=[6.0],
                       batch_loss=[0.0] * steps)  # fmt: skip

    monkeypatch.setattr(busy, "fit", fit)
    figures = busy._measure("gap", [1, 2], 2, "fp32")
    assert figures == {
        number: {situation: [6 / 20] * 2 for situation in busy.SITUATIONS} for number in "12"
    }
    warm_up, rounds = beside[:2], beside[2:]
    assert warm_up == [(1, 0)] * 2 and seen[0] == (busy.WARM_UP_STEPS, 1, "fp32")
    one_round = [(n, others) for n in (1, 2) for others in (0, 1, 0, 0)]
    assert rounds == one_round * 2
    assert busy_processes() == 0, "one is left"


def test_the_record_is_kept_and_no_round_is_refused(few, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(records, "project_root", lambda: tmp_path)
    monkeypatch.setattr(busy, "cpu_count", lambda: 2)
    monkeypatch.setattr(busy, "choose_threads", lambda: 1)
    before = torch.get_num_threads()
    record = busy.main("gap", rounds=1, precision="fp32")
    assert torch.get_num_threads() == before
    assert set(record["gap"]) == {"1", "2"} and record["chosen"] == 1
    (path,) = (tmp_path / "runs" / "bench").glob("busy-*.json")
    assert json.loads(path.read_text()) == record
    assert "1 thread (fit's choice)" in capsys.readouterr().out
    with pytest.raises(ValueError, match="pairs must be 1 or more, not 0"):
        busy.main("gap", rounds=0)

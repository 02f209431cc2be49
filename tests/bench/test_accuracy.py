"""The comparison: a fair start for both ways, and each accuracy in its own place."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from stand_ins import InProcess

from mnist_lab import records
from mnist_lab.bench import accuracy
from mnist_lab.bench.epochs import NETWORKS, WAYS
from mnist_lab.data import Digits, load_data
from mnist_lab.intervals import seed_interval
from mnist_lab.training import BOTTLENECK_RECIPE, GAP_RECIPE, StepDown


@pytest.fixture
def few(monkeypatch):
    """64 training digits and 20 for validation, in the place of all."""
    small = load_data("digits")
    data = Digits("few digits", small.train.first(64), small.validation.first(20), small.test)
    monkeypatch.setattr(accuracy, "_data", lambda: data)
    return data


# The table


def test_the_difference_is_fit_less_textbook_in_points():
    validation = {"textbook": [0.99, 0.9925, 0.985], "fit": [0.991, 0.99, 0.9855]}
    rows = accuracy.table({"network": "SomeNet", "validation": validation}).splitlines()
    low, high = seed_interval([0.1, -0.25, 0.05])
    assert low < 0 < high
    assert [row.split() for row in rows] == [
        ["SomeNet", "textbook", "fit", "difference"],
        ["seed", "0", "99.00%", "99.10%", "+0.10"],
        ["seed", "1", "99.25%", "99.00%", "-0.25"],
        ["seed", "2", "98.50%", "98.55%", "+0.05"],
        ["mean", "98.92%", "98.88%", "-0.033", f"[{low:+.3f},", f"{high:+.3f}]"],
    ]


@pytest.mark.parametrize(("num_epochs", "step_size"), [(20, 15), (4, 3), (3, 2), (1, 1)])
def test_a_shorter_run_steps_down_in_proportion(num_epochs, step_size):
    recipe = accuracy.shortened(BOTTLENECK_RECIPE, num_epochs)
    schedule = StepDown(step_size, BOTTLENECK_RECIPE.schedule.gamma)
    assert recipe == replace(BOTTLENECK_RECIPE, num_epochs=num_epochs, schedule=schedule)


def test_onecycle_keeps_its_proportions_by_itself():
    assert accuracy.shortened(GAP_RECIPE, 3) == replace(GAP_RECIPE, num_epochs=3)


# A run


def test_both_ways_start_from_the_same_weights_with_the_same_seed(few, monkeypatch):
    seen = []

    def note(result):
        def train(network, data, recipe, **_):
            state = {name: value.clone() for name, value in network.state_dict().items()}
            torch.rand(len(seen) + 1)  # what a run draws must not reach the next
            seen.append((state, data, recipe))
            return result

        return train

    monkeypatch.setattr(accuracy, "textbook_fit", note([0.1, 0.2]))
    fast = SimpleNamespace(validation_accuracy=[0.3, 0.4], precision="bf16")
    monkeypatch.setattr(accuracy, "fit", note(fast))
    runs = [(way, seed) for seed in (3, 4) for way in WAYS]
    accuracies = [accuracy._train(way, "gap", seed, 2) for way, seed in runs]
    assert accuracies == [(0.2, "fp32"), (0.4, "bf16")] * 2, (
        "the accuracy after the last epoch, each way's own"
    )
    assert [recipe for _, _, recipe in seen] == [
        replace(GAP_RECIPE, num_epochs=2, seed=seed) for _, seed in runs
    ]
    assert all(data is few for _, data, _ in seen)
    weights = [torch.cat([value.flatten() for value in state.values()]) for state, _, _ in seen]
    assert torch.equal(weights[0], weights[1]) and torch.equal(weights[2], weights[3])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("way", WAYS)
def test_a_real_run_ends_in_an_accuracy_that_its_seed_decides(few, way):
    share, _ = accuracy._train(way, "bottleneck", 1, 1)
    assert share * 20 == pytest.approx(round(share * 20)), "a share of 20 digits"
    torch.rand(5)
    assert accuracy._train(way, "bottleneck", 1, 1)[0] == share


# Everything together


@pytest.mark.parametrize("seeds", [1, 0, -2])
def test_fewer_than_two_seeds_are_refused_before_anything_starts(monkeypatch, seeds):
    monkeypatch.setattr(accuracy, "ProcessPoolExecutor", lambda *_: pytest.fail("too late"))
    with pytest.raises(ValueError, match=rf"^seeds must be 2 or more, not {seeds}\.$"):
        accuracy.main("gap", seeds)


@pytest.mark.parametrize("network", NETWORKS)
def test_every_accuracy_is_recorded_for_its_way_and_seed(tmp_path, monkeypatch, capsys, network):
    asked = []

    def train(way, name, seed, num_epochs):
        asked.append((way, name, seed, num_epochs))
        fast = way == "fit"
        return 0.5 + seed / 10 + 0.01 * fast, "bf16" if fast else "fp32"

    monkeypatch.setenv("MNIST_LAB_SOURCE", "digits")
    monkeypatch.setattr(records, "project_root", lambda: tmp_path)
    monkeypatch.setattr(accuracy, "ProcessPoolExecutor", InProcess)
    monkeypatch.setattr(accuracy, "_train", train)
    record = accuracy.main(network, seeds=3, num_epochs=4)

    assert sorted(asked) == sorted((way, network, seed, 4) for way in WAYS for seed in range(3))
    assert record["validation"] == {
        "textbook": pytest.approx([0.5, 0.6, 0.7]),
        "fit": pytest.approx([0.51, 0.61, 0.71]),
    }
    assert record["precision"] == "bf16", "that of fit"
    make, recipe = NETWORKS[network]
    assert record["network"] == make.__name__ and record["digits"] == "small digits"
    assert record["recipe"] == repr(accuracy.shortened(recipe, 4))
    (path,) = (tmp_path / "runs" / "compare").iterdir()
    assert path.name.startswith(f"{network}-") and json.loads(path.read_text()) == record
    printed = capsys.readouterr().out
    assert accuracy.table(record) in printed
    assert f"written: {path.relative_to(tmp_path)}" in printed

"""The comparison: a fair start for both ways, and each accuracy in its own place."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from mnist_lab.data import Digits, load_data
from mnist_lab.recipes import BOTTLENECK_RECIPE, GAP_RECIPE, StepDown
from mnist_lab.records import processor
from mnist_lab.statistics import seed_interval
from mnist_lab.studies import fit_accuracy as accuracy
from mnist_lab.studies.epoch_time import NETWORKS, WAYS


@pytest.fixture
def few(monkeypatch):
    """64 training digits and 20 for validation, in the place of all."""
    small = load_data("digits")
    data = Digits("few digits", small.train.first(64), small.validation.first(20), small.test)
    monkeypatch.setattr(accuracy, "load_data", lambda: data)
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
    results = [accuracy.run(way, "gap", seed, 2) for way, seed in runs]
    # The accuracy after the last epoch, each way's own.
    here = {"digits": "few digits", "processor": processor()}
    assert results == [
        {"way": way, "validation": share, "precision": precision} | here
        for way, share, precision in (("textbook", 0.2, "fp32"), ("fit", 0.4, "bf16"))
    ] * 2  # fmt: skip
    assert [recipe for _, _, recipe in seen] == [
        replace(GAP_RECIPE, num_epochs=2, seed=seed) for _, seed in runs
    ]
    assert all(data is few for _, data, _ in seen)
    weights = [torch.cat([value.flatten() for value in state.values()]) for state, _, _ in seen]
    assert torch.equal(weights[0], weights[1]) and torch.equal(weights[2], weights[3])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("way", WAYS)
def test_a_real_run_ends_in_an_accuracy_that_its_seed_decides(few, way):
    result = accuracy.run(way, "bottleneck", 1, 1)
    share = result["validation"]
    assert share * 20 == pytest.approx(round(share * 20)), "a share of 20 digits"
    torch.rand(5)
    assert accuracy.run(way, "bottleneck", 1, 1) == result


# The runs


def test_the_runs_are_those_of_every_seed_both_ways():
    assert accuracy.cases("gap", 2, 4) == [
        {"way": way, "network": "gap", "seed": seed, "num_epochs": 4}
        for seed in (0, 1)
        for way in WAYS
    ]


@pytest.mark.parametrize("seeds", [1, 0, -2])
def test_fewer_than_two_seeds_are_refused(seeds):
    with pytest.raises(ValueError, match=rf"^seeds must be 2 or more, not {seeds}\.$"):
        accuracy.cases("gap", seeds, 3)


@pytest.mark.parametrize("network", NETWORKS)
def test_less_than_one_epoch_is_refused(network):
    with pytest.raises(ValueError, match=r"^num_epochs must be a whole number from 1 on, not 0\.$"):
        accuracy.cases(network, 2, 0)

"""The comparison: a fair start for both ways, and each accuracy in its own place."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from mnist_lab.recipes import GAP_RECIPE
from mnist_lab.statistics import seed_interval
from mnist_lab.studies import fit_accuracy
from mnist_lab.studies.epoch_time import WAYS
from mnist_lab.studies.fit_accuracy import cases, run, table


def test_the_cases_are_every_seed_both_ways():
    assert cases("gap", 2, 4) == [
        {"network": "gap", "way": way, "seed": seed, "num_epochs": 4}
        for seed in (0, 1)
        for way in ("textbook", "fit")
    ]


def test_both_ways_start_from_the_same_weights_with_the_same_seed(few, monkeypatch):
    seen = []

    def note(result):
        def train(network, data, recipe, **_):
            weights = torch.cat([value.flatten() for value in network.state_dict().values()])
            seen.append((weights, data, recipe))
            torch.rand(len(seen))  # what a run draws must not reach the next
            return result

        return train

    fast = SimpleNamespace(validation_accuracy=[0.3, 0.4], precision="bf16")
    monkeypatch.setattr(fit_accuracy, "textbook_fit", note([0.1, 0.2]))
    monkeypatch.setattr(fit_accuracy, "fit", note(fast))
    runs = [run("gap", way, seed, 2) for seed in (3, 4) for way in WAYS]
    # The accuracy after the last epoch, each way's own.
    assert [(one["way"], one["seed"], one["precision"], one["validation"]) for one in runs] == [
        ("textbook", 3, "fp32", 0.2),
        ("fit", 3, "bf16", 0.4),
        ("textbook", 4, "fp32", 0.2),
        ("fit", 4, "bf16", 0.4),
    ]
    recipes = [replace(GAP_RECIPE, num_epochs=2, seed=seed) for seed in (3, 3, 4, 4)]
    assert [recipe for _, _, recipe in seen] == recipes
    assert [one["recipe"] for one in runs] == list(map(repr, recipes))
    assert {(one["network"], one["num_epochs"], one["digits"]) for one in runs} == {
        ("GapNet", 2, "few digits")
    }
    assert all(data is few for _, data, _ in seen)
    (a, _, _), (b, _, _), (c, _, _), (d, _, _) = seen
    assert torch.equal(a, b) and torch.equal(c, d) and not torch.equal(a, c)


@pytest.mark.parametrize("way", WAYS)
def test_a_real_run_ends_in_an_accuracy_that_its_seed_decides(few, way):
    result = run("bottleneck", way, 1, 1)
    share = result["validation"]
    assert share * 40 == pytest.approx(round(share * 40)), "a share of 40 digits"
    torch.rand(5)
    assert run("bottleneck", way, 1, 1) == result


def runs_of(network, *accuracies):
    return [
        {"network": network, "way": way, "seed": seed, "validation": share}
        for seed, pair in enumerate(accuracies)
        for way, share in zip(WAYS, pair)
        if share is not None
    ]


def test_the_difference_is_fit_less_textbook_in_points():
    runs = runs_of("SomeNet", (0.99, 0.991), (0.9925, 0.99), (0.985, 0.9855))
    rows = table(runs[::-1]).splitlines()
    low, high = seed_interval([0.1, -0.25, 0.05])
    assert low < 0 < high
    assert [row.split() for row in rows] == [
        ["SomeNet", "textbook", "fit", "difference"],
        ["seed", "0", "99.00%", "99.10%", "+0.10"],
        ["seed", "1", "99.25%", "99.00%", "-0.25"],
        ["seed", "2", "98.50%", "98.55%", "+0.05"],
        ["mean", "98.92%", "98.88%", "-0.033", f"[{low:+.3f},", f"{high:+.3f}]"],
    ]


def test_a_seed_that_was_run_one_way_only_is_named_and_left_out():
    runs = runs_of("SomeNet", (0.99, 0.991), (0.98, None), (0.985, 0.9855), (None, 0.98))
    *_, first, second, mean = table(runs).splitlines()
    assert first.startswith("seed 1        left out")
    assert second.startswith("seed 3        left out")
    assert mean.split()[:2] == ["mean", "98.75%"]
    assert "needs two seeds" in table(runs[:3]).splitlines()[-1]


def test_each_network_has_its_own_block():
    pairs = (0.9, 0.9), (0.9, 0.9)
    blocks = table(runs_of("A", *pairs) + runs_of("B", *pairs)).split("\n\n")
    assert [block.split()[0] for block in blocks] == ["A", "B"]

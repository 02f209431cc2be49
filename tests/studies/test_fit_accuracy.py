"""The comparison: a fair start for both ways, and each accuracy in its own place."""

from dataclasses import replace

import pytest
import torch
from torch.nn.modules.module import register_module_forward_pre_hook

from mnist_lab.networks import BottleneckNet
from mnist_lab.recipes import BOTTLENECK_RECIPE, shortened
from mnist_lab.statistics import seed_interval
from mnist_lab.studies.fit_accuracy import by_network, cases, paired, run, table
from mnist_lab.validation import UserError


def test_the_cases_are_every_seed_both_ways():
    assert cases("gap", 2, 4) == [
        {"network": "gap", "way": way, "seed": seed, "num_epochs": 4}
        for seed in (0, 1)
        for way in ("textbook", "fit")
    ]


def test_both_ways_start_from_the_same_weights_and_the_seed_decides(few):
    first = []

    def note(module, inputs):
        if isinstance(module, BottleneckNet):
            first.append(module.fc2.weight.detach().clone())

    runs, begun = {}, []
    with register_module_forward_pre_hook(note):
        for way, seed in [("textbook", 3), ("fit", 3), ("textbook", 4), ("fit", 4), ("fit", 3)]:
            begun.append(len(first))
            result = run("bottleneck", way, seed, 1)
            assert runs.setdefault((way, seed), result) == result, "not repeated"
            torch.rand(5)
            recipe = replace(shortened(BOTTLENECK_RECIPE, 1), seed=seed)
            assert (result["way"], result["seed"], result["recipe"]) == (way, seed, repr(recipe))
            assert (result["network"], result["num_epochs"]) == ("BottleneckNet", 1)
            assert result["validation"] * 40 == pytest.approx(round(result["validation"] * 40))
    a, b, c, d, _ = (first[begin] for begin in begun)
    assert torch.equal(a, b) and torch.equal(c, d) and not torch.equal(a, c)
    assert runs["textbook", 3]["precision"] == "fp32" and result["digits"] == "few digits"


def runs_of(network, *accuracies):
    return [
        {"network": network, "way": way, "seed": seed, "validation": share}
        for seed, pair in enumerate(accuracies)
        for way, share in zip(("textbook", "fit"), pair)
        if share is not None
    ]


def test_the_difference_is_fit_less_textbook_in_points():
    runs = runs_of("SomeNet", (0.99, 0.991), (0.9925, 0.99), (0.985, 0.9855), (None, 0.5))
    low, high = seed_interval([0.1, -0.25, 0.05])
    assert [row.split() for row in table(runs[::-1]).splitlines()] == [
        ["SomeNet", "textbook", "fit", "difference"],
        ["seed", "0", "99.00%", "99.10%", "+0.10"],
        ["seed", "1", "99.25%", "99.00%", "-0.25"],
        ["seed", "2", "98.50%", "98.55%", "+0.05"],
        ["mean", "98.92%", "98.88%", "-0.033", f"[{low:+.3f},", f"{high:+.3f}]"],
    ]
    assert paired(runs)[1] == (0.9925, 0.99) and list(paired(runs)) == [0, 1, 2]
    with pytest.raises(UserError, match="2 or more"):
        table(runs[:3])


def test_each_network_has_its_own_runs():
    a, b = runs_of("A", (0.9, 0.9)), runs_of("B", (0.8, 0.8))
    assert by_network([*a, b[0], b[1]]) == [a, b]

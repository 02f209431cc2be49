"""The time to an accuracy: what is timed, on which digits, and what the table makes of it."""

import time
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import lr_scheduler

from mnist_lab.augment import Shift
from mnist_lab.data import Split, load_data
from mnist_lab.layers import count_parameters
from mnist_lab.recipes import OneCycle, Recipe
from mnist_lab.statistics import seed_interval
from mnist_lab.studies import time_to_accuracy
from mnist_lab.studies.textbook import textbook_fit
from mnist_lab.studies.time_to_accuracy import (
    EXAMPLE,
    GOALS,
    ExampleNet,
    StridedNet,
    epochs_to,
    ratio,
    run,
    table,
)


def test_the_networks_have_their_parameters_and_answer():
    images = torch.randn(3, 1, 28, 28)
    convolutions = 16 * 5 * 5 + 24 * 16 * 9 + 64 * 24 * 9
    assert count_parameters(StridedNet()) == convolutions + 2 * (16 + 24 + 64) + 64 * 9 * 10 + 10
    assert StridedNet()(images).shape == (3, 10)
    for network in (ExampleNet().train(), ExampleNet().eval()):
        assert count_parameters(network) == 1_199_882
        torch.testing.assert_close(network(images).exp().sum(1), torch.ones(3))


@torch.no_grad()
def test_pooling_before_norm_and_relu_gives_what_pooling_after_them_gives():
    torch.manual_seed(0)
    network, x = StridedNet().eval(), torch.randn(8, 1, 28, 28)
    for norm in network:
        if isinstance(norm, nn.BatchNorm2d):  # as after some training
            for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                values.uniform_(0.5, 1.5)
            norm.bias.sub_(1)
    conv1, bn1, _, conv2, _, bn2, _, conv3, bn3, *_, fc = network
    y = F.max_pool2d(F.relu(bn2(conv2(F.relu(bn1(conv1(x)))))), 2)
    y = F.relu(bn3(conv3(y))).flatten(1)
    torch.testing.assert_close(network(x), fc(y), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_example_is_the_original_with_its_dropout():
    network, x = ExampleNet().eval(), torch.randn(2, 1, 28, 28)
    conv1, conv2, fc1, fc2 = (layer for layer in network if hasattr(layer, "weight"))
    y = F.max_pool2d(F.relu(conv2(F.relu(conv1(x)))), 2).flatten(1)
    torch.testing.assert_close(network(x), F.log_softmax(fc2(F.relu(fc1(y))), 1))
    kinds = [(before, layer.p) for before, layer in pairwise(network)
             if isinstance(layer, nn.Dropout)]  # fmt: skip
    assert [(type(before), p) for before, p in kinds] == [(nn.MaxPool2d, 0.25), (nn.ReLU, 0.5)]


def test_the_goals_are_reached_on_so_many_digits_with_these_recipes():
    (some, fast), (all_of_them, longer) = GOALS[0.99], GOALS[0.994]
    assert (some, all_of_them) == (40_000, 50_000)
    assert fast == Recipe(
        1, 256, 0.03, betas=(0.7, 0.9), label_smoothing=0.1,
        schedule=OneCycle(0.03, pct_start=0.3, cycle_momentum=False),
    )  # fmt: skip
    assert longer == replace(fast, num_epochs=5, augment=(Shift(1),))


def test_the_example_is_trained_as_the_original_on_all_digits(few, monkeypatch):
    """Adadelta at a rate of 1, times 0.7 after each epoch; batches of 64."""
    monkeypatch.setattr(time_to_accuracy, "load_data", lambda split: {"as published": few}[split])
    result = run(seed=3, threads=torch.get_num_threads(), example_epochs=1)
    assert (result["example_epochs"], result["seed"], result["precision"]) == (1, 3, "fp32")

    def adadelta(network, recipe, num_batches):
        assert num_batches == 2
        optimizer = torch.optim.Adadelta(network.parameters(), lr=1.0)
        nothing = SimpleNamespace(step=lambda: None)
        return optimizer, nothing, lr_scheduler.StepLR(optimizer, 1, gamma=0.7)

    torch.manual_seed(3)
    recipe = Recipe(1, 64, 1.0, loss="nll", seed=3)
    assert result["test"] == textbook_fit(ExampleNet(), few, recipe, adadelta)
    assert (EXAMPLE.num_epochs, EXAMPLE.batch_size) == (14, 64)
    optimizer, _, per_epoch = time_to_accuracy._adadelta(ExampleNet(), EXAMPLE, 3)
    assert isinstance(optimizer, torch.optim.Adadelta) and per_epoch.get_last_lr() == [1.0]
    optimizer.step(), per_epoch.step()
    assert per_epoch.get_last_lr() == [0.7]


def test_our_run_is_timed_beside_the_example_and_decided_by_its_seed(monkeypatch):
    monkeypatch.setattr(time_to_accuracy, "STEPS", 3)
    small, threads = load_data("digits"), torch.get_num_threads()
    begin = time.perf_counter()
    result = run(seed=3, threads=threads, goal=0.99)
    took = time.perf_counter() - begin
    recipe = Recipe(num_epochs=2, batch_size=32, lr=0.01, seed=3)
    again = time_to_accuracy._train(300, recipe)
    short = [time_to_accuracy._train(64, replace(recipe, num_epochs=1)) for _ in range(3)]
    assert len({(one["validation"], one["test"]) for one in short}) == 1, "it has no seed"
    assert (result["goal"], result["seed"], result["threads"]) == (0.99, 3, threads)
    assert result["num_digits"] == len(small.train) and again["num_digits"] == 300
    assert result["recipe"] == repr(replace(GOALS[0.99][1], seed=3))
    assert result["digits"] == "small digits" and result["precision"] in ("fp32", "bf16")
    for some in (result, again):
        for name, split in (("validation", small.validation), ("test", small.test)):
            correct = some[name] * len(split)
            assert correct == pytest.approx(round(correct), abs=1e-3)
    assert again["validation"] > 0.5 and again["test"] > 0.5, "nothing was learnt"
    assert 0 < result["seconds"] < took
    # Its 14 epochs of 60,000 digits take so many times as long as the digits that were timed.
    timed = 3 * 64
    assert 0.01 * took < result["example_seconds"] * timed / (14 * 60_000) < took


# The table

STEPS = 14 * 938


def runs_to(goal, *figures):
    """Runs of so many seconds, validation and test accuracies, and steps of the example."""
    return [
        {"goal": goal, "precision": "bf16", "seconds": seconds, "validation": validation}
        | {"test": test, "example_seconds": STEPS * step}
        for seconds, validation, test, step in figures
    ]


THREE = ((2.0, 0.98, 0.991, 0.01), (4.0, 0.99, 0.993, 0.02), (3.0, 0.991, 0.992, 0.06))


def example(*runs):
    return [{"example_epochs": len(test), "test": test} for test in runs]


def test_a_line_has_means_of_accuracies_and_medians_of_seconds():
    runs = runs_to(0.994, *THREE)
    # The ratios are 0.005, 0.005 and 0.02 per step; that of the medians would be 0.0067.
    assert ratio(runs) == pytest.approx(0.005 * STEPS)
    low, high = seed_interval([0.991, 0.993, 0.992])
    assert low < 0.992 < high
    assert table(runs) == (
        f"goal 99.4% NOT reached: test 99.20% [{low:.2%}, {high:.2%}] over 3 seeds, "
        "validation 98.70%, in 3.00 s (bf16); 14 epochs of PyTorch's example: 263 s (scaled), "
        "66 times as long"
    )


def test_the_seconds_have_no_validation(monkeypatch):
    small = load_data("digits")
    many = Split(small.test.images.repeat(15, 1, 1, 1), small.test.labels.repeat(15))
    monkeypatch.setattr(time_to_accuracy, "digits", lambda: replace(small, validation=many))
    recipe = Recipe(num_epochs=1, batch_size=64, lr=0.01)
    time_to_accuracy._train(64, recipe)  # warms up
    begin = time.perf_counter()
    assert 0 < time_to_accuracy._train(64, recipe)["seconds"] < (time.perf_counter() - begin) / 2


@pytest.mark.parametrize(("accuracy", "verdict"), [(0.9899, "NOT reached"), (0.99, "reached")])
def test_a_goal_that_was_missed_is_called_missed(accuracy, verdict):
    runs = [run | {"test": accuracy} for run in runs_to(0.99, *THREE)]
    assert table(runs).startswith(f"goal 99.0% {verdict}: ")


def test_the_example_gets_there_with_the_mean_of_its_seeds():
    # A single seed is there after one epoch, the mean after two.
    seeds = [[0.991, 0.992, 0.993], [0.989, 0.99, 0.993], [0.989, 0.991, 0.993]]
    assert epochs_to(0.99, seeds) == 2 and epochs_to(0.9931, seeds) is None
    assert epochs_to(0.5, [[0.25, 0.5]]) == 2
    ours = runs_to(0.99, *THREE) + runs_to(0.994, *THREE)
    assert len(table(ours).splitlines()) == 2
    said = table(ours + example(*seeds)).splitlines()[2]
    assert said == "the example, mean of 3 seeds: 98.97%, 99.10%, 99.30%; epochs to 99 %: 2"
    assert table(ours + example([0.97, 0.98])).splitlines()[2].endswith(": more")

"""The time to an accuracy: what is timed, on which digits, and what the table makes of it."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from stand_ins import InProcess
from torch import nn

from mnist_lab.augment import normalize
from mnist_lab.evaluation import evaluate
from mnist_lab.layers import count_parameters
from mnist_lab.recipes import OneCycle, Recipe
from mnist_lab.statistics import seed_interval
from mnist_lab.studies import time_to_accuracy
from mnist_lab.studies.time_to_accuracy import (
    EXAMPLE_STEPS,
    GOALS,
    ExampleNet,
    Goal,
    cases,
    epochs_to,
    ratio,
    run,
    table,
)
from mnist_lab.training import History, fit

RECIPE = Recipe(num_epochs=2, batch_size=8, lr=0.01, schedule=OneCycle(0.01, pct_start=0.3))


# PyTorch's example


@pytest.mark.parametrize("training", [True, False])
def test_the_example_gives_log_probabilities(training):
    network = ExampleNet().train(training)
    assert count_parameters(network) == 1_199_882
    outputs = network(torch.randn(3, 1, 28, 28))
    assert outputs.shape == (3, 10) and (outputs <= 0).all()
    torch.testing.assert_close(outputs.exp().sum(1), torch.ones(3))


def test_the_example_is_the_original_layer_by_layer():
    network, x = ExampleNet().eval(), torch.randn(2, 1, 28, 28)
    relu = nn.ReLU()
    layers = [network.conv1, relu, network.conv2, relu, nn.MaxPool2d(2), nn.Flatten()]
    plain = nn.Sequential(*layers, network.fc1, relu, network.fc2, nn.LogSoftmax(1))
    torch.testing.assert_close(network(x), plain(x))
    seen = {}
    for name in ("dropout1", "dropout2"):
        layer = getattr(network, name)
        layer.register_forward_hook(lambda m, x, y, n=name: seen.update({n: (m.p, *x[0].shape)}))
    network(x)
    assert seen == {"dropout1": (0.25, 2, 64, 12, 12), "dropout2": (0.5, 2, 128)}


def test_the_example_takes_14_epochs_of_938_steps():
    assert EXAMPLE_STEPS == 14 * 938


def test_the_example_is_trained_as_the_original(few, monkeypatch):
    """Adadelta at a rate of 1, times 0.7 after each epoch; all 60,000 digits, batches of 64."""
    seen, real = [], time_to_accuracy.textbook_epoch

    def epoch(network, batches, optimizer, loss_of):
        images, labels = (torch.cat(part) for part in zip(*batches))
        sizes = [len(labels) for _, labels in batches]
        seen.append((type(optimizer), optimizer.param_groups[0]["lr"], sizes, images, labels))
        real(network, batches, optimizer, loss_of)

    monkeypatch.setattr(time_to_accuracy, "textbook_epoch", epoch)
    threads = torch.get_num_threads()
    result = run(seed=3, threads=threads, example_epochs=2)
    assert (result["example_epochs"], result["seed"], result["precision"]) == (2, 3, "fp32")
    assert len(result["test"]) == 2
    assert all(round(20 * share) == pytest.approx(20 * share) for share in result["test"])
    kinds, rates, sizes, images, labels = zip(*seen)
    assert set(kinds) == {torch.optim.Adadelta} and rates == pytest.approx((1.0, 0.7))
    assert sizes[0] == [64, 64, 12]
    both = torch.cat([few.train.images, few.validation.images])
    expected = normalize(both, 0.1307, 0.3081).transpose(0, 1)
    matches = torch.isclose(images[0], expected, atol=1e-5).flatten(2).all(2)
    assert matches.sum() == 140, "every digit once"
    every = torch.cat([few.train.labels, few.validation.labels])
    assert torch.equal(labels[0], every[matches.long().argmax(1)])
    assert not torch.equal(labels[0], every), "not shuffled"
    assert run(seed=3, threads=threads, example_epochs=1)["test"] == result["test"][:1], "no seed"


def test_the_mean_step_of_the_example_has_its_data_and_no_warm_up(few, time, monkeypatch):
    class Batches:
        """Two of them; each takes 3 s to come by."""

        def __iter__(self):
            for _ in range(2):
                time.takes(3)
                yield None, None

    steps = []

    def epoch(network, batches, optimizer, loss_of):
        for _ in batches:
            steps.append(1)
            time.takes(2 if len(steps) > 2 else 1_000)

    monkeypatch.setattr(time_to_accuracy, "time", time)
    monkeypatch.setattr(time_to_accuracy, "_batches", lambda *_, **__: Batches())
    monkeypatch.setattr(time_to_accuracy, "textbook_epoch", epoch)
    assert time_to_accuracy._example_step(5) == 3 + 2
    assert len(steps) == 2 + 5


# Our training


def test_it_trains_on_the_asked_digits_only_and_is_seeded(few, monkeypatch):
    seen = []

    def spy(network, data, recipe, **options):
        first = network.conv1.weight.detach().clone()
        seen.append((first, network, data, recipe, fit(network, data, recipe, **options)))
        return seen[-1][-1]

    monkeypatch.setattr(time_to_accuracy, "fit", spy)
    results = [time_to_accuracy._train(Goal(40, RECIPE), seed) for seed in (4, 4, 5)]
    for (_, network, data, recipe, history), result, seed in zip(seen, results, (4, 4, 5)):
        assert torch.equal(data.train.images, few.train.images[:40])
        assert torch.equal(data.validation.images, few.validation.images)
        assert recipe == replace(RECIPE, seed=seed) and result["recipe"] == repr(recipe)
        assert (result["num_digits"], result["precision"]) == (40, history.precision)
        assert result["validation"] == history.validation_accuracy[-1]
        assert result["test"] == evaluate(network, few.test, recipe).accuracy
        assert result["seconds"] > 0
    (first, *_, history), (again, *_, same), (other, *_) = seen
    assert torch.equal(first, again) and not torch.equal(first, other), "the first weights"
    assert history.batch_loss == same.batch_loss


def test_the_seconds_have_no_validation_and_no_test(few, time, monkeypatch):
    def stand_in(network, data, recipe, **_):
        time.takes(0.5 + 10 + 11)  # the network is moved, then two epochs
        return History(
            "", "", recipe, "cpu", "fp32", 1, validation_accuracy=[0.5, 0.75],
            seconds=[10.0, 11.0], train_seconds=[7.0, 9.0],
        )  # fmt: skip

    def examine(*_):
        time.takes(1_000)
        return SimpleNamespace(accuracy=0.5)

    monkeypatch.setattr(time_to_accuracy, "time", time)
    monkeypatch.setattr(time_to_accuracy, "StridedNet", lambda: time.takes(0.25))
    monkeypatch.setattr(time_to_accuracy, "fit", stand_in)
    monkeypatch.setattr(time_to_accuracy, "evaluate", examine)
    result = time_to_accuracy._train(Goal(40, RECIPE), 0)
    assert result["seconds"] == 0.25 + 0.5 + 7 + 9
    assert (result["validation"], result["test"], result["precision"]) == (0.75, 0.5, "fp32")


# A run, and which there are


def test_a_run_warms_both_sides_up_and_times_them_one_after_the_other(few, monkeypatch):
    asked, processes = [], []

    class Side(InProcess):
        def submit(self, work, *arguments):
            asked.append((processes.index(self), *arguments))
            return super().submit(work, *arguments)

    def own_process():
        processes.append(Side())
        return processes[-1]

    monkeypatch.setattr(time_to_accuracy, "own_process", own_process)
    monkeypatch.setattr(
        time_to_accuracy, "_train", lambda goal, seed: {"seconds": 2.0, "precision": "bf16"}
    )
    monkeypatch.setattr(time_to_accuracy, "_example_step", lambda steps: steps / 100)
    threads = torch.get_num_threads()
    result = run(seed=3, threads=threads, goal=0.994)
    (_, _), (_, _), (side, warm_up, seed), *others = asked
    assert asked[:2] == [(0, threads), (1, threads)]
    assert (side, warm_up.num_digits, warm_up.recipe, seed) == (0, 2_560, GOALS[0.99].recipe, 0)
    assert others == [(1, 5), (0, GOALS[0.994], 3), (1, 30)]
    assert result["example_seconds"] == 0.3 * EXAMPLE_STEPS
    assert (result["goal"], result["seed"], result["threads"]) == (0.994, 3, threads)
    assert (result["seconds"], result["precision"]) == (2.0, "bf16")


@pytest.mark.parametrize("example_epochs", [0, 4])
def test_the_cases_are_every_goal_and_three_seeds_of_the_example(example_epochs, monkeypatch):
    monkeypatch.setattr(time_to_accuracy, "digits", lambda: SimpleNamespace(name="MNIST"))
    threads = {"threads": torch.get_num_threads()}
    ours = [{"goal": goal, "seed": seed} | threads for goal in (0.99, 0.994) for seed in (0, 1)]
    theirs = [{"example_epochs": 4, "seed": seed} | threads for seed in (0, 1, 2)]
    assert cases(2, example_epochs) == ours + (theirs if example_epochs else [])


# The table


def runs_to(goal, *figures):
    """Runs of so many seconds, validation and test accuracies, and steps of the example."""
    return [
        {"goal": goal, "precision": "bf16", "seconds": seconds, "validation": validation}
        | {"test": test, "example_seconds": EXAMPLE_STEPS * step}
        for seconds, validation, test, step in figures
    ]


THREE = ((2.0, 0.98, 0.991, 0.01), (4.0, 0.99, 0.993, 0.02), (3.0, 0.991, 0.992, 0.06))


def example(*runs):
    return [{"example_epochs": len(test), "test": test} for test in runs]


def test_a_line_has_means_of_accuracies_and_medians_of_seconds():
    runs = runs_to(0.994, *THREE)
    # The ratios are 0.005, 0.005 and 0.02 per step; that of the medians would be 0.0067.
    assert ratio(runs) == pytest.approx(0.005 * EXAMPLE_STEPS)
    low, high = seed_interval([0.991, 0.993, 0.992])
    assert low < 0.992 < high
    assert table(runs).splitlines()[1] == (
        f"goal 99.4% NOT reached: test 99.20% [{low:.2%}, {high:.2%}] over 3 seeds, "
        "validation 98.70%, in 3.00 s (bf16); 14 epochs of PyTorch's example: 263 s (scaled), "
        "66 times as long"
    )


@pytest.mark.parametrize(("accuracy", "verdict"), [(0.9899, "NOT reached"), (0.99, "reached")])
def test_a_goal_that_was_missed_is_called_missed(accuracy, verdict):
    runs = [run | {"test": accuracy} for run in runs_to(0.99, *THREE)]
    assert table(runs).startswith(f"goal 99.0% {verdict}: ")


def test_a_goal_with_too_few_runs_is_named():
    first, second = table(runs_to(0.99, THREE[0])).splitlines()
    assert first == "goal 99.0%: a mean needs two runs, and there are 1"
    assert second.endswith("there are 0")


def test_the_example_gets_there_with_the_mean_of_its_seeds():
    # A single seed is there after one epoch, the mean after two.
    seeds = [[0.991, 0.992, 0.993], [0.989, 0.99, 0.993], [0.989, 0.991, 0.993]]
    assert epochs_to(0.99, seeds) == 2 and epochs_to(0.9931, seeds) is None
    ours = runs_to(0.99, *[(1.0, 0.99, 0.99, 700 / EXAMPLE_STEPS)] * 2)
    said = "the example, mean test accuracy over 3 seeds after each epoch: 98.97%, 99.10%, 99.30%: "
    assert table(ours + example(*seeds)).splitlines()[2] == (
        f"{said}99 % after 2, 100 times as long as ours"
    )
    assert table(example(*seeds)).splitlines()[2] == f"{said}99 % after 2"
    slow = example([0.97, 0.98], [0.98, 0.985])
    assert table(slow).splitlines()[2].endswith("97.50%, 98.25%: not yet 99 %")

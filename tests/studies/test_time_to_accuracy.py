"""The race: what is timed, on which digits, and what the lines make of it."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from stand_ins import FakeTime, InProcess
from torch import nn

from mnist_lab.augment import normalize
from mnist_lab.data import Digits, load_data
from mnist_lab.evaluation import evaluate
from mnist_lab.layers import count_parameters
from mnist_lab.recipes import OneCycle, Recipe
from mnist_lab.statistics import seed_interval
from mnist_lab.studies import time_to_accuracy as race
from mnist_lab.studies.time_to_accuracy import ExampleNet, Sprint
from mnist_lab.training import History, fit

RECIPE = Recipe(num_epochs=2, batch_size=8, lr=0.01, schedule=OneCycle(0.01, pct_start=0.3))
SHORT = Sprint(goal=0.5, digits=40, recipe=RECIPE)


@pytest.fixture
def few(monkeypatch):
    """100 training digits, 30 for validation and 20 to test, in the place of all."""
    small = load_data("digits")
    parts = (small.train.first(100), small.validation.first(30), small.test.first(20))
    data = Digits("few digits", *parts)
    monkeypatch.setattr(race, "_data", lambda: data)
    return data


@pytest.fixture
def time(monkeypatch):
    time = FakeTime()
    monkeypatch.setattr(race, "time", time)
    return time


# PyTorch's example


def test_the_example_has_the_parameters_of_the_original():
    assert count_parameters(ExampleNet()) == 1_199_882


@pytest.mark.parametrize("training", [True, False])
def test_the_example_gives_log_probabilities(training):
    outputs = ExampleNet().train(training)(torch.randn(3, 1, 28, 28))
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
    assert race.EXAMPLE_STEPS == 14 * 938


def test_the_example_trains_on_shuffled_normalised_batches_of_64_with_adadelta(few):
    network, optimizer, batches = race._example(few.train)
    assert network.training and type(optimizer) is torch.optim.Adadelta
    assert optimizer.param_groups[0]["lr"] == 1.0
    assert [len(labels) for _, labels in batches] == [64, 36]
    images, labels = (torch.cat(part) for part in zip(*batches))
    expected = normalize(few.train.images, 0.1307, 0.3081)
    matches = torch.isclose(images, expected.transpose(0, 1), atol=1e-5).flatten(2).all(2)
    assert matches.sum() == 100, "every digit once"
    assert torch.equal(labels, few.train.labels[matches.long().argmax(1)])
    assert not torch.equal(labels, few.train.labels), "not shuffled"


def test_a_step_of_the_example_is_one_step_of_its_optimizer(few):
    images, labels = normalize(few.train.images[:8], 0.1307, 0.3081), few.train.labels[:8]
    networks = [ExampleNet().eval() for _ in range(2)]  # without dropout both compute the same
    networks[1].load_state_dict(networks[0].state_dict())
    ours, plain = (torch.optim.Adadelta(network.parameters(), lr=1.0) for network in networks)
    for _ in range(2):  # gradients must not add up
        race._example_step(networks[0], ours, images, labels)
        gradients = torch.autograd.grad(
            F.nll_loss(networks[1](images), labels), tuple(networks[1].parameters())
        )
        for parameter, gradient in zip(networks[1].parameters(), gradients):
            parameter.grad = gradient
        plain.step()
    for one, other in zip(*(network.parameters() for network in networks)):
        torch.testing.assert_close(one, other)


def test_the_mean_step_of_the_example_has_its_data_and_no_warm_up(few, time, monkeypatch):
    steps = []

    def batches():
        while True:
            time.takes(3)
            yield None, None

    def step(*_):
        steps.append(1)
        time.takes(2 if len(steps) > 2 else 1_000)

    monkeypatch.setattr(race, "_example", lambda split: (None, None, batches()))
    monkeypatch.setattr(race, "_example_step", step)
    assert race._example_seconds(4) == 3 + 2
    assert len(steps) == 2 + 4


def test_the_mean_step_is_right_where_there_are_fewer_batches_than_steps(few, time, monkeypatch):
    monkeypatch.setattr(race, "EXAMPLE_BATCH", 10)  # ten batches
    monkeypatch.setattr(race, "_example_step", lambda *_: time.takes(2))
    assert race._example_seconds(20) == 2


def test_a_real_step_of_the_example_takes_time(few, monkeypatch):
    monkeypatch.setattr(race, "EXAMPLE_BATCH", 8)
    assert 0 < race._example_seconds(2) < 60


def test_the_accuracies_of_the_example_come_from_all_training_digits(few, monkeypatch):
    seen, rates, example, step = [], [], race._example, race._example_step

    def spy(split):
        seen.append(split)
        return example(split)

    def spy_step(network, optimizer, images, labels):
        assert network.training
        rates.append(optimizer.param_groups[0]["lr"])
        step(network, optimizer, images, labels)

    monkeypatch.setattr(race, "_example", spy)
    monkeypatch.setattr(race, "_example_step", spy_step)
    accuracies = race._example_accuracies(3, num_epochs=3)
    assert len(accuracies) == 3
    assert all(round(20 * accuracy) == pytest.approx(20 * accuracy) for accuracy in accuracies)
    assert torch.equal(seen[0].images, torch.cat([few.train.images, few.validation.images]))
    assert torch.equal(seen[0].labels, torch.cat([few.train.labels, few.validation.labels]))
    assert rates == pytest.approx([1.0] * 3 + [0.7] * 3 + [0.49] * 3)
    assert race._example_accuracies(3, num_epochs=1) == accuracies[:1], "not seeded"


# A sprint


def test_a_sprint_trains_on_the_asked_digits_only_and_is_seeded(few, monkeypatch):
    runs = []

    def spy(network, data, recipe, **options):
        first = network.conv1.weight.detach().clone()
        history = fit(network, data, recipe, **options)
        runs.append((first, network, data, recipe, history))
        return history

    monkeypatch.setattr(race, "fit", spy)
    results = [race._sprint(SHORT, seed) for seed in (4, 4, 5)]
    for (_, network, data, recipe, history), result, seed in zip(runs, results, (4, 4, 5)):
        assert torch.equal(data.train.images, few.train.images[:40])
        assert torch.equal(data.validation.images, few.validation.images)
        assert recipe == replace(RECIPE, seed=seed)
        assert result["precision"] == history.precision
        assert result["validation"] == history.validation_accuracy[-1]
        assert result["test"] == evaluate(network, few.test, recipe).accuracy
        assert result["seconds"] > 0
    (first, _, _, _, history), (again, _, _, _, same), (other, *_) = runs
    assert torch.equal(first, again) and not torch.equal(first, other), "the first weights"
    assert history.batch_loss == same.batch_loss


def test_the_seconds_of_a_sprint_have_no_validation_and_no_test(few, time, monkeypatch):
    def stand_in(network, data, recipe, **_):
        time.takes(0.5 + 10 + 11)  # the network is moved, then two epochs
        return History(
            "", "", recipe, "cpu", "fp32", 1, validation_accuracy=[0.5, 0.75],
            seconds=[10.0, 11.0], train_seconds=[7.0, 9.0],
        )  # fmt: skip

    def examine(*_):
        time.takes(1_000)
        return SimpleNamespace(accuracy=0.5)

    monkeypatch.setattr(race, "StridedNet", lambda: time.takes(0.25))
    monkeypatch.setattr(race, "fit", stand_in)
    monkeypatch.setattr(race, "evaluate", examine)
    result = race._sprint(SHORT, 0)
    assert result["seconds"] == 0.25 + 0.5 + 7 + 9
    assert (result["validation"], result["test"], result["precision"]) == (0.75, 0.5, "fp32")


def test_a_warm_up_is_ten_batches(few, monkeypatch):
    sizes = []

    def spy(network, data, recipe, **options):
        sizes.append(len(data.train))
        return fit(network, data, recipe, **options)

    monkeypatch.setattr(race, "fit", spy)
    race._sprint(replace(SHORT, recipe=replace(RECIPE, num_epochs=1)), 0, warm_up=True)
    assert sizes == [80]


# The lines


RUNS = [
    {"precision": "bf16", "digits": 40, "seconds": seconds, "validation": validation, "test": test,
     "example_step": step}
    for seconds, validation, test, step in (
        (2.0, 0.98, 0.991, 0.01), (4.0, 0.99, 0.993, 0.02), (3.0, 0.991, 0.992, 0.06)
    )
]  # fmt: skip


def test_a_result_compares_each_run_with_the_example_beside_it():
    result = race._result(SHORT, RUNS)
    steps = race.EXAMPLE_STEPS
    assert json.loads(json.dumps(result)) == {
        "goal": 0.5,
        "digits": 40,
        "recipe": repr(RECIPE),
        "precision": "bf16",
        "seeds": 3,
        "validation": [0.98, 0.99, 0.991],
        "test": [0.991, 0.993, 0.992],
        "seconds": [2.0, 4.0, 3.0],
        "example_seconds": pytest.approx([steps * 0.01, steps * 0.02, steps * 0.06]),
        # The ratios are 0.005, 0.005 and 0.02 per step; that of the medians would be 0.0067.
        "ratio": pytest.approx(steps * 0.005),
    }


def test_a_line_has_means_of_accuracies_and_medians_of_seconds():
    result = race._result(replace(SHORT, goal=0.994), RUNS)
    low, high = seed_interval([0.991, 0.993, 0.992])
    assert low < 0.992 < high
    assert race.line(result) == (
        f"goal 99.4% NOT reached: test 99.20% [{low:.2%}, {high:.2%}] over 3 seeds, "
        "validation 98.70%, in 3.00 s (bf16); 14 epochs of PyTorch's example: 263 s (scaled), "
        "66 times as long"
    )


def test_the_example_gets_there_with_the_mean_of_its_seeds():
    # A single seed is there after one epoch, the mean after two: 2 of 14 epochs, 700 / 7.
    runs = [[0.991, 0.992, 0.993], [0.989, 0.99, 0.993], [0.989, 0.991, 0.993]]
    assert race.example_line({"example": runs, "sprints": [{"ratio": 700.0}, {"ratio": 7}]}) == (
        "the example, mean test accuracy over 3 seeds after each epoch: 98.97%, 99.10%, 99.30%: "
        "99 % after 2, 100 times as long as the sprint"
    )


def test_the_example_may_never_get_there():
    record = {"example": [[0.97, 0.98], [0.98, 0.985]], "sprints": [{"ratio": 700.0}]}
    assert race.example_line(record) == (
        "the example, mean test accuracy over 2 seeds after each epoch: 97.50%, 98.25%: not yet "
        "99 %"
    )


@pytest.mark.parametrize(("accuracy", "verdict"), [(0.9899, "NOT reached"), (0.99, "reached")])
def test_a_goal_that_was_missed_is_called_missed(accuracy, verdict):
    runs = [run | {"test": accuracy} for run in RUNS]
    result = race._result(replace(SHORT, goal=0.99), runs)
    assert race.line(result).startswith(f"goal 99.0% {verdict}: ")


# A run, and which there are


def test_a_run_warms_both_sides_up_and_times_them_in_turn(monkeypatch):
    asked, pools, sprints = [], [], (SHORT, replace(SHORT, goal=0.75, digits=80))

    class Side(InProcess):
        def __init__(self, *pool):
            pools.append(pool)

    def sprint(*arguments):
        asked.append(arguments)
        return {"seconds": 2.0, "test": 0.7}

    def seconds(steps):
        asked.append(steps)
        return 0.5

    monkeypatch.setattr(race, "ProcessPoolExecutor", Side)
    monkeypatch.setattr(race, "SPRINTS", sprints)
    monkeypatch.setattr(race, "_sprint", sprint)
    monkeypatch.setattr(race, "_example_seconds", seconds)
    result = race.run(0.75, seed=3, threads=6)
    assert result == {
        "seconds": 2.0, "test": 0.7, "goal": 0.75, "threads": 6, "example_step": 0.5
    }  # fmt: skip
    assert asked == [(SHORT, 0, True), 5, (sprints[1], 3), 30]
    (ours, theirs) = pools
    assert ours == theirs and ours[0] == 1
    assert ours[2:] == (torch.set_num_threads, (6,))


def test_the_example_is_trained_with_the_threads_that_are_asked_for(few, monkeypatch):
    threads = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    assert race.example(3, 2, 6) == {"test": race._example_accuracies(3, 2)}
    assert threads[0] == 6


@pytest.mark.parametrize("example_epochs", [0, 4])
def test_the_runs_are_those_of_every_sprint_and_of_three_seeds_of_the_example(
    example_epochs, monkeypatch
):
    monkeypatch.setattr(race, "load_data", lambda: SimpleNamespace(name="MNIST"))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    sprints, examples = race.cases(2, example_epochs)
    assert sprints == [
        {"goal": goal, "seed": seed, "threads": 6} for goal in (0.99, 0.994) for seed in (0, 1)
    ]
    assert len({sprint.goal for sprint in race.SPRINTS}) == len(race.SPRINTS)
    seeds = range(3) if example_epochs else ()
    assert examples == [{"seed": seed, "num_epochs": 4, "threads": 6} for seed in seeds]


def test_there_is_no_race_on_other_digits(monkeypatch):
    monkeypatch.setenv("MNIST_LAB_SOURCE", "digits")
    with pytest.raises(ValueError, match=r"about MNIST.* here are the small digits\.$"):
        race.cases(2, 0)


@pytest.mark.parametrize(
    ("seeds", "example_epochs", "sentence"),
    [
        *((seeds, 0, f"seeds must be 2 or more, not {seeds}.") for seeds in (1, 0, -3)),
        (2, -1, "example_epochs must be 0 or more, not -1."),
    ],
)
def test_what_cannot_be_raced_is_refused_before_anything_starts(
    seeds, example_epochs, sentence, monkeypatch
):
    monkeypatch.setattr(race, "load_data", lambda: pytest.fail("too late"))
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        race.cases(seeds, example_epochs)

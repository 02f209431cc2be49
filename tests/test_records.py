"""What a run leaves behind: whole files, named after all that decides the run."""

import json
import platform
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from stand_ins import training
from torch import nn

from mnist_lab.course.publish import published_kind
from mnist_lab.data import Digits, Split, load_data
from mnist_lab.evaluation import Evaluation, evaluate
from mnist_lab.networks import BottleneckNet, GapNet
from mnist_lab.recipes import BOTTLENECK_RECIPE, GAP_RECIPE
from mnist_lab.records import (
    PUBLISHED,
    RECORDS,
    as_recorded,
    correct_answers,
    kind_of_run,
    load_measurement,
    load_record,
    load_records,
    processor,
    record_name,
    save_record,
    select_runs,
)
from mnist_lab.training import History, fit
from mnist_lab.validation import UserError

GAP = replace(GAP_RECIPE, num_epochs=2)


def digits(name="small digits"):
    parts = [Split(torch.zeros(n, 1, 28, 28).byte(), torch.zeros(n).long()) for n in (5, 3, 2)]
    return Digits(name, *parts)


def history(recipe=GAP, validation=(0.5, 0.875), name="small digits"):
    return History("GapNet", name, recipe, "cpu", "bf16", 3, [2.0, 1.0], [0.25, 0.75], [1.5, 0.5],
                   list(validation), [3.0, 4.0], [2.0, 2.0, 1.0, 1.0], [0.1] * 4)  # fmt: skip


def evaluation(correct=1):
    probabilities = torch.tensor([1.0, 0.5, 0.75])[:, None] * torch.eye(3, 10)
    return Evaluation(probabilities, torch.tensor([0, 2, 1]), correct, 0.25, 0.75)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "some" / "records"
    monkeypatch.setenv("MNIST_LAB_RECORDS", str(folder))
    return folder


def save(network=None, data=None, run=None, correct=1):
    return save_record(network or GapNet(), data or digits(), run or history(), evaluation(correct))


@pytest.mark.parametrize(
    "recipe", [GAP, replace(BOTTLENECK_RECIPE, num_epochs=2, seed=7)], ids=["gap", "bottleneck"]
)
def test_a_record_says_what_was_run_and_what_came_out(folder, recipe):
    path = save(run=history(recipe))
    (record,) = load_records(folder)
    name = f"gapnet-small-digits-{kind_of_run(record)}-seed{recipe.seed}.json"
    assert path == folder / name and record == json.loads(path.read_text())
    expected = {
        "network": "GapNet",
        "parameters": 13_808,
        "digits": "small digits",
        "split": {"name": "random", "train": 5, "validation": 3, "test": 2},
        "seed": recipe.seed,
        "train_loss": [2.0, 1.0],
        "train_accuracy": [0.25, 0.75],
        "validation_loss": [1.5, 0.5],
        "validation_accuracy": [0.5, 0.875],
        "test": {"correct": 1, "total": 3, "interval": [0.25, 0.75],
                 "wrong": [[1, 1, 0.5], [2, 2, 0.75]]},
        "seconds_per_epoch": [3.0, 4.0],
        "device": "cpu",
        "precision": "bf16",
        "threads": 3,
        "processor": processor(),
        "recipe": vars(recipe) | {
            "betas": list(recipe.betas),
            "schedule": repr(recipe.schedule),
            "augment": [repr(transform) for transform in recipe.augment],
        },
    }  # fmt: skip
    del expected["recipe"]["ema_decay"]  # not used
    assert record.items() >= expected.items()
    assert record["versions"]["python"] == platform.python_version()
    assert record["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]


def test_the_trained_weights_lie_beside_the_record(folder):
    network = GapNet().to(memory_format=torch.channels_last)  # as fit leaves it
    path = save(network)
    weights = path.with_suffix(".safetensors")
    assert all(torch.equal(load_file(weights)[k], v) for k, v in network.state_dict().items())
    with safe_open(weights, "pt") as file:
        assert file.metadata() == {"record": path.name}


def test_a_repeated_run_replaces_its_record_and_no_other(folder):
    for seed, correct in ((0, 0), (1, 1), (0, 2)):
        save(run=history(replace(GAP, seed=seed)), correct=correct)
    save(data=digits("MNIST"), run=history(name="MNIST"))
    assert [(r["digits"], r["seed"], r["test"]["correct"]) for r in load_records(folder)] == [
        ("MNIST", 0, 1),
        ("small digits", 0, 2),
        ("small digits", 1, 1),
    ]
    assert len(list(folder.iterdir())) == 6, "something partial was left behind"
    (folder / "summary.json").write_text("[]")  # is no record
    assert len(load_records(folder)) == 3 and load_records(folder / "nowhere") == []


def test_without_the_variable_records_lie_in_the_repository(tmp_path, monkeypatch):
    monkeypatch.setenv("MNIST_LAB_RECORDS", "")
    for folder in ("notebooks", "mnist_lab"):
        (tmp_path / folder).mkdir()
    (tmp_path / "mnist_lab" / "data.py").touch()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert save().parent == tmp_path / "runs" / "records"


def test_only_runs_that_differ_in_nothing_but_the_seed_are_of_a_kind(folder):
    recipes = [GAP, replace(GAP, seed=3), replace(GAP, lr=0.1)]
    paths = [save(run=history(recipe)) for recipe in recipes]
    paths.append(save(data=replace(digits(), train=digits().validation)))
    for change in ({"precision": "fp32"}, {"device": "cuda"}):
        paths.append(save(run=replace(history(), **change)))
    assert len(set(paths)) == len(paths), "one run has overwritten another"
    kinds = [kind_of_run(json.loads(path.read_text())) for path in paths]
    assert kinds[0] == kinds[1] and len(set(kinds)) == 5
    assert save() == paths[0]


def sequential(*layers):
    return nn.Sequential(nn.Flatten(), *layers)


class Residual(nn.Module):
    """Its class is defined twice below, with another forward."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(784, 784)

    def forward(self, x):
        return x + self.fc(x)  # a comment


class Scale(nn.Module):
    """A parameter that no module shows."""

    def __init__(self, size):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(size))

    def forward(self, x):
        return x[:, : len(self.scale)] * self.scale


def typed(forward):
    """A class that was typed at a prompt: its source is nowhere."""
    namespace = {"Residual": Residual}
    exec(f"class Typed(Residual):\n    def forward(self, x):\n        return {forward}", namespace)
    return namespace["Typed"]()


Plain = type("Residual", (Residual,), {"forward": lambda self, x: self.fc(x)})
Same = type("Residual", (Residual,), {})


def changed(change):
    network = GapNet()
    change(network)
    return network


DIFFERENT = [
    GapNet(),
    changed(lambda network: setattr(network.convblock1[3], "p", 0.5)),
    changed(lambda network: network.convblock1.requires_grad_(False)),
    GapNet().double(),
    sequential(nn.Linear(784, 10)),
    sequential(nn.Linear(784, 16), nn.Linear(16, 10)),
    sequential(nn.Linear(784, 17), nn.Linear(17, 10)),
    sequential(Scale(10)),
    sequential(Scale(12)),
    sequential(Residual()),
    sequential(Plain()),
    sequential(typed("self.fc(x)")),
    sequential(typed("self.fc(2 * x)")),
]


def test_two_networks_with_one_recipe_keep_their_records_apart(folder):
    for correct, network in enumerate(DIFFERENT):
        save(network, correct=correct)
    found = [record["test"]["correct"] for record in load_records(folder)]
    assert sorted(found) == list(range(len(DIFFERENT))), "one has overwritten another"


def test_the_same_network_has_the_same_name_whatever_it_has_learned(folder):
    first = save(sequential(Residual()))
    trained = sequential(Same()).eval()
    trained[1].fc.weight.data.zero_()
    assert save(trained) == first
    network = GapNet()
    network(torch.rand(4, 1, 28, 28))  # the norms' averages are no architecture
    before = torch.get_rng_state()
    learned = save(network.eval())
    assert torch.equal(torch.get_rng_state(), before)
    assert learned == save(GapNet())


def test_the_name_of_a_published_record_follows_from_what_it_holds():
    paths = sorted(PUBLISHED.glob(RECORDS))
    records = [load_record(path) for path in paths]
    assert [record_name(record) for record in records] == [path.name for path in paths]
    kinds = {kind_of_run(record) for record in records}
    assert {published_kind(name) for name in ("gap", "bottleneck")} <= kinds


# Files that are not whole


def without(name):
    return lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != name})


DAMAGE = {
    "cut": lambda text: text[: len(text) // 2],
    "no object": lambda text: "[]",
    "nothing in it": lambda text: "{}",
    "no split": without("split"),
    "no test": without("test"),
    "no losses": without("train_loss"),
    "an epoch too few": lambda text: text.replace('"num_epochs": 2', '"num_epochs": 3'),
    "no test digits": lambda text: text.replace('"total": 3', '"total": 0'),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_record_that_is_not_whole_is_named(damage, folder):
    path = save()
    text = path.read_text()
    assert damage(text) != text
    path.write_text(damage(text))
    with pytest.raises(UserError) as refusal:
        load_records(folder)
    assert str(path) in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("record", "whole"),
    [
        ({"kind": "race", "digits": "MNIST", "runs": [{"seconds": 1}]}, True),
        ({"kind": "race", "digits": "MNIST", "runs": [1]}, False),
        ({"digits": "MNIST", "runs": []}, False),
        ([], False),
    ],
)
def test_a_measurement_that_is_not_whole_is_named(tmp_path, record, whole):
    path = tmp_path / "race.json"
    path.write_text(json.dumps(record))
    if whole:
        assert load_measurement(path) == record
        return
    with pytest.raises(UserError, match=rf"{path} is not a whole measurement"):
        load_measurement(path)


def test_the_processor_has_a_name_and_its_instructions(monkeypatch):
    used = torch.backends.cpu.get_cpu_capability()
    assert processor().endswith(f", {used}") and len(processor()) > len(used) + 2
    monkeypatch.setattr(Path, "read_text", lambda path, **_: "model name\t: A fast one\n")
    assert processor() == f"A fast one, {used}"
    monkeypatch.setattr(Path, "read_text", lambda path, **_: Path("absent").read_bytes())
    assert processor() == f"{platform.processor() or platform.machine()}, {used}"


# Many runs


def test_the_runs_of_a_network_are_found_and_ordered():
    def run(seed, num_epochs=19, split="random", **changes):
        recipe = {"num_epochs": num_epochs, "seed": seed}
        return training(seed, recipe=recipe, split={"name": split}, **changes)

    mine = [run(seed) for seed in (10, 2, 0)]
    others = [
        run(0, network="BottleneckNet"),
        run(1, split="as published"),
        run(3, precision="bf16"),
        run(4, digits="small digits"),
    ]
    assert select_runs([*others, *mine], "GapNet") == mine[::-1]
    assert select_runs([*others, *mine], "GapNet", "as published") == [others[1]]
    for wrong, count in (([], 0), ([*mine, run(5, num_epochs=20)], 2)):
        with pytest.raises(UserError, match=f"^there are {count} kinds of runs of GapNet on MNIST"):
            select_runs(wrong, "GapNet")


def test_the_right_answers_are_all_but_the_wrong_ones():
    wrong = [[[0, 3, 0.5], [999, 1, 0.9]], [[5, 1, 0.9]]]
    right = correct_answers([training(test={"total": 1_000, "wrong": some}) for some in wrong])
    assert right.shape == (2, 1_000) and right.dtype == torch.bool
    assert (~right).nonzero().tolist() == [[0, 0], [0, 999], [1, 5]]


@pytest.mark.slow
def test_a_record_is_found_again_by_training_from_scratch():
    """Stated tolerance: 2 % of each training loss and 3 points of each accuracy, for processors add
    up in different orders, and 76 steps make more of it."""
    (record,) = load_records(PUBLISHED / "short")
    said, seed = record["recipe"], record["seed"]
    recipe = replace(BOTTLENECK_RECIPE, num_epochs=said["num_epochs"], seed=seed)
    torch.manual_seed(seed)
    network, data = BottleneckNet(), load_data("digits")
    history = fit(network, data, recipe, device="cpu", precision="fp32", progress=False)
    test = evaluate(network, data.test, recipe)
    assert kind_of_run(record) == kind_of_run(record | {"recipe": as_recorded(recipe)})
    assert history.train_loss == pytest.approx(record["train_loss"], rel=0.02)
    assert history.validation_accuracy == pytest.approx(record["validation_accuracy"], abs=0.03)
    assert test.accuracy == pytest.approx(record["test"]["correct"] / 300, abs=0.03)

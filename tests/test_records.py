"""What a run leaves behind: whole files, named after all that decides the run."""

import json
import platform
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from mnist_lab import records
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
    return Evaluation(torch.eye(2, 10), torch.tensor([0, 2]), correct, 0.25, 0.75)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "some" / "records"
    monkeypatch.setenv("MNIST_LAB_RECORDS", str(folder))
    return folder


def test_a_record_says_what_was_run_and_what_came_out(folder):
    path = save_record(GapNet(), digits(), history(), evaluation())
    (record,) = load_records(folder)
    assert path == folder / f"gapnet-small-digits-{kind_of_run(record)}-seed0.json"
    assert record == json.loads(path.read_text())
    expected = {
        "network": "GapNet",
        "parameters": 13_808,
        "digits": "small digits",
        "split": {"name": "random", "train": 5, "validation": 3, "test": 2},
        "seed": 0,
        "train_loss": [2.0, 1.0],
        "train_accuracy": [0.25, 0.75],
        "validation_loss": [1.5, 0.5],
        "validation_accuracy": [0.5, 0.875],
        "test": {"correct": 1, "total": 2, "interval": [0.25, 0.75], "wrong": [[1, 1, 1.0]]},
        "seconds_per_epoch": [3.0, 4.0],
        "device": "cpu",
        "precision": "bf16",
        "threads": 3,
        "processor": processor(),
    }
    assert record.items() >= expected.items()
    assert record["versions"]["python"] == platform.python_version()
    assert record["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]


def test_the_trained_weights_lie_beside_the_record(folder):
    network = GapNet().to(memory_format=torch.channels_last)  # as fit leaves it
    path = save_record(network, digits(), history(), evaluation())
    weights = path.with_suffix(".safetensors")
    assert all(torch.equal(load_file(weights)[k], v) for k, v in network.state_dict().items())
    GapNet().load_state_dict(load_file(weights))
    with safe_open(weights, "pt") as file:
        assert file.metadata() == {"record": path.name}


@pytest.mark.parametrize(
    "recipe", [GAP, replace(BOTTLENECK_RECIPE, num_epochs=2), replace(GAP, seed=7)]
)
def test_a_record_holds_every_hyperparameter(folder, recipe):
    save_record(GapNet(), digits(), history(recipe), evaluation())
    (record,) = load_records(folder)
    saved = record["recipe"]
    names = vars(recipe).keys() - {"schedule", "augment"}
    expected = {name: getattr(recipe, name) for name in names} | {"betas": list(recipe.betas)}
    assert {name: saved[name] for name in names} == expected
    assert saved["schedule"] == repr(recipe.schedule)
    assert saved["augment"] == [repr(transform) for transform in recipe.augment]
    assert record["seed"] == recipe.seed


def test_a_repeated_run_replaces_its_record_and_no_other(folder):
    for seed, correct in ((0, 0), (1, 1), (0, 2)):
        recipe = replace(GAP, seed=seed)
        save_record(GapNet(), digits(), history(recipe), evaluation(correct))
    save_record(GapNet(), digits("MNIST"), history(name="MNIST"), evaluation(1))
    assert [(r["digits"], r["seed"], r["test"]["correct"]) for r in load_records(folder)] == [
        ("MNIST", 0, 1),
        ("small digits", 0, 2),
        ("small digits", 1, 1),
    ]
    assert len(list(folder.iterdir())) == 6, "something partial was left behind"


def test_threads_that_save_at_once_lose_no_record(folder):
    def save(seed):
        recipe = replace(GAP, seed=seed % 10)  # several write the same file, too
        return save_record(GapNet(), digits(), history(recipe), evaluation())

    with ThreadPoolExecutor(20) as pool:
        paths = set(pool.map(save, range(100)))
    assert len(paths) == 10 and [r["seed"] for r in load_records(folder)] == list(range(10))
    both = {file for path in paths for file in (path, path.with_suffix(".safetensors"))}
    assert both == set(folder.iterdir()), "something partial was left behind"


def test_without_the_variable_records_lie_in_the_repository(tmp_path, monkeypatch):
    monkeypatch.delenv("MNIST_LAB_RECORDS", raising=False)
    notebooks = tmp_path / "notebooks"
    for path in (notebooks, tmp_path / "mnist_lab"):
        path.mkdir()
    (tmp_path / "mnist_lab" / "data.py").touch()
    monkeypatch.chdir(notebooks)
    path = save_record(GapNet(), digits(), history(), evaluation())
    assert path.parent == tmp_path / "runs" / "records"


def test_other_files_are_not_taken_for_records(folder):
    save_record(GapNet(), digits(), history(), evaluation())
    (folder / "summary.json").write_text("[]")
    (folder / ".partial-seed0").write_text("{")
    assert len(load_records(folder)) == 1
    assert load_records(folder / "nowhere") == []


def record(
    network, digits, validation, correct, interval=(0.1, 0.9), precision="fp32", split="random"
):
    return {
        "network": network,
        "digits": digits,
        "parameters": 13_808,
        "recipe": {"num_epochs": 19},
        "split": {"name": split, "train": 50},
        "precision": precision,
        "validation_accuracy": [0.1, validation],
        "test": {"correct": correct, "total": 1_000, "interval": interval},
    }


def test_only_runs_that_differ_in_nothing_but_the_seed_are_of_a_kind(folder):
    recipes = [GAP, replace(GAP, seed=3), replace(GAP, lr=0.1)]
    paths = [save_record(GapNet(), digits(), history(recipe), evaluation()) for recipe in recipes]
    more = replace(digits(), train=digits().validation)
    paths.append(save_record(GapNet(), more, history(), evaluation()))
    for change in ({"precision": "fp32"}, {"device": "cuda"}):
        paths.append(save_record(GapNet(), digits(), replace(history(), **change), evaluation()))
    assert len(set(paths)) == len(paths), "one run has overwritten another"
    kinds = [kind_of_run(json.loads(path.read_text())) for path in paths]
    assert kinds[0] == kinds[1] and len(set(kinds)) == 5
    assert save_record(GapNet(), digits(), history(), evaluation()) == paths[0]


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


DIFFERENT = {
    "GapNet": GapNet(),
    "another dropout": changed(lambda network: setattr(network.convblock1[3], "p", 0.5)),
    "frozen": changed(lambda network: network.convblock1.requires_grad_(False)),
    "float64": GapNet().double(),
    "one layer": sequential(nn.Linear(784, 10)),
    "two layers": sequential(nn.Linear(784, 16), nn.Linear(16, 10)),
    "wider": sequential(nn.Linear(784, 17), nn.Linear(17, 10)),
    "ten scales": sequential(Scale(10)),
    "twelve scales": sequential(Scale(12)),
    "residual": sequential(Residual()),
    "not residual": sequential(Plain()),
    "typed": sequential(typed("self.fc(x)")),
    "typed otherwise": sequential(typed("self.fc(2 * x)")),
}


def test_two_networks_with_one_recipe_keep_their_records_apart(folder):
    for correct, network in enumerate(DIFFERENT.values()):
        save_record(network, digits(), history(), evaluation(correct))
    found = [record["test"]["correct"] for record in load_records(folder)]
    assert sorted(found) == list(range(len(DIFFERENT))), "one has overwritten another"


def test_the_same_network_has_the_same_name_whatever_it_has_learned(folder):
    first = save_record(sequential(Residual()), digits(), history(), evaluation())
    trained = sequential(Same()).eval()
    trained[1].fc.weight.data.zero_()
    assert save_record(trained, digits(), history(), evaluation()) == first
    network = GapNet()
    network(torch.rand(4, 1, 28, 28))  # the norms' averages are no architecture
    before = torch.get_rng_state()
    learned = save_record(network.eval(), digits(), history(), evaluation())
    assert torch.equal(torch.get_rng_state(), before)
    assert learned == save_record(GapNet(), digits(), history(), evaluation())


@pytest.mark.parametrize("path", sorted(PUBLISHED.glob(RECORDS)), ids=lambda path: path.stem)
def test_the_name_of_a_published_record_follows_from_what_it_holds(path):
    record = load_record(path)
    assert record["kind"] == "training" and record_name(record) == path.name


def test_the_published_recipes_are_of_the_published_kinds():
    kinds = {kind_of_run(record) for record in load_records()}
    assert {published_kind(name) for name in ("gap", "bottleneck")} <= kinds


# Files that are not whole


def without(*names):
    return lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k not in names})


DAMAGE = {
    "empty": lambda text: "",
    "cut": lambda text: text[: len(text) // 2],
    "no object": lambda text: "[]",
    "nothing in it": lambda text: "{}",
    "no split": without("split"),
    "no test": without("test"),
    "no recipe": without("recipe"),
    "no losses": without("train_loss"),
    "an epoch too few": lambda text: text.replace('"num_epochs": 2', '"num_epochs": 3'),
    "no test digits": lambda text: text.replace('"total": 2', '"total": 0'),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_record_that_is_not_whole_is_named(damage, folder):
    path = save_record(GapNet(), digits(), history(), evaluation())
    text = path.read_text()
    assert damage(text) != text
    path.write_text(damage(text))
    for load in (lambda: load_record(path), lambda: load_records(folder)):
        with pytest.raises(UserError) as refusal:
            load()
        assert str(path) in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("content", [b"\xff\xfe", b'{"name": "\xe9"}'])
def test_what_is_no_text_is_named(content, folder):
    path = folder / "x-seed0.json"
    folder.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"x-seed0\.json cannot be read"):
        load_records(folder)


@pytest.mark.parametrize(
    ("text", "name"), [("model name\t: A fast one\n", "A fast one"), ("Features\t: fp\n", "arm")]
)
def test_the_processor_has_a_name_and_its_instructions(monkeypatch, text, name):
    used = torch.backends.cpu.get_cpu_capability()
    assert processor().endswith(f", {used}") and len(processor()) > len(used) + 2
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "arm")
    monkeypatch.setattr(records.Path, "read_text", lambda path, **_: text)
    assert processor() == f"{name}, {used}"
    monkeypatch.setattr(records.Path, "read_text", lambda path, **_: Path("absent").read_bytes())
    assert processor() == f"arm, {used}"


# Many runs


def test_the_runs_of_a_network_are_found_and_ordered():
    def run(network, split, seed, **changes):
        found = record(network, "MNIST", 0.99, 990, split=split) | {"seed": seed} | changes
        return found | {"recipe": {"num_epochs": 19, "seed": seed}}

    mine = [run("GapNet", "random", seed) for seed in (10, 2, 0)]
    others = [
        run("BottleneckNet", "random", 0),
        run("GapNet", "as published", 1),
        run("GapNet", "random", 3, precision="bf16"),
        run("GapNet", "random", 4, digits="small digits"),
    ]
    assert select_runs([*others, *mine], "GapNet") == mine[::-1]
    assert select_runs([*others, *mine], "GapNet", "as published") == [others[1]]
    longer = run("GapNet", "random", 5) | {"recipe": {"num_epochs": 20, "seed": 5}}
    for wrong, count in (([], 0), ([*mine, longer], 2)):
        with pytest.raises(
            ValueError, match=rf"^there are {count} kinds of runs of GapNet on MNIST, sp"
        ):
            select_runs(wrong, "GapNet")


def test_the_right_answers_are_all_but_the_wrong_ones():
    runs = [record("GapNet", "MNIST", 0.99, 998) for _ in range(2)]
    runs[0]["test"]["wrong"], runs[1]["test"]["wrong"] = [[0, 3, 0.5], [999, 1, 0.9]], [[5, 1, 0.9]]
    right = correct_answers(runs)
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

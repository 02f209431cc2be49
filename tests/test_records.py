"""What a run leaves behind: whole files, and tables that say what the records say."""

import json
import platform
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from scipy import stats

from conftest import ROOT
from mnist_lab import records
from mnist_lab.data import Digits, Split, load_data
from mnist_lab.evaluation import Evaluation, evaluate
from mnist_lab.networks import BottleneckNet, GapNet
from mnist_lab.recipes import BOTTLENECK_RECIPE, GAP_RECIPE
from mnist_lab.records import (
    as_recorded,
    correct_answers,
    kind_of_run,
    load_record,
    load_records,
    processor,
    save_record,
    select_runs,
)
from mnist_lab.statistics import seed_interval
from mnist_lab.training import History, fit

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
    short = replace(history(), precision="fp32")
    paths.append(save_record(GapNet(), digits(), short, evaluation()))
    assert len(set(paths)) == len(paths), "one run has overwritten another"
    kinds = [kind_of_run(json.loads(path.read_text())) for path in paths]
    assert kinds[0] == kinds[1] and len(set(kinds)) == 4
    assert save_record(GapNet(), digits(), history(), evaluation()) == paths[0]


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", "half", "epochs"])
def test_a_record_that_is_not_whole_is_named(damage, folder):
    path = save_record(GapNet(), digits(), history(), evaluation())
    load_record(path)
    text = path.read_text()
    longer = text.replace('"num_epochs": 2', '"num_epochs": 3')
    damaged = {"half": text[: len(text) // 2], "epochs": longer}
    path.write_text(damaged.get(damage, damage))
    with pytest.raises(ValueError, match=r"seed0\.json (is not|cannot be)") as refusal:
        load_record(path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("accuracies", [[0.99, 0.98], [0.9957, 0.9951, 0.9954, 0.9952]])
def test_the_interval_over_seeds_is_students(accuracies):
    mean, error = sum(accuracies) / len(accuracies), stats.sem(accuracies)
    expected = stats.t.interval(0.95, len(accuracies) - 1, loc=mean, scale=error)
    assert seed_interval(accuracies) == pytest.approx(expected)


def test_the_processor_has_a_name_and_its_instructions_everywhere(monkeypatch):
    used = torch.backends.cpu.get_cpu_capability()
    assert processor().endswith(f", {used}") and len(processor()) > len(used) + 2
    monkeypatch.setattr(records.Path, "read_text", lambda path: "Features\t: fp asimd\n")
    monkeypatch.setattr(records.platform, "processor", lambda: "")
    monkeypatch.setattr(records.platform, "machine", lambda: "aarch64")
    assert processor() == f"aarch64, {used}"
    monkeypatch.setattr(records.Path, "read_text", lambda path: "model name\t: A fast one\n")
    assert processor() == f"A fast one, {used}"

    def absent(path):
        raise FileNotFoundError

    monkeypatch.setattr(records.Path, "read_text", absent)
    assert processor() == f"aarch64, {used}"


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


def test_a_record_is_found_again_by_training_from_scratch():
    """Stated tolerance: 2 % of each training loss and 2 points of each accuracy, for processors add
    up in different orders, and 76 steps make more of it."""
    (record,) = load_records(ROOT / "mnist_lab" / "published" / "short")
    said, seed = record["recipe"], record["seed"]
    recipe = replace(BOTTLENECK_RECIPE, num_epochs=said["num_epochs"], seed=seed)
    torch.manual_seed(seed)
    network, data = BottleneckNet(), load_data("digits")
    history = fit(network, data, recipe, device="cpu", precision="fp32", progress=False)
    test = evaluate(network, data.test, recipe)
    assert kind_of_run(record) == kind_of_run(record | {"recipe": as_recorded(recipe)})
    assert history.train_loss == pytest.approx(record["train_loss"], rel=0.02)
    assert history.validation_accuracy == pytest.approx(record["validation_accuracy"], abs=0.02)
    assert test.accuracy == pytest.approx(record["test"]["correct"] / 300, abs=0.01)

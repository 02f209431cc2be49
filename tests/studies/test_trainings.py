"""Whole trainings: each by its recipe, its record where `publish` finds it, the test read once."""

import json
from dataclasses import replace

import pytest
import torch

from mnist_lab.data import load_data
from mnist_lab.evaluation import evaluate
from mnist_lab.pretrained import load_weights
from mnist_lab.recipes import NETWORKS, shortened
from mnist_lab.records import load_record
from mnist_lab.studies import trainings
from mnist_lab.studies.trainings import cases, run, table
from mnist_lab.validation import UserError

SMALL = load_data("digits")
FEW = replace(SMALL, train=SMALL.train.first(600), validation=SMALL.validation.first(40))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A project of its own, few digits, a short recipe; and which digits are evaluated."""
    entry, reads = NETWORKS["gap"], []
    monkeypatch.setitem(NETWORKS, "gap", entry._replace(recipe=shortened(entry.recipe, 2)))
    monkeypatch.setattr(trainings, "project_root", lambda: tmp_path)
    monkeypatch.setattr(trainings, "digits", lambda split: replace(FEW, split=split))

    def counted(network, split, recipe):
        reads.append(split)
        return evaluate(network, split, recipe)

    monkeypatch.setattr(trainings, "evaluate", counted)
    return tmp_path, reads


def test_a_training_leaves_its_record_and_its_weights_for_publish(here):
    root, reads = here
    result = run("gap", seed=3, split="by writer")
    assert json.loads(json.dumps(result)) == result
    (path,) = (root / "runs" / "sweep").glob("[!.]*/*-seed*.json")  # as publish looks for it
    record = load_record(path)
    assert path.name == result["record"] and path.parent.name == "gap-by-writer-seed3"
    assert record["seed"] == 3 and record["precision"] == "fp32" and record["device"] == "cpu"
    assert record["split"]["name"] == "by writer" and "architecture" not in record
    assert record["validation_accuracy"] == result["validation_accuracy"]
    assert [split is FEW.test for split in reads] == [True]
    network = load_weights("gap", path.with_suffix(".safetensors"))
    found = evaluate(network, FEW.test, NETWORKS["gap"].recipe)
    assert found.correct == record["test"]["correct"] and found.accuracy == result["test_accuracy"]


def test_the_same_seed_trains_the_same_network_and_another_another(here):
    torch.manual_seed(99)
    first, second, other = (run("gap", seed=seed, split="random") for seed in (0, 0, 1))
    assert first["validation_accuracy"] == second["validation_accuracy"]
    assert first["record"] == second["record"] != other["record"]
    assert len(list((here[0] / "runs" / "sweep").iterdir())) == 2


def test_the_cases_are_the_networks_with_every_seed():
    assert cases(["gap"], seeds=2, split="all") == [
        {"network": "gap", "seed": seed, "split": "all"} for seed in (0, 1)
    ]
    assert {case["network"] for case in cases(seeds=1)} == set(NETWORKS)
    for options, sentence in (
        ({"networks": ["lenet"]}, "a network must be one of gap"),
        ({"seeds": 0}, "seeds must be"),
        ({"split": "half"}, "split must be one of random"),
    ):
        with pytest.raises(UserError, match=sentence):
            cases(**options)


def test_the_table_has_a_row_for_each_network_and_split():
    some = {"network": "gap", "parameters": 13_808, "seconds": 60.0}
    runs = [some | {"split": "random", "test_accuracy": value} for value in (0.99, 0.98)]
    runs += [some | {"split": "all", "test_accuracy": 0.995, "seconds": 90.0}]
    _, *rows = table(runs).splitlines()
    assert rows[0].split()[:6] == ["gap", "random", "13,808", "2", "1.0", "98.500%"]
    assert rows[1].split() == ["gap", "all", "13,808", "1", "1.5", "99.500%"]
    assert rows[0].count("%") == 3

"""A search: its trials are chosen by Optuna, ended early, and all of them recorded."""

import json
import sys
from dataclasses import replace

import pytest

from mnist_lab.data import load_data
from mnist_lab.layers import count_parameters
from mnist_lab.recipes import Recipe
from mnist_lab.records import load_published
from mnist_lab.studies import search
from mnist_lab.studies.candidates import build
from mnist_lab.studies.search import CANDIDATES, cases, run, table
from mnist_lab.training import History
from mnist_lab.validation import UserError

optuna = pytest.importorskip("optuna")
BUDGETS = {"20k": 20_000, "8k": 8_000, "2k": 2_000, "700": 700}
SMALL = load_data("digits")
FEW = replace(SMALL, train=SMALL.train.first(300), validation=SMALL.validation.first(50))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A project of its own, and few digits; the test digits cannot be asked for."""
    monkeypatch.setattr(search, "project_root", lambda: tmp_path)
    monkeypatch.setattr(search, "digits", lambda: replace(FEW, test=None))
    return tmp_path


@pytest.fixture
def trained(monkeypatch):
    """`fit` as a table of accuracies by trial: nothing is trained."""
    accuracies, recipes = {}, {}

    def fit(network, data, recipe, *, after_epoch, **options):
        recipes[recipe.seed] = recipe
        history = History("Candidate", "few", recipe, "cpu", "fp32", 1)
        for accuracy in accuracies[recipe.seed]:
            if accuracy is None:
                raise FloatingPointError
            history.validation_accuracy.append(accuracy)
            after_epoch(history)

    monkeypatch.setattr(search, "fit", fit)
    fit.accuracies, fit.recipes = accuracies, recipes
    return fit


def test_a_trial_is_trained_and_recorded_with_what_it_chose(here):
    first = run("700", num_epochs=2, trial=0)
    assert json.loads(json.dumps(first)) == first
    assert first["state"] == "complete" and len(first["validation_accuracy"]) == 2
    assert first["network"] in CANDIDATES["700"] and first["parameters"] <= 700
    chosen = first["chosen"]
    assert f"max_lr={chosen['max_lr']}" in first["recipe"] and "seed=0" in first["recipe"]
    assert f"shear={chosen['shear']}" in first["recipe"]
    study = optuna.load_study(
        study_name="700, 2 epochs",
        storage=optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(str(here / "runs/search/700.log"))
        ),
    )
    (trial,) = study.trials
    assert trial.params == chosen and trial.value == first["validation_accuracy"][-1]
    assert trial.intermediate_values == dict(enumerate(first["validation_accuracy"], 1))


def test_trials_choose_differently_and_the_worst_are_ended_early(here, trained):
    for trial in range(9):
        trained.accuracies[trial] = [0.5 + trial / 100] * 4
    trained.accuracies[9] = [0.1, 0.1, 0.1, 0.9]
    results = [run("8k", num_epochs=4, trial=trial) for trial in range(10)]
    assert [result["state"] for result in results] == ["complete"] * 9 + ["pruned"]
    assert results[9]["validation_accuracy"] == [0.1, 0.1]
    assert len({result["chosen"]["max_lr"] for result in results}) == 10
    assert {recipe.seed for recipe in trained.recipes.values()} == set(range(10))
    assert all(isinstance(recipe, Recipe) for recipe in trained.recipes.values())


def test_a_loss_that_is_not_finite_is_a_trial_that_failed(here, trained):
    trained.accuracies.update({0: [0.1, None], 1: [0.2, 0.3]})
    results = [run("2k", num_epochs=2, trial=trial) for trial in range(2)]
    assert [result["state"] for result in results] == ["fail", "complete"]
    assert results[0]["validation_accuracy"] == [0.1]
    lines = table(results).splitlines()
    assert lines[0] == "2k, 2 epochs: 2 trials, 1 fail, 1 complete"
    assert len(lines) == 3 and lines[2].split()[0] == "30.00%"


def test_the_table_shows_each_search_and_its_best_first(here, trained):
    trained.accuracies.update({trial: [trial / 20] for trial in range(12)})
    results = [run("20k", num_epochs=1, trial=trial) for trial in range(12)]
    results += [run("8k", num_epochs=1, trial=trial) for trial in range(2)]
    first, second = table(results).split("\n\n")
    assert [line.split()[0] for line in first.splitlines()[2:]] == [
        f"{trial / 20:.2%}" for trial in range(11, 1, -1)
    ]
    assert second.startswith("8k, 1 epochs: 2 trials, 2 complete")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"budget": "9k"}, "budget must be one of 20k, 8k, 2k, 700, not '9k'"),
        ({"budget": "8k", "trials": 0}, "trials must be a whole number from 1 on"),
        ({"budget": "8k", "num_epochs": 0}, "num_epochs must be a whole number from 1 on"),
    ],
)
def test_nonsense_is_refused(options, sentence):
    with pytest.raises(UserError, match=f"^{sentence}"):
        cases(**options)


def test_without_optuna_one_is_told_how_to_get_it(here, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[search\]'"):
        run("8k", num_epochs=1, trial=0)


@pytest.mark.parametrize("name", [*CANDIDATES, "by-hand"])
def test_every_published_trial_is_of_a_network_that_keeps_to_its_budget(name):
    for trial in load_published(f"search-{name}")["runs"]:
        assert trial["state"] in ("complete", "pruned", "fail") and "(" not in trial["budget"]
        assert len(trial["validation_accuracy"]) <= trial["num_epochs"]
        if trial["budget"] != "by hand":  # which has lines for which there is no word
            assert trial["parameters"] <= BUDGETS[trial["budget"]]
            assert count_parameters(build(trial["network"])) == trial["parameters"]
            assert f"max_lr={trial['chosen']['max_lr']}," in trial["recipe"]

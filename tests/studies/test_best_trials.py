"""The best trial of each search, trained again."""

import json
from dataclasses import replace

import pytest

from mnist_lab.data import load_data
from mnist_lab.records import load_published
from mnist_lab.studies import best_trials
from mnist_lab.studies.best_trials import best_trial, cases, run, table
from mnist_lab.studies.search import CANDIDATES
from mnist_lab.validation import UserError

optuna = pytest.importorskip("optuna")
SMALL = load_data("digits")
FEW = replace(
    SMALL,
    train=SMALL.train.first(1_200),
    validation=SMALL.validation.first(50),
    test=SMALL.test.first(40),
)


@pytest.mark.parametrize("budget", CANDIDATES)
def test_the_best_trial_is_complete_and_none_was_better(budget):
    best = best_trial(budget)
    assert best["state"] == "complete" and best["budget"] == budget
    ends = [
        trial["validation_accuracy"][-1]
        for trial in load_published(f"search-{budget}")["runs"]
        if trial["state"] == "complete"
    ]
    assert best["validation_accuracy"][-1] == max(ends)


@pytest.mark.parametrize("budget", CANDIDATES)
def test_its_recipe_is_the_recorded_one_but_for_the_seed(budget, monkeypatch):
    class Seen(Exception):
        pass

    def fit(network, data, recipe, **options):
        raise Seen(recipe)

    monkeypatch.setattr(best_trials, "digits", lambda: FEW)
    monkeypatch.setattr(best_trials, "fit", fit)
    with pytest.raises(Seen) as caught:
        run(budget, seed=1_000)
    (recipe,) = caught.value.args
    best = best_trial(budget)
    assert repr(replace(recipe, seed=best["trial"])) == best["recipe"]
    assert recipe.seed == 1_000


def test_a_run_is_recorded_with_validation_and_test(monkeypatch):
    trial = {**best_trial("700"), "num_epochs": 2}
    monkeypatch.setattr(best_trials, "best_trial", lambda budget: trial)
    monkeypatch.setattr(best_trials, "digits", lambda: FEW)
    result = run("700", seed=1_001)
    assert json.loads(json.dumps(result)) == result
    assert len(result["validation_accuracy"]) == result["num_epochs"] == 2
    assert result["test_accuracy"] * 40 == pytest.approx(round(result["test_accuracy"] * 40))
    assert result["network"] == trial["network"] and result["parameters"] <= 700
    assert result["before"] == trial["validation_accuracy"][-1]


def test_no_seed_is_that_of_a_trial():
    tried = {
        trial["trial"] for name in CANDIDATES for trial in load_published(f"search-{name}")["runs"]
    }
    asked = cases(seeds=3)
    assert len(asked) == 3 * len(CANDIDATES) and not tried & {case["seed"] for case in asked}
    with pytest.raises(UserError, match=r"^seeds must be a whole number from 1 on"):
        cases(seeds=0)


def test_the_table_holds_the_trial_beside_its_fresh_seeds():
    runs = [
        {"budget": "2k", "before": 0.99, "validation_accuracy": [0.1, value], "test_accuracy": test}
        for value, test in ((0.98, 0.97), (0.96, 0.99))
    ]
    _, line = table(runs).splitlines()
    assert line.split()[:4] == ["2k", "99.00%", "2", "97.00%"] and "98.00% [" in line
    assert table(runs[:1]).splitlines()[1].split()[-2:] == ["98.00%", "97.00%"]

"""The study trains what the notebooks build, as they train it, and its table adds up."""

from functools import cache

import nbformat
import pytest
import torch
from cells import code_cells, printed

from conftest import ROOT
from mnist_lab.data import Digits
from mnist_lab.layers import count_parameters
from mnist_lab.networks import BottleneckNet, GapNet
from mnist_lab.recipes import Recipe
from mnist_lab.records import load_published
from mnist_lab.statistics import paired_interval
from mnist_lab.studies import steps
from mnist_lab.studies.steps import NETWORKS, NUM_DIGITS, RECIPES, STEPS, cases, gains, run, table
from mnist_lab.validation import UserError

FILES = {
    "04": "04_building_the_gap_network.ipynb",
    "06": "06_building_the_bottleneck_network.ipynb",
}


class Trained:
    """Stands for `fit`: keeps what a notebook trains, by name of its step, and how."""

    def __init__(self):
        self.networks, self.recipes, self.validation_accuracy = [], [], [0.5]

    def fit(self, network: torch.nn.Module, data: Digits, recipe: Recipe, **options) -> "Trained":
        self.networks.append(network)
        self.recipes.append(recipe)
        return self


@cache
def trained_by(notebook: str) -> tuple[dict, Trained]:
    """The names that a notebook's cells leave behind up to its last training, nothing trained."""
    cells = code_cells(nbformat.read(ROOT / "notebooks" / FILES[notebook], as_version=4))
    last = max(i for i, cell in enumerate(cells) if cell.source.startswith("try_out("))
    kept, namespace = Trained(), {}
    for cell in cells[: last + 1]:
        printed(cell, namespace)
        namespace["fit"] = kept.fit
    return namespace, kept


@pytest.mark.parametrize("notebook", FILES)
def test_the_notebook_builds_and_trains_the_same_networks(notebook):
    namespace, kept = trained_by(notebook)
    assert list(namespace["steps"]) == list(STEPS[notebook])
    images = torch.rand(2, 1, 28, 28)
    for name, theirs in zip(STEPS[notebook], kept.networks, strict=True):
        torch.manual_seed(0)  # as the notebook's seed: both begin with the same weights
        ours = NETWORKS[notebook, name]()
        pairs = list(zip(ours.parameters(), theirs.parameters(), strict=True))
        assert all(torch.equal(*pair) for pair in pairs), name
        for mode in (True, False):
            torch.manual_seed(1)  # of the dropout
            expected = theirs.train(mode)(images)
            torch.manual_seed(1)
            assert torch.equal(ours.train(mode)(images), expected), name


@pytest.mark.parametrize("notebook", FILES)
def test_the_notebook_trains_with_the_recipe_of_the_study(notebook):
    _, kept = trained_by(notebook)
    for recipe in kept.recipes:  # on the small digits, which take more epochs
        expected = RECIPES[notebook]
        assert recipe == type(recipe)(**vars(expected) | {"num_epochs": recipe.num_epochs})


def test_the_last_step_is_the_published_network():
    for notebook, network in (("04", GapNet), ("06", BottleneckNet)):
        assert count_parameters(NETWORKS[notebook, STEPS[notebook][-1]]()) == count_parameters(
            network()
        )


def test_a_run_says_what_it_was():
    result = run("06", "4 second pooling", 3)
    assert result["seed"] == 3 and "seed=3" in result["recipe"] and result["precision"] == "fp32"
    assert result["parameters"] == 14_730 and len(result["validation_accuracy"]) == 2
    assert result["num_digits"] <= NUM_DIGITS
    assert "4 second pooling" in table([result])


def ends(of: dict[str, list[float]]) -> list[dict]:
    """Runs of notebook 04, the last seed first."""
    return [
        {"notebook": "04", "step": step, "seed": seed, "digits": "some"}
        | {"validation_accuracy": [0.1, end]}
        for step, all_ends in of.items()
        for seed, end in reversed(list(enumerate(all_ends)))
    ]


def test_a_gain_is_paired_by_seed_and_corrected_for_all_of_the_notebook():
    some = {step: [0.9 + i / 100, 0.92 + i / 100, 0.91] for i, step in enumerate(STEPS["04"])}
    found = gains(ends(some), "04")
    names = list(STEPS["04"])
    assert list(found) == names[1:]
    assert found[names[2]] == paired_interval(some[names[1]], some[names[2]], cases=4)
    assert "+0.67 [" in table(ends(some))


def test_gains_need_two_seeds_and_the_same_of_every_step():
    with pytest.raises(UserError):
        gains(ends({step: [0.9] for step in STEPS["04"]}), "04")
    uneven = {step: [0.9, 0.8] for step in STEPS["04"]}
    with pytest.raises(UserError, match="same seeds"):
        gains(ends(uneven | {"5 average pooling": [0.9, 0.8, 0.7]}), "04")
    assert "–" in table(ends({"1 plain convolutions": [0.9]}))


def test_every_step_is_published_with_the_same_ten_seeds_or_more():
    runs = load_published("steps")["runs"]
    seeds = {key: set() for key in NETWORKS}
    for one in runs:
        seeds[one["notebook"], one["step"]].add(one["seed"])
        assert one["parameters"] == count_parameters(NETWORKS[one["notebook"], one["step"]]())
        assert one["num_digits"] == NUM_DIGITS
    assert set(map(frozenset, seeds.values())) == {frozenset(range(len(runs) // len(NETWORKS)))}
    assert len(cases()) <= len(runs)


def test_an_option_that_makes_no_sense_is_named():
    with pytest.raises(UserError, match="seeds"):
        steps.cases(0)

"""Ideas: one change at a time of what was chosen, in pairs."""

import json
from dataclasses import replace

import pytest
import torch

from mnist_lab.data import load_data
from mnist_lab.layers import count_parameters
from mnist_lab.pretrained import load_pretrained
from mnist_lab.recipes import NETWORKS
from mnist_lab.statistics import paired_interval
from mnist_lab.studies import ideas
from mnist_lab.studies.ablations import PER_EPOCH
from mnist_lab.studies.candidates import build
from mnist_lab.studies.ideas import AS_CHOSEN, CASES, LINES, Teachers, cases, changed, run, table
from mnist_lab.validation import UserError

SMALL = load_data("digits")
FEW = replace(SMALL, train=SMALL.train.first(600), validation=SMALL.validation.first(50), test=None)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(ideas, "digits", lambda: FEW)


def made(make):
    torch.manual_seed(0)
    return make()


@pytest.mark.parametrize("name", LINES)
def test_a_line_is_the_network_of_the_registry(name):
    """With the same first weights, and the same outputs in both modes."""
    ours, line = made(NETWORKS[name].network), made(lambda: build(LINES[name]))
    images = torch.randn(4, 1, 28, 28)
    for mode in (False, True):
        torch.testing.assert_close(ours.train(mode)(images), line.train(mode)(images))


@pytest.mark.parametrize("name", CASES)
def test_every_case_is_a_network_within_its_budget_or_a_change_of_the_recipe(name):
    chosen = NETWORKS[name].recipe
    limit = {"20k": 20_000, "8k": 8_000, "2k": 2_000, "700": 700}[name]
    assert CASES[name][AS_CHOSEN] == {} and next(iter(CASES[name])) == AS_CHOSEN
    for case, change in CASES[name].items():
        if isinstance(change, str):
            network = build(change)
            assert count_parameters(network) <= limit, case
            assert change != LINES[name]
        elif case != AS_CHOSEN and "teachers" not in change:
            assert changed(chosen, change) != chosen, case


def test_a_change_of_the_rate_is_one_of_the_schedule():
    recipe = changed(NETWORKS["8k"].recipe, {"max_lr": 0.5, "batch_size": 7})
    assert recipe.schedule.max_lr == 0.5 and recipe.batch_size == 7
    assert recipe.schedule.pct_start == NETWORKS["8k"].recipe.schedule.pct_start


def test_a_run_changes_one_thing_and_keeps_its_seed():
    first = run("8k", AS_CHOSEN, seed=3, num_epochs=2)
    assert json.loads(json.dumps(first)) == first
    assert all(len(first[name]) == 2 for name in PER_EPOCH) and "seed=3" in first["recipe"]
    assert run("8k", AS_CHOSEN, seed=3, num_epochs=2)["train_loss"] == first["train_loss"]
    other = run("8k", "no averaging of the weights", seed=3, num_epochs=2)
    assert other["train_loss"] == first["train_loss"], "averaging changes no step"
    assert other["validation_loss"] != first["validation_loss"]
    assert "ema_decay=0.0" in other["recipe"]
    third = run("8k", "ReLU instead of SiLU", seed=3, num_epochs=2)
    assert third["recipe"] == first["recipe"] and third["train_loss"] != first["train_loss"]
    tiny = run("700", "norms with neither", seed=3, num_epochs=2)
    assert tiny["parameters"] == count_parameters(build(CASES["700"]["norms with neither"]))


def test_teachers_say_what_each_says_of_its_own_pixels():
    pixels = torch.rand(6, 1, 28, 28)
    taught = Teachers(("gap", "bottleneck"))((pixels - 0.1307) / 0.3081)
    first = load_pretrained("gap")((pixels - 0.1307) / 0.3081).exp()
    second = load_pretrained("bottleneck")((pixels - 0.1407) / 0.4081).softmax(1)
    torch.testing.assert_close(taught, (first + second) / 2, rtol=1e-3, atol=1e-5)
    assert run("8k", "taught by two larger networks", seed=0, num_epochs=2)["train_loss"]


def test_the_table_compares_in_pairs_and_leaves_out_what_diverged():
    def runs(case, *ends, **more):
        return [
            {"network": "8k", "num_epochs": 2, "case": case, "seed": seed, "diverged": False,
             "validation_accuracy": [0.1, end]} | more
            for seed, end in enumerate(ends)
        ]  # fmt: skip

    text = table(
        runs(AS_CHOSEN, 0.995, 0.996, 0.994)
        + runs("no weight decay", 0.993, 0.995)
        + runs("no augmentation", 0.9, validation_accuracy=[], diverged=True)
    )
    heading, chosen, other = text.splitlines()
    assert heading.startswith("8k, 2 epochs") and chosen.startswith("as chosen ")
    assert "99.500%" in chosen and "99.400%" in other
    found = paired_interval([99.5, 99.6], [99.3, 99.5])
    assert other.endswith(f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]")


def test_the_cases_are_every_change_with_every_seed():
    found = cases(["8k"], seeds=2)
    assert len(found) == 2 * len(CASES["8k"]) and {case["num_epochs"] for case in found} == {19}
    assert cases(["8k"], 1, num_epochs=3)[0] == {
        "network": "8k", "case": AS_CHOSEN, "seed": 0, "num_epochs": 3,
    }  # fmt: skip
    some = cases(["8k", "2k"], 1, only=["ReLU instead of SiLU", "no linear layer"])
    assert [(case["network"], case["case"]) for case in some] == [
        ("8k", AS_CHOSEN),
        ("8k", "ReLU instead of SiLU"),
        ("2k", AS_CHOSEN),
        ("2k", "no linear layer"),
        ("2k", "ReLU instead of SiLU"),
    ]
    with pytest.raises(UserError, match=r"a case must be one of as chosen, .*, not 'tanh'"):
        cases(["8k"], only=["tanh"])
    for options in ({"networks": ["gap"]}, {"seeds": 0}, {"num_epochs": 0}):
        with pytest.raises(UserError, match="must be"):
            cases(**options)

"""The ablations: each case changes what its name says and nothing else, and the table adds up."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from mnist_lab.layers import count_parameters
from mnist_lab.networks import BottleneckNet
from mnist_lab.records import load_published
from mnist_lab.statistics import paired_interval
from mnist_lab.studies import ablations
from mnist_lab.studies.ablations import (
    CASES,
    FEW_DIGITS,
    NUM_DIGITS,
    PER_EPOCH,
    SHORT_RECIPE,
    BottleneckVariant,
    difference,
)
from mnist_lab.validation import UserError


def names(network: nn.Module) -> list[str]:
    return [name for name, _ in network.named_children()]


def built(make, **changes):
    """A network and the random number that follows it, from one seed."""
    torch.manual_seed(3)
    return make(**changes), torch.rand(())


def test_with_nothing_changed_it_is_the_published_network():
    (published, after), (variant, after_too) = built(BottleneckNet), built(BottleneckVariant)
    assert after == after_too, "building it draws as many random numbers"
    states = [network.state_dict() for network in (published, variant)]
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(*pair) for pair in zip(*(state.values() for state in states)))
    assert all(module.training for module in variant.modules())
    images, outputs = torch.randn(8, 1, 28, 28), []
    for network in (published, variant):
        torch.manual_seed(4)  # of the dropout
        outputs.append([network(images), network.eval()(images)])  # the norms learn, then apply
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("without", "parameters", "features"),
    [
        # 28 → 26 → pooled 13 → 11 → 9 → pooled 4 → 4 → 4 → 2
        (["conv1"], 16_426 - 192 - 2_320 + 160, 16 * 2 * 2),
        # … 12 → 10 → pooled 5 → 5 → 5 → 3
        (["conv4"], 16_426 - 4_704 - 8 * (32 - 16) + 40 * (144 - 64), 16 * 3 * 3),
        # conv6 takes 32 channels instead of 8
        (["conv5"], 16_426 - 264 + 16 * (32 - 8) * 9, 16 * 2 * 2),
        # 26 → pooled 13 → 11 → pooled 5 → 5 → 5
        (["conv2", "conv3", "conv7"], 16_426 - 3 * 2_352 + 40 * (400 - 64), 16 * 5 * 5),
        ([f"conv{n}" for n in range(1, 8)], 40 * (49 + 1) + 410, 7 * 7),
    ],
)
def test_a_convolution_goes_with_its_norm_and_relu(without, parameters, features):
    variant = BottleneckVariant(without)
    gone = {kind + name[-1] for name in without for kind in ("conv", "bn", "relu")}
    assert names(variant) == [name for name in names(BottleneckVariant()) if name not in gone]
    assert variant.fc1.in_features == features
    assert count_parameters(variant) == parameters
    assert variant(torch.randn(3, 1, 28, 28)).shape == (3, 10)


def test_without_norm_nothing_is_missing_but_the_norms():
    variant = BottleneckVariant(norm=False)
    norms = {f"bn{n}" for n in range(1, 8)}
    assert names(variant) == [name for name in names(BottleneckVariant()) if name not in norms]
    assert count_parameters(variant) == 16_426 - 2 * (5 * 16 + 32), "all biases are kept"


@pytest.mark.parametrize(
    ("dropout", "behind"),
    [
        ("end", ["relu"]),
        ("none", []),
        ("throughout", [f"relu{n}" for n in (1, 2, 3, 4, 6, 7)] + ["relu"]),
    ],
)
def test_dropout_is_where_it_was_asked_for(dropout, behind):
    layers = list(BottleneckVariant(dropout=dropout).named_children())
    pairs = [(before, layer) for (before, _), (_, layer) in pairwise(layers)]
    dropouts = [(before, layer.p) for before, layer in pairs if isinstance(layer, nn.Dropout)]
    assert dropouts == [(before, 0.1) for before in behind]


@pytest.mark.parametrize("changes", [{"without": ("conv2", "pool1")}, {"dropout": "start"}])
def test_what_cannot_be_built_is_named(changes):
    (name,) = changes
    with pytest.raises(UserError, match=f"^{name} must be .*, not "):
        BottleneckVariant(**changes)


def test_the_cases_are_those_whose_runs_are_published():
    """They say which network, recipe and digits each case had; all but their order is theirs."""
    runs = load_published("ablate")["runs"]
    for run in {(run["study"], run["case"]): run for run in runs}.values():
        network, recipe = CASES[run["study"]][run["case"]]
        expected = repr(replace(SHORT_RECIPE, **recipe, seed=run["seed"]))
        assert expected.replace("ema_decay=0.0, ", "") == run["recipe"]  # the field came later
        assert FEW_DIGITS.get(run["study"], NUM_DIGITS) == run["num_digits"]
        assert count_parameters(BottleneckVariant(**network)) == run["parameters"]
    every = [(study, case) for study, cases in CASES.items() for case in cases]
    assert set(every) == {(run["study"], run["case"]) for run in runs}
    assert [network for network, _ in CASES["dropout"].values()] == [
        {"dropout": "end"}, {"dropout": "none"}, {"dropout": "throughout"}
    ]  # fmt: skip
    for case, (network, _) in (CASES["norm"] | CASES["batch"]).items():
        assert network == {"norm": case.startswith("with norm")}
    for case, (network, _) in CASES["layers"].items():
        assert all(name.removeprefix("conv") in case for name in network.get("without", []))
    assert [(one["study"], one["case"]) for one in ablations.cases(seeds=1)] == every
    firsts = {study: next(iter(cases)) for study, cases in CASES.items()}
    assert list(firsts.values()) == [
        "all seven", "with norm, lr 0.001", "with norm, batches of 64", "end",
        "lr 0.001, gamma 0.1, step 4", "lr 0.0003, gamma 0.1, step 4", "adam",
    ]  # fmt: skip


def test_the_cases_are_those_of_the_chosen_studies_with_every_seed():
    chosen = ablations.cases(["dropout", "norm", "dropout"], 2)
    assert chosen[:3] == [
        {"study": "dropout", "case": "end", "seed": 0},
        {"study": "dropout", "case": "end", "seed": 1},
        {"study": "dropout", "case": "none", "seed": 0},
    ]
    assert len(chosen) == 2 * (3 + 10)


def test_a_run_is_of_its_case_and_decided_by_its_seed(few):
    study, case = "norm", "without norm, lr 0.1"
    result = ablations.run(study, case, 1)
    assert json.loads(json.dumps(result)) == result
    assert all(len(result[name]) == 5 for name in PER_EPOCH) and min(result["train_seconds"]) > 0
    assert all(40 * share == pytest.approx(round(40 * share))
               for share in result["validation_accuracy"])  # fmt: skip
    torch.rand(5)
    again, other = ablations.run(study, case, 1), ablations.run(study, case, 2)
    assert again["train_loss"] == result["train_loss"] != other["train_loss"]
    assert result["recipe"] == repr(replace(SHORT_RECIPE, lr=0.1, seed=1))
    assert (result["study"], result["case"], result["seed"]) == (study, case, 1)
    assert (result["digits"], result["num_digits"]) == ("few digits", 100)
    assert (result["parameters"], result["precision"]) == (16_202, "fp32")
    assert result["diverged"] is False


def test_a_run_that_diverges_says_so_and_takes_only_its_digits(few, monkeypatch):
    monkeypatch.setitem(CASES["norm"], "wild", ({}, {"lr": 1e30, "batch_size": 8}))
    monkeypatch.setitem(FEW_DIGITS, "norm", 50)
    result = ablations.run("norm", "wild", 0)
    assert result["diverged"] is True and result["num_digits"] == 50
    assert result["validation_accuracy"] == result["train_loss"] == result["train_seconds"] == []


# The table


def results(study, case, accuracies, parameters=16_426, seconds=(9.0, 1.0, 2.0)):
    """Runs of one case by seed; None for one that diverged."""
    return [
        {
            "study": study,
            "case": case,
            "seed": seed,
            "digits": "MNIST",
            "parameters": parameters,
            "diverged": accuracy is None,
            "validation_accuracy": [] if accuracy is None else [0.5, 1.0, accuracy],
            "train_seconds": [] if accuracy is None else list(seconds),
        }
        for seed, accuracy in accuracies.items()
    ]


def cells(row: str) -> list[str]:
    """The columns of a row: 34, 28, 27, 10 and 9 characters, and the rest."""
    ends = [0, 34, 62, 89, 99, 108, None]
    return [row[start:end].strip() for start, end in pairwise(ends)]


def test_a_row_has_means_intervals_and_the_paired_difference_worked_out_by_hand():
    runs = (
        results("dropout", "throughout", {2: None, 1: None, 5: None})
        + results("dropout", "none", {1: 0.941, 9: 0.95, 0: 0.96, 2: None}, 9_876, (4.0, 6.0))
        + results("dropout", "end", {0: 0.97, 1: 0.971, 2: 0.972})
    )
    # Student's factors: 12.706 for two values, 4.303 for three.
    # end: 0.971 ± 4.303 × 0.001 / √3; none: mean 0.950333, ± 4.303 × 0.009504 / √3.
    # The difference is of seeds 0 and 1 alone: −1 and −3 points, so −2 ± 12.706 × 1.
    assert [cells(row) for row in ablations.table(runs).splitlines()] == [
        ["dropout (MNIST)", "validation accuracy", "points from the first", "parameters",
         "s/epoch", ""],
        ["end", "97.10% [96.85%, 97.35%]", "–", "16,426", "2.00", ""],
        ["none", "95.03% [92.67%, 97.39%]", "-2.00 [-14.71, +10.71]", "9,876", "5.00",
         "diverged 1 of 4"],
        ["throughout", "–", "–", "16,426", "–", "diverged 3 of 3"],
    ]  # fmt: skip


def test_without_two_seeds_in_common_there_is_no_difference_and_of_one_no_interval():
    runs = results("dropout", "end", {0: None, 4: 0.98765})
    runs += results("dropout", "none", {0: 0.5, 4: 0.5})
    _, end, none, throughout = ablations.table(runs).splitlines()
    assert cells(end)[1] == "98.77%"
    assert cells(none)[1:3] == ["50.00% [50.00%, 50.00%]", "–"]
    assert throughout.split() == ["throughout", "no", "runs"]
    assert ablations.table(runs[2:]).splitlines()[1].split() == ["end", "no", "runs"]


def test_studies_have_blocks_of_their_own_in_the_order_of_the_cases():
    some = {"dropout": "none", "layers": "without conv7"}
    runs = [run for study, case in some.items() for run in results(study, case, {0: 0.9})]
    blocks = [block.splitlines() for block in ablations.table(runs).split("\n\n")]
    assert [
        [cells(row)[0].removesuffix("no runs").strip() for row in block] for block in blocks
    ] == [[f"{study} (MNIST)", *CASES[study]] for study in ("layers", "dropout")]
    assert ablations.table([]) == ""


def test_a_difference_is_paired_by_seed_and_may_be_of_any_column():
    baseline = results("dropout", "end", {0: 0.9, 1: 0.8, 2: None, 3: 0.7})
    runs = results("dropout", "none", {3: 0.8, 1: 0.7, 2: 0.9, 0: 0.9})
    assert difference(baseline, runs) == paired_interval([0.9, 0.8, 0.7], [0.9, 0.7, 0.8])
    for run in baseline + runs:
        run["validation_loss"] = [2.0, 10 * sum(run["validation_accuracy"][2:])]
    wider = paired_interval([9, 8, 7], [9, 7, 8], cases=4)
    found = difference(baseline, runs, "validation_loss", cases=4)
    assert (found.mean, found.low, found.high) == pytest.approx((wider.mean, wider.low, wider.high))
    with pytest.raises(ValueError, match="2 or more"):
        difference(baseline[:1], runs)

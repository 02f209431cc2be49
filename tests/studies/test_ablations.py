"""The ablations: each case changes what its name says and nothing else, and the table adds up."""

import json
from dataclasses import replace
from itertools import pairwise, product

import pytest
import torch
from torch import nn

from mnist_lab.layers import count_parameters
from mnist_lab.networks import BottleneckNet
from mnist_lab.recipes import BOTTLENECK_RECIPE, StepDown
from mnist_lab.records import processor
from mnist_lab.statistics import paired_interval
from mnist_lab.studies import ablations
from mnist_lab.studies.ablations import CASES, PER_EPOCH, BottleneckVariant, Case, difference
from mnist_lab.training import History
from mnist_lab.validation import UserError

SHORT = replace(BOTTLENECK_RECIPE, num_epochs=5, schedule=StepDown(4, 0.1))


def names(network: nn.Module) -> list[str]:
    return [name for name, _ in network.named_children()]


# The network


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
    assert count_parameters(variant) == 16_426


@pytest.mark.parametrize(
    ("without", "parameters", "features"),
    [
        # 28 → 26 → pooled 13 → 11 → 9 → pooled 4 → 4 → 4 → 2
        (("conv1",), 16_426 - 192 - 2_320 + 160, 16 * 2 * 2),
        (("conv2",), 16_426 - 2_352, 16 * 2 * 2),
        # … 12 → 10 → pooled 5 → 5 → 5 → 3
        (("conv3",), 16_426 - 2_352 + 40 * (144 - 64), 16 * 3 * 3),
        (("conv4",), 16_426 - 4_704 - 8 * (32 - 16) + 40 * (144 - 64), 16 * 3 * 3),
        # conv6 takes 32 channels instead of 8
        (("conv5",), 16_426 - 264 + 16 * (32 - 8) * 9, 16 * 2 * 2),
        # conv7 takes 8 channels instead of 16
        (("conv6",), 16_426 - 1_200 - 16 * (16 - 8) * 9, 16 * 2 * 2),
        (("conv7",), 16_426 - 2_352 + 40 * (256 - 64), 16 * 4 * 4),
        (("conv2", "conv6"), 16_426 - 2_352 - 1_200 - 16 * (16 - 8) * 9, 16 * 2 * 2),
        # 26 → pooled 13 → 11 → pooled 5 → 5 → 5
        (("conv2", "conv3", "conv7"), 16_426 - 3 * 2_352 + 40 * (400 - 64), 16 * 5 * 5),
        (tuple(f"conv{n}" for n in range(1, 8)), 40 * (49 + 1) + 410, 7 * 7),
    ],
)
def test_a_convolution_goes_with_its_norm_and_relu(without, parameters, features):
    variant = BottleneckVariant(without)
    gone = {kind + name[-1] for name in without for kind in ("conv", "bn", "relu")}
    assert names(variant) == [name for name in names(BottleneckVariant()) if name not in gone]
    assert variant.fc1.in_features == features
    assert count_parameters(variant) == parameters
    assert variant(torch.randn(3, 1, 28, 28)).shape == (3, 10)


def test_without_conv1_or_without_conv2_is_the_same_network():
    images, outputs = torch.randn(8, 1, 28, 28), []
    for gone in ("conv1", "conv2"):
        variant, _ = built(BottleneckVariant, without=(gone,))
        outputs.append(variant.eval()(images))
    assert torch.equal(*outputs)


def test_without_norm_nothing_is_missing_but_the_norms():
    variant = BottleneckVariant(norm=False)
    norms = {f"bn{n}" for n in range(1, 8)}
    assert names(variant) == [name for name in names(BottleneckVariant()) if name not in norms]
    assert not any(isinstance(module, nn.BatchNorm2d) for module in variant.modules())
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
    variant = BottleneckVariant(dropout=dropout)
    layers = list(variant.named_children())
    pairs = [(before, layer) for (before, _), (_, layer) in pairwise(layers)]
    dropouts = [(before, layer.p) for before, layer in pairs if isinstance(layer, nn.Dropout)]
    assert dropouts == [(before, 0.1) for before in behind]
    assert count_parameters(variant) == 16_426


@pytest.mark.parametrize(
    "changes",
    [{"without": ("conv2", "pool1")}, {"without": "conv2"}, {"dropout": "start"}],
    ids=str,
)
def test_what_cannot_be_built_is_named(changes):
    (name,) = changes
    with pytest.raises(UserError, match=f"^{name} must be .*, not "):
        BottleneckVariant(**changes)


# The cases

NORMS = {"with norm": True, "without norm": False}
EXPECTED = {
    "layers": {
        "all seven": Case(),
        "without conv1 or conv2": Case(without=("conv2",)),
        "without conv3": Case(without=("conv3",)),
        "without conv4": Case(without=("conv4",)),
        "without conv5 (direct 3×3)": Case(without=("conv5",)),
        "without conv6": Case(without=("conv6",)),
        "without conv7": Case(without=("conv7",)),
        "without conv2 and conv6": Case(without=("conv2", "conv6")),
        "without conv2, conv3 and conv7": Case(without=("conv2", "conv3", "conv7")),
    },
    "norm": {
        f"{words}, lr {lr}": Case(norm=norm, recipe=replace(SHORT, lr=float(lr)))
        for words, norm in NORMS.items()
        for lr in ("0.001", "0.003", "0.01", "0.03", "0.1")
    },
    "batch": {
        f"{words}, batches of {size}": Case(
            norm=norm, recipe=replace(SHORT, batch_size=size), num_digits=2_000
        )
        for words, norm in NORMS.items()
        for size in (2, 4, 8, 64)
    },
    "dropout": {
        "end": Case(),
        "none": Case(dropout="none"),
        "throughout": Case(dropout="throughout"),
    },
    **{
        study: {
            f"lr {lr}, gamma {gamma}, step {step}": Case(
                recipe=replace(SHORT, lr=float(lr), schedule=StepDown(step, float(gamma)))
            )
            for lr, gamma, step in product(rates, ("0.03", "0.1", "0.5"), (2, 3, 4))
        }
        for study, rates in (("grid", ["0.001"]), ("grid at other rates", ["0.0003", "0.003"]))
    },
    "optimizer": {
        "adam": Case(),
        "adam, betas 0.8 and 0.9": Case(recipe=replace(SHORT, betas=(0.8, 0.9))),
        "adam, weight decay 0.0001": Case(recipe=replace(SHORT, weight_decay=0.0001)),
        "sgd, momentum 0.9, lr 0.01": Case(
            recipe=replace(SHORT, optimizer="sgd", momentum=0.9, lr=0.01)
        ),
        "sgd, momentum 0.9, lr 0.1": Case(
            recipe=replace(SHORT, optimizer="sgd", momentum=0.9, lr=0.1)
        ),
        "sgd, lr 0.1": Case(recipe=replace(SHORT, optimizer="sgd", lr=0.1)),
    },
}


def test_every_case_is_what_its_name_says():
    assert CASES == EXPECTED
    assert Case() == Case((), True, "end", SHORT, 10_000)


@pytest.mark.parametrize("study", CASES)
def test_a_study_begins_with_what_was_published_and_repeats_nothing(study):
    first, *others = CASES[study].values()
    if study != "grid at other rates":
        assert first == Case(num_digits=first.num_digits)
    assert len({first, *others}) == 1 + len(others)


def test_the_cases_are_those_of_the_chosen_studies_with_every_seed():
    assert ablations.cases(["dropout", "norm", "dropout"], 2)[:3] == [
        {"study": "dropout", "case": "end", "seed": 0},
        {"study": "dropout", "case": "end", "seed": 1},
        {"study": "dropout", "case": "none", "seed": 0},
    ]
    assert len(ablations.cases(["dropout", "norm", "dropout"], 2)) == 2 * (3 + 10)
    every = [(study, case) for study, cases in CASES.items() for case in cases]
    assert [(one["study"], one["case"]) for one in ablations.cases(seeds=1)] == every


# A run


def test_a_run_trains_the_network_and_recipe_of_its_case_on_its_digits(few, monkeypatch):
    """Every case, without the training itself; `few` has too few digits to fill a case."""
    calls, history = [], History("", "", SHORT, "cpu", "fp32", 1, [0.1, 0.2], [0.3, 0.4])

    def fit(network, data, recipe, *, precision, device, progress):
        assert (device, precision, progress) == ("cpu", "fp32", False)
        calls.append((network, data, recipe))
        return history

    monkeypatch.setattr(ablations, "fit", fit)
    monkeypatch.setattr(ablations, "NUM_VALIDATION_DIGITS", 30)
    for study, cases in CASES.items():
        for case, chosen in cases.items():
            monkeypatch.setitem(cases, case, replace(chosen, num_digits=chosen.num_digits // 200))
            result = ablations.run(study, case, 7)
            network, data, recipe = calls.pop()
            torch.manual_seed(7)
            expected = BottleneckVariant(chosen.without, chosen.norm, chosen.dropout)
            assert names(network) == names(expected)
            assert torch.equal(network.fc2.weight, expected.fc2.weight), "the seed decides"
            assert recipe == replace(chosen.recipe, seed=7)
            assert torch.equal(data.train.images, few.train.images[: chosen.num_digits // 200])
            assert torch.equal(data.validation.images, few.validation.images[:30])
            assert result["parameters"] == count_parameters(expected)
            assert result["num_digits"] == chosen.num_digits // 200
            assert (result["train_loss"], result["train_accuracy"]) == ([0.1, 0.2], [0.3, 0.4])


@pytest.mark.parametrize(
    ("study", "case", "parameters"),
    [("dropout", "throughout", 16_426), ("norm", "without norm, lr 0.1", 16_202)],
)
def test_a_result_is_decided_by_its_seed_and_fits_into_json(few, study, case, parameters):
    result = ablations.run(study, case, 1)
    assert json.loads(json.dumps(result)) == result
    seconds, accuracies = result.pop("train_seconds"), result["validation_accuracy"]
    assert len(seconds) == 5 and all(len(result[name]) == 5 for name in PER_EPOCH[:-1])
    assert min(seconds) > 0 and PER_EPOCH[-1] == "train_seconds"
    assert all(40 * share == pytest.approx(round(40 * share)) for share in accuracies)
    torch.rand(5)
    assert ablations.run(study, case, 1).items() >= result.items()
    assert ablations.run(study, case, 2)["train_loss"] != result["train_loss"]
    for name in PER_EPOCH[:-1]:
        del result[name]
    assert result == {
        "study": study,
        "case": case,
        "seed": 1,
        "digits": "few digits",
        "num_digits": 100,
        "parameters": parameters,
        "recipe": repr(replace(CASES[study][case].recipe, seed=1)),
        "precision": "fp32",
        "processor": processor(),
        "torch": torch.__version__,
        "diverged": False,
    }


def test_a_run_that_diverges_says_so_and_raises_nothing(few, monkeypatch):
    wild = Case(recipe=replace(SHORT, lr=1e30, batch_size=8))
    monkeypatch.setitem(CASES["norm"], "wild", wild)
    result = ablations.run("norm", "wild", 0)
    assert result["diverged"] is True
    assert result["validation_accuracy"] == result["train_loss"] == result["train_seconds"] == []
    assert result["parameters"] == 16_426 and json.dumps(result)


# The table


def results(study, case, accuracies, parameters=16_426, seconds=(9.0, 1.0, 2.0), digits="MNIST"):
    """Runs of one case by seed; None for one that diverged."""
    return [
        {
            "study": study,
            "case": case,
            "seed": seed,
            "digits": digits,
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


@pytest.mark.parametrize("baseline", [{}, {4: 0.95}, {0: None, 1: None, 4: 0.9}])
def test_without_two_seeds_in_common_there_is_no_difference(baseline):
    runs = results("dropout", "end", baseline) + results("dropout", "none", {0: 0.5, 4: 0.5})
    _, end, none, throughout = ablations.table(runs).splitlines()
    assert cells(none)[1:3] == ["50.00% [50.00%, 50.00%]", "–"]
    assert throughout.split() == ["throughout", "no", "runs"]
    assert (end.split() == ["end", "no", "runs"]) == (not baseline)


def test_a_single_seed_has_no_interval():
    row = ablations.table(results("dropout", "end", {3: 0.98765})).splitlines()[1]
    assert cells(row)[1] == "98.77%"


def test_studies_and_digits_have_blocks_of_their_own_in_the_order_of_the_cases():
    runs = [
        run
        for study in reversed(CASES)
        for case in reversed(CASES[study])
        for digits in ("small digits", "MNIST")
        for run in results(study, case, {0: 0.9 if digits == "MNIST" else 0.8}, digits=digits)
    ]
    blocks = [block.splitlines() for block in ablations.table(runs).split("\n\n")]
    assert [[cells(row)[0] for row in block] for block in blocks] == [
        [f"{study} ({digits})", *cases]
        for study, cases in CASES.items()
        for digits in ("MNIST", "small digits")
    ]
    shown = [{cells(row)[1] for row in rows} for _, *rows in blocks]
    assert shown == [{"90.00%"}, {"80.00%"}] * len(CASES)


def test_a_difference_is_paired_by_seed_and_may_be_of_any_column():
    baseline = results("dropout", "end", {0: 0.9, 1: 0.8, 2: None, 3: 0.7})
    runs = results("dropout", "none", {3: 0.8, 1: 0.7, 2: 0.9, 0: 0.9})
    expected = paired_interval([0.9, 0.8, 0.7], [0.9, 0.7, 0.8])
    assert difference(baseline, runs) == expected
    for run in baseline + runs:
        run["validation_loss"] = [2.0, 10 * sum(run["validation_accuracy"][2:])]
    wider = paired_interval([9, 8, 7], [9, 7, 8], cases=4)
    found = difference(baseline, runs, "validation_loss", cases=4)
    assert (found.mean, found.low, found.high) == pytest.approx((wider.mean, wider.low, wider.high))
    with pytest.raises(ValueError, match="2 or more"):
        difference(baseline[:1], runs)


def test_nothing_measured_is_an_empty_table():
    assert ablations.table([]) == ""

"""Each case changes what it says, the rest begins alike, and what is published is left out."""

import pytest
import torch
from torch import nn

from mnist_lab.files import write_file
from mnist_lab.layers import count_parameters
from mnist_lab.networks import BottleneckNet, GapNet
from mnist_lab.records import load_published, load_records, select_runs
from mnist_lab.studies import full_ablations
from mnist_lab.studies.ablations import BottleneckVariant
from mnist_lab.studies.full_ablations import CASES, cases, gap_without, run, table
from mnist_lab.validation import UserError


def made(make):
    torch.manual_seed(3)
    return make()


@pytest.mark.parametrize("kind", [nn.Dropout, nn.BatchNorm2d])
def test_gap_without_a_kind_has_none_of_it_and_begins_with_the_same_convolutions(kind):
    whole, less = made(GapNet), made(lambda: gap_without(kind))
    assert any(isinstance(part, kind) for part in whole.modules())
    assert not any(isinstance(part, kind) for part in less.modules())
    filters = [
        [part.weight for part in network.modules() if isinstance(part, nn.Conv2d)]
        for network in (whole, less)
    ]
    assert len(filters[0]) == len(filters[1]) == 8
    assert all(torch.equal(a, b) for a, b in zip(*filters))
    assert less.eval()(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_the_unchanged_variant_is_the_bottleneck_network_of_the_training_records():
    """So its runs are those of the training records, too."""
    images = torch.rand(4, 1, 28, 28)
    for mode in (False, True):
        network, variant = (made(make).train(mode) for make in (BottleneckNet, BottleneckVariant))
        torch.manual_seed(0)
        expected = network(images)
        torch.manual_seed(0)
        assert torch.equal(variant(images), expected)


@pytest.mark.parametrize("network", ["GapNet", "BottleneckNet"])
def test_published_runs_of_an_unchanged_network_are_those_of_the_training_records(network):
    """On the same processor, to the last bit; 08 and 09 say so."""
    records = {run["seed"]: run for run in select_runs(load_records(), network)}
    case = {"GapNet": "gap", "BottleneckNet": "bottleneck"}[network] + " as published"
    runs = [run for run in load_published("full")["runs"] if run["case"] == case]
    same = [run for run in runs if run["processor"] == records[run["seed"]]["processor"]]
    assert len(same) >= 8
    for other in same:
        assert other["validation_accuracy"] == records[other["seed"]]["validation_accuracy"]


def test_cases_without_a_convolution_are_no_larger():
    sizes = {name: count_parameters(case.make()) for name, case in CASES.items()}
    assert sizes["bottleneck without conv4"] == 14_794
    assert sizes["bottleneck without conv6"] == 14_074
    assert sizes["bottleneck with a direct 3×3"] == 19_618
    assert sizes["gap without batch norm"] == 13_808 - 224


def test_what_is_published_is_not_run_again(tmp_path, monkeypatch):
    monkeypatch.setattr(full_ablations, "PUBLISHED", tmp_path)
    everything = cases(2)
    assert len(everything) == 2 * len(CASES) and {case["seed"] for case in everything} == {0, 1}
    whole = {"bottleneck": 20, "gap": 19}
    published = [
        {"case": name, "seed": 0, "num_epochs": whole[case.network]} for name, case in CASES.items()
    ]
    published += [{"case": name, "seed": 1, "num_epochs": 3} for name in CASES]  # not whole
    write_file(tmp_path / "full.json", "{}")
    monkeypatch.setattr(full_ablations, "load_published", lambda name: {"runs": published})
    assert cases(2) == [case for case in everything if case["seed"] == 1]
    with pytest.raises(UserError, match="more seeds"):
        cases(1)
    assert len(cases(1, num_epochs=3)) == len(CASES)
    with pytest.raises(UserError, match="num_epochs"):
        cases(1, num_epochs=0)


def test_a_run_says_what_it_was_and_which_digits_it_misreads():
    result = run("bottleneck without dropout", 1, num_epochs=1)
    assert result["seed"] == 1 and "num_epochs=1" in result["recipe"]
    assert result["precision"] == "fp32" and result["parameters"] == 16_426
    accuracy = 1 - len(result["wrong"]) / result["validation"]
    assert result["validation_accuracy"] == [pytest.approx(accuracy)]
    assert "bottleneck without dropout" in table([result])


def test_a_run_that_diverges_is_a_result(monkeypatch):
    def diverge(*args, **options):
        raise FloatingPointError

    monkeypatch.setattr(full_ablations, "fit", diverge)
    result = run("gap without batch norm", 0, num_epochs=2)
    assert result["diverged"] and result["validation_accuracy"] == result["wrong"] == []
    assert "10.00% [10.00%, 10.00%]" in table([result, result])

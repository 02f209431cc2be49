"""Which digits are held out, what is compared with what, and that a run says what it saw."""

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mnist_lab.data import Digits, Split, load_data, load_writers
from mnist_lab.evaluation import predict
from mnist_lab.statistics import paired_interval, writer_difference
from mnist_lab.studies import unseen_writers
from mnist_lab.studies.unseen_writers import (
    FOLDS,
    KINDS,
    both_ways,
    cases,
    folds,
    held_out,
    run,
    table,
)
from mnist_lab.validation import UserError

WRITERS, SERIES = load_writers(train=True)
ALL = Split(torch.zeros(60_000, 1, 1, 1).byte(), torch.zeros(60_000).long(), WRITERS, SERIES)
HELD_OUT = [held_out(ALL, fold) for fold in range(FOLDS)]


@pytest.fixture(scope="module")
def results():
    """Six made-up runs: ten known digits wrong, and twenty of unseen writers."""
    draws = np.random.default_rng(0)
    made = []
    for fold, masks in enumerate(HELD_OUT):
        parts = {}
        for name, mask, count in zip(KINDS, masks, (10, 20)):
            wrong = draws.choice(mask.nonzero().flatten().numpy(), count, replace=False)
            parts[name] = {"total": int(mask.sum()), "wrong": sorted(wrong.tolist())}
        made.append({"network": "SomeNet", "num_epochs": 5, "fold": fold, **parts})
    return made


def test_every_digit_is_once_of_an_unseen_writer_and_but_for_a_sixth_once_of_a_known():
    twice, once = (torch.stack(masks).sum(0) for masks in zip(*HELD_OUT))
    assert (once == 1).all() and twice.max() == 1
    assert 0.82 < twice.double().mean() < 0.85


@pytest.mark.parametrize("fold", range(FOLDS))
def test_an_unseen_writer_wrote_no_training_digit_and_a_known_one_did(fold):
    known, unseen = HELD_OUT[fold]
    train = set(WRITERS[~(known | unseen)].tolist())
    assert not (known & unseen).any()
    assert not train & set(WRITERS[unseen].tolist())
    assert set(WRITERS[known].tolist()) <= train
    assert len(WRITERS[unseen].unique()) in (89, 90, 91)
    students = (SERIES[unseen] == 4).double().mean()
    assert abs(students - (SERIES == 4).double().mean()) < 0.01


def test_the_folds_are_the_same_for_everybody():
    torch.manual_seed(1)
    np.random.seed(1)
    columns = [part.numpy().astype("<i4").tobytes() for part in folds(WRITERS, SERIES)]
    digest = hashlib.sha256(b"".join(columns)).hexdigest()
    assert digest == "e657d72b62abe7671cf9d1a3c56c6174677c0db9339ce1c3f5e4159eec33e10f"


def test_only_digits_that_were_asked_twice_are_compared(results):
    known, unseen, writers = both_ways(results)
    asked = torch.stack([mask for mask, _ in HELD_OUT]).any(0)
    assert len(known) == len(unseen) == len(writers) == int(asked.sum())
    assert np.array_equal(writers, WRITERS[asked])
    wrong = {index for result in results for index in result["strangers"]["wrong"]}
    assert (~known).sum() == 60
    assert (~unseen).sum() == sum(bool(asked[index]) for index in wrong) < 120
    numbers = asked.nonzero().flatten()
    assert {int(index) for index in numbers[torch.from_numpy(~unseen)]} <= wrong


def test_the_table_shows_both_kinds_and_the_difference_with_its_intervals(results):
    heading, *rows = [row.split() for row in table(results).splitlines()]
    known, unseen = (
        [1 - count / result[name]["total"] for result in results]
        for name, count in (("known", 10), ("strangers", 20))
    )
    assert heading == ["SomeNet,", "5", "epochs"]
    assert rows[0] == ["known", "strangers", "difference"]
    assert rows[3] == ["fold", "2", f"{known[2]:.2%}", f"{unseen[2]:.2%}",
                       f"{100 * (unseen[2] - known[2]):+.2f}"]  # fmt: skip
    both = both_ways(results)
    low, high = writer_difference(*both)
    assert rows[7][3:6] == [f"{both[0].mean():.2%}", f"{both[1].mean():.2%}",
                            f"{100 * (both[1].mean() - both[0].mean()):+.3f}"]  # fmt: skip
    assert rows[7][6:8] == [f"[{100 * low:+.3f},", f"{100 * high:+.3f}]"]
    fold = paired_interval(known, unseen)
    expected = [f"{100 * fold.mean:+.3f}", f"[{100 * fold.low:+.3f},", f"{100 * fold.high:+.3f}]"]
    assert rows[8][2:] == expected


@pytest.mark.parametrize("chosen", [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 4]])
def test_a_fold_that_is_missing_or_twice_there_is_named_in_the_place_of_a_difference(
    results, chosen
):
    runs = [results[fold] for fold in chosen]
    with pytest.raises(UserError, match=r"^runs must be of the folds 0 to 5, .* not \[0, 1, "):
        both_ways(runs)
    *_, last_fold, said = table(runs).splitlines()
    assert last_fold.startswith("fold 4 ")
    assert said.startswith("no comparison: runs must be of the folds 0 to 5")


def test_each_network_and_length_has_its_own_block(results):
    more = [run | changed for changed in ({"network": "B"}, {"num_epochs": 6}) for run in results]
    blocks = table(results + more).split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == [
        "SomeNet, 5 epochs", "B, 5 epochs", "SomeNet, 6 epochs"
    ]  # fmt: skip
    assert len({block.split("\n", 1)[1] for block in blocks}) == 1


def test_the_cases_are_the_folds_of_one_network(monkeypatch):
    monkeypatch.setattr(unseen_writers, "digits", lambda: SimpleNamespace(is_mnist=True))
    assert cases("gap", 7) == [
        {"network": "gap", "fold": fold, "num_epochs": 7} for fold in range(6)
    ]


def test_a_run_names_its_wrong_digits_by_their_number(monkeypatch):
    small = load_data("digits", split="as published")
    ids = torch.arange(len(small.train))
    train = replace(small.train, writers=ids % 60, series=ids % 60 % 2 * 4)
    data = Digits("few digits", train, small.test, small.test, "as published")
    monkeypatch.setattr(unseen_writers, "load_data", lambda source, split: data)
    trained, real = [], unseen_writers.fit

    def fit(network, data, recipe, **options):
        trained.append((network, data, recipe, options["precision"]))
        return real(network, data, recipe, **options)

    monkeypatch.setattr(unseen_writers, "fit", fit)
    result = run("bottleneck", 2, num_epochs=1)
    masks = held_out(train, 2)
    ((network, seen, recipe, precision),) = trained
    assert precision == result["precision"] == "fp32" and recipe.seed == result["fold"] == 2
    assert torch.equal(seen.train.images, train.images[~(masks[0] | masks[1])])
    assert torch.equal(seen.validation.images, train.images[masks[0]])
    assert result["train"] == len(seen.train) and result["network"] == "BottleneckNet"
    right = predict(network, train, recipe).argmax(1) == train.labels
    for name, mask in zip(KINDS, masks):
        wrong = (mask & ~right).nonzero().flatten().tolist()
        assert result[name] == {"total": int(mask.sum()), "wrong": wrong}
        assert 0 < len(wrong) < mask.sum(), "one epoch reads some, and not all"

"""Which digits are held out, what is compared with what, and that a run says what it saw."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from mnist_lab.data import Digits, Split, load_data, load_writers
from mnist_lab.evaluation import predict
from mnist_lab.networks import BottleneckNet
from mnist_lab.recipes import BOTTLENECK_RECIPE, shortened
from mnist_lab.statistics import paired_interval, writer_difference
from mnist_lab.studies import unseen_writers
from mnist_lab.studies.unseen_writers import FOLDS, KINDS, both_ways, folds, held_out, run, table
from mnist_lab.training import fit
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


@pytest.mark.parametrize("fold", [0, FOLDS - 1])
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
def test_a_fold_that_is_missing_or_twice_there_is_named(results, chosen):
    with pytest.raises(UserError, match=r"^runs must be of the folds 0 to 5, .* not \[0, 1, "):
        table([results[fold] for fold in chosen])


def test_a_run_names_its_wrong_digits_by_their_number(monkeypatch):
    small = load_data("digits", split="as published")
    ids = torch.arange(500)
    train = replace(small.train.first(500), writers=ids % 60, series=ids % 60 % 2 * 4)
    data = Digits("few digits", train, small.test, small.test, "as published")
    monkeypatch.setattr(unseen_writers, "load_data", lambda source, split: data)
    result, masks = run("bottleneck", 2, num_epochs=1), held_out(train, 2)
    # What it should have done, once more.
    torch.manual_seed(2)
    network, recipe = BottleneckNet(), replace(shortened(BOTTLENECK_RECIPE, 1), seed=2)
    parts = {"train": train.take(~(masks[0] | masks[1])), "validation": train.take(masks[0])}
    fit(network, replace(data, **parts), recipe, precision="fp32", progress=False)
    right = predict(network, train, recipe).argmax(1) == train.labels
    for name, mask in zip(KINDS, masks):
        wrong = (mask & ~right).nonzero().flatten().tolist()
        assert result[name] == {"total": int(mask.sum()), "wrong": wrong}
        assert 0 < len(wrong) < mask.sum(), "one epoch reads some, and not all"
    assert result["recipe"] == repr(recipe) and result["precision"] == "fp32"
    assert (result["network"], result["fold"], result["num_epochs"]) == ("BottleneckNet", 2, 1)
    assert result["train"] == len(parts["train"]) and result["seconds"] > 0

"""Who counts as a stranger, what is compared with what, and that a run says what it saw."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from mnist_lab.data import Digits, Split, load_data, load_writers
from mnist_lab.statistics import paired_interval, writer_difference
from mnist_lab.studies import unseen_writers as strangers
from mnist_lab.studies.unseen_writers import FOLDS, both_ways, folds, held_out, run, table

WRITERS, SERIES = load_writers(train=True)
ALL = Split(torch.zeros(60_000, 1, 1, 1).byte(), torch.zeros(60_000).long(), WRITERS, SERIES)
HELD_OUT = [held_out(ALL, fold) for fold in range(FOLDS)]


@pytest.fixture(scope="module")
def results():
    """Six made-up runs: known digits wrong by ten, strangers' by twenty."""
    draws = np.random.default_rng(0)
    made = []
    for fold, masks in enumerate(HELD_OUT):
        parts = {}
        for name, mask, count in zip(("strangers", "known"), masks, (20, 10)):
            wrong = draws.choice(mask.nonzero().flatten().numpy(), count, replace=False)
            parts[name] = {"total": int(mask.sum()), "wrong": sorted(wrong.tolist())}
        made.append({"network": "SomeNet", "num_epochs": 5, "fold": fold, **parts})
    return made


def test_every_digit_is_once_a_strangers_and_but_for_a_sixth_once_a_known_hand():
    once, twice = (torch.stack(masks).sum(0) for masks in zip(*HELD_OUT))
    assert (once == 1).all() and twice.max() == 1
    assert 0.82 < twice.double().mean() < 0.85


@pytest.mark.parametrize("fold", range(FOLDS))
def test_a_stranger_wrote_no_training_digit_and_a_known_hand_did(fold):
    stranger, known = HELD_OUT[fold]
    train = set(WRITERS[~(stranger | known)].tolist())
    assert not (stranger & known).any()
    assert not train & set(WRITERS[stranger].tolist())
    assert set(WRITERS[known].tolist()) <= train
    assert len(WRITERS[stranger].unique()) in (89, 90, 91)
    students = (SERIES[stranger] == 4).double().mean()
    assert abs(students - (SERIES == 4).double().mean()) < 0.01


def test_the_folds_are_the_same_for_everybody():
    torch.manual_seed(1)
    np.random.seed(1)
    columns = [part.numpy().astype("<i4").tobytes() for part in folds(WRITERS, SERIES)]
    digest = hashlib.sha256(b"".join(columns)).hexdigest()
    assert digest == "e657d72b62abe7671cf9d1a3c56c6174677c0db9339ce1c3f5e4159eec33e10f"


def test_only_digits_that_were_asked_twice_are_compared(results):
    known, stranger, writers = both_ways(results)
    asked = torch.stack([mask for _, mask in HELD_OUT]).any(0)
    assert len(known) == len(stranger) == len(writers) == int(asked.sum())
    assert np.array_equal(writers, WRITERS[asked])
    wrong = {index for result in results for index in result["strangers"]["wrong"]}
    assert (~known).sum() == 60
    assert (~stranger).sum() == sum(bool(asked[index]) for index in wrong) < 120
    numbers = asked.nonzero().flatten()
    assert {int(index) for index in numbers[torch.from_numpy(~stranger)]} <= wrong


def test_the_table_shows_both_kinds_and_the_difference_with_its_intervals(results):
    rows = [row.split() for row in table(results).splitlines()]
    known, stranger = (
        [1 - count / result[name]["total"] for result in results]
        for name, count in (("known", 10), ("strangers", 20))
    )
    assert rows[0] == ["5", "epochs", "known", "strangers", "difference"]
    assert rows[3] == ["fold", "2", f"{known[2]:.2%}", f"{stranger[2]:.2%}",
                       f"{100 * (stranger[2] - known[2]):+.2f}"]  # fmt: skip
    both = both_ways(results)
    low, high = writer_difference(*both)
    assert rows[7][3:6] == [f"{both[0].mean():.2%}", f"{both[1].mean():.2%}",
                            f"{100 * (both[1].mean() - both[0].mean()):+.3f}"]  # fmt: skip
    assert rows[7][6:8] == [f"[{100 * low:+.3f},", f"{100 * high:+.3f}]"]
    fold = paired_interval(known, stranger)
    expected = [f"{100 * fold.mean:+.3f}", f"[{100 * fold.low:+.3f},", f"{100 * fold.high:+.3f}]"]
    assert rows[8][2:] == expected


@pytest.mark.parametrize("chosen", [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 4]])
def test_a_fold_that_is_missing_or_twice_there_is_refused(results, chosen):
    with pytest.raises(ValueError, match=r"^results must be of the folds 0 to 5, one of each\.$"):
        both_ways([results[fold] for fold in chosen])


def test_a_run_names_its_wrong_digits_by_their_number(monkeypatch):
    small = load_data("digits", split="as published")
    ids = torch.arange(len(small.train))
    train = replace(small.train, writers=ids % 60, series=ids % 60 % 2 * 4)
    data = Digits("few digits", train, small.test, small.test, "as published")
    monkeypatch.setattr(strangers, "load_data", lambda source, split: data)
    trained = []

    def fit(network, data, recipe, **options):
        trained.append((data, recipe, options["precision"]))
        return real(network, data, recipe, **options)

    real = strangers.fit
    monkeypatch.setattr(strangers, "fit", fit)
    result = run("bottleneck", 2, num_epochs=1)
    masks = held_out(train, 2)
    ((seen, recipe, precision),) = trained
    assert precision == "fp32" and recipe.seed == 2 and result["fold"] == 2
    assert torch.equal(seen.train.images, train.images[~(masks[0] | masks[1])])
    assert result["train"] == len(seen.train) and result["network"] == "BottleneckNet"
    for name, mask in zip(("strangers", "known"), masks):
        wrong = result[name]["wrong"]
        assert result[name]["total"] == mask.sum() and mask[wrong].all()
        assert 0 < len(wrong) < mask.sum(), "one epoch reads some, and not all"
    assert run("bottleneck", 2, num_epochs=1) == result | {"seconds": pytest.approx(0, abs=1e6)}

"""Who wrote which digit: QMNIST's word for it, and that it comes with the library."""

import hashlib
import os
import tomllib

import numpy as np
import pytest
import torch

from conftest import ROOT
from mnist_lab import data, writers
from mnist_lab.data import load_writers, validation_writers


def digest(*columns):
    """SHA-256 of the columns side by side, as QMNIST writes them: big-endian, 32 bits."""
    return hashlib.sha256(np.stack(columns, 1).astype(">i4").tobytes()).hexdigest()


@pytest.mark.parametrize(
    ("train", "count", "sha256"),
    [
        (True, 60_000, "648a73b06f7c6da2214b11050689a576592c3b4df1a1621482fa4f51935294ff"),
        (False, 10_000, "66adbc1072904dbb33d499c93cf101eb49b60aa066b5e119026d9a675ba19e95"),
    ],
    ids=["60,000", "10,000"],
)
def test_writers_and_series_are_those_of_qmnists_files(train, count, sha256):
    who, series = load_writers(train)
    assert who.shape == series.shape == (count,)
    assert who.dtype == series.dtype == torch.int64
    assert digest(series, who) == sha256


@pytest.mark.parametrize(
    ("train", "people", "fewest", "most", "median", "in_series"),
    [(True, 539, 19, 131, 116, [30_950, 29_050]), (False, 297, 8, 130, 21, [4_999, 5_001])],
    ids=["60,000", "10,000"],
)
def test_how_many_wrote_how_much(train, people, fewest, most, median, in_series):
    who, series = load_writers(train)
    _, counts = who.unique(return_counts=True)
    assert len(counts) == people
    assert (counts.min(), counts.max(), counts.median()) == (fewest, most, median)
    assert [(series == number).sum() for number in (0, 4)] == in_series


def test_nobody_wrote_in_both_parts_or_in_both_series():
    train, test = load_writers(True), load_writers(False)
    assert not set(train[0].tolist()) & set(test[0].tolist())
    who, series = (torch.cat(columns) for columns in zip(train, test))
    assert not set(who[series == 0].tolist()) & set(who[series == 4].tolist())


def test_whoever_is_held_out_wrote_digits_of_the_60_000():
    held_out = validation_writers()
    assert held_out.shape == held_out.unique().shape == (90,) and held_out.dtype == torch.int64
    assert torch.isin(held_out, load_writers(True)[0]).all()


def test_who_changes_the_tensors_changes_their_own():
    for give in (lambda: load_writers(True)[0], lambda: load_writers(False)[1], validation_writers):
        give().fill_(-1)
        assert give().min() >= 0


def test_the_file_is_small_is_installed_and_brings_its_licence():
    assert writers.FILE.stat().st_size < 65_000
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["mnist_lab"]
    assert writers.FILE.parent == ROOT / "mnist_lab"
    assert any(writers.FILE.match(pattern) for pattern in patterns)
    with np.load(writers.FILE) as file:
        licence = str(file["licence"])
    assert licence.startswith("BSD License") and "Copyright (c) Facebook, Inc." in licence
    assert "list of conditions and the following disclaimer" in licence
    assert "EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE" in licence


# On MNIST itself


@pytest.fixture
def folder():
    """The folder that holds MNIST."""
    if not os.environ.get("MNIST_LAB_DATA"):
        pytest.skip("MNIST_LAB_DATA does not say where MNIST is")
    return data._root(None)


def test_the_classes_in_qmnists_files_are_mnists_labels(folder):
    files = data._files(folder)
    for pair, train, sha256 in (
        (files[:2], True, "c0566fe58e641e47ecdc6c08b946b77d94b9125a826be8c5cd72c817443711e8"),
        (files[2:], False, "1128302eb4aea1b71e98213a30d31ec8798361c3d42f2a74d5d87c1aaf5035dc"),
    ):
        split = data._mnist_part(*pair, train=train)
        assert digest(split.labels, split.series, split.writers) == sha256


def test_the_random_split_is_the_published_one(folder):
    digits = data.load_data("mnist", folder)
    labels = torch.cat([digits.train.labels, digits.validation.labels]).to(torch.uint8)
    assert hashlib.sha256(labels.numpy().tobytes()).hexdigest() == (
        "cf382e4a11c85b022caf77432e94742e4e054e4fe43e553128a78a600f0ae132"
    )


def test_the_split_by_writer_keeps_the_shares_of_the_ten_digits(folder):
    digits = data.load_data("mnist", folder, split="by writer")
    train, validation = (
        torch.bincount(split.labels) / len(split) for split in (digits.train, digits.validation)
    )
    assert (train - validation).abs().max() < 0.002

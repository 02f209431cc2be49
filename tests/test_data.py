"""Which digits there are, how they are split, who wrote them, and what is refused."""

import gzip
import hashlib
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from stand_ins import idx
from torchvision.datasets import MNIST

from conftest import ROOT
from mnist_lab import data, mnist_files
from mnist_lab.data import (
    DataError,
    DataUnavailable,
    Digits,
    Split,
    check_digits,
    check_images,
    check_split,
    load_data,
    load_writers,
    validation_writers,
)
from mnist_lab.validation import UserError

PARTS = ("train", "validation", "test")
NAMES = [name for name, _ in MNIST.resources]


def index_of(split):
    """Which of the originals each digit is; its picture says so."""
    high, low = split.images[:, 0, 0, 1:3].long().unbind(1)
    return high * 256 + low


def sha256(values, dtype):
    return hashlib.sha256(values.numpy().astype(dtype).tobytes()).hexdigest()


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """A folder of black pictures in MNIST's numbers; their first pixels hold the label and the
    index. They pass for MNIST's originals, and for Fashion-MNIST's; nobody is at the mirrors."""
    root = tmp_path_factory.mktemp("originals")
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    (root / "FashionMNIST").symlink_to(root / "MNIST")
    draw = np.random.default_rng(0)
    shares = np.arange(1, 11) / 55  # unequal, so that stratification shows
    pins = []
    for names, count in ((NAMES[:2], 60_000), (NAMES[2:], 10_000)):
        labels, index = draw.choice(10, count, p=shares), np.arange(count)
        images = np.zeros((count, 28, 28), np.uint8)
        images[:, 0, :3] = np.stack([labels, index // 256, index % 256], 1)
        for name, array in zip(names, (images, labels)):
            (folder / name).write_bytes(gzip.compress(idx(array), 1))
            pins.append((name, hashlib.md5((folder / name).read_bytes()).hexdigest()))
    theirs = {"resources": pins, "mirrors": ["http://127.0.0.1:9/"]}
    with pytest.MonkeyPatch.context() as patch:
        for source, kind in data.COLLECTIONS.items():
            patch.setitem(data.COLLECTIONS, source, type(kind.__name__, (kind,), theirs))
        yield root


@pytest.fixture(scope="module")
def mnist(originals):
    """Those digits, split in each of the ways."""
    return {split: load_data("mnist", originals, split) for split in data.SPLITS}


@pytest.fixture(scope="module")
def small():
    return load_data("digits")


@pytest.fixture
def settings(originals, tmp_path, monkeypatch):
    """A repository, its notebooks as the current folder, and a function that sets the variables."""
    for folder in ("repo/notebooks", "repo/mnist_lab"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "repo/mnist_lab/data.py").touch()
    monkeypatch.chdir(tmp_path / "repo/notebooks")

    def settings(root="", source=""):
        monkeypatch.setenv("MNIST_LAB_DATA", str(root))
        monkeypatch.setenv("MNIST_LAB_SOURCE", source)

    settings()
    return settings


# The splits


@pytest.mark.parametrize("split", data.SPLITS)
def test_every_digit_of_mnist_keeps_its_label_writer_and_series(mnist, split):
    digits = mnist[split]
    assert digits.is_mnist and (digits.split, digits.source) == (split, "mnist")
    assert torch.equal(index_of(digits.test), torch.arange(10_000))
    for part in (digits.train, digits.validation, digits.test):
        index = index_of(part)
        writers, series = load_writers(train=part is not digits.test)
        assert torch.equal(part.images[:, 0, 0, 0].long(), part.labels)
        assert torch.equal(part.writers, writers[index])
        assert torch.equal(part.series, series[index])


def test_mnist_is_cut_into_50_000_10_000_and_10_000_digits(mnist):
    digits = mnist["random"]
    assert str(digits) == "MNIST: 50,000 train, 10,000 validation, 10,000 test"
    both = torch.cat([index_of(digits.train), index_of(digits.validation)])
    labels = both.new_empty(60_000)
    labels[both] = torch.cat([digits.train.labels, digits.validation.labels])
    published = train_test_split(
        np.arange(60_000), test_size=10_000, stratify=labels, random_state=0
    )
    assert torch.equal(both, torch.from_numpy(np.concatenate(published)))


def test_by_writer_nobody_wrote_digits_of_two_parts(mnist):
    digits = mnist["by writer"]
    sizes = "49,986 train, 10,014 validation, 10,000 test"
    assert str(digits) == f"MNIST, split by writer: {sizes}"
    parts = [getattr(digits, part) for part in PARTS]
    assert [len(split.writers.unique()) for split in parts] == [449, 90, 297]
    assert len(torch.cat([split.writers for split in parts]).unique()) == 449 + 90 + 297
    students = [(split.series == 4).double().mean() for split in parts[:2]]
    assert abs(students[1] - students[0]) < 0.002
    both = torch.cat([index_of(digits.train), index_of(digits.validation)])
    assert sha256(both, "<i4") == "f12acaf43d6eacea920b9355c1ae7a345c5012006e52cbb0c1548e45aea057ed"


def test_as_published_all_60_000_train_and_the_test_digits_are_looked_at(mnist):
    digits = mnist["as published"]
    sizes = "60,000 train, 10,000 validation, 10,000 test"
    assert str(digits) == f"MNIST, split as published: {sizes}"
    assert digits.validation is digits.test
    assert torch.equal(index_of(digits.train), torch.arange(60_000))


def test_all_60_000_train_and_the_random_part_of_them_validates(mnist):
    digits = mnist["all"]
    sizes = "60,000 train, 10,000 validation, 10,000 test"
    assert str(digits) == f"MNIST, split all: {sizes}"
    assert torch.equal(index_of(digits.train), torch.arange(60_000))
    assert torch.equal(index_of(digits.validation), index_of(mnist["random"].validation))


def test_the_small_digits_look_like_mnist(small):
    assert str(small) == "small digits: 1,197 train, 300 validation, 300 test"
    assert not small.is_mnist
    for part in (small.train, small.validation, small.test):
        assert part.images.shape == (len(part), 1, 28, 28) and part.images.dtype == torch.uint8
        assert part.labels.shape == (len(part),) and part.labels.dtype == torch.int64
        assert part.writers is part.series is part.first(2).writers is None
    ink = (small.train.images > 0).any(0).squeeze().nonzero()
    assert (ink.min(), ink.max(), small.train.images.max()) == (4, 23, 255)


def test_the_small_digits_are_scikit_learns_in_disjoint_parts(small):
    images, labels = (
        torch.cat([getattr(getattr(small, part), column) for part in PARTS])
        for column in ("images", "labels")
    )
    theirs = load_digits()
    enlarged = torch.from_numpy(theirs.images).float()[:, None] * 255 / 16
    enlarged = F.interpolate(enlarged, (20, 20), mode="bilinear").flatten(1)
    inner = images[..., 4:24, 4:24].float().flatten(1)
    nearest = torch.cdist(inner, enlarged).argmin(1)
    assert len(nearest.unique()) == 1_797
    assert (inner - enlarged[nearest]).abs().max() < 0.51, "not rounded"
    assert torch.equal(torch.from_numpy(theirs.target)[nearest], labels)
    assert sha256(labels, np.uint8) == (  # stratified, and the same for everybody
        "7d286b8b747725a1004b874fcc34fcd3b70fca82adfbbf98aa78d85479463d4a"
    )


def test_as_published_the_small_test_digits_stay_the_same(small):
    digits = load_data("digits", split="as published")
    assert str(digits) == "small digits, split as published: 1,497 train, 300 validation, 300 test"
    assert digits.validation is digits.test
    assert torch.equal(digits.test.images, small.test.images)
    both = torch.cat([small.train.images, small.validation.images])
    assert torch.equal(*(x.flatten(1).unique(dim=0) for x in (digits.train.images, both)))


COLUMNS = [torch.arange(3 * 784).view(3, 1, 28, 28).byte(), *torch.arange(9).view(3, 3)]


@pytest.mark.parametrize(
    "indices", [torch.tensor([2, 0]), np.array([2, 0]), slice(1, 3), np.array([True, False, True])]
)
def test_taken_digits_keep_all_that_is_known_of_them(indices):
    taken = Split(*COLUMNS).take(indices)
    for name, column in zip(("images", "labels", "writers", "series"), COLUMNS):
        assert torch.equal(getattr(taken, name), column[indices])


def test_a_split_gives_its_first_digits_and_its_digits_one_by_one():
    split = Split(*COLUMNS)
    assert torch.equal(split.first(np.int64(2)).images, split.images[:2])
    assert len(split.first(3)) == len(split.first(10_000)) == 3
    for count in (0, 1.5, True):
        with pytest.raises(UserError, match="number of digits must be a whole number from 1 on"):
            split.first(count)
    dataset = split.dataset(np.array)
    image, label = dataset[2]
    assert len(dataset) == 3 and label == split.labels[2] and type(label) is int
    assert np.array_equal(image, split.images[2, 0].numpy())


def test_no_random_state_is_changed(originals):
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    load_data("digits")
    load_data("mnist", originals, "by writer")
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])


# Which collection


def test_fashion_mnist_comes_as_mnist_does_without_writers(originals):
    found = load_data("fashion", originals)
    assert str(found) == "Fashion-MNIST: 50,000 train, 10,000 validation, 10,000 test"
    assert not found.is_mnist and found.train.writers is None and found.test.series is None
    assert torch.equal(found.train.images[:, 0, 0, 0].long(), found.train.labels)


def test_a_collection_knows_its_source_by_whatever_name(small):
    assert replace(small, name="a few of them").source == "digits"
    assert Digits("my own", small.train, small.validation, small.test).source is None


@pytest.mark.parametrize("word", ["MNIST", "", None])
def test_an_unknown_source_or_split_is_refused_with_those_there_are(word):
    with pytest.raises(UserError, match="source must be one of auto, mnist, digits"):
        load_data(word)
    with pytest.raises(UserError, match="split must be one of random, by writer, as published"):
        load_data("digits", split=word)


def test_the_source_variable_decides_for_auto_alone(settings, tmp_path, capsys):
    settings(source="digits")
    assert load_data("auto", tmp_path).name == "small digits"
    with pytest.raises(DataUnavailable):
        load_data("mnist", tmp_path)
    for source in ("digits", "auto", "fashion"):
        with pytest.raises(DataError, match="split='random' or source='mnist'"):
            load_data(source, split="by writer")
    assert capsys.readouterr().out == "", "the small digits were asked for"
    settings(source="cifar")
    with pytest.raises(UserError, match=r"MNIST_LAB_SOURCE must be one of .*'cifar'"):
        load_data("auto", tmp_path)


# Where to look


def test_an_argument_outranks_the_variable_which_outranks_the_repository(
    settings, originals, tmp_path
):
    (tmp_path / "digits").symlink_to(originals)
    for root in (originals, "../digits"):  # from the repository, though this is notebooks/
        settings(root)
        assert load_data().is_mnist
    before = set(tmp_path.rglob("*"))
    with pytest.raises(DataUnavailable, match=f"not in {tmp_path / 'elsewhere'},"):
        load_data("mnist", tmp_path / "elsewhere")
    settings()
    with pytest.raises(DataUnavailable, match=f"not in {tmp_path / 'repo/data'},"):
        load_data("mnist")
    (tmp_path / "repo/mnist_lab/data.py").unlink()  # no repository any more
    with pytest.raises(DataUnavailable, match=f"not in {tmp_path / 'repo/notebooks/data'},"):
        load_data("mnist")
    assert set(tmp_path.rglob("*")) < before, "something was left behind"


@pytest.mark.parametrize("folder", ["nowhere", "~nobody-is-called-this/nowhere"])
def test_a_variable_that_names_no_folder_is_an_error(settings, folder):
    settings(folder)
    for source in ("mnist", "auto"):
        with pytest.raises(DataError, match=r"MNIST_LAB_DATA is '.*nowhere', which is not a fold"):
            load_data(source)


@pytest.mark.parametrize("root", ["new", "file/below"])
def test_only_auto_takes_the_small_digits_instead_and_says_so(settings, tmp_path, capsys, root):
    (tmp_path / "file").touch()
    assert load_data("auto", tmp_path / root).name == "small digits"
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1 and printed.endswith(".\n")
    assert str(tmp_path / root) in printed and "1,797 small digits" in printed
    for insists in ({"source": "mnist"}, {"source": "fashion"}, {"split": "by writer"}):
        with pytest.raises(DataUnavailable, match=f"MNIST is not in {tmp_path / root}, and"):
            load_data(root=tmp_path / root, **insists)
    assert capsys.readouterr().out == ""


def test_no_small_digits_stand_in_for_spoilt_files(settings, originals, tmp_path, capsys):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name in NAMES[1:]:
        (folder / name).symlink_to(originals / "MNIST" / "raw" / name)
    (folder / NAMES[0]).write_bytes(b"<html>moved</html>")
    settings(tmp_path)
    for message in (f"{NAMES[0]} has the wrong MD5", f"{NAMES[0]} is missing"):
        with pytest.raises(DataError, match=message):
            load_data("auto")
        (folder / NAMES[0]).unlink(missing_ok=True)
    assert capsys.readouterr().out == ""


# What is computed with


def test_digits_that_can_be_used_are_let_through(small):
    check_split("data.train", small.train)
    check_digits("a batch", small.test.images.float(), small.test.labels, "float32")
    check_images("images", small.test.images[:0], "uint8")


IMAGES, LABELS = torch.zeros(12, 1, 28, 28).byte(), torch.arange(12) % 10


@pytest.mark.parametrize(
    ("images", "labels", "named"),
    [
        (IMAGES.float(), LABELS, r"images of it .* uint8 \[12, 1, 28, 28\], not float32 \[12, 1"),
        (IMAGES[:, 0], LABELS, r"images of it .* not uint8 \[12, 28, 28\]"),
        (IMAGES[0, 0, 0, 0], LABELS, r"images of it .* \[N, 1, 28, 28\], not uint8 \[\]"),
        (IMAGES.numpy(), LABELS, "images of it .* not array"),
        (IMAGES, LABELS[:11], r"labels of it.* int64 \[12\], not int64 \[11\]"),
        (IMAGES, LABELS.float(), "labels of it.* not float32"),
        (IMAGES, [0] * 12, "labels of it"),
        (IMAGES, LABELS - 1, "labels of it .*0 to 9, not -1"),
        (IMAGES, LABELS + 1, "labels of it .*0 to 9, not 10"),
        (IMAGES[:0], LABELS[:0], "it holds no digits"),
    ],
)
def test_digits_that_cannot_be_used_are_named(images, labels, named):
    check_split("it", Split(IMAGES, LABELS))
    with pytest.raises(UserError, match=named):
        check_split("it", Split(images, labels))
    with pytest.raises(UserError, match="it must be a Split such as"):
        check_split("it", images)


# Who wrote them


def test_writers_and_series_are_those_of_qmnists_files():
    """SHA-256 of the columns side by side, as QMNIST writes them: big-endian, 32 bits."""
    digests = (
        "648a73b06f7c6da2214b11050689a576592c3b4df1a1621482fa4f51935294ff",
        "66adbc1072904dbb33d499c93cf101eb49b60aa066b5e119026d9a675ba19e95",
    )
    for train, digest in zip((True, False), digests):
        who, series = load_writers(train)
        assert who.dtype == series.dtype == torch.int64
        assert sha256(torch.stack([series, who], 1), ">i4") == digest


def test_who_changes_the_tensors_changes_their_own():
    validation_writers().fill_(-1)
    assert validation_writers().min() >= 0


def test_the_file_of_writers_is_small_and_brings_its_licence():
    assert data.WRITERS.stat().st_size < 65_000
    with np.load(data.WRITERS) as file:
        licence = str(file["licence"])
    assert licence.startswith("BSD License") and "Copyright (c) Facebook, Inc." in licence


# On MNIST itself


@pytest.fixture(scope="module")
def real_folder():
    if not os.environ.get("MNIST_LAB_DATA"):
        pytest.skip("MNIST_LAB_DATA does not say where MNIST is")
    return ROOT / os.environ["MNIST_LAB_DATA"]


@pytest.fixture(scope="module")
def real(real_folder):
    """MNIST, split in each of the ways."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(data.COLLECTIONS, "mnist", MNIST)  # not that of the tests above
        return {split: load_data("mnist", real_folder, split) for split in data.SPLITS}


def test_the_classes_in_qmnists_files_are_mnists_labels(real):
    digits = real["as published"]  # in MNIST's order
    digests = (
        "c0566fe58e641e47ecdc6c08b946b77d94b9125a826be8c5cd72c817443711e8",
        "1128302eb4aea1b71e98213a30d31ec8798361c3d42f2a74d5d87c1aaf5035dc",
    )
    for part, digest in zip((digits.train, digits.test), digests):
        columns = torch.stack([part.labels, part.series, part.writers], 1)
        assert sha256(columns, ">i4") == digest


def test_what_the_real_files_hold_is_known_unpacked(real_folder):
    for name, md5 in mnist_files.UNPACKED.items():
        packed = next(real_folder.rglob(f"{name}.gz")).read_bytes()
        assert hashlib.md5(gzip.decompress(packed)).hexdigest() == md5


def test_the_random_split_is_the_published_one(real):
    labels = torch.cat([real["random"].train.labels, real["random"].validation.labels])
    assert sha256(labels, np.uint8) == (
        "cf382e4a11c85b022caf77432e94742e4e054e4fe43e553128a78a600f0ae132"
    )


def test_the_split_by_writer_keeps_the_shares_of_the_ten_digits(real):
    parts = (real["by writer"].train, real["by writer"].validation)
    train, validation = (torch.bincount(part.labels) / len(part) for part in parts)
    assert (train - validation).abs().max() < 0.002


def test_drawings_of_ones_own_are_test_digits(tmp_path):
    images = np.arange(3 * 784).astype(np.uint8).reshape(3, 28, 28)
    np.savez(tmp_path / "mine.npz", images=images, labels=np.array([3, 0, 9]))
    mine = load_data(str(tmp_path / "mine.npz"))
    assert torch.equal(mine.test.images, torch.from_numpy(images)[:, None])
    assert mine.test.labels.tolist() == [3, 0, 9]
    assert str(mine) == "mine.npz: 0 train, 0 validation, 3 test" and not mine.is_mnist


@pytest.mark.parametrize(
    "content",
    [
        b"", b"abc", None, {"images": np.zeros((2, 28, 28))},
        {"images": np.zeros((2, 9, 9), np.uint8), "labels": np.zeros(2)},
        {"images": np.zeros((2, 28, 28), np.uint8), "labels": np.array([3, 10])},
    ],
    ids=range(6),
)  # fmt: skip
def test_what_holds_no_drawings_is_refused(content, tmp_path):
    path = tmp_path / "mine.npz"
    if isinstance(content, dict):
        np.savez(path, **content)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match="holds no drawings that can be read: images"):
        load_data(str(path))

"""Which digits there are, how they are split, who wrote them, and what is refused."""

import gzip
import hashlib
import os
import tomllib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.model_selection import train_test_split
from torchvision.datasets import MNIST, FashionMNIST

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

NAMES = [name for name, _ in MNIST.resources]
PARTS = ("train", "validation", "test")
RESOURCES = list(MNIST.resources)  # as they are: the tests' own take their place


def idx(array):
    """An array of bytes in MNIST's file format."""
    sizes = b"".join(side.to_bytes(4, "big") for side in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def index_of(split):
    """Which of the originals each digit is; its picture says so."""
    high, low = split.images[:, 0, 0, 1:3].long().unbind(1)
    return high * 256 + low


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """A folder of black pictures in MNIST's numbers; their first pixels hold the label and the
    index. They pass for MNIST's originals, and for Fashion-MNIST's."""
    folder = tmp_path_factory.mktemp("originals")
    draw = np.random.default_rng(0)
    shares = np.arange(1, 11) / 55  # unequal, so that stratification shows
    pins = {}
    for names, count in ((NAMES[:2], 60_000), (NAMES[2:], 10_000)):
        labels, index = draw.choice(10, count, p=shares), np.arange(count)
        images = np.zeros((count, 28, 28), np.uint8)
        images[:, 0, :3] = np.stack([labels, index // 256, index % 256], 1)
        for name, array in zip(names, (images, labels)):
            packed = gzip.compress(idx(array), 1)
            pins[name] = hashlib.md5(packed).hexdigest()
            for place in (folder / name, folder / "FashionMNIST" / "raw" / name):
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(packed)
    with pytest.MonkeyPatch.context() as patch:
        for kind in (MNIST, FashionMNIST):
            patch.setattr(kind, "resources", list(pins.items()))
        yield folder


@pytest.fixture(scope="module")
def mnist(originals):
    """Those digits, split in each of the ways."""
    return {split: load_data("mnist", originals, split) for split in data.SPLITS}


@pytest.fixture(scope="module")
def small():
    return load_data("digits")


@pytest.fixture(autouse=True)
def no_settings_and_no_network(monkeypatch):
    monkeypatch.delenv("MNIST_LAB_DATA", raising=False)
    monkeypatch.delenv("MNIST_LAB_SOURCE", raising=False)
    for kind in data.COLLECTIONS.values():
        monkeypatch.setattr(kind, "mirrors", ["http://127.0.0.1:9/"])  # nobody is there


# The splits


def test_mnist_is_cut_into_50_000_10_000_and_10_000_digits(mnist):
    digits = mnist["random"]
    assert str(digits) == "MNIST: 50,000 train, 10,000 validation, 10,000 test"
    assert digits.is_mnist and digits.split == "random"
    for part in PARTS:  # every picture kept its own label
        split = getattr(digits, part)
        assert torch.equal(split.images[:, 0, 0, 0].long(), split.labels)
    index = {part: index_of(getattr(digits, part)) for part in PARTS}
    assert torch.equal(index["test"], torch.arange(10_000))
    both = torch.cat([index["train"], index["validation"]])
    assert torch.equal(both.sort().values, torch.arange(60_000))
    labels = both.new_empty(60_000)
    labels[both] = torch.cat([digits.train.labels, digits.validation.labels])
    published = train_test_split(
        np.arange(60_000), test_size=10_000, stratify=labels, random_state=0
    )
    assert torch.equal(both, torch.from_numpy(np.concatenate(published)))


def test_by_writer_nobody_wrote_digits_of_two_parts(mnist):
    digits = mnist["by writer"]
    expected = "MNIST, split by writer: 49,986 train, 10,014 validation, 10,000 test"
    assert str(digits) == expected and digits.split == "by writer"
    parts = [getattr(digits, part) for part in PARTS]
    assert [len(split.writers.unique()) for split in parts] == [449, 90, 297]
    assert len(torch.cat([split.writers for split in parts]).unique()) == 449 + 90 + 297
    train, validation, test = map(index_of, parts)
    assert torch.equal(test, torch.arange(10_000))
    students = [(split.series == 4).double().mean() for split in parts[:2]]
    assert abs(students[1] - students[0]) < 0.002
    first = parts[0].first(5_000)  # a random sample, as it says
    assert len(first.writers.unique()) == 449 and first.writers[:100].unique().numel() > 50
    both = torch.cat([train, validation])
    assert torch.equal(both.sort().values, torch.arange(60_000))
    digest = hashlib.sha256(both.numpy().astype("<i4").tobytes()).hexdigest()
    assert digest == "f12acaf43d6eacea920b9355c1ae7a345c5012006e52cbb0c1548e45aea057ed"


def test_as_published_all_60_000_train_and_the_test_digits_are_looked_at(mnist):
    digits = mnist["as published"]
    expected = "MNIST, split as published: 60,000 train, 10,000 validation, 10,000 test"
    assert str(digits) == expected
    assert torch.equal(index_of(digits.train).sort().values, torch.arange(60_000))
    assert digits.validation is digits.test


@pytest.mark.parametrize("split", data.SPLITS)
def test_every_digit_of_mnist_keeps_its_writer_and_series(mnist, split):
    digits = mnist[split]
    for part in PARTS:
        found = getattr(digits, part)
        writers, series = load_writers(train=found is not digits.test)
        for some in (found, found.first(100)):
            assert torch.equal(some.writers, writers[index_of(some)])
            assert torch.equal(some.series, series[index_of(some)])


def test_the_small_digits_have_the_shapes_and_types_of_mnist(small):
    assert str(small) == "small digits: 1,197 train, 300 validation, 300 test"
    assert not small.is_mnist
    for part in (small.train, small.validation, small.test):
        assert part.images.shape == (len(part), 1, 28, 28) and part.images.dtype == torch.uint8
        assert part.labels.shape == (len(part),) and part.labels.dtype == torch.int64
        assert part.writers is part.series is part.first(2).writers is None


def test_the_small_digits_lie_in_a_box_of_20_by_20(small):
    images = small.train.images
    assert images[..., 4:24, 4:24].max() == 255
    ink = (images > 0).any(0).squeeze()
    assert ink.nonzero().min() == 4 and ink.nonzero().max() == 23


def test_the_small_splits_are_disjoint_and_stratified(small):
    images = torch.cat([getattr(small, part).images for part in PARTS])
    assert len(images.flatten(1).unique(dim=0)) == 1_797
    counts = [torch.bincount(getattr(small, part).labels) for part in PARTS]
    for held_out in counts[1:]:
        assert (sum(counts) * 300 / 1_797 - held_out).abs().max() < 1.01


def test_as_published_the_small_test_digits_stay_the_same(small):
    digits = load_data("digits", split="as published")
    assert str(digits) == (
        "small digits, split as published: 1,497 train, 300 validation, 300 test"
    )
    assert digits.validation is digits.test
    assert torch.equal(digits.test.images, small.test.images)
    both = torch.cat([small.train.images, small.validation.images])
    assert torch.equal(*(x.flatten(1).unique(dim=0) for x in (digits.train.images, both)))


def test_the_small_split_is_the_same_for_everybody(small):
    labels = torch.cat([getattr(small, part).labels for part in PARTS]).to(torch.uint8)
    digest = hashlib.sha256(labels.numpy().tobytes()).hexdigest()
    assert digest == "7d286b8b747725a1004b874fcc34fcd3b70fca82adfbbf98aa78d85479463d4a"


def test_the_small_digits_keep_their_labels(monkeypatch):
    labels = np.arange(1_797) % 10
    images = labels[:, None, None] * np.full((8, 8), 1.6)
    monkeypatch.setattr(data, "load_digits", lambda: SimpleNamespace(images=images, target=labels))
    for part in PARTS:
        split = getattr(load_data("digits"), part)
        grey = (split.labels * 25.5).round()
        assert (split.images[:, 0, 14, 14] - grey).abs().max() <= 1


def test_a_split_gives_its_first_digits_and_its_digits_one_by_one():
    split = Split(torch.arange(3 * 784).view(3, 1, 28, 28).byte(), torch.tensor([7, 8, 9]))
    assert torch.equal(split.first(2).images, split.images[:2])
    assert split.first(2).labels.tolist() == [7, 8]
    dataset = split.dataset(np.array)
    image, label = dataset[2]
    assert len(dataset) == 3 and label == 9 and type(label) is int
    assert np.array_equal(image, split.images[2, 0].numpy())


@pytest.mark.parametrize(
    "indices",
    [torch.tensor([2, 0]), np.array([2, 0]), slice(1, 3), torch.tensor([True, False, True])],
)
def test_taken_digits_keep_all_that_is_known_of_them(indices):
    columns = [torch.arange(3 * 784).view(3, 1, 28, 28).byte(), *torch.arange(9).view(3, 3)]
    taken = Split(*columns).take(indices)
    for name, column in zip(("images", "labels", "writers", "series"), columns):
        assert torch.equal(getattr(taken, name), column[indices])


@pytest.mark.parametrize("count", [0, -1, 1.5, "5", None, True, float("nan")])
def test_a_count_of_another_kind_is_refused(small, count):
    with pytest.raises(UserError, match="number of digits must be a whole number from 1 on"):
        small.test.first(count)


def test_numpys_counts_are_counts_and_more_than_there_are_gives_all(small):
    assert torch.equal(small.test.first(np.int64(5)).labels, small.test.labels[:5])
    assert len(small.test.first(10_000)) == 300


def test_no_random_state_is_changed(originals):
    torch.manual_seed(3)
    np.random.seed(3)
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
    assert torch.equal(index_of(found.test), torch.arange(10_000))
    for part in PARTS:
        split = getattr(found, part)
        assert torch.equal(split.images[:, 0, 0, 0].long(), split.labels)
    assert found.source == "fashion"


def test_a_collection_knows_its_source_by_whatever_name(small, mnist):
    assert (small.source, mnist["random"].source) == ("digits", "mnist")
    assert replace(small, name="a few of them").source == "digits"
    assert Digits("my own", small.train, small.validation, small.test).source is None


@pytest.mark.parametrize("source", ["MNIST", "", None, 3, []])
def test_an_unknown_source_or_split_is_refused_with_those_there_are(source):
    with pytest.raises(UserError, match="source must be one of auto, mnist, digits"):
        load_data(source)
    with pytest.raises(UserError, match="split must be one of random, by writer, as published"):
        load_data("digits", split=source)


@pytest.mark.parametrize("source", ["digits", "auto", "fashion"])
def test_only_mnist_can_be_split_by_writer(monkeypatch, capsys, source):
    monkeypatch.setenv("MNIST_LAB_SOURCE", "digits")
    with pytest.raises(DataError, match="split='random' or source='mnist'"):
        load_data(source, split="by writer")
    assert capsys.readouterr().out == ""


def test_the_source_variable_decides_for_auto_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MNIST_LAB_SOURCE", "digits")
    assert load_data("auto", tmp_path).name == "small digits"
    assert capsys.readouterr().out == "", "the small digits were asked for"
    with pytest.raises(DataUnavailable):
        load_data("mnist", tmp_path)
    monkeypatch.setenv("MNIST_LAB_SOURCE", "cifar")
    with pytest.raises(UserError, match=r"MNIST_LAB_SOURCE must be one of .*'cifar'"):
        load_data("auto", tmp_path)


# Where to look


def test_the_variable_names_the_folder_and_an_argument_outranks_it(
    originals, tmp_path, monkeypatch
):
    monkeypatch.setenv("MNIST_LAB_DATA", str(originals))
    assert load_data().is_mnist
    with pytest.raises(DataUnavailable, match="elsewhere"):
        load_data("mnist", tmp_path / "elsewhere")


@pytest.mark.parametrize("source", ["mnist", "auto"])
def test_a_variable_that_names_no_folder_is_an_error(tmp_path, monkeypatch, source):
    for variable in (str(tmp_path / "nowhere"), "~nobody-is-called-this/nowhere"):
        monkeypatch.setenv("MNIST_LAB_DATA", variable)
        with pytest.raises(DataError, match=r"MNIST_LAB_DATA is '.*nowhere', which is not a fold"):
            load_data(source)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("inside", [True, False])
def test_without_settings_the_data_lie_in_the_repository(tmp_path, monkeypatch, inside):
    here = tmp_path / "notebooks"
    here.mkdir()
    (tmp_path / "mnist_lab").mkdir()
    if inside:
        (tmp_path / "mnist_lab" / "data.py").touch()
    monkeypatch.chdir(here)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(DataUnavailable) as caught:
        load_data("mnist")
    expected = (tmp_path if inside else here) / "data"
    assert f"not in {expected}," in str(caught.value)
    assert load_data("auto").name == "small digits"
    assert set(tmp_path.rglob("*")) == before, "something was left behind"


def test_a_relative_mnist_lab_data_means_the_same_in_the_notebooks_folder(
    originals, tmp_path, monkeypatch
):
    for folder in ("repo/notebooks", "repo/mnist_lab"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "repo/mnist_lab/data.py").touch()
    (tmp_path / "digits").symlink_to(originals)
    monkeypatch.setenv("MNIST_LAB_DATA", "../digits")
    monkeypatch.chdir(tmp_path / "repo/notebooks")
    assert load_data().is_mnist


@pytest.mark.parametrize("root", ["new", "new" * 100, "file", "file/below"])
def test_only_auto_takes_the_small_digits_instead_and_says_so_once(tmp_path, capsys, root):
    (tmp_path / "file").touch()
    assert load_data("auto", tmp_path / root).name == "small digits"
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1 and printed.endswith(".\n")
    assert str(tmp_path / root) in printed and "1,797 small digits" in printed
    for insists in ({"source": "mnist"}, {"source": "fashion"}, {"split": "by writer"}):
        with pytest.raises(DataUnavailable, match=f"MNIST is not in {tmp_path / root}, and"):
            load_data(root=tmp_path / root, **insists)
    assert capsys.readouterr().out == ""


def test_no_small_digits_stand_in_for_spoilt_files(originals, tmp_path, capsys):
    for name in NAMES:
        (tmp_path / name).symlink_to(originals / name)
    (tmp_path / NAMES[0]).unlink()
    (tmp_path / NAMES[0]).write_bytes((originals / NAMES[0]).read_bytes()[:-1])
    with pytest.raises(DataError, match=str(tmp_path / NAMES[0])):
        load_data("auto", tmp_path)
    (tmp_path / NAMES[0]).unlink()
    with pytest.raises(DataError, match=f"{NAMES[0]} is missing"):
        load_data("auto", tmp_path)
    assert capsys.readouterr().out == ""


# What is computed with


def test_digits_that_can_be_used_are_let_through(small):
    check_split("data.train", small.train)
    check_digits("a batch", small.test.images.float(), small.test.labels, "float32")
    check_images("images", small.test.images[:0], "uint8")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"images": torch.zeros(12, 1, 28, 28)}, r"images of it .* uint8 \[12, 1, 28, 28\]"),
        ({"images": torch.zeros(12, 28, 28).byte()}, r"images of it .* not uint8 \[12, 28, 28\]"),
        ({"images": torch.zeros(12, 1, 28, 20).byte()}, "images of it"),
        ({"images": torch.zeros(12, 3, 28, 28).byte()}, "images of it"),
        ({"images": torch.tensor(1, dtype=torch.uint8)}, "images of it"),
        ({"images": np.zeros((12, 1, 28, 28), np.uint8)}, "images of it"),
        ({"images": None}, "images of it"),
        ({"labels": torch.zeros(11).long()}, r"labels of it.* int64 \[12\], not int64 \[11\]"),
        ({"labels": torch.zeros(12)}, "labels of it"),
        ({"labels": torch.zeros(12, 1).long()}, "labels of it"),
        ({"labels": [0] * 12}, "labels of it"),
        ({"labels": torch.arange(-1, 11)}, "labels of it .*0 to 9, not -1"),
        ({"labels": torch.arange(12)}, "labels of it .*0 to 9, not 11"),
        (
            {"images": torch.zeros(0, 1, 28, 28).byte(), "labels": torch.zeros(0).long()},
            "no digits",
        ),
    ],
)
def test_digits_that_cannot_be_used_are_named(change, named):
    usable = Split(torch.zeros(12, 1, 28, 28).byte(), torch.arange(12) % 10)
    check_split("it", usable)
    with pytest.raises(UserError, match=named):
        check_split("it", replace(usable, **change))


@pytest.mark.parametrize("value", [None, Digits, torch.zeros(12, 1, 28, 28)])
def test_what_is_no_split_is_refused(value):
    with pytest.raises(UserError, match="it must be a Split such as"):
        check_split("it", value)


# Who wrote them


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
    assert data.WRITERS.stat().st_size < 65_000
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["mnist_lab"]
    assert data.WRITERS.parent == ROOT / "mnist_lab"
    assert any(data.WRITERS.match(pattern) for pattern in patterns)
    with np.load(data.WRITERS) as file:
        licence = str(file["licence"])
    assert licence.startswith("BSD License") and "Copyright (c) Facebook, Inc." in licence
    assert "list of conditions and the following disclaimer" in licence
    assert "EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE" in licence


# On MNIST itself


@pytest.fixture(scope="module")
def real_folder():
    if not os.environ.get("MNIST_LAB_DATA"):
        pytest.skip("MNIST_LAB_DATA does not say where MNIST is")
    return ROOT / os.environ["MNIST_LAB_DATA"]


@pytest.fixture(scope="module")
def real(real_folder):
    """MNIST, split by writer and at random."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MNIST, "resources", RESOURCES)  # not those of the tests above
        return [load_data("mnist", real_folder, split) for split in ("by writer", "random")]


def test_the_classes_in_qmnists_files_are_mnists_labels(real):
    by_writer, _ = real
    test = by_writer.test
    assert digest(test.labels, test.series, test.writers) == (
        "1128302eb4aea1b71e98213a30d31ec8798361c3d42f2a74d5d87c1aaf5035dc"
    )
    order = torch.from_numpy(np.random.RandomState(0).permutation(60_000))
    held_out = torch.isin(load_writers(True)[0][order], validation_writers())
    index = torch.cat([order[~held_out], order[held_out]])
    columns = [
        torch.cat([getattr(part, name) for part in (by_writer.train, by_writer.validation)])[
            index.argsort()
        ]
        for name in ("labels", "series", "writers")
    ]
    assert digest(*columns) == "c0566fe58e641e47ecdc6c08b946b77d94b9125a826be8c5cd72c817443711e8"


def test_what_the_real_files_hold_is_known_unpacked(real_folder):
    for name, md5 in mnist_files.UNPACKED.items():
        packed = next(real_folder.rglob(f"{name}.gz")).read_bytes()
        assert hashlib.md5(gzip.decompress(packed)).hexdigest() == md5


def test_the_random_split_is_the_published_one(real):
    _, digits = real
    labels = torch.cat([digits.train.labels, digits.validation.labels]).to(torch.uint8)
    assert hashlib.sha256(labels.numpy().tobytes()).hexdigest() == (
        "cf382e4a11c85b022caf77432e94742e4e054e4fe43e553128a78a600f0ae132"
    )


def test_the_split_by_writer_keeps_the_shares_of_the_ten_digits(real):
    digits, _ = real
    train, validation = (
        torch.bincount(split.labels) / len(split) for split in (digits.train, digits.validation)
    )
    assert (train - validation).abs().max() < 0.002

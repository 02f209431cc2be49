"""Where the digits come from, and every way in which that can go wrong."""

import gzip
import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import tracemalloc
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch
from sklearn.model_selection import train_test_split
from torchvision.datasets import mnist as torchvision_mnist
from torchvision.datasets.utils import extract_archive

from mnist_lab import data
from mnist_lab.data import DataError, DataUnavailable, Split, load_data, load_writers

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = NAMES = [
    name for name, _ in torchvision_mnist.MNIST.resources
]
PARTS = ("train", "validation", "test")


def idx(array):
    """An array of bytes in MNIST's file format."""
    sizes = b"".join(side.to_bytes(4, "big") for side in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def write(path, content):
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(content)


def index_of(split):
    """Which of the originals each digit is; its picture says so."""
    high, low = split.images[:, 0, 0, 1:3].long().unbind(1)
    return high * 256 + low


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Black pictures in MNIST's numbers; the first pixels hold the label and the index."""
    folder = tmp_path_factory.mktemp("originals")
    draw = np.random.default_rng(0)
    shares = np.arange(1, 11) / 55  # unequal, so that stratification shows
    for names, count in ((NAMES[:2], 60_000), (NAMES[2:], 10_000)):
        labels, index = draw.choice(10, count, p=shares), np.arange(count)
        images = np.zeros((count, 28, 28), np.uint8)
        images[:, 0, :3] = np.stack([labels, index // 256, index % 256], 1)
        write(folder / names[0], idx(images))
        write(folder / names[1], idx(labels))
    return folder


@pytest.fixture(scope="module")
def pins(originals, tmp_path_factory):
    """Bytes and MD5 of these files, packed and unpacked."""
    folder = shutil.copytree(originals, tmp_path_factory.mktemp("pins") / "both")
    for name in NAMES:
        extract_archive(str(folder / name), str(folder))
    return {path.name: (path.stat().st_size, md5(path)) for path in folder.iterdir()}


@pytest.fixture
def folder(originals, pins, tmp_path, monkeypatch):
    """A folder of the four files, which pass for MNIST's originals."""
    monkeypatch.setattr(data, "ORIGINALS", pins)
    return shutil.copytree(originals, tmp_path / "mnist")


@pytest.fixture(autouse=True)
def no_settings_and_no_network(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))
    monkeypatch.delenv("MNIST_LAB_DATA", raising=False)
    monkeypatch.delenv("MNIST_LAB_SOURCE", raising=False)
    monkeypatch.setattr(data, "_any_answers", lambda hosts: False)


@pytest.fixture
def mirror(folder, originals, monkeypatch):
    """A mirror that answers; returns the names of the files that were fetched from it."""
    fetched = []

    def fetch(url, download_root, filename, md5):
        assert socket.getdefaulttimeout() == data.CONNECT_SECONDS, "a dead mirror would hang"
        fetched.append(filename)
        shutil.copy(originals / filename, download_root)
        extract_archive(os.path.join(download_root, filename), download_root)

    monkeypatch.setattr(data, "_any_answers", lambda hosts: True)
    monkeypatch.setattr(torchvision_mnist, "download_and_extract_archive", fetch)
    return fetched


# The splits


def test_mnist_is_cut_into_50_000_10_000_and_10_000_digits(folder):
    digits = load_data("mnist", folder)
    assert str(digits) == "MNIST: 50,000 train, 10,000 validation, 10,000 test"
    assert digits.is_mnist and digits.split == "random"
    for part in PARTS:  # every picture kept its own label
        split = getattr(digits, part)
        assert torch.equal(split.images[:, 0, 0, 0].long(), split.labels)
    index = {part: index_of(getattr(digits, part)) for part in PARTS}
    assert torch.equal(index["test"], torch.arange(10_000))
    both = torch.cat([index["train"], index["validation"]])
    assert not torch.equal(both[:50_000], both[:50_000].sort().values), "not shuffled"
    assert torch.equal(both.sort().values, torch.arange(60_000))
    train, validation = (torch.bincount(getattr(digits, part).labels) for part in PARTS[:2])
    assert ((train + validation) / 6 - validation).abs().max() < 1, "not stratified"
    labels = both.new_empty(60_000)
    labels[both] = torch.cat([digits.train.labels, digits.validation.labels])
    published = train_test_split(
        np.arange(60_000), test_size=10_000, stratify=labels, random_state=0
    )
    assert torch.equal(both, torch.from_numpy(np.concatenate(published)))


def test_by_writer_nobody_wrote_digits_of_two_parts(folder):
    digits = load_data("mnist", folder, split="by writer")
    expected = "MNIST, split by writer: 49,986 train, 10,014 validation, 10,000 test"
    assert str(digits) == expected and digits.split == "by writer"
    parts = [getattr(digits, part) for part in PARTS]
    assert [len(split.writers.unique()) for split in parts] == [449, 90, 297]
    assert len(torch.cat([split.writers for split in parts]).unique()) == 449 + 90 + 297
    train, validation, test = map(index_of, parts)
    assert torch.equal(torch.cat([train, validation]).sort().values, torch.arange(60_000))
    assert torch.equal(test, torch.arange(10_000))
    students = [(split.series == 4).double().mean() for split in parts[:2]]
    assert abs(students[1] - students[0]) < 0.002
    first = parts[0].first(5_000)  # a random sample, as it says
    assert len(first.writers.unique()) == 449 and first.writers[:100].unique().numel() > 50


def test_the_split_by_writer_is_the_same_for_everybody(folder):
    digits = load_data("mnist", folder, split="by writer")
    index = torch.cat([index_of(digits.train), index_of(digits.validation)])
    digest = hashlib.sha256(index.numpy().astype("<i4").tobytes()).hexdigest()
    assert digest == "f12acaf43d6eacea920b9355c1ae7a345c5012006e52cbb0c1548e45aea057ed"


def test_as_published_all_60_000_train_and_the_test_digits_are_looked_at(folder):
    digits = load_data("mnist", folder, split="as published")
    expected = "MNIST, split as published: 60,000 train, 10,000 validation, 10,000 test"
    assert str(digits) == expected
    assert torch.equal(index_of(digits.train).sort().values, torch.arange(60_000))
    assert digits.validation is digits.test


@pytest.mark.parametrize("split", data.SPLITS)
def test_every_digit_of_mnist_keeps_its_writer_and_series(folder, split):
    digits = load_data("mnist", folder, split=split)
    for part in PARTS:
        found = getattr(digits, part)
        writers, series = load_writers(train=found is not digits.test)
        for some in (found, found.first(100)):
            assert torch.equal(some.writers, writers[index_of(some)])
            assert torch.equal(some.series, series[index_of(some)])


@pytest.mark.parametrize("layout", ["torchvision, packed", "torchvision, unpacked", "unpacked"])
def test_mnist_is_found_in_every_layout(folder, tmp_path, layout):
    root = tmp_path / "root"
    home = root / "MNIST" / "raw" if "torchvision" in layout else root
    shutil.copytree(folder, home)
    if "unpacked" in layout:
        for name in NAMES:
            extract_archive(str(home / name), str(home), remove_finished=True)
    digits = load_data("mnist", root)
    assert digits.name == "MNIST" and len(digits.train) == 50_000


@pytest.fixture(scope="module")
def small():
    return load_data("digits")


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


@pytest.mark.parametrize("count", [0, -1, 1.5])
def test_a_split_of_no_digits_is_refused(small, count):
    with pytest.raises(ValueError, match=f"from 1 on, not {count}"):
        small.test.first(count)
    assert len(small.test.first(10_000)) == 300


# Files that are not what they should be


def damage(name, change, words):
    """A file, a way to spoil it, and what is then said."""
    return pytest.param(name, change, words, id=f"{change.__name__} {name}")


def no_mnist(path):
    path.write_bytes(b"<html>moved</html>")


def bit_flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-100])


def packed_again(path):
    with gzip.open(path) as file:
        content = file.read()
    with gzip.open(path, "wb", compresslevel=2) as file:
        file.write(content)


def missing(path):
    path.unlink()


SIZE, PIXEL = r"has [\d,]+ bytes, but MNIST's original [\d,]+: delete it", "has the wrong MD5"


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        damage(TRAIN_IMAGES, no_mnist, SIZE),
        damage(TRAIN_IMAGES, bit_flipped, PIXEL),
        damage(TRAIN_LABELS, cut_short, SIZE),
        damage(TEST_IMAGES, bit_flipped, PIXEL),
        damage(TEST_LABELS, packed_again, SIZE),
        damage(TEST_IMAGES, missing, "a part of MNIST, but .* is missing"),
        *(
            damage(name.removesuffix(".gz"), change, words)
            for name in NAMES
            for change, words in ((bit_flipped, PIXEL), (cut_short, SIZE))
        ),
    ],
)
def test_a_bad_file_is_one_clear_sentence_and_never_a_fallback(folder, capsys, name, change, words):
    if not name.endswith(".gz"):
        extract_archive(str(folder / f"{name}.gz"), str(folder), remove_finished=True)
    change(folder / name)
    with pytest.raises(DataError, match=words) as caught:
        load_data("auto", folder)
    message = str(caught.value)
    assert name in message and str(folder) in message
    assert "\n" not in message and message.endswith(".")
    assert "download" in message, "no remedy"
    assert not isinstance(caught.value, DataUnavailable)
    assert capsys.readouterr().out == ""


def test_a_truncated_file_is_told_by_its_size(folder, pins):
    cut_short(folder / TEST_LABELS)
    size = pins[TEST_LABELS][0]
    with pytest.raises(DataError, match=f"has {size - 100:,} bytes, but MNIST's original {size:,}"):
        load_data("mnist", folder)


def test_a_huge_file_is_refused_unread(folder):
    size = 2**26
    os.truncate(folder / TRAIN_IMAGES, size)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="has 67,108,864 bytes"):
            load_data("mnist", folder)
        assert tracemalloc.get_traced_memory()[1] < size / 10
    finally:
        tracemalloc.stop()


def test_an_unreadable_file_is_one_clear_sentence(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(data.Path, "read_bytes", refuse)
    with pytest.raises(DataError) as caught:
        load_data("auto", folder)
    message = str(caught.value)
    start = f"{folder / TRAIN_IMAGES} cannot be read (Permission denied): make it readable, or"
    assert message.startswith(start) and "\n" not in message and message.endswith(".")


def test_mnist_is_unpacked_without_a_disk(folder, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "nowhere"))
    assert load_data("mnist", folder).is_mnist


def test_the_pins_are_those_of_torchvision_and_of_mnists_shapes():
    packed = {name: md5 for name, (_, md5) in data.ORIGINALS.items() if name.endswith(".gz")}
    assert packed == dict(torchvision_mnist.MNIST.resources)
    unpacked = {name: size for name, (size, _) in data.ORIGINALS.items() if name not in packed}
    sizes = [16 + 60_000 * 784, 8 + 60_000, 16 + 10_000 * 784, 8 + 10_000]
    assert unpacked == {name.removesuffix(".gz"): size for name, size in zip(NAMES, sizes)}


# Where to look


def test_the_variable_names_the_folder_and_an_argument_outranks_it(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("MNIST_LAB_DATA", str(folder))
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


def test_an_unknown_source_is_refused_by_name():
    with pytest.raises(ValueError, match="unknown source 'MNIST': choose one of auto, mnist"):
        load_data("MNIST")


def test_an_unknown_split_is_refused_by_name():
    with pytest.raises(ValueError, match="unknown split 'writer': choose one of random, by writer"):
        load_data("digits", split="writer")


@pytest.mark.parametrize("source", ["digits", "auto"])
def test_the_small_digits_cannot_be_split_by_writer(monkeypatch, capsys, source):
    monkeypatch.setenv("MNIST_LAB_SOURCE", "digits")
    with pytest.raises(DataError) as caught:
        load_data(source, split="by writer")
    assert str(caught.value) == (
        "the small digits do not say who wrote them: take split='random' or source='mnist'."
    )
    assert capsys.readouterr().out == ""


def test_the_source_variable_decides_for_auto_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MNIST_LAB_SOURCE", "digits")
    assert load_data("auto", tmp_path).name == "small digits"
    assert capsys.readouterr().out == "", "the small digits were asked for"
    with pytest.raises(DataUnavailable):
        load_data("mnist", tmp_path)
    monkeypatch.setenv("MNIST_LAB_SOURCE", "cifar")
    with pytest.raises(ValueError, match="'cifar'"):
        load_data("auto", tmp_path)


# When MNIST cannot be had


@pytest.fixture(params=["no network", "no such name", "root is a file", "root is below a file"])
def hopeless(request, tmp_path):
    (tmp_path / "file").touch()
    return {
        "no network": tmp_path / "new",
        "no such name": tmp_path / ("new" * 100),
        "root is a file": tmp_path / "file",
        "root is below a file": tmp_path / "file" / "below",
    }[request.param]


def test_insisting_on_mnist_says_why_it_cannot_be_had(hopeless):
    with pytest.raises(DataUnavailable) as caught:
        load_data("mnist", hopeless)
    message = str(caught.value)
    assert str(hopeless) in message and "\n" not in message and message.endswith(".")
    cause = "nothing can be written there" if "file" in hopeless.parts else "cannot be reached"
    assert cause in message


def test_auto_takes_the_small_digits_and_says_so_once(hopeless, capsys):
    assert load_data("auto", hopeless).name == "small digits"
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1 and printed.endswith(".\n")
    assert str(hopeless) in printed and "1,797 small digits" in printed


def test_no_small_digits_stand_in_for_a_split_by_writer(tmp_path, capsys):
    with pytest.raises(DataUnavailable, match="its mirrors cannot be reached"):
        load_data("auto", tmp_path, split="by writer")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("mirrors", [["hangs"], ["hangs", "refuses"], ["refuses", "answers"]])
def test_a_name_lookup_that_hangs_is_not_waited_for(monkeypatch, mirrors):
    monkeypatch.undo()  # the real _any_answers
    release = threading.Event()

    def connect(address, timeout):
        if address[0] == "refuses":
            raise socket.gaierror("no such host")
        if address[0] == "hangs":
            release.wait(20)  # then it answers: whoever waited is told yes
        return SimpleNamespace(close=lambda: None)

    monkeypatch.setattr(data.socket, "create_connection", connect)
    monkeypatch.setattr(data, "CONNECT_SECONDS", 0.1)
    assert data._any_answers(mirrors) == ("answers" in mirrors)
    release.set()


# Downloads


def test_mnist_is_downloaded_once_and_whole(tmp_path, mirror):
    root = tmp_path / "new" / "data"
    before = socket.getdefaulttimeout()
    assert load_data("auto", root).is_mnist
    assert load_data("mnist", root).is_mnist
    assert mirror == NAMES
    assert socket.getdefaulttimeout() == before
    assert [path.name for path in root.iterdir()] == ["MNIST"]
    assert {path.name for path in tmp_path.iterdir()} == {"mnist", "new"}


@pytest.mark.parametrize(
    ("death", "seen"),
    [(URLError("reset"), DataUnavailable), (OSError(28, "No space left"), DataUnavailable),
     (KeyboardInterrupt(), KeyboardInterrupt)],
    ids=["mirror", "disk", "user"],
)  # fmt: skip
def test_a_download_that_dies_half_way_leaves_nothing_behind(
    tmp_path, mirror, monkeypatch, death, seen
):
    fetch = torchvision_mnist.download_and_extract_archive

    def dies(url, download_root, filename, md5):
        if filename == TEST_IMAGES:
            raise death
        fetch(url, download_root, filename, md5)

    monkeypatch.setattr(torchvision_mnist, "download_and_extract_archive", dies)
    root, before = tmp_path / "new", socket.getdefaulttimeout()
    with pytest.raises(seen) as caught:
        load_data("mnist", root)
    assert "\n" not in str(caught.value)
    assert mirror == NAMES[:2]
    assert {path.name for path in tmp_path.iterdir()} == {"mnist"}
    assert socket.getdefaulttimeout() == before


def test_a_folder_that_was_emptied_as_told_is_filled_again(tmp_path, mirror):
    raw = tmp_path / "new" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    assert load_data("mnist", tmp_path / "new").is_mnist


def test_a_folder_that_cannot_be_made_is_one_clear_sentence(tmp_path, mirror):
    with pytest.raises(DataUnavailable, match=r"nothing can be written there \([^\n]+\): choose"):
        load_data("mnist", tmp_path / ("new" * 100))
    assert {path.name for path in tmp_path.iterdir()} == {"mnist"}


def test_a_relative_mnist_lab_data_means_the_same_in_the_notebooks_folder(tmp_path, monkeypatch):
    for folder in ("repo/notebooks", "repo/mnist_lab", "digits"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "repo/mnist_lab/data.py").touch()
    monkeypatch.setenv("MNIST_LAB_DATA", "../digits")
    monkeypatch.chdir(tmp_path / "repo/notebooks")
    assert data._root(None).resolve() == tmp_path / "digits"


TWO_AT_ONCE = """
import os, shutil, sys, time
from pathlib import Path
from torchvision.datasets import mnist
from torchvision.datasets.utils import extract_archive
from mnist_lab import data

originals, root, log = map(Path, sys.argv[1:])
data._any_answers = lambda hosts: True

def fetch(url, download_root, filename, md5):
    with log.open("a") as file:
        file.write(filename + "\\n")
    time.sleep(0.3)
    shutil.copy(originals / filename, download_root)
    extract_archive(f"{download_root}/{filename}", download_root)

mnist.download_and_extract_archive = fetch
child = os.fork()  # from here on there are two
found = data._files(root)
assert [file.read_bytes() for file in found] == [(originals / f.name).read_bytes() for f in found]
os.write(1, b"whole\\n")  # at once, or the two would mix
if child:
    sys.exit(os.waitpid(child, 0)[1] != 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the two processes are made by fork")
def test_two_processes_that_start_at_once_download_once(tmp_path):
    originals, root, log = tmp_path / "originals", tmp_path / "root", tmp_path / "log"
    originals.mkdir()
    for name in NAMES:
        write(originals / name, idx(np.zeros((3, 28, 28) if "images" in name else 3)))
    command = [sys.executable, "-c", TWO_AT_ONCE, originals, root, log]
    env = os.environ | {"TMPDIR": tempfile.tempdir}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, timeout=120, check=True, env=env
    )
    assert done.stdout.split() == ["whole", "whole"]
    assert log.read_text().split() == NAMES
    assert [path.name for path in root.iterdir()] == ["MNIST"]


# The harder collections


@pytest.fixture
def clothes(originals, tmp_path, monkeypatch):
    """A folder that holds these files as Fashion-MNIST's, packed."""
    packed = [(name, md5(originals / name)) for name in NAMES]
    monkeypatch.setattr(torchvision_mnist.FashionMNIST, "resources", packed)
    folder = tmp_path / "clothes"
    shutil.copytree(originals, folder / "FashionMNIST" / "raw")
    return folder


def test_fashion_mnist_comes_as_mnist_does_without_writers(clothes):
    found = load_data("fashion", clothes)
    assert str(found) == "Fashion-MNIST: 50,000 train, 10,000 validation, 10,000 test"
    assert not found.is_mnist and found.train.writers is None and found.test.series is None
    assert torch.equal(index_of(found.test), torch.arange(10_000))
    for part in PARTS:
        split = getattr(found, part)
        assert torch.equal(split.images[:, 0, 0, 0].long(), split.labels)
    assert len(load_data("fashion", clothes, split="as published").train) == 60_000


@pytest.mark.parametrize("source", ["fashion", "digits"])
def test_a_collection_knows_its_source(clothes, source):
    found = load_data(source, clothes)
    assert found.source == source and found.name == data.NAMES[source]


def test_fashion_mnist_is_not_mistaken_for_mnist(clothes, folder):
    with pytest.raises(
        DataUnavailable, match=r"MNIST is not in .*clothes, and its mirrors cannot be"
    ):
        load_data("mnist", clothes)
    with pytest.raises(
        DataUnavailable, match=r"FashionMNIST is not in .*mnist, and its mirrors cannot"
    ):
        load_data("fashion", folder)


def test_a_damaged_fashion_mnist_is_refused(clothes):
    path = clothes / "FashionMNIST" / "raw" / NAMES[1]
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    expected = (
        f"{path} has the wrong MD5, it is not Fashion-MNIST's original: delete it and download "
        "Fashion-MNIST again."
    )
    with pytest.raises(DataError, match=f"^{re.escape(expected)}$"):
        load_data("fashion", clothes)


def test_kmnist_is_downloaded_into_a_folder_of_its_own(tmp_path, mirror, originals, monkeypatch):
    packed = [(name, md5(originals / name)) for name in NAMES]
    monkeypatch.setattr(torchvision_mnist.KMNIST, "resources", packed)
    root = tmp_path / "new"
    for _ in range(2):
        assert load_data("kmnist", root).name == "KMNIST"
    assert mirror == NAMES, "fetched once"
    assert [path.name for path in root.iterdir()] == ["KMNIST"]


def test_what_is_not_handwritten_by_known_people_cannot_be_split_by_writer(clothes):
    expected = "Fashion-MNIST does not say who wrote them: take split='random' or source='mnist'."
    with pytest.raises(DataError, match=f"^{re.escape(expected)}$"):
        load_data("fashion", clothes, split="by writer")

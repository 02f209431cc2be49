"""Where the digits come from, and how they are split.

MNIST comes through torchvision (its mirrors, its MD5s), and no file is used that is not the
original to the bit. Where MNIST cannot be had, the course runs on the 1,797 handwritten digits
that scikit-learn ships. Two harder collections have MNIST's format, and come in the same way.

Sources: LeCun et al., "Gradient-based learning applied to document recognition",
doi:10.1109/5.726791; Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits",
doi:10.24432/C50P49; Xiao et al., "Fashion-MNIST", arXiv:1708.07747; Clanuwat et al., "Deep Learning
for Classical Japanese Literature", arXiv:1812.01718.

Who wrote which digit: `writers.npz` was made from the label files of QMNIST (Yadav and Bottou,
"Cold Case: The Lost MNIST Digits", arXiv:1905.10498; repository facebookresearch/qmnist): the
columns series and writer of the first 60,000 rows of its training file and of the first 10,000
of its test file, which are MNIST's digits in MNIST's order; the classes in these rows are MNIST's
70,000 labels. The MD5s:

    qmnist-train-labels-idx2-int.gz    0058f8dd561b90ffdd0f734c6a30e5e4
    qmnist-test-labels-idx2-int.gz     5b5b05890a5e13444e108efe57b788aa

QMNIST: Copyright (c) Facebook, Inc. and its affiliates. All rights reserved. Its BSD licence lies
in the file too: `np.load("writers.npz")["licence"]`.
"""

import gzip
import hashlib
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.datasets import KMNIST, MNIST, FashionMNIST

from mnist_lab.files import folder_lock, project_root
from mnist_lab.validation import UserError, check, instance, shown

WRITERS = Path(__file__).with_name("writers.npz")
SPLIT_SEED = 0  # one split for everybody, whatever the seed of a run
CONNECT_SECONDS = 5  # how long a mirror may take to answer before we call it unreachable
NAMES = {
    "mnist": "MNIST",
    "digits": "small digits",
    "fashion": "Fashion-MNIST",
    "kmnist": "KMNIST",
}
HARDER = {"fashion": FashionMNIST, "kmnist": KMNIST}
SOURCES = ("auto", *NAMES)
SPLITS = ("random", "by writer", "as published")
# Bytes and MD5 of MNIST's files. The MD5s of the packed ones are those of torchvision's
# MNIST.resources; all else was taken from files that have these MD5s.
ORIGINALS = {
    "train-images-idx3-ubyte.gz": (9_912_422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    "train-labels-idx1-ubyte.gz": (28_881, "d53e105ee54ea40749a09fcbcd1e9432"),
    "t10k-images-idx3-ubyte.gz": (1_648_877, "9fb629c4189551a2d022fa330f9573f3"),
    "t10k-labels-idx1-ubyte.gz": (4_542, "ec29112dd5afa0611ce80d1b7f02629c"),
    "train-images-idx3-ubyte": (47_040_016, "6bbc9ace898e44ae57da46a324031adb"),
    "train-labels-idx1-ubyte": (60_008, "a25bea736e30d166cdddb491f175f624"),
    "t10k-images-idx3-ubyte": (7_840_016, "2646ac647ad5339dbf082846283269ea"),
    "t10k-labels-idx1-ubyte": (10_008, "27ae3e4e09519cfbb04c329615203637"),
}


class DataError(UserError):
    """The digits cannot be used as they are; the message says what is wrong and what to do."""


class DataUnavailable(DataError):
    """MNIST is not here and could not be fetched."""


@dataclass(frozen=True, eq=False)
class Split:
    """Images `[N, 1, 28, 28]` (uint8, 0 black to 255 white) and labels `[N]` (int64, 0 to 9).

    Of MNIST's digits also who wrote them `[N]` (int64) and in which series `[N]` (int64; 0: Census
    employees, 4: high-school students). Of other digits nobody knows: None.
    """

    images: Tensor
    labels: Tensor
    writers: Tensor | None = None
    series: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> "Split":
        """The first `count` digits (or all, if there are fewer). What was held out from training,
        and the rest, are shuffled: a random sample. MNIST's test digits are not, and begin with the
        students'. Raises `ValueError` for a count below 1."""
        if not isinstance(count, int) or count < 1:
            raise UserError(
                f"the number of digits must be a whole number from 1 on, not {count!r}."
            )
        return self.take(slice(count))

    def take(self, indices: slice | Tensor | np.ndarray) -> "Split":
        """The digits that are named by a slice, by their numbers or by a mask `[N]`, with all that
        is known of them."""
        columns = (self.images, self.labels, self.writers, self.series)
        return Split(*(None if column is None else column[indices] for column in columns))

    def dataset(self, transform: Callable) -> Dataset:
        """The same digits one by one, for a DataLoader: `(transform(PIL image), label)`."""
        return _OneByOne(self, transform)


@dataclass(frozen=True, eq=False)
class Digits:
    """Three splits of one collection. `name` goes with every result measured on it.

    `split`: how they were parted, as `load_data` was told. They are disjoint, unless that is "as
    published": then the test digits stand in the place of validation, too.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    split: str = "random"

    def __str__(self) -> str:
        parts = ("train", "validation", "test")
        sizes = ", ".join(f"{len(getattr(self, part)):,} {part}" for part in parts)
        how = "" if self.split == "random" else f", split {self.split}"
        return f"{self.name}{how}: {sizes}"

    @property
    def is_mnist(self) -> bool:
        return self.name == "MNIST"

    @property
    def source(self) -> str:
        """What `load_data` has to be told for this collection."""
        return next(source for source, name in NAMES.items() if name == self.name)


def check_split(name: str, split: Split) -> None:
    """Whether this is a `Split` whose digits can be used. Raises `UserError`."""
    check(name, split, instance(Split, "a Split such as data.test"))
    check_digits(name, split.images, split.labels, "uint8")


def check_digits(name: str, images: Tensor, labels: Tensor, dtype: str) -> None:
    """Whether these are images `[N, 1, 28, 28]` of this dtype and their labels `[N]`, 0 to 9.

    Only types, shapes and labels are looked at. Raises `UserError`, also for N = 0.
    """
    check_images(f"the images of {name}", images, dtype)
    _check_form(f"the labels of {name}, one for each image,", labels, f"int64 [{len(images)}]")
    if not len(images):
        raise UserError(f"{name} holds no digits: it needs one at least.")
    low, high = (int(label) for label in labels.aminmax())
    if low < 0 or high > 9:
        wrong = low if low < 0 else high
        raise UserError(f"the labels of {name} must be from 0 to 9, not {wrong}.")


def check_images(name: str, images: Tensor, dtype: str) -> None:
    """Whether these are images `[N, 1, 28, 28]` of this dtype. Raises `UserError`."""
    count = len(images) if isinstance(images, Tensor) and images.ndim else "N"
    _check_form(name, images, f"{dtype} [{count}, 1, 28, 28]")


def _check_form(name: str, value: object, wanted: str) -> None:
    if form(value) != wanted:
        raise UserError(f"{name} must be a tensor {wanted}, not {form(value)}.")


def form(value: object) -> str:
    """A tensor's type and shape, such as `uint8 [80, 1, 28, 28]`; of anything else, its value."""
    if isinstance(value, Tensor):
        return f"{value.dtype} {list(value.shape)}".removeprefix("torch.")
    return shown(value)


class _OneByOne(Dataset):
    def __init__(self, split: Split, transform: Callable):
        self.split, self.transform = split, transform

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int):
        image = Image.fromarray(self.split.images[index, 0].numpy())
        return self.transform(image), int(self.split.labels[index])


def load_data(
    source: str = "auto", root: str | os.PathLike | None = None, split: str = "random"
) -> Digits:
    """Load the digits, split by one fixed, seeded, stratified permutation.

    `source`: `"mnist"` insists on MNIST (50,000 train, 10,000 validation, 10,000 test);
    `"digits"` takes scikit-learn's 8×8 digits, brought to 28×28 (1,197, 300, 300); `"auto"`
    prefers MNIST, and says in one sentence when it has to take the small digits. The variable
    `MNIST_LAB_SOURCE` decides for `"auto"` (the tests use it). `"fashion"` and `"kmnist"` are no
    digits, but ten kinds of clothes and ten Japanese characters, as many and as large as MNIST's.

    `root`: a folder with MNIST's four original files, packed or not, or a torchvision root.
    Without it: `$MNIST_LAB_DATA` if set, else the repository's `data/`. MNIST is downloaded into
    it if it holds none.

    `split`: `"by writer"` parts MNIST's 60,000 so that nobody wrote digits of both parts: 449
    writers train (49,986 digits), 90 validate (10,014). The shares of the two series and of the
    ten digits stay the same within 0.2 percentage points; the test digits are the same. `"as
    published"` trains on all 60,000 and validates on the test digits, as was done for the second
    network: what is chosen by looking at them is no longer a test.

    Raises `ValueError` for an unknown source or split, `DataError` for files that are incomplete,
    unreadable or not the originals to the bit, or for a split by writer where writers are unknown,
    and `DataUnavailable` if what is insisted on cannot be had.
    """
    if source == "auto":
        source = os.environ.get("MNIST_LAB_SOURCE") or "auto"
    if source not in SOURCES:
        raise UserError(f"unknown source {source!r}: choose one of {', '.join(SOURCES)}.")
    if split not in SPLITS:
        raise UserError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}.")
    if source not in ("auto", "mnist") and split == "by writer":
        whose = "the small digits do" if source == "digits" else f"{NAMES[source]} does"
        raise DataError(f"{whose} not say who wrote them: take split='random' or source='mnist'.")
    if source == "digits":
        return _small_digits(split)
    if source in HARDER:
        files = _files(_root(root), HARDER[source])
        return _harder(NAMES[source], HARDER[source], files, split)
    try:
        return _mnist(_files(_root(root)), split)
    except DataUnavailable as reason:
        if source == "mnist" or split == "by writer":
            raise
        print(f"{reason} Using scikit-learn's 1,797 small digits instead: expect other accuracies.")
        return _small_digits(split)


def _root(root: str | os.PathLike | None) -> Path:
    if root is not None:
        return Path(root)
    variable = os.environ.get("MNIST_LAB_DATA")
    if not variable:
        return project_root() / "data"
    # A relative path counts from the repository, so that it means the same in notebooks/.
    folder = project_root() / os.path.expanduser(variable)
    if not os.path.isdir(folder):
        raise DataError(
            f"MNIST_LAB_DATA is {variable!r}, which is not a folder: create it or unset it."
        )
    return folder


def _files(root: Path, kind: type[MNIST] = MNIST) -> list[Path]:
    """A collection's four files below `root`, in torchvision's order; downloaded if need be."""
    return _find(root, kind) or _download(root, kind)


def _find(root: Path, kind: type[MNIST]) -> list[Path] | None:
    """All four files, None if there is none; of a file's two forms, the packed one.

    The other collections' files have MNIST's names: they must lie in a folder of their own, and
    packed, for only of that form is the MD5 known.
    """
    names = [name for name, _ in kind.resources]
    own = root / kind.__name__ / "raw"
    for folder in (root, own) if kind is MNIST else (own,):
        files = []
        for name in names:
            forms = [folder / name, folder / name.removesuffix(".gz")][: 2 if kind is MNIST else 1]
            files.append(next((form for form in forms if os.path.isfile(form)), None))
        if all(files):
            return files
        if any(files):
            missing = ", ".join(name for name, file in zip(names, files) if file is None)
            raise DataError(
                f"{folder} holds a part of {kind.__name__}, but {missing} is missing: put it "
                "there, or empty the folder to download all four files again."
            )
    return None


def _download(root: Path, kind: type[MNIST]) -> list[Path]:
    """Fetch a collection into `root`, which is not even made unless all of it is there."""
    there = next((folder for folder in (root, *root.parents) if os.path.exists(folder)), root)
    lost = f"{kind.__name__} is not in {root}, and"
    try:
        with tempfile.TemporaryDirectory(dir=there, prefix=".download-") as scratch:
            if not _any_answers([urlsplit(mirror).hostname for mirror in kind.mirrors]):
                raise DataUnavailable(f"{lost} its mirrors cannot be reached.")
            with folder_lock(root):  # another process may be downloading: wait, then look again
                if _find(root, kind) is None:
                    _fetch(root, scratch, kind, lost)
    except OSError as error:
        raise DataUnavailable(
            f"{lost} nothing can be written there ({error.strerror}): "
            "choose another folder with MNIST_LAB_DATA."
        ) from error
    return _find(root, kind)


def _fetch(root: Path, scratch: str, kind: type[MNIST], lost: str) -> None:
    """Download into `scratch` and rename, so that no one ever sees half a download."""
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(CONNECT_SECONDS)  # torchvision sets none of its own
    try:
        kind(scratch, download=True)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())  # torchvision's has a line for each mirror
        raise DataUnavailable(f"{lost} its download failed ({reason}).") from error
    finally:
        socket.setdefaulttimeout(timeout)
    name = kind.__name__
    shutil.rmtree(root / name, ignore_errors=True)  # empty folders, or _find had found it
    root.mkdir(parents=True, exist_ok=True)
    os.replace(Path(scratch) / name, root / name)


def _any_answers(hosts: list[str]) -> bool:
    """Whether one of the hosts can be connected to; name look-ups that hang are not waited for."""
    answered = threading.Event()

    def connect(host):
        try:
            socket.create_connection((host, 80), timeout=CONNECT_SECONDS).close()
            answered.set()
        except OSError:
            pass

    threads = [threading.Thread(target=connect, args=(host,), daemon=True) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(CONNECT_SECONDS)
    return answered.is_set()


def _mnist(files: list[Path], split: str) -> Digits:
    rest, test = _mnist_part(*files[:2], train=True), _mnist_part(*files[2:], train=False)
    parts = _cut_by_writer(rest) if split == "by writer" else _parts(rest, test, 10_000, split)
    return Digits("MNIST", *parts, test, split)


def _mnist_part(images_file: Path, labels_file: Path, train: bool) -> Split:
    contents = (_unpack(file, *ORIGINALS[file.name]) for file in (images_file, labels_file))
    return replace(_parse(*contents), **dict(zip(("writers", "series"), load_writers(train))))


def _harder(name: str, kind: type[MNIST], files: list[Path], split: str) -> Digits:
    contents = [_unpack(file, None, md5, name) for file, (_, md5) in zip(files, kind.resources)]
    rest, test = _parse(*contents[:2]), _parse(*contents[2:])
    return Digits(name, *_parts(rest, test, 10_000, split), test, split)


def _parse(images: bytearray, labels: bytearray) -> Split:
    # Known to the bit, so that nothing is left to check: behind a header of 16 or 8 bytes, one byte
    # for each pixel or label. (torchvision's readers would want it unpacked on a disk.)
    pixels = torch.frombuffer(images, dtype=torch.uint8, offset=16)
    classes = torch.frombuffer(labels, dtype=torch.uint8, offset=8)
    return Split(pixels.view(-1, 1, 28, 28), classes.long())


def _unpack(file: Path, size: int | None, md5: str, whose: str = "MNIST") -> bytearray:
    """The unpacked content of a file. What is not the original is refused before it is unpacked,
    and what has not even its size, where that is known, before it is read."""
    remedy = f"delete it and download {whose} again."
    try:
        found = file.stat().st_size
        if size not in (None, found):
            raise DataError(
                f"{file} has {found:,} bytes, but {whose}'s original {size:,}: {remedy}"
            )
        content = file.read_bytes()
    except OSError as error:
        raise DataError(
            f"{file} cannot be read ({error.strerror}): make it readable, or {remedy}"
        ) from error
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise DataError(f"{file} has the wrong MD5, it is not {whose}'s original: {remedy}")
    return bytearray(gzip.decompress(content) if file.suffix == ".gz" else content)


def _small_digits(split: str) -> Digits:
    bunch = load_digits()
    images = torch.from_numpy(bunch.images).float().unsqueeze(1) * (255 / 16)
    # MNIST's digits lie in a 20×20 box inside the 28×28 picture; these are put there too.
    images = F.interpolate(images, size=(20, 20), mode="bilinear", align_corners=False)
    images = F.pad(images, (4, 4, 4, 4)).round().to(torch.uint8)
    rest, test = _cut(Split(images, torch.from_numpy(bunch.target).long()), 300)
    return Digits("small digits", *_parts(rest, test, 300, split), test, split)


def _parts(rest: Split, test: Split, held_out: int, split: str) -> tuple[Split, Split]:
    """The digits to train and to validate on."""
    return (rest, test) if split == "as published" else _cut(rest, held_out)


def _cut(split: Split, held_out: int) -> tuple[Split, Split]:
    """Shuffle, keeping the share of every digit, and hold some out; the same for everybody."""
    kept, out = train_test_split(
        np.arange(len(split)), test_size=held_out, stratify=split.labels, random_state=SPLIT_SEED
    )
    return split.take(kept), split.take(out)


def _cut_by_writer(split: Split) -> tuple[Split, Split]:
    """Shuffle, and hold out some writers with all that they wrote; the same for everybody."""
    order = np.random.RandomState(SPLIT_SEED).permutation(len(split))  # never changes
    held_out = torch.isin(split.writers[order], validation_writers()).numpy()
    return split.take(order[~held_out]), split.take(order[held_out])


def load_writers(train: bool) -> tuple[Tensor, Tensor]:
    """The writers and the series of MNIST's 60,000 digits (`train`) or of its 10,000, in MNIST's
    order: two tensors `[N]` (int64).

    Series 0 was written by Census employees, series 4 by high-school students. Nobody wrote in
    both series, or in both parts.
    """
    part = slice(60_000) if train else slice(60_000, None)
    return _column("writers")[part], _column("series")[part]


def validation_writers() -> Tensor:
    """The 90 writers `[90]` (int64), of the 539 who wrote the 60,000 digits, that a validation
    split by writer holds out; the same for everybody.

    Of six folds that share no writer, this is the first: scikit-learn 1.9.1's
    `StratifiedGroupKFold(6, shuffle=True, random_state=0)`, stratified by series and digit. It is
    kept in the file because older versions shuffle wrongly (scikit-learn/scikit-learn#32540).
    """
    return _column("held_out")


def _column(name: str) -> Tensor:
    return torch.from_numpy(_file()[name].astype(np.int64))


@cache
def _file() -> dict[str, np.ndarray]:
    with np.load(WRITERS) as file:
        return dict(file)

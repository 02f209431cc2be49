"""Where the digits come from, and how they are split.

Sources: LeCun et al., "Gradient-based learning applied to document recognition",
doi:10.1109/5.726791; Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits",
doi:10.24432/C50P49; Xiao et al., "Fashion-MNIST", arXiv:1708.07747; Clanuwat et al., "Deep Learning
for Classical Japanese Literature", arXiv:1812.01718.

Who wrote which digit: `writers.npz` was made from the label files of QMNIST (Yadav and Bottou,
"Cold Case: The Lost MNIST Digits", arXiv:1905.10498; repository facebookresearch/qmnist): the
columns series and writer of the first 60,000 rows of qmnist-train-labels-idx2-int.gz (MD5
0058f8dd561b90ffdd0f734c6a30e5e4) and of the first 10,000 of qmnist-test-labels-idx2-int.gz (MD5
5b5b05890a5e13444e108efe57b788aa), which are MNIST's digits in MNIST's order. QMNIST: Copyright (c)
Facebook, Inc. and its affiliates. All rights reserved. Its BSD licence lies in the file:
`np.load("writers.npz")["licence"]`.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.datasets import KMNIST, MNIST, FashionMNIST

from mnist_lab.files import project_root
from mnist_lab.mnist_files import DataError as DataError
from mnist_lab.mnist_files import DataUnavailable, find_or_download, unpack
from mnist_lab.validation import Count, UserError, check, instance, one_of, shown

WRITERS = Path(__file__).with_name("writers.npz")
SPLIT_SEED = 0  # one split for everybody, whatever the seed of a run
NAMES = dict(mnist="MNIST", digits="small digits", fashion="Fashion-MNIST", kmnist="KMNIST")
COLLECTIONS = {"mnist": MNIST, "fashion": FashionMNIST, "kmnist": KMNIST}
SOURCES = ("auto", *NAMES)
SPLITS = ("random", "by writer", "as published", "all")


@dataclass(frozen=True, eq=False)
class Split:
    """Images `[N, 1, 28, 28]` (uint8, 0 black to 255 white) and labels `[N]` (int64, 0 to 9).

    Of MNIST's digits also who wrote them and in which series (see `load_writers`); else None.
    """

    images: Tensor
    labels: Tensor
    writers: Tensor | None = None
    series: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> "Split":
        """The first `count` digits (or all, if there are fewer): a random sample, but for MNIST's
        test digits, which begin with the students'. Raises `UserError` for a count below 1."""
        return self.take(slice(check("the number of digits", count, Count)))

    def take(self, indices: slice | Tensor | np.ndarray) -> "Split":
        """The digits that a slice, their numbers or a mask `[N]` name, with all that is known."""
        columns = (self.images, self.labels, self.writers, self.series)
        return Split(*(None if column is None else column[indices] for column in columns))

    def to(self, device: torch.device) -> "Split":
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def dataset(self, transform: Callable) -> Dataset:
        """The same digits one by one, for a DataLoader: `(transform(PIL image), label)`."""
        return _OneByOne(self, transform)


class _OneByOne(Dataset):
    def __init__(self, split: Split, transform: Callable):
        self.split, self.transform = split, transform

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int):
        image = Image.fromarray(self.split.images[index, 0].numpy())
        return self.transform(image), int(self.split.labels[index])


@dataclass(frozen=True, eq=False)
class Digits:
    """Three splits of one collection. `name` goes with every result measured on it.

    `split` and `source`: what `load_data` has to be told to load them again; None as the source of
    others. The three are disjoint, unless the split is "as published" or "all".
    """

    name: str
    train: Split
    validation: Split
    test: Split
    split: str = "random"
    source: str | None = None

    def __str__(self) -> str:
        how = "" if self.split == "random" else f", split {self.split}"
        sizes = f"{len(self.train):,} train, {len(self.validation):,} validation"
        return f"{self.name}{how}: {sizes}, {len(self.test):,} test"

    @property
    def is_mnist(self) -> bool:
        return self.name == "MNIST"


def check_split(name: str, split: Split) -> None:
    """Whether this is a `Split` whose digits can be used. Raises `UserError`."""
    check(name, split, instance(Split, "a Split such as data.test"))
    check_digits(name, split.images, split.labels, "uint8")


def check_digits(name: str, images: Tensor, labels: Tensor, dtype: str) -> None:
    """Whether these are images `[N, 1, 28, 28]` of this dtype and their labels `[N]`, 0 to 9.

    Raises `UserError`, also for N = 0.
    """
    check_images(f"the images of {name}", images, dtype)
    _check_form(f"the labels of {name}, one for each image,", labels, f"int64 [{len(images)}]")
    if not len(images):
        raise UserError(f"{name} holds no digits: it needs one at least.")
    for label in labels.aminmax():
        if not 0 <= label <= 9:
            raise UserError(f"the labels of {name} must be from 0 to 9, not {label}.")


def check_images(name: str, images: Tensor, dtype: str) -> None:
    """Whether these are images `[N, 1, 28, 28]` of this dtype. Raises `UserError`."""
    count = len(images) if isinstance(images, Tensor) and images.ndim else "N"
    _check_form(name, images, f"{dtype} [{count}, 1, 28, 28]")


def _check_form(name: str, value: object, wanted: str) -> None:
    if isinstance(value, Tensor):  # which takes milliseconds to be shown
        found = f"{value.dtype} {list(value.shape)}".removeprefix("torch.")
    else:
        found = shown(value)
    if found != wanted:
        raise UserError(f"{name} must be a tensor {wanted}, not {found}.")


def load_data(
    source: str = "auto", root: str | os.PathLike | None = None, split: str = "random"
) -> Digits:
    """Load the digits, split by one fixed, seeded, stratified permutation.

    `source`: `"mnist"` (50,000 train, 10,000 validation, 10,000 test), or as many ten kinds of
    clothes (`"fashion"`) or Japanese characters (`"kmnist"`); `"digits"`: scikit-learn's 8×8
    digits, brought to 28×28 (1,197, 300, 300); `"auto"` prefers MNIST, and says in one sentence
    when it has to take the small digits. For `"auto"`, `$MNIST_LAB_SOURCE` decides if it is set.

    A path that ends in .npz is a file of drawings, such as the site's pad makes: `images`
    `[N, 28, 28]` (uint8) and `labels` `[N]`. They are the test digits; the other parts are empty.

    `root`: a folder with MNIST's four original files, packed or not, or a torchvision root, into
    which it is downloaded if need be. Without it: `$MNIST_LAB_DATA`, else the repository's `data/`.

    `split`: `"by writer"` parts MNIST's 60,000 so that nobody wrote digits of both parts: 449
    writers train (49,986 digits), 90 validate (10,014). The shares of the two series and of the
    ten digits stay the same within 0.2 percentage points. `"as published"` trains on all 60,000
    and validates on the test digits, as was done for the second network: what is chosen by looking
    at them is no longer a test. `"all"` trains on all 60,000, too, and validates on the 10,000 of
    `"random"`, which are among them: for a recipe that is chosen already, so that nobody looks at
    the test digits before the end.

    Raises `UserError` for an unknown source or split, `DataError` for files that are not the
    originals, for drawings that cannot be read, or for a split by writer where writers are unknown,
    and `DataUnavailable` if what is insisted on cannot be had.
    """
    if str(source).endswith(".npz"):
        return _drawings(Path(source))
    check("source", source, one_of(*SOURCES))
    check("split", split, one_of(*SPLITS))
    if source == "auto" and os.environ.get("MNIST_LAB_SOURCE"):
        source = check("MNIST_LAB_SOURCE", os.environ["MNIST_LAB_SOURCE"], one_of(*SOURCES))
    if source not in ("auto", "mnist") and split == "by writer":
        raise DataError(
            f"it is unknown who wrote the {NAMES[source]}: take split='random' or source='mnist'."
        )
    name = "mnist" if source == "auto" else source
    try:
        rest, test = _read(name, root)
    except DataUnavailable as reason:
        if source != "auto" or split == "by writer":
            raise
        print(f"{reason} Using scikit-learn's 1,797 small digits instead: expect other accuracies.")
        name, (rest, test) = "digits", _small_digits()
    train, validation = rest, test  # as published
    if split in ("random", "all"):
        train, validation = _cut(rest, len(test))
        train = rest if split == "all" else train
    elif split == "by writer":
        order = np.random.RandomState(SPLIT_SEED).permutation(len(rest))  # never changes
        out = torch.isin(rest.writers[order], validation_writers()).numpy()
        train, validation = rest.take(order[~out]), rest.take(order[out])
    return Digits(NAMES[name], train, validation, test, split, name)


def _drawings(path: Path) -> Digits:
    """Drawings of one's own: all of them are test digits."""
    try:
        with np.load(path) as file:
            images, labels = (torch.from_numpy(file[name]) for name in ("images", "labels"))
        drawings = Split(images.reshape(-1, 1, 28, 28), labels.long())
        check_split("test", drawings)
    except (OSError, EOFError, ValueError, LookupError, RuntimeError, BadZipFile) as error:
        raise DataError(
            f"{path} holds no drawings that can be read: images [N, 28, 28] (uint8), labels [N]."
        ) from error
    nothing = drawings.take(slice(0))
    return Digits(path.name, nothing, nothing, drawings)


def _read(name: str, root: str | os.PathLike | None) -> tuple[Split, Split]:
    """All digits of a collection but its test digits, and these."""
    if name == "digits":
        return _small_digits()
    kind, writers = COLLECTIONS[name], [(), ()]
    files = find_or_download(kind, data_folder() if root is None else Path(root))
    contents = [unpack(kind, file) for file in files]
    if name == "mnist":
        writers = [load_writers(True), load_writers(False)]
    return _parse(*contents[:2], *writers[0]), _parse(*contents[2:], *writers[1])


def data_folder() -> Path:
    """A relative path counts from the repository, so that it means the same in notebooks/."""
    variable = os.environ.get("MNIST_LAB_DATA")
    folder = project_root() / os.path.expanduser(variable or "data")
    if variable and not os.path.isdir(folder):
        raise DataError(
            f"MNIST_LAB_DATA is {variable!r}, which is not a folder: make it or unset it."
        )
    return folder


def _parse(images: bytearray, labels: bytearray, *who: Tensor) -> Split:
    # Known to the bit, so that nothing is left to check: behind a header of 16 or 8 bytes, one byte
    # for each pixel or label. (torchvision's readers would want it unpacked on a disk.)
    pixels = torch.frombuffer(images, dtype=torch.uint8, offset=16)
    classes = torch.frombuffer(labels, dtype=torch.uint8, offset=8)
    return Split(pixels.view(-1, 1, 28, 28), classes.long(), *who)


def _small_digits() -> tuple[Split, Split]:
    bunch = load_digits()
    images = torch.from_numpy(bunch.images).float().unsqueeze(1) * (255 / 16)
    # MNIST's digits lie in a 20×20 box inside the 28×28 picture; these are put there too.
    images = F.interpolate(images, size=(20, 20), mode="bilinear", align_corners=False)
    images = F.pad(images, (4, 4, 4, 4)).round().to(torch.uint8)
    return _cut(Split(images, torch.from_numpy(bunch.target).long()), 300)


def _cut(split: Split, held_out: int) -> tuple[Split, Split]:
    """Shuffle, keeping the share of every digit, and hold some out; the same for everybody."""
    how = {"test_size": held_out, "stratify": split.labels, "random_state": SPLIT_SEED}
    kept, out = train_test_split(np.arange(len(split)), **how)
    return split.take(kept), split.take(out)


def load_writers(train: bool) -> tuple[Tensor, Tensor]:
    """The writers and the series of MNIST's 60,000 digits (`train`) or of its 10,000, in MNIST's
    order: two tensors `[N]` (int64).

    Series 0 was written by Census employees, series 4 by high-school students. Nobody wrote in
    both series, or in both parts.
    """
    part = slice(60_000) if train else slice(60_000, None)
    return _column("writers")[part], _column("series")[part]


def validation_writers() -> Tensor:
    """The writers `[90]` (int64) that a split by writer holds out, of the 539 of the 60,000 digits.

    Of six folds that share no writer, this is the first: scikit-learn 1.9.1's
    `StratifiedGroupKFold(6, shuffle=True, random_state=0)`, stratified by series and digit. It is
    kept in the file because older versions shuffle wrongly (scikit-learn/scikit-learn#32540).
    """
    return _column("held_out")


def _column(name: str) -> Tensor:
    with np.load(WRITERS) as file:
        return torch.from_numpy(file[name].astype(np.int64))

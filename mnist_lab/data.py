"""Where the digits come from, and how they are split.

MNIST comes through torchvision (its mirrors, its MD5s). Where MNIST cannot be had, the
course runs on the 1,797 handwritten digits that scikit-learn ships.

Sources: LeCun et al., "Gradient-based learning applied to document recognition",
doi:10.1109/5.726791; Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits",
doi:10.24432/C50P49.
"""

import gzip
import os
import shutil
import socket
import tempfile
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import torch
import torch.nn.functional as F
from filelock import FileLock
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.datasets import MNIST
from torchvision.datasets.mnist import read_image_file, read_label_file
from torchvision.datasets.utils import check_md5, extract_archive

SPLIT_SEED = 0  # one split for everybody, whatever the seed of a run
CONNECT_SECONDS = 5  # how long a mirror may take to answer before we call it unreachable
SOURCES = ("auto", "mnist", "digits")
REMEDY = "delete it and download MNIST again."


class DataError(Exception):
    """The digits cannot be used as they are; the message says what is wrong and what to do."""


class Unavailable(DataError):
    """MNIST is not here and could not be fetched."""


@dataclass(frozen=True, eq=False)
class Split:
    """Images `[N, 1, 28, 28]` (uint8, 0 black to 255 white) and labels `[N]` (int64, 0 to 9)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> "Split":
        """The first `count` digits (or all, if there are fewer): a random sample, since the split
        is shuffled. Raises `ValueError` for a count below 1."""
        if not isinstance(count, int) or count < 1:
            raise ValueError(
                f"the number of digits must be a whole number from 1 on, not {count!r}."
            )
        return Split(self.images[:count], self.labels[:count])

    def dataset(self, transform: Callable) -> Dataset:
        """The same digits one by one, for a DataLoader: `(transform(PIL image), label)`."""
        return _OneByOne(self, transform)


@dataclass(frozen=True, eq=False)
class Digits:
    """Three disjoint splits of one collection. `name` goes with every result measured on it."""

    name: str
    train: Split
    validation: Split
    test: Split

    def __str__(self) -> str:
        parts = ("train", "validation", "test")
        sizes = ", ".join(f"{len(getattr(self, part)):,} {part}" for part in parts)
        return f"{self.name}: {sizes}"

    @property
    def is_mnist(self) -> bool:
        return self.name == "MNIST"


class _OneByOne(Dataset):
    def __init__(self, split: Split, transform: Callable):
        self.split, self.transform = split, transform

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int):
        image = Image.fromarray(self.split.images[index, 0].numpy())
        return self.transform(image), int(self.split.labels[index])


def load_data(source: str = "auto", root: str | os.PathLike | None = None) -> Digits:
    """Load the digits, split by one fixed, seeded, stratified permutation.

    `source`: `"mnist"` insists on MNIST (50,000 train, 10,000 validation, 10,000 test);
    `"digits"` takes scikit-learn's 8×8 digits, brought to 28×28 (1,197, 300, 300); `"auto"`
    prefers MNIST, and says in one sentence when it has to take the small digits. The variable
    `MNIST_LAB_SOURCE` decides for `"auto"` (the tests use it).

    `root`: a folder with MNIST's four original `.gz` files, or a torchvision root. Without it:
    `$MNIST_LAB_DATA` if set, else the repository's `data/`. MNIST is downloaded into it if it
    holds none.

    Raises `ValueError` for an unknown source, `DataError` for files that are corrupt, truncated,
    incomplete or not MNIST's, `Unavailable` if `"mnist"` is asked for and cannot be had.
    """
    if source == "auto":
        source = os.environ.get("MNIST_LAB_SOURCE") or "auto"
    if source not in SOURCES:
        raise ValueError(f"unknown source {source!r}: choose one of {', '.join(SOURCES)}.")
    if source == "digits":
        return _small_digits()
    try:
        return _mnist(_mnist_files(_root(root)))
    except Unavailable as reason:
        if source == "mnist":
            raise
        print(f"{reason} Using scikit-learn's 1,797 small digits instead: expect other accuracies.")
        return _small_digits()


def project_root() -> Path:
    """The repository that the current folder lies in, or the current folder outside of one."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "mnist_lab" / "data.py").exists() and (folder / "notebooks").is_dir():
            return folder
    return here


def _root(root: str | os.PathLike | None) -> Path:
    if root is not None:
        return Path(root)
    variable = os.environ.get("MNIST_LAB_DATA")
    if not variable:
        return project_root() / "data"
    # A relative path counts from the repository, so that it means the same in notebooks/.
    folder = project_root() / Path(variable).expanduser()
    if not folder.is_dir():
        raise DataError(
            f"MNIST_LAB_DATA is {variable!r}, which is not a folder: create it or unset it."
        )
    return folder


def _mnist_files(root: Path) -> list[Path]:
    """The four files of MNIST below `root`, in torchvision's order; downloaded if need be."""
    found = _find(root)
    if found is None:
        with _lock(root):  # another process may be downloading: wait, then look again
            found = _find(root) or _download(root)
    return found


def _find(root: Path) -> list[Path] | None:
    """All four files, None if there is none; a `.gz` is preferred, because its MD5 is known."""
    names = [name for name, _ in MNIST.resources]
    for folder in (root, root / "MNIST" / "raw"):
        files = []
        for name in names:
            forms = (folder / name, folder / name.removesuffix(".gz"))
            files.append(next((form for form in forms if form.is_file()), None))
        if all(files):
            return files
        if any(files):
            missing = ", ".join(name for name, file in zip(names, files) if file is None)
            raise DataError(
                f"{folder} holds a part of MNIST, but {missing} is missing: put it there, or "
                "empty the folder to download all four files again."
            )
    return None


def _lock(root: Path) -> FileLock:
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise Unavailable(
            f"MNIST is not in {root}, and nothing can be written there ({error.strerror}): "
            "choose another folder with MNIST_LAB_DATA."
        ) from error
    return FileLock(root / ".download.lock")


def _download(root: Path) -> list[Path]:
    """Download beside the final place and rename, so that no one ever sees half a download."""
    hosts = [urlsplit(mirror).hostname for mirror in MNIST.mirrors]
    if not _any_answers(hosts):
        raise Unavailable(f"MNIST is not in {root}, and its mirrors cannot be reached.")
    with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as scratch:
        timeout = socket.getdefaulttimeout()
        socket.setdefaulttimeout(CONNECT_SECONDS)  # torchvision sets none of its own
        try:
            MNIST(scratch, download=True)
        except (OSError, RuntimeError) as error:
            raise Unavailable(
                f"MNIST is not in {root}, and its download failed ({error})."
            ) from error
        finally:
            socket.setdefaulttimeout(timeout)
        shutil.rmtree(root / "MNIST", ignore_errors=True)  # empty folders, or _find had found it
        os.replace(Path(scratch) / "MNIST", root / "MNIST")
    return _find(root)


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


def _mnist(files: list[Path]) -> Digits:
    parts = []
    for images_file, labels_file, count in ((*files[:2], 60_000), (*files[2:], 10_000)):
        images, labels = _read(images_file, read_image_file), _read(labels_file, read_label_file)
        if len(images) != len(labels):
            raise DataError(
                f"{images_file} holds {len(images):,} images, but {labels_file} "
                f"{len(labels):,} labels: {REMEDY}"
            )
        if images.shape != (count, 28, 28):
            shape, original = "×".join(map(str, images.shape)), f"{count}×28×28"
            raise DataError(
                f"{images_file} holds {shape} pixels, but MNIST's has {original}: {REMEDY}"
            )
        if labels.max() > 9:
            raise DataError(f"{labels_file} holds the label {labels.max()}, not 0 to 9: {REMEDY}")
        parts.append(Split(images.unsqueeze(1), labels))
    for file, (_, md5) in zip(files, MNIST.resources):
        if file.suffix == ".gz" and not check_md5(file, md5):
            raise DataError(f"{file} has the wrong MD5, it is not MNIST's original: {REMEDY}")
    return Digits("MNIST", *_cut(parts[0], 10_000), parts[1])


def _read(file: Path, parse: Callable[[str], Tensor]) -> Tensor:
    with tempfile.TemporaryDirectory() as scratch:
        unpacked = file
        if file.suffix == ".gz":
            try:
                unpacked = extract_archive(str(file), scratch)
            except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                raise DataError(f"{file} is a corrupt gzip file ({error}): {REMEDY}") from error
        try:
            return parse(str(unpacked))
        except Exception as error:  # torchvision's parser asserts, views and indexes its way
            raise DataError(f"{file} is truncated or not an IDX file: {REMEDY}") from error


def _small_digits() -> Digits:
    bunch = load_digits()
    images = torch.from_numpy(bunch.images).float().unsqueeze(1) * (255 / 16)
    # MNIST's digits lie in a 20×20 box inside the 28×28 picture; these are put there too.
    images = F.interpolate(images, size=(20, 20), mode="bilinear", align_corners=False)
    images = F.pad(images, (4, 4, 4, 4)).round().to(torch.uint8)
    rest, test = _cut(Split(images, torch.from_numpy(bunch.target).long()), 300)
    return Digits("small digits", *_cut(rest, 300), test)


def _cut(split: Split, held_out: int) -> tuple[Split, Split]:
    """Shuffle, keeping the share of every digit, and hold some out; the same for everybody."""
    kept, out = train_test_split(
        np.arange(len(split)), test_size=held_out, stratify=split.labels, random_state=SPLIT_SEED
    )
    return Split(split.images[kept], split.labels[kept]), Split(
        split.images[out], split.labels[out]
    )

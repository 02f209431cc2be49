"""The files of MNIST, and of two collections in its format: found, downloaded, and checked.

They come through torchvision (its mirrors, its MD5s), and no file is used that is not the original
to the bit.
"""

import gzip
import hashlib
import os
import shutil
import socket
import tempfile
import threading
import time
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from queue import Empty, Queue
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from torchvision.datasets import MNIST

from mnist_lab.files import folder_lock
from mnist_lab.validation import UserError

CONNECT_SECONDS = 5  # how long a mirror may take to answer before we call it unreachable
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
    """A collection is not here and could not be fetched."""


def find_or_download(kind: type[MNIST], root: Path) -> list[Path]:
    """A collection's four files below `root`, in torchvision's order; downloaded if need be.

    Raises `DataError` if some of them are missing, `DataUnavailable` if all are and cannot be had.
    """
    return _find(kind, root) or _download(kind, root)


def unpack(kind: type[MNIST], file: Path) -> bytearray:
    """The unpacked content of one of the collection's files.

    Raises `DataError` for what is not the original. It is refused before it is unpacked, and what
    has not even its size, where that is known, before it is read.
    """
    size, md5 = _originals(kind)[file.name]
    remedy = f"delete it and download {kind.__name__} again."
    try:
        found = file.stat().st_size
        if size not in (None, found):
            raise DataError(
                f"{file} has {found:,} bytes, but {kind.__name__}'s original {size:,}: {remedy}"
            )
        content = file.read_bytes()
    except OSError as error:
        raise DataError(
            f"{file} cannot be read ({error.strerror}): make it readable, or {remedy}"
        ) from error
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise DataError(f"{file} has the wrong MD5, it is not {kind.__name__}'s original: {remedy}")
    return bytearray(gzip.decompress(content) if file.suffix == ".gz" else content)


def _originals(kind: type[MNIST]) -> dict[str, tuple[int | None, str]]:
    """Size, where it is known, and MD5 of each file that may be used."""
    return ORIGINALS if kind is MNIST else {name: (None, md5) for name, md5 in kind.resources}


def _find(kind: type[MNIST], root: Path) -> list[Path] | None:
    """All four files, None if there is none; of a file's two forms, the packed one."""
    own = root / kind.__name__ / "raw"
    # The other collections' files have MNIST's names: they must lie in a folder of their own.
    for folder in (root, own) if kind is MNIST else (own,):
        files = []
        for name, _ in kind.resources:
            forms = [form for form in (name, name.removesuffix(".gz")) if form in _originals(kind)]
            files.append(next((folder / f for f in forms if os.path.isfile(folder / f)), None))
        if all(files):
            return files
        if any(files):
            missing = ", ".join(name for (name, _), file in zip(kind.resources, files) if not file)
            raise DataError(
                f"{folder} holds a part of {kind.__name__}, but {missing} is missing: put it "
                "there, or empty the folder to download all four files again."
            )
    return None


def _download(kind: type[MNIST], root: Path) -> list[Path]:
    """Fetch a collection into `root`, which is not even made unless all of it is there."""
    there = next((folder for folder in (root, *root.parents) if os.path.exists(folder)), root)
    lost = f"{kind.__name__} is not in {root}, and"
    try:
        with tempfile.TemporaryDirectory(dir=there, prefix=".download-") as scratch:
            if not _any_answers([mirror + kind.resources[0][0] for mirror in kind.mirrors]):
                raise DataUnavailable(f"{lost} its mirrors cannot be reached.")
            with folder_lock(root):  # another process may be downloading: wait, then look again
                if _find(kind, root) is None:
                    _fetch(kind, root, scratch, lost)
    except OSError as error:
        raise DataUnavailable(
            f"{lost} nothing can be written there ({error.strerror}): "
            "choose another folder with MNIST_LAB_DATA."
        ) from error
    return _find(kind, root)


def _fetch(kind: type[MNIST], root: Path, scratch: str, lost: str) -> None:
    """Download into `scratch` and rename, so that no one ever sees half a download."""
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(CONNECT_SECONDS)  # torchvision sets none of its own
    try:
        kind(scratch, download=True)
    except (OSError, RuntimeError, HTTPException) as error:
        reason = " ".join(str(error).split())  # torchvision's has a line for each mirror
        raise DataUnavailable(f"{lost} its download failed ({reason}).") from error
    finally:
        socket.setdefaulttimeout(timeout)
    name = kind.__name__
    shutil.rmtree(root / name, ignore_errors=True)  # empty folders, or _find had found it
    root.mkdir(parents=True, exist_ok=True)
    os.replace(Path(scratch) / name, root / name)


def _any_answers(urls: list[str]) -> bool:
    """Whether one of the mirrors answers, whatever it says; proxies are asked as for a download.

    A name look-up may hang, and knows no time limit: so nobody waits for these threads.
    """
    answers = Queue()
    for url in urls:
        threading.Thread(target=lambda url=url: answers.put(_answers(url)), daemon=True).start()
    deadline = time.monotonic() + CONNECT_SECONDS
    with suppress(Empty):
        return any(answers.get(timeout=max(0, deadline - time.monotonic())) for _ in urls)
    return False


def _answers(url: str) -> bool:
    try:
        urlopen(Request(url, method="HEAD"), timeout=CONNECT_SECONDS).close()
    except HTTPError:
        return True  # the download will tell what it has against us
    except (OSError, HTTPException, ValueError):  # ValueError: a proxy that is no address
        return False
    return True

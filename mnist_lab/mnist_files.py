"""The files of MNIST, and of two collections in its format: found, downloaded, and checked.

They come through torchvision, and no file is used that is not the original to the bit.
"""

import gzip
import hashlib
import os
import shutil
import socket
import tempfile
import threading
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
UNPACKED = {  # MD5s of MNIST's files unpacked from those whose MD5s torchvision knows
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
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
    """The unpacked content of a file. Raises `DataError` for what is not the original."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}): make it readable.") from error
    md5, name = hashlib.md5(content, usedforsecurity=False).hexdigest(), kind.__name__
    if md5 != (dict(kind.resources) | UNPACKED)[file.name]:
        raise DataError(
            f"{file} has the wrong MD5, it is not {name}'s original: delete it and download {name} "
            "again."
        )
    return bytearray(gzip.decompress(content) if file.suffix == ".gz" else content)


def _find(kind: type[MNIST], root: Path) -> list[Path] | None:
    """All four files, None if there is none; of a file's two forms, the packed one."""
    own = root / kind.__name__ / "raw"
    # The other collections' files have MNIST's names: they must lie, packed, in their own folder.
    folders, endings = ((root, own), ("", ".gz")) if kind is MNIST else ((own,), ("",))
    for folder in folders:
        files = {}
        for name, _ in kind.resources:
            forms = [folder / name.removesuffix(ending) for ending in endings]
            files[name] = next(filter(os.path.isfile, forms), None)
        if all(files.values()):
            return list(files.values())
        if any(files.values()):
            missing = ", ".join(name for name, file in files.items() if not file)
            raise DataError(
                f"{folder} holds a part of {kind.__name__}, but {missing} is missing: put it "
                "there, or empty the folder to download all four files again."
            )
    return None


def _download(kind: type[MNIST], root: Path) -> list[Path]:
    """Fetch a collection aside, then rename it: no one ever sees half of it in `root`."""
    there = next((folder for folder in (root, *root.parents) if os.path.exists(folder)), root)
    lost, name = f"{kind.__name__} is not in {root}, and", kind.__name__
    try:
        with tempfile.TemporaryDirectory(dir=there, prefix=".download-") as scratch:
            if not _any_answers([mirror + kind.resources[0][0] for mirror in kind.mirrors]):
                raise DataUnavailable(f"{lost} its mirrors cannot be reached.")
            with folder_lock(root):  # another process may be downloading: wait, then look again
                if _find(kind, root) is None:
                    _fetch(kind, scratch, lost)
                    shutil.rmtree(root / name, ignore_errors=True)  # empty, or it were found
                    root.mkdir(parents=True, exist_ok=True)
                    os.replace(Path(scratch) / name, root / name)
    except OSError as error:
        raise DataUnavailable(
            f"{lost} nothing can be written there ({error.strerror}): "
            "choose another folder with MNIST_LAB_DATA."
        ) from error
    return _find(kind, root)


def _fetch(kind: type[MNIST], folder: str, lost: str) -> None:
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(CONNECT_SECONDS)  # torchvision sets none of its own
    try:
        kind(folder, download=True)
    except (OSError, RuntimeError, HTTPException) as error:
        reason = " ".join(str(error).split())  # torchvision's has a line for each mirror
        raise DataUnavailable(f"{lost} its download failed ({reason}).") from error
    finally:
        socket.setdefaulttimeout(timeout)


def _any_answers(urls: list[str]) -> bool:
    """Whether one of the mirrors answers, whatever it says; proxies are asked as for a download.

    A name look-up may hang, and knows no time limit: so nobody waits for these threads.
    """
    answers = Queue()

    def ask(url: str) -> None:
        try:
            urlopen(Request(url, method="HEAD"), timeout=CONNECT_SECONDS).close()
            answers.put(True)
        except (OSError, HTTPException, ValueError) as error:  # ValueError: no proxy's address
            answers.put(isinstance(error, HTTPError))  # the download will tell what is wrong

    for url in urls:
        threading.Thread(target=ask, args=(url,), daemon=True).start()
    with suppress(Empty):
        return any(answers.get(timeout=CONNECT_SECONDS) for _ in urls)
    return False

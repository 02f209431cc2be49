"""The course in one archive for a classroom without a network: wheels, digits, notebooks, site.

Unpacked anywhere on the same kind of machine, `make lab` installs and opens it as ever:
`install.py` takes the wheels that lie beside it.
"""

import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from torchvision.datasets import MNIST
from tqdm import tqdm

from mnist_lab.data import data_folder
from mnist_lab.files import project_root
from mnist_lab.install import WHEELS
from mnist_lab.mnist_files import find_or_download
from mnist_lab.validation import UserError

DATA = "data/MNIST/raw"
TOP = "mnist-lab"


def pack(target: Path) -> None:
    """Write the archive. Raises `UserError` outside of a clone, and where wheels cannot be had."""
    root = project_root()
    pins = Path(sys.prefix) / "pins.txt"
    if not pins.exists() or not (root / ".git").exists():
        raise UserError("pack the course in a clone of it, with the environment of `make ready`.")
    target.resolve().parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.resolve().parent) as folder:
        wheels, part = Path(folder, "wheels"), Path(folder, target.name)
        _collect(pins, wheels)
        files = {**_course(root), **_digits(), **_site(root)}
        files |= {f"{WHEELS}/{path.name}": path for path in wheels.iterdir()}
        files[f"{WHEELS}/pins.txt"] = pins
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
            for name, path in tqdm(files.items(), unit="file"):
                archive.write(path, f"{TOP}/{name}")
        part.replace(target)


def _collect(pins: Path, wheels: Path) -> None:
    """A wheel of everything that is pinned, as pip finds it for this machine."""
    command = [sys.executable, "-m", "pip", "wheel", "--wheel-dir", str(wheels), "-r", str(pins)]
    first = pins.read_text(encoding="utf-8").splitlines()[0]
    if first.startswith("--extra-index-url"):  # of PyTorch's CPU build, as it was installed
        command += first.split()
    if subprocess.run(command, check=False).returncode:
        raise UserError("not every wheel can be had: see above, and try again with a network.")


def _course(root: Path) -> dict[str, Path]:
    """The files of the repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True)
    names = listed.stdout.decode().split("\0")
    return {name: root / name for name in names if (root / name).is_file()}


def _digits() -> dict[str, Path]:
    """MNIST's four files. Raises `DataUnavailable` where they cannot be had."""
    return {f"{DATA}/{path.name}": path for path in find_or_download(MNIST, data_folder())}


def _site(root: Path) -> dict[str, Path]:
    """The site, if it was built."""
    folder = root / "site"
    if not folder.is_dir():
        print("there is no site/ here, so none is packed: make offline builds it first")
    return {path.relative_to(root).as_posix(): path for path in folder.rglob("*") if path.is_file()}

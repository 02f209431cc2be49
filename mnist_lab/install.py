"""Install the course's environment: `python mnist_lab/install.py .venv`. It needs only Python.

Linux gets PyTorch's CPU build where there is no NVIDIA card and PyTorch's own index can be reached:
1 GB instead of 6. uv is used where it is installed, which takes seconds instead of minutes; pip
otherwise. Both install the versions of `requirements.txt`.
"""

import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parent.parent
WHEELS = (
    "wheels"  # a folder beside the course, of an archive that `python -m mnist_lab offline` made
)
SITE_PINS = "docs/requirements.txt"  # of what only the site and the tests in a browser need
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PATIENCE = 3  # seconds
CUDA = re.compile(r"(cuda|nvidia|triton)")
OWN_BUILD = re.compile(r"^(torch|torchvision)==([^\s;+]+)", re.MULTILINE)


def main(folder: str, *extras: str) -> None:
    """Make the environment `folder` if it is missing; install the course, with `extras` of it."""
    if sys.version_info < (3, 11):  # noqa: UP036 (whoever has an older one starts here)
        sys.exit("mnist-lab needs Python 3.11 or newer: make PYTHON=python3.12 lab")
    environment = Path(folder)
    if not (environment / "pyvenv.cfg").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pins = environment / "pins.txt"
    pins.write_text(wanted_pins(), encoding="utf-8")
    near = ["--no-index", "--find-links", str(ROOT / WHEELS)] if (ROOT / WHEELS).is_dir() else []
    install(environment, "-r", str(pins), *near)
    name = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
    more = ["-c", str(pins), "-c", str(ROOT / SITE_PINS)] if extras else ["--no-deps"]
    install(environment, "--no-build-isolation", *more, "-e", name, *near)


def wanted_pins() -> str:
    """The pins for this machine: those beside the wheels, else PyTorch's CPU build if it can be."""
    beside = ROOT / WHEELS / "pins.txt"
    text = (beside if beside.exists() else ROOT / "requirements.txt").read_text(encoding="utf-8")
    if beside.exists() or has_nvidia() or not index_answers():
        return text
    print("no NVIDIA card here: PyTorch's CPU build will be installed")
    return f"--extra-index-url {CPU_INDEX}\n{without_cuda(text)}"


def has_nvidia() -> bool:
    """Whether the CUDA parts would be of use; elsewhere than on Linux there are none."""
    return sys.platform != "linux" or Path("/proc/driver/nvidia").exists()


def index_answers() -> bool:
    """Whether PyTorch's own index can be reached, within a few seconds."""
    try:
        with urllib.request.urlopen(f"{CPU_INDEX}/torch/", timeout=PATIENCE) as answer:
            return answer.status == 200
    except (OSError, ValueError):
        return False


def without_cuda(pins: str) -> str:
    """The pins without CUDA's parts, and of PyTorch those of its CPU build."""
    lines = [line for line in pins.splitlines(keepends=True) if not CUDA.match(line)]
    return OWN_BUILD.sub(r"\1==\2+cpu", "".join(lines))


def install(environment: Path, *arguments: str) -> None:
    """With uv if it is there, else with the environment's pip. Raises `CalledProcessError`."""
    python = environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    uv = shutil.which("uv")
    command = [str(python), "-m", "pip", "install", *arguments]
    if uv:
        best = ["--index-strategy", "unsafe-best-match"]  # as pip: of all indexes
        command = [uv, "pip", "install", "--python", str(python), *best, *arguments]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

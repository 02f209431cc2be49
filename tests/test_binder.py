"""What Binder builds: the versions of the course, and a postBuild that works."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from conftest import NOTEBOOKS, ROOT

BINDER = ROOT / "binder"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHON = (BINDER / "runtime.txt").read_text().strip().removeprefix("python-")
LINUX = {"sys_platform": "linux", "platform_machine": "x86_64", "os_name": "posix"}
needs_bash = pytest.mark.skipif(os.name == "nt", reason="Binder runs on Linux")


def pins(path: Path) -> dict[str, str]:
    """The version of each package that a file of requirements asks for on Binder."""
    lines = [line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    found = [Requirement(line) for line in lines if line and not line.startswith("--")]
    there = LINUX | {"python_version": PYTHON, "python_full_version": f"{PYTHON}.9"}
    return {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
        for pin in found
        if pin.marker is None or pin.marker.evaluate(there)
    }


def test_binder_installs_what_the_library_needs_in_the_versions_of_the_course():
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(PYTHON)
    binder, course = pins(BINDER / "requirements.txt"), pins(ROOT / "requirements.txt")
    assert set(binder) == {Requirement(line).name for line in PROJECT["dependencies"]}
    # The build may be another: 2.15.0+cpu is a 2.15.0.
    public = {name: Version(version).public for name, version in binder.items()}
    assert public == {name: course[name] for name in binder}
    assert binder["torch"].endswith("+cpu") and binder["torchvision"].endswith("+cpu")


def test_notebooks_import_only_what_binder_has():
    there = set(pins(BINDER / "requirements.txt"))
    code = "\n".join(path.read_text(encoding="utf-8") for path in NOTEBOOKS)
    found = re.findall(r'^ +"(?:import (\w+)|from (\w+)[\w.]* import )', code, re.MULTILINE)
    imported = {one or other for one, other in found}
    assert {"torch", "mnist_lab"} <= imported
    providers = packages_distributions()
    for module in imported - sys.stdlib_module_names - {"mnist_lab", "IPython"}:
        assert {canonicalize_name(name) for name in providers[module]} & there, module


@needs_bash
@pytest.mark.parametrize("fails", ["", "pip", "python"])
def test_post_build_installs_the_library_fetches_mnist_and_stops_at_an_error(fails, tmp_path):
    shutil.copytree(BINDER, tmp_path / "binder")
    stubs, log = tmp_path / "stubs", tmp_path / "log"
    stubs.mkdir()
    for name in ("pip", "python"):
        stub = stubs / name
        stub.write_text(
            f'#!/bin/bash\necho {name} "$@" >> "{log}"\nexit {3 if name == fails else 0}\n'
        )
        stub.chmod(0o755)
    path = f"{stubs}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(["binder/postBuild"], cwd=tmp_path, env=os.environ | {"PATH": path})
    assert done.returncode == (3 if fails else 0)
    calls = log.read_text().splitlines()
    assert calls[0].startswith("pip install ") and "--no-deps" in calls[0]
    if fails != "pip":
        assert "load_data('mnist')" in calls[1]
    assert len(calls) == (1 if fails == "pip" else 2)


@needs_bash
def test_a_session_starts_with_one_thread_because_binder_grants_one_core():
    start = ["bash", str(BINDER / "start"), "bash", "-c", "echo $OMP_NUM_THREADS"]
    assert subprocess.run(start, capture_output=True, text=True).stdout == "1\n"

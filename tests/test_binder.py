"""What Binder builds: the versions of the course, nothing local, and a postBuild that works."""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import mnist_lab

ROOT = Path(__file__).parents[1]
BINDER = ROOT / "binder"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHON = (BINDER / "runtime.txt").read_text().strip().removeprefix("python-")
LINUX = {"sys_platform": "linux", "platform_machine": "x86_64", "os_name": "posix"}
needs_bash = pytest.mark.skipif(os.name == "nt", reason="Binder runs on Linux")


def lines(path: Path) -> list[str]:
    stripped = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").split("\n"))
    return [line for line in stripped if line]


def requirements(path: Path) -> list[Requirement]:
    return [Requirement(line) for line in lines(path) if not line.startswith("--")]


def pinned(requirement: Requirement) -> Version:
    (pin,) = requirement.specifier
    assert pin.operator == "==", f"{requirement} is not pinned"
    return Version(pin.version)


def on_binder(requirement: Requirement) -> bool:
    versions = {"python_version": PYTHON, "python_full_version": f"{PYTHON}.9"}
    return requirement.marker is None or requirement.marker.evaluate(LINUX | versions)


def test_binder_takes_a_python_that_the_library_accepts():
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(PYTHON)


def test_the_versions_are_those_of_the_course():
    course = filter(on_binder, requirements(ROOT / "requirements.txt"))
    course = {canonicalize_name(pin.name): pinned(pin) for pin in course}
    for pin in requirements(BINDER / "requirements.txt"):
        base = Version(pinned(pin).public)  # without the build: 2.15.0 of 2.15.0+cpu
        assert base == course[canonicalize_name(pin.name)], f"{pin.name} in requirements.txt"


def test_binder_installs_what_the_library_needs_and_no_more():
    needed = {Requirement(line).name for line in PROJECT["dependencies"]}
    assert {pin.name for pin in requirements(BINDER / "requirements.txt")} == needed


def test_pytorch_comes_without_cuda():
    builds = {pin.name: pinned(pin).local for pin in requirements(BINDER / "requirements.txt")}
    assert {name: build for name, build in builds.items() if build} == {
        "torch": "cpu",
        "torchvision": "cpu",
    }


def test_nothing_local_defeats_the_layer_cache():
    for line in lines(BINDER / "requirements.txt"):
        if line.startswith("-"):
            assert line.startswith("--extra-index-url https://"), line  # no -r, -c, -e
        else:
            assert Requirement(line).url is None, line


def test_notebooks_import_only_what_binder_has():
    names = {canonicalize_name(pin.name) for pin in requirements(BINDER / "requirements.txt")}
    providers = packages_distributions()
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
        imported = set()
        for node in ast.walk(ast.parse(TransformerManager().transform_cell(code))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.split(".")[0])
        for module in imported - sys.stdlib_module_names - {"mnist_lab", "IPython"}:
            found = {canonicalize_name(name) for name in providers.get(module, [])}
            assert found & names, f"{path.name} imports {module}"


@pytest.fixture
def build(tmp_path):
    """Run postBuild in a copy of the repository, with stubs that record how they are called."""
    copy, stubs, log = tmp_path / "repository", tmp_path / "stubs", tmp_path / "log"
    copy.mkdir()
    shutil.copytree(BINDER, copy / "binder")
    shutil.copy(ROOT / "pyproject.toml", copy)
    stubs.mkdir()

    def run(**exits: int) -> tuple[int, list[list[str]]]:
        for name in ("pip", "python"):
            stub = stubs / name
            stub.write_text(
                f'#!/bin/bash\n(echo {name}; printf "%s\\n" "$@"; echo) >> "{log}"\n'
                f"test -f pyproject.toml || exit 99\nexit {exits.get(name, 0)}\n"
            )
            stub.chmod(0o755)
        path = f"{stubs}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(["binder/postBuild"], cwd=copy, env=os.environ | {"PATH": path})
        calls = log.read_text().removesuffix("\n\n").split("\n\n")
        return done.returncode, [call.split("\n") for call in calls]

    return run


@needs_bash
def test_post_build_is_an_executable_bash_script():
    script = BINDER / "postBuild"
    assert os.access(script, os.X_OK)
    assert script.read_text().startswith("#!/bin/bash\n")
    subprocess.run(["bash", "-n", str(script)], check=True)


@needs_bash
def test_post_build_installs_the_library_and_fetches_mnist(build, monkeypatch, capsys):
    code, (pip, python) = build()
    assert code == 0
    assert pip[:2] == ["pip", "install"]
    assert "--no-deps" in pip  # what it needs is there, and pinned
    assert pip[-1] == "."
    assert python[:2] == ["python", "-c"]
    monkeypatch.setattr(mnist_lab, "load_data", lambda source: f"the digits of {source}")
    exec(python[2], {})
    assert capsys.readouterr().out == "the digits of mnist\n"


@needs_bash
def test_post_build_stops_at_the_first_error(build):
    code, calls = build(pip=3)
    assert code == 3
    assert [call[0] for call in calls] == ["pip"]


@needs_bash
def test_post_build_fails_without_mnist(build):
    assert build(python=1)[0] == 1


@needs_bash
def test_a_session_starts_with_one_thread_because_binder_grants_one_core():
    start = ["bash", str(ROOT / "binder" / "start"), "bash", "-c", "echo $OMP_NUM_THREADS"]
    assert subprocess.run(start, capture_output=True, text=True).stdout == "1\n"

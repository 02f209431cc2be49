"""What CI and make run exists: files, targets, commands, and the packages they install."""

import re
import shlex
import subprocess
import sys
import tomllib

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_notebook
from packaging.requirements import Requirement

from conftest import ROOT
from mnist_lab.__main__ import main

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SCRIPTS = [ROOT / "Makefile", ROOT / ".ci" / "run", *WORKFLOWS]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
each_script = pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)


def text(path):
    return path.read_text(encoding="utf-8")


def workflow_commands() -> list[str]:
    """The lines that GitHub's machines run."""
    jobs = [job for path in WORKFLOWS for job in yaml.safe_load(text(path))["jobs"].values()]
    steps = [step for job in jobs for step in job["steps"]]
    return [line for step in steps for line in step.get("run", "").splitlines()]


@each_script
def test_the_files_exist(path):
    named = re.findall(r"(?<![\w./$-])[\w.-][\w./-]*\.(?:txt|toml|py|ipynb)\b", text(path))
    assert not [name for name in named if not (ROOT / name).is_file()]


def test_the_targets_of_make_exist():
    targets = set(re.findall(r"^([a-z-]+):", text(ROOT / "Makefile"), re.MULTILINE))
    for path in (ROOT / ".ci" / "run", ROOT / "README.md"):
        called = re.findall(r"\bmake ([a-z][a-z-]*)\b", re.sub("#.*", "", text(path)))
        assert called and set(called) <= targets, path


@each_script
def test_the_commands_of_the_course_exist(path):
    lines = [line for line in text(path).splitlines() if " mnist_lab " in line]
    for line in lines:
        name, *options = shlex.split(line.split(" mnist_lab ")[1])
        main.commands[name].make_context(name, options)  # raises if an option is unknown


def test_githubs_machines_install_pytorch_without_cudas_parts():
    (pattern,) = set(
        re.findall(r"grep -vE '([^']+)' requirements.txt", "\n".join(workflow_commands()))
    )
    lines = text(ROOT / "requirements.txt").splitlines()
    left_out = [line for line in lines if re.search(pattern, line)]
    assert left_out and all("sys_platform == 'linux'" in line for line in left_out)
    kept = {line.split("==")[0] for line in lines if line not in left_out}
    assert {"torch", "torchvision"} <= kept
    assert not any(re.search("cu(da|1[0-9])|nvidia", name) for name in kept)


def test_colab_has_what_the_library_needs_and_nothing_of_the_runner():
    lines = text(ROOT / ".ci" / "colab.txt").splitlines()
    there = {Requirement(line).name for line in lines if line and not line.startswith("#")}
    assert {Requirement(line).name for line in PROJECT["dependencies"]} <= there
    assert not there & {"papermill", "nbval", "jupyterlab", "pytest", "click", "psutil"}


@pytest.mark.slow
def test_a_notebook_that_warns_or_fails_outside_of_the_repository_is_named(tmp_path):
    cells = {
        "runs": "assert not __import__('os').listdir()",
        "warns": "import warnings\nwarnings.warn('old')",
        "fails": "1 / 0",
    }
    paths = [tmp_path / f"{name}.ipynb" for name in cells]
    for path, code in zip(paths, cells.values()):
        notebook = new_notebook(cells=[new_code_cell(code)])
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
        nbformat.write(notebook, path)

    def colab(*paths):
        command = [sys.executable, ROOT / ".ci" / "colab.py", *paths]
        return subprocess.run(command, capture_output=True, text=True)

    assert colab(paths[0]).returncode == 0
    done = colab(*paths)
    assert done.returncode == 1
    for said in ("runs.ipynb runs", "warns.ipynb fails", "fails.ipynb fails", "UserWarning: old",
                 "ZeroDivisionError: division by zero"):  # fmt: skip
        assert said in " ".join(done.stdout.split())

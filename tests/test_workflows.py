"""GitHub's workflows name commands, files and versions that exist."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_notebook
from packaging.requirements import Requirement
from packaging.version import Version

from mnist_lab.__main__ import main

ROOT = Path(__file__).parents[1]
WORKFLOWS = {
    path.name: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))
}
JOBS = [
    pytest.param(job, id=f"{file}:{name}")
    for file, workflow in WORKFLOWS.items()
    for name, job in workflow["jobs"].items()
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIREMENTS = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()


def commands(job: dict) -> list[str]:
    return [line for step in job["steps"] for line in step.get("run", "").splitlines()]


def test_there_are_two_workflows():
    assert set(WORKFLOWS) == {"tests.yml", "course.yml"}


@pytest.mark.parametrize("workflow", WORKFLOWS.values(), ids=WORKFLOWS)
def test_a_workflow_may_only_read(workflow):
    assert workflow["permissions"] == {"contents": "read"}


def test_what_starts_them():
    on = {name: workflow[True] for name, workflow in WORKFLOWS.items()}  # YAML's `on` is a truth
    assert set(on["tests.yml"]) == {"push", "pull_request"}
    assert set(on["course.yml"]) == {"schedule", "workflow_dispatch"}
    ((minute, hour, day, month, weekday),) = (
        entry["cron"].split() for entry in on["course.yml"]["schedule"]
    )
    assert (day, month) == ("*", "*")
    assert weekday != "*", "that would be daily"
    assert 0 <= int(minute) < 60 and 0 <= int(hour) < 24


@pytest.mark.parametrize("job", JOBS)
def test_a_job_ends_and_its_actions_are_pinned(job):
    assert job["timeout-minutes"] <= 360  # GitHub's own limit
    for step in job["steps"]:
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])


@pytest.mark.parametrize("job", JOBS)
def test_the_files_and_commands_exist(job):
    for step in job["steps"]:
        path = step.get("with", {}).get("cache-dependency-path")
        assert path is None or (ROOT / path).is_file()
    for command in commands(job):
        for name in re.findall(r"[\w./-]+\.(?:txt|toml|py|ipynb)\b", command):
            assert (ROOT / name).is_file() or name.endswith("/cpu.txt"), command
        words = shlex.split(command)
        if words[:3] == ["python", "-m", "mnist_lab"]:
            subcommand = main.commands[words[3]]
            subcommand.make_context(words[3], words[4:])  # raises if an option is unknown
        else:
            known = (
                *(["pip", "install"], ["python", "-m", "pytest"], ["python", ".ci/colab.py"]),
                *(["ruff"], ["grep"]),
            )
            assert any(words[: len(start)] == start for start in known), command


@pytest.mark.parametrize("file", WORKFLOWS)
def test_the_pins_are_installed_without_cudas_parts_and_the_library_without_its_own(file):
    install = "\n".join(line for job in WORKFLOWS[file]["jobs"].values() for line in commands(job))
    (pattern,) = set(re.findall(r"grep -vE '([^']+)' requirements.txt", install))
    left_out = [line for line in REQUIREMENTS if re.search(pattern, line)]
    assert left_out
    assert all("sys_platform == 'linux'" in line for line in left_out), left_out
    kept = {line.split("==")[0] for line in REQUIREMENTS if line not in left_out}
    assert {"torch", "torchvision"} <= kept
    assert not any(re.search("cu(da|1[0-9])|nvidia", name) for name in kept)
    assert '-r "$RUNNER_TEMP/cpu.txt"' in install
    assert "pip install --no-deps ." in install


def test_the_matrix_covers_the_systems_and_the_pythons_we_support():
    job = WORKFLOWS["tests.yml"]["jobs"]["tests"]
    matrix = job["strategy"]["matrix"]
    assert {name.split("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
    supported = Requirement(f"python{PROJECT['requires-python']}").specifier
    versions = [Version(version) for version in matrix["python"]]
    assert all(version in supported for version in versions)
    (oldest,) = supported
    assert oldest.operator == ">=" and Version(oldest.version) == min(versions)
    assert [version.minor for version in versions] == list(
        range(min(versions).minor, max(versions).minor + 1)
    ), "a version in between is not tested"
    assert (ROOT / "binder" / "runtime.txt").read_text().strip().removeprefix("python-") in matrix[
        "python"
    ]
    assert job["env"] == {"MNIST_LAB_SOURCE": "digits"}
    assert "python -m pytest" in commands(job)


def test_the_browser_job_has_playwright_and_keeps_how_it_looks():
    job = WORKFLOWS["tests.yml"]["jobs"]["browser"]
    assert 'pip install ".[browser]"' in commands(job)
    assert "browser" in PROJECT["optional-dependencies"]
    assert "python -m pytest tests/browser" in commands(job)
    assert list((ROOT / "tests" / "browser").glob("test_*.py"))
    upload = job["steps"][-1]
    assert upload["if"] == "always()"
    assert upload["with"]["path"] == "runs/browser/"


def test_a_plain_test_run_opens_no_browser(tmp_path):
    (tmp_path / "tests" / "browser").mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for file in ("test_any.py", "browser/test_page.py"):
        (tmp_path / "tests" / file).write_text("def test_it(): pass\n")
    collect = [sys.executable, "-m", "pytest", "--collect-only", "-q"]
    collected = [
        subprocess.run([*collect, *what], cwd=tmp_path, capture_output=True, text=True).stdout
        for what in ([], ["tests/browser"])
    ]
    assert ["test_any.py" in found for found in collected] == [True, False]
    assert ["test_page.py" in found for found in collected] == [False, True]


def test_colab_has_the_versions_it_had_and_nothing_of_the_runner():
    lines = (ROOT / ".ci" / "colab.txt").read_text(encoding="utf-8").splitlines()
    pins = {pin.name: pin for pin in map(Requirement, filter(is_requirement, lines))}
    needed = {Requirement(line).name for line in PROJECT["dependencies"]}
    assert needed <= set(pins), "the library is installed without what it needs"
    assert not set(pins) & {"papermill", "nbval", "jupyterlab", "pytest", "click", "psutil"}
    for name, version in {"torch": "2.11", "numpy": "2.0", "ipykernel": "6.17"}.items():
        assert str(pins[name].specifier).startswith(f"=={version}.")
    assert "python .ci/colab.py" in commands(WORKFLOWS["tests.yml"]["jobs"]["colab"])


def is_requirement(line: str) -> bool:
    return bool(line) and not line.startswith("#")


@pytest.mark.parametrize(
    "code, complaint",
    [
        ("assert not __import__('os').listdir()", None),
        ("import warnings\nwarnings.warn('old')", "UserWarning: old"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_notebook_runs_outside_of_the_repository(code, complaint, tmp_path):
    """What `.ci/colab.py` says of a notebook that runs, warns or fails, and its exit status."""
    notebook = new_notebook(cells=[new_code_cell(code)])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, tmp_path / "any.ipynb")
    command = [sys.executable, str(ROOT / ".ci" / "colab.py"), str(tmp_path / "any.ipynb")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == (complaint is not None), done.stderr
    assert (complaint or "runs") in done.stdout


def test_ruff_checks_and_formats():
    assert commands(WORKFLOWS["tests.yml"]["jobs"]["ruff"])[1:] == [
        "ruff check .",
        "ruff format --check .",
    ]


def test_the_course_runs_on_mnist_and_is_kept_even_if_it_fails():
    job = WORKFLOWS["course.yml"]["jobs"]["course"]
    run = next(step for step in job["steps"] if "mnist_lab run" in step.get("run", ""))
    assert run["run"] == "python -m mnist_lab run --dataset mnist"
    assert run["timeout-minutes"] < job["timeout-minutes"], "no time would be left for the upload"
    cache, upload = (
        next(step for step in job["steps"] if action in step.get("uses", ""))
        for action in ("actions/cache@", "actions/upload-artifact@")
    )
    assert cache["with"]["path"] == "data"
    assert upload["if"] == "always()"
    assert upload["with"]["path"] == "runs/"

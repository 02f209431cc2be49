"""GitHub's workflows name commands, files and versions that exist."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml
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
            known = (["pip", "install"], ["python", "-m", "pytest"], ["ruff"], ["grep"])
            assert any(words[: len(start)] == start for start in known), command


@pytest.mark.parametrize("file", WORKFLOWS)
def test_the_pins_are_installed_without_cudas_parts_and_the_library_without_its_own(file):
    install = "\n".join(line for job in WORKFLOWS[file]["jobs"].values() for line in commands(job))
    (pattern,) = re.findall(r"grep -vE '([^']+)' requirements.txt", install)
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

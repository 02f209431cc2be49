"""The archive for a classroom without a network holds what `make lab` needs there."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from mnist_lab.course import offline
from mnist_lab.validation import UserError

FILES = ("README.md", "mnist_lab/install.py", "notebooks/00_a.ipynb")
DIGITS = [f"{part}-{kind}.gz" for part in ("train", "t10k") for kind in ("images", "labels")]


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A clone with an environment; wheels and digits are at hand."""
    root = tmp_path / "clone"
    for name in (*FILES, "site/index.html", "runs/not_committed.txt", ".venv/pins.txt"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (root / ".venv" / "pins.txt").write_text("--extra-index-url https://a/cpu\ntorch==1\n")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    subprocess.run(["git", "add", *FILES], cwd=root, check=True)
    for name in DIGITS:
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(offline, "project_root", lambda: root)
    monkeypatch.setattr(sys, "prefix", str(root / ".venv"))
    monkeypatch.setattr(
        offline, "find_or_download", lambda *_: [tmp_path / name for name in DIGITS]
    )
    return root


@pytest.fixture
def pip(clone, monkeypatch):
    """What pip was asked for; it finds two wheels, or fails if `pip.append` has been called."""
    asked, run = [], subprocess.run

    def collect(command, **options):
        if command[0] == "git":
            return run(command, **options)
        asked.append(command)
        folder = Path(command[command.index("--wheel-dir") + 1])
        folder.mkdir()
        (folder / "torch-1-any.whl").write_text("a wheel")
        return subprocess.CompletedProcess(command, collect.returncode)

    collect.returncode = 0
    monkeypatch.setattr(offline.subprocess, "run", collect)
    collect.asked = asked
    return collect


def test_it_holds_the_course_the_digits_the_site_and_the_wheels(pip, clone, tmp_path):
    offline.pack(tmp_path / "course.zip")
    with ZipFile(tmp_path / "course.zip") as archive:
        names = set(archive.namelist())
        pins = archive.read("mnist-lab/wheels/pins.txt").decode()
    assert names == {
        f"mnist-lab/{name}"
        for name in (
            *FILES, "site/index.html", "wheels/pins.txt", "wheels/torch-1-any.whl",
            *(f"data/MNIST/raw/{name}" for name in DIGITS),
        )
    }  # fmt: skip
    assert "torch==1" in pins
    (command,) = pip.asked
    assert command[-2:] == ["--extra-index-url", "https://a/cpu"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [*DIGITS, "clone", "course.zip"]
    )


def test_a_failure_leaves_nothing_behind(pip, clone, tmp_path):
    pip.returncode = 1
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="not every wheel can be had"):
        offline.pack(tmp_path / "course.zip")
    assert sorted(tmp_path.rglob("*")) == before


def test_outside_of_a_clone_it_is_refused(clone, tmp_path, monkeypatch):
    monkeypatch.setattr(offline, "project_root", lambda: tmp_path)
    with pytest.raises(UserError, match="in a clone"):
        offline.pack(tmp_path / "course.zip")

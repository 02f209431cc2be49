"""The wheel, used outside of the repository: weights, exercises, records and the pad are in it."""

import os
import subprocess
import sys
from zipfile import ZipFile

import pytest

from conftest import ROOT

pytestmark = pytest.mark.slow
PROGRAM = """
import mnist_lab, torch
from mnist_lab import load_pretrained
from mnist_lab.drawing.pad import DrawingPad
from mnist_lab.exercises import exercises, guess, numbers, questions, quick
from mnist_lab.grading.grade import grade
from mnist_lab.recipes import NETWORKS
from mnist_lab.records import load_published, load_records

assert mnist_lab.__file__.startswith(FOLDER), mnist_lab.__file__
for name in [name for name, entry in NETWORKS.items() if entry.weights]:
    assert load_pretrained(name)(torch.zeros(1, 1, 28, 28)).shape == (1, 10)
assert len(load_records()) > 50 and load_published("ideas")["runs"]
assert sum(len(exercises(number)) for number in numbers()) > 40
answers = {}
exec(exercises("04")[0].solution, answers)
questions("04", answers)[0].check()
quick("04", 1, answer="a")
pad = DrawingPad(strokes=[[(0.5, 0.1), (0.5, 0.9)]])
pad.answer()
assert pad._esm and pad._css and len(pad.answers) == 2
"""


def test_what_is_installed_works_in_an_empty_folder(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
               "--wheel-dir", tmp_path, ROOT]  # fmt: skip
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("mnist_lab-1.0.0-*.whl")
    with ZipFile(wheel) as file:
        file.extractall(tmp_path / "installed")
    empty = tmp_path / "empty"
    empty.mkdir()
    program = f"FOLDER = {str(tmp_path / 'installed')!r}\n{PROGRAM}"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=empty, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "installed")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Right." in done.stdout and not list(empty.iterdir())

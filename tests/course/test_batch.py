"""Batches and sweeps of notebooks: what is planned, executed, kept, continued and refused."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from runners import posix, processes_of, signal_when, started, wait_for, write_notebook

from conftest import NOTEBOOKS, ROOT
from mnist_lab.__main__ import main
from mnist_lab.course.batch import BATCH, Batch, begin, load_batch, plan_sweep, run_batch
from mnist_lab.course.outcomes import SUMMARY, Interrupted, load_outcomes
from mnist_lab.course.runner import run_tasks
from mnist_lab.validation import UserError


@pytest.fixture(autouse=True)
def keep_environment(monkeypatch):
    monkeypatch.setenv("MNIST_LAB_SOURCE", "digits")
    monkeypatch.setenv("MNIST_LAB_RECORDS", "")


def run(tmp_path, *notebooks, jobs=2, **parameters):
    """Execute a new batch; its folder and its outcomes."""
    folder = begin(notebooks, tmp_path / "runs", "digits", parameters, jobs)
    return folder, run_batch(folder)


RECORD = """
import os, pathlib, time
held = b"x" * 200_000_000
time.sleep(0.5)
folder = pathlib.Path(os.environ["MNIST_LAB_RECORDS"])
folder.mkdir(exist_ok=True)
(folder / "a-seed0.json").write_text("{}")
assert os.path.basename(os.getcwd()) == "notebooks", os.getcwd()
"""


def test_a_batch_is_executed_kept_and_continued_as_it_was_begun(tmp_path, capsys):
    here, fixed = tmp_path / "notebooks", tmp_path / "fixed"
    here.mkdir()
    good = write_notebook(here / "00_good.ipynb", RECORD)
    bad = write_notebook(here / "01_bad.ipynb", f"import os\nassert os.path.exists({str(fixed)!r})")
    folder, first = run(tmp_path, good, bad, n=5)
    assert [(row.notebook, row.status) for row in first] == [
        ("00_good", "ok"),
        ("01_bad", "failed"),
    ]
    assert first[0].figures == {"n": "5"} and first[0].digits == "small digits"
    assert 220 < first[0].peak_mb < 400, "it is not the kernel's"
    assert first[1].error.startswith("cell [3]:\nimport os\nassert ")
    assert first[1].error.endswith("\n\nAssertionError: ")
    assert sorted(os.listdir(folder)) == [good.name, bad.name, BATCH, "records", SUMMARY]
    assert (folder / "records" / "a-seed0.json").read_text() == "{}"
    assert load_outcomes(folder / SUMMARY) == first
    assert load_batch(folder) == Batch([good, bad], "digits", {"n": 5}, 2)

    fixed.touch()
    kept = (folder / good.name).stat().st_mtime_ns
    second = run_batch(folder)
    assert second[0] == first[0] and second[1].status == "ok" and second[1].figures == {"n": "5"}
    assert (folder / good.name).stat().st_mtime_ns == kept, "run again for nothing"
    assert load_outcomes(folder / SUMMARY) == second


@pytest.mark.slow
def test_the_digits_of_a_batch_are_those_of_all_its_notebooks(tmp_path, monkeypatch):
    monkeypatch.setenv("MNIST_LAB_SOURCE", "mnist")
    shows = "from mnist_lab import load_data\nprint('digits:', load_data(dataset).name)"
    paths = [
        write_notebook(tmp_path / f"0{number}_a.ipynb", parameters=f"dataset = {default!r}",
                       figures=shows)
        for number, default in enumerate(("auto", "mnist"))
    ]  # fmt: skip
    folder = begin(paths, tmp_path / "runs", "digits")
    for outcome in run_batch(folder):
        assert outcome.digits == outcome.figures.get("digits") == "small digits", outcome.error


@posix
def test_a_kernel_that_dies_is_a_row_with_its_cell(tmp_path):
    death = "os.kill(os.getpid(), 9)"
    folder, (row,) = run(tmp_path, write_notebook(tmp_path / "00_a.ipynb", "import os", death))
    assert row.status == "failed: the kernel died"
    assert row.error.startswith(f"cell [3]:\n{death}\n\nIt was killed")
    assert sorted(os.listdir(folder)) == ["00_a.ipynb", BATCH, SUMMARY]


@posix
def test_a_notebook_that_is_stopped_leaves_nothing(tmp_path):
    begun = tmp_path / "begun"
    endless = f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\ntime.sleep(600)"
    folder = begin([write_notebook(tmp_path / "00_a.ipynb", endless)], tmp_path / "runs", "digits")
    with signal_when(begun.exists, signal.SIGTERM), pytest.raises(Interrupted) as stopped:
        run_batch(folder)
    (note,) = stopped.value.__notes__
    assert note.endswith(f"python -m mnist_lab run --resume {os.path.relpath(folder)}")
    assert os.listdir(folder) == [BATCH] and not processes_of(folder)


@posix
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_command_that_is_stopped_ends_in_one_sentence_and_is_continued(number, tmp_path):
    begun = tmp_path / "begun"
    endless = f"import pathlib, time\nbegun = pathlib.Path({str(begun)!r})\n" + (
        "if not begun.exists():\n    begun.touch()\n    time.sleep(600)"
    )
    quick = write_notebook(tmp_path / "01_a.ipynb")
    slow = write_notebook(tmp_path / "00_b.ipynb", endless)
    folder = begin([quick, slow], tmp_path / "runs", "digits")
    command = ("-m", "mnist_lab", "run", "--resume", str(folder))
    with started(*command, cwd=ROOT, stderr=subprocess.PIPE) as process:
        wait_for(lambda: begun.exists() and (folder / SUMMARY).exists(), seconds=300)
        process.send_signal(number)
        said = process.communicate(timeout=30)[1]
    wait_for(lambda: not processes_of(folder) and not list(folder.glob(".*")), seconds=10)
    assert sorted(os.listdir(folder)) == ["01_a.ipynb", BATCH, SUMMARY]
    assert not any(word in said for word in ("Traceback", "leaked", "IPKernelApp", "ERROR"))
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number
        last = said.strip().splitlines()[-1]
        assert last.startswith(f"Error: Stopped by {number.name}. What had finished is kept: ")
        assert last.endswith(f"run --resume {os.path.relpath(folder, ROOT)}")
    kept = (folder / quick.name).stat().st_mtime_ns
    assert [row.status for row in run_batch(folder)] == ["ok", "ok"]
    assert (folder / quick.name).stat().st_mtime_ns == kept, "run again for nothing"


def test_what_cannot_begin_is_refused(tmp_path):
    path, runs = write_notebook(tmp_path / "00_a.ipynb"), tmp_path / "runs"
    for words, arguments in {
        "parameter 'm'": {"parameters": {"m": 5}},
        "source must be .*'cifar'": {"dataset": "cifar"},
        "jobs must be": {"jobs": 0},
    }.items():
        asks = write_notebook(path, parameters="n = 1\ndataset = 'auto'")
        with pytest.raises(UserError, match=words):
            begin([asks], runs, **arguments)
    (tmp_path / "b").mkdir()
    with pytest.raises(UserError, match="same name"):
        begin([path, write_notebook(tmp_path / "b" / path.name)], runs, "digits")
    assert not runs.exists()


def test_two_batches_of_one_second_have_two_folders(tmp_path):
    path = write_notebook(tmp_path / "00_ä.ipynb")
    folders = {begin([path], tmp_path / "runs", "digits") for _ in range(3)}
    assert len(folders) == 3 and all(load_batch(folder).notebooks == [path] for folder in folders)


@pytest.mark.parametrize("content", [None, "", "{}", '{"notebooks": 3}', '{"notebooks": ["0'])
def test_a_folder_without_a_whole_batch_cannot_be_continued(content, tmp_path):
    if content is not None:
        (tmp_path / BATCH).write_text(content)
    result = CliRunner().invoke(main, ["run", "--resume", str(tmp_path)])
    assert result.exit_code == 2 and f"Error: {tmp_path / BATCH} " in result.output


def test_the_course_reads_and_writes_utf8_whatever_the_locale():
    rule = ["--select", "PLW1514", "--preview", "--no-cache", "--isolated"]  # no encoding named
    command = [sys.executable, "-m", "ruff", "check", *rule, str(ROOT / "mnist_lab" / "course")]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


# Sweeps


def trains(path, leaves="net-seed{seed}.json"):
    """A notebook that leaves a record of its run."""
    source = """
import json, os, pathlib
record = {"network": "N", "digits": "MNIST", "split": {"name": "random"}, "precision": "fp32",
          "recipe": {"num_epochs": 1}, "train_loss": [1], "train_accuracy": [1],
          "validation_loss": [1], "validation_accuracy": [lr], "seconds_per_epoch": [1],
          "test": {"total": 1}}
for name in {names}:
    pathlib.Path(os.environ["MNIST_LAB_RECORDS"], name).write_text(json.dumps(record))
""".replace("{names}", f"[f{leaves!r}]" if leaves else "[]")
    return write_notebook(path, source, parameters="seed = 0\nlr = 0.1", figures="print('lr:', lr)")


def test_a_plan_has_every_seed_and_every_combination(tmp_path):
    path = trains(tmp_path / "05_a.ipynb")
    tasks = plan_sweep([path], {"lr": [0.1, 0.2], "seed": [0, 7]}, "digits")
    assert [task.order["arguments"] for task in tasks] == [
        {"lr": lr, "seed": seed} for lr in (0.1, 0.2) for seed in (0, 7)
    ]
    assert all(task.name == task.home and task.digits == "digits" for task in tasks)
    assert tasks[0].name.startswith("05-digits-lr=0.1,seed=0-")
    others = plan_sweep([path], {"lr": ["0.1"], "seed": [0]}, "digits")
    others += plan_sweep([path], {"lr": [0.1], "seed": [0]}, "mnist")
    assert len({task.name for task in tasks + others}) == 6, "two runs would share a folder"


def test_what_cannot_be_planned_is_refused(tmp_path):
    path = trains(tmp_path / "05_a.ipynb")
    for words, grid in {
        "05_a has no parameter 'width'": {"width": [1], "seed": [0]},
        "seed must be": {"seed": [-1]},
    }.items():
        with pytest.raises(UserError, match=words):
            plan_sweep([path], grid, "digits")


def test_a_sweep_is_done_when_its_records_are_whole(tmp_path):
    path, folder = tmp_path / "05_a.ipynb", tmp_path / "sweep"
    tasks = plan_sweep([trains(path)], {"seed": [5]}, "digits")
    (outcome,) = run_tasks(tasks, folder, cores=1)
    assert (outcome.notebook, outcome.status) == (tasks[0].name, "ok")
    assert outcome.figures == {"lr": "0.1"}
    home = folder / tasks[0].home
    assert sorted(os.listdir(home)) == ["05_a.ipynb", "net-seed5.json", SUMMARY]
    copy = nbformat.read(home / "05_a.ipynb", as_version=4)
    assert any("seed = 5" in cell.source for cell in copy.cells)
    tasks[0].verify(home)

    def refused(task, words):
        with pytest.raises(UserError, match=words):
            task.verify(home)

    record = home / "net-seed5.json"
    whole = record.read_text()
    record.write_text(whole[:20])
    refused(tasks[0], r"net-seed5\.json")
    record.unlink()
    refused(tasks[0], "its record is missing")
    record.write_text(whole)
    (edited,) = plan_sweep([trains(path, leaves=None)], {"seed": [5]}, "digits")
    refused(edited, "its source has changed")
    (home / "05_a.ipynb").unlink()
    refused(tasks[0], r"05_a\.ipynb cannot be read")


@pytest.mark.slow
def test_a_notebook_of_the_course_in_a_sweep(tmp_path):
    path = next(path for path in NOTEBOOKS if path.name.startswith("05"))
    (task,) = plan_sweep([path], {"num_epochs": [1], "seed": [3]}, "digits")
    (outcome,) = run_tasks([task], tmp_path)
    assert outcome.status == "ok", outcome.error
    (path,) = Path(tmp_path, task.home).glob("gapnet-small-digits-*-seed3.json")
    record = json.loads(path.read_text())
    assert record["seed"] == 3 and record["digits"] == "small digits"
    assert record["recipe"]["num_epochs"] == len(record["validation_accuracy"]) == 1

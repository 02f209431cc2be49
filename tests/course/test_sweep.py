"""Many runs: planned, kept whole or not at all, continued after every kind of interruption."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import nbformat
import psutil
import pytest
from click.testing import CliRunner
from nbformat.v4 import new_code_cell, new_notebook
from runners import processes_of, wait_for

from mnist_lab.__main__ import main
from mnist_lab.course import sweep as sweeping
from mnist_lab.course.sweep import OUTCOME, plan, sweep
from mnist_lab.files import WriteError

TRAINS = """
import json, os, pathlib, time
begun = pathlib.Path({begun!r})
if seed in waiting and not (begun / "go on").exists():
    (begun / str(os.getpid())).touch()
    time.sleep(600)
folder = pathlib.Path(os.environ["MNIST_LAB_RECORDS"])
folder.mkdir(exist_ok=True)
record = {{"recipe": {{"num_epochs": 1}}, "validation_accuracy": [lr], "test": {{"total": 1}}}}
(folder / f"net-seed{{seed}}.json").write_text(json.dumps(record))
(folder / f"net-seed{{seed}}.weights").write_bytes(bytes(range(256)))  # no text
"""


def write_notebook(path, waiting=(), source=TRAINS):
    """A notebook that leaves a record; of the seeds that wait, only once they may go on."""
    begun = path.parent / "begun"
    begun.mkdir(exist_ok=True)
    parameters = "dataset = 'auto'\nseed = 0\nlr = 0.1"
    cells = [
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        new_code_cell(f"waiting = {list(waiting)}\n" + source.format(begun=str(begun))),
        new_code_cell("print('lr:', lr)", metadata={"tags": ["key-figures"]}),
    ]
    spec = {"name": "python3", "language": "python", "display_name": "Python 3"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": spec}), path)
    return path


def names(folder: Path) -> set[str]:
    """What the runs have left, without the key at the end of each folder."""
    return {f"{path.parent.name[:-9]}/{path.name}" for path in folder.glob("*/*")}


def left_by(seed: int) -> set[str]:
    run = f"04-digits-seed={seed}"
    files = ("04_a.ipynb", f"net-seed{seed}.json", f"net-seed{seed}.weights", OUTCOME)
    return {f"{run}/{file}" for file in files}


def test_a_plan_has_every_seed_and_every_combination(tmp_path):
    path = write_notebook(tmp_path / "04_a.ipynb")
    runs = plan([path], 2, {"lr": [0.1, 0.2]}, "digits")
    assert [dict(run.parameters) for run in runs] == [
        {"lr": lr, "seed": seed} for lr in (0.1, 0.2) for seed in (0, 1)
    ]
    others = plan([path], 2, {"lr": ["0.1", "0/2"]}, "digits") + plan([path], 1, {}, "mnist")
    assert len({run.name for run in runs + others}) == 9, "two runs would share a folder"
    assert all(len(Path(run.name).parts) == 1 for run in runs + others)
    assert [run.name for run in plan([path], 2, {"lr": [0.1, 0.2]}, "digits")] == [
        run.name for run in runs
    ]


@pytest.mark.parametrize(
    ("seeds", "grid", "sentence"),
    [
        (0, {}, "seeds must be 1 or more, not 0."),
        (1, {"width": [1]}, "04_a has no parameter 'width'."),
        (1, {"dataset": ["mnist"]}, "choose them with --dataset"),
    ],
)
def test_what_cannot_be_planned_is_refused(seeds, grid, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        plan([write_notebook(tmp_path / "04_a.ipynb")], seeds, grid, "digits")


def test_a_sweep_does_only_what_is_missing_and_names_what_is_damaged(tmp_path, capsys):
    path, folder = write_notebook(tmp_path / "04_a.ipynb"), tmp_path / "sweep"
    runs = plan([path], 3, {}, "digits")
    outcomes = sweep(runs, folder)
    assert [(row.notebook, row.status, row.figures) for row in outcomes] == [
        (run.name, "ok", {"lr": "0.1"}) for run in runs
    ]
    assert names(folder) == left_by(0) | left_by(1) | left_by(2)
    copy = nbformat.read(folder / runs[1].name / "04_a.ipynb", as_version=4)
    assert any("seed = 1" in cell.source for cell in copy.cells)
    assert (folder / runs[1].name / "net-seed1.weights").read_bytes() == bytes(range(256))

    damaged = folder / runs[1].name / "net-seed1.json"
    damaged.write_text(damaged.read_text()[:20])
    (folder / runs[2].name / "net-seed2.json").unlink()
    times = {run.name: (folder / run.name).stat().st_mtime_ns for run in runs}
    capsys.readouterr()
    assert sweep(runs, folder)[0] == outcomes[0]
    (said,) = capsys.readouterr().out.splitlines()
    assert said.startswith(f"{runs[1].name} is run again: ") and "is not a whole record" in said
    again = [name for name, t in times.items() if (folder / name).stat().st_mtime_ns != t]
    assert again == [runs[1].name, runs[2].name]
    assert names(folder) == left_by(0) | left_by(1) | left_by(2)

    write_notebook(path, source=TRAINS + "print('edited since')")
    sweep(plan([path], 1, {}, "digits"), folder)
    assert "has changed since" in capsys.readouterr().out


def test_a_failed_run_is_a_row_is_kept_and_is_tried_again(tmp_path):
    path, folder = tmp_path / "04_a.ipynb", tmp_path / "sweep"
    write_notebook(path, source="assert seed == 0, 'no luck'\n" + TRAINS)
    runs = plan([path], 2, {}, "digits")
    good, bad = sweep(runs, folder, jobs=1)
    assert (good.status, bad.status) == ("ok", "failed") and "no luck" in bad.error
    assert names(folder) == left_by(0) | {name for name in left_by(1) if "net" not in name}
    write_notebook(path)
    assert [row.status for row in sweep(plan([path], 2, {}, "digits"), folder)] == ["ok", "ok"]


def test_what_cannot_be_written_stops_the_sweep_and_keeps_the_rest(tmp_path, monkeypatch):
    keep, kept = sweeping._keep, []

    def full(done, folder):
        if kept:
            raise WriteError(folder, "No space left on device")
        kept.append(folder)
        keep(done, folder)

    monkeypatch.setattr(sweeping, "_keep", full)
    runs = plan([write_notebook(tmp_path / "04_a.ipynb")], 3, {}, "digits")
    with pytest.raises(WriteError, match="No space left"):
        sweep(runs, tmp_path / "sweep", jobs=1)
    assert names(tmp_path / "sweep") == left_by(0)
    assert not list((tmp_path / "sweep").glob(".partial*"))


def test_a_disk_that_is_full_during_a_run_stops_the_sweep(tmp_path, monkeypatch):
    begun = []

    def full(run, stop, folder):
        begun.append(run)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sweeping, "execute_run", full)
    runs = plan([write_notebook(tmp_path / "04_a.ipynb")], 5, {}, "digits")
    with pytest.raises(WriteError, match=r"sweep cannot be written \(No space left on device\)"):
        sweep(runs, tmp_path / "sweep", jobs=1)
    assert len(begun) == 1, "the sweep went on"
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="file"):
        sweep(runs, tmp_path / "file" / "sweep")


@pytest.fixture
def repository(tmp_path):
    """A repository with one training notebook, of which the second seed waits."""
    (tmp_path / "mnist_lab").mkdir()
    (tmp_path / "mnist_lab" / "data.py").touch()
    (tmp_path / "notebooks").mkdir()
    write_notebook(tmp_path / "notebooks" / "04_a.ipynb", waiting=[1])
    return tmp_path


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("victim", ["SIGINT", "SIGKILL", "worker"])
def test_an_interrupted_sweep_loses_nothing_and_leaves_nothing_running(
    victim, repository, monkeypatch
):
    folder, begun = repository / "runs" / "sweep", repository / "notebooks" / "begun"
    script = "from mnist_lab.__main__ import main; main()"
    command = [sys.executable, "-P", "-c", script, "sweep", "04", "--seeds", "2",
               "--dataset", "digits"]  # fmt: skip
    runner = subprocess.Popen(command, cwd=repository, stderr=subprocess.PIPE, text=True,
                              start_new_session=True)  # fmt: skip
    wait_for(lambda: list(begun.iterdir()) and list(folder.glob("*/net-seed0.json")))
    if victim == "worker":
        (kernel,) = (int(path.name) for path in begun.iterdir())
        psutil.Process(kernel).parent().kill()
    else:
        runner.send_signal(getattr(signal, victim))
    said = runner.communicate(timeout=60)[1]
    wait_for(lambda: not processes_of(folder), seconds=10)
    if victim == "SIGINT":
        assert runner.returncode == 130 and "Traceback" not in said
        assert said.strip().splitlines()[-1].startswith("Stopped by SIGINT. What had finished")
    if victim != "worker":  # there the run is a row like any failure
        assert {name for name in names(folder) if ".partial" not in name} == left_by(0)
    kept = next(folder.glob("*/net-seed0.json")).stat().st_mtime_ns
    (begun / "go on").touch()
    monkeypatch.chdir(repository)
    result = CliRunner().invoke(main, command[4:])
    assert result.exit_code == 0, result.output
    assert names(folder) == left_by(0) | left_by(1)
    assert next(folder.glob("*/net-seed0.json")).stat().st_mtime_ns == kept, "run for nothing"


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_cluster_does_the_same_runs_and_outlives_a_killed_worker(tmp_path):
    distributed = pytest.importorskip("distributed")
    path, folder = write_notebook(tmp_path / "04_a.ipynb", waiting=[1]), tmp_path / "sweep"
    runs = plan([path], 3, {}, "digits")
    begun = tmp_path / "begun"

    def kill_the_worker_that_waits():
        wait_for(lambda: list(begun.iterdir()))
        (kernel,) = (int(file.name) for file in begun.iterdir())
        (begun / "go on").touch()
        psutil.Process(kernel).parent().parent().kill()

    killer = threading.Thread(target=kill_the_worker_that_waits)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        killer.start()
        outcomes = sweep(runs, folder, cluster=cluster.scheduler_address)
        killer.join()
    assert [row.status for row in outcomes] == ["ok"] * 3
    assert names(folder) == left_by(0) | left_by(1) | left_by(2)
    wait_for(lambda: not processes_of(Path(tempfile.gettempdir()) / ".partial-"), seconds=10)


def test_a_scheduler_that_does_not_answer_is_one_sentence(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(sweeping, "CONNECT_SECONDS", 1)
    runs = plan([write_notebook(tmp_path / "04_a.ipynb")], 1, {}, "digits")
    with pytest.raises(
        ValueError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9"
    ) as error:
        sweep(runs, tmp_path / "sweep", cluster="tcp://127.0.0.1:9")
    assert "\n" not in str(error.value)

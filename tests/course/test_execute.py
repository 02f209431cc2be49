"""The runner: what it executes, keeps, resumes, shows, and refuses."""

import json
import os
import signal
import subprocess
import sys

import nbformat
import papermill
import pytest
from click.testing import CliRunner
from joblib import cpu_count
from nbformat.v4 import new_code_cell, new_notebook
from papermill.exceptions import PapermillExecutionError
from runners import processes_of, wait_for

from conftest import NOTEBOOKS, ROOT
from mnist_lab.__main__ import main
from mnist_lab.course import execute
from mnist_lab.course.notebooks import find_notebooks
from mnist_lab.files import WriteError
from mnist_lab.speed import choose_threads


def write_notebook(path, *sources, figures="print('accuracy: 97 %')", tags=()):
    cells = [new_code_cell("n = 1", metadata={"tags": ["parameters", *tags]})]
    cells += [new_code_cell(source) for source in sources]
    cells.append(new_code_cell(figures, metadata={"tags": ["key-figures"]}))
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


@pytest.fixture(autouse=True)
def keep_environment(monkeypatch):
    monkeypatch.setenv("MNIST_LAB_SOURCE", "digits")
    monkeypatch.setenv("MNIST_LAB_RECORDS", "")


def run(tmp_path, *notebooks, jobs=2, **parameters):
    """Execute a new batch; its folder and its outcomes."""
    folder = execute.begin(notebooks, tmp_path / "runs", "digits", parameters, jobs)
    return folder, execute.run_batch(folder)


def test_a_batch_keeps_what_finished_and_resumes_what_failed(tmp_path):
    marker = tmp_path / "fixed"
    good = write_notebook(tmp_path / "00_good.ipynb", "print('once')")
    bad = write_notebook(
        tmp_path / "01_bad.ipynb", f"import os\nassert os.path.exists({str(marker)!r}), 'broken'"
    )
    folder, first = run(tmp_path, good, bad)
    assert [outcome.status for outcome in first] == ["ok", "failed"]
    assert first[0].figures == {"accuracy": "97 %"}
    assert first[0].peak_mb > 20 and first[0].seconds > 0 and first[0].digits == "small digits"

    table = execute.summary_table(first)
    assert "01_bad, cell [2]" in table and "assert os.path.exists" in table
    assert "AssertionError: broken" in table
    assert (folder / "01_bad.ipynb").exists() and not list(folder.glob(".partial*"))

    marker.touch()
    finished = (folder / "00_good.ipynb").stat().st_mtime_ns
    second = execute.run_batch(folder)
    assert [outcome.status for outcome in second] == ["ok", "ok"]
    assert (folder / "00_good.ipynb").stat().st_mtime_ns == finished, "run again for nothing"
    assert execute.load_outcomes(folder / execute.SUMMARY) == second

    (folder / execute.SUMMARY).write_text('[{"notebook": "00_good", "status": "ok"}]')
    with pytest.raises(ValueError, match=r"summary\.json is no summary .* delete"):
        execute.run_batch(folder)


def test_a_resumed_batch_is_the_one_that_was_begun(tmp_path, capsys):
    paths = [
        write_notebook(tmp_path / f"0{i}_{name}.ipynb", figures="print('n:', n)")
        for i, name in enumerate(("edited", "lost", "kept", "other"))
    ]
    folder, _ = run(tmp_path, *paths[:3], n=5, jobs=1)
    capsys.readouterr()
    write_notebook(paths[0], "print('edited since')", figures="print('n:', n)")
    (folder / paths[1].name).unlink()
    kept = (folder / paths[2].name).stat().st_mtime_ns
    outcomes = execute.run_batch(folder)
    assert capsys.readouterr().out.splitlines() == [
        "00_edited is run again: its source has changed since.",
        "01_lost is run again: its executed copy is missing.",
    ]
    assert [(outcome.notebook, outcome.figures) for outcome in outcomes] == [
        ("00_edited", {"n": "5"}),
        ("01_lost", {"n": "5"}),
        ("02_kept", {"n": "5"}),
    ]
    assert "edited since" in (folder / paths[0].name).read_text()
    assert (folder / paths[2].name).stat().st_mtime_ns == kept
    assert execute.load_batch(folder) == execute.Batch(paths[:3], "digits", {"n": 5}, 1)


@pytest.mark.parametrize("option", ["00", "--dataset digits", "-p n 3", "--jobs 1"])
def test_another_batch_is_not_a_continuation(option, tmp_path):
    result = CliRunner().invoke(main, ["run", *option.split(), "--resume", str(tmp_path)])
    assert result.exit_code == 2 and "--resume continues a run as it was begun" in result.output


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"notebooks": 3}'])
def test_a_folder_without_a_batch_cannot_be_continued(content, tmp_path):
    if content is not None:
        (tmp_path / execute.BATCH).write_text(content)
    result = CliRunner().invoke(main, ["run", "--resume", str(tmp_path)])
    assert result.exit_code == 2 and "holds no batch that can be continued" in result.output


def test_two_batches_of_one_second_have_two_folders_and_one_folder_one_runner(tmp_path):
    path = write_notebook(tmp_path / "00_a.ipynb")
    folders = {execute.begin([path], tmp_path / "runs", "digits") for _ in range(3)}
    assert len(folders) == 3 and all((folder / execute.BATCH).exists() for folder in folders)
    folder = folders.pop()
    with execute.only_runner(folder), pytest.raises(ValueError, match="another runner is at work"):
        execute.run_batch(folder)
    with execute.only_runner(folder):
        pass


DEATHS = ["os._exit(3)", "os.kill(os.getpid(), 9)", "os.kill(os.getppid(), 9); time.sleep(60)"]


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("death", DEATHS, ids=["exit", "kernel killed", "worker killed"])
def test_a_death_is_a_row_and_the_others_go_on(death, jobs, tmp_path):
    dead = write_notebook(tmp_path / "00_a.ipynb", "import os, time", f"print(1)\n{death}")
    alive = write_notebook(tmp_path / "01_b.ipynb")
    folder, outcomes = run(tmp_path, dead, alive, jobs=jobs)
    assert [outcome.status for outcome in outcomes] == ["failed: the kernel died", "ok"]
    assert outcomes[0].error.startswith(f"cell [3]:\nprint(1)\n{death}\n\nThe kernel died")
    assert outcomes == execute.load_outcomes(folder / execute.SUMMARY)
    assert "00_a, cell [3]:" in execute.summary_table(outcomes)
    assert sorted(os.listdir(folder)) == [
        "00_a.ipynb", "01_b.ipynb", execute.BATCH, execute.SUMMARY,
    ]  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
def test_nothing_outlives_a_runner_and_nothing_is_lost(number, tmp_path):
    begun = tmp_path / "begun"
    quick = write_notebook(tmp_path / "00_a.ipynb")
    endless = f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\ntime.sleep(600)"
    slow = write_notebook(tmp_path / "01_b.ipynb", endless)
    folder = execute.begin([quick, slow], tmp_path / "runs", "digits")
    script = "from mnist_lab.__main__ import main; main()"
    runner = subprocess.Popen(
        [sys.executable, "-c", script, "run", "--resume", str(folder)],
        stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True,
    )  # fmt: skip
    wait_for(lambda: begun.exists() and (folder / execute.SUMMARY).exists())
    assert len(processes_of(folder)) == 2  # a worker and its kernel
    runner.send_signal(getattr(signal, number))
    said = runner.communicate(timeout=30)[1]
    wait_for(lambda: not processes_of(folder), seconds=10)
    assert sorted(os.listdir(folder)) == ["00_a.ipynb", execute.BATCH, execute.SUMMARY]
    if number != "SIGKILL":
        assert runner.returncode == 128 + getattr(signal, number)
        last = said.strip().splitlines()[-1]
        assert last.startswith(f"Stopped by {number}. What had finished is kept: continue with ")
        assert last.endswith(f"run --resume {os.path.relpath(folder, ROOT)}")
        assert not any(word in said for word in ("Traceback", "leaked", "IPKernelApp", "ERROR"))
    kept = (folder / quick.name).stat().st_mtime_ns
    write_notebook(slow)
    assert [outcome.status for outcome in execute.run_batch(folder)] == ["ok", "ok"]
    assert (folder / quick.name).stat().st_mtime_ns == kept


def test_what_cannot_be_written_stops_the_batch_in_one_sentence(tmp_path, monkeypatch):
    paths = [write_notebook(tmp_path / f"0{i}_a.ipynb") for i in range(3)]
    write, written = execute.write_file, []

    def full(path, text):
        if len(written) == 2:  # the batch and the first notebook's row
            raise WriteError(path, "No space left on device")
        written.append(path)
        write(path, text)

    monkeypatch.setattr(execute, "write_file", full)
    folder = execute.begin(paths, tmp_path / "runs", "digits", jobs=1)
    result = CliRunner().invoke(main, ["run", "--resume", str(folder)])
    assert result.exit_code == 1, result.output
    assert "cannot be written (No space left on device)" in result.output
    assert f"run --resume {os.path.relpath(folder)}" in result.output
    assert [row.notebook for row in execute.load_outcomes(folder / execute.SUMMARY)] == ["00_a"]
    assert not (folder / paths[2].name).exists(), "the batch went on"


@pytest.mark.skipif(cpu_count() < 2, reason="one core runs one notebook at a time")
def test_notebooks_run_side_by_side_but_those_that_measure(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    meet = """
import os, time, pathlib
here, share = pathlib.Path("{folder}"), {share}
assert os.environ.get("OMP_NUM_THREADS") == share, os.environ.get("OMP_NUM_THREADS")
(here / "{me}").touch()
for _ in range(600):
    if all((here / other).exists() for other in {others}):
        break
    time.sleep(0.1)
else:
    raise TimeoutError("the others did not come")
"""
    fields = {"folder": tmp_path.as_posix(), "others": ["1", "2"]}
    share = repr(str(min(cpu_count() // 2, choose_threads())))
    first = write_notebook(tmp_path / "01_a.ipynb", meet.format(me=1, share=share, **fields))
    second = write_notebook(tmp_path / "02_b.ipynb", meet.format(me=2, share=share, **fields))
    alone = """
import os, pathlib
assert os.environ.get("OMP_NUM_THREADS") is None
(summary,) = [path.read_text() for path in pathlib.Path("{folder}").glob("runs/*/summary.json")]
assert summary.count('"ok"') == 3
"""
    late = f"from pathlib import Path\nassert any(Path({str(tmp_path)!r}).glob('runs/*/0[12]*'))"
    early = write_notebook(tmp_path / "00_b.ipynb", late)  # short, so there is no hurry
    last = write_notebook(tmp_path / "00_c.ipynb", alone.format(**fields), tags=["alone"])
    _, outcomes = run(tmp_path, early, last, first, second)
    assert [outcome.notebook for outcome in outcomes] == ["00_b", "00_c", "01_a", "02_b"]
    assert [outcome.error for outcome in outcomes] == ["", "", "", ""]
    assert outcomes[2].cores == outcomes[3].cores == int(share.strip("'"))
    assert outcomes[1].cores == cpu_count()
    with pytest.raises(ValueError, match="jobs must be 1 or more, not 0"):
        run(tmp_path, first, jobs=0)


def test_parameters_reach_the_notebooks_that_declare_them(tmp_path):
    path = write_notebook(tmp_path / "00_a.ipynb", figures="print('n:', n)")
    _, (outcome,) = run(tmp_path, path, n=5)
    assert outcome.figures == {"n": "5"}
    with pytest.raises(ValueError, match="no notebook has a parameter 'm'"):
        run(tmp_path, path, m=5)


def digits_notebook(path, default):
    """A notebook that prints which digits it loads."""
    cells = [
        new_code_cell(f"dataset = {default!r}", metadata={"tags": ["parameters"]}),
        new_code_cell(
            "from mnist_lab import load_data\nprint('digits:', load_data(dataset).name)",
            metadata={"tags": ["key-figures"]},
        ),
    ]
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


def test_a_row_names_the_digits_that_were_used(tmp_path, monkeypatch):
    monkeypatch.setenv("MNIST_LAB_SOURCE", "mnist")
    asks = digits_notebook(tmp_path / "00_asks.ipynb", "auto")
    knows = digits_notebook(tmp_path / "01_knows.ipynb", "mnist")
    folder = execute.begin([asks, knows], tmp_path / "runs", parameters={"dataset": "digits"})
    for outcome in execute.run_batch(folder):
        assert outcome.digits == outcome.figures.get("digits") == "small digits", outcome.error
    with pytest.raises(ValueError, match="-p dataset digits contradicts --dataset mnist"):
        execute.begin([asks], tmp_path / "runs", "mnist", {"dataset": "digits"})
    with pytest.raises(ValueError, match="unknown source 'cifar'"):
        execute.begin([asks], tmp_path / "runs", parameters={"dataset": "cifar"})


def test_the_command_exits_with_failure_and_one_sentence(tmp_path, monkeypatch):
    result = CliRunner().invoke(main, ["run", "99"])
    assert result.exit_code == 2 and "no notebook begins with '99'" in result.output
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "mnist_lab").mkdir()
    (tmp_path / "mnist_lab" / "data.py").touch()
    write_notebook(tmp_path / "notebooks" / "00_bad.ipynb", "1 / 0")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["run", "--dataset", "digits"])
    assert result.exit_code == 1 and "ZeroDivisionError" in result.output
    (summary,) = (tmp_path / "runs").glob("*/summary.json")
    assert json.loads(summary.read_text())[0]["status"] == "failed"


@pytest.mark.parametrize(
    ("notebook", "parameters", "sentence"),
    [
        ("00", {"dataset": "cifar"}, "unknown source 'cifar'"),
        ("01", {"max_degrees": 200}, "degrees must be a number from 0 to 180, not 200"),
        ("03", {"num_digits": 0}, "the number of digits must be a whole number from 1 on, not 0"),
        ("04", {"num_epochs": 0}, "num_epochs must be a whole number from 1 on, not 0"),
        ("06", {"seed": "three"}, "seed must be a whole number from 0 on, not 'three'"),
    ],
)
def test_a_wrong_parameter_fails_at_once_with_one_sentence(
    notebook, parameters, sentence, tmp_path
):
    (path,) = find_notebooks(ROOT / "notebooks", [notebook])
    with pytest.raises(PapermillExecutionError, match=sentence) as failure:
        papermill.execute_notebook(
            str(path), str(tmp_path / "out.ipynb"), parameters, progress_bar=False
        )
    assert failure.value.exec_count <= 7, "it should fail before anything is trained"


def test_a_notebook_runs_from_the_root_with_other_parameters(tmp_path, monkeypatch):
    path = next(path for path in NOTEBOOKS if path.name.startswith("04"))
    monkeypatch.setenv("MNIST_LAB_RECORDS", str(tmp_path))
    parameters = {"dataset": "digits", "num_epochs": 1, "seed": 3}
    papermill.execute_notebook(
        str(path), str(tmp_path / "out.ipynb"), parameters, cwd=str(ROOT), progress_bar=False
    )
    (path,) = tmp_path.glob("gapnet-small-digits-*-seed3.json")
    record = json.loads(path.read_text())
    assert record["seed"] == 3 and record["digits"] == "small digits"
    assert record["recipe"]["num_epochs"] == len(record["validation_accuracy"]) == 1


def test_the_library_works_without_the_tools_of_the_runner(tmp_path):
    script = """
import sys
from pathlib import Path
absent = {"papermill", "nbval", "jupyter", "jupyterlab", "nbformat", "click", "psutil", "pytest",
          "IPython", "ipykernel"}
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in absent:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import mnist_lab
from mnist_lab import plots as figures
data = mnist_lab.load_data("digits")
recipe = mnist_lab.Recipe(1, 128, 0.001)
network = mnist_lab.GapNet()
history = mnist_lab.fit(network, data, recipe)
result = mnist_lab.evaluate(network, data.test, recipe)
mnist_lab.save_record(network, data, history, result)
figures.plot_history(history)
figures.plot_confusion(result)
print("works", not absent & {name.split(".")[0] for name in sys.modules})
"""
    environment = {**os.environ, "MPLBACKEND": "Agg", "MNIST_LAB_RECORDS": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:mnist_lab", "-c", script],
        capture_output=True, text=True, env=environment, cwd=ROOT,
    )  # fmt: skip
    assert run.stdout.splitlines()[-1:] == ["works True"], run.stderr

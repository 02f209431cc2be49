"""The runner: what it executes, keeps, resumes, shows, and refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
from click.testing import CliRunner
from joblib import cpu_count
from nbformat.v4 import new_code_cell, new_notebook
from papermill.exceptions import PapermillExecutionError

from conftest import NOTEBOOKS, ROOT
from mnist_lab.__main__ import main
from mnist_lab.course import execute


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


def test_a_batch_keeps_what_finished_and_resumes_what_failed(tmp_path):
    folder, marker = tmp_path / "run", tmp_path / "fixed"
    good = write_notebook(tmp_path / "00_good.ipynb", "print('once')")
    bad = write_notebook(
        tmp_path / "01_bad.ipynb", f"import os\nassert os.path.exists({str(marker)!r}), 'broken'"
    )
    first = execute.run_course([good, bad], folder, "digits")
    assert [outcome.status for outcome in first] == ["ok", "failed"]
    assert first[0].figures == {"accuracy": "97 %"}
    assert first[0].peak_mb > 20 and first[0].seconds > 0 and first[0].digits == "small digits"

    table = execute.summary_table(first)
    assert "cell [2]" in table and "assert os.path.exists" in table
    assert "AssertionError: broken" in table
    assert (folder / "01_bad.ipynb").exists() and not list(folder.glob(".partial*"))

    marker.touch()
    finished = (folder / "00_good.ipynb").stat().st_mtime_ns
    second = execute.run_course([good, bad], folder, "digits")
    assert [outcome.status for outcome in second] == ["ok", "ok"]
    assert (folder / "00_good.ipynb").stat().st_mtime_ns == finished, "run again for nothing"
    assert execute.load_outcomes(folder / execute.SUMMARY) == second

    (folder / execute.SUMMARY).write_text('[{"notebook": "00_good", "status": "ok"}]')
    with pytest.raises(ValueError, match=r"summary\.json is no summary .* delete"):
        execute.load_outcomes(folder / execute.SUMMARY)


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
    share = repr(str(cpu_count() // 2))
    first = write_notebook(tmp_path / "01_a.ipynb", meet.format(me=1, share=share, **fields))
    second = write_notebook(tmp_path / "02_b.ipynb", meet.format(me=2, share=share, **fields))
    alone = """
import os, pathlib
assert os.environ.get("OMP_NUM_THREADS") is None
summary = pathlib.Path("{folder}/run/summary.json").read_text()
assert summary.count('"ok"') == 3
"""
    late = f"from pathlib import Path\nassert any(Path({str(tmp_path / 'run')!r}).glob('0[12]*'))"
    early = write_notebook(tmp_path / "00_b.ipynb", late)  # short, so there is no hurry
    last = write_notebook(tmp_path / "00_c.ipynb", alone.format(**fields), tags=["alone"])
    outcomes = execute.run_course([early, last, first, second], tmp_path / "run", "digits")
    assert [outcome.notebook for outcome in outcomes] == ["00_b", "00_c", "01_a", "02_b"]
    assert [outcome.error for outcome in outcomes] == ["", "", "", ""]
    assert outcomes[2].cores == outcomes[3].cores == cpu_count() // 2
    with pytest.raises(ValueError, match="jobs must be 1 or more, not 0"):
        execute.run_course([first], tmp_path / "other", "digits", jobs=0)


def test_an_interrupted_notebook_leaves_nothing_half_done(tmp_path, monkeypatch):
    def interrupt(source, target, *_, **__):
        Path(target).write_text("half")
        raise KeyboardInterrupt

    path = write_notebook(tmp_path / "00_a.ipynb")
    monkeypatch.setattr(papermill, "execute_notebook", interrupt)
    with pytest.raises(KeyboardInterrupt):
        execute.run_course([path], tmp_path / "run", "digits")
    assert list((tmp_path / "run").iterdir()) == []


def test_parameters_reach_the_notebooks_that_declare_them(tmp_path):
    path = write_notebook(tmp_path / "00_a.ipynb", figures="print('n:', n)")
    (outcome,) = execute.run_course([path], tmp_path / "run", "digits", {"n": 5})
    assert outcome.figures == {"n": "5"}
    with pytest.raises(ValueError, match="no notebook has a parameter 'm'"):
        execute.run_course([path], tmp_path / "other", "digits", {"m": 5})


def test_notebooks_are_chosen_by_their_beginnings():
    chosen = execute.find_notebooks(ROOT / "notebooks", ["03", "00_start"])
    assert [path.name[:2] for path in chosen] == ["00", "03"]
    with pytest.raises(ValueError, match="no notebook begins with '99'"):
        execute.find_notebooks(ROOT / "notebooks", ["99"])


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
    (path,) = execute.find_notebooks(ROOT / "notebooks", [notebook])
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
    record = json.loads((tmp_path / "gapnet-small-digits-seed3.json").read_text())
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
from mnist_lab import figures
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

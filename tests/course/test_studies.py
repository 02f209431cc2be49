"""Studies: functions as runs, each result in its place, continued after every kind of stop."""

import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner
from runners import processes_of, wait_for

from mnist_lab import records
from mnist_lab.__main__ import main
from mnist_lab.course import studies
from mnist_lab.course.studies import RESULT, Failed, conduct, study
from mnist_lab.studies import ablations
from mnist_lab.studies import epoch_time as epochs
from mnist_lab.studies import fit_accuracy as accuracy
from mnist_lab.studies import time_to_accuracy as race
from mnist_lab.studies import unseen_writers as folding

EXPERIMENT = """
import os, pathlib, time

def run(word, seed):
    assert not pathlib.Path(f"unlucky {seed}").exists(), "no luck"
    return {"word": word, "seed": seed, "digits": os.environ["MNIST_LAB_SOURCE"]}

def train(way, network, seed, num_epochs):
    assert not pathlib.Path("unlucky").exists(), "no luck"
    if seed == 1 and way == "fit" and not pathlib.Path("go on").exists():
        pathlib.Path(f"begun {os.getpid()}").touch()
        time.sleep(600)
    share = 0.9 + seed / 100 + (0.001 if way == "fit" else 0)
    return {"way": way, "validation": share, "precision": "fp32", "digits": network,
            "processor": "P"}
"""
CASES = [{"word": word, "seed": seed} for word in ('a "b"', "3×3, c") for seed in (0, 1)]


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """A module of experiments in the folder that everything stands in."""
    (tmp_path / "experiment.py").write_text(EXPERIMENT, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("experiment", None)
    yield importlib.import_module("experiment")
    sys.modules.pop("experiment")


def results_in(folder: Path) -> dict[str, int]:
    """When each run has left its result, by the run's name."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob(f"*/{RESULT}")}


def test_a_study_does_only_what_is_missing_damaged_or_out_of_date(
    experiment, tmp_path, monkeypatch, capsys
):
    folder, expected = tmp_path / "runs" / "studies" / "words", [
        case | {"digits": "digits"} for case in CASES
    ]  # fmt: skip
    runs = study(experiment.run, CASES, "digits")
    assert conduct("words", runs[1:], jobs=2) == expected[1:]
    kept = results_in(folder)
    assert kept.keys() == {run.name for run in runs[1:]}
    assert {path.name for path in (folder / runs[1].name).iterdir()} == {
        RESULT, "outcome.json", "experiment_run.ipynb"
    }  # fmt: skip

    damaged, lost = (folder / run.name / RESULT for run in runs[1:3])
    damaged.write_text(damaged.read_text()[:20])
    lost.unlink()
    capsys.readouterr()
    assert conduct("words", study(experiment.run, CASES, "digits")) == expected
    for path, said in zip((damaged, lost), capsys.readouterr().out.splitlines()):
        assert said.startswith(f"{path.parent.name} is run again: {path} is not a whole result (")
    now = results_in(folder)
    assert [name for name in kept if now[name] == kept[name]] == [runs[3].name]

    (tmp_path / "experiment.py").write_text(EXPERIMENT.replace('word": word', 'word": seed'))
    changed = conduct("words", study(experiment.run, CASES[:1], "digits"))
    assert changed[0]["word"] == 0
    assert "is run again: the notebook has changed since." in capsys.readouterr().out
    assert results_in(folder).keys() == now.keys()


@pytest.mark.parametrize(
    "change",
    [
        lambda patch, library: patch.setattr(torch, "__version__", "0"),
        lambda patch, library: patch.setattr(studies, "processor", lambda: "another"),
        lambda patch, library: (library / "training.py").write_text("# edited"),
        lambda patch, library: (library / "bench" / "textbook.py").write_text("# edited"),
    ],
    ids=["torch", "processor", "library", "bench"],
)
def test_what_a_result_depends_on_is_in_its_source(change, experiment, tmp_path, monkeypatch):
    library = tmp_path / "library"
    (library / "bench").mkdir(parents=True)
    monkeypatch.setattr(studies.mnist_lab, "__file__", str(library / "__init__.py"))

    def cell():
        (run,) = study(experiment.run, CASES[:1], "digits")
        return json.loads(run.source)["cells"][0]["source"]

    before = cell()
    assert cell() == before
    (library / "__main__.py").write_text("# stands above")
    (library / "course").mkdir()
    (library / "course" / "execute.py").write_text("# stands above")
    assert cell() == before
    change(monkeypatch, library)
    assert cell() != before


def test_a_run_that_fails_is_a_row_and_the_others_are_kept(experiment, tmp_path, capsys):
    runs = study(experiment.run, CASES[:2], "digits")
    (tmp_path / "unlucky 0").touch()
    with pytest.raises(Failed, match=r"^1 of 2 runs failed, .* the same command tries them again"):
        conduct("words", runs, jobs=1)
    said = capsys.readouterr().out
    assert "AssertionError: no luck" in said and all(run.name in said for run in runs)
    kept = results_in(tmp_path / "runs" / "studies" / "words")
    assert list(kept) == [runs[1].name]
    (tmp_path / "unlucky 0").unlink()
    assert [result["seed"] for result in conduct("words", runs, jobs=1)] == [0, 1]
    assert results_in(tmp_path / "runs" / "studies" / "words").items() > kept.items()


# The command line

SCRIPT = """
import sys

sys.path.append(".")
import experiment
from mnist_lab.studies import fit_accuracy as accuracy
from mnist_lab.__main__ import main

accuracy.run = experiment.train
main()
"""
COMPARE = ["compare", "--network", "bottleneck", "--seeds", "2", "--epochs", "1"]


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_an_interrupted_comparison_loses_nothing_and_leaves_nothing_running(
    experiment, tmp_path, monkeypatch
):
    folder = tmp_path / "runs" / "studies" / "compare"
    monkeypatch.setenv("MNIST_LAB_SOURCE", "digits")
    runner = subprocess.Popen(
        [sys.executable, "-P", "-c", SCRIPT, *COMPARE, "--jobs", "2"],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    wait_for(lambda: len(results_in(folder)) == 3 and list(tmp_path.glob("begun *")))
    kept = results_in(folder)
    runner.send_signal(signal.SIGINT)
    said = runner.communicate(timeout=60)[1]
    wait_for(lambda: not processes_of(folder), seconds=10)
    assert runner.returncode == 130 and "Traceback" not in said
    assert said.strip().splitlines()[-1] == (
        "Stopped by SIGINT. What had finished is kept: the same command continues."
    )
    assert results_in(folder) == kept and not list(tmp_path.glob("runs/compare/*"))

    (tmp_path / "unlucky").touch()
    monkeypatch.setattr(accuracy, "run", experiment.train)
    result = CliRunner().invoke(main, COMPARE)
    assert result.exit_code == 1 and "Error: 1 of 4 runs failed" in result.output
    (tmp_path / "unlucky").unlink()
    (tmp_path / "go on").touch()
    result = CliRunner().invoke(main, COMPARE)
    assert result.exit_code == 0, result.output
    assert len(results_in(folder)) == 4 and results_in(folder).items() > kept.items()
    (path,) = tmp_path.glob("runs/compare/bottleneck-*.json")
    assert json.loads(path.read_text())["validation"] == {
        "textbook": pytest.approx([0.9, 0.91]),
        "fit": pytest.approx([0.901, 0.911]),
    }


def test_a_real_comparison_on_the_small_digits(tmp_path, monkeypatch):
    monkeypatch.setenv("MNIST_LAB_SOURCE", "digits")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, COMPARE)
    assert result.exit_code == 0, result.output
    (path,) = tmp_path.glob("runs/compare/bottleneck-*.json")
    record = json.loads(path.read_text())
    assert accuracy.table(record) in result.output
    assert f"written: {path.relative_to(tmp_path)}" in result.output
    assert record["network"] == "BottleneckNet" and record["digits"] == "small digits"
    assert {way: len(values) for way, values in record["validation"].items()} == {
        "textbook": 2,
        "fit": 2,
    }


def test_a_real_run_of_the_race_starts_processes_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    case = {"goal": 0.99, "seed": 0, "threads": 1}
    (result,) = conduct("race", study(race.run, [case], "digits"), jobs=1)
    assert result["seconds"] > 0 and result["example_step"] > 0 and 0 < result["test"] <= 1


# What is asked of each study, and what is made of its results


@pytest.fixture
def answers(tmp_path, monkeypatch):
    """Runs are answered at once by a function that a test gives; what was asked is noted."""
    asked = SimpleNamespace(runs=[], options=None, answer=None)

    def at_once(kind, runs, *options, **named):
        asked.kind, asked.options = kind, (options, named)
        asked.runs += [(run.notebook, dict(run.parameters), run.digits) for run in runs]
        return [asked.answer(run.notebook, **dict(run.parameters)) for run in runs]

    monkeypatch.setenv("MNIST_LAB_SOURCE", "digits")
    monkeypatch.setattr(records, "project_root", lambda: tmp_path)
    monkeypatch.setattr(studies, "conduct", at_once)
    return asked


def written(tmp_path: Path, kind: str) -> tuple[str, dict]:
    (path,) = (tmp_path / "runs" / kind).iterdir()
    return path.name, json.loads(path.read_text())


@pytest.mark.parametrize("network", epochs.NETWORKS)
def test_every_accuracy_is_recorded_for_its_way_and_seed(network, answers, tmp_path, capsys):
    def answer(notebook, way, network, seed, num_epochs):
        fast = way == "fit"
        return {
            "way": way,
            "validation": 0.5 + seed / 10 + 0.01 * fast,
            "precision": "bf16" if fast else "fp32",
            "digits": "small digits",
            "processor": f"P{seed % 2}",
        }

    answers.answer = answer
    record = studies.compare(network, 3, 4, 2, "tcp://there")
    assert answers.options == ((2, "tcp://there"), {}) and answers.kind == "compare"
    assert sorted(answers.runs, key=str) == sorted(
        (
            (
                "accuracy_run",
                {"way": way, "network": network, "seed": seed, "num_epochs": 4},
                "digits",
            )
            for way in epochs.WAYS
            for seed in range(3)
        ),
        key=str,
    )
    name, stored = written(tmp_path, "compare")
    assert name.startswith(f"{network}-") and stored == record
    make, recipe, _ = epochs.NETWORKS[network]
    assert record == {
        "network": make.__name__,
        "num_epochs": 4,
        "recipe": repr(accuracy.shortened(recipe, 4)),
        "digits": "small digits",
        "processor": "P0 and P1",
        "torch": torch.__version__,
        "precision": "bf16",  # that of fit
        "validation": {
            "textbook": pytest.approx([0.5, 0.6, 0.7]),
            "fit": pytest.approx([0.51, 0.61, 0.71]),
        },
    }
    assert accuracy.table(record) in capsys.readouterr().out


@pytest.mark.parametrize("example_epochs", [0, 2])
def test_a_race_is_run_one_after_the_other_and_recorded(
    example_epochs, answers, tmp_path, monkeypatch, capsys
):
    def answer(notebook, seed, threads, goal=None, num_epochs=None):
        if notebook == "race_example":
            return {"test": [0.9 + seed / 100, 0.99]}
        return {
            "goal": goal, "threads": threads, "seconds": 2.0, "precision": "fp32", "digits": 40,
            "validation": 0.5, "test": goal - seed / 100, "example_step": 0.5 + seed,
        }  # fmt: skip

    answers.answer = answer
    monkeypatch.setattr(race, "load_data", lambda: SimpleNamespace(name="MNIST"))
    record = studies.race(3, example_epochs)
    assert answers.options == ((), {"jobs": 1}) and answers.kind == "race"
    threads = torch.get_num_threads()
    sprints = [
        ("race_run", {"goal": goal, "seed": seed, "threads": threads}, "mnist")
        for goal in (0.99, 0.994)
        for seed in range(3)
    ]
    examples = [
        ("race_example", {"seed": seed, "num_epochs": 2, "threads": threads}, "mnist")
        for seed in range(3)
    ]
    assert answers.runs == sprints + (examples if example_epochs else [])
    assert written(tmp_path, "race")[1] == record
    assert record["digits"] == "MNIST" and record["threads"] == threads
    assert [sprint["test"] for sprint in record["sprints"]] == [
        pytest.approx([goal, goal - 0.01, goal - 0.02]) for goal in (0.99, 0.994)
    ]
    assert record["sprints"][1]["example_seconds"] == [
        race.EXAMPLE_STEPS * step for step in (0.5, 1.5, 2.5)
    ]
    if example_epochs:
        assert record["example"] == [[0.9, 0.99], [0.91, 0.99], [0.92, 0.99]]
    else:
        assert "example" not in record
    assert race.table(record) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [((), list(ablations.CASES)), (("optimizer", "norm", "norm"), ["optimizer", "norm"])],
)
def test_ablations_are_those_that_were_asked_for(
    chosen, expected, answers, tmp_path, monkeypatch, capsys
):
    answers.answer = lambda notebook, **case: case | {"digits": "small digits"}
    monkeypatch.setattr(ablations, "table", lambda results: f"a table of {len(results)}")
    record = studies.ablate(chosen, 2, 1)
    cases = [
        {"study": name, "case": case, "seed": seed}
        for name in expected
        for case in ablations.CASES[name]
        for seed in (0, 1)
    ]
    assert answers.runs == [("ablations_run", case, "digits") for case in cases]
    assert record["runs"] == [case | {"digits": "small digits"} for case in cases]
    assert record["digits"] == "small digits"
    assert written(tmp_path, "ablate")[1] == record
    assert f"a table of {len(cases)}" in capsys.readouterr().out


def test_strangers_are_asked_for_in_every_fold(answers, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(studies, "load_data", lambda: SimpleNamespace(is_mnist=True))
    answers.answer = lambda notebook, **case: case
    monkeypatch.setattr(folding, "table", lambda results: f"a table of {len(results)}")
    record = studies.strangers("gap", 7, 1)
    assert record["digits"] == "MNIST" and written(tmp_path, "strangers")[1] == record
    assert record["runs"] == [
        {"network": "gap", "fold": fold, "num_epochs": 7} for fold in range(6)
    ]
    assert [run[0] for run in answers.runs] == ["strangers_run"] * 6
    assert {run[2] for run in answers.runs} == {"mnist"}
    assert "a table of 6" in capsys.readouterr().out


def test_without_mnist_nobody_knows_who_is_a_stranger(monkeypatch):
    monkeypatch.setenv("MNIST_LAB_SOURCE", "digits")
    with pytest.raises(ValueError, match=r"^who wrote a digit is known of MNIST alone, and it is "):
        studies.strangers("gap", 20)


def test_no_two_cases_of_the_ablations_share_a_folder():
    cases = [{"study": name, "case": case} for name in ablations.CASES
             for case in ablations.CASES[name]]  # fmt: skip
    assert len({run.name for run in study(ablations.run, cases, "digits")}) == len(cases)

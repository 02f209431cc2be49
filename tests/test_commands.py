"""The command line: options go where they belong, bad ones end in one sentence."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from runners import write_notebook

from conftest import ROOT
from mnist_lab.__main__ import Sentences, main
from mnist_lab.course import batch, runner, study
from mnist_lab.course.outcomes import Interrupted, Outcome, StudyFailed
from mnist_lab.files import WriteError
from mnist_lab.validation import UserError


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """The folder of a repository, with a notebook, where the command stands."""
    for folder in ("notebooks", "mnist_lab"):
        (tmp_path / folder).mkdir()
    (tmp_path / "mnist_lab" / "data.py").touch()
    write_notebook(tmp_path / "notebooks" / "05_a.ipynb", parameters="seed = 0\nlr = 0.1\nn = 1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(line: str):
    return CliRunner(env={"MNIST_LAB_SOURCE": "digits"}).invoke(main, line.split(" "))


def test_every_command_that_a_page_names_is_there():
    docs = [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "instructors").glob("*.md")]
    pages = [ROOT / "README.md", *docs, *(ROOT / "notebooks").rglob("*.ipynb")]
    text = " ".join(page.read_text(encoding="utf-8") for page in pages)
    named = re.findall(r"python -m mnist_lab ([a-z-]+)", text)
    assert len(set(named)) > 10 and set(named) <= main.commands.keys()


HERE = {"jobs": None, "cluster": None}
THERE = {"jobs": 3, "cluster": "tcp://a:1"}
STUDIES = {
    "bench": ("epoch_time", {"network": None, "pairs": 5, "minutes": 10.0, "precision": "auto",
                             "quick": False, "timing": True}),
    "bench --network gap --pairs 2 --minutes 0.5 --precision bf16 --quick": (
        "epoch_time", {"network": "gap", "pairs": 2, "minutes": 0.5, "precision": "bf16",
                       "quick": True, "timing": True}),
    "contention": ("contention", {"network": None, "rounds": 5, "precision": "auto",
                                  "timing": True}),
    "contention --network gap --rounds 1 --precision fp32": (
        "contention", {"network": "gap", "rounds": 1, "precision": "fp32", "timing": True}),
    "fit-accuracy --network gap": (
        "fit_accuracy", {"network": "gap", "seeds": 5, "num_epochs": 3} | HERE),
    "fit-accuracy --network gap --seeds 7 --epochs 2 --jobs 3 --cluster tcp://a:1": (
        "fit_accuracy", {"network": "gap", "seeds": 7, "num_epochs": 2} | THERE),
    "time-to-accuracy": ("time_to_accuracy", {"seeds": 10, "example_epochs": 0, "timing": True}),
    "time-to-accuracy --seeds 4 --example-epochs 3": (
        "time_to_accuracy", {"seeds": 4, "example_epochs": 3, "timing": True}),
    "ablations": ("ablations", {"studies": (), "seeds": 3} | HERE),
    "ablations norm optimizer --seeds 1 --jobs 3 --cluster tcp://a:1": (
        "ablations", {"studies": ("norm", "optimizer"), "seeds": 1} | THERE),
    "full-ablations": ("full_ablations", {"seeds": 12, "num_epochs": None} | HERE),
    "full-ablations --seeds 3 --epochs 2 --jobs 3 --cluster tcp://a:1": (
        "full_ablations", {"seeds": 3, "num_epochs": 2} | THERE),
    "remedies": ("remedies", {"seeds": 6} | HERE),
    "steps": ("steps", {"seeds": 10} | HERE),
    "unseen-writers": ("unseen_writers", {"network": "bottleneck", "num_epochs": 20} | HERE),
    "unseen-writers --network gap --epochs 5 --jobs 3 --cluster tcp://a:1": (
        "unseen_writers", {"network": "gap", "num_epochs": 5} | THERE),
}  # fmt: skip


@pytest.mark.parametrize("line", STUDIES)
def test_the_options_of_a_study_are_passed_on(line, monkeypatch):
    seen = []
    monkeypatch.setattr(study, "conduct", lambda name, **options: seen.append((name, options)))
    result = invoke(line)
    assert result.exit_code == 0, result.output
    assert seen == [STUDIES[line]]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("bench --pairs two", "--pairs"),
        ("bench --network dense", "network must be one of gap, bottleneck"),
        ("bench --precision fp16", "precision must be one of auto, fp32, bf16"),
        ("bench --pairs 0", "pairs must be"),
        ("bench --minutes 0", "minutes must be"),
        ("contention --rounds 0", "rounds must be"),
        ("fit-accuracy", "--network"),
        ("fit-accuracy --network gap --seeds 1", "seeds must be"),
        ("fit-accuracy --network gap --jobs 0", "jobs must be"),
        ("time-to-accuracy --seeds 1", "seeds must be"),
        ("time-to-accuracy --example-epochs -1", "example_epochs must be"),
        ("ablations --seeds 0", "seeds must be"),
        ("unseen-writers --epochs 0", "num_epochs must be"),
        ("unseen-writers", "MNIST"),
        ("ablations width", "one of layers, "),
        ("export dense", "network must be one of gap, bottleneck"),
        ("run --dataset cifar", "source must be one of auto, mnist, digits"),
        ("run --dataset digits --jobs 0", "jobs must be"),
        ("run 99", "'99'"),
        ("renumber 98=99", "there is no notebook 98"),
        ("run -p width 1 --dataset digits", "'width'"),
        ("run -p n 1 -p n 2", "-p n is given 2 times"),
        ("run -p dataset digits", "--dataset"),
        ("run --resume . 05", "--resume"),
        ("run --resume . --dataset digits", "--resume"),
        ("run --resume . --jobs 1", "--resume"),
        ("sweep", "NOTEBOOKS"),
        ("sweep 05 --seeds 0", "seeds must be"),
        ("sweep 05 --seeds 1 --dataset digits --jobs 0", "jobs must be"),
        ("sweep 05 -p lr 0.1,", "-p lr '0.1,'"),
        ("sweep 05 -p lr 0.1,0.1", "-p lr '0.1,0.1'"),
        ("sweep 05 -p seed 7 --seeds 2", "--seeds contradicts -p seed"),
        ("sweep 05 -p seed x --dataset digits", "seed must be"),
    ],
)
def test_a_bad_value_ends_in_one_sentence(line, words, repository):
    result = invoke(line)
    (error,) = (text for text in result.output.splitlines() if text.startswith("Error: "))
    assert result.exit_code == 2 and words in error
    assert not (repository / "runs").exists()


@pytest.fixture
def planned(repository, monkeypatch) -> list:
    """The parameters of the runs that a sweep would do."""
    found = []

    def run_tasks(tasks, folder, jobs, cluster, cores):
        assert folder == repository / "runs" / "sweep" and cores == 1
        found.extend(task.order["arguments"] for task in tasks)
        found.append((jobs, cluster))
        return [Outcome(task.name, "ok", 0, 1, 0, "small digits") for task in tasks]

    monkeypatch.setattr(runner, "run_tasks", run_tasks)
    return found


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", [{"seed": seed} for seed in range(10)] + [(None, None)]),
        ("--seeds 2 --jobs 3", [{"seed": 0}, {"seed": 1}, (3, None)]),
        ("-p seed 7 --cluster tcp://a:1", [{"seed": 7}, (None, "tcp://a:1")]),
        (
            "-p lr 0.1,x -p n True,null -p seed 3",
            [{"lr": lr, "n": n, "seed": 3} for lr in (0.1, "x") for n in (True, None)]
            + [(None, None)],
        ),
    ],
)
def test_a_sweep_is_the_grid_that_was_asked_for(options, expected, planned):
    result = invoke(f"sweep 05 --dataset digits {options}".strip())
    assert result.exit_code == 0, result.output
    assert planned == expected


def test_a_run_is_begun_and_its_failures_are_the_exit_status(repository, monkeypatch):
    status = "ok"

    def run_batch(folder):
        return [
            Outcome(name, now, 1, 1, 1, "-") for name, now in (("05_a", status), ("06_b", "ok"))
        ]

    monkeypatch.setattr(batch, "run_batch", run_batch)
    result = invoke("run 05 --dataset digits -p n false -p lr 1e-3 --jobs 1")
    (folder,) = (repository / "runs").iterdir()
    assert result.exit_code == 0 and f"{folder}." in result.output
    assert batch.load_batch(folder) == batch.Batch(
        [repository / "notebooks" / "05_a.ipynb"], "digits", {"n": False, "lr": 0.001}, 1
    )
    status = "failed"
    assert invoke(f"run --resume {folder}").exit_code == 1


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UserError("do it so."), 2, "Error: do it so."),
        (WriteError("a/b", "No space left on device"), 1, "Error: a/b cannot be written (No space"),
        (StudyFailed("1 of 2 runs failed"), 1, "Error: 1 of 2 runs failed"),
        (Interrupted(2), 130, "Error: Stopped by SIGINT."),
        (Interrupted(15), 143, "Error: Stopped by SIGTERM."),
        (ValueError("inside"), 1, None),
        (OSError(5, "inside"), 1, None),
    ],
)
def test_what_the_user_can_mend_is_a_sentence_and_all_else_keeps_its_traceback(error, code, said):
    group = Sentences()

    @group.command()
    def fails():
        raise error

    error.add_note("It goes on so.")
    result = CliRunner().invoke(group, ["fails"])
    assert result.exit_code == code
    if said:
        assert result.output.startswith(said) and result.output.endswith("It goes on so.\n")
        assert isinstance(result.exception, SystemExit)
    else:
        assert result.exception is error


def test_help_and_a_wrong_option_need_no_torch():
    script = """
import sys
from mnist_lab.__main__ import main
for options in (["--help"], ["bench", "--help"], ["ablations", "--seeds", "x"]):
    try:
        main(options)
    except SystemExit as end:
        assert end.code == (2 if "x" in options else 0)
assert not {"torch", "papermill"} & sys.modules.keys()
import click
from mnist_lab.__main__ import Sentences
Sentences(commands=[click.Command("say", callback=lambda: click.echo("a → b"))]).main(["say"])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, encoding="cp1252",
                          env=os.environ | {"PYTHONIOENCODING": "cp1252"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("a ? b\n"), "a character that cannot be shown is no error"


@pytest.mark.parametrize("lacking", [[], ["network", "files"]])
def test_grading_says_loudly_what_the_sandbox_lacks(lacking, tmp_path, monkeypatch):
    from mnist_lab.grading import grade

    asked, table = [], tmp_path / "a.csv"
    monkeypatch.setattr(grade, "grade", lambda *given: asked.append(given) or lacking)
    done = invoke(f"grade {tmp_path} --to {table} --notebook 04 --notebook 11 --jobs 3")
    assert done.exit_code == 0 and asked == [(tmp_path, table, ("04", "11"), 3)]
    said = "WARNING" in done.output and "network, files" in done.output
    assert said == bool(lacking)

"""Studies: every case a task, their results a record; continued, and measured anew."""

import json
import sys
from pathlib import Path

import pytest

from mnist_lab import studies
from mnist_lab.course import study
from mnist_lab.course.outcomes import StudyFailed
from mnist_lab.course.study import conduct

STUDY = """
import os, pathlib, time

def cases(words, seeds=1):
    return [{"word": word, "seed": seed} for word in words for seed in range(seeds)]

def run(word, seed):
    assert not pathlib.Path(f"unlucky {seed}").exists(), "no luck"
    return {"word": word, "seed": seed, "when": time.time_ns(),
            "threads": os.environ.get("OMP_NUM_THREADS"), "source": os.environ["MNIST_LAB_SOURCE"]}

def table(runs):
    return f"a table of {len(runs)}"
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The folder that everything stands in; its `lab` is one of the library's studies."""
    (tmp_path / "lab.py").write_text(STUDY, encoding="utf-8")
    # Workers import it, too: mnist_lab.studies looks for its modules in this folder as well.
    (tmp_path / "sitecustomize.py").write_text(
        f"import mnist_lab.studies\nmnist_lab.studies.__path__.append({str(tmp_path)!r})\n"
    )
    monkeypatch.setenv("MNIST_LAB_SOURCE", "digits")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(studies.__file__).parents[2]}")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.chdir(tmp_path)
    studies.__path__.append(str(tmp_path))
    yield tmp_path
    studies.__path__.remove(str(tmp_path))
    sys.modules.pop("mnist_lab.studies.lab", None)


def without_time(runs: list[dict]) -> list[dict]:
    return [{name: value for name, value in run.items() if name != "when"} for run in runs]


def test_the_results_of_all_cases_are_a_record(here, capsys):
    words = ['a "b"', "3×3, c"]
    record = conduct("lab", words=words, seeds=2)
    assert record.keys() == {"kind", "digits", "runs"}
    assert record["kind"] == "lab" and record["digits"] == "small digits"
    assert without_time(record["runs"]) == [
        {"word": word, "seed": seed, "threads": "1", "source": "digits"}
        for word in words
        for seed in (0, 1)
    ]
    (path,) = (here / "runs" / "lab").iterdir()
    assert json.loads(path.read_text(encoding="utf-8")) == record
    said = capsys.readouterr().out
    assert "a table of 4" in said and str(path.relative_to(here)) in said


def test_a_study_goes_on_after_a_failure_and_begins_anew_after_a_change(here, monkeypatch):
    (here / "unlucky 1").touch()
    with pytest.raises(StudyFailed, match=r"^1 of 2 runs failed") as failed:
        conduct("lab", words=["a"], seeds=2)
    assert "AssertionError: no luck" in str(failed.value)
    assert not (here / "runs" / "lab").exists()
    (here / "unlucky 1").unlink()
    first = conduct("lab", words=["a"], seeds=2)["runs"]
    assert first[0]["when"] < first[1]["when"]
    assert conduct("lab", words=["a"], seeds=2)["runs"] == first
    monkeypatch.setattr(study, "processor", lambda: "another")
    assert conduct("lab", words=["a"])["runs"][0]["when"] > first[1]["when"]


def test_a_result_depends_on_the_library_below_its_runner(here, monkeypatch):
    library = here / "library"
    for folder in ("studies", "course"):
        (library / folder).mkdir(parents=True)
    monkeypatch.setattr(study.mnist_lab, "__file__", str(library / "__init__.py"))
    before = conduct("lab", words=["a"])["runs"]
    for changed in ("__main__.py", "course/runner.py"):
        (library / changed).write_text("# edited", encoding="utf-8")
    assert conduct("lab", words=["a"])["runs"] == before
    for changed in ("training.py", "studies/textbook.py"):
        (library / changed).write_text("# edited", encoding="utf-8")
        after = conduct("lab", words=["a"])["runs"]
        assert after != before
        before = after


def test_what_is_about_time_has_every_core_and_is_measured_anew(here):
    first, second = (conduct("lab", words=["a"], timing=True)["runs"] for _ in range(2))
    assert first[0]["when"] < second[0]["when"] and first[0]["threads"] is None
    (here / "unlucky 1").touch()
    with pytest.raises(StudyFailed):
        conduct("lab", words=["a"], seeds=2, timing=True)
    (here / "unlucky 1").unlink()
    third = conduct("lab", words=["a"], seeds=2, timing=True)["runs"]
    kept = [case["when"] for case in third]
    assert second[0]["when"] < kept[0] < kept[1]

"""The cells of the exercises and the solutions: in step with their source, and in their place."""

import json
import re
from dataclasses import replace

import nbformat
import pytest
from answers import made
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from conftest import ROOT
from mnist_lab.course import exercise_cells
from mnist_lab.course.notebooks import find_notebooks, find_solutions, read_notebook, same_source
from mnist_lab.exercises import exercises, numbers, questions
from mnist_lab.validation import UserError

FOLDER = ROOT / "notebooks"
OTHERS = {"08", "09"}  # whose experiments have no answers so far
KERNEL = json.loads((FOLDER / "00_start_here.ipynb").read_text("utf-8"))["metadata"]["kernelspec"]


@made(title="One", task="Make `x` one.", given="y = 1", start="x = ...", hint="Add.",
          solution="x = y", right="Yes.")  # fmt: skip
def one(x):
    assert x == 1


@made(title="Two", task="Write `f`.", start="def f():\n    return ...", hint="Return.",
          solution="def f():\n    return 2", right="Yes.")  # fmt: skip
def two(f):
    assert f() == 2


@pytest.fixture
def folder(tmp_path):
    """A course of one notebook, 04."""
    cells = [
        new_markdown_cell("# 04 · Title\n\ntext", id="top"),
        new_code_cell("import sys", id="setup", execution_count=1),
        new_markdown_cell("## Recap", id="recap"),
        new_markdown_cell("## Experiments\n\n1. Try.", id="experiments"),
    ]
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": KERNEL}),
                   tmp_path / "04_title.ipynb")  # fmt: skip
    return tmp_path


@pytest.fixture
def course(folder, monkeypatch):
    """The same, with the two exercises above."""
    monkeypatch.setattr(exercise_cells, "exercises", lambda number: [one, two])
    return folder


def ids(notebook):
    return [cell.id for cell in notebook.cells]


def test_the_exercises_stand_before_the_experiments(course):
    notebook = exercise_cells.with_exercises(course / "04_title.ipynb")
    assert ids(notebook) == ["top", "setup", "recap", "q04-text", "q04-begin", "q04-1-task",
                             "q04-1-given", "q04-1-answer", "q04-2-task", "q04-2-answer",
                             "experiments"]  # fmt: skip
    sources = {cell.id: cell.source for cell in notebook.cells}
    assert sources["q04-1-answer"] == "x = ...\n\n# q1.hint()\n# q1.solution()\nq1.check()"
    assert sources["q04-2-answer"].startswith("def f():\n    return ...\n\n\n# q2.hint()")
    assert sources["q04-1-task"] == "### Exercise 1: One\n\nMake `x` one."
    assert 'q1, q2 = questions("04", globals())' in sources["q04-begin"]


def test_writing_again_keeps_the_outputs_of_what_is_the_same(course):
    path = course / "04_title.ipynb"
    notebook = exercise_cells.with_exercises(path)
    cells = {cell.id: cell for cell in notebook.cells}
    for name in ("q04-1-answer", "q04-2-answer"):
        cells[name].outputs = [new_output("stream", text="said")]
    cells["q04-1-answer"].source = "x = 3"
    nbformat.write(notebook, path)
    again = {cell.id: cell for cell in exercise_cells.with_exercises(path).cells}
    assert len(again) == 11
    assert again["q04-2-answer"].outputs[0].text == "said"
    assert again["q04-1-answer"].outputs == [] and again["q04-1-answer"].source.startswith("x = ..")


@pytest.mark.slow
def test_the_solutions_are_executed(folder):
    (wrote, solved) = exercise_cells.write_exercises(folder)
    assert (wrote.name, solved.name) == ("04_title.ipynb", "solutions_04.ipynb")
    assert exercise_cells.write_exercises(folder, ["04"]) == []
    notebook = read_notebook(solved)
    assert ids(notebook)[:3] == ["s04-top", "s04-setup", "q04-begin"]
    assert "[04 · Title](../04_title.ipynb)" in notebook.cells[0].source
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert code[-1].outputs[0].text.startswith("Right. ")


@pytest.mark.slow
def test_a_solution_that_does_not_run_is_named_and_nothing_is_written(folder, monkeypatch):
    broken = [replace(asked, solution="x = 1 / 0") for asked in exercises("04")]
    monkeypatch.setattr(exercise_cells, "exercises", lambda number: broken)
    before = (folder / "04_title.ipynb").read_bytes()
    with pytest.raises(UserError, match=r"solutions_04.ipynb does not run: .*ZeroDivisionError"):
        exercise_cells.write_exercises(folder)
    assert (folder / "04_title.ipynb").read_bytes() == before
    assert not find_solutions(folder)


def test_a_notebook_without_a_place_for_them_is_refused(course):
    path = course / "04_title.ipynb"
    notebook = read_notebook(path)
    notebook.cells.pop()
    nbformat.write(notebook, path)
    with pytest.raises(UserError, match="needs one cell that begins with '## Experiments'"):
        exercise_cells.with_exercises(path)


@pytest.mark.parametrize("number", exercise_cells.solved())
def test_the_stored_exercises_and_solutions_are_those_of_their_source(number, monkeypatch):
    (path,) = find_notebooks(FOLDER, [number])
    hint = f"run: python -m mnist_lab exercises {number}"
    assert same_source(exercise_cells.with_exercises(path), read_notebook(path)), hint
    stored = read_notebook(exercise_cells.solutions_path(FOLDER, number))
    assert exercise_cells.is_current(stored, path), hint
    if number in numbers():
        changed = [replace(asked, right="Another word.") for asked in exercises(number)]
        monkeypatch.setattr(exercise_cells, "exercises", lambda number: changed)
        assert not exercise_cells.is_current(stored, path)


def test_every_solutions_notebook_has_exercises_or_experiments():
    assert [path.stem[-2:] for path in find_solutions(FOLDER)] == exercise_cells.solved()


@pytest.mark.parametrize("number", exercise_cells.solved())
def test_every_experiment_has_an_answer_to_compare_with(number):
    (path,) = find_notebooks(FOLDER, [number])
    answers = exercise_cells.experiments(number)
    (asked,) = [cell for cell in read_notebook(path).cells
                if cell.source.startswith(exercise_cells.EXPERIMENTS)]  # fmt: skip
    text = asked.source.split("## Further reading")[0]
    found = re.findall(r"^(\d+)\. ", text, re.MULTILINE)
    assert (not answers and number in OTHERS) or len(answers) == len(found)
    assert all(answer.strip() for answer in answers)


# An instructor's own folder of exercises

TEXTS = """\
## Yours

How many weights has a 3×3 convolution of {wide} maps to {wide}?

### Start

```python
weights = ...  # of {wide} maps
```

### Hint

Count.

### Solution

```python
weights = 9 * {wide} ** 2
```

### Right

Yes.
"""
CHECKS = """\
from mnist_lab.exercises.question import Wrong, exercise


@exercise("Yours", draws=lambda draw: {"wide": draw.randint(1, 10**6)})
def yours(weights, *, wide):
    if weights != 9 * wide**2:
        raise Wrong("it is another number.")
"""


@pytest.fixture
def own(folder, monkeypatch):
    """A folder of one's own with the exercises of a notebook 20, and the notebook."""
    texts = folder / "exercises"
    texts.mkdir()
    (texts / "n20.md").write_text(TEXTS, encoding="utf-8")
    (texts / "n20.py").write_text(CHECKS, encoding="utf-8")
    (folder / "04_title.ipynb").rename(folder / "20_title.ipynb")
    monkeypatch.setenv("MNIST_LAB_EXERCISES", str(texts))
    return folder


def test_exercises_of_ones_own_are_found_beside_the_courses(own):
    assert {"04", "20"} <= set(numbers())
    (exercise,) = exercises("20")
    assert exercise.name == "yours" and exercises("20")[0].checker is exercise.checker


def test_a_students_copy_holds_the_numbers_of_its_key(own):
    copies = {}
    for key in ("anna", "bert"):
        exercise_cells.write_for(own / "20_title.ipynb", key, own / f"{key}.ipynb")
        copies[key] = {cell.id: cell for cell in read_notebook(own / f"{key}.ipynb").cells}
    (exercise,) = exercises("20")
    for key, cells in copies.items():
        wide = exercise.numbers(key)["wide"]
        assert f"of {wide} maps to {wide}" in cells["q20-1-task"].source
        assert f"# of {wide} maps" in cells["q20-1-answer"].source
        assert f"globals(), '{key}')" in cells["q20-begin"].source.replace('"', "'")
        mark = cells["q20-1-answer"].metadata[exercise_cells.MARK]
        assert mark == {"exercise": "20/yours", "key": key}
    assert copies["anna"]["q20-1-task"].source != copies["bert"]["q20-1-task"].source


def test_each_student_is_checked_by_their_own_numbers(own, capsys):
    wide = exercises("20")[0].numbers("anna")["wide"]
    for key, said in (("anna", "Right"), ("bert", "Not right: it is another number.")):
        questions("20", {"weights": 9 * wide**2}, key)[0].check()
        assert said in capsys.readouterr().out


def test_where_students_have_no_checks_they_are_told_when_it_is_checked(own, capsys):
    (own / "exercises" / "n20.py").unlink()
    question = questions("20", {"weights": 1})[0]
    question.check()
    question.hint()
    assert capsys.readouterr().out == "It is checked when you hand it in.\nCount.\n"
    with pytest.raises(UserError, match="has no checker here"):
        exercise_cells.with_exercises(own / "20_title.ipynb")

"""Answers are found wherever the cells of a submission have gone."""

import json
import os

import pytest

from mnist_lab.course.exercise_cells import MARK
from mnist_lab.exercises import exercises
from mnist_lab.grading.submissions import (
    definitions,
    find_answers,
    find_submissions,
    read_cells,
)

WANTED = {f"11/{one.name}": one for one in exercises("11")}
NAME, OTHER, *_ = WANTED
ANSWER, START = WANTED[NAME].solution, WANTED[NAME].start
FIRST, REST = ANSWER.split("\n", 1)


def cell(code, name=NAME, **metadata):
    mark = {MARK: {"exercise": name}} if name else {}
    return {"cell_type": "code", "source": code, "metadata": mark | metadata, "outputs": []}


def notebook(*cells):
    return json.dumps({"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


VERSION_3 = {"cells": [{"cell_type": "code", "input": ANSWER, "metadata": {}}]}
FOUND = {
    "as it should be": (notebook(cell("x = 1", None), cell(ANSWER)), ""),
    "split": (notebook(cell(FIRST), cell(REST)), "2 cells carry this exercise's name"),
    "doubled, the first answered": (notebook(cell(ANSWER), cell(START)), "2 cells carry"),
    "doubled, the second answered": (notebook(cell(START), cell(ANSWER)), "2 cells carry"),
    "typed anew": (notebook(cell(START), cell(ANSWER, None)), "found by its names"),
    "without its mark": (notebook(cell(ANSWER, None)), "found by its names"),
    "under another exercise's name": (notebook(cell(ANSWER, OTHER)), "found by its names"),
    "with Windows' line ends": (notebook(cell(ANSWER.replace("\n", "\r\n"))), ""),
    "with a byte order mark": ("\ufeff" + notebook(cell(ANSWER)), ""),
    "as lines": (notebook(cell(ANSWER.splitlines(keepends=True))), ""),
    "of version 3": (json.dumps({"worksheets": [VERSION_3], "nbformat": 3}), "found by"),
}


def found(text, tmp_path):
    path = tmp_path / "a.ipynb"
    path.write_bytes(text.encode())
    return find_answers(read_cells(path), WANTED)[NAME]


@pytest.mark.parametrize("name", FOUND)
def test_an_answer_is_found(name, tmp_path):
    text, remark = FOUND[name]
    answer = found(text, tmp_path)
    assert answer.code.strip() == ANSWER.strip()
    assert remark in " ".join(answer.remarks) and bool(remark) == bool(answer.remarks)


@pytest.mark.parametrize(
    "extra",
    ["%timeit 1\n{}", "%%time\n{}", "!ls -l\n{}", "{}\ncosts?", "{}\nif 1:\n    %time costs(1)",
     "?costs\n{}", "{}\nx = (4\n     % 3)", "\n".join(["!ls"] * 600) + "\n{}"],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_what_only_a_notebook_understands_is_left_out(extra, tmp_path):
    answer = found(notebook(cell(extra.format(ANSWER))), tmp_path).code
    names: dict = {}
    exec(answer, names)
    assert names["costs"](2, 3, 3, 5) == (54, 24, 1350, 600)


@pytest.mark.parametrize(
    "cells",
    [
        [], [cell(ANSWER, OTHER, id=3) | {"cell_type": "markdown"}], [None, 3, {}],
        [{"cell_type": "code"}, {"metadata": 3}], [cell("costs", None)],
        [cell("x" * 200_000)],
        [{"cell_type": "code", "source": "x", "metadata": {MARK: {"exercise": [], "given": {}}}}],
    ],
    ids=range(7),
)  # fmt: skip
def test_where_there_is_no_answer_it_is_missing(cells, tmp_path):
    answer = found(notebook(*cells), tmp_path)
    assert answer.code is None and answer.remarks


@pytest.mark.parametrize("text", ["", "{]", "[1, 2]", '{"cells": 3}', '{"a": []}', "[" * 10**5])
def test_what_is_no_notebook_is_refused(text, tmp_path):
    (tmp_path / "a.ipynb").write_text(text)
    with pytest.raises(ValueError, match="no notebook"):
        read_cells(tmp_path / "a.ipynb")


def test_the_cell_before_an_exercise_and_the_students_key_come_with_it(tmp_path):
    given = {"cell_type": "code", "source": "x = 3", "metadata": {MARK: {"given": NAME}}}
    marked = cell(ANSWER)
    marked["metadata"][MARK]["key"] = "anna"
    answer = found(notebook(given, marked), tmp_path)
    assert (answer.given, answer.key) == ("x = 3", "anna")


def test_every_file_is_a_submission_of_its_own(tmp_path):
    for name in ("b/one name", "a/one name", "anna", ".ipynb_checkpoints/anna", "../x"):
        path = tmp_path / "in" / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    (tmp_path / "in" / "link.ipynb").symlink_to(tmp_path / "x.ipynb")
    (tmp_path / "in" / "folder.ipynb").mkdir()
    names = [one.name for one in find_submissions(tmp_path / "in")]
    assert names == ["a/one name", "anna", "b/one name"]


def test_what_an_answer_may_use_of_its_notebook():
    code = """%matplotlib inline
import os
from re import sub
SIDE = 28
SIDES = (SIDE, 3)
RANGE = [-1, 2.5]
x = len("a")
def helper(x):
    return x
class Helper:
    pass
helper(1)"""
    expected = [
        "import os", "from re import sub", "SIDE = 28", "RANGE = [-1, 2.5]",
        "def helper(x):\n    return x", "class Helper:\n    pass",
    ]  # fmt: skip
    cells = [cell(code, None), cell("def an_answer(): pass"), cell("x = (", None), cell("", None)]
    assert definitions(cells) == expected


def test_a_name_can_be_written_whatever_it_is(tmp_path):
    for name in (b"a\xff", b"a\xfe", b"a\x1b[2J", b"a\n"):
        (tmp_path / os.fsdecode(name + b".ipynb")).write_text("{}")
    names = [one.name for one in find_submissions(tmp_path)]
    assert len(set(names)) == 4
    for name in names:
        assert name.encode("utf-8") and name.isprintable()

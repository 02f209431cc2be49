"""Badges, setup cells and clone addresses follow the one address in pyproject.toml."""

import importlib.util
import json
import re
import shutil
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from conftest import NOTEBOOKS, ROOT
from mnist_lab.course.fork import remove_solutions, rewrite_addresses
from mnist_lab.course.notebooks import find_solutions
from mnist_lab.exercises.question import read_texts
from mnist_lab.validation import UserError

OLD, NEW = ("ada/course", "main"), ("3grace/her-course.py", "v1.0")
TEXT = """\
Repository = "https://github.com/{repo}"
# Digits — “0” to “9”
[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]\
(https://colab.research.google.com/github/{repo}/blob/{ref}/notebooks/{notebook}) \
[![Open in Binder](https://mybinder.org/badge_logo.svg)]\
(https://mybinder.org/v2/gh/{repo}/{ref}?urlpath=lab/tree/notebooks/{notebook})
git clone https://github.com/{repo}
git clone https://github.com/{repo}.git course
pip install "course @ git+https://github.com/{repo}"
    %pip install --quiet --no-deps anywidget psygnal git+https://github.com/{repo}@{ref}
See https://{site}/results.html and https://{site}.
Ask at <https://github.com/{repo}/issues>. It is https://github.com/{repo}.
Others: https://github.com/ada/course-2, https://github.com/ada/course.github.io,
https://github.com/ada/courses, https://github.com/pytorch/vision,
https://colab.research.google.com/github/ada/other/blob/main/x.ipynb
"""
SETUP = """\
# On Colab, install the course's library; everywhere else this cell does nothing.
import importlib.util
import sys

if "google.colab" in sys.modules and importlib.util.find_spec("mnist_lab") is None:
    %pip install --quiet --no-deps anywidget psygnal git+https://github.com/{}@{}"""


def text(repo: str, ref: str, notebook: str = "00_start_here.ipynb") -> str:
    site = repo.replace("/", ".github.io/")
    return TEXT.format(repo=repo, ref=ref, notebook=notebook, site=site)


def everything(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.*")}


def current(root: Path) -> tuple[str, str]:
    """The repository that pyproject.toml names, and the ref that the README's Colab badge opens."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    readme = (root / "README.md").read_text(encoding="utf-8")
    ref = re.search(r"colab\.research\.google\.com/github/[^/\s]+/[^/\s]+/blob/([^/\s]+)/", readme)
    return project["urls"]["Repository"].removeprefix("https://github.com/"), ref[1]


@pytest.fixture
def course(tmp_path):
    """A course whose three kinds of files are all that may and may not be changed, and a page."""
    (tmp_path / "notebooks" / "solutions").mkdir(parents=True)
    (tmp_path / "notebooks" / "solutions" / "s.ipynb").write_text(json.dumps([text(*OLD)]))
    (tmp_path / "docs").mkdir()
    for name in ("pyproject.toml", "README.md", "docs/index.md", "notebooks/00_a.ipynb"):
        (tmp_path / name).write_text(text(*OLD), encoding="utf-8")
    return tmp_path


def test_each_address_is_changed_and_only_those_there_and_back(course):
    before = everything(course)
    assert {path.name for path in rewrite_addresses(course, *NEW)} == {
        "pyproject.toml", "README.md", "index.md", "00_a.ipynb", "s.ipynb"
    }  # fmt: skip
    assert (course / "README.md").read_text(encoding="utf-8") == text(*NEW)
    assert json.loads((course / "notebooks/solutions/s.ipynb").read_text()) == [text(*NEW)]
    assert rewrite_addresses(course, *NEW) == []
    rewrite_addresses(course, *OLD)
    assert everything(course) == before


def test_what_leads_elsewhere_is_brought_back(course):
    path = course / "notebooks" / "00_a.ipynb"
    there = text("eve/fork", "dev").split("git clone")[0].split("\n", 1)[1]
    setup = SETUP.format("eve/fork", "dev")
    path.write_text(there + setup, encoding="utf-8")
    assert rewrite_addresses(course, *OLD) == [path]
    assert path.read_text(encoding="utf-8") == there.replace("eve/fork", "ada/course").replace(
        "dev", "main"
    ) + SETUP.format(*OLD)


@pytest.mark.parametrize(
    ("repo", "ref"),
    [(repo, "main") for repo in (
        "", "course", "ada/", "/course", "ada/my course", "ada/course/x", "ada/..", "a/b.wiki",
        "ada/course.git", "https://github.com/ada/course", "ada/course\n", "a_a/course", "-a/b",
        "ada/cöurse", "a-/b", "a--b/c", "a/-b", "a/.b", "a/b.", "a" * 40 + "/b", "a/" + "b" * 101)]
    + [("a/b", ref) for ref in ("", "feature/x", "v1..2", "a b", "-x", "v1.", "v1@2", "main\n")],
)  # fmt: skip
def test_a_bad_name_is_refused(course, repo, ref):
    before = everything(course)
    with pytest.raises(UserError, match=r"is not a repository|as a ref"):
        rewrite_addresses(course, repo, ref)
    assert everything(course) == before


@pytest.mark.parametrize("repo", ["a/b", "A-1-b/_c--.d-", "a" * 39 + "/" + "b" * 100, "a/git"])
def test_what_github_takes_is_taken(course, repo):
    rewrite_addresses(course, repo)
    assert (course / "README.md").read_text(encoding="utf-8") == text(repo, "main")


def test_nothing_is_written_unless_everything_can_be(course):
    (course / "pyproject.toml").write_text(text(*OLD).replace("github.com", "example.org"))
    before = everything(course)
    with pytest.raises(UserError, match=r"pyproject\.toml has no line Repository"):
        rewrite_addresses(course, *NEW)
    assert everything(course) == before
    (course / "README.md").unlink()
    with pytest.raises(UserError, match=r"README\.md cannot be read"):
        rewrite_addresses(course, *NEW)


# This repository


def cells(path: Path, cell_type: str) -> list[str]:
    found = nbformat.read(path, as_version=4).cells
    return [cell.source for cell in found if cell.cell_type == cell_type]


def test_every_notebook_has_its_badges_and_its_setup_cell():
    here, solutions = current(ROOT), find_solutions(ROOT / "notebooks")
    assert text(*here).splitlines()[2] in (ROOT / "README.md").read_text("utf-8").splitlines()
    for path in NOTEBOOKS:
        assert text(*here, path.name).splitlines()[2] in cells(path, "markdown")[0].splitlines()
    for path in NOTEBOOKS + solutions:
        assert cells(path, "code")[0] == SETUP.format(*here), path


def test_this_repository_can_move_and_come_back_unharmed(tmp_path):
    for name in ("pyproject.toml", "README.md", "CONTRIBUTING.md", "CITATION.cff"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(
        ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("made", "notebooks")
    )
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks", ignore=shutil.ignore_patterns(".*"))
    before, here = everything(tmp_path), current(tmp_path)
    assert rewrite_addresses(tmp_path, *here) == []
    rewrite_addresses(tmp_path, *NEW)
    assert current(tmp_path) == NEW
    moved = everything(tmp_path)
    assert not [name for name in moved if f"github.com/{here[0]}".encode() in moved[name]]
    for path in tmp_path.rglob("*.ipynb"):
        assert cells(path, "code")[0] == SETUP.format(*NEW)
    rewrite_addresses(tmp_path, *here)
    assert everything(tmp_path) == before


def test_the_setup_cell_installs_once_on_colab_and_nowhere_else(monkeypatch):
    code = TransformerManager().transform_cell(SETUP.format(*OLD))
    call = next(line.strip() for line in code.splitlines() if "run_line_magic" in line)
    installed = []

    def run() -> int:
        exec(code.replace(call, "installed.append(1)"), {"installed": installed})
        return len(installed)

    found = importlib.util.find_spec
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        assert run() == 0, "where it is missing outside of Colab, the reader decides"
    monkeypatch.setitem(sys.modules, "google.colab", sys)
    assert run() == 0 and importlib.util.find_spec is found
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert run() == 1


def test_a_copy_without_solutions_keeps_tasks_hints_and_checks(tmp_path):
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks", ignore=shutil.ignore_patterns(".*"))
    texts = tmp_path / "mnist_lab" / "exercises"
    shutil.copytree(ROOT / "mnist_lab" / "exercises", texts)
    before = {path.name: read_texts(path) for path in texts.glob("n*.md")}
    changed = remove_solutions(tmp_path)
    assert not list(tmp_path.glob("notebooks/solutions/*.ipynb"))
    for path in texts.glob("n*.md"):
        read_texts.cache_clear()
        for title, parts in read_texts(path).items():
            assert parts == {k: v for k, v in before[path.name][title].items() if k != "solution"}
    for path in tmp_path.glob("notebooks/*.ipynb"):
        assert "solutions/" not in path.read_text(encoding="utf-8"), path
        assert path in changed
    assert remove_solutions(tmp_path) == []

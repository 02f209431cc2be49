"""Badges, setup cells and clone addresses follow the one address in pyproject.toml."""

import importlib.util
import json
import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
from IPython.core.inputtransformer2 import TransformerManager

from mnist_lab.course.fork import badges, rewrite_addresses, setup_cell
from mnist_lab.validation import UserError

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))
OLD, NEW = ("ada/course", "main"), ("grace/her-course.py", "v1.0")
PYPROJECT = """\
[project]
name = "course"  # not the Repository = "https://github.com/ada/course"

[project.urls]
# The one place.
Repository = "https://github.com/ada/course"
"""
README = f"""\
# Digits — “0” to “9”

{badges(*OLD)}

| notebook | |
|---|---|
| [03](notebooks/03_more.ipynb) | {badges(*OLD, "03_more.ipynb")} |

    git clone https://github.com/ada/course
    git clone https://github.com/ada/course.git course
    pip install "course @ git+https://github.com/ada/course"

Ask at <https://github.com/ada/course/issues>. It is https://github.com/ada/course.
Others: https://github.com/ada/course-2, https://github.com/ada/course.github.io,
https://github.com/ada/courses, https://github.com/pytorch/vision.
"""


def source(cell: dict) -> str:
    return "".join(cell["source"])


def cells(path: Path, cell_type: str) -> list[str]:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [source(cell) for cell in notebook["cells"] if cell["cell_type"] == cell_type]


def everything(root: Path) -> dict[str, bytes]:
    # Bytes, because the notebooks' form counts; but Windows may write other line ends than git.
    return {
        path.relative_to(root).as_posix(): path.read_bytes().replace(b"\r\n", b"\n")
        for path in root.rglob("*.*")
    }


def current(root: Path) -> tuple[str, str]:
    """The repository that pyproject.toml names, and the ref that the README's Colab badge opens."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    readme = (root / "README.md").read_text(encoding="utf-8")
    ref = re.search(r"colab\.research\.google\.com/github/[^/\s]+/[^/\s]+/blob/([^/\s]+)/", readme)
    return project["urls"]["Repository"].removeprefix("https://github.com/"), ref[1]


@pytest.fixture
def course(tmp_path):
    """A course of one notebook, with all that may and may not be changed."""
    (tmp_path / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    printed = ["See https://github.com/ada/course – ½\n", badges(*OLD)]
    code = {"cell_type": "code", "metadata": {"tags": ["mnist"]}}
    notebook = {
        "cells": [
            {
                "cell_type": "markdown",
                "id": "z",
                "metadata": {},
                "source": ["# How many “0”?\n", "\n", badges(*OLD, "00_start_here.ipynb")],
            },
            code
            | {
                "id": "y",
                "execution_count": 7,
                "outputs": [{"name": "stdout", "output_type": "stream", "text": printed}],
                "source": setup_cell(*OLD).splitlines(keepends=True),
            },
            code
            | {
                "id": "x",
                "execution_count": None,
                "outputs": [],
                "source": ["lr = 1e-05\n", "π = 3.0"],
            },
        ],
        "metadata": {"b": 0.1, "a": 1e-05},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path = tmp_path / "notebooks" / "00_start_here.ipynb"
    path.parent.mkdir()
    text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    path.write_text(text, encoding="utf-8")  # as Jupyter writes it
    return tmp_path


@pytest.fixture
def copy(tmp_path):
    """What `rewrite_addresses` looks at, of this very repository."""
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks", ignore=shutil.ignore_patterns(".*"))
    return tmp_path


def test_the_badges_open_the_notebook_on_colab_and_in_binders_jupyterlab():
    assert badges("ada/course", "main", "03_more.ipynb") == (
        "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
        "(https://colab.research.google.com/github/ada/course/blob/main/notebooks/03_more.ipynb)"
        " [![Open in Binder](https://mybinder.org/badge_logo.svg)]"
        "(https://mybinder.org/v2/gh/ada/course/main?urlpath=lab/tree/notebooks/03_more.ipynb)"
    )
    assert badges("ada/course", "main") == badges("ada/course", "main", "00_start_here.ipynb")


def test_every_notebook_has_its_badges_and_its_setup_cell():
    assert NOTEBOOKS
    here = current(ROOT)
    for path in NOTEBOOKS:
        wanted = badges(*here, path.name)
        assert wanted in cells(path, "markdown")[0].splitlines(), f"{path.name} lacks {wanted}"
        assert cells(path, "code")[0] == setup_cell(*here), f"the setup cell of {path.name}"


def test_the_readme_has_its_badges():
    assert badges(*current(ROOT)) in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()


def test_no_other_address_of_the_course_is_left(copy):
    assert rewrite_addresses(copy, *current(ROOT)) == []


def test_this_repository_can_move_and_come_back_unharmed(copy):
    before, here = everything(copy), current(copy)
    assert len(rewrite_addresses(copy, *NEW)) == len(NOTEBOOKS) + len(SOLUTIONS) + 2
    assert current(copy) == NEW
    for path in copy.glob("notebooks/*.ipynb"):
        assert badges(*NEW, path.name) in cells(path, "markdown")[0]
    for path in copy.glob("notebooks/**/*.ipynb"):
        assert cells(path, "code")[0] == setup_cell(*NEW)
        for text in (*cells(path, "markdown"), *cells(path, "code")):
            assert f"https://github.com/{here[0]}" not in text
    rewrite_addresses(copy, *here)
    assert everything(copy) == before


def test_rewrite_changes_each_place_and_only_those(course):
    assert current(course) == OLD
    before = everything(course)
    assert sorted(
        path.relative_to(course).as_posix() for path in rewrite_addresses(course, *NEW)
    ) == [
        "README.md",
        "notebooks/00_start_here.ipynb",
        "pyproject.toml",
    ]
    assert current(course) == NEW

    pyproject = (course / "pyproject.toml").read_text(encoding="utf-8")
    line = 'Repository = "https://github.com/{}"\n'
    assert pyproject == PYPROJECT.replace("\n" + line.format(OLD[0]), "\n" + line.format(NEW[0]))

    readme = (course / "README.md").read_text(encoding="utf-8")
    expected = README.replace(badges(*OLD), badges(*NEW))
    expected = expected.replace(badges(*OLD, "03_more.ipynb"), badges(*NEW, "03_more.ipynb"))
    for end in ("\n", ".git ", '"', "/issues", ".\n"):
        address = "https://github.com/{}" + end
        expected = expected.replace(address.format(OLD[0]), address.format(NEW[0]))
    assert readme == expected

    name = "notebooks/00_start_here.ipynb"
    old, new = json.loads(before[name]), json.loads((course / name).read_bytes())
    assert source(new["cells"][0]) == f"# How many “0”?\n\n{badges(*NEW)}"
    assert source(new["cells"][1]) == setup_cell(*NEW)
    for cell in (0, 1):
        new["cells"][cell]["source"] = old["cells"][cell]["source"]
    text = json.dumps(new, indent=1, ensure_ascii=False) + "\n"
    assert text.encode() == before[name]


def test_rewriting_twice_gives_nothing_new_and_back_gives_the_old(course):
    before = everything(course)
    assert rewrite_addresses(course, *NEW)
    assert rewrite_addresses(course, *NEW) == []
    rewrite_addresses(course, *OLD)
    assert everything(course) == before


def test_a_badge_that_went_astray_is_brought_back(course):
    path = course / "README.md"
    path.write_text(README.replace(badges(*OLD), badges("eve/fork", "dev")), encoding="utf-8")
    assert rewrite_addresses(course, *OLD) == [path]
    assert path.read_text(encoding="utf-8") == README


@pytest.mark.parametrize(
    "repo",
    ["", "course", "ada/", "/course", "ada/my course", "ada/course/x", "ada/..", "ada/course.git",
     "https://github.com/ada/course", "ada/course\n", "a_a/course", "ada/cöurse", "-a/b", "a-/b",
     "a--b/c", "a/-b", "a/.b", "a/b.", "a/b.wiki", "a" * 40 + "/b", "a/" + "b" * 101],
)  # fmt: skip
def test_a_bad_repository_is_refused_in_one_sentence(course, repo):
    before = everything(course)
    with pytest.raises(UserError, match=r"is not a repository: write OWNER/NAME, [^\n]*\.$"):
        rewrite_addresses(course, repo)
    assert everything(course) == before


@pytest.mark.parametrize("repo", ["a/b", "A-1-b/_c--.d-", "a" * 39 + "/" + "b" * 100, "a/git"])
def test_what_github_takes_is_taken(course, repo):
    rewrite_addresses(course, repo)
    assert current(course) == (repo, "main")


@pytest.mark.parametrize("ref", ["", "feature/x", "v1..2", "a b", "-x", "v1.", "v1@2", "main\n"])
def test_a_bad_ref_is_refused_in_one_sentence(course, ref):
    before = everything(course)
    with pytest.raises(UserError, match=r"cannot be used as a ref: .*\.$"):
        rewrite_addresses(course, "ada/course", ref)
    assert everything(course) == before


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("notebooks/01_broken.ipynb", "<<<<<<<", "is not a notebook"),
        ("notebooks/01_broken.ipynb", "[]", "01_broken.ipynb is not a notebook"),
        ("pyproject.toml", "[project]\n", "pyproject.toml has no line Repository"),
        ("pyproject.toml", PYPROJECT.replace("github.com", "example.org"), "has no line"),
        ("README.md", None, "README.md cannot be read"),
        ("pyproject.toml", None, "pyproject.toml cannot be read"),
    ],
)
def test_nothing_is_written_unless_everything_can_be(course, name, text, sentence):
    path = course / name
    if text is None:
        path.unlink()
    else:
        path.write_text(text, encoding="utf-8")
    before = everything(course)
    with pytest.raises(UserError, match=sentence):
        rewrite_addresses(course, *NEW)
    assert everything(course) == before


class Installed(Exception):
    """The setup cell would have run pip."""


def run_setup_cell() -> None:
    """The cell as Jupyter would run it, but for the magic, which raises."""
    *_, magic = setup_cell(*OLD).splitlines()
    address = "git+https://github.com/ada/course@main"
    assert magic == f"    %pip install --quiet --no-deps anywidget psygnal {address}"
    code = TransformerManager().transform_cell(setup_cell(*OLD))
    call = next(line.strip() for line in code.splitlines() if "run_line_magic" in line)
    exec(code.replace(call, "raise Installed"), {"Installed": Installed})


def test_the_setup_cell_does_nothing_outside_colab(monkeypatch):
    run_setup_cell()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    run_setup_cell()  # not even where the library is missing: that is for the reader to decide


def test_the_setup_cell_installs_once_on_colab(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", sys)
    run_setup_cell()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Installed):
        run_setup_cell()

"""Slides: what stands on which, and that nothing is fetched from elsewhere."""

import re

import pytest
from nbformat import write
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from mnist_lab.course.slides import make_slides, with_slides
from mnist_lab.validation import UserError

BADGE = "[![Open](https://example.org/badge.svg)](https://example.org)\n"


def notebook():
    said = [new_output("stream", text="13,808 parameters\n")]
    return new_notebook(cells=[
        new_markdown_cell(f"# A title\n\n{BADGE}\nWords."),
        new_code_cell('if "google.colab" in sys.modules:\n    install()'),
        new_markdown_cell("## 1. A section\n\nMore words."),
        new_code_cell('print("13,808 parameters")', outputs=said, execution_count=1),
        new_markdown_cell("**Analysis:** so it is.\n\n## 2. Another\n\nAnd then."),
        new_markdown_cell("## Exercises"),
        new_markdown_cell("A task."),
    ])  # fmt: skip


def test_headings_begin_a_slide_and_exercises_are_left_out():
    cells = with_slides(notebook()).cells
    kinds = [cell.metadata.slideshow.slide_type for cell in cells]
    assert kinds == ["slide", "skip", "slide", "-", "subslide", "slide"]
    assert "example.org" not in cells[0].source and "Words." in cells[0].source


def test_a_page_of_slides_needs_no_other_host(tmp_path):
    pytest.importorskip("sphinx_revealjs", reason='pip install -e ".[site]"')
    (tmp_path / "notebooks").mkdir()
    write(notebook(), tmp_path / "notebooks" / "04_a.ipynb")
    (page,) = make_slides(tmp_path, tmp_path / "slides")
    text = page.read_text("utf-8")
    assert page.name == "04.html"
    assert "13,808 parameters" in text and "A title" in text and "A task" not in text
    asked = re.findall(r'(?:src|href)="([^"#]+)"', text)
    assert asked and all((page.parent / name).is_file() for name in asked)
    for path in page.parent.rglob("*.css"):
        assert "@import" not in path.read_text("utf-8")


def test_without_reveal_it_is_said_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("mnist_lab.course.slides.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"mnist-lab\[site\]"):
        make_slides(tmp_path, tmp_path / "slides")

"""Reading notebooks: which are chosen, what is said of a bad one, where an execution stood."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from conftest import NOTEBOOKS, ROOT
from mnist_lab.course.notebooks import (
    find_notebooks,
    find_solutions,
    key_figures,
    last_cell,
    read_notebook,
    same_source,
    without_traces,
)
from mnist_lab.validation import UserError


def test_notebooks_are_chosen_by_their_beginnings_or_their_paths(tmp_path, monkeypatch):
    chosen = find_notebooks(ROOT / "notebooks", ["04", "00_start"])
    assert [path.name[:2] for path in chosen] == ["00", "04"]
    monkeypatch.chdir(ROOT / "notebooks")
    mine = tmp_path / "my own.ipynb"
    nbformat.write(new_notebook(), mine)
    (one,) = chosen[1:]
    assert find_notebooks(ROOT / "notebooks", [str(one), one.name, "04"]) == [one]
    assert find_notebooks(ROOT / "notebooks", [str(mine)]) == [mine]
    assert find_notebooks(ROOT / "notebooks") == NOTEBOOKS
    solved = find_solutions(ROOT / "notebooks")
    assert find_notebooks(ROOT / "notebooks", ["solutions"]) == solved
    assert find_notebooks(ROOT / "notebooks", ["solutions_04"]) == [
        path for path in solved if path.stem == "solutions_04"
    ]


@pytest.mark.parametrize("name", ["99", "", "notebooks/99_none.ipynb", "README.md"])
def test_a_name_that_fits_no_notebook_is_refused(name, tmp_path):
    with pytest.raises(UserError, match=r"no notebook begins with .*; there are: 00_start_here, "):
        find_notebooks(ROOT / "notebooks", [name])
    with pytest.raises(UserError, match="there are no notebooks in"):
        find_notebooks(tmp_path, [name])


@pytest.mark.parametrize("content", [None, "", "[]", "{}"])
def test_a_bad_file_is_named(content, tmp_path):
    path = tmp_path / "00_a.ipynb"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=str(path)):
        read_notebook(path)


def test_every_change_but_those_of_an_execution_is_a_difference():
    def make():
        return new_notebook(
            cells=[new_markdown_cell("**Cost:** 3 s"), new_code_cell("n = 1")],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python"}},
        )

    executed = make()
    executed.cells[0].source = "**Cost:** 9 s"
    executed.cells[1] |= {"outputs": [new_output("stream", text="1")], "execution_count": 2}
    executed.cells[1].metadata = {"papermill": {}, "execution": {}, "tags": []}
    executed.metadata |= {"papermill": {}, "language_info": {}}
    executed.cells.insert(1, new_code_cell("n = 2", metadata={"tags": ["injected-parameters"]}))
    assert same_source(executed, make())
    for change in (
        lambda n: n.cells[1].update(source="n = 3"),
        lambda n: n.cells[0].update(source="text"),
        lambda n: n.cells[1].metadata.update(tags=["mnist"]),
        lambda n: n.cells.append(new_code_cell("")),
        lambda n: n.cells.pop(),
        lambda n: n.cells.reverse(),
        lambda n: n.cells[1].update(cell_type="raw"),
        lambda n: n.metadata.update(kernelspec={"name": "ir"}),
    ):
        other = make()
        change(other)
        assert not same_source(other, make())


def test_key_figures_are_the_lines_of_the_tagged_cells():
    tagged = new_code_cell("", metadata={"tags": ["key-figures"]})
    tagged.outputs = [new_output("stream", text="accuracy: 97 %\nno figure\n"),
                      new_output("display_data", {"text/plain": "x: 1"}),
                      new_output("stream", text="ratio: 3: 1\n")]  # fmt: skip
    other = new_code_cell("", outputs=[new_output("stream", text="x: 1\n")])
    figures = key_figures(new_notebook(cells=[tagged, other]))
    assert figures == {"accuracy": "97 %", "ratio": "3: 1"}


def test_the_last_cell_is_the_code_cell_that_was_begun_last():
    started = {"papermill": {"start_time": "now", "status": "completed"}}
    pending = {"papermill": {"start_time": None, "status": "completed"}}
    cells = [new_markdown_cell("", metadata=started), new_code_cell("a", metadata=started),
             new_code_cell("b", metadata=started), new_markdown_cell("", metadata=started),
             new_code_cell("c", metadata=pending)]  # fmt: skip
    number, cell = last_cell(new_notebook(cells=cells))
    assert (number, cell.source) == (2, "b")
    assert last_cell(new_notebook(cells=cells[4:])) is None


def test_what_an_execution_leaves_is_taken_away():
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/plain": "A pad."}
    outputs = [
        new_output("stream", name="stdout", text="Right. "),
        new_output("stream", name="stdout", text="Good.\n"),
        new_output("stream", name="stderr", text="a warning\n"),
        new_output("display_data", view),
    ]
    cell = new_code_cell("pad", outputs=outputs, metadata={"papermill": {}, "tags": ["a"]})
    notebook = new_notebook(cells=[cell, new_markdown_cell("text")], metadata={"widgets": {}})
    assert same_source(notebook, new_notebook(cells=notebook.cells))
    clean = without_traces(notebook)
    assert "widgets" not in clean.metadata and clean.cells[0].metadata == {"tags": ["a"]}
    assert [output.get("text") for output in clean.cells[0].outputs] == [
        "Right. Good.\n", "a warning\n", None
    ]  # fmt: skip
    assert clean.cells[0].outputs[-1].data == {"text/plain": "A pad."}

"""Notebooks with other parameters than the delivered ones, and cells that are run twice."""

import re
from contextlib import chdir

import matplotlib
import nbformat
import pytest
from cells import code_cells, printed
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from conftest import NOTEBOOKS, ROOT
from mnist_lab.validation import UserError

FIRST_CELLS = 7  # setup, parameters, imports, data, recipe


def cells_with(number: str, parameters: dict) -> list[nbformat.NotebookNode]:
    """The code cells of a notebook; what it declares as a parameter has another value."""
    (path,) = (path for path in NOTEBOOKS if path.name.startswith(number))
    cells = code_cells(nbformat.read(path, as_version=4))
    (declared,) = (cell for cell in cells if "parameters" in cell.metadata.get("tags", []))
    for name, value in parameters.items():
        line = re.compile(rf"^{name} = .*$", re.MULTILINE)
        assert line.search(declared.source), name
        declared.source = line.sub(f"{name} = {value!r}", declared.source)
    return cells


@pytest.mark.parametrize(
    ("number", "parameters", "sentence"),
    [
        ("00", {"dataset": "cifar"}, "cifar"),
        ("00", {"seed": 1.5}, "seed must be"),
        ("01", {"seed": -1}, "seed must be"),
        ("01", {"max_degrees": -5}, "degrees must be"),
        ("02", {"num_epochs": 0}, "num_epochs must be"),
        ("02", {"num_digits": 0}, "number of digits must be"),
        ("03", {"num_epochs": 0}, "num_epochs must be"),
        ("03", {"seed": -1}, "seed must be"),
        ("04", {"num_epochs": 1, "num_digits": 640}, "OneCycle cannot rise within"),
        ("06", {"seed": "a"}, "seed must be"),
        ("07", {"num_seeds": 1}, "num_seeds must be"),
        ("07", {"num_digits": 100}, "OneCycle cannot rise within"),
        ("09", {"num_digits": 99}, "num_digits must be"),
        ("10", {"pairs": 2}, "pairs must be"),
        ("10", {"steps_per_turn": 0}, "steps_per_turn must be"),
        ("11", {"num_epochs": 0}, "num_epochs must be"),
        ("11", {"num_digits": 99}, "num_digits must be"),
        ("12", {"num_digits": 2.5}, "number of digits must be"),
        ("12", {"seed": "a"}, "seed must be"),
    ],
)
def test_a_parameter_that_cannot_be_used_ends_in_one_sentence_at_the_top(
    number, parameters, sentence
):
    namespace = {"__name__": "__main__"}
    with pytest.raises(UserError, match=sentence):
        for cell in cells_with(number, {"dataset": "digits"} | parameters)[:FIRST_CELLS]:
            printed(cell, namespace)


@pytest.mark.slow
def test_cells_of_02_give_the_same_again_and_bear_few_digits_and_epochs():
    namespace = {"__name__": "__main__"}
    cells = cells_with("02", {"dataset": "digits", "num_digits": 200, "num_epochs": 1})
    for cell in cells:
        first = printed(cell, namespace)
        if "parameters" not in cell.metadata.get("tags", []) and "seconds" not in first:
            assert printed(cell, namespace) == first, cell.source


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "parameters"),
    [
        ("00", {"seed": 5}),
        ("01", {"seed": 3, "max_degrees": 0}),
        ("01", {"max_degrees": 90}),
        ("03", {"seed": 7, "num_epochs": 1}),
        ("03", {"num_epochs": 13}),
        ("04", {"num_digits": 700, "num_epochs": 1}),
        ("04", {"num_digits": 900, "num_epochs": 3, "seed": 4}),
        ("05", {"num_epochs": 1, "seed": 2}),
        ("05", {"num_epochs": 2, "split": "as published", "precision": "fp32"}),
        ("06", {"num_digits": 1, "num_epochs": 1}),
        ("06", {"num_digits": 900, "num_epochs": 3, "seed": 4}),
        ("07", {"num_epochs": 1, "num_digits": 700, "num_seeds": 2}),
        ("07", {"num_epochs": 2, "split": "as published", "num_digits": 900, "num_seeds": 4}),
        ("09", {"num_digits": 100}),
        ("10", {"pairs": 3, "steps_per_turn": 1}),
        ("10", {"pairs": 4, "steps_per_turn": 2}),
        ("11", {"num_epochs": 5, "num_digits": 100}),
        ("12", {"num_digits": 1}),
        ("12", {"num_digits": 50, "seed": 9}),
    ],
    ids=str,
)
def test_a_notebook_bears_other_parameters(number, parameters, monkeypatch, tmp_path):
    """Few digits, few epochs, another seed: what a student in a hurry chooses."""
    matplotlib.use("agg")
    monkeypatch.setenv("MNIST_LAB_RECORDS", str(tmp_path))
    shell = InteractiveShell()
    with chdir(ROOT / "notebooks"):
        for cell in cells_with(number, {"dataset": "digits"} | parameters):
            with capture_output():
                result = shell.run_cell(cell.source)
            assert result.success, (
                f"{cell.id}: {result.error_before_exec or result.error_in_exec!r}"
            )

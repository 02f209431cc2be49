"""What stored notebooks and pictures say is what their published run and the records say."""

import html
import re

import nbformat
import pytest

from conftest import NOTEBOOKS, ROOT
from mnist_lab.course.outcomes import load_outcomes
from mnist_lab.course.publish import COSTS_FILE
from mnist_lab.records import PUBLISHED, load_records, select_runs
from mnist_lab.statistics import prediction_interval, seed_interval

OUTCOMES = {outcome.notebook: outcome for outcome in load_outcomes(PUBLISHED / COSTS_FILE)}
PERCENT = re.compile(r"\d+(?:\.\d+)?%")
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def told(path) -> tuple[str, list[str]]:
    """What the stored cells printed, and what is said in place of their pictures."""
    text, alts = "", []
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            text += output.get("text", "") + data.get("text/markdown", "")
            found = re.findall(r'<img alt="([^"]*)"', data.get("text/html", ""))
            alts += map(html.unescape, found)
    return text, alts


def missing(figures: dict[str, str], text: str) -> list[str]:
    """Percentages among the figures of a run that its text does not say."""
    said = set(PERCENT.findall(text))
    found = PERCENT.findall(" ".join(f"{name} {value}" for name, value in figures.items()))
    return [one for one in found if one not in said]


@each_notebook
def test_the_outputs_are_those_of_the_run_whose_figures_are_published(path):
    assert missing(OUTCOMES[path.stem].figures, told(path)[0]) == []


def test_a_figure_of_another_run_is_found():
    text = "test: 99.53% (9,953 of 10,000)"
    assert missing({"test": "99.53%"}, text) == []
    assert missing({"test": "99.52% [99.53%]"}, text) == ["99.52%"]


@each_notebook
def test_what_is_said_of_every_picture_holds_a_number(path):
    assert [alt for alt in told(path)[1] if not re.search(r"\d", alt)] == []


@pytest.mark.parametrize("number", ["05", "07"])
def test_the_pictures_of_a_training_say_what_its_cells_print(number):
    (path,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
    text, alts = told(path)
    (validation,) = re.findall(r"^(?:last epoch|epoch 20): (\S+%)", text, re.M)
    assert sum(alt.endswith(f"to {validation}.") for alt in alts) == 1
    right, total = re.search(r"^test: +\S+ \(([\d,]+) of ([\d,]+)\)", text, re.M).groups()
    wrong = int(total.replace(",", "")) - int(right.replace(",", ""))
    assert sum(f"{total} digits with {wrong} mistakes" in alt for alt in alts) == 1


def test_03_tells_the_intervals_of_the_records():
    (path,) = (ROOT / "notebooks").glob("03_*.ipynb")
    tests = [run["test"] for run in select_runs(load_records(), "GapNet")]
    ends = [test["correct"] / test["total"] for test in tests]
    for interval in (seed_interval, prediction_interval):
        low, high = interval(ends)
        assert f"[{low:.2%}, {high:.2%}]" in told(path)[0]

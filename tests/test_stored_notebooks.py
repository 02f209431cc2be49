"""The notebooks as they are stored: executed in order, clean, measured, and truly compared."""

import html
import os
import re
import statistics
import subprocess
import sys
from functools import cache

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from conftest import NOTEBOOKS, ROOT, compared, count_compared, printing_cells
from mnist_lab.course.notebooks import find_solutions, minutes_needed
from mnist_lab.course.outcomes import load_outcomes
from mnist_lab.course.publish import COSTS_FILE
from mnist_lab.course.published_studies import load_studies
from mnist_lab.course.tables import cost_line, notebook_table, results_table, speed_tables
from mnist_lab.exercises import numbers
from mnist_lab.records import load_records

RECORDS = ROOT / "mnist_lab" / "published"
COSTS = {outcome.notebook: outcome for outcome in load_outcomes(RECORDS / COSTS_FILE)}
SOLUTIONS = find_solutions(ROOT / "notebooks")
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
each_executed = pytest.mark.parametrize("path", NOTEBOOKS + SOLUTIONS, ids=lambda path: path.stem)


@cache
def read(path):
    return nbformat.read(path, as_version=4)


MINUTES = {path.stem: minutes_needed(read(path)) for path in NOTEBOOKS}


def code_cells(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def outputs(path):
    return [output for cell in code_cells(path) for output in cell.outputs]


def test_the_course_is_complete():
    numbers = [path.name[:2] for path in NOTEBOOKS]
    assert numbers == [f"{number:02}" for number in range(13)]


@each_notebook
def test_its_sections_are_numbered_without_a_gap(path):
    found = sections(path)
    assert found == list(range(1, len(found) + 1)) and found


def references(text):
    """The notebook, or None for the own one, and the section or None, of each reference in a text.

    "notebook 05, section 7", "notebooks 05 and 07", "section 4", "05 §7", "mnist_lab run 05".
    """
    text, found = re.sub(r"\n[#> ]*", " ", text), []  # a comment may go on in the next line
    section = r"(?:sections?|§) ?(\d+)(?:(?: and | or | to |–)(\d+)\b)?"
    for many in re.findall(r"[Nn]otebooks? (\d\d(?:(?:, | and | or | to |–)\d\d\b)*)", text):
        found += [(number, None) for number in re.findall(r"\d\d", many)]
    for many in re.findall(r"mnist_lab (?:run|sweep|exercises)((?: \d\d)+)\b", text):
        found += [(number, None) for number in many.split()]
    for match in re.finditer(rf"(?:\b(\d\d)\W{{1,2}})?(?<!\w){section}", text, re.IGNORECASE):
        number, *sections = match.groups()
        found += [(number, int(section)) for section in sections if section]
    return found


def sections(path):
    """The numbers of a notebook's sections, in their order."""
    texts = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    return [int(number) for number in re.findall(r"^## (\d+)\.", texts, re.MULTILINE)]


def missing(text, own=None):
    """The references of a text (of the notebook `own`) that lead nowhere."""
    there = {path.name[:2]: path for path in NOTEBOOKS}
    nowhere = []
    for number, section in references(text):
        path = there.get(number) if number else own
        lost = number and number not in there
        if lost or (section and path and section not in sections(path)):
            nowhere.append((number, section))
    return nowhere


def test_a_reference_that_leads_nowhere_is_seen():
    own = NOTEBOOKS[-1]
    for text, found in {
        "As notebook\n# 77 says": [("77", None)],
        "notebooks 01, 05 and 88": [("88", None)],
        "in section 99; see section 1": [(None, 99)],
        "(notebook 05,\nsection 98)": [("05", 98)],
        "by 01 §97": [("01", 97)],
        "python -m mnist_lab sweep 05 66 --seeds 10": [("66", None)],
        "sections 1 and 96, 10 digits, notebook 01": [(None, 96)],
    }.items():
        assert missing(text, own) == found, text


@each_executed
def test_each_section_and_notebook_that_it_names_is_there(path):
    (own,) = [one for one in NOTEBOOKS if one.name[:2] == re.search(r"\d\d", path.stem)[0]]
    for cell in read(path).cells:
        assert missing(cell.source, own) == [], f"{cell.id}: {cell.source}"
        for link in re.findall(r"\]\(([\w./]+\.ipynb)\)", cell.source):
            assert (path.parent / link).is_file(), link


def test_each_notebook_that_the_library_and_the_pages_name_is_there():
    library = ROOT / "mnist_lab"
    pages = [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "instructors").glob("*.md")]
    for path in [ROOT / "README.md", *pages, *library.rglob("*.py"), *library.rglob("*.md")]:
        text = path.read_text(encoding="utf-8")
        own = [one for one in NOTEBOOKS if re.fullmatch(f"n{one.name[:2]}", path.stem)]
        if not path.stem.endswith(("renumber", "grading")):  # they speak of any
            assert missing(text, *own) == [], path


@each_executed
def test_it_was_executed_once_from_top_to_bottom_without_a_warning_or_a_machines_path(path):
    counts = [cell.execution_count for cell in code_cells(path)]
    assert counts == list(range(1, len(counts) + 1))
    for output in outputs(path):
        assert output.output_type != "error" and output.get("name") != "stderr", output
        text = str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", ""))
        assert "Warning" not in text
        assert not re.search(r"/(home|root|Users|tmp|work|content)/|[A-Z]:\\", text), text


@each_notebook
def test_a_notebook_follows_the_pattern_of_the_course(path):
    text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    first, parameters = code_cells(path)[:2]
    assert "google.colab" in first.source
    assert "parameters" in parameters.metadata.tags
    assert "dataset" in papermill.inspect_notebook(str(path))
    assert "**Question:**" in text.split("##")[0]
    assert text.count("**Target:**") >= 1 and text.count("**Analysis:**") >= 1
    assert "## Recap" in text and "## Further reading" in text
    assert re.search(r"## Experiments\n\n1\. .*\n2\. ", text, re.DOTALL)
    assert ("## Exercises" in text) == (path.name[:2] in numbers())
    assert re.search(r"doi\.org/|arxiv\.org/abs/", text)
    lines = [len(cell.source.splitlines()) for cell in code_cells(path)]
    assert statistics.median(lines) <= 6 and max(lines) <= 25
    for cell in code_cells(path):
        if re.fullmatch(r"q\d\d-\d-answer", cell.id):
            (output,) = cell.outputs
            assert output.text.startswith("Not answered yet. "), cell.source


@each_notebook
def test_the_head_says_what_a_person_needs_and_will_be_able_to_do(path):
    head = read(path).cells[0].source
    objectives = head.split("**After this you can**\n\n")[1].split("\n\n")[0]
    assert "**Before:** " in head and 3 <= len(re.findall("^- ", objectives, re.MULTILINE)) <= 5


@each_notebook
def test_the_cost_at_the_top_is_the_measured_one_and_fits_binders_memory(path):
    assert cost_line(COSTS[path.stem]) in read(path).cells[0].source
    assert COSTS[path.stem].peak_mb < 2_000


@each_notebook
def test_pictures_carry_a_text_for_those_who_cannot_see_them(path):
    for data in (output.get("data", {}) for output in outputs(path)):
        assert "image/png" not in data, "JupyterLab shows it without its alternative text"
        for picture in re.findall("<img [^>]*>", data.get("text/html", "")):
            alt = re.search(r'alt="([^"]*)"', picture)
            assert html.unescape(alt[1]) == data["text/plain"] and len(alt[1]) > 10


def test_every_stored_parameter_count_of_a_network_is_compared():
    for path in NOTEBOOKS:
        for cell in printing_cells(read(path)):
            text = "".join(output.get("text", "") for output in cell.outputs)
            if re.search("13,808|16,426", text):
                assert compared(cell), f"{path.stem}: {cell.source}"


def test_at_least_three_fifths_of_the_printing_cells_are_compared():
    same, total = count_compared()
    assert same / total >= 0.6


def test_the_tables_of_the_pages_are_those_of_the_records():
    tables = {
        "results": results_table(load_records(RECORDS)),
        "notebooks": notebook_table(list(COSTS.values()), MINUTES),
        "speed": speed_tables(load_studies(RECORDS).values()),
    }
    for name, table in tables.items():
        page = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
        assert table in page, "python -m mnist_lab publish --records"


def test_the_readme_says_how_long_it_takes():
    hours = round(sum(MINUTES.values()) / 60)
    assert f"about {hours} hours" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_nbval_compares_what_no_tag_excludes(tmp_path):
    """A changed output fails, unless a tag says that it is another each time, or MNIST's."""

    def cell(*tags):
        lie = [new_output("stream", text="13,809 parameters\n")]
        told = {"outputs": lie, "execution_count": 1, "metadata": {"tags": tags}}
        return new_code_cell('print("13,808 parameters")', **told)

    notebook = new_notebook(cells=[cell(), cell("nbval-ignore-output"), cell("mnist")])
    notebook.metadata.kernelspec = read(NOTEBOOKS[0]).metadata.kernelspec
    nbformat.write(notebook, tmp_path / "lies.ipynb")
    options = ["-q", "--color=no", "-p", "no:cacheprovider", "-p", "conftest", "--rootdir", ROOT,
               "-c", ROOT / "pyproject.toml", tmp_path / "lies.ipynb"]  # fmt: skip
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *map(str, options)],
        cwd=ROOT, capture_output=True, text=True, env=os.environ | {"MNIST_LAB_SOURCE": "digits"},
    )  # fmt: skip
    assert run.returncode == 1, run.stdout
    assert re.search(r"1 failed, 2 passed", run.stdout), run.stdout
    assert "13,809" in run.stdout, run.stdout

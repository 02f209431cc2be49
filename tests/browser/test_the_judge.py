"""A notebook with every fault that the browser test looks for: each is found, and named."""

import nbformat
import pytest
from judge import judge_pictures, judge_run, judge_width
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="
CELLS = {
    "no alt": f"""from IPython.display import HTML\nHTML('<img src="{PIXEL}">')""",
    "empty alt": f"""HTML('<img alt=" " src="{PIXEL}">')""",
    "not an image": """HTML('<img alt="A digit." src="data:image/png;base64,AAAA">')""",
    "wide": """HTML('<div style="width: 3000px">wide</div>')""",
    "wide table": """HTML('<table><tr>' + '<td>number</td>' * 99 + '</tr></table>')""",
    "warns": """import sys\nprint("mind the gap", file=sys.stderr)""",
    "abroad": """HTML('<img alt="A digit." src="http://example.org/digit.png">')""",
    "good": f"""HTML('<img alt="A digit." src="{PIXEL}">')""",
    "fails": "1 / 0",
    "never reached": "2 + 2",
}
NUMBERS = {name: number for number, name in enumerate(CELLS)}


@pytest.fixture(scope="module")
def bad(served, open_notebook):
    notebook = new_notebook(cells=[new_code_cell(code) for code in CELLS.values()])
    notebook.cells.append(new_markdown_cell(f"![]({PIXEL})\n\n| {'very' * 99} |\n|---|\n| wide |"))
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, served / "bad.ipynb")
    lab = open_notebook("bad.ipynb")
    lab.run_all()
    return lab


def numbers(complaints: list[str]) -> list[int]:
    return [int(complaint.split()[1].rstrip(":")) for complaint in complaints]


def test_a_warning_an_error_and_a_cell_that_was_not_run_are_found(bad):
    warns, fails, not_run = judge_run(bad.read())
    assert warns == f"cell {NUMBERS['warns']} writes to stderr: mind the gap"
    assert fails.startswith(f"cell {NUMBERS['fails']} fails: ")
    assert "ZeroDivisionError" in fails
    assert not_run == f"cell {NUMBERS['never reached']} was not run: 2 + 2"


def test_pictures_without_alt_text_and_broken_ones_are_found(bad):
    found = judge_pictures(bad.read())
    without = [NUMBERS["no alt"], NUMBERS["empty alt"], len(CELLS)]
    assert numbers([one for one in found if one.endswith("has no alt text")]) == without
    assert numbers([one for one in found if one.endswith("cannot be shown")]) == [
        NUMBERS["not an image"]
    ]


def test_wide_outputs_are_found(bad):
    found = judge_width(bad.read())
    assert numbers(found) == [NUMBERS["wide"], NUMBERS["wide table"], len(CELLS)]
    assert "pixels wider than its page: 'wide'" in found[0]


def test_a_request_to_another_host_is_refused_and_found(bad):
    assert bad.strays == {"http://example.org"}

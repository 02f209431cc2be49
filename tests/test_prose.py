"""What the notebooks say beside their outputs: a result is computed and shown, never typed."""

import re
from functools import cache

import nbformat
import pytest

from conftest import NOTEBOOKS

# Figures in prose that no run of ours has given: what was published, what was asked for (99.4), and
# the levels of intervals and bounds.
QUOTED = {"97.01", "99.09", "99.30", "99.39", "99.4", "99.40", "99.58", "13,808", "16,426"}
LEVELS = {"2.5", "90", "95", "99", "100"}
RESULT = re.compile(
    r"(?<![\d.,√])(\d[\d.,]*)(?: ?%| ms\b| milliseconds?\b| MB\b| times (?:as|faster|slower)\b)"
)
MADE_UP = r"^### Exercise"  # an exercise's numbers are its own


@cache
def prose(path):
    """The Markdown cells behind the head (whose cost `publish` writes), without exercises."""
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells[1:]
             if cell.cell_type == "markdown"]  # fmt: skip
    return [text for text in cells if not re.match(MADE_UP, text)]


def typed_results(text):
    return [found for found in RESULT.findall(text) if found not in QUOTED | LEVELS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_result_is_typed(path):
    found = {number: text for text in prose(path) for number in typed_results(text)}
    assert not found, "compute it in a cell and show it"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("the network reads 98.2 % of them", ["98.2"]),
        ("a step takes 87 ms, and 2.1 times as long", ["87", "2.1"]),
        ("memory of 1,136 MB", ["1,136"]),
        ("99.58 % was published, 99.4 % asked for; a 95 % interval; 10,000 digits; 0.1 points", []),
    ],
)
def test_the_check_finds_what_is_typed(text, found):
    assert typed_results(text) == found

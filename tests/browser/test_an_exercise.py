"""An exercise of notebook 01, answered in the browser as a student would: wrongly, then rightly."""

import pytest

from mnist_lab.exercises import exercises
from mnist_lab.exercises.question import RIGHT, UNANSWERED, WRONG


@pytest.fixture(scope="module")
def lab(open_notebook):
    lab = open_notebook("notebooks/01_the_digits.ipynb")
    lab.run_all()
    return lab


def test_an_exercise_is_answered_wrongly_then_rightly(lab):
    cell = lab.cell("q1.check()")
    expect(UNANSWERED, lab.printed(cell))

    lab.retype(cell, "    return", "return images")
    expect(WRONG, lab.run_cell(cell))

    lab.retype(cell, "    return", "return images.roll((down, right), (2, 3))")
    expect(WRONG, lab.run_cell(cell))  # what leaves on one side comes in on the other

    padding = "[right, -right, down, -down]"
    lab.retype(cell, "    return", f"return torch.nn.functional.pad(images, {padding})")
    expect(RIGHT, lab.run_cell(cell))


def expect(outcome: str, said: str) -> None:
    assert said.startswith(outcome), f"{outcome!r} is expected; notebook 01, q1 says: {said!r}"


def test_a_hint_and_the_solution_are_given_when_their_mark_is_taken_away(lab):
    cell = lab.cell("q1.check()")
    lab.retype(cell, "# q1.hint", "q1.hint()")
    lab.retype(cell, "# q1.solution", "q1.solution()")
    said = lab.run_cell(cell)
    told = " ".join(said.split())
    first = exercises("01")[0]
    assert " ".join(first.hint.split()) in told
    assert " ".join(first.solution.split()) in told

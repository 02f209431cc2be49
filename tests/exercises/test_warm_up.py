import json

import numpy as np
import pytest
import torch

from conftest import ROOT
from mnist_lab.exercises import guess, quick
from mnist_lab.exercises.question import COLUMNS
from mnist_lab.exercises.warm_up import LETTERS, quick_numbers, quick_questions

NONSENSE = [
    None, True, 3, -1, 0.5, float("nan"), 10**400, 1j, "", "z", "ab", "a b c", b"a", [], [1, 2], {},
    {"a"}, object(), int, len, np.array([]), np.ones(3), torch.ones(2, 2), torch.tensor([]),
]  # fmt: skip
ALL = [(number, at) for number in quick_numbers() for at in (1, 2, 3)]


def code_of(path) -> list[str]:
    """The sources of a notebook's code cells."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


class Rude:
    """What raises at whatever is asked of it."""

    def __float__(self):
        raise ZeroDivisionError

    def __eq__(self, other):
        raise ZeroDivisionError

    def __repr__(self):
        raise ZeroDivisionError


def said_of(capsys, *arguments, **named) -> str:
    quick(*arguments, **named)
    return capsys.readouterr().out


def verdict(said: str, number: str, at: int) -> str:
    """What is said after the question and its choices, which stand in every output."""
    last = quick_questions(number)[at - 1].choices[-1].text
    said = " ".join(said.split())
    return said[said.index(last) + len(last) :].strip()


@pytest.mark.parametrize("number", quick_numbers())
def test_there_are_three_questions_with_one_right_answer_each(number):
    questions = quick_questions(number)
    assert len(questions) == 3
    for question in questions:
        assert question.text.endswith("?")
        assert 2 <= len(question.choices) <= len(LETTERS)
        assert sum(choice.is_right for choice in question.choices) == 1
        assert len({choice.text for choice in question.choices}) == len(question.choices)
        assert all(choice.said.endswith(".") for choice in question.choices)


@pytest.mark.parametrize("number, at", ALL)
def test_a_question_without_an_answer_is_asked_and_tells_nothing(capsys, number, at):
    said = said_of(capsys, number, at, answer=...)
    assert said == said_of(capsys, number, at)
    assert verdict(said, number, at).startswith("Not answered yet: ")
    assert max(map(len, said.splitlines())) <= COLUMNS
    for choice in quick_questions(number)[at - 1].choices:
        assert choice.said not in " ".join(said.split())


@pytest.mark.parametrize("number, at", ALL)
def test_the_right_letter_is_right_and_no_other(capsys, number, at):
    for letter, choice in zip(LETTERS, quick_questions(number)[at - 1].choices):
        for answer in (letter, letter.upper(), f" {letter}) "):
            said = verdict(said_of(capsys, number, at, answer=answer), number, at)
            assert said == f"{'Right' if choice.is_right else 'Not right'}: {choice.said}"


@pytest.mark.parametrize("answer", [*NONSENSE, Rude()])
def test_nonsense_for_an_answer_is_answered_in_a_sentence(capsys, answer):
    said = verdict(said_of(capsys, "01", 1, answer=answer), "01", 1)
    assert said == 'That is none of the answers: "a", "b" or "c" is one.'


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_a_question_that_there_is_not_is_answered_in_a_sentence(capsys, nonsense):
    assert said_of(capsys, nonsense, 1).startswith("Quick questions there are of 01")
    at = 9 if nonsense is NONSENSE[2] else nonsense  # there is a third question
    assert said_of(capsys, "01", at) == "The quick questions have the numbers 1 to 3.\n"


@pytest.mark.parametrize(
    "arguments, said",
    [
        ((61, 54), "You guessed 61, it is 54."),
        ((54, 54), "You guessed 54, and so it is."),
        ((..., 54), "No guess this time: it is 54."),
        ((None, 54), "No guess this time: it is 54."),
        ((61, 53.97, "%", 1), "You guessed 61.0 %, it is 54.0 %."),
        ((0.1234567, 0.13, "", 2), "You guessed 0.123457, it is 0.13."),
        (("61 %", 54, "%"), "You guessed 61 %, it is 54 %."),
        (("10,000", 7850), "You guessed 10,000, it is 7,850."),
        ((np.float32(61), torch.tensor(54)), "You guessed 61, it is 54."),
        ((torch.tensor([61]), np.int64(54)), "You guessed 61, it is 54."),
        ((1e30, 54), "You guessed 1e+30, it is 54."),
        (("bias", "dropout"), "You guessed bias, it is dropout."),
        (("Dropout ", "dropout"), "You guessed Dropout, and so it is."),
        ((3, "dropout"), "Your guess is not a word: it is dropout."),
        ((..., "dropout"), "No guess this time: it is dropout."),
    ],
)
def test_a_guess_is_said_beside_what_it_is(capsys, arguments, said):
    guess(*arguments)
    assert capsys.readouterr().out == said + "\n"


@pytest.mark.parametrize(
    "nonsense",
    [
        True, float("nan"), float("inf"), 10**400, 1j, "", "many", [], [1, 2], {}, object(),
        int, len, np.array([]), np.ones(3), torch.ones(2, 2), Rude(),
    ],
)  # fmt: skip
def test_a_guess_that_is_nonsense_is_answered_in_a_sentence(capsys, nonsense):
    guess(nonsense, 54, "%")
    assert capsys.readouterr().out == "Your guess is not a number: it is 54 %.\n"


@pytest.mark.parametrize("number", quick_numbers())
def test_a_notebook_asks_its_questions_unanswered(number):
    paths = sorted((ROOT / "notebooks").glob(f"{number}_*.ipynb"))
    sources = [source for path in paths for source in code_of(path)]
    for at in (1, 2, 3):
        asked = f'quick("{number}", {at}, answer=...)'
        assert sum(asked in source.splitlines() for source in sources) == 1, asked

"""What opens a notebook, and what comes before a result: three quick questions, and a guess.

`quick_04.md` holds the quick questions of notebook 04: each a `## 1` with its text, and a list of
choices, each with the sentence that is said of it after `Right:` or `Wrong:`.
"""

import functools
import math
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

from mnist_lab.exercises.checks import as_number
from mnist_lab.exercises.question import COLUMNS

LETTERS = "abcde"


@dataclass(frozen=True)
class Choice:
    """One of the answers to a quick question; `said` tells why it is right or wrong."""

    text: str
    is_right: bool
    said: str


@dataclass(frozen=True)
class QuickQuestion:
    """A question about earlier notebooks, answered with the letter of a choice."""

    text: str
    choices: tuple[Choice, ...]


def quick_numbers() -> list[str]:
    """The notebooks that have quick questions: "01", "02", …"""
    return sorted(path.stem[6:] for path in Path(__file__).parent.glob("quick_*.md"))


@functools.cache
def quick_questions(number: str) -> tuple[QuickQuestion, ...]:
    """The quick questions of a notebook, in order."""
    file = Path(__file__).with_name(f"quick_{number}.md")
    _, *sections = re.split(r"^## \d+\n", file.read_text(encoding="utf-8"), flags=re.M)
    return tuple(map(_question, sections))


def _question(section: str) -> QuickQuestion:
    text, *choices = re.split(r"^- ", section, flags=re.M)
    parts = [re.split(r"\s+(Right|Wrong): ", " ".join(choice.split())) for choice in choices]
    made = tuple(Choice(text, kind == "Right", said) for text, kind, said in parts)
    return QuickQuestion(" ".join(text.split()), made)


def quick(number: str, question: int, answer: object = ...) -> None:
    """Ask a quick question of notebook `number`, and say whether `answer`, a letter, is right."""
    if not isinstance(number, str) or number not in quick_numbers():
        print(_filled(f"Quick questions there are of {', '.join(quick_numbers())}, in quotes."))
        return
    asked = quick_questions(number)
    if type(question) is not int or not 1 <= question <= len(asked):
        print(_filled(f"The quick questions have the numbers 1 to {len(asked)}."))
        return
    print(_told(question, asked[question - 1], answer))


def _told(number: int, question: QuickQuestion, answer: object) -> str:
    letters = LETTERS[: len(question.choices)]
    lines = [_filled(question.text, f"{number}. ")]
    lines += [_filled(one.text, f"   {a}) ") for a, one in zip(letters, question.choices)]
    letter = answer.strip(" ().").lower() if isinstance(answer, str) else ""
    shown = ", ".join(f'"{letter}"' for letter in letters[:-1]) + f' or "{letters[-1]}"'
    if answer is ...:
        verdict = f"Not answered yet: {shown} in place of the dots."
    elif len(letter) != 1 or letter not in letters:
        verdict = f"That is none of the answers: {shown} is one."
    else:
        choice = question.choices[letters.index(letter)]
        verdict = f"{'Right' if choice.is_right else 'Not right'}: {choice.said}"
    return "\n".join([*lines, _filled(verdict, "   "), ""])


def _filled(text: str, first: str = "") -> str:
    after = " " * len(first)
    return textwrap.fill(text, COLUMNS, initial_indent=first, subsequent_indent=after)


def guess(guessed: object, truth: float | str, unit: str = "", digits: int = 0) -> None:
    """Say what was guessed and what it is; `guessed` is `...` where nothing was.

    Numbers are shown with `digits` behind the point, and `unit`; a truth that is a word stays one.

        guess(my_guess, 100 * accuracy, "%", digits=1)
    """
    it_is = _number(truth, unit, digits)
    said = _guessed(guessed, truth, unit, digits)
    if guessed is ... or guessed is None:
        told = f"No guess this time: it is {it_is}."
    elif said is None:
        kind = "word" if isinstance(truth, str) else "number"
        told = f"Your guess is not a {kind}: it is {it_is}."
    elif said.lower() == it_is.lower():
        told = f"You guessed {said}, and so it is."
    else:
        told = f"You guessed {said}, it is {it_is}."
    print(_filled(told))


def _guessed(guessed: object, truth: float | str, unit: str, digits: int) -> str | None:
    """A guess as it is shown; None if it is not of the truth's kind."""
    if isinstance(truth, str):
        said = " ".join(guessed.split())[:40] if isinstance(guessed, str) else ""
        return said or None
    try:
        if isinstance(guessed, str):
            guessed = float(guessed.replace(",", "").strip().removesuffix(unit))
        number = as_number(guessed, "the guess")
    except Exception:  # whatever it is that was typed
        return None
    if not math.isfinite(number):
        return None
    same = _number(number, unit, digits)
    exact = round(number, digits) == number
    return same if exact and abs(number) < 1e15 else f"{number:,.6g} {unit}".strip()


def _number(value: float | str, unit: str, digits: int) -> str:
    return value if isinstance(value, str) else f"{float(value):,.{digits}f} {unit}".strip()

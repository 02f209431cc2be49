"""A question: its verdicts, its three calls, and that an answer can do no harm."""

import itertools

import pytest
import torch
from torch import nn

from mnist_lab.exercises import exercises, numbers, question, questions
from mnist_lab.exercises import time_limit as watched
from mnist_lab.exercises.question import RIGHT, UNANSWERED, WRONG, Question, Wrong, exercise, judge

START = """
    def double(x):
        return ...
"""


@exercise(title="Twice", task="Write `double`.", start=START, hint="Add.", right="Well done.",
          solution="    def double(x):\n        return x + x")  # fmt: skip
def doubling(double):
    x = torch.randn(3)
    if not torch.equal(double(x), 2 * x):
        raise Wrong("that is not twice as much.")


def verdict(code):
    namespace = {}
    exec(code, namespace)
    return judge(doubling, namespace)


def test_texts_lose_their_common_indentation():
    assert doubling.start == "def double(x):\n    return ..."
    assert doubling.name == "doubling" and doubling.variables == ["double"]


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("", UNANSWERED),
        ("double = ...", UNANSWERED),
        (doubling.start, UNANSWERED),
        ("# a comment\n\n" + doubling.start, UNANSWERED),
        (doubling.solution, RIGHT),
        ("double = lambda x: 2 * x", RIGHT),
        ("def double(x):\n    y = x.clone()\n    y[...] *= 2\n    return y", RIGHT),
        ("def double(x):\n    return x", WRONG),
        ("def double(x):\n    return None", WRONG),
        ("double = None", WRONG),
        ("def double():\n    return 2", WRONG),
        ("def double(x):\n    raise SystemExit", WRONG),
        ("def double(x):\n    raise KeyboardInterrupt", WRONG),
        ("def double(x):\n    return double(x)", WRONG),
    ],
)
def test_the_outcome(code, outcome):
    assert verdict(code).outcome == outcome


def test_the_sentences():
    assert str(verdict(doubling.solution)) == "Right. Well done."
    assert str(verdict("double = abs")) == "Not right: that is not twice as much."
    assert str(verdict("double = ...")).startswith("Not answered yet. Change the code")
    assert "There is no `double` so far" in verdict("").why
    assert "(line 2) ends in ZeroDivisionError: " in verdict("def double(x):\n    1 / 0").why
    gap = "def double(x, y=...):\n    return torch.add(..., x)"
    assert "There is still a `...`" in verdict(f"import torch\n{gap}").why


def test_what_never_ends_is_stopped(monkeypatch):
    monkeypatch.setattr(watched, "TIME_LIMIT", 0.3)
    ticks = itertools.count()
    stubborn = """
def double(x):
    while True:
        try:
            next(ticks)
        except Exception:
            pass
"""
    namespace = {"ticks": ticks}
    exec(stubborn, namespace)
    found = judge(doubling, namespace)
    assert found.outcome == WRONG and "does not end within 0.3 seconds" in found.why
    now = next(ticks)
    assert next(ticks) == now + 1, "it is still running"


def test_a_check_leaves_the_random_numbers_and_the_answer_as_they_are():
    @exercise(title="", task="", start="net = ...", hint="", solution="", right="")
    def spoiling(net):
        net.eval()
        with torch.no_grad():
            net.weight.zero_()
        seen.append(torch.rand(()).item())

    seen = []
    net = nn.Linear(2, 2)
    torch.manual_seed(0)
    for _ in range(2):
        assert judge(spoiling, {"net": net}).outcome == RIGHT
    assert seen[0] != seen[1], "every check draws anew"
    after = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(3), after)
    assert net.training and net.weight.abs().sum() > 0


def test_an_answer_that_cannot_be_copied_is_checked_all_the_same():
    numbers_of = (n for n in (1, 2))

    @exercise(title="", task="", start="numbers = ...", hint="", solution="", right="")
    def summing(numbers):
        assert sum(numbers) == 3

    assert judge(summing, {"numbers": numbers_of}).outcome == RIGHT


def test_the_three_calls_print_at_most_58_columns(capsys):
    asked = Question(doubling, {"double": lambda x: 1 / 0})
    asked.check()
    asked.hint()
    asked.solution()
    printed = capsys.readouterr().out
    assert all(len(line) <= 58 for line in printed.splitlines())
    assert "Not right: " in printed and "Add." in printed and doubling.solution in printed
    assert repr(asked) == "Twice: .check(), .hint() or .solution()"


def test_the_namespace_is_read_at_every_check(capsys):
    namespace = {}
    asked = Question(doubling, namespace)
    for code in ("", "double = abs", doubling.solution):
        exec(code, namespace)
        asked.check()
    lines = capsys.readouterr().out.splitlines()
    said = [line for line in lines if line.startswith((UNANSWERED, WRONG, RIGHT))]
    assert [line.split(".")[0].split(":")[0] for line in said] == [UNANSWERED, WRONG, RIGHT]


def test_every_notebook_but_the_first_has_two_or_more():
    assert numbers() == ["01", "02", "03", "04", "05", "06", "07", "08", "10"]
    assert all(len(exercises(number)) >= 2 for number in numbers())
    assert sum(len(exercises(number)) for number in numbers()) >= 24


def test_a_notebook_without_exercises_is_refused():
    with pytest.raises(ValueError, match="notebook '00' has no exercises; there are: 01, 02"):
        questions("00", {})


def test_what_is_said_ends_like_a_sentence():
    for number in numbers():
        for asked in exercises(number):
            for text in (asked.task, asked.hint, asked.right):
                assert text.rstrip()[-1] in ".?!`):", text


def test_questions_come_in_the_order_of_the_module():
    asked = questions("03", {})
    assert [repr(one) for one in asked] == [
        f"{one.title}: .check(), .hint() or .solution()" for one in exercises("03")
    ]
    assert all(isinstance(one, question.Question) for one in asked)

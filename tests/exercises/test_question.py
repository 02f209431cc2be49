"""A question: its verdicts, its three calls, and that an answer can do no harm."""

import ast
from pathlib import Path

import nbformat
import pytest
import torch
from answers import made
from IPython.core.inputtransformer2 import TransformerManager
from torch import nn

from mnist_lab.exercises import exercises, numbers, question, questions, time_limit
from mnist_lab.exercises.question import (
    FAILED,
    RIGHT,
    UNANSWERED,
    WRONG,
    Question,
    Wrong,
    call,
    judge,
)  # fmt: skip

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
START = "def double(x):\n    return ..."


@made(title="Twice", task="Write `double`.", start=START, hint="Add.", right="Well done.",
          solution="def double(x):\n    return x + x")  # fmt: skip
def doubling(double):
    x = torch.randn(3)
    if not torch.equal(double(x), 2 * x):
        raise Wrong("that is not twice as much.")


def verdict(code):
    namespace = {}
    exec(code, namespace)
    return judge(doubling, namespace)


TEXTS = """\
# Notebook 99

## Twice

Write `double`.

In two paragraphs.

### Start

```python
def double(x):
    return ...
```

### Hint

Add.

### Right

Well done.

## Thrice

Write `triple`.

### Start

```python
triple = ...
```
"""


def test_texts_are_read_from_the_file_beside_the_checker(tmp_path):
    (tmp_path / "n99.md").write_text(TEXTS, encoding="utf-8")
    texts = question.read_texts(tmp_path / "n99.md")
    assert texts == {
        "Twice": {
            "task": "Write `double`.\n\nIn two paragraphs.",
            "start": "def double(x):\n    return ...",
            "hint": "Add.",
            "right": "Well done.",
        },
        "Thrice": {"task": "Write `triple`.", "start": "triple = ..."},
    }


def test_every_text_has_its_checker():
    for number in numbers():
        folder = Path(question.__file__).parent
        titles = list(question.read_texts(folder / f"n{number}.md"))
        assert titles == [exercise.title for exercise in exercises(number)]


def test_variables_are_the_names_that_the_checker_asks_for():
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
        ("class E(BaseException):\n    pass\ndef double(x):\n    raise E", WRONG),
        ("class E:\n    def __repr__(self):\n        1 / 0\ndouble = E()", WRONG),
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


ANSWER_OF = """
class Silent(Exception):
    def __str__(self):
        {text}

def double(x):
    raise Silent
"""


@pytest.mark.parametrize("text", ["return 1 / 0", "raise SystemExit", "return 7"])
def test_an_error_whose_text_raises_is_a_sentence(text):
    assert verdict(ANSWER_OF.format(text=text)).why == "running it (line 7) ends in Silent."


def test_what_never_ends_is_refused(monkeypatch):
    monkeypatch.setattr(time_limit, "TIME_LIMIT", 0.2)
    found = verdict("def double(x):\n    while True:\n        pass")
    assert found.outcome == WRONG and "does not end within 0.2 seconds" in found.why


CLUMSY = """
def clumsy(f):
    len(f())
"""


def test_an_error_of_the_checker_is_not_the_answers():
    names = {}
    exec(compile(CLUMSY, question.__file__.replace("question", "n99"), "exec"), names)
    texts = {"title": "", "task": "", "hint": "", "solution": "", "right": ""}
    clumsy = made(start="def f():\n    ...", **texts)(names["clumsy"])
    found = judge(clumsy, {"f": lambda: 3})
    assert found.outcome == FAILED and str(found).startswith("The check itself has failed: it")
    assert "TypeError: object of type 'int' has no len()" in found.why
    assert judge(clumsy, {"f": lambda: len(3)}).outcome == WRONG
    assert judge(clumsy, {"f": len}).why.startswith("running it ends in TypeError: len() takes")
    assert judge(clumsy, {"f": "abc"}).outcome == WRONG


def test_an_error_inside_a_network_is_the_answers():
    @made(title="", task="", start="net = ...", hint="", solution="", right="")
    def asking(net):
        call(net, torch.ones(1, 3))

    assert "RuntimeError" in judge(asking, {"net": nn.Linear(2, 2)}).why
    assert judge(asking, {"net": nn.Linear(2, 2)}).outcome == WRONG
    assert judge(asking, {"net": nn.Linear(3, 2)}).outcome == RIGHT


def test_half_an_answer_is_told_which_half_is_missing():
    @made(title="", task="", start="a = ...\nb = ...", hint="", solution="", right="")
    def both(a, b): ...

    assert judge(both, {"a": ..., "b": 1}).why.startswith("`a` is still as it was delivered")
    assert judge(both, {"a": 1, "b": ...}).why.startswith("`b` is still as it was delivered")
    assert judge(both, {"a": ..., "b": ...}).why.startswith("Change the code")
    assert "no `b` so far" in judge(both, {"a": 1}).why
    assert judge(both, {"a": 1, "b": 1}).outcome == RIGHT


@pytest.mark.parametrize("name", ["exit", "quit"])
def test_exit_in_an_answer_does_not_end_the_kernel(name):
    ended = []
    code = f"def double(x):\n    {name}()\n    return 2 * x"
    namespace = {name: lambda: ended.append(1)}  # as IPython's: it raises nothing
    exec(code, namespace)
    before = dict(namespace)
    assert "SystemExit" in judge(doubling, namespace).why
    assert not ended and namespace == before


def test_a_check_leaves_everything_as_it_is(capsys):
    @made(title="", task="", start="net = ...", hint="", solution="", right="")
    def spoiling(net):
        net.eval()
        with torch.no_grad():
            net.weight.zero_()
        torch.set_default_dtype(torch.float64)
        print("x" * 10_000)

    net = nn.Linear(2, 2)
    assert judge(spoiling, {"net": net}).outcome == RIGHT
    assert net.training and net.weight.abs().sum() > 0
    assert torch.get_default_dtype() == torch.float32
    assert len(capsys.readouterr().out) < 3_000


def test_an_answer_that_cannot_be_copied_is_checked_all_the_same():
    numbers_of = (n for n in (1, 2))

    @made(title="", task="", start="numbers = ...", hint="", solution="", right="")
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


def assigned(code):
    """The names that a cell defines at its top, imports aside."""
    top = ast.parse(code).body
    made = {node.name for node in top if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    targets = (t for node in top if isinstance(node, ast.Assign) for t in node.targets)
    return made | {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}


@pytest.mark.parametrize("number", numbers())
def test_no_answer_takes_a_name_that_its_notebook_uses(number):
    """Its later cells could not be run again, and an answer that is not there would be judged."""
    (path,) = NOTEBOOKS.glob(f"{number}_*.ipynb")
    to_python = TransformerManager().transform_cell
    used = {
        node.id
        for cell in nbformat.read(path, 4).cells
        if cell.cell_type == "code" and not cell.id.startswith(f"q{number}-")
        for node in ast.walk(ast.parse(to_python(cell.source)))
        if isinstance(node, ast.Name)
    }
    for asked in exercises(number):
        for code in (asked.given, asked.start, asked.solution):
            assert not assigned(code) & used


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

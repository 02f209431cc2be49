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
from mnist_lab.exercises.question import FAILED, RIGHT, UNANSWERED, WRONG, Question, judge
from mnist_lab.validation import UserError

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
START = "def double(x):\n    return ..."
NOTHING = dict.fromkeys(["title", "task", "hint", "solution", "right"], "")


@made(title="Twice", task="Write `double`.", start=START, hint="Add.", right="Well done.",
          solution="def double(x):\n    return x + x")  # fmt: skip
def doubling(double):
    x = torch.randn(3)
    if not torch.equal(double(x), 2 * x):
        raise question.Wrong("that is not twice as much.")


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

## Thrice

Write `triple`.
"""


def test_texts_are_read_from_the_file_beside_the_checker(tmp_path):
    (tmp_path / "n99.md").write_text(TEXTS, encoding="utf-8")
    twice = {"task": "Write `double`.\n\nIn two paragraphs.", "start": START, "hint": "Add."}
    texts = {"Twice": twice, "Thrice": {"task": "Write `triple`."}}
    assert question.read_texts(tmp_path / "n99.md") == texts


@pytest.mark.parametrize(
    ("code", "outcome", "part"),
    [
        ("", UNANSWERED, "There is no `double` so far"),
        ("double = ...", UNANSWERED, "Change the code"),
        ("# a comment\n\n" + START, UNANSWERED, "Change the code"),
        (doubling.solution, RIGHT, "Well done."),
        ("double = lambda x: 2 * x", RIGHT, "Well done."),
        ("def double(x):\n    y = x.clone()\n    y[...] *= 2\n    return y", RIGHT, ""),
        ("def double(x):\n    return x", WRONG, "that is not twice as much."),
        ("double = abs", WRONG, "that is not twice as much."),
        ("double = None", WRONG, "is of type NoneType; a function is expected"),
        ("def double(x):\n    return 1 / 0", WRONG, "(line 2) ends in ZeroDivisionError: division"),
        ("def double():\n    return 2", WRONG, "ends in TypeError: double() takes 0"),
        ("def double(x):\n    return 2 * ...", WRONG, "There is still a `...` in it."),
        ("def double(x):\n    return x[..., 0]", WRONG, "that is not twice as much."),
        ("def double(x):\n    raise SystemExit", WRONG, "ends in SystemExit."),
        ("def double(x):\n    raise KeyboardInterrupt", WRONG, "ends in KeyboardInterrupt."),
        ("class E(BaseException):\n    pass\ndef double(x):\n    raise E", WRONG, "(line 4) ends"),
        ("class E:\n    def __repr__(self):\n        1 / 0\ndouble = E()", WRONG, "is of type E;"),
        ("def double(x):\n    return double(x)", WRONG, "ends in RecursionError"),
    ],
)
def test_the_outcome(code, outcome, part):
    found = verdict(code)
    assert found.outcome == outcome and part in found.why, found
    assert ("..." in found.why) == ("..." in part)


@pytest.mark.parametrize("text", ["return 1 / 0", "raise SystemExit", "return 7"])
def test_an_error_whose_text_raises_is_a_sentence(text):
    code = f"class E(Exception):\n    def __str__(self):\n        {text}\n"
    assert "(line 5) ends in E: " in verdict(code + "def double(x):\n    raise E").why


def test_what_never_ends_is_refused(monkeypatch):
    monkeypatch.setattr(time_limit, "TIME_LIMIT", 0.2)
    found = verdict("def double(x):\n    while True:\n        pass")
    assert found.outcome == WRONG and "does not end within 0.2 seconds" in found.why


def test_an_error_of_the_checker_is_not_the_answers():
    names = {}
    code = "def clumsy(f):\n    len(f())"
    exec(compile(code, question.__file__.replace("question", "n99"), "exec"), names)
    clumsy = made(start="def f():\n    ...", **NOTHING)(names["clumsy"])
    found = judge(clumsy, {"f": lambda: 3})
    assert found.outcome == FAILED and str(found).startswith("The check itself has failed: it")
    assert "TypeError: object of type 'int' has no len()" in found.why
    assert judge(clumsy, {"f": lambda: len(3)}).outcome == WRONG
    assert judge(clumsy, {"f": len}).why.startswith("running it ends in TypeError: len() takes")


def test_an_error_inside_a_network_is_the_answers():
    @made(start="net = ...", **NOTHING)
    def asking(net):
        question.call(net, torch.ones(1, 3))

    assert "RuntimeError" in judge(asking, {"net": nn.Linear(2, 2)}).why
    assert judge(asking, {"net": nn.Linear(2, 2)}).outcome == WRONG
    assert judge(asking, {"net": nn.Linear(3, 2)}).outcome == RIGHT


def test_half_an_answer_is_told_which_half_is_missing():
    @made(start="a = ...\nb = ...", **NOTHING)
    def both(a, b): ...

    assert judge(both, {"a": ..., "b": 1}).why.startswith("`a` is still as it was delivered")
    assert judge(both, {"a": 1, "b": ...}).why.startswith("`b` is still as it was delivered")
    assert judge(both, {"a": ..., "b": ...}).why.startswith("Change the code")
    assert "no `b` so far" in judge(both, {"a": 1}).why
    assert judge(both, {"a": 1, "b": 1}).outcome == RIGHT


@pytest.mark.parametrize("name", ["exit", "quit"])
def test_exit_in_an_answer_does_not_end_the_kernel(name):
    ended = []
    namespace = {name: lambda: ended.append(1)}  # as IPython's: it raises nothing
    exec(f"def double(x):\n    {name}()\n    return 2 * x", namespace)
    before = dict(namespace)
    assert "SystemExit" in judge(doubling, namespace).why
    assert not ended and namespace == before


def test_a_check_leaves_everything_as_it_is(capsys):
    @made(start="net = ...", **NOTHING)
    def spoiling(net):
        net.eval()
        torch.nn.init.zeros_(net.weight)
        torch.set_default_dtype(torch.float64)
        print("x" * 10_000)

    net = nn.Linear(2, 2)
    assert judge(spoiling, {"net": net}).outcome == RIGHT
    assert net.training and net.weight.abs().sum() > 0
    assert torch.get_default_dtype() == torch.float32
    assert len(capsys.readouterr().out) < 3_000


def test_an_answer_that_cannot_be_copied_is_checked_all_the_same():
    @made(start="numbers = ...", **NOTHING)
    def summing(numbers):
        assert sum(numbers) == 3

    assert judge(summing, {"numbers": (n for n in (1, 2))}).outcome == RIGHT


def test_the_three_calls_print_at_most_58_columns_and_see_the_answer_of_now(capsys):
    namespace = {}
    (asked,) = (Question(doubling, namespace),)
    for code in ("", "double = lambda x: 1 / 0", doubling.solution):
        exec(code, namespace)
        asked.check()
    asked.hint()
    asked.solution()
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 58 for line in lines)
    said = [line for line in lines if line.startswith((UNANSWERED, WRONG, RIGHT))]
    assert [line.split(".")[0].split(":")[0] for line in said] == [UNANSWERED, WRONG, RIGHT]
    assert ["Add.", *doubling.solution.splitlines()] == lines[-3:]


def test_a_notebook_without_exercises_is_refused():
    with pytest.raises(UserError, match="notebook '00' has no exercises; there are: 01, 02"):
        questions("00", {})


def test_questions_come_in_the_order_of_their_texts():
    asked = [repr(one) for one in questions("04", {})]
    titles = list(question.read_texts(Path(question.__file__).with_name("n04.md")))
    assert asked == [f"{title}: .check(), .hint() or .solution()" for title in titles]


def assigned(code):
    """The names that a cell defines at its top, imports aside."""
    top = ast.parse(code).body
    made = {node.name for node in top if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    targets = (t for node in top if isinstance(node, ast.Assign) for t in node.targets)
    return made | {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}


@pytest.mark.parametrize("number", numbers())
def test_the_texts_of_a_notebook(number):
    """An answer takes no name that its notebook uses: later cells could not be run again."""
    (path,) = NOTEBOOKS.glob(f"{number}_*.ipynb")
    to_python = TransformerManager().transform_cell
    used = {
        node.id
        for cell in nbformat.read(path, 4).cells
        if cell.cell_type == "code" and not cell.id.startswith(f"q{number}-")
        for node in ast.walk(ast.parse(to_python(cell.source)))
        if isinstance(node, ast.Name)
    }
    assert len(exercises(number)) >= 2
    for asked in exercises(number):
        assert not assigned(asked.start) & used and not assigned(asked.solution) & used
        for text in (asked.task, asked.hint, asked.right):
            assert text.rstrip()[-1] in ".?!`):", text

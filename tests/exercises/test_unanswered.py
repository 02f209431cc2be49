"""What counts as unchanged."""

import pytest
from IPython.core.interactiveshell import InteractiveShell

from mnist_lab.exercises.unanswered import has_gap, is_as_delivered

FUNCTION = "def f(x, how='sum'):\n    return x.mean(how)"
CLASS = "class C:\n    def one(self):\n        return 1\n\n    def two(self):\n        return ..."


def made(code, name):
    namespace = {}
    exec(code, namespace)
    return namespace[name]


@pytest.mark.parametrize(
    ("code", "same"),
    [
        (FUNCTION, True),
        ("\n\n" + FUNCTION.replace("return x.mean(how)", "# hm\n    return x.mean( how )"), True),
        (FUNCTION.replace("mean", "sum"), False),
        (FUNCTION.replace("(how)", "('sum')"), False),
        ("f = lambda x, how='sum': x.mean(how)", False),
        ("f = 3", False),
        ("f = ...", True),
    ],
)
def test_a_function_is_known_by_what_it_does(code, same):
    assert is_as_delivered("f", made(code, "f"), FUNCTION) is same


def test_another_text_in_the_code_is_a_change():
    start = "def f(x):\n    return loss(x, reduction='sum')"
    assert not is_as_delivered("f", made(start.replace("sum", "mean"), "f"), start)


def test_a_cell_that_is_compiled_statement_by_statement_is_no_change():
    start = "import torch\n\n\ndef f(x):\n    return torch.cat([x, x])"
    as_in_a_notebook, as_in_a_file = InteractiveShell(), {}
    as_in_a_notebook.run_cell(start)
    exec(start, as_in_a_file)
    for namespace in (as_in_a_notebook.user_ns, as_in_a_file):
        assert is_as_delivered("f", namespace["f"], start)
        assert not is_as_delivered("f", namespace["f"], start.replace("cat", "stack"))


def test_a_class_is_unchanged_when_all_its_methods_are():
    assert is_as_delivered("C", made(CLASS, "C"), CLASS)
    assert not is_as_delivered("C", made(CLASS.replace("...", "2"), "C"), CLASS)
    assert not is_as_delivered("C", made(CLASS.replace("return 1", "return 3"), "C"), CLASS)


@pytest.mark.parametrize(
    ("body", "gap"),
    [
        ("return ...", True),
        ("y = ...\n    return x", True),
        ("return abs(...)", True),
        ("return x[f(...)] + ...", True),
        ("return x[..., 0]", False),
        ("return x[..., i]", False),
        ("x[...] = 1\n    return x", False),
        ("y: tuple[int, ...] = x\n    return y", False),
        ("return (lambda z: z[..., i])(x)", False),
        ("return (lambda z: ...)(x)", True),
        ("return x", False),
    ],
)
def test_a_gap_is_told_from_an_index(body, gap):
    notebook = InteractiveShell()
    notebook.run_cell(
        f"def f(x, i=0):\n    {body}\n\nclass C:\n    def g(self, x):\n        pass\n    g = f"
    )
    assert has_gap(notebook.user_ns["f"]) is gap
    assert has_gap(notebook.user_ns["C"]) is gap


def test_what_has_no_code_has_no_gap():
    assert not has_gap(3) and not has_gap(abs)


def test_a_default_may_be_a_gap():
    notebook = InteractiveShell()
    notebook.run_cell("def f(x, y=...):\n    return x\ng = lambda x: x + ...")
    assert has_gap(notebook.user_ns["f"]) and has_gap(notebook.user_ns["g"])

"""What counts as unchanged."""

import pytest
from IPython.core.interactiveshell import InteractiveShell

from mnist_lab.exercises.unanswered import is_as_delivered

FUNCTION = "def f(x, how='sum'):\n    return x.mean(how)"
CLASS = "class C:\n    def one(self):\n        return 1\n\n    def two(self):\n        return ..."


@pytest.mark.parametrize(
    ("code", "start", "same"),
    [
        (FUNCTION, FUNCTION, True),
        ("\n\n" + FUNCTION.replace("return", "# hm\n    return"), FUNCTION, True),
        (FUNCTION.replace("mean", "sum"), FUNCTION, False),
        (FUNCTION.replace("(how)", "('sum')"), FUNCTION, False),
        ("f = lambda x, how='sum': x.mean(how)", FUNCTION, False),
        ("f = 3", FUNCTION, False),
        ("f = ...", FUNCTION, True),
        ("def f(x):\n    return l(x, a='b')", "def f(x):\n    return l(x, a='c')", False),
        (CLASS, CLASS, True),
        (CLASS.replace("...", "2"), CLASS, False),
        (CLASS.replace("return 1", "return 3"), CLASS, False),
    ],
)
def test_code_is_known_by_what_it_does(code, start, same):
    namespace = {}
    exec(code, namespace)
    assert is_as_delivered("f", namespace.get("f", namespace.get("C")), start) is same


def test_a_cell_that_is_compiled_statement_by_statement_is_no_change():
    start = "import torch\n\n\ndef f(x):\n    return torch.cat([x, x])"
    as_in_a_notebook, as_in_a_file = InteractiveShell(), {}
    as_in_a_notebook.run_cell(start)
    exec(start, as_in_a_file)
    for namespace in (as_in_a_notebook.user_ns, as_in_a_file):
        assert is_as_delivered("f", namespace["f"], start)
        assert not is_as_delivered("f", namespace["f"], start.replace("cat", "stack"))

"""What a worker writes of a function: a whole result with its conditions, or nothing."""

import json

import pytest

from mnist_lab.course.worker import OK, call


def test_a_functions_result_is_written_with_its_conditions(tmp_path):
    target = tmp_path / "result.json"
    assert call("builtins:dict", str(target), {"a": 1}, {"torch": "2"}) == (OK, "", {})
    written = json.loads(target.read_text(encoding="utf-8"))
    assert written == {"conditions": {"torch": "2"}, "result": {"a": 1}}


@pytest.mark.parametrize("function", ["no_such_module:run", "math:no_such", "builtins:object"])
def test_a_function_that_cannot_be_called_or_written_down_leaves_nothing(function, tmp_path):
    with pytest.raises((ImportError, AttributeError, TypeError)):
        call(function, str(tmp_path / "result.json"), {}, {})
    assert not list(tmp_path.iterdir())

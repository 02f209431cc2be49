"""A worker's functions, called here: what they write, and what they answer."""

import json

from mnist_lab.course.worker import FAILED, OK, UNWRITABLE, call


def test_a_functions_result_is_written_with_its_conditions(tmp_path):
    target = tmp_path / "result.json"
    answer = call("builtins:dict", str(target), {"a": 1}, {"torch": "2"})
    assert answer == (OK, "", {})
    written = json.loads(target.read_text(encoding="utf-8"))
    assert written == {"conditions": {"torch": "2"}, "result": {"a": 1}}


def test_a_function_that_fails_is_told_with_its_traceback(tmp_path):
    target = tmp_path / "result.json"
    for function, part in (("json:loads", "TypeError"), ("no_such_module:run", "no_such_module"),
                           ("math:no_such_function", "no_such_function"),
                           ("builtins:object", "not JSON serializable")):  # fmt: skip
        status, error, _ = call(function, str(target), {}, {})
        assert status == FAILED and error.startswith(function) and part in error
    assert not target.exists()


def test_a_result_that_cannot_be_written_is_no_failure_of_the_function(tmp_path):
    status, error, _ = call("builtins:dict", str(tmp_path / "no" / "result.json"), {}, {})
    assert status == UNWRITABLE and "No such file" in error

"""Whether an answer is still what was delivered: a `...`, or the same code as in the cell."""

import ast
import functools
import inspect
from collections.abc import Iterator
from types import CodeType


def is_as_delivered(name: str, value: object, start: str) -> bool:
    """Whether the variable `name` still has the value that the cell `start` gives it."""
    if value is ...:
        return True
    codes = [_without_place(code) for code in _codes_of(value)]
    return bool(codes) and all(code in _delivered(start) for code in codes)


def _codes_of(value: object) -> Iterator[CodeType]:
    """The code of a function, or of the methods that a class defines itself."""
    functions = vars(value).values() if inspect.isclass(value) else (value,)
    for function in functions:
        code = getattr(inspect.unwrap(function) if callable(function) else function, "__code__", 0)
        if isinstance(code, CodeType):
            yield code


@functools.cache
def _delivered(start: str) -> frozenset:
    # A notebook compiles a cell statement by statement. Python's bytecode for `torch.cat(…)` is
    # another where `import torch` is compiled with it.
    whole = ast.parse(start)
    parts = [whole, *(ast.Module([statement], []) for statement in whole.body)]
    codes = (compile(part, "start", "exec") for part in parts)
    return frozenset(_without_place(inner) for code in codes for inner in _inner(code))


def _inner(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _inner(constant)


def _without_place(code: CodeType) -> tuple:
    """What a function does, wherever its lines stand."""
    constants = [
        _without_place(constant) if isinstance(constant, CodeType) else (type(constant), constant)
        for constant in code.co_consts
    ]
    return (code.co_name, code.co_code, code.co_names, code.co_varnames, tuple(constants))

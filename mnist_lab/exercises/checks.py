"""What checkers ask of an answer; each raises `Wrong` with a sentence that says what is not so."""

import inspect
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mnist_lab.exercises.question import Wrong


def expect_number(value, expected: float, what: str, tolerance: float = 0.0) -> None:
    """`value` is the number `expected`: an int, a float, or a tensor or array of one element.

    The sentence says whether it is too high or too low, not by how much: it may be a guess.
    """
    number = as_number(value, what)
    if abs(number - expected) > tolerance:
        side = "high" if number > expected else "low"
        raise Wrong(f"{what} is {number:,.6g}, which is too {side}.")


def as_number(value, what: str) -> float:
    """The number that a value is, or holds as its only element; NaN is none."""
    _refuse_a_gap(value, what)
    if isinstance(value, (bool, str)):
        raise Wrong(f"{what} is {value!r}; a number is expected.")
    try:
        number = float(value.detach() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise Wrong(f"{what} is {_kind(value)}; a number is expected.") from None
    if number != number:
        raise Wrong(f"{what} is not a number (NaN): is something divided by zero?")
    return number


def expect_shape(value, shape: Sequence[int], what: str) -> None:
    """`value` is a tensor of this shape."""
    expect_kind(value, Tensor, what, "a tensor")
    if list(value.shape) != list(shape):
        raise Wrong(f"{what} has the shape {list(value.shape)}; {list(shape)} is expected.")


def expect_tensor(value, expected: Tensor, what: str, tolerance: float = 1e-4) -> None:
    """`value` is a tensor of the shape and, within `tolerance`, the values of `expected`."""
    expect_shape(value, expected.shape, what)
    if value.is_complex():
        raise Wrong(f"{what} holds complex numbers.")
    value, expected = value.detach().double(), expected.detach().double()
    if not value.isfinite().all() and expected.isfinite().all():
        raise Wrong(f"{what} holds {'NaN' if value.isnan().any() else 'an infinite value'}.")
    apart = (value - expected).abs().nan_to_num(0)  # the same infinity twice
    if apart.numel() and apart.max() > tolerance:
        place = [int(i) for i in torch.unravel_index(apart.argmax(), apart.shape)]
        at = f" at {place}" if place else ""
        raise Wrong(
            f"{what} has the right shape, but other values than expected: "
            f"{value[tuple(place)]:.4g} instead of {expected[tuple(place)]:.4g}{at}."
        )


def expect_kind(value, kind: type, what: str, name: str) -> None:
    """`value` is an instance of `kind`, which is called `name` ("a tensor")."""
    _refuse_a_gap(value, what)
    if inspect.isclass(value) and issubclass(value, kind):
        raise Wrong(f"{what} is a class: make an instance of it, with brackets behind its name.")
    if not isinstance(value, kind):
        raise Wrong(f"{what} is {_kind(value)}; {name} is expected.")


def expect_module(value, what: str) -> None:
    """`value` is a module of PyTorch: a layer or a network."""
    expect_kind(value, nn.Module, what, "a module of PyTorch")


def expect_function(value, what: str) -> Callable:
    """`value` can be called."""
    _refuse_a_gap(value, what)
    if not callable(value):
        raise Wrong(f"{what} is {_kind(value)}; a function is expected.")
    return value


def expect_parameters(module: nn.Module, expected: int, what: str) -> None:
    """`module` has this number of parameters."""
    count = sum(parameter.numel() for parameter in module.parameters())
    if count != expected:
        raise Wrong(f"{what} has {count:,} parameters; {expected:,} are expected.")


def expect_unchanged(now: Tensor, before: Tensor, what: str) -> None:
    """The tensor `now` is what it was `before`."""
    if not torch.equal(now, before):
        raise Wrong(f"{what} is changed by it: work on a copy, not in place.")


def _refuse_a_gap(value, what: str) -> None:
    if value is ...:
        raise Wrong(f"{what} is still `...`: replace it.")


def _kind(value) -> str:
    if value is None:
        return "None (is there a `return`?)"
    if inspect.isclass(value):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"

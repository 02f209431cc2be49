"""What checkers ask of an answer; each raises `Wrong` with a sentence that says what is not so."""

import copy
import inspect
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor, nn

from mnist_lab.exercises.question import Wrong, call

Slip = tuple[Callable, str]


def by_example(
    name: str,
    answer: Callable,
    right: Callable,
    cases: Iterable[tuple],
    slips: Sequence[Slip] = (),
    *,
    tolerance: float = 1e-4,
    absolute: float = 0.0,
    otherwise: str = "",
) -> None:
    """The student's function `answer`, called `name`, gives for each case what `right` gives.

    A case is a tuple of arguments. Draw it from `exercises.cases`; changing one is refused. `slips`
    are pairs of a function with a known mistake, and the sentence that is said where it gives
    everything that the answer gave so far. Without one, what is expected is said, and `otherwise`.

        by_example("mean", mean, lambda x: x.mean(), [(randn(size),) for size in (5, 8)],
                   [(lambda x: x.sum(), "divide the sum by the number of values.")])
    """
    expect_function(answer, f"`{name}`")
    seen = []
    for case in cases:
        shown = f"{name}({', '.join(map(_argument, case, _names(answer, case)))})"
        found = call_with_copies(answer, *case)
        expected = right(*copy.deepcopy(case))
        seen.append((case, found))
        if agrees(found, expected, tolerance, absolute):
            continue
        for slip, sentence in slips:
            if all(_explains(slip, *one, tolerance, absolute) for one in seen):
                raise Wrong(f"{shown} is {_told(found, 6)}: {sentence}")
        _expect_like(found, expected, shown, tolerance)
        digits = 6 if _told(found, 6) != _told(expected, 6) else 12
        found, expected = _told(found, digits), _told(expected, digits)
        raise Wrong(f"{shown} is {found}; {expected} is expected. {otherwise}".rstrip(" "))


def call_with_copies(answer: Callable, *arguments):
    """What `answer` returns for copies of the arguments, none of which it may change."""
    given = copy.deepcopy(arguments)
    found = call(answer, *given)
    for number, (now, before) in enumerate(zip(given, arguments)):
        if not _same(now, before):
            what = _names(answer, arguments)[number]
            raise Wrong(f"`{what}` is changed by it: work on a copy, not in place.")
    return found


def agrees(found, expected, tolerance: float = 1e-4, absolute: float = 0.0) -> bool:
    """Whether `found` is `expected`, in any of the forms that a student may give it.

    A pair is a tuple, list, tensor or array; a number may be a tensor or array of one element;
    float32 and float64 bear each other: the tolerance is relative, for a tensor to its largest
    value, and what lies within `absolute` is the same, however small. Whole numbers are exact.
    """
    if isinstance(expected, (tuple, list)):
        return (
            _is_row(found)
            and len(found) == len(expected)
            and all(agrees(*both, tolerance, absolute) for both in zip(found, expected))
        )
    if isinstance(expected, (str, bool)) or expected is None:
        found = found.item() if _has_one_element(found) else found
        return type(found) is type(expected) and found == expected
    one, other = _numbers(found), _numbers(expected)
    if one is None or one.numel() != other.numel() or (other.dim() and one.shape != other.shape):
        return False
    apart = (one.reshape(other.shape) - other).abs()
    apart[one.reshape(other.shape) == other] = 0  # the same infinity twice
    apart[one.isnan().reshape(other.shape) & other.isnan()] = 0
    if isinstance(expected, int) or not _is_floating(expected):
        return bool((apart <= 1e-6).all())
    scale = other[other.isfinite()].abs().amax() if other.isfinite().any() else 0
    return bool((apart <= max(tolerance * scale if scale > 1e-9 else 1e-6, absolute)).all())


def _explains(slip: Callable, case: tuple, found, tolerance: float, absolute: float) -> bool:
    with suppress(Exception):  # a slip need not be able to bear every case
        return agrees(found, slip(*copy.deepcopy(case)), tolerance, absolute)
    return False


def _is_row(value) -> bool:
    array = isinstance(value, (Tensor, np.ndarray))
    return isinstance(value, (tuple, list)) or (array and value.ndim > 0)


def _has_one_element(value) -> bool:
    return isinstance(value, (Tensor, np.ndarray, np.generic)) and np.prod(value.shape) == 1


def _is_floating(value) -> bool:
    return torch.as_tensor(value).is_floating_point()


def _numbers(value) -> Tensor | None:
    """A number, tensor or array as float64; None for anything else, such as True or a list."""
    try:
        if isinstance(value, (Tensor, np.ndarray)):
            value = torch.as_tensor(value).detach()
            return None if value.is_complex() else value.double()
        if isinstance(value, (bool, np.bool_, str)):
            return None
        return torch.tensor(float(value), dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None


def _same(now, before) -> bool:
    """Whether an argument is what it was; of an optimizer nothing is said."""
    tensors = isinstance(now, Tensor) and isinstance(before, Tensor)  # a Parameter is one, too
    if type(now) is not type(before) and not tensors:
        return False
    if isinstance(before, nn.Module):
        modes = [[part.training for part in network.modules()] for network in (now, before)]
        return _same(*modes) and _same(dict(now.state_dict()), dict(before.state_dict()))
    if isinstance(before, (tuple, list)):
        return len(now) == len(before) and all(map(_same, now, before))
    if isinstance(before, dict):
        return list(now) == list(before) and all(map(_same, now.values(), before.values()))
    if isinstance(before, (Tensor, np.ndarray)):
        now, before = torch.as_tensor(now), torch.as_tensor(before)
        alike = now.dtype == before.dtype and now.shape == before.shape
        return alike and bool(((now == before) | ((now != now) & (before != before))).all())
    return now == before if isinstance(before, (str, int, float)) else True


def _expect_like(found, expected, what: str, tolerance: float) -> None:
    """`found` has the kind and the shape of `expected`; of a large tensor the values, too."""
    if agrees(found, expected, tolerance):
        return
    if isinstance(expected, (str, bool)):
        name = "True or False" if isinstance(expected, bool) else "a text"
        if type(found) is not type(expected):
            raise Wrong(f"{what} is {_kind(found)}; {name} is expected, here {expected!r}.")
    elif isinstance(expected, (tuple, list)):
        of_tensors = isinstance(expected[0], Tensor) and expected[0].dim() > 0
        if not _is_row(found) or (of_tensors and not isinstance(found, (tuple, list))):
            things = "tensors" if of_tensors else "values"
            raise Wrong(f"{what} is {_kind(found)}; {len(expected)} {things} are expected.")
        if len(found) != len(expected):
            raise Wrong(f"{what} has {len(found)} values; {len(expected)} are expected.")
        for number, (one, other) in enumerate(zip(found, expected), 1):
            _expect_like(one, other, f"value {number} of {what}", tolerance)
    elif isinstance(expected, Tensor) and expected.dim():
        found = torch.from_numpy(found) if isinstance(found, np.ndarray) else found
        expect_tensor(found, expected, what, tolerance=0.0)
    elif (numbers := _numbers(found)) is None or numbers.numel() != 1:
        as_number(found, what)


def _names(answer: Callable, arguments: tuple) -> list[str]:
    """What a function calls its arguments, as far as that is known."""
    try:
        names = list(inspect.signature(getattr(answer, "forward", answer)).parameters)
    except (TypeError, ValueError):  # of a function in C
        names = []
    return names + [f"argument {i + 1}" for i in range(len(names), len(arguments))]


def _argument(value, name: str) -> str:
    """An argument as the call shows it: a number as it is, a tensor by its name."""
    text = f"{value:.6g}" if isinstance(value, float) else repr(value)
    return name if isinstance(value, (Tensor, np.ndarray)) or len(text) > 60 else text


def _told(value, digits: int) -> str:
    """A result as a sentence can hold it."""
    if isinstance(value, (Tensor, np.ndarray)) and value.ndim:
        if value.size == 1 if isinstance(value, np.ndarray) else value.numel() == 1:
            return _told(value.item(), digits)
        if value.ndim > 1 or len(value) > 3:
            return f"of the shape {list(value.shape)}"
    if _is_row(value):
        return f"({', '.join(_told(one, digits) for one in value)})"
    number = None if isinstance(value, int) else _numbers(value)
    text = repr(value) if number is None else f"{number.item():.{digits}g}"
    return text if len(text) <= 80 else f"{text[:80]}…"


def expect_number(value, expected: float, what: str, tolerance: float = 0.0) -> None:
    """`value` is the number `expected`: an int, a float, or a tensor or array of one element.

    The sentence does not say on which side of it the answer lies: a few guesses would do.
    """
    number = as_number(value, what)
    if abs(number - expected) > tolerance:
        raise Wrong(f"{what} is {number:,.6g}, which is not the number that is asked for.")


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


def expect_unchanged(now, before, what: str) -> None:
    """An argument `now` is what it was `before`: a tensor, a network, or a list of them."""
    if not _same(now, before):
        raise Wrong(f"{what} is changed by it: work on a copy, not in place.")


def _refuse_a_gap(value, what: str) -> None:
    if value is ...:
        raise Wrong(f"{what} is still `...`: replace it.")


def _kind(value) -> str:
    if value is None:
        return "None (is there a `return`?)"
    if inspect.isclass(value):
        return f"the class {value.__name__}"
    if isinstance(value, np.ndarray):
        return "a NumPy array"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"

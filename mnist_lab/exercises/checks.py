"""What checkers ask of an answer; each raises `Wrong` with a sentence that says what is not so."""

import copy
import inspect
import math
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

    A `name` of several words is no function's, but that of what it gives.
    A case is a tuple of arguments. Draw it from `exercises.cases`; changing one is refused. `slips`
    are pairs of a function with a known mistake, and the sentence that is said where it gives
    everything that the answer gave so far. Without one, what is expected is said, and `otherwise`.

        by_example("mean", mean, lambda x: x.mean(), [(randn(size),) for size in (5, 8)],
                   [(lambda x: x.sum(), "divide the sum by the number of values.")])
    """
    seen = []
    for case in cases:
        found = call_with_copies(answer, *case)
        expected = right(*copy.deepcopy(case))
        seen.append((case, found))
        if agrees(found, expected, tolerance, absolute):
            continue
        shown = ", ".join(map(_argument, case, _names(answer, case)))
        what = f"{name}({shown})" if name.isidentifier() else name
        told = _told(found)
        for slip, sentence in slips:
            if all(_explains(slip, *one, tolerance, absolute) for one in seen):
                raise Wrong(f"{what} is {told}: {sentence}" if len(told) <= 40 else sentence)
        expect_value(found, expected, what, tolerance, absolute, otherwise)


def call_with_copies(answer: Callable, *arguments):
    """What `answer` returns for copies of the arguments, none of which it may change."""
    given = copy.deepcopy(arguments)
    found = answer(*given)
    for name, now, before in zip(_names(answer, arguments), given, arguments):
        if not _is_same(now, before):
            raise Wrong(f"`{name}` is changed by it: work on a copy, not in place.")
    return found


def agrees(found, expected, tolerance: float = 1e-4, absolute: float = 0.0) -> bool:
    """Whether `found` is `expected`, in any of the forms that a student may give it.

    A pair is a tuple, list, tensor or array; a number may be a tensor or array of one element;
    float32 and float64 bear each other: the tolerance is relative, for a tensor to its largest
    value, and what lies within `absolute` is the same, however small. Whole numbers are exact.
    """
    if isinstance(expected, (tuple, list)):
        return _is_row(found, len(expected)) and all(
            agrees(*both, tolerance, absolute) for both in zip(found, expected)
        )
    if isinstance(expected, (str, bool)):
        if isinstance(found, (Tensor, np.ndarray, np.generic)) and math.prod(found.shape) == 1:
            found = found.item()
        return type(found) is type(expected) and found == expected
    one, other = _numbers(found), _numbers(expected)
    if one is None or one.numel() != other.numel() or (other.dim() and one.shape != other.shape):
        return False
    scale = other[other.isfinite()].abs().amax().item() if other.isfinite().any() else 0.0
    whole = not torch.as_tensor(expected).is_floating_point()
    allowed = 1e-6 if whole or scale <= 1e-9 else max(tolerance * scale, absolute)
    one = one.reshape(other.shape)
    return torch.allclose(one, other, rtol=0, atol=allowed, equal_nan=True)


def expect_value(
    found,
    expected,
    what: str,
    tolerance: float = 1e-4,
    absolute: float = 0.0,
    otherwise: str = "",
) -> None:
    """`found` agrees with `expected`; what is not so is said, and `otherwise`."""
    if agrees(found, expected, tolerance, absolute):
        return
    told, otherwise = _told(found), f" {otherwise}".rstrip()
    if isinstance(expected, (tuple, list)):
        if not _is_row(found, len(expected)):
            raise Wrong(f"{what} is {told}; {len(expected)} values are expected.")
        if isinstance(expected[0], Tensor) or len(expected) > 4:  # `_told` shows up to four
            for number, both in enumerate(zip(found, expected), 1):
                expect_value(*both, f"value {number} of {what}", tolerance, absolute, otherwise[1:])
    elif isinstance(expected, Tensor) and expected.dim():
        numbers = _numbers(found)
        if numbers is None or numbers.shape != expected.shape:
            shape = list(expected.shape)
            raise Wrong(f"{what} is {told}; a tensor of the shape {shape} is expected.{otherwise}")
        apart = (numbers - expected).abs().nan_to_num(nan=torch.inf)
        place = tuple(int(i) for i in torch.unravel_index(apart.argmax(), apart.shape))
        raise Wrong(
            f"{what} has the right shape, but other values than expected: {numbers[place]:.4g} "
            f"instead of {expected[place]:.4g} at {list(place)}.{otherwise}"
        )
    elif not isinstance(expected, (str, bool)):
        as_number(found, what)
    digits = 6 if told != _told(expected) else 12
    raise Wrong(
        f"{what} is {_told(found, digits)}; {_told(expected, digits)} is expected.{otherwise}"
    )


def expect_numbers(
    found: dict[str, object],
    right: Sequence[float],
    slips: Sequence[tuple[Sequence[float | None], str]],
    tolerance: float = 0.0,
    otherwise: str = "",
) -> None:
    """Predicted numbers, by their names, are the `right` ones.

    A slip is a wrong prediction, None for a number that may be any, and its sentence. No sentence
    says on which side of the right number an answer lies: a few guesses would do.
    """
    numbers = [as_number(value, f"`{name}`") for name, value in found.items()]

    def is_near(others: Sequence[float | None]) -> bool:
        pairs = zip(numbers, others)
        return all(other is None or abs(one - other) <= tolerance for one, other in pairs)

    for others, why in () if is_near(right) else slips:
        if is_near(others):
            raise Wrong(why)
    for name, number, other in zip(found, numbers, right):
        if not abs(number - other) <= tolerance:
            why = f"which is not the number that is asked for. {otherwise}".rstrip()
            raise Wrong(f"`{name}` is {number:,.6g}, {why}")


def as_number(value, what: str) -> float:
    """The number that a value is, or holds as its only element."""
    number = _numbers(value)
    if number is None or number.numel() != 1:
        raise Wrong(f"{what} is {_told(value)}; a number is expected.")
    return number.item()


def expect_kind(value, kind: type | tuple[type, ...], what: str, name: str) -> None:
    """`value` is an instance of `kind`, which is called `name` ("a tensor")."""
    if not isinstance(value, kind):
        raise Wrong(f"{what} is {_told(value)}; {name} is expected.")


def expect_shape(value, shape: Sequence[int], what: str) -> None:
    """`value` is a tensor of this shape."""
    if not isinstance(value, Tensor) or list(value.shape) != list(shape):
        raise Wrong(f"{what} is {_told(value)}; a tensor of the shape {list(shape)} is expected.")


def refuse(*mistakes: tuple[object, str]) -> None:
    """Of mistakes, each whether it was made and its sentence, the first that was made is said."""
    for made, sentence in mistakes:
        if made:
            raise Wrong(sentence)


def expect_parameters(module: nn.Module, expected: int, what: str) -> None:
    """`module` has this number of parameters."""
    count = sum(parameter.numel() for parameter in module.parameters())
    if count != expected:
        raise Wrong(f"{what} has {count:,} parameters; {expected:,} are expected.")


def only(module: nn.Module, kind: type[nn.Module]) -> nn.Module:
    """The only layer of this kind in `module`; a batch norm has to keep its running mean."""
    found = [part for part in module.modules() if isinstance(part, kind)]
    refuse((len(found) != 1, f"it has {len(found)} layers of nn.{kind.__name__}; one is expected."))
    forgetful = getattr(found[0], "running_mean", kind) is None
    refuse((forgetful, "its norm keeps no running mean: leave track_running_stats as it is."))
    return found[0]


def _explains(slip: Callable, case: tuple, found, tolerance: float, absolute: float) -> bool:
    with suppress(Exception):  # a slip need not be able to bear every case
        return agrees(found, slip(*copy.deepcopy(case)), tolerance, absolute)
    return False


def _is_row(value, length: int) -> bool:
    """Whether it is a pair, or another row of this length."""
    array = isinstance(value, (Tensor, np.ndarray)) and value.ndim > 0
    return (array or isinstance(value, (tuple, list))) and len(value) == length


def _numbers(value) -> Tensor | None:
    """A number, tensor or array as float64; None for anything else, such as True or a list."""
    try:
        if isinstance(value, Tensor):
            return None if value.is_complex() else value.detach().cpu().to_dense().double()
        if isinstance(value, np.ndarray):  # of any byte order and strides
            held = value.dtype.kind in "biufO"
            return torch.from_numpy(value.astype(float, "C")) if held else None
        if isinstance(value, (bool, np.bool_, str)):
            return None
        return torch.tensor(float(value), dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None


def _is_same(now, before) -> bool:
    """Whether an argument is what it was; of a function nothing is said."""
    if isinstance(before, nn.Module):
        modes = [[part.training for part in network.modules()] for network in (now, before)]
        return modes[0] == modes[1] and _is_same(now.state_dict(), before.state_dict())
    if callable(before):
        return True
    if isinstance(before, str):
        return now == before
    try:
        torch.testing.assert_close(now, before, rtol=0, atol=0, equal_nan=True)
    except (AssertionError, TypeError, ValueError):
        return False
    return True


def _names(answer: Callable, arguments: tuple) -> list[str]:
    """What a function calls its arguments, as far as that is known."""
    try:
        names = list(inspect.signature(answer).parameters)
    except (TypeError, ValueError):  # of a function in C
        names = []
    return names + [f"argument {i + 1}" for i in range(len(names), len(arguments))]


def _argument(value, name: str) -> str:
    """An argument as the call shows it: a number as it is, a tensor by its name."""
    text = f"{value:.6g}" if isinstance(value, float) else repr(value)
    return name if isinstance(value, (Tensor, np.ndarray)) or len(text) > 60 else text


def _told(value, digits: int = 6) -> str:
    """A value as a sentence can hold it."""
    if value is None or value is ...:
        return "still `...`" if value else "None (is there a `return`?)"
    if inspect.isclass(value) or getattr(value, "is_class", False):
        return f"the class {value.__name__}"
    if isinstance(value, (str, bool)):
        return repr(value)[:80]
    if isinstance(value, (tuple, list)) and len(value) < 5:
        told = ", ".join(_told(one, digits) for one in value)
        return f"[{told}]" if isinstance(value, list) else f"({told})"
    number = _numbers(value)
    if number is not None and number.numel() == 1:
        whole = isinstance(value, int) and abs(value) < 1e15
        return str(value) if whole else f"{number.item():.{digits}g}"
    name = "NumPy array" if isinstance(value, np.ndarray) else type(value).__name__
    if isinstance(value, (Tensor, np.ndarray)):
        name += f" of the shape {list(value.shape)}"
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def refuse_hidden_weights(module: nn.Module, other: nn.Module, images: Tensor) -> None:
    """Refuse a module if `other`, made in the same way, does not compute the same with its weights.

    Then there are some that `parameters()` does not list.
    """
    with torch.no_grad():
        call(other, images)  # a lazy layer has no weights before
        other.load_state_dict(module.state_dict())
        same = agrees(call(other, images), call(module, images), 1e-3)
    refuse((not same, "another one with the same weights makes other maps: a list hides layers; "
            "nn.ModuleList?"))  # fmt: skip


def sides_seen(module: nn.Module) -> list[int]:
    """The sides, rows and columns, of the frame that the value in the middle looks through.

    A row of nan makes nan of whatever depends on it. In 64 bits: the fast ways of convolving in 32
    bits spread it to neighbours. The module stays in them.
    """
    call(module.double)
    pictures = torch.zeros(2, 28, 1, 28, 28, dtype=torch.float64)
    for place in range(28):
        pictures[0, place, :, place] = pictures[1, place, :, :, place] = torch.nan
    with torch.no_grad():
        maps = call(module, pictures.flatten(0, 1))
    middle = maps[:, :, maps.shape[2] // 2, maps.shape[3] // 2]
    places = [seen.nonzero().flatten().tolist() for seen in middle.isnan().any(1).view(2, 28)]
    return [one[-1] - one[0] + 1 if one else 0 for one in places]

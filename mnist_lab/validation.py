"""What a value must be: asked in one way, and refused in one sentence.

A kind of value (`Count`, `Fraction`, …) is an annotated type: pydantic checks it, and its
description is what the sentence says.
"""

from dataclasses import dataclass
from functools import cache
from numbers import Integral, Real
from typing import Annotated, Any, Literal, dataclass_transform, get_type_hints

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

STRICT = ConfigDict(strict=True, allow_inf_nan=False)  # neither "1" nor nan is a number


class UserError(ValueError):
    """What a user can mend: the message says what is wrong, where, and what to do.

    The command line shows it as it is; any other error keeps its traceback.
    """


def _number(value: object) -> int | float:
    """7 stays 7, and NumPy's numbers become Python's; True is none."""
    if isinstance(value, Real) and not isinstance(value, bool):
        return int(value) if isinstance(value, Integral) else float(value)
    raise ValueError("no number")


@cache  # asked for the same again, a kind is the same, and has its adapter
def whole(low: int, high: int | None = None) -> Any:
    """The kind of whole numbers from `low` to `high`, or from `low` on."""
    words = f"from {low} on" if high is None else f"from {low} to {high}"
    limits = Field(ge=low, le=high, description=f"a whole number {words}")
    return Annotated[int, BeforeValidator(_number), limits]


@cache
def number(words: str, **limits: float) -> Any:
    """The kind of finite numbers within `limits` (`ge`, `gt`, `le`, `lt`), in these words."""
    return Annotated[int | float, BeforeValidator(_number), Field(description=words, **limits)]


@cache
def one_of(*values: str) -> Any:
    """The kind of these texts."""
    return Annotated[Literal[values], Field(description=f"one of {', '.join(values)}")]


@cache
def instance(kind: type, words: str) -> Any:
    """The kind of instances of a class, in these words: "a Recipe such as GAP_RECIPE"."""

    def is_one(value: object) -> object:  # pydantic's InstanceOf takes no dataclasses here
        if not isinstance(value, kind):
            raise ValueError("another class")
        return value

    return Annotated[Any, BeforeValidator(is_one), Field(description=words)]


Count = whole(1)
Seed = whole(0, 2**64 - 1)  # what PyTorch's generators take
Positive = number("a number above 0", gt=0)
Fraction = number("a number from 0 to 1", ge=0, le=1)
FractionBelow1 = number("a number from 0 to below 1", ge=0, lt=1)
Switch = Annotated[bool, Field(description="True or False")]


def check(name: str, value: object, kind: Any) -> Any:
    """The value, NumPy's numbers as Python's. Raises `UserError` if it is not of this kind."""
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError:
        words = FieldInfo.from_annotation(kind).description
        raise UserError(f"{name} must be {words}, not {shown(value)}.") from None


@cache  # making one takes longer than a thousand checks
def _adapter(kind: Any) -> TypeAdapter:
    return TypeAdapter(kind, config=STRICT)


@dataclass_transform(frozen_default=True)
def validated(cls: type) -> type:
    """`dataclass(frozen=True)` whose fields are checked against their annotations.

    The class's own `__post_init__` comes afterwards: what it sees fits. pydantic's own dataclasses
    would turn 7 degrees into 7.0, and a forgotten argument into a wrong value.
    """
    kinds = get_type_hints(cls, include_extras=True)
    together = getattr(cls, "__post_init__", lambda self: None)

    def __post_init__(self):
        for name, kind in kinds.items():
            object.__setattr__(self, name, check(name, getattr(self, name), kind))
        together(self)

    cls.__post_init__ = __post_init__
    return dataclass(frozen=True)(cls)


def shown(value: object) -> str:
    """A value as a sentence can hold it: on one line, and not too long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:80]}…"

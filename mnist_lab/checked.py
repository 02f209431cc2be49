"""Frozen dataclasses that refuse what cannot be meant: by name, and in one sentence.

A field's annotation holds what pydantic checks, and the words for it; the common ones are here.
"""

from dataclasses import dataclass
from typing import Annotated, dataclass_transform, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

STRICT = ConfigDict(strict=True, allow_inf_nan=False)  # neither True nor "1" nor nan is a number

Count = Annotated[int, Field(ge=1, description="a whole number from 1 on")]
Seed = Annotated[int, Field(ge=0, description="a whole number from 0 on")]
Positive = Annotated[float, Field(gt=0, description="a number above 0")]
NotNegative = Annotated[float, Field(ge=0, description="a number from 0 on")]
Fraction = Annotated[float, Field(ge=0, le=1, description="a number from 0 to 1")]
Share = Annotated[float, Field(ge=0, lt=1, description="a number from 0 to below 1")]
Switch = Annotated[bool, Field(description="True or False")]


@dataclass_transform(frozen_default=True)
def checked(cls: type) -> type:
    """`dataclass(frozen=True)`, whose values must fit their annotations, or `ValueError` is raised.

    The class's own `__post_init__` comes afterwards: what it sees fits. pydantic's own dataclasses
    would turn 7 degrees into 7.0, and a forgotten argument into a wrong value.
    """
    hints = get_type_hints(cls, include_extras=True)
    adapters = {name: TypeAdapter(hint, config=STRICT) for name, hint in hints.items()}
    words = {name: FieldInfo.from_annotation(hint).description for name, hint in hints.items()}
    together = getattr(cls, "__post_init__", lambda self: None)

    def __post_init__(self):
        for name, adapter in adapters.items():
            given = getattr(self, name)
            try:
                value = adapter.validate_python(given)
            except ValidationError:
                raise ValueError(f"{name} must be {words[name]}, not {shown(given)}.") from None
            if not isinstance(given, int):  # NumPy's numbers become Python's
                object.__setattr__(self, name, value)
        together(self)

    cls.__post_init__ = __post_init__
    return dataclass(frozen=True)(cls)


def shown(value: object) -> str:
    """A value as a sentence can hold it: on one line, and not too long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:80]}…"

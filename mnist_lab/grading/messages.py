"""What passes between the judge and an answer: numbers, texts, tensors, rows of them; no code.

A message is JSON, and behind it the tensors' bytes. Nothing in it can be executed, whoever wrote
it.
"""

import json
import math
import numbers
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal

import numpy as np
import torch
from torch import Tensor

DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in (
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
    torch.float16, torch.bfloat16, torch.float32, torch.float64,
)}  # fmt: skip
KINDS = "biuf"  # of NumPy's arrays: bool, whole numbers, floats
EXACT = 2**53  # JSON's readers may take larger whole numbers for floats
HEAD = 8  # bytes that say how long the JSON is
LONGEST = 1 << 22  # bytes of JSON: a small text can become large lists
LONGEST_TEXT = 100_000  # characters
MOST = 1_000  # members of a set or a dictionary: chosen ones take a time that grows with the square


class Damaged(Exception):
    """A message is none."""


class Unknown:
    """Stands for a value that no message holds; it is equal to nothing, not even to itself."""

    def __init__(self, name: str):
        self.__class__ = type(name if name.isidentifier() else "object", (Unknown,), {})

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = None


def encode(value: object, other: Callable[[object], dict | None] = lambda value: None) -> bytes:
    """A message; what is neither number, text, tensor, array nor a row of them is left to `other`.

    `other` returns a dictionary for it (of JSON, but for what stands at "state", which is encoded),
    or None: then the message holds the name of its class only.
    """
    buffers: list[bytes] = []

    def place(data: bytes) -> list[int]:
        start = sum(map(len, buffers))
        buffers.append(data)
        return [start, len(data)]

    def form(value: object, depth: int = 0):
        if depth > 50:
            return {"other": "object"}
        if value is None or isinstance(value, bool | str):
            return value if value is None or isinstance(value, bool) else str(value)
        if type(value) is int:
            return value if abs(value) < EXACT else {"int": hex(value)[:10_000]}
        if type(value) is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if value is ...:
            return {"dots": True}
        if isinstance(value, Tensor):
            return _tensor(value, place)
        if isinstance(value, np.ndarray | np.generic):
            return _array(np.asarray(value), place, isinstance(value, np.generic))
        if isinstance(value, numbers.Real | Decimal):
            return form(float(value))
        if isinstance(value, tuple | list):
            rows = [form(one, depth + 1) for one in value]
            return rows if isinstance(value, list) else {"tuple": rows}
        if isinstance(value, set | frozenset):
            return {"set": [form(one, depth + 1) for one in value]}
        if isinstance(value, dict):
            return {"dict": [[form(k, depth + 1), form(v, depth + 1)] for k, v in value.items()]}
        if (found := other(value)) is not None:
            return {k: form(v, depth + 1) if k == "state" else v for k, v in found.items()}
        return {"other": type(value).__name__}

    text = json.dumps(form(value)).encode()
    return len(text).to_bytes(HEAD, "little") + text + b"".join(buffers)


def _tensor(value: Tensor, place: Callable) -> dict:
    value = value.detach().cpu().to_dense().contiguous()
    name = str(value.dtype).removeprefix("torch.")
    if name not in DTYPES:
        return {"other": "Tensor"}
    data = value.flatten().view(torch.uint8).numpy().tobytes() if value.numel() else b""
    return {"tensor": name, "shape": list(value.shape), "at": place(data)}


def _array(value: np.ndarray, place: Callable, scalar: bool) -> dict:
    if value.dtype.kind == "O":
        with suppress(TypeError, ValueError):
            value = value.astype(float)
    if value.dtype.kind not in KINDS:
        return {"other": "ndarray"}
    value = value.astype(value.dtype.newbyteorder("<"))
    form = {"array": value.dtype.str, "shape": list(value.shape), "at": place(value.tobytes())}
    return form | {"scalar": scalar}


def decode(message: bytes, other: Callable[[dict], object] = lambda form: None) -> object:
    """What a message holds; a dictionary that `encode` had from its `other` goes through `other`.

    Raises `Damaged` for anything else.
    """
    try:
        length = int.from_bytes(message[:HEAD], "little")
        if length > LONGEST:
            raise ValueError("its text is too long")
        form = json.loads(message[HEAD : HEAD + length])
        return _value(form, _Bytes(message[HEAD + length :]), other)
    except Exception as error:  # whatever is wrong with it
        raise Damaged(f"{type(error).__name__}: {error}") from error


class _Bytes:
    """The bytes behind the JSON; each is taken once, so nothing becomes larger than it was sent."""

    def __init__(self, data: bytes):
        self.data, self.left = memoryview(data), len(data)

    def take(self, start: int, length: int) -> bytearray:
        taken = bytearray(self.data[start : start + length])
        self.left -= len(taken)
        if self.left < 0:
            raise ValueError("the same bytes are used twice")
        return taken


def _value(form, buffer: _Bytes, other: Callable):
    def inner(form):
        return _value(form, buffer, other)

    if isinstance(form, list):
        return [inner(one) for one in form]
    if isinstance(form, str) and len(form) > LONGEST_TEXT:
        raise ValueError("a text is too long")
    if not isinstance(form, dict):
        return form
    match form:
        case {"int": text}:
            return int(text[:10_000], 16)
        case {"float": text}:
            return float(text)
        case {"dots": _}:
            return ...
        case {"tuple": rows}:
            return tuple(inner(rows))
        case {"set": rows}:
            return set(inner(_few(rows)))
        case {"dict": pairs}:
            return {inner(key): inner(value) for key, value in _few(pairs)}
        case {"tensor": name, "shape": shape, "at": [start, length]}:
            data = (
                torch.frombuffer(buffer.take(start, length), dtype=torch.uint8)
                if length
                else torch.empty(0, dtype=torch.uint8)
            )
            return data.view(DTYPES[name]).reshape(shape)
        case {"array": name, "shape": shape, "at": [start, length], "scalar": scalar}:
            dtype = np.dtype(name)
            if dtype.kind not in KINDS:
                raise ValueError(name)
            array = np.frombuffer(buffer.take(start, length), dtype).reshape(shape)
            return array[()] if scalar else array
        case {"other": name}:
            return Unknown(name)
    return other({key: inner(value) if key == "state" else value for key, value in form.items()})


def _few(rows: list) -> list:
    if len(rows) > MOST:
        raise ValueError("a set or a dictionary is too large")
    return rows

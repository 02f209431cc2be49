"""What passes between judge and answer comes out as it went in, and nothing else does."""

import json
import math
import pickle
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from mnist_lab.grading.messages import EXACT, Damaged, Unknown, decode, encode

VALUES = [
    None, True, 0, -5, EXACT + 1, -(10**30), 1.5, math.inf, "text", "", ..., [], (), [1, (2, [3])],
    {"a": 1, 2: [None]}, {1, 2}, torch.arange(6).view(2, 3), torch.tensor(1.5), torch.zeros(0, 4),
    torch.tensor([True, False]), torch.ones(3, dtype=torch.bfloat16), np.arange(4.0),
    np.zeros((2, 0)), np.float32(2.5), np.int64(3), [torch.ones(2), np.ones(2)],
]  # fmt: skip


def same(one, other) -> bool:
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, np.ndarray | np.generic):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.mark.parametrize("value", VALUES, ids=lambda value: str(value)[:20])
def test_what_is_sent_arrives(value):
    found = decode(encode(value))
    assert type(found) is type(value) and same(value, found)


def test_numbers_of_other_kinds_arrive_as_floats():
    given = [Fraction(1, 4), Decimal("2.5"), np.array([Fraction(1, 2), 3], dtype=object)]
    quarter, decimal, array = decode(encode(given))
    assert (quarter, decimal) == (0.25, 2.5) and array.tolist() == [0.5, 3.0]


def test_nan_arrives_too():
    assert math.isnan(decode(encode(math.nan)))


def test_of_any_other_object_only_its_class_is_known():
    class Answer:
        __eq__ = lambda *_: True  # noqa: E731
        __hash__ = None

    found = decode(encode([Answer(), lambda: 0, 1j]))
    assert [type(one).__name__ for one in found] == ["Answer", "function", "complex"]
    assert all(isinstance(one, Unknown) for one in found)
    assert found[0] != found[0] and found[0] != 1


def test_what_has_no_end_is_cut_off():
    value: list = []
    value.append(value)
    decode(encode(value))


def message(form, data=b""):
    text = json.dumps(form).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    "sent",
    [
        b"", b"\xff" * 100, b"12345678", pickle.dumps([1, 2]), message("x")[:-1],
        (1 << 60).to_bytes(8, "little"),
        message({"tensor": "float32", "shape": [3], "at": [0, 4]}, b"1234"),
        message({"tensor": "float32", "shape": [1 << 40], "at": [0, 4]}, b"1234"),
        message({"tensor": "object", "shape": [1], "at": [0, 8]}, b"12345678"),
        message({"array": "|O", "shape": [1], "at": [0, 8], "scalar": False}, b"12345678"),
        message([{"tensor": "uint8", "shape": [4], "at": [0, 4]}] * 2, b"1234"),
        message("x" * 200_000), message({"dict": [[1, 1]] * 2_000}), message({"set": [[1]]}),
        message({"int": "no number"}), message({"dict": [1]}),
        b"\xff\xff\xff\x0f" + bytes(4) + b"[" * (1 << 26),
        (10**5).to_bytes(8, "little") + b"[" * 10**5,
    ],
    ids=range(18),
)  # fmt: skip
def test_what_is_no_message_is_refused(sent):
    with pytest.raises(Damaged):
        decode(sent)


def test_what_others_have_made_goes_through_them():
    sent = encode({"a": 1j}, lambda value: {"complex": 1, "state": [value.real, value.imag]})
    assert decode(sent, lambda form: complex(*form["state"])) == {"a": 1j}

"""The judge's side: what a student's code defined, as if it were here.

A `Distant` is called as the function or class that it stands for; a `Mirror` has the layers and the
weights of a student's module, and lets the module compute where it is. Checkers need not know.
"""

import inspect
import time
import warnings
from collections.abc import Sequence
from multiprocessing.connection import Connection

import numpy as np
import torch
from torch import Tensor, nn

from mnist_lab.exercises.question import AnswerFailed, Reported, Wrong
from mnist_lab.grading.messages import Damaged, decode, encode
from mnist_lab.grading.modules import RECORDS, describe, load, make, rebuild

LARGEST = 1 << 26  # bytes of a message
ALONE = (nn.Conv2d, nn.Linear)  # layers that come as they are, if nothing is in them


class Ended(Exception):
    """The answer's process does not answer any more; the text says why, as far as is known."""


class Link:
    """The connection to an answer's process; of no use after `seconds` in all, or a fault."""

    def __init__(self, connection: Connection, seconds: float, code: str):
        self.connection, self.end, self.lines = (
            connection,
            time.monotonic() + seconds,
            code.splitlines(),
        )
        self.given: list[object] = []  # the judge's own modules and functions, by their numbers
        self.tensors: dict[int, Tensor] = {}  # the student's weights, by theirs
        self.failed = ""

    def request(self, what: str, **named) -> object:
        """What the answer's side returns. Raises `Wrong`, `AnswerFailed` and `Ended`."""
        if self.failed:
            raise Ended(self.failed)
        self._send({"what": what, **named})
        while True:
            reply = self._receive()
            match reply:
                case {"ask": int(number), "arguments": arguments}:
                    self._answer_back(number, arguments)
                case {"wrong": str(text)}:
                    raise Wrong(text)
                case {"raised": {"said": str(said), "line": int(line)}}:
                    source = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
                    raise AnswerFailed from Reported(said[:300], line if source else 0, source)
                case {"returned": found, "warned": list(said)}:
                    for text in said:
                        warnings.warn(str(text), UserWarning, stacklevel=2)
                    return found
                case _:
                    self._fail("it sends what is no answer.")

    def _answer_back(self, number: int, arguments: object) -> None:
        """A function of the judge's is called by the answer."""
        if not (0 <= number < len(self.given)) or not callable(self.given[number]):
            self._fail("it asks for what is not there.")
        try:
            reply = {"result": self.given[number](*arguments)}
        except Wrong:
            raise
        except Exception as error:  # as if the answer had called it here
            reply = {"refused": f"{type(error).__name__}: {error}"[:300]}
        self._send(reply)

    def _send(self, message: dict) -> None:
        try:
            self.connection.send_bytes(encode(message, self.give))
        except OSError:
            self._fail("its process has ended: does it exit, crash, or take too much memory?")

    def _receive(self) -> object:
        try:
            if not self.connection.poll(max(0.0, self.end - time.monotonic())):
                self._fail("it does not end in time: does a loop never stop?")
            return decode(self.connection.recv_bytes(LARGEST), self.take)
        except (OSError, EOFError):
            self._fail("its process has ended: does it exit, crash, or take too much memory?")
        except Damaged:
            self._fail("it sends what is no answer.")

    def _fail(self, why: str) -> None:
        self.failed = why
        raise Ended(why)

    def give(self, value: object) -> dict | None:
        """What stands for a module or a function of the judge's in a message."""
        if isinstance(value, nn.Module):
            return {"module": self.number(value), "state": describe(value, self.number)}
        return {"function": self.number(value)} if callable(value) else None

    def number(self, value: object) -> int:
        for number, one in enumerate(self.given):
            if one is value:
                return number
        self.given.append(value)
        return len(self.given) - 1

    def take(self, form: dict) -> object:
        """What a module or a function of the student's is here."""
        if "function" in form:
            return Distant(self, form)
        state = form["state"]
        if "record" in form:
            return RECORDS[form["record"]](**state)
        own = {mine: self.given[number] for mine, number in form["origin"] if number >= 0}
        if state["number"] in own:
            return _loaded(own[state["number"]], state, self.tensors)
        if state["kind"] in {kind.__name__ for kind in ALONE}:
            return rebuild(state, {}, self.tensors)
        return Mirror(self, state, own, form["name"])


def _loaded(module: nn.Module, form: dict, tensors: dict[int, Tensor]) -> nn.Module:
    """A module of the judge's own, as the answer has left it."""
    load(module, form, tensors)
    for name, inner in form["inside"].items():
        _loaded(module._modules[name], inner, tensors)
    return module


class Distant:
    """A function or a class of the student's."""

    def __init__(self, link: Link, form: dict):
        self._link, self._number = link, int(form["function"])
        self.is_class, self.__name__ = bool(form["class"]), str(form["name"])[:80]
        self.__class__ = type(str(form["kind"])[:80], (Distant,), {})  # as sentences call it
        names = [name for name in form["parameters"][:20] if str(name).isidentifier()]
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        self.__signature__ = inspect.Signature(
            [inspect.Parameter(name, kind) for name in dict.fromkeys(names)]
        )

    def __call__(self, *arguments, **named):
        found = self._link.request(
            "call",
            number=self._number,
            arguments=list(arguments),
            named=named,
            gradient=torch.is_grad_enabled(),
        )
        return self._result(found, arguments)

    def watched(self, name: str, *arguments):
        """What the function `name` of `exercises.watch` sees of it."""
        found = self._link.request(
            "watch", name=name, number=self._number, arguments=list(arguments)
        )
        return self._result(found, arguments)

    def _result(self, found: object, arguments: Sequence) -> object:
        if not isinstance(found, dict) or found.keys() != {"result", "after"}:
            self._link._fail("it sends what is no answer.")
        for argument, after in zip(arguments, found["after"]):
            _make_alike(argument, after)
        return found["result"]

    def __deepcopy__(self, memo: dict) -> "Distant":
        return self


def _make_alike(value: object, after: object) -> None:
    """Change an argument as the answer has changed it."""
    if isinstance(value, Tensor) and isinstance(after, Tensor) and value.shape == after.shape:
        with torch.no_grad():
            value.copy_(after)
    elif (
        isinstance(value, np.ndarray)
        and isinstance(after, np.ndarray)
        and value.shape == after.shape
    ):
        value[...] = after
    elif isinstance(value, list) and isinstance(after, list) and not _is_alike(value, after):
        value[:] = after


def _is_alike(value: list, after: list) -> bool:
    """Whether a list holds the same; what is in it is made alike."""
    if len(value) != len(after):
        return False
    for one, other in zip(value, after):
        if isinstance(one, Tensor | np.ndarray | list) or callable(one):
            _make_alike(one, other)
        elif isinstance(one, tuple):
            return isinstance(other, tuple) and _is_alike(list(one), list(other))
        elif type(one) is not type(other) or one != other:
            return False
    return True


class Mirror(nn.Module):
    """A module of the student's: its layers and weights are here too, and may be changed here."""

    def __init__(self, link: Link, form: dict, own: dict[int, nn.Module], name: str):
        super().__init__()
        self._link, self._own, self._form = link, own, form
        self.__class__ = type(str(name)[:80], (Mirror,), {})  # as sentences call it
        self._parts: dict[int, nn.Module] = {form["number"]: self}
        self._fill(self, form)

    def _fill(self, module: nn.Module, form: dict) -> None:
        """Give `module` what is described: its tensors, and the modules in it."""
        load(module, form, self._link.tensors)
        for name, inner in form["inside"].items():
            part = self._own.get(inner["number"]) or self._parts.get(inner["number"])
            if part is None or getattr(part, "_kind", None) not in (None, inner["kind"]):
                part = make(inner) or nn.Module()
                part._kind = inner["kind"]
            self._parts[inner["number"]] = part
            module.add_module(name, part)
            self._fill(part, inner)

    def forward(self, *arguments):
        others = {number: part for number, part in self._parts.items() if part is not self}
        watched = [number for number, part in others.items()
                   if part._forward_hooks or part._forward_pre_hooks]  # fmt: skip
        found = self._link.request(
            "forward", number=self._form["number"], arguments=list(arguments), watched=watched,
            form=self._state(self._form), gradient=torch.is_grad_enabled(),
        )  # fmt: skip
        for argument, after in zip(arguments, found["after"]):
            _make_alike(argument, after)
        self._form = found["form"]
        self._fill(self, self._form)
        for number, given, made in found["events"]:
            part = self._parts[number]
            for hook in list(part._forward_pre_hooks.values()):
                hook(part, tuple(given))
            for hook in list(part._forward_hooks.values()):
                hook(part, tuple(given), made)
        return found["result"]

    def _state(self, form: dict) -> dict:
        """The description with the values that stand here now."""
        part = self._parts[form["number"]]
        return form | {
            "training": part.training,
            "tensors": {name: (number, getattr(part, name))
                        for name, (number, _) in form["tensors"].items()},
            "gradient": {name: part._parameters[name].requires_grad for name in form["gradient"]},
            "inside": {name: self._state(inner) for name, inner in form["inside"].items()},
        }  # fmt: skip

    def __deepcopy__(self, memo: dict) -> "Mirror":
        return self

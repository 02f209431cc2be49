"""The side of the answer: a process of its own that runs a student's code, and is believed nothing.

It knows no solution and no check. It is sent what a function is to be called with, and sends back
what came out, as `messages` has it.
"""

import ast
import inspect
import io
import linecache
import traceback
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from multiprocessing.connection import Connection

import torch
from torch import nn

from mnist_lab.exercises import watch
from mnist_lab.exercises.question import Wrong
from mnist_lab.exercises.unanswered import is_as_delivered
from mnist_lab.grading.messages import decode, encode
from mnist_lab.grading.modules import RECORDS, describe, load, rebuild

FILE = "<answer>"
MOST_WARNINGS = 20


def serve(connection: Connection) -> None:
    """Answer one request after the other, until the connection is closed."""
    torch.set_num_threads(1)
    side = _Side(connection)
    with redirect_stdout(_Nowhere()), redirect_stderr(_Nowhere()):
        while True:
            side.reply(connection.recv_bytes())


class _Nowhere(io.TextIOBase):
    """Takes what is printed, and keeps nothing of it."""

    def write(self, text: str) -> int:
        return len(text)


class _Calls:
    """In an answer's namespace: `q1.check()` and the like do nothing here."""

    def __getattr__(self, name: str) -> Callable:
        return lambda *_, **__: None


class _Side:
    def __init__(self, connection: Connection):
        self.connection, self.namespace = connection, {"__name__": "__main__"}
        self.objects: list[object] = []
        self.given: dict[int, object] = {}  # what was made of the judge's modules, by its numbers

    def reply(self, request: bytes) -> None:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                found = {"returned": self.do(**decode(request, self.receive))}
            except Wrong as wrong:
                found = {"wrong": str(wrong)}
            except BaseException as error:  # also `SystemExit`, and what the student has made
                found = {"raised": _told(error)}
        found["warned"] = [str(one.message)[:300] for one in said[:MOST_WARNINGS]]
        self.connection.send_bytes(encode(found, self.send))

    def do(self, what: str, **named):
        return getattr(self, f"do_{what}")(**named)

    def do_run(self, imports: list, given: str, code: str, start: str, names: list):
        """Run an answer's cell; for each name that it should define, what it has become."""
        self.run_what_can_be("\n".join(imports))
        for name in names:  # a notebook may have an older one
            self.namespace.pop(name, None)
        self.run_what_can_be(given)
        self.namespace |= {f"q{number}": _Calls() for number in range(1, 30)}
        self.namespace["display"] = lambda *_, **__: None
        linecache.cache[FILE] = len(code), None, code.splitlines(keepends=True), FILE
        try:
            exec(compile(code, FILE, "exec"), self.namespace)
        except BaseException:  # what comes behind an answer is none of it
            if not all(name in self.namespace for name in names):
                raise
        there = [name for name in names if name in self.namespace]
        return {name: (is_as_delivered(name, self.namespace[name], start), self.namespace[name])
                for name in there}  # fmt: skip

    def run_what_can_be(self, code: str) -> None:
        """Statement by statement: what a notebook imports, or draws, need not be there."""
        with suppress(SyntaxError):
            for statement in ast.parse(code).body:
                with suppress(Exception):
                    exec(compile(ast.Module([statement], []), "<given>", "exec"), self.namespace)

    def do_call(self, number: int, arguments: list, named: dict, gradient: bool = True):
        with torch.set_grad_enabled(gradient):
            result = self.objects[number](*arguments, **named)
        return {"result": result, "after": arguments}

    def do_watch(self, name: str, number: int, arguments: list):
        return {
            "result": getattr(watch, name)(self.objects[number], *arguments),
            "after": arguments,
        }

    def do_forward(self, number: int, arguments: list, form: dict, watched: list, gradient: bool):
        """Let a module compute; what its watched parts were given and gave, in order."""
        module, events = self.objects[number], []
        self.put(form)
        hooks = [
            part.register_forward_hook(
                lambda part, given, made: events.append(
                    (self.number(part), list(given), _kept(made))
                )
            )
            for part in module.modules()
            if self.number(part) in watched
        ]
        try:
            with torch.set_grad_enabled(gradient):
                result = module(*arguments)
        finally:
            for hook in hooks:
                hook.remove()
        form = describe(module, self.number)
        return {"result": result, "after": arguments, "events": events, "form": form}

    def put(self, form: dict) -> None:
        load(self.objects[form["number"]], form, {})
        for inner in form["inside"].values():
            self.put(inner)

    def number(self, value: object) -> int:
        """An object's number here; it is kept, so that no other gets it."""
        for number, one in enumerate(self.objects):
            if one is value:
                return number
        self.objects.append(value)
        return len(self.objects) - 1

    def send(self, value: object) -> dict | None:
        if isinstance(value, nn.Module):
            origin = {self.number(mine): number for number, mine in self.given.items()}
            form = {"module": self.number(value), "name": type(value).__name__}
            return form | {"origin": list(origin.items()), "state": describe(value, self.number)}
        if type(value).__name__ in RECORDS:
            return {"record": type(value).__name__, "state": dict(vars(value))}
        if callable(value):
            return {"function": self.number(value), "class": inspect.isclass(value),
                    "kind": type(value).__name__, "name": getattr(value, "__name__", ""),
                    "parameters": _parameters(value)}  # fmt: skip
        return None

    def receive(self, form: dict) -> object:
        if "module" in form:
            return rebuild(form["state"], self.given, {})
        return _Callback(self, form["function"])


class _Callback:
    """A function of the judge's: calling it asks there."""

    def __init__(self, side: _Side, number: int):
        self.side, self.number = side, number

    def __call__(self, *arguments):
        side = self.side
        side.connection.send_bytes(encode({"ask": self.number, "arguments": arguments}, side.send))
        found = decode(side.connection.recv_bytes(), side.receive)
        if "refused" in found:
            raise RuntimeError(found["refused"])
        return found["result"]


def _kept(made):
    return made.clone() if isinstance(made, torch.Tensor) else made


def _parameters(value: Callable) -> list[str]:
    try:
        return [name for name in inspect.signature(value).parameters if name.isidentifier()]
    except (TypeError, ValueError):
        return []


def _told(error: BaseException) -> dict:
    """An error in a sentence, and the line of the answer where it was raised."""
    said = " ".join(traceback.format_exception_only(error)[-1].split())[:300]
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == FILE
    ]
    if isinstance(error, SyntaxError) and error.filename == FILE:
        lines.append(error.lineno)
    return {"said": said, "line": lines[-1] if lines else 0}

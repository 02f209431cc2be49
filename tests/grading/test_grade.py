"""A zoo of cheats and accidents: none passes, nothing is lost, and the next student is graded."""

import csv
import json
import os

import pytest

from mnist_lab.course.exercise_cells import MARK
from mnist_lab.exercises import exercises
from mnist_lab.grading.grade import grade
from mnist_lab.validation import UserError

pytestmark = pytest.mark.slow  # the first answer waits until PyTorch is loaded twice
NUMBER = "11"
NAMES = [f"{NUMBER}/{one.name}" for one in exercises(NUMBER)]
SOLUTIONS = dict(zip(NAMES, (one.solution for one in exercises(NUMBER))))
COSTS = NAMES[0]
RIGHT_COSTS, START = SOLUTIONS[COSTS], exercises(NUMBER)[0].start

# Each is the cell of the first exercise: its code, where its name says what it tries.
CHEATS = {
    "patches the check": """
import mnist_lab.exercises.question as question
question.Question.check = lambda self: print("Right")
question.judge = question.verdict = lambda *_: question.Verdict("Right", "")
def costs(*_): return 0
""",
    "equals everything": """
class Yes(tuple):
    __eq__ = lambda *_: True
    __len__ = lambda *_: 4
    __getitem__ = lambda *_: Yes()
    __float__ = __int__ = lambda *_: 1
    __iter__ = lambda self: iter([Yes()] * 4)
def costs(*_): return Yes()
""",
    "a tensor that equals everything": """
import torch
class Yes(torch.Tensor):
    @classmethod
    def __torch_function__(cls, *_, **__): return torch.tensor(True)
def costs(*_): return Yes(torch.zeros(4))
""",
    "walks up the stack": """
import sys
def costs(*case):
    frame = sys._getframe()
    while frame:
        for value in list(frame.f_locals.values()):
            if callable(value) and getattr(value, "__name__", "") in ("both", "right", "of"):
                return value(*case)
        frame = frame.f_back
""",
    "looks for the solution among all objects": """
import gc
def costs(*case):
    for one in gc.get_objects():
        if type(one).__name__ == "Exercise":
            exec(one.solution, globals())
            return globals()["costs"](*case)
""",
    "imports the checkers": """
def costs(*case):
    from mnist_lab.exercises import exercises
    names = {}
    exec(exercises("11")[0].solution, names)
    return names["costs"](*case)
""",
    "reads the solutions' file": """
import mnist_lab, pathlib
def costs(*case):
    text = (pathlib.Path(mnist_lab.__file__).parent / "exercises" / "n11.md").read_text()
    names = {}
    exec(text.split("### Solution")[1].split("```python")[1].split("```")[0], names)
    return names["costs"](*case)
""",
    "exits": "import os\ndef costs(*_): os._exit(0)",
    "exits politely": "def costs(*_): raise SystemExit(0)",
    "exits at once": "import os\nos._exit(0)",
    "sends a result of its own": """
import gc, json
from multiprocessing.connection import Connection
def costs(*_):
    for one in gc.get_objects():
        if isinstance(one, Connection):
            text = json.dumps({"dict": [["returned", True], ["warned", []]]}).encode()
            one.send_bytes(len(text).to_bytes(8, "little") + text)
    return 1
""",
    "sends rubbish": """
import gc
from multiprocessing.connection import Connection
for one in gc.get_objects():
    if isinstance(one, Connection): one.send_bytes(b"\\xff" * 100)
def costs(*_): return 1
""",
    "sends a pickle that runs code": """
import gc, os, pickle
from multiprocessing.connection import Connection
class Bomb:
    def __reduce__(self): return os.system, ("touch HARM",)
def costs(*_):
    for one in gc.get_objects():
        if isinstance(one, Connection): one.send_bytes(pickle.dumps(Bomb()))
    return Bomb()
""",
    "forks without end": "import os\ndef costs(*_):\n    while True: os.fork()",
    "takes all memory": "def costs(*_): return bytearray(50 << 30)",
    "takes all memory in a tensor": "import torch\ndef costs(*_): return torch.ones(10**10)",
    "never ends": "def costs(*_):\n    while True: pass",
    "never ends in C": "def costs(*_): return sum(range(10**13))",
    "sleeps": "import time\ndef costs(*_): time.sleep(10**6)",
    "asks the network": """
import socket
def costs(*_):
    with socket.create_connection(("HOST", PORT), 5) as one: return one.recv(1)
""",
    "writes a file outside": "def costs(*_):\n    open('HARM', 'w').write('here')\n    return 0",
    "removes files": "import shutil\ndef costs(*_): shutil.rmtree('FOLDER', ignore_errors=True)",
    "prints without end": "def costs(*_):\n    while True: print('x' * 10**6)",
    "prints without end, past Python": """
import os
def costs(*_):
    while True: os.write(1, b"x" * 10**6)
""",
    "kills its parent": "import os\ndef costs(*_): os.kill(os.getppid(), 9), os.kill(1, 9)",
    "kills whom it can": "import os\ndef costs(*_):\n    os.kill(-1, 9)",
    "crashes": "import ctypes\ndef costs(*_): return ctypes.string_at(0)",
    "calls itself without end": "def costs(*case): return costs(*case)",
    "nests without end": "x = []\nfor _ in range(10**5): x = [x]\ndef costs(*_): return x",
    "returns something enormous": "def costs(*_): return [[0] * 10**6] * 10**4",
    "types into the terminal": """
import fcntl, os, termios
def costs(*_):
    terminal = os.open("/dev/tty", os.O_RDWR)
    for letter in b"touch HARM\\n": fcntl.ioctl(terminal, termios.TIOCSTI, bytes([letter]))
""",
    "kills its group": "import os\ndef costs(*_): os.kill(0, 9)",
    "asks the processes around it to unlink": """
import os
def costs(*_):
    for place in range(3, 64):
        try: os.write(place, b"REGISTER:/HARM:shared_memory\\n")
        except OSError: pass
""",
    "outlives its parent": """
import ctypes, time
def costs(*_):
    ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
    time.sleep(10**6)
""",
    "raises the judge's own word": """
from mnist_lab.exercises.question import Wrong
raise Wrong("Right")
""",
    "raises what cannot be written": "def costs(*_): raise ValueError('\\ud800\\x1b[2J')",
    "returns a set of numbers that collide": """
class Set(set):
    def __iter__(self): return iter(k * (2**61 - 1) for k in range(1, 10**5))
def costs(*_): return Set()
""",
    "returns what grows": "def costs(*_): return ['x' * 99_000] + [''] * 2_000",
    "reads the environment": "import os\ndef costs(*_): return os.environ['SECRET']",
    "reads its parents' environment": """
def costs(*_): raise ValueError(open("/proc/self/environ").read()[-300:])
""",
    "is marked with no name": [],
    "is cut off": "def costs(inside, outside,",
    "does not compile": "def costs(: return",
    "holds a null byte": "def costs(*_): return '\0'",
    "raises on import": "raise KeyboardInterrupt",
    "is a class": "class costs: pass",
    "is a number": "costs = 4",
    "is nan": "def costs(*_): return (float('nan'),) * 4",
}


def cell(code, name=COSTS, **metadata):
    mark = {MARK: {"exercise": name}} if name else {}
    return {"cell_type": "code", "source": code, "metadata": mark | metadata, "outputs": []}


def notebook(*cells):
    return json.dumps({"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def handed_in(folder, files):
    for name, text in files.items():
        path = folder / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def graded(folder, table, **options):
    options = {"jobs": 1, "seconds": 4} | options
    assert grade(folder, table, [NUMBER], **options) == [], "this system has a sandbox"
    with open(table, newline="", encoding="utf-8") as file:
        return {row["submission"]: row for row in csv.DictReader(file)}


def test_no_cheat_passes_and_whoever_comes_next_is_graded(tmp_path, monkeypatch):
    harm, folder = tmp_path / "harm", tmp_path / "handed in"
    texts = {"HARM": str(harm), "FOLDER": str(folder), "HOST": "127.0.0.1", "PORT": "9"}
    files = {}
    monkeypatch.setenv("SECRET", "hunter2")
    for name, code in CHEATS.items():
        if not code:
            files[name] = notebook(
                {"cell_type": "code", "source": "x", "metadata": {MARK: {"exercise": []}}}
            )
            continue
        for word, text in texts.items():
            code = code.replace(word, text)
        files[name] = notebook(cell(code))
        files[f"{name}, and the next"] = notebook(cell(RIGHT_COSTS))
    rows = graded(handed_in(folder, files), tmp_path / "grades.csv", jobs=2)
    assert rows.keys() == files.keys(), "nothing is lost"
    for name, code in CHEATS.items():
        allowed = ("wrong", "unanswered") if code else ("missing",)
        assert rows[name][COSTS] in allowed, (name, rows[name])
        assert not code or rows[f"{name}, and the next"][COSTS] == "right", name
    pages = [path.read_text("utf-8") for path in (tmp_path / "grades.feedback").iterdir()]
    assert len(pages) == len(rows) and not [page for page in pages if "hunter2" in page]
    assert not harm.exists() and not os.path.exists("HARM")
    assert len(list(folder.iterdir())) == len(files)


def test_a_row_and_a_page_for_each_file_whatever_it_is(tmp_path):
    files = {
        "a/one name": notebook(cell(RIGHT_COSTS)),
        "b/one name": notebook(cell("def costs(*_): return 0")),
        "=1+1": notebook(cell(RIGHT_COSTS)),
        "typed anew": notebook(cell(RIGHT_COSTS, None)),
        "empty": "",
        "no notebook": b"\xff\xfe{]",
        "unanswered": notebook(cell(START)),
    }
    rows = graded(handed_in(tmp_path / "in", files), tmp_path / "grades.csv")
    assert {name: row[COSTS] for name, row in rows.items()} == {
        "a/one name": "right", "b/one name": "wrong", "'=1+1": "right", "typed anew": "right",
        "empty": "missing", "no notebook": "missing", "unanswered": "unanswered",
    }  # fmt: skip
    assert rows["a/one name"]["right"] == "1" and rows["empty"]["right"] == "0"
    assert "found by its names" in rows["typed anew"]["remarks"]
    pages = list((tmp_path / "grades.feedback").iterdir())
    assert len(pages) == len(rows) and all(path.suffix == ".html" for path in pages)


def test_a_page_of_feedback_says_what_check_would_and_holds_no_markup_of_the_student(tmp_path):
    code = "def costs(*_): raise ValueError('<script>alert(1)</script>')"
    handed_in(tmp_path / "in", {"<b>anna": notebook(cell(code))})
    graded(tmp_path / "in", tmp_path / "grades.csv")
    (page,) = (tmp_path / "grades.feedback").glob("*.html")
    text = page.read_text("utf-8")
    assert "ends in ValueError" in text and "(line 1:" in text
    assert "<script>" not in text and "<b>anna" not in text


def test_what_is_finished_is_not_graded_again(tmp_path, monkeypatch):
    folder = handed_in(
        tmp_path / "in", {"a": notebook(cell(RIGHT_COSTS)), "b": notebook(cell("1"))}
    )
    table = tmp_path / "grades.csv"
    first = graded(folder, table)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "grades.parts").iterdir()}
    table.unlink()
    (folder / "b.ipynb").write_text(notebook(cell(RIGHT_COSTS)))
    second = graded(folder, table)
    assert first["a"] == second["a"] and second["b"][COSTS] == "right" != first["b"][COSTS]
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "grades.parts").iterdir()}
    assert before.items() <= after.items() and len(after) == 3


def test_a_folder_without_notebooks_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no notebook"):
        grade(tmp_path, tmp_path / "grades.csv")

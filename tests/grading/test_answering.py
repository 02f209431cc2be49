"""The side of the answer: what it sends back, for what it is asked."""

import threading
from multiprocessing import Pipe

import pytest
import torch
from torch import nn

from mnist_lab.grading.answering import _Side
from mnist_lab.grading.messages import decode, encode


@pytest.fixture
def ask():
    """Ask a side, in this process, for what a judge would ask: the whole reply."""
    here, there = Pipe()
    side = _Side(there)

    def ask(what, **named):
        side.reply(encode({"what": what, **named}))
        return decode(here.recv_bytes(), lambda form: form)

    ask.judge = here
    ask.side = side
    return ask


def run(ask, code, names, start="", given="", imports=()):
    return ask("run", imports=list(imports), given=given, code=code, start=start, names=names)


def test_of_each_name_it_says_what_it_has_become(ask):
    start = "def f(x):\n    return ...\n\n\nsize = ..."
    code = "def f(x):\n    return ...\n\n\nsize = 3\nq1.check()\nq2.hint()"
    found = run(ask, code, ["f", "size", "gone"], start)["returned"]
    assert found.keys() == {"f", "size"}
    assert found["f"][0] is True and found["size"] == (False, 3)
    assert found["f"][1]["parameters"] == ["x"] and found["f"][1]["function"] == 0


def test_what_is_imported_and_given_is_there_and_need_not_be(ask):
    found = run(
        ask,
        "y = math.pi + x",
        ["y"],
        given="x = 1\nshow(x)",
        imports=["import math", "import nowhere"],
    )
    assert found["returned"]["y"][1] == pytest.approx(4.1416, abs=1e-4)


@pytest.mark.parametrize(
    ("code", "said", "line"),
    [
        ("x = 1\n1 / 0", "ZeroDivisionError: division by zero", 2),
        ("x = (", "SyntaxError", 1),
        ("raise SystemExit(0)", "SystemExit: 0", 1),
        ("def f():\n    raise KeyError('a')\n\nf()", "KeyError: 'a'", 2),
    ],
)
def test_an_error_is_a_sentence_and_a_line(ask, code, said, line):
    found = run(ask, code, ["y"])["raised"]
    assert said in found["said"] and found["line"] == line


def test_an_error_behind_the_answer_is_none_of_it(ask):
    found = run(ask, "def f():\n    return 3\n\nprint(f(1))", ["f"])["returned"]
    assert found["f"][1]["name"] == "f"


def test_an_older_one_of_the_notebook_is_no_answer(ask):
    imports = ["def f():\n    return 1", "def helper():\n    return 2"]
    assert run(ask, "x = helper()", ["f", "x"], imports=imports)["returned"] == {"x": (False, 2)}


def test_a_function_is_called_and_what_it_did_to_its_arguments_is_sent(ask):
    code = "def f(x, y=2):\n    x[0] = 9\n    return x.sum() * y"
    number = run(ask, code, ["f"])["returned"]["f"][1]["function"]
    found = ask("call", number=number, arguments=[torch.ones(2)], named={"y": 3})["returned"]
    assert found["result"] == 30 and torch.equal(found["after"][0], torch.tensor([9.0, 1.0]))


def test_a_warning_is_sent(ask):
    said = run(ask, "import warnings\nwarnings.warn('old')", [])
    assert said["warned"] == ["old"]


def test_a_network_computes_with_the_weights_that_are_sent(ask):
    code = "from torch import nn\nmodel = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU())"
    form = run(ask, code, ["model"])["returned"]["model"][1]["state"]
    number, inner = form["number"], form["inside"]["0"]
    inner["tensors"]["weight"] = (inner["tensors"]["weight"][0], torch.eye(2))
    watched = [form["inside"]["1"]["number"]]
    found = ask("forward", number=number, arguments=[torch.tensor([[1.0, -1.0]])], form=form,
                watched=watched, gradient=False)["returned"]  # fmt: skip
    assert found["result"].tolist() == [[1.0, 0.0]]
    ((part, given, made),) = found["events"]
    assert part == watched[0] and given[0].tolist() == [[1.0, -1.0]]
    assert made.tolist() == [[1.0, 0.0]]


def test_a_function_of_the_judges_is_asked_there(ask):
    run(ask, "def f(square): return square(3) + 1", ["f"])
    answers = []

    def judge():
        asked = decode(ask.judge.recv_bytes(), lambda form: form)
        answers.append(asked)
        ask.judge.send_bytes(encode({"result": 9}))

    thread = threading.Thread(target=judge)
    thread.start()
    request = encode(
        {"what": "call", "number": 0, "arguments": [len], "named": {}},
        lambda value: {"function": 5},
    )
    ask.side.reply(request)
    thread.join()
    assert answers == [{"ask": 5, "arguments": (3,)}]
    assert decode(ask.judge.recv_bytes(), lambda form: form)["returned"]["result"] == 10


def test_a_network_of_the_judges_is_known_when_it_comes_back(ask):
    from mnist_lab.grading.modules import describe

    layer = nn.Linear(2, 2)
    run(ask, "def f(network):\n    network.weight.data.zero_()\n    return network", ["f"])
    request = encode(
        {"what": "call", "number": 0, "arguments": [layer], "named": {}},
        lambda value: {"module": 7, "state": describe(value, lambda one: 7 if one is layer else 8)},
    )
    ask.side.reply(request)
    found = decode(ask.judge.recv_bytes(), lambda form: form)["returned"]["result"]
    assert dict(found["origin"])[found["state"]["number"]] == 7
    assert not found["state"]["tensors"]["weight"][1].any()

"""What a student's code defined is used by the checks as if it were here."""

import threading
from contextlib import contextmanager
from multiprocessing import Pipe

import numpy as np
import pytest
import torch
from torch import nn

from mnist_lab.exercises.question import AnswerFailed, Wrong, watched
from mnist_lab.grading.answering import _Side
from mnist_lab.grading.distant import Distant, Ended, Link, Mirror
from mnist_lab.grading.messages import encode

NETWORK = """
from torch import nn
import torch.nn.functional as F

class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.head = nn.Linear(2, 10)

    def forward(self, images):
        return self.head(F.relu(self.norm(self.first(images))).mean((2, 3)))
"""


@contextmanager
def answer(code, *names, seconds=10.0):
    """What the names are that the code defines; it runs in another thread."""
    here, there = Pipe()

    def work():
        side = _Side(there)
        try:
            while True:
                side.reply(there.recv_bytes())
        except (EOFError, OSError):
            pass

    threading.Thread(target=work, daemon=True).start()
    link = Link(here, seconds, code)
    asked = {"imports": [], "given": "", "start": "", "names": list(names)}
    found = link.request("run", code=code, **asked)
    yield [found[name][1] for name in names]
    here.close()


def test_a_function_is_called_with_what_the_check_gives():
    code = "def f(x, scale=1):\n    return {'sum': x.sum() * scale, 'shape': tuple(x.shape)}"
    with answer(code, "f") as (f,):
        assert isinstance(f, Distant) and type(f).__name__ == "function"
        assert f(torch.ones(2, 3), scale=2) == {"sum": 12, "shape": (2, 3)}


def test_what_it_does_to_its_arguments_is_done_here():
    code = """
def f(tensor, array, rows):
    tensor.mul_(2)
    array[0] = 7
    rows.append(1)
    rows[0].zero_()
"""
    with answer(code, "f") as (f,):
        tensor, array, rows = torch.ones(2), np.ones(2), [torch.ones(1)]
        f(tensor, array, rows)
        assert tensor.tolist() == [2, 2] and array.tolist() == [7, 1]
        assert len(rows) == 2 and rows[1] == 1


def test_what_it_raises_is_the_answers():
    with answer("def f(x):\n    return x['a']", "f") as (f,):
        with pytest.raises(AnswerFailed) as caught:
            f({})
        assert caught.value.__cause__.line == 2 and "KeyError" in str(caught.value.__cause__)


def test_a_function_of_the_checks_can_be_called_by_it():
    with answer("def f(square): return square(3) + 1", "f") as (f,):
        assert f(lambda x: x * x) == 10
    with answer(
        "def f(broken):\n    try: broken()\n    except RuntimeError as e: return str(e)", "f"
    ) as (f,):
        assert f(lambda: 1 / 0) == "ZeroDivisionError: division by zero"


def test_what_is_watched_is_watched_there():
    def wrapped(x):
        return 0

    with answer("def f(scores, labels): return scores.mean()", "f") as (f,):
        wrapped.__wrapped__ = f
        from mnist_lab.exercises import watch

        slopes = watched(watch.gradient_of_loss, wrapped, torch.zeros(2, 10), torch.arange(2))
        assert slopes.shape == (2, 10) and slopes.allclose(torch.tensor(0.05))
    with answer("def f(scores, labels): return 1", "f") as (f,):
        wrapped.__wrapped__ = f
        with pytest.raises(Wrong, match="a tensor"):
            watched(watch.gradient_of_loss, wrapped, torch.zeros(2, 10), torch.arange(2))


@pytest.fixture
def mirror():
    with answer(NETWORK, "Network") as (kind,):
        assert kind.is_class
        yield kind()


def test_a_network_computes_where_it_is_with_the_weights_that_stand_here(mirror):
    images = torch.randn(4, 1, 8, 8)
    assert isinstance(mirror, Mirror) and type(mirror).__name__ == "Network"
    assert sum(one.numel() for one in mirror.parameters()) == 20 + 4 + 30
    assert isinstance(mirror.first, nn.Conv2d) and mirror.first.kernel_size == (3, 3)
    with torch.no_grad():
        mirror.head.weight.zero_()
        mirror.head.bias.copy_(torch.arange(10.0))
    assert mirror(images).tolist() == [list(range(10))] * 4


def test_its_mode_and_what_its_norm_has_seen_are_known_on_both_sides(mirror):
    images, before = torch.randn(4, 1, 8, 8), mirror.norm.running_mean.clone()
    mirror.eval()(images)
    assert torch.equal(mirror.norm.running_mean, before)
    mirror.train()(images)
    expected = 0.1 * mirror.first(images).mean((0, 2, 3))
    torch.testing.assert_close(mirror.norm.running_mean, expected.detach())


def test_hooks_on_its_parts_see_what_passes(mirror):
    seen = []
    mirror.first.register_forward_hook(lambda part, given, made: seen.append((part, made.shape)))
    images = torch.randn(2, 1, 8, 8)
    mirror(images)
    assert seen == [(mirror.first, (2, 2, 6, 6))]


def test_a_layer_that_the_check_gave_is_the_same_when_it_comes_back():
    layer = nn.Linear(2, 2)
    with answer("def f(layer):\n    layer.weight.data.fill_(3)\n    return layer", "f") as (f,):
        assert f(layer) is layer and layer.weight.eq(3).all()


def test_after_its_time_it_is_of_no_use():
    code = "import time\ndef f(): time.sleep(3)\ndef g(): return 1"
    with answer(code, "f", "g", seconds=0.3) as (f, g):
        for one in (f, g):
            with pytest.raises(Ended, match="does not end in time"):
                one()


@pytest.mark.parametrize(
    "reply",
    [
        b"rubbish", encode(3), encode({"returned": 1}), encode({"raised": {"said": 3, "line": ""}}),
        encode({"ask": 10**6, "arguments": []}), encode({"ask": -1, "arguments": []}),
    ],
    ids=range(6),
)  # fmt: skip
def test_a_forged_reply_is_no_answer(reply):
    here, there = Pipe()
    there.send_bytes(reply)
    with pytest.raises(Ended, match=r"no answer|not there"):
        Link(here, 5.0, "").request("run")


def test_a_process_that_has_ended_is_told():
    here, there = Pipe()
    there.close()
    with pytest.raises(Ended, match="has ended"):
        Link(here, 5.0, "").request("run")

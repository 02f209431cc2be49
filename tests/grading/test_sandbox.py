"""What a process has given up before it runs an answer."""

import json
import os
import socket
import subprocess
import sys
import tempfile

import pytest

from conftest import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there are no namespaces")
PROGRAM = """
import json, os, resource, socket, sys
sys.path.insert(0, ROOT)
from mnist_lab.grading.sandbox import Limits, close_files_but, enter

def can(action):
    try:
        action()
    except Exception:
        return False
    return True

close_files_but(1)
lacking = enter(Limits(seconds=7, memory=1 << 28, scratch=1 << 20), [HIDDEN])
found = {
    "lacking": lacking,
    "reads what is hidden": can(lambda: open(HIDDEN + "/secret").read()),
    "reads the course": can(lambda: open(ROOT + "/README.md").read()),
    "reads Python": can(lambda: open(os.__file__).read()),
    "writes beside": can(lambda: open(BESIDE, "w").write("x")),
    "writes to the root": can(lambda: open("/mnist-lab-was-here", "w").write("x")),
    "writes": can(lambda: open("/tmp/a", "w").write("x" * 1000)),
    "writes much": can(lambda: open("/tmp/b", "w").write("x" * (1 << 22))),
    "takes memory": can(lambda: bytearray(1 << 30)),
    "sees others": can(lambda: os.kill(PARENT, 0)),
    "has a network": can(lambda: socket.create_connection(("127.0.0.1", PORT), 2)),
    "reads /run": can(lambda: os.listdir("/run")[0]),
    "reaches a socket": can(lambda: socket.socket(socket.AF_UNIX).connect(SOCKET)),
    "has a terminal": can(lambda: open("/dev/tty")),
    "keeps a pipe": can(lambda: os.fstat(PIPE)),
    "stops its group": can(lambda: os.killpg(GROUP, 0)),
    "is the first process": os.getpid() == 1,
    "is root": os.geteuid() == 0 and can(lambda: os.setuid(0) or os.chroot("/")),
    "seconds": resource.getrlimit(resource.RLIMIT_CPU),
}
os.write(1, json.dumps(found).encode())
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sandbox")
    (folder / "hidden").mkdir()
    (folder / "hidden" / "secret").write_text("a solution")
    reading, writing = os.pipe()
    with (
        tempfile.TemporaryDirectory(dir="/var/tmp") as sockets,
        socket.socket(socket.AF_UNIX) as unix,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        unix.bind(f"{sockets}/a")
        unix.listen()
        known = {
            "ROOT": str(ROOT), "HIDDEN": str(folder / "hidden"), "BESIDE": str(folder / "here"),
            "PARENT": os.getpid(), "GROUP": os.getpgid(0), "PORT": server.getsockname()[1],
            "PIPE": writing, "SOCKET": f"{sockets}/a",
        }  # fmt: skip
        given = "".join(f"{name} = {value!r}\n" for name, value in known.items())
        done = subprocess.run(
            [sys.executable, "-c", given + PROGRAM],
            capture_output=True,
            text=True,
            pass_fds=[writing],
        )
    os.close(reading)
    os.close(writing)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    if found["lacking"]:
        pytest.skip(f"this kernel does not let a process give up {found['lacking']}")
    assert not (folder / "here").exists()
    return found


@pytest.mark.parametrize("what", ["writes", "reads Python"])
def test_what_an_answer_needs_is_left(found, what):
    assert found[what]


@pytest.mark.parametrize(
    "what",
    ["reads what is hidden", "reads the course", "writes beside", "writes to the root",
     "writes much", "takes memory", "sees others", "has a network", "is root", "reads /run",
     "reaches a socket", "has a terminal", "keeps a pipe", "stops its group",
     "is the first process"],
)  # fmt: skip
def test_what_an_answer_does_not_need_is_gone(found, what):
    assert not found[what]


def test_its_time_is_limited(found):
    assert found["seconds"] == [8, 8]

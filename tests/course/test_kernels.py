"""Kernels side by side take nothing from each other; one that dies at its start is tried again."""

import json
import os
import sys

import nbformat
import zmq
from jupyter_client.manager import KernelManager
from nbformat.v4 import new_code_cell, new_notebook
from runners import posix

from mnist_lab.course import worker
from mnist_lab.course.kernels import kernel_config

DIES_AT_FIRST = """
import os, pathlib, runpy, sys
marker = pathlib.Path(os.environ["FIRST_START"])
if not marker.exists():
    marker.touch()
    sys.exit(1)
sys.argv[1:] = ["-f", sys.argv[1]]
runpy.run_module("ipykernel_launcher", run_name="__main__")
"""


@posix
def test_the_sockets_of_a_kernel_are_files_of_its_own(tmp_path):
    folders = [tmp_path / name for name in "ab"]
    managers = [KernelManager(config=kernel_config(folder)) for folder in folders]
    for manager, folder in zip(managers, folders):
        assert manager.transport == "ipc" and manager.ip == str(folder / "kernel")


def test_where_there_are_no_such_files_ports_are_those_of_the_process(tmp_path, monkeypatch):
    ports = []
    for number in (4_000, 4_001):
        monkeypatch.setattr(os, "getpid", lambda number=number: number)
        manager = KernelManager(config=kernel_config(tmp_path / ("a" * 200)))
        assert manager.transport == "tcp"
        ports += manager.ports
    assert len(set(ports)) == 10 and all(1024 < port < 49_152 for port in ports)
    monkeypatch.setattr(zmq, "has", lambda _: False)  # as on Windows
    assert KernelManager(config=kernel_config("a")).transport == "tcp"


@posix
def test_a_kernel_that_dies_before_its_first_cell_is_started_once_more(tmp_path, monkeypatch):
    kernel, target = tmp_path / "kernels" / "flaky", tmp_path / "out.ipynb"
    kernel.mkdir(parents=True)
    (tmp_path / "flaky.py").write_text(DIES_AT_FIRST)
    spec = {"argv": [sys.executable, str(tmp_path / "flaky.py"), "{connection_file}"],
            "display_name": "flaky", "language": "python",
            "env": {"FIRST_START": str(tmp_path / "started")}}  # fmt: skip
    (kernel / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    metadata = {"kernelspec": {"name": "flaky", "language": "python", "display_name": "flaky"}}
    source = nbformat.writes(new_notebook(cells=[new_code_cell("1 + 1")], metadata=metadata))
    answer = worker.execute_notebook(source, str(target), {}, None, str(tmp_path), None)
    assert answer == ("ok", "", {}) and (tmp_path / "started").exists()

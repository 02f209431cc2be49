"""Kernels that processes start side by side, without taking each other's ports.

A kernel's five TCP ports are chosen, given free and bound again by the kernel a moment later: two
processes that do so at once can come to the same, and one of the kernels dies. A socket that is a
file in a folder of its own cannot be taken.
"""

import os

import zmq
from traitlets.config import Config

CHANNELS = ("shell", "iopub", "stdin", "control", "hb")
FIRST_PORT, PROCESSES = 10_000, 7_000  # below those that systems hand out


def kernel_config(folder: str | os.PathLike) -> Config:
    """The configuration of a kernel manager for one kernel, whose sockets lie in `folder`.

    `NotebookClient(…, config=…)`, `KernelManager(config=…)` and papermill take it. Where sockets
    cannot be files, on Windows or below a long path, the kernel has TCP ports after the number of
    this process.
    """
    path = os.path.join(folder, "kernel")
    if zmq.has("ipc") and len(os.fsencode(path)) + len("-9") < zmq.IPC_PATH_MAX_LEN:
        return Config(KernelManager={"transport": "ipc", "ip": path})
    first = FIRST_PORT + len(CHANNELS) * (os.getpid() % PROCESSES)
    ports = {f"{channel}_port": first + number for number, channel in enumerate(CHANNELS)}
    return Config(KernelManager=ports)

"""A JupyterLab server of our own, with settings and folders that nobody else uses."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
START_SECONDS = 120
SETTINGS = {
    # Every cell is on the page, not only those that can be seen.
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/extensionmanager-extension/plugin": {"enabled": False},
}


@contextmanager
def serving(folder: Path, private: Path) -> Iterator[tuple[str, str]]:
    """Serve a copy of the repository in `folder`; yields the server's address and its token.

    The library is the one that lies there, the digits are the small ones, and what Jupyter writes
    about itself goes to the folder `private`. Raises `RuntimeError` if the server does not start.
    """
    address, token = f"http://127.0.0.1:{free_port()}", secrets.token_hex()
    write_settings(private / "settings")
    with (private / "server.log").open("w") as log:
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
                f"--ServerApp.port={address.split(':')[-1]}",
                "--ServerApp.port_retries=0",
                f"--ServerApp.root_dir={folder}",
                f"--IdentityProvider.token={token}",
            ],
            cwd=folder,
            env=environment(folder, private),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(server, address, token, private / "server.log")
        yield address, token
    finally:
        end(server)


def environment(folder: Path, private: Path) -> dict[str, str]:
    """The environment of a student's server, with nothing of the person who runs the test."""
    folders = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
        "MNIST_LAB_RECORDS": "records",
    }
    kept = {name: value for name, value in os.environ.items() if name != "MNIST_LAB_DATA"}
    return (
        kept
        | {name: str(private / folder) for name, folder in folders.items()}
        | {"MNIST_LAB_SOURCE": "digits", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder)}
    )


def write_settings(folder: Path) -> None:
    for plugin, settings in SETTINGS.items():
        file = folder / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings))


def end(server: subprocess.Popen) -> None:
    server.terminate()
    try:
        server.wait(timeout=20)
    except subprocess.TimeoutExpired:  # it waits for a kernel that is just starting
        server.kill()  # a kernel ends by itself when its server is gone
        server.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(server: subprocess.Popen, address: str, token: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            ask(address, token, "api/status")
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"JupyterLab did not start: {log.read_text()[-2000:]}")


def ask(address: str, token: str, path: str, method: str = "GET"):
    """What the server's REST interface answers."""
    request = urllib.request.Request(f"{address}/{path}", method=method)
    request.add_header("Authorization", f"token {token}")
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def end_kernels(address: str, token: str) -> None:
    for session in ask(address, token, "api/sessions"):
        ask(address, token, f"api/sessions/{session['id']}", "DELETE")

"""The commands that a student begins with, run as they are written, in an empty folder.

They stand in the README, and those for Windows in docs/batch.md. The last one opens JupyterLab:
once that answers, and has the first notebook, it is shut down. Cloned is this checkout, whatever
address is named. It needs only Python.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 40 * 60  # seconds, for an installation on a slow line
WINDOWS = sys.platform == "win32"


def commands() -> str:
    """The block for this system."""
    page, language = ("docs/batch.md", "powershell") if WINDOWS else ("README.md", "bash")
    text = (ROOT / page).read_text("utf-8")
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)
    return block


def main() -> None:
    block = commands()
    address = re.search(r"git clone (\S+)", block)[1]
    shell = ["powershell", "-Command"] if WINDOWS else ["bash", "-euc"]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        servers, settings = Path(folder, "servers"), Path(folder, "gitconfig")
        # A checkout may belong to another user than the one who tests it.
        settings.write_text(
            f'[url "{ROOT.as_uri()}"]\n\tinsteadOf = {address}\n[safe]\n\tdirectory = *\n', "utf-8"
        )
        here = {
            "GIT_CONFIG_GLOBAL": str(settings),
            "JUPYTER_RUNTIME_DIR": str(servers),
            "BROWSER": "true",  # opens nothing
        }
        for line in block.splitlines():
            print("$", line, flush=True)
        running = subprocess.Popen([*shell, block], cwd=folder, env=os.environ | here)
        try:
            wait_and_shut_down(running, servers)
            running.wait(timeout=60)
        finally:
            running.kill()
    print("JupyterLab has answered.")


def wait_and_shut_down(running: subprocess.Popen, servers: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for path in servers.glob("jpserver-*.json"):
            server = json.loads(path.read_text("utf-8") or "{}")
            if server and answers(server):
                return
        if running.poll() is not None:
            sys.exit(f"the commands ended with {running.returncode}, and JupyterLab never answered")
        time.sleep(1)
    sys.exit("JupyterLab has not answered in time")


def answers(server: dict) -> bool:
    """Whether the server, whose root is the first notebook's folder, has it; it ends then."""
    token = {"Authorization": f"token {server['token']}"}
    names = ("api/contents/00_start_here.ipynb?content=0", "api/shutdown")
    try:
        for name, method in zip(names, ("GET", "POST")):
            asked = urllib.request.Request(server["url"] + name, headers=token, method=method)
            urllib.request.urlopen(asked, timeout=30).close()
    except OSError:  # not yet
        return False
    return True


if __name__ == "__main__":
    main()

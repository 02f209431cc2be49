"""One notebook, executed by papermill in a process of its own.

papermill changes the folder that its whole process stands in, so notebooks that run side by side
need a process each; and whatever happens in it, the batch goes on. Its standard input is a lifeline
to the runner: when it ends, so does the worker, and its kernel with it.
"""

import json
import logging
import os
import sys
import threading
import time
from pathlib import Path

import papermill
import psutil
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

OK, FAILED, DIED, UNWRITABLE = "ok", "failed", "failed: the kernel died", "unwritable"
GRACE_SECONDS = 5  # how long papermill may take to see that its kernel is gone

orphaned = threading.Event()


def main() -> None:
    """Execute the task on the command line (`execute`'s arguments as JSON); print its answer."""
    logging.getLogger("papermill").addHandler(logging.NullHandler())  # the runner tells the user
    task = json.loads(sys.argv[1])
    threading.Thread(target=_follow_the_runner, args=(task["target"],), daemon=True).start()
    answer = execute(**task)
    print(json.dumps(answer))
    if orphaned.is_set() and answer[0] != OK:
        Path(task["target"]).unlink(missing_ok=True)


def execute(
    source: str, target: str, parameters: dict, folder: str, line: int | None
) -> tuple[str, str]:
    """Execute the notebook `source` into `target`: its status, and what went wrong.

    `folder`: where it stands meanwhile. `line`: its progress bar's, in the terminal; None for none.
    """
    bar = {"desc": Path(source).stem, "unit": "cell", "position": line}
    try:
        papermill.execute_notebook(
            source,
            target,
            parameters,
            cwd=folder,
            progress_bar=bar if line is not None else False,
            extra_arguments=["--log-level=CRITICAL"],  # the kernel's start and end are no news
        )
    except PapermillExecutionError as failure:
        cell = f"cell [{failure.exec_count}]:\n{failure.source}"
        return FAILED, f"{cell}\n\n{failure.ename}: {failure.evalue}"
    except DeadKernelError:
        return DIED, ""
    except Exception as error:  # a full disk; no kernel of that name, not a notebook, …
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            return UNWRITABLE, error.strerror or str(error)
        return FAILED, f"{type(error).__name__}: {error}"
    return OK, ""


def _follow_the_runner(target: str) -> None:
    """Wait until the runner is gone or lets go; then leave neither kernel nor half a notebook."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    orphaned.set()
    for child in psutil.Process().children(recursive=True):
        child.kill()
    time.sleep(GRACE_SECONDS)  # papermill notices, clears away its kernel's traces, and main ends
    Path(target).unlink(missing_ok=True)
    os._exit(1)


if __name__ == "__main__":
    main()

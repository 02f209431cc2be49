"""One task in a process of its own: a notebook, executed by papermill, or a function.

papermill changes the folder that its whole process stands in, so tasks that run side by side need a
process each; and whatever happens in it, the others go on. Its standard input is a lifeline to the
runner: when it ends, so does the worker, with all that it has started.
"""

import json
import logging
import os
import shutil
import sys
import threading
import time
import traceback
from importlib import import_module
from pathlib import Path

import psutil

OK, FAILED, DIED, UNWRITABLE = "ok", "failed", "died", "unwritable"
GRACE_SECONDS = 5  # how long papermill may take to see that its kernel is gone


def main() -> None:
    """Do the order in the file that the command line names; print how it ended, as JSON.

    That is the status, what went wrong and the key figures. An order holds the arguments of
    `execute_notebook` or of `call`, and the folders that a worker without a runner must remove.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what else is printed is no answer
    order, orphaned = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), threading.Event()
    folders, function = order.pop("folders"), order.pop("function")
    lifeline = threading.Thread(
        target=_follow_the_runner, args=(folders, 0 if function else GRACE_SECONDS, orphaned)
    )
    lifeline.daemon = True
    lifeline.start()
    answer = call(function, **order) if function else execute_notebook(**order)
    if orphaned.is_set():
        _remove(folders)
    print(json.dumps(answer), file=answers, flush=True)


def execute_notebook(
    source: str, target: str, arguments: dict, cwd: str | None, sockets: str, bar: dict | None
) -> tuple[str, str, dict]:
    """Execute a notebook, whose text `source` is, into the file `target`.

    `cwd`: the folder where it stands meanwhile. `sockets`: an empty folder for its kernel's.
    `bar`: tqdm's options for a bar of its cells.
    """
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    from mnist_lab.course.kernels import kernel_config
    from mnist_lab.course.notebooks import key_figures, last_cell, read_notebook

    def execute(config: Config) -> dict[str, str]:
        executed = papermill.execute_notebook(
            nbformat.reads(source, as_version=4),
            target,
            arguments,
            cwd=cwd,
            progress_bar=bar or False,
            config=config,
            extra_arguments=["--log-level=CRITICAL"],  # the kernel's start and end are no news
        )
        return key_figures(executed)

    logging.getLogger("papermill").addHandler(logging.NullHandler())  # the runner tells the user
    try:
        try:
            return OK, "", execute(kernel_config(sockets))
        except RuntimeError:  # a kernel that died, or did not answer; perhaps before its first cell
            if last_cell(read_notebook(Path(target))):
                raise
            return OK, "", execute(Config())  # once more, and with the usual sockets
    except PapermillExecutionError as failure:
        cell = f"cell [{failure.exec_count}]:\n{failure.source}"
        return FAILED, f"{cell}\n\n{failure.ename}: {failure.evalue}", {}
    except DeadKernelError:
        return DIED, "", {}
    except Exception as error:  # a full disk; no kernel of that name, not a notebook, …
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            return UNWRITABLE, error.strerror or str(error), {}
        return FAILED, f"{type(error).__name__}: {error}", {}


def call(function: str, target: str, arguments: dict, conditions: dict) -> tuple[str, str, dict]:
    """Write the `result` of a function ("module:name") and its `conditions` into `target`."""
    try:
        module, name = function.split(":")
        result = getattr(import_module(module), name)(**arguments)
        text = json.dumps({"conditions": conditions, "result": result})
    except Exception:
        return FAILED, f"{function}\n\n{traceback.format_exc()}", {}
    try:
        Path(target).write_text(text, encoding="utf-8")
    except OSError as error:
        return UNWRITABLE, error.strerror or str(error), {}
    return OK, "", {}


def _follow_the_runner(folders: list[str], patience: float, orphaned: threading.Event) -> None:
    """Wait until the runner is gone or lets go; then leave nothing running, and no half result."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    orphaned.set()
    for child in psutil.Process().children(recursive=True):
        child.kill()
    time.sleep(patience)  # papermill notices, clears away its kernel's traces, and main ends
    _remove(folders)
    os._exit(1)


def _remove(folders: list[str]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()

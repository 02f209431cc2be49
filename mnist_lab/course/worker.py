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
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import psutil

ORDER, ANSWER = "order.json", "answer.json"  # files of the folder that runner and worker share
OK, FAILED = "ok", "failed"
DEATH = (
    "It was killed from outside or by its own code. Where the memory ran out, --jobs 1 needs less "
    "of it at a time."
)


def main(folder: Path) -> None:
    """Do the order in this folder, and write there how it ended: status, error, key figures.

    An order holds the arguments of `call` or of `execute_notebook`.
    """
    asked = json.loads((folder / ORDER).read_text(encoding="utf-8"))
    threading.Thread(target=_follow_the_runner, args=[asked["folders"]], daemon=True).start()
    order, is_call = asked["order"], "function" in asked["order"]
    try:
        if is_call:
            answer = call(**order)
        else:
            answer = execute_notebook(**order, sockets=str(folder), bar=asked["bar"])
    except Exception as error:  # of a notebook: a full disk; no kernel of that name, …
        Path(order["target"]).unlink(missing_ok=True)  # it may be half
        said = traceback.format_exc() if is_call else f"{type(error).__name__}: {error}"
        answer = FAILED, said, {}
    (folder / ANSWER).write_text(json.dumps(answer), encoding="utf-8")


def call(function: str, target: str, arguments: dict, conditions: dict) -> tuple[str, str, dict]:
    """Write the `result` of a function ("module:name") and its `conditions` into `target`."""
    module, name = function.split(":")
    result = getattr(import_module(module), name)(**arguments)
    text = json.dumps({"conditions": conditions, "result": result})
    Path(target).write_text(text, encoding="utf-8")
    return OK, "", {}


def execute_notebook(
    source: str, target: str, arguments: dict, cwd: str, sockets: str, bar: dict | None
) -> tuple[str, str, dict]:
    """Execute a notebook, whose text `source` is, into the file `target`.

    `cwd`: the folder where it stands meanwhile. `sockets`: a folder for its kernel's. `bar`: tqdm's
    options for a bar of its cells.
    """
    import nbformat  # a function's worker needs none of these
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    from mnist_lab.course.kernels import kernel_config
    from mnist_lab.course.notebooks import key_figures, last_cell, read_notebook

    def execute(config: Config) -> tuple[str, str, dict]:
        executed = papermill.execute_notebook(
            nbformat.reads(source, as_version=4),
            target,
            arguments,
            cwd=cwd,
            progress_bar=bar or False,
            config=config,
            extra_arguments=["--log-level=CRITICAL"],  # the kernel's start and end are no news
        )
        return OK, "", key_figures(executed)

    logging.getLogger("papermill").addHandler(logging.NullHandler())  # the runner tells the user
    try:
        try:
            return execute(kernel_config(sockets))
        except RuntimeError:  # a kernel that died, or did not answer; perhaps before its first cell
            if last_cell(read_notebook(Path(target))):
                raise
            return execute(Config())  # once more, and with the usual sockets
    except PapermillExecutionError as failure:
        cell = f"cell [{failure.exec_count}]:\n{failure.source}"
        return FAILED, f"{cell}\n\n{failure.ename}: {failure.evalue}", {}
    except DeadKernelError:
        number, cell = last_cell(read_notebook(Path(target)))
        return "failed: the kernel died", f"cell [{number}]:\n{cell.source}\n\n{DEATH}", {}


def _follow_the_runner(folders: list[str]) -> None:
    """Wait until the runner is gone or lets go; then leave nothing running, and no half result."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            child.kill()
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""What a worker answers; how it dies with its runner is tested in test_execute.py."""

import nbformat
import papermill
import pytest
from nbclient.exceptions import DeadKernelError
from nbformat.v4 import new_code_cell, new_notebook

from mnist_lab.course import worker


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (DeadKernelError("Kernel died"), (worker.DIED, "")),
        (OSError(28, "No space left on device"), (worker.UNWRITABLE, "No space left on device")),
        (RuntimeError("no kernel"), (worker.FAILED, "RuntimeError: no kernel")),
        (FileNotFoundError("python"), (worker.FAILED, "FileNotFoundError: python")),
        (None, (worker.OK, "")),
    ],
)
def test_what_ends_a_notebook_is_told_apart(error, answer, tmp_path, monkeypatch):
    def end(*_, **__):
        if error:
            raise error

    monkeypatch.setattr(papermill, "execute_notebook", end)
    assert worker.execute("a.ipynb", str(tmp_path / "b.ipynb"), {}, ".", None) == answer


def test_a_target_that_cannot_be_written_and_a_kernel_that_is_not_there(tmp_path):
    for name in ("python3", "none"):
        spec = {"name": name, "display_name": "Python", "language": "python"}
        notebook = new_notebook(cells=[new_code_cell("1")], metadata={"kernelspec": spec})
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    source = str(tmp_path / "python3.ipynb")
    assert worker.execute(source, str(tmp_path), {}, ".", None) == (
        worker.UNWRITABLE,
        "Is a directory",
    )
    source = str(tmp_path / "none.ipynb")
    status, error = worker.execute(source, str(tmp_path / "b.ipynb"), {}, ".", None)
    assert (status, error.split(":")[0]) == (worker.FAILED, "NoSuchKernel")

"""How the notebooks are tested: which outputs are compared, in which kernels, in which order.

nbval compares a cell's output unless the cell is tagged `nbval-ignore-output`. Cells tagged `mnist`
print what is true for MNIST only: on the small digits they run, but are not compared. The notebooks
of solutions need no kernels: tests/test_solutions.py runs them in one process.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import jupyter_client
import nbformat
import nbval.kernel
import pytest
from nbval.plugin import IPyNbCell

from mnist_lab.course.kernels import kernel_config

ROOT = Path(__file__).parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
collect_ignore = ["notebooks/solutions"]
# The notebooks that take longest on the small digits: begun first, they leave no core idle.
LONGEST = ("10", "09", "07", "04", "08", "06", "05")


class KernelManager(jupyter_client.KernelManager):
    """A kernel for nbval whose ports no kernel of another process can take."""

    def __init__(self, **arguments):
        self._sockets = TemporaryDirectory(prefix="kernel-")
        super().__init__(config=kernel_config(self._sockets.name), **arguments)


def on_mnist() -> bool:
    """Whether this session's notebooks are asked to run on MNIST (`make test-mnist`)."""
    return os.environ.get("MNIST_LAB_SOURCE", "digits") == "mnist"


def printing_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The code cells whose stored output holds text that was printed."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and _prints(cell)]


def compared(cell: nbformat.NotebookNode) -> bool:
    """Whether this session compares the cell's output with the stored one."""
    tags = cell.metadata.get("tags", [])
    return "nbval-ignore-output" not in tags and ("mnist" not in tags or on_mnist())


def count_compared() -> tuple[int, int]:
    """How many printing cells of the course are compared, and how many there are."""
    notebooks = [nbformat.read(path, as_version=4) for path in NOTEBOOKS]
    cells = [cell for notebook in notebooks for cell in printing_cells(notebook)]
    return sum(map(compared, cells)), len(cells)


def _prints(cell: nbformat.NotebookNode) -> bool:
    return any(output.output_type == "stream" for output in cell.outputs)


def pytest_configure() -> None:
    # A test session never downloads: without a word about it, it runs on the small digits.
    os.environ.setdefault("MNIST_LAB_SOURCE", "digits")
    nbval.kernel.KernelManager = KernelManager


def pytest_report_header() -> str:
    name = "MNIST" if on_mnist() else "scikit-learn's small digits"
    same, total = count_compared()
    return (
        f"digits: {name}; of {total} printing notebook cells {same} are compared "
        f"({same / total:.0%}), {total - same} are not"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, IPyNbCell) and not compared(item.cell):
            item.options["check"] = False
    items.sort(key=_place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """A notebook goes to one process as a whole; tests are dealt out one by one."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0]
            return file if file.endswith(".ipynb") else nodeid

    return Scheduling(config, log)


def _place(item: pytest.Item) -> int:
    """The longest notebooks first, then the others, then the tests."""
    if not isinstance(item, IPyNbCell):
        return len(LONGEST) + 1
    number = item.path.name[:2]
    return LONGEST.index(number) if number in LONGEST else len(LONGEST)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """The tests' tensors are small: a second thread gains nothing, and loses to a busy machine."""
    import torch  # not above: notebooks are checked in kernels of their own, without it here

    torch.set_num_threads(1)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch):
    """100 training digits, 40 for validation and 20 to test: what every study takes for all."""
    from mnist_lab.data import Digits, load_data  # not above: see `one_thread`
    from mnist_lab.studies import measuring

    small = load_data("digits")
    parts = (small.train.first(100), small.validation.first(40), small.test.first(20))
    data = Digits("few digits", *parts)
    monkeypatch.setattr(measuring, "load_data", lambda: data)
    measuring.digits.cache_clear()
    yield data
    measuring.digits.cache_clear()

"""Papermill over the notebooks: the whole course in one batch, with what it cost.

Every notebook is executed into a folder of the run. The folder's `summary.json` is rewritten after
each notebook, so that an interrupted batch can be resumed.

Notebooks run side by side and share the cores: networks as small as these are trained sooner two
at a time with one thread each than one after the other with two. A notebook that measures time has
a cell tagged `alone`: it runs after the others, with every core to itself.
"""

import itertools
import json
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import nbformat
import papermill
import psutil
import torch
from joblib import Parallel, cpu_count, delayed
from papermill.exceptions import PapermillExecutionError

from mnist_lab.data import load_data
from mnist_lab.records import write_whole

POLL_SECONDS = 0.1
SUMMARY = "summary.json"


@dataclass
class Outcome:
    """What became of one notebook, on so many cores. `peak_mb`: its kernel's memory, 10⁶ bytes."""

    notebook: str
    status: str  # "ok" or "failed"
    seconds: float
    cores: int
    peak_mb: int
    digits: str
    figures: dict[str, str] = field(default_factory=dict)
    error: str = ""


def find_notebooks(folder: Path, names: Sequence[str] = ()) -> list[Path]:
    """The notebooks of the course in order; with names or their beginnings ("03"), those only.

    Raises `ValueError` for a name that fits none.
    """
    notebooks = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not notebooks:
        raise ValueError(f"there are no notebooks in {folder}.")
    for name in names:
        if not any(path.name.startswith(name) for path in notebooks):
            raise ValueError(f"no notebook begins with {name!r}; there are: {_names(notebooks)}.")
    return [path for path in notebooks if not names or path.name.startswith(tuple(names))]


def run_course(
    notebooks: Sequence[Path],
    folder: Path,
    dataset: str = "auto",
    parameters: dict | None = None,
    jobs: int = 2,
) -> list[Outcome]:
    """Execute notebooks into `folder`, `jobs` at a time, and return what became of each.

    Notebooks that `folder` already holds as finished are not run again. `parameters` override
    those of the notebooks that declare them. There are never more jobs than cores. Raises
    `ValueError` for a parameter that no notebook declares, and for less than one job.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be 1 or more, not {jobs}.")
    parameters = dict(parameters or {})
    declared = {path: papermill.inspect_notebook(str(path)) for path in notebooks}
    for name in parameters:
        if not any(name in names for names in declared.values()):
            raise ValueError(f"no notebook has a parameter {name!r}.")
    data = load_data(dataset)  # once for all: it may download, or explain why it cannot
    folder.mkdir(parents=True, exist_ok=True)
    outcomes = {outcome.notebook: outcome for outcome in load_outcomes(folder / SUMMARY)}
    tasks: dict[bool, list] = {False: [], True: []}
    for path in notebooks:
        if path.stem not in outcomes or outcomes[path.stem].status != "ok":
            given = {name: parameters[name] for name in declared[path] if name in parameters}
            tasks[_runs_alone(path)].append((path, folder, given, data.name))
    for outcome in itertools.chain(_execute(tasks[False], jobs), _execute(tasks[True], 1)):
        outcomes[outcome.notebook] = outcome
        rows = [asdict(outcomes[name]) for name in sorted(outcomes)]
        write_whole(folder / SUMMARY, json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    return [outcomes[path.stem] for path in notebooks]


def load_outcomes(path: Path) -> list[Outcome]:
    """The outcomes that an earlier run wrote into this file; none if there is no such file.

    Raises `ValueError` for a file that another version of the library wrote.
    """
    try:
        return [Outcome(**row) for row in json.loads(path.read_text())] if path.exists() else []
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is no summary that this version can read ({error}): delete it."
        ) from error


def _runs_alone(path: Path) -> bool:
    cells = nbformat.read(path, as_version=4).cells
    return any("alone" in cell.metadata.get("tags", []) for cell in cells)


def _execute(tasks: Sequence[tuple], jobs: int) -> Iterator[Outcome]:
    """`_run` for every task, `jobs` side by side; outcomes in the order in which they are ready."""
    workers = max(1, min(jobs, cpu_count(), len(tasks)))
    if workers > 1:  # the last are the longest: begun first, they leave no core idle at the end
        tasks = reversed(tasks)
    # joblib divides the cores among its workers; a single worker is this process, with all of them.
    parallel = Parallel(workers, return_as="generator_unordered", pre_dispatch=workers)
    yield from parallel(delayed(_run)(*task) for task in tasks)


def _run(path: Path, folder: Path, parameters: dict, digits: str) -> Outcome:
    target, partial = folder / path.name, folder / f".partial-{path.name}"
    # The kernel inherits these, and how many threads this process may use.
    os.environ["MNIST_LAB_SOURCE"] = "mnist" if digits == "MNIST" else "digits"
    os.environ["MNIST_LAB_RECORDS"] = str(folder.resolve() / "records")
    error, start = "", time.perf_counter()
    with _PeakMemory() as memory:
        try:
            papermill.execute_notebook(
                str(path),
                str(partial),
                parameters,
                cwd=str(path.parent),
                progress_bar={"desc": path.stem, "unit": "cell", "position": _line()},
                extra_arguments=["--log-level=ERROR"],  # the kernel's start is no news
            )
        except PapermillExecutionError as failure:
            error = (
                f"cell [{failure.exec_count}]:\n{failure.source}\n\n"
                f"{failure.ename}: {failure.evalue}"
            )
        except BaseException:
            partial.unlink(missing_ok=True)  # half a notebook is of no use to anyone
            raise
    os.replace(partial, target)
    seconds = time.perf_counter() - start
    figures = key_figures(target)
    status = "failed" if error else "ok"
    cores = torch.get_num_threads()
    return Outcome(path.stem, status, seconds, cores, memory.megabytes, digits, figures, error)


def _line() -> int:
    """Which line of the terminal is this worker's: LokyProcess-1 writes to the first."""
    number = multiprocessing.current_process().name.rpartition("-")[2]
    return int(number) - 1 if number.isdigit() else 0


def key_figures(notebook: Path) -> dict[str, str]:
    """What the cells tagged `key-figures` print: lines of `name: value`."""
    figures = {}
    for cell in nbformat.read(notebook, as_version=4).cells:
        if "key-figures" in cell.metadata.get("tags", []):
            for output in cell.outputs:
                lines = output.get("text", "").splitlines()
                figures |= dict(line.split(": ", 1) for line in lines if ": " in line)
    return figures


def summary_table(outcomes: Sequence[Outcome]) -> str:
    """The end of a batch as text: a row for each notebook, then the failures in full."""
    lines = [f"{'notebook':<40}{'status':<8}{'seconds':>8}{'peak MB':>9}  {'digits':<14}figures"]
    for row in outcomes:
        figures = "; ".join(f"{name}: {value}" for name, value in row.figures.items())
        lines.append(
            f"{row.notebook:<40}{row.status:<8}{row.seconds:>8.1f}{row.peak_mb:>9,}"
            f"  {row.digits:<14}{figures}"
        )
    lines += [f"\n{row.notebook} failed in {row.error}" for row in outcomes if row.error]
    return "\n".join(lines)


class _PeakMemory:
    """The most memory that the processes started meanwhile (the kernel) held together."""

    def __enter__(self) -> "_PeakMemory":
        self.megabytes, self._stop = 0, threading.Event()
        self._before = set(psutil.Process().children(recursive=True))
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join()

    def _poll(self) -> None:
        this = psutil.Process()
        while not self._stop.wait(POLL_SECONDS):
            total = 0
            for child in set(this.children(recursive=True)) - self._before:
                try:
                    total += child.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.megabytes = max(self.megabytes, round(total / 1e6))


def _names(notebooks: Sequence[Path]) -> str:
    return ", ".join(path.stem for path in notebooks)

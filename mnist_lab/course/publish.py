"""From a finished run to the repository: stored outputs, records, costs and tables.

What the notebooks and the README state as measured is written here, never by hand.
"""

import base64
import json
import re
import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path

import nbformat

from mnist_lab.bench.epochs import EPOCH, NETWORKS
from mnist_lab.bench.race import EXAMPLE_EPOCHS, epochs_to
from mnist_lab.course.execute import SUMMARY, Outcome, find_notebooks, load_outcomes
from mnist_lab.records import load_records, results_table, seed_interval, write_whole

COST = re.compile(r"^\*\*Cost:\*\*.*$", re.MULTILINE)
COSTS_FILE = "costs.json"


def publish(run: Path, root: Path) -> None:
    """Take over a whole run on MNIST with the stored parameters, or raise `ValueError`.

    Nothing is written unless everything can be.
    """
    outcomes = {outcome.notebook: outcome for outcome in load_outcomes(run / SUMMARY)}
    executed = {}
    for path in find_notebooks(root / "notebooks"):
        outcome = outcomes.get(path.stem)
        if outcome is None or outcome.status != "ok" or outcome.digits != "MNIST":
            raise ValueError(f"{run} holds no finished run of {path.stem} on MNIST.")
        executed[path] = _clean(nbformat.read(run / path.name, as_version=4), outcome)
    for path, notebook in executed.items():
        write_whole(path, nbformat.writes(notebook) + "\n")
    records = root / "notebooks" / "records"
    records.mkdir(exist_ok=True)
    for record in (run / "records").glob("*.json"):
        shutil.copy(record, records)
    shutil.copy(run / SUMMARY, records / COSTS_FILE)
    _take_picture(root)
    refresh_readme(root)


def _take_picture(root: Path) -> None:
    """The README's picture: that of the notebook cell tagged `readme-picture`."""
    for path in find_notebooks(root / "notebooks"):
        for cell in nbformat.read(path, as_version=4).cells:
            if "readme-picture" in cell.metadata.get("tags", []):
                png = base64.b64decode(cell.outputs[0].data["image/png"])
                (root / "notebooks" / "records" / "picture.png").write_bytes(png)


def newest_run(root: Path) -> Path:
    """The latest folder of `runs/` that holds a summary. Raises `ValueError` if there is none."""
    runs = sorted((root / "runs").glob(f"*/{SUMMARY}"))
    if not runs:
        raise ValueError(f"there is no run in {root / 'runs'}: execute the course first.")
    return runs[-1].parent


def _clean(notebook: nbformat.NotebookNode, outcome: Outcome) -> nbformat.NotebookNode:
    """The executed notebook without papermill's traces, its measured cost written in."""
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            raise ValueError(f"{outcome.notebook} was run with other parameters than the stored.")
    notebook.cells[0].source = COST.sub(cost_line(outcome), notebook.cells[0].source)
    return notebook


def cost_line(outcome: Outcome) -> str:
    """The line at the top of a notebook that says what it costs."""
    return (
        f"**Cost:** about {_duration(outcome.seconds)} and {outcome.peak_mb:,} MB of memory on "
        f"{_cores(outcome)}, measured with MNIST."
    )


def refresh_readme(root: Path) -> None:
    """Write the README's tables anew from the records and the costs."""
    path, records = root / "README.md", root / "notebooks" / "records"
    text = path.read_text(encoding="utf-8")
    tables = {
        "notebooks": notebook_table(load_outcomes(records / COSTS_FILE)),
        "results": results_table(load_records(records)),
        "speed": speed_table(records / "speed"),
    }
    for name, table in tables.items():
        text = re.sub(
            rf"(<!-- {name} -->\n).*?(\n<!-- end -->)",
            lambda match, table=table: match[1] + table + match[2],
            text,
            flags=re.DOTALL,
        )
    write_whole(path, text)


def notebook_table(outcomes: Sequence[Outcome]) -> str:
    """A Markdown table: a row for each notebook, with its measured cost."""
    rows = ["| notebook | time | on | memory |", "|---|---|---|---|"]
    for row in outcomes:
        title = row.notebook.replace("_", " ")
        link = f"[{title}](notebooks/{row.notebook}.ipynb)"
        rows.append(f"| {link} | {_duration(row.seconds)} | {_cores(row)} | {row.peak_mb:,} MB |")
    return "\n".join(rows)


def speed_table(folder: Path) -> str:
    """A Markdown table of the records that `bench`, `compare` and `race` left in `folder`."""
    rows = ["| | the usual way | here | ratio |", "|---|---|---|---|"]
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text())
        for network in NETWORKS:
            if network in record:
                rows.append(_epoch_row(network, record))
        if "validation" in record:
            rows.append(_accuracy_row(record))
        rows += [_race_row(sprint, record.get("example")) for sprint in record.get("sprints", ())]
    return "\n".join(rows)


def _epoch_row(network: str, record: dict) -> str:
    seconds = record[network]["seconds_per_epoch"]
    scaled = ", scaled" if record[network]["digits_per_epoch"] < EPOCH else ""
    slow, fast = (statistics.median(seconds[way]) for way in ("textbook", "fit"))
    ratios = [a / b for a, b in zip(seconds["textbook"], seconds["fit"])]
    return (
        f"| seconds per epoch, {NETWORKS[network][0].__name__}, {record['precision']}, "
        f"{record['threads']} threads{scaled} | {slow:.1f} | {fast:.1f} "
        f"| {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}) |"
    )


def _accuracy_row(record: dict) -> str:
    ways = [record["validation"][way] for way in ("textbook", "fit")]
    slow, fast = map(statistics.mean, ways)
    differences = [100 * (b - a) for a, b in zip(*ways)]
    low, high = seed_interval(differences)
    return (
        f"| validation accuracy, {record['network']}, {record['precision']}, "
        f"{record['num_epochs']} epochs, {len(differences)} paired seeds | {slow:.2%} | {fast:.2%} "
        f"| {statistics.mean(differences):+.3f} points [{low:+.3f}, {high:+.3f}] |"
    )


def _race_row(sprint: dict, example: list[list[float]] | None) -> str:
    """Against the example's whole schedule, and the epochs after which it is as good itself."""
    whole = statistics.median(sprint["example_seconds"])
    low, high = seed_interval(sprint["test"])
    slow, ratio = f"{whole:,.0f} (its 14 epochs)", f"{sprint['ratio']:.0f}"
    first = epochs_to(sprint["goal"], example) if example else None
    if first:
        slow += f", {whole * first / EXAMPLE_EPOCHS:,.0f} (a mean of {sprint['goal']:.0%})"
        ratio += f", {sprint['ratio'] * first / EXAMPLE_EPOCHS:.0f}"
    return (
        f"| PyTorch's example against StridedNet, {sprint['precision']}: test "
        f"{statistics.mean(sprint['test']):.2%} [{low:.2%}, {high:.2%}], {sprint['seeds']} seeds, "
        f"goal {sprint['goal']:.1%} | {slow} | {statistics.median(sprint['seconds']):.1f} "
        f"| {ratio} |"
    )


def _cores(outcome: Outcome) -> str:
    return "1 core" if outcome.cores == 1 else f"{outcome.cores} cores"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"

"""From a finished run to the repository: stored outputs, records, costs, tables and weights.

What the notebooks and the README state as measured is written here, never by hand.
"""

import base64
import json
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from nbformat import NotebookNode, writes

from mnist_lab.bench.epochs import EPOCH
from mnist_lab.bench.race import EXAMPLE_EPOCHS, epochs_to
from mnist_lab.course.card import card
from mnist_lab.course.execute import SUMMARY, Outcome, load_outcomes, summary_text
from mnist_lab.course.source import (
    COST,
    find_notebooks,
    has_tag,
    read,
    same_source,
    without_traces,
)
from mnist_lab.files import write_all
from mnist_lab.intervals import seed_interval
from mnist_lab.pretrained import NETWORKS, load_weights, published_kind, read_weights
from mnist_lab.records import RECORDS, check_record, kind_of_run, results_table

COSTS_FILE = "costs.json"
STUDIES = ("ablate", "strangers")  # that notebook 07 reads


def publish(run: Path, root: Path) -> None:
    """Take over a whole run on MNIST of the stored notebooks with their stored parameters.

    Raises `ValueError` for any other run, for a notebook that was edited since, for what is missing
    and for what cannot be written. Nothing is written unless everything can be.
    """
    outcomes = {outcome.notebook: outcome for outcome in load_outcomes(run / SUMMARY)}
    executed = {}
    for path in find_notebooks(root / "notebooks"):
        outcome = outcomes.get(path.stem)
        if outcome is None or outcome.status != "ok" or outcome.digits != "MNIST":
            raise ValueError(f"{run} holds no finished run of {path.stem} on MNIST.")
        executed[path] = _taken_over(run / path.name, path, outcome)
    records, rows = root / "notebooks" / "records", [outcomes[path.stem] for path in executed]
    tables = {"notebooks": notebook_table(rows), "speed": speed_table(records / "speed")}
    write_all(
        {path: writes(notebook) + "\n" for path, notebook in executed.items()}
        | {records / COSTS_FILE: summary_text(rows)}
        | {records / "picture.png": _picture(list(executed.values()))}
        | {root / "README.md": _with_tables(root / "README.md", tables)}
    )


def publish_records(sweep: Path, root: Path) -> None:
    """Take over the records that `sweep` has left; the results follow from them.

    That is, those in fp32, and not those on the small digits, which are for trying out. A record of
    a run that was published before is replaced, and so are the studies by newer ones. The
    pretrained networks follow too, see `pretrained_files`. Raises `ValueError` for a damaged record
    or weights, for no record at all, and for what cannot be written; then nothing is.
    """
    records, new, kept = root / "notebooks" / "records", {}, {}
    for path in sorted(sweep.glob(f"[!.]*/{RECORDS}")):
        check_record(path)
        record = json.loads(_text(path))
        if record["digits"] != "small digits" and record["precision"] == "fp32":
            new[path.name], kept[path.name] = record, path.with_suffix(".safetensors")
    if not new:
        raise ValueError(f"there is no record of MNIST's size in fp32 in {sweep}: sweep first.")
    old = {path.name: json.loads(_text(path)) for path in records.glob(RECORDS)}
    together = dict(sorted((old | new).items()))
    table = results_table(list(together.values()))
    write_all(
        {records / name: json.dumps(record, indent=1) + "\n" for name, record in new.items()}
        | {records / f"{kind}.json": text for kind, text in _newest_studies(root).items()}
        | pretrained_files(root / "mnist_lab" / "weights", kept, together)
        | {root / "README.md": _with_tables(root / "README.md", {"results": table})}
    )


def _newest_studies(root: Path) -> dict[str, str]:
    """What `ablate` and `strangers` measured last on MNIST, one line for each of their runs."""
    texts = {}
    for kind in STUDIES:
        for path in sorted((root / "runs" / kind).glob("*.json")):
            record = json.loads(_text(path))
            if record["digits"] == "MNIST":
                lines = ",\n".join(json.dumps(run) for run in record["runs"])
                texts[kind] = f'{{"digits": "MNIST", "runs": [\n{lines}\n]}}\n'
    return texts


def pretrained_files(
    folder: Path, kept: Mapping[str, Path], records: Mapping[str, dict]
) -> dict[Path, str | bytes]:
    """What belongs in `folder`: the weights of each pretrained network, and its model card.

    `records`, by their file names: all that are published. `kept`: where runs may have left their
    weights, by the names of their records; those in `folder` stay where a run has left none. A
    network without any is left out. Raises `ValueError` for weights that are not of its run.
    """
    files = {}
    for name in NETWORKS:
        kind, target = published_kind(name), folder / f"{name}.safetensors"
        runs = {file: record for file, record in records.items() if kind_of_run(record) == kind}
        first = next((file for file, record in runs.items() if record["seed"] == 0), None)
        weights = kept.get(first, target)
        if not weights.exists():
            weights = target
        if weights.exists():
            load_weights(name, weights)
            _, source = read_weights(weights)
            if first is None or source != first:
                raise ValueError(
                    f"{weights} must be from seed 0 of the published {name} recipe, not from "
                    f"{source or 'an unnamed run'}: sweep again."
                )
            files[target] = weights.read_bytes()
            files[target.with_suffix(".md")] = card(name, first, runs)
    return files


def _taken_over(copy: Path, stored: Path, outcome: Outcome) -> NotebookNode:
    """The executed notebook without papermill's traces, its measured cost written in."""
    notebook = without_traces(read(copy))
    if any(has_tag(cell, "injected-parameters") for cell in notebook.cells):
        raise ValueError(f"{copy} was run with other parameters than the stored.")
    if not same_source(notebook, read(stored)):
        raise ValueError(
            f"{stored} differs from {copy} in more than outputs: execute it as it is now, with "
            f"python -m mnist_lab run --resume {copy.parent}"
        )
    notebook.cells[0].source = COST.sub(cost_line(outcome), notebook.cells[0].source)
    return notebook


def _picture(notebooks: Sequence[NotebookNode]) -> bytes:
    """The README's picture: that of the notebook cell tagged `readme-picture`."""
    for notebook in notebooks:
        for cell in notebook.cells:
            if has_tag(cell, "readme-picture"):
                for output in cell.outputs:
                    if "image/png" in output.get("data", {}):
                        return base64.b64decode(output.data["image/png"])
    raise ValueError("no cell tagged readme-picture has made a picture: the README needs one.")


def _with_tables(readme: Path, tables: Mapping[str, str]) -> str:
    """The README's text, each table between its marks made anew."""
    text = _text(readme)
    for name, table in tables.items():
        marks = rf"(<!-- {name} -->\n).*?(\n<!-- end -->)"
        text, count = re.subn(
            marks, lambda match, table=table: match[1] + table + match[2], text, flags=re.DOTALL
        )
        if count != 1:
            raise ValueError(f"{readme} needs one <!-- {name} --> and its <!-- end -->: {count}.")
    return text


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}).") from error


def newest_run(root: Path) -> Path:
    """The latest folder of `runs/` that holds a summary. Raises `ValueError` if there is none."""
    runs = sorted((root / "runs").glob(f"*/{SUMMARY}"))
    if not runs:
        raise ValueError(f"there is no run in {root / 'runs'}: execute the course first.")
    return runs[-1].parent


def cost_line(outcome: Outcome) -> str:
    """The line at the top of a notebook that says what it costs."""
    return (
        f"**Cost:** about {_duration(outcome.seconds)} and {outcome.peak_mb:,} MB of memory on "
        f"{_cores(outcome)}, measured with MNIST."
    )


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
                rows.append((_busy_row if "chosen" in record else _epoch_row)(network, record))
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
        f"threads: {record['threads']}, {record['processor']}{scaled} | {slow:.1f} | {fast:.1f} "
        f"| {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}) |"
    )


def _busy_row(network: str, record: dict) -> str:
    """A thread for every core, against as many as `fit` chooses."""
    (alone_all, busy_all), (alone, busy) = (
        [1000 * statistics.median(record[network][str(number)][situation])
         for situation in ("alone", "busy")]
        for number in (record["cores"], record["chosen"])
    )  # fmt: skip
    return (
        f"| milliseconds per step beside a busy process (alone), {NETWORKS[network][0].__name__}, "
        f"{record['precision']}, {record['processor']} | {busy_all:.0f} ({alone_all:.0f}), "
        f"threads: {record['cores']} | {busy:.0f} ({alone:.0f}), threads: {record['chosen']} "
        f"| {busy_all / busy:.1f} |"
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
        seconds = f"{whole * first / EXAMPLE_EPOCHS:,.0f}"
        slow += f", {seconds} (a mean of {sprint['goal']:.0%} over {len(example)} seeds)"
        ratio += f", {sprint['ratio'] * first / EXAMPLE_EPOCHS:.0f}"
    elif example:
        seen = f"the {len(example[0])} epochs that were seen"
        slow += f"; it was never seen to reach {sprint['goal']:.1%}, in {seen}"
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

"""The README's tables: what the notebooks cost, what the trainings came to, how fast they are."""

import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from mnist_lab.course.execute import Outcome
from mnist_lab.data import load_writers
from mnist_lab.recipes import NETWORKS
from mnist_lab.records import correct_answers, kind_of_run
from mnist_lab.statistics import seed_interval, writer_interval
from mnist_lab.studies.epoch_time import EPOCH
from mnist_lab.studies.time_to_accuracy import EXAMPLE_EPOCHS, epochs_to


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


def results_table(records: list[dict]) -> str:
    """A Markdown table: one row for each kind of run, its seeds taken together.

    The intervals are of the test accuracy: Wilson's for a single seed, Student's over several; and
    the bootstrap over writers, where they are known.
    """
    rows = [
        "| network | parameters | trained on | precision | epochs | seeds | validation | test "
        "| 95 %, seeds | 95 %, writers |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[str, list[dict]] = {}
    for record in records:
        groups.setdefault(kind_of_run(record), []).append(record)
    for runs in groups.values():
        first = runs[0]
        validation = statistics.mean(run["validation_accuracy"][-1] for run in runs)
        test = [run["test"]["correct"] / run["test"]["total"] for run in runs]
        low, high = runs[0]["test"]["interval"] if len(runs) == 1 else seed_interval(test)
        rows.append(
            f"| {first['network']} | {first['parameters']:,} | {_trained_on(first)} "
            f"| {first['precision']} | {first['recipe']['num_epochs']} | {len(runs)} "
            f"| {'none' if first['split']['name'] == 'as published' else f'{validation:.2%}'} "
            f"| {statistics.mean(test):.2%} "
            f"| {low:.2%} to {high:.2%} | {_over_writers(runs)} |"
        )
    return "\n".join(rows)


def _trained_on(record: dict) -> str:
    split = record["split"]
    how = "" if split["name"] == "random" else f", {split['name']}"
    return f"{split['train']:,} of {record['digits']}{how}"


def _over_writers(runs: list[dict]) -> str:
    if any(run["digits"] != "MNIST" or "wrong" not in run["test"] for run in runs):
        return "unknown"
    writers, _ = load_writers(train=False)
    right = correct_answers(runs)
    # The answers to a writer's digits, of all seeds, are one writer's.
    low, high = writer_interval(right.flatten(), writers.repeat(len(runs)))
    return f"{low:.2%} to {high:.2%}"


def speed_tables(folder: Path) -> str:
    """Markdown tables of the records that `bench`, `compare` and `race` left in `folder`."""
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    tables = (
        ("seconds per epoch | the usual way | here | times faster", _epoch_rows),
        ("milliseconds per step | every core, alone | every core, beside other work "
         "| here, alone | here, beside other work", _busy_rows),
        ("validation accuracy | the usual way | here | difference, points", _accuracy_rows),
        ("seconds to the goal | PyTorch's example, its 14 epochs | PyTorch's example, to the goal "
         "| StridedNet | times faster (to the goal)", _race_rows),
    )  # fmt: skip
    return "\n\n".join(filter(None, (_table(head, rows, records) for head, rows in tables)))


def _table(head: str, rows: Callable, records: Sequence[dict]) -> str:
    found = [row for record in records for row in rows(record)]
    line = "|---" * (head.count("|") + 1) + "|"
    return "\n".join([f"| {head} |", line, *found]) if found else ""


def _networks(record: dict) -> list[str]:
    return [network for network in NETWORKS if network in record]


def _epoch_rows(record: dict):
    for network in _networks(record) if "chosen" not in record else ():
        seconds = record[network]["seconds_per_epoch"]
        scaled = ", scaled" if record[network]["digits_per_epoch"] < EPOCH else ""
        slow, fast = (statistics.median(seconds[way]) for way in ("textbook", "fit"))
        ratios = [a / b for a, b in zip(seconds["textbook"], seconds["fit"])]
        yield (
            f"| {NETWORKS[network].network.__name__}, {record['precision']}, threads: "
            f"{record['threads']}, {record['processor']}{scaled} | {slow:.1f} | {fast:.1f} "
            f"| {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}) |"
        )


def _busy_rows(record: dict):
    """A thread for every core, against as many as `fit` chooses."""
    for network in _networks(record) if "chosen" in record else ():
        medians = [
            f"{1000 * statistics.median(record[network][str(number)][situation]):.0f}"
            for number in (record["cores"], record["chosen"])
            for situation in ("alone", "busy")
        ]
        yield (
            f"| {NETWORKS[network].network.__name__}, {record['precision']}, threads: "
            f"{record['cores']} or {record['chosen']}, {record['processor']} | "
            f"{' | '.join(medians)} |"
        )


def _accuracy_rows(record: dict):
    if "validation" in record:
        ways = [record["validation"][way] for way in ("textbook", "fit")]
        slow, fast = map(statistics.mean, ways)
        differences = [100 * (b - a) for a, b in zip(*ways)]
        low, high = seed_interval(differences)
        yield (
            f"| {record['network']}, {record['precision']}, {record['num_epochs']} epochs, "
            f"{len(differences)} paired seeds | {slow:.2%} | {fast:.2%} "
            f"| {statistics.mean(differences):+.3f} [{low:+.3f}, {high:+.3f}] |"
        )


def _race_rows(record: dict):
    """Against the example's whole schedule, and the epochs after which it is as good itself."""
    example = record.get("example")
    for sprint in record.get("sprints", ()):
        whole = statistics.median(sprint["example_seconds"])
        low, high = seed_interval(sprint["test"])
        first = epochs_to(sprint["goal"], example) if example else None
        until = f"not in the {len(example[0])} epochs that were seen" if example else "not measured"
        ratio = f"{sprint['ratio']:.0f}"
        if first:
            until = f"{whole * first / EXAMPLE_EPOCHS:,.0f} (mean of {len(example)} seeds)"
            ratio += f" ({sprint['ratio'] * first / EXAMPLE_EPOCHS:.0f})"
        yield (
            f"| {sprint['goal']:.1%} of the test digits, {sprint['precision']}; reached: "
            f"{statistics.mean(sprint['test']):.2%} [{low:.2%}, {high:.2%}], {sprint['seeds']} "
            f"seeds | {whole:,.0f} | {until} | {statistics.median(sprint['seconds']):.1f} "
            f"| {ratio} |"
        )


def _cores(outcome: Outcome) -> str:
    return "1 core" if outcome.cores == 1 else f"{outcome.cores} cores"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"

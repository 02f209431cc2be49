"""The tables in docs/: what the notebooks cost, what the trainings came to, how fast they are.

A row is a dictionary of its cells by the headings of their columns: a new column is a new entry. In
each column there is one unit.
"""

import statistics
from collections.abc import Iterable, Mapping

from mnist_lab.course.outcomes import Outcome
from mnist_lab.data import load_writers
from mnist_lab.records import correct_answers, kind_of_run
from mnist_lab.statistics import seed_interval, writer_interval
from mnist_lab.studies.epoch_time import EPOCH, ratios
from mnist_lab.studies.fit_accuracy import by_network, differences, paired
from mnist_lab.studies.time_to_accuracy import (
    EXAMPLE_EPOCHS,
    epochs_to,
    example_of,
    ratio,
    to_goal,
)


def table(rows: Iterable[Mapping[str, str]]) -> str:
    """A Markdown table of rows with the same columns, or nothing if there are none."""
    rows = list(rows)
    if not rows:
        return ""
    head, *lines = (f"| {' | '.join(cells)} |" for cells in [rows[0], *(r.values() for r in rows)])
    return "\n".join([head, "|---" * len(rows[0]) + "|", *lines])


def cost_line(outcome: Outcome) -> str:
    """The line at the top of a notebook that says what it costs."""
    time, cores, memory = _costs(outcome)
    return f"**Cost:** about {time} and {memory} of memory on {cores}, measured with MNIST."


def notebook_table(outcomes: Iterable[Outcome], minutes: Mapping[str, int]) -> str:
    """A row for each notebook: what a person needs for it, and its measured cost."""
    rows = []
    for outcome in outcomes:
        name = outcome.notebook
        time, cores, memory = _costs(outcome)
        link = f"[{name.replace('_', ' ')}](../notebooks/{name}.ipynb)"
        person = f"{minutes[name]} minutes"
        costs = {"the computer": time, "on": cores, "memory": memory}
        rows.append({"notebook": link, "you": person, **costs})
    return table(rows)


def _costs(outcome: Outcome) -> tuple[str, str, str]:
    """Time, cores and memory in words."""
    seconds = outcome.seconds
    time = f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"
    cores = "1 core" if outcome.cores == 1 else f"{outcome.cores} cores"
    return time, cores, f"{outcome.peak_mb:,} MB"


def results_table(records: Iterable[dict]) -> str:
    """A row for each kind of training, its seeds taken together.

    The intervals are of the test accuracy: Wilson's for a single seed, Student's over several; and
    the bootstrap over writers, where they are known.
    """
    kinds: dict[str, list[dict]] = {}
    for record in records:
        kinds.setdefault(kind_of_run(record), []).append(record)
    return table(map(_result, kinds.values()))


def _result(runs: list[dict]) -> dict[str, str]:
    """A row of records that differ in nothing but their seeds."""
    run, split = runs[0], runs[0]["split"]
    how = "" if split["name"] == "random" else f", {split['name']}"
    validation = statistics.mean(run["validation_accuracy"][-1] for run in runs)
    test = [run["test"]["correct"] / run["test"]["total"] for run in runs]
    low, high = run["test"]["interval"] if len(runs) == 1 else seed_interval(test)
    return {
        "network": run["network"],
        "parameters": f"{run['parameters']:,}",
        "trained on": f"{split['train']:,} of {run['digits']}{how}",
        "precision": run["precision"],
        "epochs": f"{run['recipe']['num_epochs']}",
        "minutes": f"{statistics.median(sum(r['seconds_per_epoch']) for r in runs) / 60:.0f}",
        "seeds": f"{len(runs)}",
        "validation": "none" if split["name"] in ("as published", "all") else f"{validation:.2%}",
        "test": f"{statistics.mean(test):.2%}",
        "95 %, seeds": f"{low:.2%} to {high:.2%}",
        "95 %, writers": _over_writers(runs),
    }


def _over_writers(runs: list[dict]) -> str:
    if any(run["digits"] != "MNIST" or "wrong" not in run["test"] for run in runs):
        return "unknown"
    writers, _ = load_writers(train=False)
    # The answers to a writer's digits, of all seeds, are one writer's.
    low, high = writer_interval(correct_answers(runs).flatten(), writers.repeat(len(runs)))
    return f"{low:.2%} to {high:.2%}"


def speed_tables(studies: Iterable[Mapping]) -> str:
    """A table for each kind of study in `SPEED`, of their records; other kinds have none."""
    studies = list(studies)
    tables = (
        table(row for study in studies if study["kind"] == kind for row in rows(study["runs"]))
        for kind, rows in SPEED.items()
    )
    return "\n\n".join(filter(None, tables))


def _epochs(runs: list[dict]) -> Iterable[dict[str, str]]:
    """A row for each network."""
    for run in runs:
        seconds, times = run["seconds_per_epoch"], ratios(run["seconds_per_epoch"])
        reach = f"({min(times):.1f} to {max(times):.1f})"
        scaled = ", scaled" if run["digits_per_epoch"] < EPOCH else ""
        yield {
            "seconds per epoch": _setting(run, run["threads"]) + scaled,
            "the usual way": f"{statistics.median(seconds['textbook']):.1f}",
            "here": f"{statistics.median(seconds['fit']):.1f}",
            "times faster": f"{statistics.median(times):.1f} {reach}",
        }


def _steps(runs: list[dict]) -> Iterable[dict[str, str]]:
    """A row for each network; "here" with as many threads as `fit` chooses."""
    for run in runs:
        yield {"milliseconds per step": _setting(run, f"{run['cores']} or {run['chosen']}")} | {
            f"{who}, {where}": f"{1000 * statistics.median(run['seconds'][str(threads)][key]):.0f}"
            for who, threads in (("every core", run["cores"]), ("here", run["chosen"]))
            for where, key in (("alone", "alone"), ("beside other work", "busy"))
        }


def _setting(run: dict, threads: int | str) -> str:
    return f"{run['network']}, {run['precision']}, threads: {threads}, {run['processor']}"


def _accuracies(runs: list[dict]) -> Iterable[dict[str, str]]:
    """A row for each network."""
    for of_one in by_network(runs):
        fit = next(run for run in of_one if run["way"] == "fit")
        usual, here = map(statistics.mean, zip(*paired(of_one).values()))
        setting = f"{fit['network']}, {fit['precision']}, {fit['num_epochs']} epochs"
        low, high = seed_interval(differences(of_one))
        difference = statistics.mean(differences(of_one))
        yield {
            "validation accuracy": f"{setting}, {len(paired(of_one))} paired seeds",
            "the usual way": f"{usual:.2%}",
            "here": f"{here:.2%}",
            "difference, points": f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]",
        }


def _goals(runs: list[dict]) -> Iterable[dict[str, str]]:
    """A row for each goal: ours, and PyTorch's example to its end and to the goal."""
    example = example_of(runs)
    for goal in dict.fromkeys(run["goal"] for run in runs if "goal" in run):
        ours = to_goal(goal, runs)
        test = [run["test"] for run in ours]
        low, high = seed_interval(test)
        reached = f"{statistics.mean(test):.2%} [{low:.2%}, {high:.2%}], {len(ours)} seeds"
        seconds = statistics.median(run["example_seconds"] for run in ours)
        times, first = f"{ratio(ours):.0f}", epochs_to(goal, example)
        if first:  # the epochs after which the example is as good itself
            to_the_goal = f"{seconds * first / EXAMPLE_EPOCHS:,.0f} (mean of {len(example)} seeds)"
            times += f" ({ratio(ours) * first / EXAMPLE_EPOCHS:.0f})"
        elif example:
            to_the_goal = f"not in the {len(example[0])} epochs that were seen"
        else:
            to_the_goal = "not measured"
        yield {
            "seconds to the goal": f"{goal:.1%} of the test digits, {ours[0]['precision']}; "
            f"reached: {reached}",
            "PyTorch's example, its 14 epochs": f"{seconds:,.0f}",
            "PyTorch's example, to the goal": to_the_goal,
            "StridedNet": f"{statistics.median(run['seconds'] for run in ours):.1f}",
            "times faster (to the goal)": times,
        }


SPEED = {  # for each kind of study the rows that its runs make
    "epoch_time": _epochs,
    "contention": _steps,
    "fit_accuracy": _accuracies,
    "time_to_accuracy": _goals,
}

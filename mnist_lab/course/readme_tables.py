"""The README's tables: what the notebooks cost, what the trainings came to, how fast they are.

A table is a dictionary of its columns: the heading, and what makes a cell of a row. A new column is
a new entry. In each column there is one unit.
"""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

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

Columns = Mapping[str, Callable[..., str]]


def table(columns: Columns, rows: Sequence) -> str:
    """A Markdown table, or nothing if there are no rows."""
    if not rows:
        return ""
    lines = [columns, *([cell(row) for cell in columns.values()] for row in rows)]
    head, *rest = (f"| {' | '.join(cells)} |" for cells in lines)
    return "\n".join([head, "|---" * len(columns) + "|", *rest])


# What the notebooks cost: a row is an `Outcome`.


def cost_line(outcome: Outcome) -> str:
    """The line at the top of a notebook that says what it costs."""
    return (
        f"**Cost:** about {_duration(outcome.seconds)} and {outcome.peak_mb:,} MB of memory on "
        f"{_cores(outcome)}, measured with MNIST."
    )


def notebook_table(outcomes: Sequence[Outcome]) -> str:
    """A row for each notebook, with its measured cost."""
    return table(NOTEBOOKS, outcomes)


def _link(outcome: Outcome) -> str:
    return f"[{outcome.notebook.replace('_', ' ')}](notebooks/{outcome.notebook}.ipynb)"


def _cores(outcome: Outcome) -> str:
    return "1 core" if outcome.cores == 1 else f"{outcome.cores} cores"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"


NOTEBOOKS: Columns = {
    "notebook": _link,
    "time": lambda outcome: _duration(outcome.seconds),
    "on": _cores,
    "memory": lambda outcome: f"{outcome.peak_mb:,} MB",
}


# What the trainings came to: a row is a list of records that differ in nothing but their seeds.


def results_table(records: list[dict]) -> str:
    """A row for each kind of run, its seeds taken together.

    The intervals are of the test accuracy: Wilson's for a single seed, Student's over several; and
    the bootstrap over writers, where they are known.
    """
    kinds: dict[str, list[dict]] = {}
    for record in records:
        kinds.setdefault(kind_of_run(record), []).append(record)
    return table(RESULTS, list(kinds.values()))


def _trained_on(runs: list[dict]) -> str:
    split = runs[0]["split"]
    how = "" if split["name"] == "random" else f", {split['name']}"
    return f"{split['train']:,} of {runs[0]['digits']}{how}"


def _validation(runs: list[dict]) -> str:
    if runs[0]["split"]["name"] == "as published":
        return "none"
    return f"{statistics.mean(run['validation_accuracy'][-1] for run in runs):.2%}"


def _test(runs: list[dict]) -> list[float]:
    return [run["test"]["correct"] / run["test"]["total"] for run in runs]


def _over_seeds(runs: list[dict]) -> str:
    low, high = runs[0]["test"]["interval"] if len(runs) == 1 else seed_interval(_test(runs))
    return f"{low:.2%} to {high:.2%}"


def _over_writers(runs: list[dict]) -> str:
    if any(run["digits"] != "MNIST" or "wrong" not in run["test"] for run in runs):
        return "unknown"
    writers, _ = load_writers(train=False)
    right = correct_answers(runs)
    # The answers to a writer's digits, of all seeds, are one writer's.
    low, high = writer_interval(right.flatten(), writers.repeat(len(runs)))
    return f"{low:.2%} to {high:.2%}"


RESULTS: Columns = {
    "network": lambda runs: runs[0]["network"],
    "parameters": lambda runs: f"{runs[0]['parameters']:,}",
    "trained on": _trained_on,
    "precision": lambda runs: runs[0]["precision"],
    "epochs": lambda runs: f"{runs[0]['recipe']['num_epochs']}",
    "seeds": lambda runs: f"{len(runs)}",
    "validation": _validation,
    "test": lambda runs: f"{statistics.mean(_test(runs)):.2%}",
    "95 %, seeds": _over_seeds,
    "95 %, writers": _over_writers,
}


# How fast they are: a row is made of the runs that a study's record holds.


def speed_tables(studies: Iterable[Mapping]) -> str:
    """A table for each kind of study in `SPEED`, of their records; other kinds have none."""
    rows: dict[str, list] = {kind: [] for kind in SPEED}
    for record in studies:
        if record["kind"] in SPEED:
            _, rows_of = SPEED[record["kind"]]
            rows[record["kind"]] += rows_of(record["runs"])
    tables = (table(columns, rows[kind]) for kind, (columns, _) in SPEED.items())
    return "\n\n".join(filter(None, tables))


def _setting(run: dict, threads: str) -> str:
    return f"{run['network']}, {run['precision']}, threads: {threads}, {run['processor']}"


def _timed_epochs(run: dict) -> str:
    scaled = ", scaled" if run["digits_per_epoch"] < EPOCH else ""
    return _setting(run, run["threads"]) + scaled


def _epoch_seconds(run: dict, way: str) -> str:
    return f"{statistics.median(run['seconds_per_epoch'][way]):.1f}"


def _epoch_ratio(run: dict) -> str:
    times = ratios(run["seconds_per_epoch"])
    return f"{statistics.median(times):.1f} ({min(times):.1f} to {max(times):.1f})"


def _step_ms(run: dict, threads: int, situation: str) -> str:
    return f"{1000 * statistics.median(run['seconds'][str(threads)][situation]):.0f}"


def _compared(runs: list[dict]) -> str:
    fit = next(run for run in runs if run["way"] == "fit")
    return (
        f"{fit['network']}, {fit['precision']}, {fit['num_epochs']} epochs, "
        f"{len(paired(runs))} paired seeds"
    )


def _accuracy(runs: list[dict], way: int) -> str:
    return f"{statistics.mean(pair[way] for pair in paired(runs).values()):.2%}"


def _points(runs: list[dict]) -> str:
    points = differences(runs)
    low, high = seed_interval(points)
    return f"{statistics.mean(points):+.3f} [{low:+.3f}, {high:+.3f}]"


def _goals(runs: list[dict]) -> list[tuple[list[dict], list[list[float]]]]:
    """The runs to each goal, each beside the accuracies of all runs of the example, by epoch."""
    goals = dict.fromkeys(run["goal"] for run in runs if "goal" in run)
    return [(to_goal(goal, runs), example_of(runs)) for goal in goals]


def _goal(row) -> str:
    runs, _ = row
    test = [run["test"] for run in runs]
    low, high = seed_interval(test)
    return (
        f"{runs[0]['goal']:.1%} of the test digits, {runs[0]['precision']}; reached: "
        f"{statistics.mean(test):.2%} [{low:.2%}, {high:.2%}], {len(runs)} seeds"
    )


def _example_seconds(row) -> float:
    runs, _ = row
    return statistics.median(run["example_seconds"] for run in runs)


def _example_to_goal(row) -> str:
    runs, example = row
    if not example:
        return "not measured"
    first = epochs_to(runs[0]["goal"], example)
    if first is None:
        return f"not in the {len(example[0])} epochs that were seen"
    return f"{_example_seconds(row) * first / EXAMPLE_EPOCHS:,.0f} (mean of {len(example)} seeds)"


def _goal_ratio(row) -> str:
    """Against the example's whole schedule, and the epochs after which it is as good itself."""
    runs, example = row
    times = ratio(runs)
    first = epochs_to(runs[0]["goal"], example)
    return f"{times:.0f}" + (f" ({times * first / EXAMPLE_EPOCHS:.0f})" if first else "")


EPOCHS: Columns = {  # a row is a network's run
    "seconds per epoch": _timed_epochs,
    "the usual way": lambda run: _epoch_seconds(run, "textbook"),
    "here": lambda run: _epoch_seconds(run, "fit"),
    "times faster": _epoch_ratio,
}
STEPS: Columns = {  # a row is a network's run; "here" with as many threads as `fit` chooses
    "milliseconds per step": lambda run: _setting(run, f"{run['cores']} or {run['chosen']}"),
    "every core, alone": lambda run: _step_ms(run, run["cores"], "alone"),
    "every core, beside other work": lambda run: _step_ms(run, run["cores"], "busy"),
    "here, alone": lambda run: _step_ms(run, run["chosen"], "alone"),
    "here, beside other work": lambda run: _step_ms(run, run["chosen"], "busy"),
}
ACCURACIES: Columns = {  # a row is all runs of a network
    "validation accuracy": _compared,
    "the usual way": lambda runs: _accuracy(runs, 0),
    "here": lambda runs: _accuracy(runs, 1),
    "difference, points": _points,
}
GOALS: Columns = {  # a row is all runs to a goal, and the example's accuracies
    "seconds to the goal": _goal,
    "PyTorch's example, its 14 epochs": lambda row: f"{_example_seconds(row):,.0f}",
    "PyTorch's example, to the goal": _example_to_goal,
    "StridedNet": lambda row: f"{statistics.median(run['seconds'] for run in row[0]):.1f}",
    "times faster (to the goal)": _goal_ratio,
}
SPEED = {  # for each kind of study its columns, and the rows that its runs make
    "epoch_time": (EPOCHS, list),
    "contention": (STEPS, list),
    "fit_accuracy": (ACCURACIES, by_network),
    "time_to_accuracy": (GOALS, _goals),
}

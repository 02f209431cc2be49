"""The command line: `python -m mnist_lab run`, `sweep`, `bench`, `compare`, `race`, `publish`, …"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from mnist_lab.files import project_root

# Nothing else is imported before its command begins: `--help` and a wrong option answer at once.
SOURCES = ["auto", "mnist", "digits", "fashion", "kmnist"]
PRECISIONS = ["auto", "fp32", "bf16"]
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
SAME_COMMAND = "What had finished is kept: the same command continues."
JOBS = click.option("--jobs", type=click.IntRange(min=1),
                    help="Runs at a time.  [default: the cores]")  # fmt: skip
CLUSTER = click.option("--cluster", metavar="tcp://HOST:PORT",
                       help="A Dask scheduler's address instead.")  # fmt: skip


class Sentences(click.Group):
    """Bad input ends in one sentence and exit status 2, not in a traceback."""

    def invoke(self, context: click.Context):
        try:
            return super().invoke(context)
        except ValueError as error:
            raise click.UsageError(str(error)) from error


@click.group(cls=Sentences)
def main() -> None:
    """mnist-lab: compact CNNs for MNIST, built step by step."""


@main.command()
@click.argument("notebooks", nargs=-1)
@click.option("--dataset", type=click.Choice(SOURCES), help="Which digits.  [default: auto]")
@click.option("-p", "--parameter", "parameters", nargs=2, multiple=True, metavar="NAME VALUE",
              help="Override a notebook parameter.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(min=1), help="Notebooks side by side.  [default: 2]")
@click.option("--resume", type=FOLDER, help="Continue an interrupted run, as it was begun.")
def run(notebooks, dataset, parameters, jobs, resume) -> None:
    """Execute the course (or NOTEBOOKS: 03, solutions, or paths) into runs/<timestamp>/."""
    if resume and (notebooks or dataset or parameters or jobs):
        raise click.UsageError(
            "--resume continues a run as it was begun: give no notebooks, digits, parameters or "
            "jobs with it, or begin a new run without it."
        )
    from mnist_lab.course import execute
    from mnist_lab.course.notebooks import find_notebooks, find_solutions

    folder = resume
    if not resume:
        root, values = project_root(), {name: _value(text) for name, text in parameters}
        chosen = find_notebooks(root / "notebooks", notebooks)
        if not notebooks:
            chosen += find_solutions(root / "notebooks")
        with _ends_in_a_sentence():
            folder = execute.begin(chosen, root / "runs", dataset, values, jobs or 2)
    command = f"python -m mnist_lab run --resume {os.path.relpath(folder)}"
    with _ends_in_a_sentence(f"What had finished is kept: continue with {command}"):
        outcomes = execute.run_batch(folder)
    click.echo(execute.summary_table(outcomes))
    click.echo(f"\nThe executed notebooks are in {folder}.")
    sys.exit(any(outcome.status != "ok" for outcome in outcomes))


@main.command()
@click.argument("notebooks", nargs=-1, required=True)
@click.option("--seeds", type=click.IntRange(min=1), default=10, show_default=True,
              help="Seeds 0, 1, … of each notebook.")  # fmt: skip
@click.option("--dataset", type=click.Choice(SOURCES), default="auto", show_default=True)
@click.option("-p", "--parameter", "parameters", nargs=2, multiple=True, metavar="NAME VALUES",
              help="A value, or several with commas in between: a grid.")  # fmt: skip
@JOBS
@CLUSTER
def sweep(notebooks, seeds, dataset, parameters, jobs, cluster) -> None:
    """Execute training NOTEBOOKS (04, 06) once for each seed, into runs/sweep/.

    What has a record there is not run again.
    """
    from mnist_lab.course import execute
    from mnist_lab.course import sweep as sweeping
    from mnist_lab.course.notebooks import find_notebooks
    from mnist_lab.data import load_data

    root = project_root()
    grid = {name: [_value(text) for text in texts.split(",")] for name, texts in parameters}
    digits = load_data(dataset).source
    runs = sweeping.plan(find_notebooks(root / "notebooks", notebooks), seeds, grid, digits)
    folder = root / "runs" / "sweep"
    with _ends_in_a_sentence(SAME_COMMAND):
        outcomes = sweeping.sweep(runs, folder, jobs, cluster)
    click.echo(execute.summary_table(outcomes))
    click.echo(f"\nThe executed notebooks and records are in {folder}.")
    sys.exit(any(outcome.status != "ok" for outcome in outcomes))


@main.command()
@click.option("--network", type=click.Choice(["gap", "bottleneck", "both"]), default="both")
@click.option("--pairs", default=5, show_default=True, help="How often each side is timed.")
@click.option("--minutes", default=10.0, show_default=True, help="About how long it may take.")
@click.option("--precision", type=click.Choice(PRECISIONS), default="auto", help="Of `fit`.")
@click.option("--quick", is_flag=True, help="Few digits and pairs: less than a minute.")
@click.option("--busy", is_flag=True, help="Instead: `fit` beside other work, by its threads.")
def bench(network, pairs, minutes, precision, quick, busy) -> None:
    """Time the textbook way of training against `fit`, alternating."""
    if busy:
        from mnist_lab.studies import contention as busy

        busy.main(network, pairs, precision)
        return
    from mnist_lab.studies import epoch_time as epochs

    if quick:
        pairs, minutes = min(pairs, epochs.QUICK_PAIRS), epochs.QUICK_MINUTES
    epochs.main(network, pairs, minutes, precision)


@main.command()
@click.option("--network", type=click.Choice(["gap", "bottleneck"]), required=True)
@click.option("--seeds", default=5, show_default=True, help="How many runs of each side.")
@click.option("--epochs", default=3, show_default=True, help="Length of a run.")
@JOBS
@CLUSTER
def compare(network, seeds, epochs, jobs, cluster) -> None:
    """Compare the accuracy of the textbook way with that of `fit`, seed by seed."""
    from mnist_lab.course import studies

    with _ends_in_a_sentence(SAME_COMMAND):
        studies.compare(network, seeds, epochs, jobs, cluster)


@main.command()
@click.option("--seeds", default=10, show_default=True, help="How many runs for each goal.")
@click.option("--example-epochs", default=0, show_default=True,
              help="Train PyTorch's example too, for so many epochs.")  # fmt: skip
def race(seeds, example_epochs) -> None:
    """Time to 99 % (and 99.4 %) of the test digits, against PyTorch's own MNIST example."""
    from mnist_lab.course import studies

    with _ends_in_a_sentence(SAME_COMMAND):
        studies.race(seeds, example_epochs)


@main.command()
@click.argument("names", nargs=-1, metavar="[STUDY]...")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True,
              help="How many runs of each case.")  # fmt: skip
@JOBS
@CLUSTER
def ablate(names, seeds, jobs, cluster) -> None:
    """Change one thing of the bottleneck network or its recipe, in each STUDY or in all."""
    from mnist_lab.course import studies

    with _ends_in_a_sentence(SAME_COMMAND):
        studies.ablate(names, seeds, jobs, cluster)


@main.command()
@click.option("--network", type=click.Choice(["gap", "bottleneck"]), default="bottleneck",
              show_default=True)  # fmt: skip
@click.option("--epochs", default=20, show_default=True, help="Length of a run.")
@JOBS
@CLUSTER
def strangers(network, epochs, jobs, cluster) -> None:
    """Ask whether digits of people whom a network never met are harder to read."""
    from mnist_lab.course import studies

    with _ends_in_a_sentence(SAME_COMMAND):
        studies.strangers(network, epochs, jobs, cluster)


@main.command()
@click.argument("notebooks", nargs=-1)
def exercises(notebooks) -> None:
    """Write the exercises of NOTEBOOKS, or of all, and their solutions: mnist_lab/exercises."""
    from mnist_lab.course.exercise_cells import write_exercises

    for path in write_exercises(project_root() / "notebooks", notebooks):
        click.echo(f"wrote {path}")


@main.command()
@click.argument("folder", required=False, type=FOLDER)
@click.option("--records", is_flag=True, help="The records of the sweeps instead.")
def publish(folder, records) -> None:
    """Take a run on MNIST (the newest, or FOLDER) over: its outputs, costs and tables."""
    from mnist_lab.course.publish import newest_run, publish, publish_records

    root = project_root()
    if records:
        publish_records(folder or root / "runs" / "sweep", root)
    else:
        publish(folder or newest_run(root), root)


@main.command()
@click.argument("network", type=click.Choice(["gap", "bottleneck"]))
@click.option("--weights", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A run's .safetensors file.  [default: the pretrained]")  # fmt: skip
@click.option("--to", "target", type=click.Path(path_type=Path),
              help="The file to write.  [default: NETWORK.onnx]")  # fmt: skip
def export(network, weights, target) -> None:
    """Write a trained NETWORK as an ONNX file: uint8 pixels in, answers out."""
    from mnist_lab.course.export import export

    export(network, weights, target)


@main.command()
@click.option("--repo", required=True, metavar="OWNER/NAME")
@click.option("--ref", default="main", show_default=True, help="Branch or tag.")
def links(repo, ref) -> None:
    """Point every badge and setup cell to another repository (after a fork)."""
    from mnist_lab.course.fork import rewrite

    for path in rewrite(project_root(), repo, ref):
        click.echo(f"rewrote {path}")


@contextmanager
def _ends_in_a_sentence(how_to_continue: str = "") -> Iterator[None]:
    """What stops a runner from outside ends in one sentence, and in another how to go on."""
    from mnist_lab.course.studies import Failed
    from mnist_lab.course.supervise import Interrupted
    from mnist_lab.files import WriteError

    try:
        yield
    except Interrupted as signal:
        click.echo(f"\n{signal} {how_to_continue}", err=True)
        sys.exit(128 + signal.number)
    except WriteError as error:
        raise click.ClickException(f"{error} {how_to_continue}".strip()) from error
    except Failed as error:
        raise click.ClickException(str(error)) from error


def _value(text: str):
    """A number, true, false or null as JSON writes them; anything else is a text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


if __name__ == "__main__":
    main()

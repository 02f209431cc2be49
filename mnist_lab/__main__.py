"""The command line: `python -m mnist_lab run`, `sweep`, `publish`, the studies, …"""

import json
import sys
from pathlib import Path

import click

from mnist_lab.course.outcomes import Interrupted, StudyFailed, summary_table
from mnist_lab.files import project_root
from mnist_lab.validation import Count, UserError, check

# Nothing else is imported before its command begins: `--help` and a wrong option answer at once.

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
NEW_FOLDER = click.Path(file_okay=False, path_type=Path)
NEW_FILE = click.Path(dir_okay=False, path_type=Path)
DATASET = click.option("--dataset", metavar="SOURCE", help="Which digits.  [default: auto]")
PARAMETERS = click.option(
    "-p", "--parameter", "parameters", nargs=2, multiple=True, metavar="NAME VALUE",
    help="Override a notebook parameter; in a sweep, several values with commas in between make a "
    "grid.",
)  # fmt: skip
JOBS = click.option("--jobs", type=int, help="Runs at a time.  [default: the cores]")
CLUSTER = click.option(
    "--cluster", metavar="tcp://HOST:PORT", help="A Dask scheduler's address instead."
)
ONE_NETWORK = click.option("--network", help="One only.  [default: all]")
PRECISION = click.option("--precision", default="auto", help="Of `fit`.")
EPOCHS = "Length of a run."


class Sentences(click.Group):
    """What the user can mend, and what stopped a runner, ends in a sentence without a traceback."""

    def invoke(self, context: click.Context):
        sys.stdout.reconfigure(errors="replace")  # on Windows a pipe does not take all characters
        try:
            return super().invoke(context)
        except (UserError, StudyFailed, Interrupted) as error:
            sentence = " ".join([str(error), *getattr(error, "__notes__", [])])
            shown = click.ClickException(sentence)
            otherwise = 1 if isinstance(error, OSError) else 2
            shown.exit_code = getattr(error, "exit_code", otherwise)
            raise shown from error


@click.group(cls=Sentences, context_settings={"show_default": True})
@click.version_option(package_name="mnist-lab")
def main() -> None:
    """mnist-lab: compact CNNs for MNIST, built step by step."""


@main.command()
@click.argument("notebooks", nargs=-1)
@DATASET
@PARAMETERS
@click.option("--jobs", type=int, help="Notebooks side by side.  [default: 2]")
@click.option("--resume", type=FOLDER, help="Continue an interrupted run, as it was begun.")
def run(notebooks, dataset, parameters, jobs, resume) -> None:
    """Execute the course (or NOTEBOOKS: 04, solutions, or paths) into runs/<timestamp>/."""
    if resume and (notebooks or dataset or parameters or jobs is not None):
        raise UserError(
            "--resume continues a run as it was begun: give no notebooks, digits, parameters or "
            "jobs with it, or begin a new run without it."
        )
    from mnist_lab.course.batch import begin, run_batch
    from mnist_lab.course.notebooks import find_notebooks, find_solutions

    folder = resume
    if not resume:
        root = project_root()
        chosen = find_notebooks(root / "notebooks", notebooks)
        if not notebooks:
            chosen += find_solutions(root / "notebooks")
        values = {name: _value(text) for name, text in _unique(parameters).items()}
        folder = begin(chosen, root / "runs", dataset, values, 2 if jobs is None else jobs)
    _show(run_batch(folder), folder)


@main.command()
@click.argument("notebooks", nargs=-1, required=True)
@click.option("--seeds", type=int, help="Seeds 0, 1, … of each notebook.  [default: 10]")
@DATASET
@PARAMETERS
@JOBS
@CLUSTER
def sweep(notebooks, seeds, dataset, parameters, jobs, cluster) -> None:
    """Execute training NOTEBOOKS (05, 07) once for each seed, into runs/sweep/.

    What has a record there is not run again. `-p seed 3,7` names the seeds.
    """
    from mnist_lab.course.batch import plan_sweep
    from mnist_lab.course.notebooks import find_notebooks
    from mnist_lab.course.runner import run_tasks
    from mnist_lab.data import load_data

    grid = {name: _values(name, text) for name, text in _unique(parameters).items()}
    if "seed" not in grid:
        grid["seed"] = range(10 if seeds is None else check("seeds", seeds, Count))
    elif seeds is not None:
        raise UserError("--seeds contradicts -p seed: give one of them.")
    root = project_root()
    chosen = find_notebooks(root / "notebooks", notebooks)
    tasks = plan_sweep(chosen, grid, load_data(dataset or "auto").source)
    folder = root / "runs" / "sweep"
    _show(run_tasks(tasks, folder, jobs, cluster, cores=1), folder)


@main.command()
@ONE_NETWORK
@click.option("--pairs", default=5, help="How often each side is timed.")
@click.option("--minutes", default=10.0, help="About how long it may take.")
@PRECISION
@click.option("--quick", is_flag=True, help="Few digits and pairs: less than two minutes.")
def bench(**options) -> None:
    """Time the textbook way of training against `fit`, alternating."""
    _conduct("epoch_time", timing=True, **options)


@main.command()
@ONE_NETWORK
@click.option("--rounds", default=5, help="How often each situation is timed.")
@PRECISION
def contention(**options) -> None:
    """Time `fit` beside other work on the machine, by its number of threads."""
    _conduct("contention", timing=True, **options)


@main.command()
@click.option("--network", required=True)
@click.option("--seeds", default=5, help="How many runs of each side.")
@click.option("--epochs", "num_epochs", default=3, help=EPOCHS)
@JOBS
@CLUSTER
def fit_accuracy(**options) -> None:
    """Compare the accuracy of the textbook way with that of `fit`, seed by seed."""
    _conduct("fit_accuracy", **options)


@main.command()
@click.option("--seeds", default=10, help="How many runs for each goal.")
@click.option("--example-epochs", default=0, help="Train PyTorch's example for so many, too.")
def time_to_accuracy(**options) -> None:
    """Time to 99 % (and 99.4 %) of the test digits, against PyTorch's own MNIST example."""
    _conduct("time_to_accuracy", timing=True, **options)


@main.command()
@click.argument("studies", nargs=-1, metavar="[ABLATION]...")
@click.option("--seeds", default=3, help="How many runs of each case.")
@JOBS
@CLUSTER
def ablations(**options) -> None:
    """Change one thing of the bottleneck network or its recipe: each ABLATION, or all."""
    _conduct("ablations", **options)


@main.command()
@click.option("--seeds", default=12, help="How many runs of each case; published ones count.")
@click.option("--epochs", "num_epochs", type=int, help=f"{EPOCHS}  [default: as published]")
@JOBS
@CLUSTER
def full_ablations(**options) -> None:
    """Train each network whole without a part, or with another: hours for each seed."""
    _conduct("full_ablations", **options)


@main.command()
@click.option("--seeds", default=6, help="How many runs of each side.")
@JOBS
@CLUSTER
def remedies(**options) -> None:
    """Train briefly with spoilt digits, and without: what is read then, and what it costs."""
    _conduct("remedies", **options)


@main.command()
@click.option("--seeds", default=10, help="How many runs of each step.")
@JOBS
@CLUSTER
def steps(**options) -> None:
    """Train the network of every step of notebooks 04 and 06 briefly."""
    _conduct("steps", **options)


@main.command()
@click.option("--seeds", default=5, help="How many runs of each.")
@click.option("--epochs", "num_epochs", type=int, help=f"{EPOCHS}  [default: as published]")
@JOBS
@CLUSTER
def public_networks(**options) -> None:
    """Train three public networks of fewer than 20,000 parameters again, on all 60,000 digits."""
    _conduct("public_networks", **options)


@main.command()
@click.argument("networks", nargs=-1)
@click.option("--seeds", default=10, help="Seeds 0, 1, … of each network.")
@click.option("--split", default="random", help="Which digits train: random, all, …")
@JOBS
@CLUSTER
def trainings(**options) -> None:
    """Train NETWORKS of the registry, or all, as their recipes say; their records: runs/sweep/."""
    _conduct("trainings", **options)


@main.command()
@click.argument("networks", nargs=-1)
@click.option("--case", "only", multiple=True, help="This one only, beside as chosen.")
@click.option("--seeds", default=5, help="How many runs of each case.")
@click.option("--epochs", "num_epochs", type=int, help=f"{EPOCHS}  [default: as chosen]")
@JOBS
@CLUSTER
def ideas(**options) -> None:
    """Undo or add one idea of the small NETWORKS, or of all, and train again; hours for all."""
    _conduct("ideas", **options)


@main.command()
@click.argument("budget")
@click.option("--trials", default=20, help="How many in all; those of before count.")
@click.option("--epochs", "num_epochs", default=10, help=EPOCHS)
@JOBS
@CLUSTER
def search(**options) -> None:
    """Look for a network of at most BUDGET parameters (20k, 8k, 2k, 700), on validation digits."""
    _conduct("search", **options)


@main.command()
@click.option("--seeds", default=5, help="How many runs of each.")
@JOBS
@CLUSTER
def best_trials(**options) -> None:
    """Train the best trial of each search again, with fresh seeds, and read the test digits."""
    _conduct("best_trials", **options)


@main.command()
@click.option("--network", default="bottleneck")
@click.option("--epochs", "num_epochs", default=20, help=EPOCHS)
@JOBS
@CLUSTER
def unseen_writers(**options) -> None:
    """Ask whether digits of people whom a network never met are harder to read."""
    _conduct("unseen_writers", **options)


@main.command()
@click.argument("notebooks", nargs=-1)
@click.option(
    "--key", help="Write one student's copy of one notebook, with the numbers of this key."
)
@click.option("--to", "target", type=NEW_FILE, help="That copy.")
def exercises(notebooks, key, target) -> None:
    """Write the exercises of NOTEBOOKS, or of all, and their solutions: mnist_lab/exercises."""
    from mnist_lab.course.exercise_cells import write_exercises, write_for
    from mnist_lab.course.notebooks import find_notebooks

    folder = project_root() / "notebooks"
    if key or target:
        if not (key and target and len(notebooks) == 1):
            raise UserError("a student's copy needs one notebook, --key and --to.")
        write_for(find_notebooks(folder, notebooks)[0], key, target)
        return click.echo(f"wrote {target}")
    for path in write_exercises(folder, notebooks):
        click.echo(f"wrote {path}")


@main.command()
@click.argument("folder", required=False, type=FOLDER)
@click.option("--records", is_flag=True, help="The records of sweeps and studies instead.")
def publish(folder, records) -> None:
    """Take a run on MNIST (the newest, or FOLDER) over: its outputs, costs and tables."""
    from mnist_lab.course.publish import newest_run, publish, publish_records

    root = project_root()
    if records:
        changed = publish_records(folder or root / "runs" / "sweep", root)
        lines = [f"wrote {path}" for path in changed] or ["There is nothing new to publish."]
        click.echo("\n".join(lines))
    else:
        publish(folder or newest_run(root), root)


@main.command()
@click.argument("network")
@click.option("--weights", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A run's .safetensors file.  [default: the pretrained]")  # fmt: skip
@click.option("--to", "target", type=click.Path(path_type=Path),
              help="The file to write.  [default: NETWORK.onnx]")  # fmt: skip
def export(network, weights, target) -> None:
    """Write a trained NETWORK as an ONNX file: uint8 pixels in, answers out."""
    from mnist_lab.course.export import export

    export(network, weights, target)


@main.command()
@click.option("--to", "folder", type=NEW_FOLDER, default="site/slides", help="The folder.")
def slides(folder) -> None:
    """Make slides of every notebook, for lectures."""
    from mnist_lab.course.slides import make_slides

    for path in make_slides(project_root(), folder):
        click.echo(f"wrote {path}")


@main.command()
@click.option("--to", "target", type=NEW_FILE, default="mnist-lab-offline.zip", help="The archive.")
def offline(target) -> None:
    """Pack everything for a classroom without a network: wheels, digits, notebooks, the site."""
    from mnist_lab.course.offline import pack

    pack(target)
    click.echo(f"written: {target} ({target.stat().st_size / 1e6:,.0f} MB)")


@main.command()
@click.argument("folder", type=FOLDER)
@click.option(
    "--to",
    "table",
    type=NEW_FILE,
    default="grades.csv",
    help="The table; pages of feedback lie beside it.",
)
@click.option("--notebook", "chosen", multiple=True,
              help="Of which ones, such as 04.  [default: those that were handed in]")  # fmt: skip
@click.option("--jobs", type=int, default=2, help="Submissions side by side.")
def grade(folder, table, chosen, jobs) -> None:
    """Grade the notebooks that students have handed in: every .ipynb in FOLDER."""
    from mnist_lab.grading.grade import grade as grade_all

    check("jobs", jobs, Count)
    lacking = grade_all(folder, table, chosen, jobs)
    if lacking:
        click.echo(
            f"WARNING: on this system answers ran without a sandbox for {', '.join(lacking)}: "
            "a hostile one could have used them.",
            err=True,
        )
    click.echo(f"written: {table}")


@main.command()
@click.option("--repo", required=True, metavar="OWNER/NAME")
@click.option("--ref", default="main", help="Branch or tag.")
@click.option("--without-solutions", is_flag=True, help="Take the solutions out: a student's copy.")
def fork(repo, ref, without_solutions) -> None:
    """Point every badge and setup cell to another repository (after a fork)."""
    from mnist_lab.course.fork import remove_solutions, rewrite_addresses

    for path in rewrite_addresses(project_root(), repo, ref):
        click.echo(f"rewrote {path}")
    for path in remove_solutions(project_root()) if without_solutions else ():
        click.echo(f"took the solutions out of {path}" if path.exists() else f"removed {path}")


@main.command()
@click.argument("pairs", nargs=-1, required=True, metavar="OLD=NEW...")
def renumber(pairs) -> None:
    """Give notebooks other numbers, such as 03=04 04=05: files, links and prose follow."""
    from mnist_lab.course.renumber import renumber

    for path in renumber(project_root(), pairs):
        click.echo(f"rewrote {path}")


def _conduct(study, **options) -> None:
    from mnist_lab.course.study import conduct

    conduct(study, **options)


def _show(outcomes, folder: Path) -> None:
    """Print what became of tasks, and end with status 1 if any has failed."""
    click.echo(summary_table(outcomes))
    click.echo(f"\nThe executed notebooks are in {folder}.")
    sys.exit(any(outcome.status != "ok" for outcome in outcomes))


def _unique(parameters) -> dict[str, str]:
    """The `-p` options by their names. Raises `UserError` for the digits, or a name given twice."""
    names = [name for name, _ in parameters]
    for name in names:
        if name == "dataset":
            raise UserError("-p dataset: choose the digits of all notebooks with --dataset.")
        if names.count(name) > 1:
            raise UserError(f"-p {name} is given {names.count(name)} times: give it once.")
    return dict(parameters)


def _values(name: str, text: str) -> list:
    """The values of a parameter in a sweep, in their order."""
    texts = [part.strip() for part in text.split(",")]
    if "" in texts or len(set(texts)) < len(texts):
        raise UserError(f"-p {name} {text!r} has an empty value, or one that comes twice.")
    return [_value(part) for part in texts]


def _value(text: str):
    """A number, true, false or null as JSON or Python writes them; anything else is a text."""
    try:
        return json.loads({"True": "true", "False": "false", "None": "null"}.get(text, text))
    except ValueError:
        return text


if __name__ == "__main__":
    main()

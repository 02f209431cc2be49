"""What a run leaves behind: one JSON file, and the tables that are made from such files.

A record holds everything that is needed to repeat the run and to judge it.
"""

import json
import os
import platform
import statistics
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

from mnist_lab.anatomy import count_parameters
from mnist_lab.data import Digits
from mnist_lab.evaluation import Evaluation
from mnist_lab.files import project_root, write_whole
from mnist_lab.intervals import seed_interval
from mnist_lab.training import History

RECORDS = "*-seed*.json"


def save_record(network: nn.Module, data: Digits, history: History, test: Evaluation) -> Path:
    """Write the record of a finished run into `$MNIST_LAB_RECORDS`, else into `runs/records`.

    The file is named after the network, the digits and the seed: a repeated run replaces it.
    """
    recipe = asdict(history.recipe)
    recipe["augment"] = [repr(transform) for transform in history.recipe.augment]
    recipe["schedule"] = repr(history.recipe.schedule)
    record = {
        "network": history.network,
        "parameters": count_parameters(network),
        "digits": history.digits,
        "split": {part: len(getattr(data, part)) for part in ("train", "validation", "test")},
        "recipe": recipe,
        "seed": history.recipe.seed,
        "train_loss": history.train_loss,
        "train_accuracy": history.train_accuracy,
        "validation_loss": history.validation_loss,
        "validation_accuracy": history.validation_accuracy,
        "test": {"correct": test.correct, "total": test.total, "interval": [test.low, test.high]},
        "seconds_per_epoch": history.seconds,
        "device": history.device,
        "precision": history.precision,
        "threads": history.threads,
        "processor": processor(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "torchvision")},
        },
    }
    digits = history.digits.lower().replace(" ", "-")
    name = f"{history.network.lower()}-{digits}-seed{history.recipe.seed}.json"
    folder = os.environ.get("MNIST_LAB_RECORDS") or project_root() / "runs" / "records"
    path = Path(folder) / name
    write_whole(path, json.dumps(record, indent=1) + "\n")
    return path


def load_records(folder: str | os.PathLike) -> list[dict]:
    """All records of a folder, ordered by file name."""
    return [json.loads(path.read_text()) for path in sorted(Path(folder).glob(RECORDS))]


def results_table(records: list[dict]) -> str:
    """A Markdown table: one row for each network and kind of digits, its seeds taken together.

    The interval is of the test accuracy: Wilson's for a single seed, Student's over several.
    """
    rows = [
        "| network | parameters | digits | epochs | seeds | validation | test | 95 % interval |",
        "|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple, list[dict]] = {}
    for record in records:
        key = record["network"], record["digits"], record["recipe"]["num_epochs"]
        groups.setdefault(key, []).append(record)
    for (network, digits, num_epochs), runs in groups.items():
        validation = [run["validation_accuracy"][-1] for run in runs]
        test = [run["test"]["correct"] / run["test"]["total"] for run in runs]
        low, high = runs[0]["test"]["interval"] if len(runs) == 1 else seed_interval(test)
        rows.append(
            f"| {network} | {runs[0]['parameters']:,} | {digits} "
            f"| {num_epochs} | {len(runs)} "
            f"| {statistics.mean(validation):.2%} | {statistics.mean(test):.2%} "
            f"| {low:.2%} to {high:.2%} |"
        )
    return "\n".join(rows)


def processor() -> str:
    """The processor's name, as its system tells it, and the instructions that PyTorch uses."""
    name = platform.processor() or platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        name = next(iter(names), name)
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def save_measurement(kind: str, record: dict, label: str = "") -> Path:
    """Write what a command measured into `runs/<kind>/`, named after the time, and say where."""
    stamp = datetime.now().strftime("%Y-%m-%dT%H-%M-%S")
    path = project_root() / "runs" / kind / f"{label}{'-' if label else ''}{stamp}.json"
    write_whole(path, json.dumps(record, indent=1) + "\n")
    print(f"\nwritten: {path.relative_to(project_root())}")
    return path

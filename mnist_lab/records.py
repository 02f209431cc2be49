"""What a run leaves behind: a JSON file and the weights.

A record holds everything that is needed to repeat the run and to judge it.
"""

import hashlib
import json
import os
import platform
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from mnist_lab.data import Digits
from mnist_lab.evaluation import Evaluation
from mnist_lab.files import project_root, read_json, write_file, write_files
from mnist_lab.layers import count_parameters
from mnist_lab.recipes import Recipe
from mnist_lab.training import History
from mnist_lab.validation import UserError

PUBLISHED = Path(__file__).with_name("published")  # what the course was measured to be
RECORDS = "*-seed*.json"


def save_record(network: nn.Module, data: Digits, history: History, test: Evaluation) -> Path:
    """Write the record of a finished run into `$MNIST_LAB_RECORDS`, else into `runs/records`.

    The file is named after all that decides a run: a repeated run replaces it, and no other does.
    The trained weights lie beside it, as safetensors.
    """
    record = {
        "network": history.network,
        "parameters": count_parameters(network),
        "digits": history.digits,
        "split": {"name": data.split}
        | {part: len(getattr(data, part)) for part in ("train", "validation", "test")},
        "recipe": as_recorded(history.recipe),
        "seed": history.recipe.seed,
        "train_loss": history.train_loss,
        "train_accuracy": history.train_accuracy,
        "validation_loss": history.validation_loss,
        "validation_accuracy": history.validation_accuracy,
        "test": {
            "correct": test.correct,
            "total": test.total,
            "interval": [test.low, test.high],
            "wrong": [
                [wrong.index, wrong.guess, round(wrong.guess_probability, 4)]
                for wrong in sorted(test.mistakes(), key=lambda wrong: wrong.index)
            ],
        },
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
    words = record["network"], record["digits"], kind_of_run(record), f"seed{record['seed']}"
    name = "-".join(words).lower().replace(" ", "-") + ".json"
    folder = os.environ.get("MNIST_LAB_RECORDS") or project_root() / "runs" / "records"
    path = Path(folder) / name
    weights = {key: value.cpu().contiguous() for key, value in network.state_dict().items()}
    write_files(
        {
            path.with_suffix(".safetensors"): save(weights, {"record": path.name}),
            path: json.dumps(record, indent=1) + "\n",
        }
    )
    return path


def as_recorded(recipe: Recipe) -> dict:
    """Every hyperparameter, as JSON can hold it."""
    return asdict(recipe) | {
        "betas": list(recipe.betas),
        "augment": [repr(transform) for transform in recipe.augment],
        "schedule": repr(recipe.schedule),
    }


def kind_of_run(record: dict) -> str:
    """Eight characters that runs share which differ in nothing but their seeds."""
    recipe = {name: value for name, value in record["recipe"].items() if name != "seed"}
    parts = [record[part] for part in ("network", "digits", "split", "precision")]
    return hashlib.sha256(json.dumps([recipe, *parts], sort_keys=True).encode()).hexdigest()[:8]


def load_record(path: Path) -> dict:
    """The record in a file. Raises `UserError` unless it is whole, as `save_record` writes it."""
    record = read_json(path)
    try:
        epochs = record["recipe"]["num_epochs"]
        whole = len(record["validation_accuracy"]) == epochs and record["test"]["total"] > 0
        whole = whole and bool(kind_of_run(record))
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is not a whole record ({error!r}).") from error
    if not whole:
        raise UserError(f"{path} is not a whole record (epochs or test digits are missing).")
    return record


def load_records(folder: str | os.PathLike = PUBLISHED) -> list[dict]:
    """The records of a folder, by default the published ones, ordered by file name.

    Raises `UserError` for one that is not whole.
    """
    return [load_record(path) for path in sorted(Path(folder).glob(RECORDS))]


def load_published(name: str) -> dict:
    """A published study by its file's name: "ablate", "strangers", "speed/race"."""
    return read_json(PUBLISHED / f"{name}.json")


def select_runs(
    records: list[dict], network: str, split: str = "random", digits: str = "MNIST"
) -> list[dict]:
    """The records of one network on one split of a collection, in fp32, ordered by seed.

    Raises `ValueError` if there is none, or if they differ in more than their seeds.
    """
    asked = (network, split, digits, "fp32")
    runs = [
        record for record in records
        if (record["network"], record["split"]["name"], record["digits"], record["precision"])
        == asked
    ]  # fmt: skip
    if len({kind_of_run(run) for run in runs}) != 1:
        kinds = f"{len({kind_of_run(run) for run in runs})} kinds of runs"
        raise UserError(
            f"there are {kinds} of {network} on {digits}, split {split!r}, where one is needed: "
            "publish the records of one recipe."
        )
    return sorted(runs, key=lambda run: run["seed"])


def correct_answers(runs: list[dict]) -> Tensor:
    """Which test digits each of R runs read right: `[R, N]` (bool)."""
    right = torch.ones(len(runs), runs[0]["test"]["total"], dtype=torch.bool)
    for row, run in zip(right, runs):
        row[[index for index, *_ in run["test"]["wrong"]]] = False
    return right


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
    write_file(path, json.dumps(record, indent=1) + "\n")
    print(f"\nwritten: {path.relative_to(project_root())}")
    return path

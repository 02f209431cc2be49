"""What a run leaves behind: a JSON file and the weights.

A record holds everything that is needed to repeat the run and to judge it.
"""

import hashlib
import inspect
import json
import os
import platform
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from mnist_lab.data import Digits
from mnist_lab.evaluation import Evaluation
from mnist_lab.files import project_root, read_json, write_files
from mnist_lab.layers import count_parameters
from mnist_lab.recipes import NETWORKS, Recipe
from mnist_lab.speed import cpu_info
from mnist_lab.training import History
from mnist_lab.validation import UserError

PUBLISHED = Path(__file__).with_name("published")  # what `python -m mnist_lab publish` writes
RECORDS = "*-seed*.json"
CURVES = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
PER_EPOCH = (*CURVES, "seconds_per_epoch")
CONDITIONS = ("device", "precision", "threads")
UNUSED = ("ema_decay", 0)


def save_record(
    network: nn.Module, data: Digits, history: History, test: Evaluation, folder: Path | None = None
) -> Path:
    """Write the record of a finished run: into `folder`, `$MNIST_LAB_RECORDS`, or `runs/records`.

    The file is named after all that decides a run: a repeated run replaces it, and no other does.
    The trained weights lie beside it, as safetensors.
    """
    record = {
        "kind": "training",
        "network": history.network,
        **_architecture(network),
        "parameters": count_parameters(network),
        "split": {"name": data.split}
        | {part: len(getattr(data, part)) for part in ("train", "validation", "test")},
        "recipe": as_recorded(history.recipe),
        "seed": history.recipe.seed,
        **{name: getattr(history, name) for name in ("digits", *CURVES, *CONDITIONS)},
        "test": {
            "correct": test.correct,
            "total": test.total,
            "interval": [test.low, test.high],
            "wrong": sorted(
                [wrong.index, wrong.guess, round(wrong.guess_probability, 4)]
                for wrong in test.mistakes()
            ),
        },
        "seconds_per_epoch": history.seconds,
        "processor": processor(),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("torch", "torchvision")},
    }
    given = folder or os.environ.get("MNIST_LAB_RECORDS")
    path = Path(given or project_root() / "runs" / "records") / record_name(record)
    weights = {key: value.cpu().contiguous() for key, value in network.state_dict().items()}
    weights, text = save(weights, {"record": path.name}), json.dumps(record, indent=1) + "\n"
    write_files({path.with_suffix(".safetensors"): weights, path: text})
    return path


def record_name(record: dict) -> str:
    """The name of a record's file."""
    words = record["network"], record["digits"], kind_of_run(record), f"seed{record['seed']}"
    return "-".join(words).lower().replace(" ", "-") + ".json"


def kind_of_run(record: dict) -> str:
    """Eight characters that runs share which differ in nothing but their seeds."""
    recipe = {name: value for name, value in record["recipe"].items() if name != "seed"}
    parts = [record[part] for part in ("network", "digits", "split", "precision")]
    parts += [record["architecture"]] if "architecture" in record else []
    # The CPU is not named: so the published records keep the names that they were given.
    parts += [record["device"]] if record.get("device", "cpu") != "cpu" else []
    return hashlib.sha256(json.dumps([recipe, *parts], sort_keys=True).encode()).hexdigest()[:8]


def as_recorded(recipe: Recipe) -> dict:
    """Every hyperparameter, as JSON can hold it: transforms and schedules as their `repr`.

    `ema_decay` came later. It is named where it is used: so older records keep their names.
    """
    values = {name: value for name, value in vars(recipe).items() if (name, value) != UNUSED}
    return json.loads(json.dumps(values, default=repr))


def _architecture(network: nn.Module) -> dict[str, str]:
    """What tells a network from others of its class's name; nothing for those of `NETWORKS`."""
    form = _form(network)
    if type(network) in [entry.network for entry in NETWORKS.values()]:
        with torch.random.fork_rng(devices=[]):  # whoever made the record has drawn nothing
            if form == _form(type(network)()):
                return {}
    return {"architecture": hashlib.sha256(form.encode()).hexdigest()[:8]}


def _form(network: nn.Module) -> str:
    """The modules, the form of every tensor and whether it learns, and the code of each forward."""
    tensors = [*network.named_parameters(), *network.named_buffers()]
    forms = [f"{name} {list(t.shape)} {t.dtype} {t.requires_grad}" for name, t in tensors]
    forwards = {type(part).forward for part in network.modules()}
    return "\n".join([repr(network), *forms, *sorted(map(_code, forwards))])


def _code(function) -> str:
    """A function's source, else (typed at a prompt) its bytecode; none of PyTorch's own."""
    if str(getattr(function, "__module__", None)).startswith("torch."):
        return ""
    with suppress(OSError, TypeError):
        return inspect.getsource(function)
    code = getattr(function, "__code__", None)
    return f"{code.co_code} {code.co_names} {code.co_consts}" if code else ""


def load_record(path: Path) -> dict:
    """The record in a file. Raises `UserError` unless it is whole, as `save_record` writes it."""
    record = read_json(path)
    with suppress(AttributeError, KeyError, TypeError):
        kind_of_run(record)
        lengths = {record["recipe"]["num_epochs"], *(len(record[name]) for name in PER_EPOCH)}
        if len(lengths) == 1 and record["test"]["total"] > 0:
            return record
    raise UserError(f"{path} is not a whole record: restore it or train again.")


def load_records(folder: str | os.PathLike = PUBLISHED) -> list[dict]:
    """The records of a folder, ordered by file name. Raises `UserError` for one not whole."""
    return [load_record(path) for path in sorted(Path(folder).glob(RECORDS))]


def load_measurement(path: Path) -> dict:
    """A study's record: its name ("kind"), the "digits", and what each of its "runs" returned.

    Raises `UserError` unless it is whole.
    """
    record = read_json(path)
    with suppress(AttributeError, KeyError, TypeError, ValueError):
        if {"kind", "digits"} <= record.keys() and all(dict(run) for run in record["runs"]):
            return record
    raise UserError(f"{path} is not a whole measurement: restore it or measure again.")


def load_published(name: str) -> dict:
    """A published study by its file's name: "ablate", "strangers", "speed/race"."""
    return load_measurement(PUBLISHED / f"{name}.json")


def runs_of(
    records: list[dict], network: str, split: str = "random", digits: str = "MNIST"
) -> list[dict]:
    """The records of one network on one split of a collection, in fp32, ordered by seed."""
    asked = {"network": network, "digits": digits, "precision": "fp32"}.items()
    runs = [run for run in records if run["split"]["name"] == split and asked <= run.items()]
    return sorted(runs, key=lambda run: run["seed"])


def select_runs(
    records: list[dict], network: str, split: str = "random", digits: str = "MNIST"
) -> list[dict]:
    """`runs_of` one recipe.

    Raises `UserError` if there is none, or if they differ in more than their seeds.
    """
    runs = runs_of(records, network, split, digits)
    kinds = len({kind_of_run(run) for run in runs})
    if kinds != 1:
        raise UserError(
            f"there are {kinds} kinds of runs of {network} on {digits}, split {split!r}, where one "
            "is needed: publish the records of one recipe."
        )
    return runs


def correct_answers(runs: list[dict]) -> Tensor:
    """Which test digits each of R runs read right: `[R, N]` (bool)."""
    right = torch.ones(len(runs), runs[0]["test"]["total"], dtype=torch.bool)
    for row, run in zip(right, runs):
        row[[index for index, *_ in run["test"]["wrong"]]] = False
    return right


def processor() -> str:
    """The processor's name, as its system tells it, and the instructions that PyTorch uses."""
    name = cpu_info("model name") or platform.processor() or platform.machine()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"

"""The studies in `mnist_lab/published`: which file a run belongs in, and which run it replaces."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from mnist_lab.records import load_measurement

ENOUGH = 5  # pairs or rounds of a timing: fewer are a quick look, and are not published


class Study(NamedTuple):
    """How the runs of a study are laid into files."""

    file: str  # how the files' names begin
    shared: tuple[str, ...]  # what the runs of one file have in common
    case: tuple[str, ...]  # what tells two runs of a file apart


STUDIES = {  # by their kinds; the names of the files are older than those of the studies
    "ablations": Study("ablate", (), ("study", "case", "seed")),
    "full_ablations": Study("full", (), ("num_epochs", "case", "seed")),
    "best_trials": Study("best-trials", (), ("budget", "seed")),
    "search": Study("search", ("budget",), ("num_epochs", "trial")),
    "ideas": Study("ideas", (), ("network", "num_epochs", "case", "seed")),
    "public_networks": Study("public", (), ("network", "num_epochs", "seed")),
    "remedies": Study("remedies", (), ("case", "seed")),
    "steps": Study("steps", (), ("notebook", "step", "seed")),
    "unseen_writers": Study("strangers", (), ("network", "num_epochs", "fold")),
    "epoch_time": Study("speed/bench", ("processor", "threads", "precision"), ("network",)),
    "contention": Study("speed/busy", ("processor", "cores", "precision"), ("network",)),
    "fit_accuracy": Study("speed/compare", ("network", "num_epochs"), ("way", "seed")),
    "time_to_accuracy": Study("speed/race", ("processor", "threads"), ("goal", "seed")),
}


def load_studies(folder: Path) -> dict[Path, dict]:
    """What is published of every study, by its file. Raises `UserError` for a damaged file."""
    paths = [path for study in STUDIES.values() for path in folder.glob(f"{study.file}*.json")]
    return {path: load_measurement(path) for path in sorted(paths)}


def merge(published: Mapping[Path, dict], measured: Mapping, folder: Path) -> dict[Path, dict]:
    """What is published once a newer measurement has been added.

    Its runs replace those of the same cases, in the file of runs that were made as they were (on
    the same processor, say), or make a new file. Everything else stays.
    """
    merged, study = dict(published), STUDIES[measured["kind"]]
    for run in measured["runs"]:
        if run.get("pairs", run.get("rounds", ENOUGH)) >= ENOUGH:
            path = _file(run, measured["kind"], merged, folder)
            runs = merged[path]["runs"] if path in merged else []
            cases = {_values(old, study.case): old for old in [*runs, run]}
            merged[path] = {**measured, "runs": list(cases.values())}
    return dict(sorted(merged.items()))


def study_text(record: Mapping) -> str:
    """The content of a study's file: a line for each run."""
    head = json.dumps({"kind": record["kind"], "digits": record["digits"]}).removesuffix("}")
    runs = ",\n".join(json.dumps(run) for run in record["runs"])
    return f'{head}, "runs": [\n{runs}\n]}}\n'


def _file(run: dict, kind: str, published: Mapping[Path, dict], folder: Path) -> Path:
    study = STUDIES[kind]
    shared = _values(run, study.shared)
    for path, record in published.items():
        others = [_values(other, study.shared) for other in record["runs"]]
        if record["kind"] == kind and shared in others:
            return path
    words = [re.sub(r"[^a-z0-9]+", "-", str(value).lower()) for value in shared]
    return folder / f"{'-'.join([study.file, *words])}.json"


def _values(run: dict, names: tuple[str, ...]) -> tuple:
    return tuple(run.get(name) for name in names)

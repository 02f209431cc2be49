"""What became of the tasks of a runner: rows of a file and of a table, and what ended it early."""

import json
import signal
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from mnist_lab.files import read_json
from mnist_lab.validation import UserError

SUMMARY = "summary.json"


@dataclass
class Outcome:
    """What became of one task, on so many cores. `peak_mb`: the most memory it held, 10⁶ bytes."""

    notebook: str  # or another task's name
    status: str  # "ok" or "failed…"
    seconds: float
    cores: int
    peak_mb: int
    digits: str
    figures: dict[str, str] = field(default_factory=dict)
    error: str = ""


class Interrupted(Exception):
    """A signal stopped the runner. What had finished is kept."""

    def __init__(self, number: int):
        super().__init__(f"Stopped by {signal.Signals(number).name}.")
        self.exit_code = 128 + number  # as a shell says it


class StudyFailed(Exception):
    """Some tasks of a study have failed. What had finished is kept."""

    exit_code = 1


def load_outcomes(path: Path) -> list[Outcome]:
    """The outcomes that an earlier run wrote into this file; none if there is no such file.

    Raises `UserError` for a damaged file.
    """
    return load_json(path, list[Outcome]) if path.exists() else []


def load_json(path: Path, kind: type):
    """What a JSON file of the runner holds. Raises `UserError` unless it is of this kind."""
    try:
        return TypeAdapter(kind).validate_python(read_json(path))
    except ValidationError as error:
        raise UserError(f"{path} is damaged ({error.errors()[0]['msg']}).") from error


def summary_text(outcomes: Sequence[Outcome]) -> str:
    """What `load_outcomes` reads."""
    return json.dumps([asdict(row) for row in outcomes], indent=1) + "\n"


def summary_table(outcomes: Sequence[Outcome]) -> str:
    """Outcomes as text: a row for each, then the failures in full."""
    rows = [("notebook", "status", "seconds", "peak MB", "digits", "figures")]
    for row in outcomes:
        figures = "; ".join(f"{name}: {value}" for name, value in row.figures.items())
        measured = f"{row.seconds:.1f}", f"{row.peak_mb:,}"
        rows.append((row.notebook, row.status, *measured, row.digits, figures))
    wide = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(map(str.ljust, row, wide)).rstrip() for row in rows]
    return "\n".join(lines + [f"\n{row.notebook}, {row.error}" for row in outcomes if row.error])

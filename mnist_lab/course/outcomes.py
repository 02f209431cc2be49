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
        self.number = number


class StudyFailed(Exception):
    """Some tasks of a study have failed. What had finished is kept."""


def load_outcomes(path: Path) -> list[Outcome]:
    """The outcomes that an earlier run wrote into this file; none if there is no such file.

    Raises `UserError` for a damaged file.
    """
    return load_json(path, list[Outcome], "a summary") if path.exists() else []


def load_json(path: Path, kind: type, words: str):
    """What a JSON file of the runner holds. Raises `UserError` unless it is of this kind."""
    try:
        return TypeAdapter(kind).validate_python(read_json(path))
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise UserError(f"{path} does not hold {words} ({reason}).") from error


def summary_text(outcomes: Sequence[Outcome]) -> str:
    """What `load_outcomes` reads."""
    return json.dumps([asdict(row) for row in outcomes], indent=1, ensure_ascii=False) + "\n"


def summary_table(outcomes: Sequence[Outcome]) -> str:
    """Outcomes as text: a row for each, then the failures in full."""
    name = max(38, *(len(row.notebook) for row in outcomes)) + 2
    wide = max(len(row.status) for row in outcomes) + 2
    lines = [
        f"{'notebook':<{name}}{'status':<{wide}}{'seconds':>8}{'peak MB':>9}  {'digits':<14}figures"
    ]
    for row in outcomes:
        figures = "; ".join(f"{name}: {value}" for name, value in row.figures.items())
        lines.append(
            f"{row.notebook:<{name}}{row.status:<{wide}}{row.seconds:>8.1f}{row.peak_mb:>9,}"
            f"  {row.digits:<14}{figures}"
        )
    lines += [f"\n{row.notebook}, {row.error}" for row in outcomes if row.error]
    return "\n".join(lines)

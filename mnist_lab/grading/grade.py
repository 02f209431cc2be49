"""A folder of submitted notebooks graded: a table, and a page of feedback for each.

What is finished lies beside the table, so the same command continues after any interruption.
"""

import csv
import hashlib
import html
import io
import json
import multiprocessing
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tqdm import tqdm

import mnist_lab
from mnist_lab.course.notebooks import find_notebooks
from mnist_lab.exercises import exercises, folders, numbers
from mnist_lab.exercises.question import FAILED, RIGHT, UNANSWERED, WRONG, Exercise, Verdict
from mnist_lab.files import project_root, write_file
from mnist_lab.grading.judging import judge_elsewhere
from mnist_lab.grading.sandbox import Limits
from mnist_lab.grading.submissions import (
    Submission,
    find_answers,
    find_submissions,
    import_lines,
    read_cells,
)
from mnist_lab.validation import UserError

MISSING = "Missing"
WORDS = {
    RIGHT: "right",
    WRONG: "wrong",
    UNANSWERED: "unanswered",
    FAILED: "not judged",
    MISSING: "missing",
}
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would compute what begins so


@dataclass
class Result:
    """What became of one exercise: a word of `WORDS`, why, and how the answer was found."""

    exercise: str
    title: str
    outcome: str
    why: str
    remarks: list[str] = field(default_factory=list)


def grade(
    folder: Path, table: Path, chosen: Sequence[str] = (), jobs: int = 2, seconds: float = 20.0
) -> list[str]:
    """Grade every notebook in `folder`; write the table, and `<table>.feedback/` beside it.

    `chosen`: the numbers of notebooks whose exercises count; by default those that were handed in.
    `seconds`: how long an answer may take in all.
    Returns what the sandbox could not take from the answers. Raises `UserError` for a folder
    without notebooks, for an unknown number and for what cannot be written.
    """
    submissions = find_submissions(folder)
    if not submissions:
        raise UserError(f"{folder} holds no notebook (.ipynb), and neither do its folders.")
    wanted = [number for number in chosen or numbers()]
    names = list(exercise_names(wanted))
    parts = table.with_suffix(".parts")
    feedback = table.with_suffix(".feedback")
    hidden = [str(path.resolve()) for path in (folder, *folders(), parts, feedback)]
    left, done = [], {}
    for submission in submissions:
        finished = _load(_part(parts, submission, names))
        done |= {submission.name: finished} if finished else {}
        left += [] if finished else [submission]
    for submission, results, lacking in _graded(
        left, jobs, wanted, hidden, Limits(seconds=seconds)
    ):
        done[submission.name] = results, lacking
        _save(_part(parts, submission, names), results, lacking)
    ordered = {one.name: done[one.name] for one in submissions}
    results = {name: found for name, (found, _) in ordered.items()}
    if not chosen:
        there = {
            r.exercise.split("/")[0]
            for found in results.values()
            for r in found
            if r.outcome != WORDS[MISSING]
        }
        results = {
            name: [r for r in found if r.exercise.split("/")[0] in there]
            for name, found in results.items()
        }
    write_file(table, _table(results))
    for name, found in results.items():
        write_file(feedback / f"{_file_name(name)}.html", _page(name, found))
    return sorted({word for _, lacking in ordered.values() for word in lacking})


def exercise_names(chosen: Sequence[str]) -> dict[str, Exercise]:
    """The exercises of these notebooks by their names: "11/share_a_block"."""
    return {f"{number}/{one.name}": one for number in chosen for one in exercises(number)}


def _graded(submissions: Sequence[Submission], jobs: int, *how):
    """Each submission with its results, as they are finished; what breaks a grader is no pass."""
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(jobs, mp_context=context) as pool,
        tqdm(total=len(submissions), unit="notebook") as bar,
    ):
        tasks = {pool.submit(grade_submission, one, *how): one for one in submissions}
        for task in as_completed(tasks):
            try:
                results, lacking = task.result()
            except BrokenProcessPool as error:
                raise UserError(
                    "a grading process was killed: the same command continues."
                ) from error
            bar.update()
            yield tasks[task], results, lacking


def grade_submission(
    submission: Submission, chosen: Sequence[str], hidden: Sequence[str], limits: Limits
) -> tuple[list[Result], list[str]]:
    """The results of one submission in the order of the exercises; and what its sandbox lacked."""
    wanted = exercise_names(chosen)
    try:
        answers = find_answers(read_cells(submission.path), wanted)
    except ValueError as error:
        words = WORDS[MISSING], str(error)
        return [Result(name, one.title, *words) for name, one in wanted.items()], []
    imports, lacked, results = _imports(), set(), []
    for name, exercise in wanted.items():
        answer = answers[name]
        if answer.code is None:
            results.append(Result(name, exercise.title, WORDS[MISSING], " ".join(answer.remarks)))
            continue
        before = {"given": answer.given, "imports": imports.get(name.split("/")[0], [])}
        bounds = {"limits": limits, "hidden": hidden, "key": answer.key}
        try:
            verdict, lacking = judge_elsewhere(exercise, answer.code, **before, **bounds)
        except RuntimeError as error:
            verdict, lacking = Verdict(FAILED, f"{error}: grade it again."), []
        lacked |= set(lacking)
        words = WORDS[verdict.outcome], verdict.why
        results.append(Result(name, exercise.title, *words, answer.remarks))
    return results, sorted(lacked)


def _imports() -> dict[str, list[str]]:
    """What each notebook of the course imports, by its number."""
    folder = project_root() / "notebooks"
    paths = find_notebooks(folder) if folder.is_dir() else []
    return {path.name[:2]: import_lines(read_cells(path)) for path in paths}


def _part(parts: Path, submission: Submission, names: list[str]) -> Path:
    """Where the results of a submission lie: another file, or other exercises, lie elsewhere."""
    library = Path(mnist_lab.__file__).parent
    code = sorted(
        [path for one in folders() for path in one.glob("n*")] + [*library.glob("*ing/*.py")]
    )
    known = b"".join(path.read_bytes() for path in code if path.is_file())
    content = submission.path.read_bytes() if submission.path.stat().st_size < 1 << 26 else b""
    about = json.dumps([submission.name, names]).encode()
    return parts / f"{hashlib.sha256(about + content + known).hexdigest()[:32]}.json"


def _load(path: Path) -> tuple[list[Result], list[str]] | None:
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text("utf-8"))
        return [Result(**one) for one in found["results"]], found["lacking"]
    except (ValueError, KeyError, TypeError):  # grade it again
        return None


def _save(path: Path, results: list[Result], lacking: list[str]) -> None:
    text = json.dumps({"results": [asdict(one) for one in results], "lacking": lacking})
    write_file(path, text + "\n")


def _table(results: Mapping[str, list[Result]]) -> str:
    """The CSV: a row for each submission, a column for each exercise, and how many are right."""
    columns = list(dict.fromkeys(one.exercise for found in results.values() for one in found))
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["submission", *columns, "right", "remarks"])
    for name, found in results.items():
        outcomes = {one.exercise: one.outcome for one in found}
        right = sum(outcome == WORDS[RIGHT] for outcome in outcomes.values())
        remarks = " ".join(f"{one.exercise}: {text}" for one in found for text in one.remarks)
        cells = [name, *(outcomes.get(column, "") for column in columns), right, remarks]
        writer.writerow([f"'{cell}" if str(cell).startswith(FORMULA) else cell for cell in cells])
    return file.getvalue()


def _file_name(name: str) -> str:
    """A name for a submission's page: of letters and digits, and no two alike."""
    mark = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', name).strip('-')[:60]}-{mark}"


def _page(name: str, found: Sequence[Result]) -> str:
    """The page of feedback of one submission."""
    right = sum(one.outcome == WORDS[RIGHT] for one in found)
    lines = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f"<title>{html.escape(name)}</title></head><body>",
        f"<h1>{html.escape(name)}</h1><p>{right} of {len(found)} are right.</p>",
    ]
    for one in found:
        lines += [
            f"<h2>{html.escape(one.exercise.split('/')[0])} · {html.escape(one.title)}</h2>",
            f"<p><strong>{one.outcome}</strong>: {html.escape(one.why)}</p>",
            *(f"<p><em>{html.escape(text)}</em></p>" for text in one.remarks),
        ]
    return "\n".join([*lines, "</body></html>\n"])

"""A folder of submitted notebooks graded: a table, and a page of feedback for each.

What is finished lies beside the table, so the same command continues after any interruption.
"""

import csv
import hashlib
import html
import io
import json
import multiprocessing
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tqdm import tqdm

from mnist_lab.course.notebooks import find_notebooks
from mnist_lab.exercises import exercises, folders, numbers
from mnist_lab.exercises.question import FAILED, RIGHT, UNANSWERED, WRONG, Exercise, Verdict
from mnist_lab.files import project_root, write_file
from mnist_lab.grading.judging import judge_elsewhere
from mnist_lab.grading.sandbox import Limits, limit_memory
from mnist_lab.grading.submissions import (
    Submission,
    definitions,
    find_answers,
    find_submissions,
    read_cells,
    readable,
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
MEMORY = 6 << 30  # bytes that a grading process may take
ENVIRONMENT = {
    "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "MNIST_LAB_EXERCISES", "OMP_NUM_THREADS", "PATH",
    "PYTHONPATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "VIRTUAL_ENV", "XDG_RUNTIME_DIR",
}  # fmt: skip
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
    imports, submissions = _imports(), find_submissions(folder)
    if not submissions:
        raise UserError(f"{folder} holds no notebook (.ipynb), and neither do its folders.")
    wanted = [number for number in chosen or numbers()]
    about = f"{_code()} {list(exercise_names(wanted))}"
    parts = table.with_suffix(".parts")
    feedback = table.with_suffix(".feedback")
    hidden = [str(path.resolve()) for path in (folder, *folders(), parts, feedback)]
    left, done = [], {}
    for submission in submissions:
        finished = _load(_part(parts, submission, about))
        done |= {submission.name: finished} if finished else {}
        left += [] if finished else [submission]
    for submission, results, lacking in _graded(
        left, jobs, wanted, imports, hidden, Limits(seconds=seconds)
    ):
        done[submission.name] = results, lacking
        if all(one.outcome != WORDS[FAILED] for one in results):
            _save(_part(parts, submission, about), results, lacking)
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


def _graded(submissions: Sequence[Submission], jobs: int, chosen: Sequence[str], *how):
    """Each submission with its results, as they are finished.

    One whose grading process is killed, by the system where memory ends, is tried once more, alone;
    then it is not judged, and the others go on.
    """
    with tqdm(total=len(submissions), unit="notebook") as bar:
        left = list(submissions)
        while left:
            finished, suspects = [], []
            for submission, found in _side_by_side(left, jobs, chosen, *how):
                (suspects if found is None else finished).append(submission)
                if found is not None:
                    bar.update()
                    yield submission, *found
            for submission in suspects:
                ((_, found),) = _side_by_side([submission], 1, chosen, *how)
                finished.append(submission)
                bar.update()
                yield submission, *(found or (_not_judged(chosen, "the grader was killed"), []))
            left = [one for one in left if one not in finished]


def _side_by_side(submissions: Sequence[Submission], jobs: int, *how):
    """Each submission with its results; None for those that were at work when a process died."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_prepare) as pool:
        tasks = {pool.submit(grade_submission, one, *how): one for one in submissions}
        broken = []
        for task in as_completed(tasks):
            try:
                yield tasks[task], task.result()
            except BrokenProcessPool:
                broken.append(tasks[task])
    # They are begun in order, and no more of them than there are processes at a time.
    yield from ((one, None) for one in [one for one in submissions if one in broken][:jobs])


def _prepare() -> None:
    """In a grading process: nothing of the environment for the answers, and an end of memory."""
    for name in os.environ.keys() - ENVIRONMENT:
        del os.environ[name]
    limit_memory(MEMORY)


def _not_judged(chosen: Sequence[str], why: str) -> list["Result"]:
    return [
        Result(name, one.title, WORDS[FAILED], f"{why}: look yourself.")
        for name, one in exercise_names(chosen).items()
    ]


def grade_submission(
    submission: Submission,
    chosen: Sequence[str],
    imports: Mapping[str, list[str]],
    hidden: Sequence[str],
    limits: Limits,
) -> tuple[list[Result], list[str]]:
    """The results of one submission in the order of the exercises; and what its sandbox lacked."""
    wanted = exercise_names(chosen)
    try:
        cells = read_cells(submission.path)
        answers, own = find_answers(cells, wanted), definitions(cells)
    except ValueError as error:
        words = WORDS[MISSING], str(error)
        return [Result(name, one.title, *words) for name, one in wanted.items()], []
    lacked, results = set(), []
    for name, exercise in wanted.items():
        answer = answers[name]
        if answer.code is None:
            results.append(Result(name, exercise.title, WORDS[MISSING], " ".join(answer.remarks)))
            continue
        known = [*imports.get(name.split("/")[0], []), *own]
        bounds = {"limits": limits, "hidden": hidden, "key": answer.key}
        try:
            verdict, lacking = judge_elsewhere(exercise, answer.code, answer.given, known, **bounds)
        except Exception as error:  # whatever it is, the others are judged
            verdict, lacking = Verdict(FAILED, f"{type(error).__name__}: look yourself."), []
        lacked |= set(lacking)
        words = WORDS[verdict.outcome], readable(verdict.why)
        results.append(Result(name, exercise.title, *words, list(map(readable, answer.remarks))))
    return results, sorted(lacked)


def _imports() -> dict[str, list[str]]:
    """What each notebook of the course imports and defines, by its number.

    Raises `UserError` where there are no notebooks.
    """
    folder = project_root() / "notebooks"
    if not folder.is_dir():
        raise UserError(
            "grade in a clone of the course: an answer may use what its notebook imports."
        )
    paths = find_notebooks(folder)
    return {path.name[:2]: definitions(read_cells(path)) for path in paths}


def _code() -> str:
    """A mark of all that a verdict depends on, but for the answer: it is another after a change."""
    here = [*folders(), Path(__file__).parent]
    files = sorted(path for folder in here for path in folder.iterdir() if path.is_file())
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _part(parts: Path, submission: Submission, about: str) -> Path:
    """Where the results of a submission lie: of another file, or by other checks, elsewhere."""
    content = b""
    with suppress(OSError):  # it is told when it is read
        if submission.path.stat().st_size < 1 << 26:
            content = submission.path.read_bytes()
    known = f"{about} {submission.name} ".encode()
    return parts / f"{hashlib.sha256(known + content).hexdigest()[:32]}.json"


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
    writer = csv.writer(file, quoting=csv.QUOTE_ALL)  # whatever a spreadsheet parts by
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

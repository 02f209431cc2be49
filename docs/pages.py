"""The pages of the site that are made of something else: notebooks, model cards, records, tables.

They are written into `docs/made` and `docs/notebooks`, which are not committed. A notebook is taken
as it is stored, but for its badges, which would come from other hosts: the page's launch buttons do
the same.
"""

import csv
import html
import importlib
import io
import re
import shutil
import sys
import tomllib
from contextlib import redirect_stdout
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from nbformat import writes

from mnist_lab.course.javascript import to_javascript
from mnist_lab.course.notebooks import find_notebooks, minutes_needed, read_notebook
from mnist_lab.course.tables import table
from mnist_lab.exercises import exercises, numbers
from mnist_lab.exercises.question import WRONG
from mnist_lab.recipes import NETWORKS
from mnist_lab.records import load_records, select_runs
from mnist_lab.studies.measuring import mean_text

ROOT = Path(__file__).parent.parent
PUBLISHED = ROOT / "mnist_lab" / "published"
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"][
    "Repository"
]
BADGES = re.compile(r"^\[!\[.*\n\n", re.MULTILINE)
ON_THE_PAD = "gap", "bottleneck", "700"
# Links that lead somewhere on GitHub, where the pages can be read too, and where they lead here.
LINKS = {
    "](../notebooks/": "](notebooks/",
    "](../mnist_lab/weights/": "](made/models/",
    "](../mnist_lab": f"]({REPOSITORY}/blob/main/mnist_lab",
}


def write_pages(docs: Path) -> None:
    """Write all of them anew."""
    made = docs / "made"
    for folder in (made, docs / "notebooks"):
        shutil.rmtree(folder, ignore_errors=True)
    notebooks = {path: read_notebook(path) for path in find_notebooks(ROOT / "notebooks")}
    texts = _notebooks(notebooks) | _cards() | _tables(notebooks)
    texts["static/weights.js"] = "".join(map(to_javascript, ON_THE_PAD))
    for name, text in texts.items():
        path = (docs if name.startswith("notebooks/") else made) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    _write_records(made / "static")


def with_links(text: str) -> str:
    """The text of a page with its links as they are on the site."""
    for there, here in LINKS.items():
        text = text.replace(there, here)
    return text


def hours() -> int:
    """How long a student needs for all notebooks."""
    notebooks = map(read_notebook, find_notebooks(ROOT / "notebooks"))
    return round(sum(map(minutes_needed, notebooks)) / 60)


def _notebooks(notebooks: dict) -> dict[str, str]:
    """Also the solutions."""
    folder = ROOT / "notebooks"
    solutions = {path: read_notebook(path) for path in sorted(folder.glob("solutions/*.ipynb"))}
    texts = {}
    for path, notebook in (notebooks | solutions).items():
        for cell in notebook.cells:
            cell.source = BADGES.sub("", cell.source)
        texts[f"notebooks/{path.relative_to(folder).as_posix()}"] = writes(notebook) + "\n"
    return texts


def _cards() -> dict[str, str]:
    """The model cards, without the lines that a hub of models reads."""
    texts = {}
    for name in NETWORKS:
        text = (ROOT / "mnist_lab" / "weights" / f"{name}.md").read_text("utf-8")
        text = text.split("---\n", 2)[2].lstrip()
        texts[f"models/{name}.md"] = text.replace(
            "](../published/", f"]({REPOSITORY}/blob/main/mnist_lab/published/"
        )
    return texts


def _tables(notebooks: dict) -> dict[str, str]:
    """The parts of pages that are tables, for `{include}`."""
    tables = {
        "goals": _goals(load_records()),
        "sections": _sections(notebooks),
        "mistakes": _mistakes(),
        "slides": _slides(notebooks),
    }
    return {f"tables/{name}.md": text + "\n" for name, text in tables.items()}


def _goals(records: list[dict]) -> str:
    """The two published networks: what was published, and what many runs come to."""
    rows = []
    for key, published in (("gap", "99.39 % (validation)"), ("bottleneck", "99.58 %")):
        entry = NETWORKS[key]
        runs = select_runs(records, entry.network.__name__, "random")
        test = [run["test"]["correct"] / run["test"]["total"] for run in runs]
        rows.append(
            {
                "network": f"**{entry.network.__name__}**",
                "parameters": f"{runs[0]['parameters']:,}",
                "epochs": str(entry.recipe.num_epochs),
                "published, one run": published,
                f"here, {len(runs)} runs, test digits": mean_text(test),
            }
        )
    return table(rows)


def _sections(notebooks: dict) -> str:
    """Minutes for each section and the exercises, of those that a notebook's head names."""
    rows = []
    for path, notebook in notebooks.items():
        parts, title = {}, "opening"
        for cell in notebook.cells:
            text = cell.source if cell.cell_type == "markdown" else ""
            heads = re.findall(r"^(?:## |### (?=Exercise \d))(.+)", text, re.M)
            title = heads[-1] if heads else title
            weight = len(cell.source) * (1.0 if cell.cell_type == "markdown" else 0.6)
            weight += 1200 if "-answer" in cell.id else 0  # an exercise is worked, not read
            parts[title] = parts.get(title, 0) + weight
        parts.pop("Further reading", None)
        total, name = sum(parts.values()), path.stem.replace("_", " ")
        for part, weight in parts.items():
            minutes = minutes_needed(notebook) * weight / total
            rows.append({"notebook": name, "section": part, "minutes": f"{max(1, round(minutes))}"})
            name = ""
    return table(rows)


def _slides(notebooks: dict) -> str:
    """Where `make site` puts the slides; Sphinx does not know these pages."""
    links = [
        f'<li><a href="../slides/{path.name[:2]}.html">{path.stem.replace("_", " ")}</a></li>'
        for path in notebooks
    ]
    return "\n".join(["```{raw} html", "<ul>", *links, "</ul>", "```"])


def _mistakes() -> str:
    """Every sentence that a check of an exercise is proven to say of a wrong answer."""
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "exercises")]
    from answers import expect

    lines = []
    for number in numbers():
        cases = importlib.import_module(f"test_n{number}").CASES
        for i, exercise in enumerate(exercises(number), 1):
            wrong = cases[exercise.name].wrong.items()
            with redirect_stdout(io.StringIO()):
                said = [expect(exercise, code, WRONG, part) for code, part in wrong]
            lines.append(f"**{number}.{i} {exercise.title}**\n")
            lines += [f"- {html.escape(text, quote=False)}" for text in dict.fromkeys(said)]
            lines.append("")
    return "\n".join(lines)


def _write_records(folder: Path) -> None:
    """Every published training as a row of one table, and the studies' files as they are."""
    rows = []
    for record in load_records():
        test, recipe = record["test"], record["recipe"]
        rows.append(
            {
                "network": record["network"],
                "parameters": record["parameters"],
                "split": record["split"],
                "precision": record["precision"],
                "epochs": recipe["num_epochs"],
                "seed": record["seed"],
                "test_accuracy": test["correct"] / test["total"],
                "seconds": sum(record["seconds_per_epoch"]),
            }
        )
    with open(folder / "trainings.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    with ZipFile(folder / "records.zip", "w", ZIP_DEFLATED) as archive:
        for path in sorted(PUBLISHED.rglob("*.json")):
            archive.write(path, path.relative_to(PUBLISHED).as_posix())

"""Notebooks get other numbers, and whatever names them follows.

A number stands in the names of files (`03_title.ipynb`, `solutions_03.ipynb`, `n03.py`), in the ids
of cells and in prose, tests and tables. `renumber` finds them by the forms in `FORMS`, and changes
all in one pass: 03 may become 04 while 04 becomes 05. Look at the difference before you commit it.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from mnist_lab.course.notebooks import find_notebooks
from mnist_lab.files import read_text, write_files
from mnist_lab.validation import UserError

FORMS = {
    # Whatever has a zero in front, and is no part of a date, a decimal, a format or an image.
    "03 alone": r"(?<![\w.,:/+#=%-])(?<!\d\*\*)0\d(?![\w%/+=-]|[.,:]\d)",
    'an id: "03-begin"': r'(?<=")0\d(?=-)|(?<="id": ")\d\d(?=-)',
    "a file: 03_title": r"(?:(?<![\w.-])|(?<=\\n))\d\d(?=_[a-z])|(?<=ns_|ck_|ts_)\d\d",
    "its exercises: n03.py, q03-begin, s03-top": r"(?<![A-Za-z\d+])[nqs]\d\d(?![A-Za-z\d+/=])",
    "notebooks 03, 05 and 10": (
        r"\b[Nn]otebooks?\s+\d\d(?:(?:, | and | or | to |–)\d\d)*(?![\w%]|[.,]\d)"
    ),
    "a title: [10 · Draw a digit], | [10 draw a digit](notebooks/": (
        r"(?:# |\[)\d\d(?= · | [^]\n]*\]\(notebooks/)"
    ),
    "a command: sweep 04 10": r"mnist_lab (?:run|sweep|exercises)(?: \d\d)+\b(?![.,]\d)",
    'a call: questions("10", …': r'(?:questions|quick|exercises|proofs)\(\\?"\d\d(?=\\?")',
    'a case, a list: ("10", {…}), ["08", "10"]': r'(?<=\(")\d\d(?=", \{)|(?<="\d\d", ")\d\d(?=")',
}
ANY = re.compile("|".join(FORMS.values()))
FOLDERS = (".ci", ".github", "binder", "docs", "mnist_lab", "notebooks", "paper", "tests")
SUFFIXES = {"", ".ipynb", ".js", ".json", ".md", ".py", ".pyi", ".toml", ".txt", ".yml"}
# What was measured stays, but for the costs of the notebooks; so do rules that were frozen.
KEPT, COSTS = {"published", "rules.toml"}, "costs.json"
MADE = {"docs/made", "docs/notebooks"}  # of the site, anew each time


def renumber(root: Path, pairs: Sequence[str]) -> list[Path]:
    """Give notebooks the numbers of `pairs`, such as `03=04`, and return the files that changed.

    Nothing is written unless all can be. Raises `UserError` for numbers that cannot be given.
    """
    numbers = _checked(pairs, {path.name[:2] for path in find_notebooks(root / "notebooks")})
    old, changed = set(), {}
    for path in _files(root):
        before = read_text(path)
        text, target = _follow(before, numbers), path.with_name(_follow(path.name, numbers))
        if (target, text) != (path, before):
            changed[target] = text
            old.add(path)
    write_files(changed)
    for path in old - changed.keys():
        path.unlink()
    return sorted(changed)


def _checked(pairs: Sequence[str], known: set[str]) -> dict[str, str]:
    """The new numbers by the old ones."""
    numbers = {}
    for pair in pairs:
        if not re.fullmatch(r"[0-9]{2}=[0-9]{2}", pair):
            raise UserError(f"{pair!r} says no change of number: write OLD=NEW, such as 03=04.")
        old, new = pair.split("=")
        if old not in known:
            raise UserError(f"there is no notebook {old}; there are: {', '.join(sorted(known))}.")
        if old in numbers:
            raise UserError(f"notebook {old} is given two numbers, {numbers[old]} and {new}.")
        if new in numbers.values():
            raise UserError(f"two notebooks are given the number {new}.")
        numbers[old] = new
    for new in numbers.values():
        if new in known - numbers.keys():
            raise UserError(f"there is a notebook {new} already: give it another number, too.")
    return numbers


def _files(root: Path) -> Iterator[Path]:
    """The files that may name a notebook. This one and its test speak of any."""
    inside = [path for folder in FOLDERS for path in sorted((root / folder).rglob("*"))]
    for path in [*sorted(root.glob("*")), *inside]:
        kept = KEPT.intersection(path.parts) and path.name != COSTS
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts[1:])
        hidden |= any((root / made) in path.parents for made in MADE)
        named = path.suffix in SUFFIXES and not path.stem.endswith("renumber")
        if named and path.is_file() and not kept and not hidden:
            yield path


def _follow(text: str, numbers: dict[str, str]) -> str:
    """The text with the new numbers, in a single pass: none is changed twice."""

    def changed(found: re.Match) -> str:
        return re.sub(r"\d\d", lambda number: numbers.get(number[0], number[0]), found[0])

    return ANY.sub(changed, text)

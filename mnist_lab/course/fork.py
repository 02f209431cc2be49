"""The repository's address, wherever it stands.

It lives in one place, `[project.urls] Repository` in pyproject.toml. Badges, setup cells and clone
addresses have to repeat it, because Colab, Binder and git are given nothing else:
`rewrite_addresses` makes them follow.
"""

import re
from collections.abc import Callable
from pathlib import Path

from nbformat import writes

from mnist_lab.course.notebooks import read_notebook
from mnist_lab.files import read_text, write_files
from mnist_lab.validation import UserError

START = "00_start_here.ipynb"  # where the README's badges lead
GITHUB = "https://github.com/"
COLAB_IMAGE = "https://colab.research.google.com/assets/colab-badge.svg"
BINDER_IMAGE = "https://mybinder.org/badge_logo.svg"
TARGETS = {  # of the badges, which are known by their pictures
    COLAB_IMAGE: "https://colab.research.google.com/github/{repo}/blob/{ref}/{path}",
    BINDER_IMAGE: "https://mybinder.org/v2/gh/{repo}/{ref}?urlpath=lab/tree/{path}",
}

# GitHub's rules, and no '-' or '.' in front of a name: a command takes the one for an option, and
# the other hides a folder.
REPO = re.compile(
    r"(?!.{40,}/)[A-Za-z0-9]+(-[A-Za-z0-9]+)*"  # OWNER
    r"/(?!.{101})\w([\w.-]*[\w-])?(?<!\.git)(?<!\.wiki)",  # NAME
    re.ASCII,
)
# Stricter than git: what means the same in a Colab path, a Binder path and pip's `@ref`.
REF = re.compile(r"\w+([.-]\w+)*", re.ASCII)
REPOSITORY = re.compile(rf'^(Repository\s*=\s*"{GITHUB})([^"\n]*)"', re.MULTILINE)
# Whatever it is called, and wherever it leads.
BADGE = re.compile(rf"\[!\[[^]\n]*\]\(({'|'.join(map(re.escape, TARGETS))})\)\]\(([^)\s]*)\)")
SETUP = """\
# On Colab, install the course's library; everywhere else this cell does nothing.
import importlib.util
import sys

if "google.colab" in sys.modules and importlib.util.find_spec("mnist_lab") is None:
    %pip install --quiet --no-deps anywidget psygnal git+{address}@{ref}"""


def badges(repo: str, ref: str, notebook: str = START) -> str:
    """The Markdown of both badges; they open a notebook of the course, or else its first one."""
    return " ".join(_badge(image, repo, ref, notebook) for image in TARGETS)


def setup_cell(repo: str, ref: str) -> str:
    """The source of every notebook's first code cell."""
    return SETUP.format(address=GITHUB + repo, ref=ref)


def rewrite_addresses(root: Path, repo: str, ref: str = "main") -> list[Path]:
    """Make everything point to `repo` at `ref`, and return the files that changed.

    Changes pyproject's Repository and, in README and notebooks, badges, setup cells and the plain
    address of the repository; outputs stay as they are. Nothing is written unless all can be.

    Raises `UserError` for a name that cannot be one, or a file that cannot be followed or written.
    """
    if not REPO.fullmatch(repo):
        raise UserError(
            f"{repo!r} is not a repository: write OWNER/NAME, at most 39 letters and digits with "
            "single '-' in between, and at most 100 letters, digits, '_', '-' and '.', with no "
            "'-' or '.' in front and no '.', '.git' or '.wiki' at the end."
        )
    if not REF.fullmatch(ref):
        raise UserError(
            f"{ref!r} cannot be used as a ref: name a branch, tag or commit that is made of "
            "letters, digits and '_', with single '.' or '-' in between."
        )
    pyproject = root / "pyproject.toml"
    texts = {path: read_text(path) for path in (root / "README.md", pyproject)}
    found = REPOSITORY.search(texts[pyproject])
    if not found:
        raise UserError(f'{pyproject} has no line Repository = "{GITHUB}OWNER/NAME".')
    # `name.git` is the same repository; `name-2` or `name.github.io` is another.
    address = re.compile(re.escape(GITHUB + found[2]) + r"(?![\w-]|\.(?!git\b)\w)")

    def follow(text: str) -> str:
        text = address.sub(GITHUB + repo, text)
        return BADGE.sub(lambda badge: _badge(badge[1], repo, ref, badge[2]), text)

    changed = {root / "README.md": follow(texts[root / "README.md"])}
    folder = root / "notebooks"
    for path in sorted([*folder.glob("*.ipynb"), *folder.glob("solutions/*.ipynb")]):
        texts[path] = read_text(path)
        changed[path] = _rewrite_cells(path, follow, setup_cell(repo, ref))
    # The last to be written: after an interruption, the old address is still known.
    changed[pyproject] = REPOSITORY.sub(rf'\g<1>{repo}"', texts[pyproject])
    changed = {path: text for path, text in changed.items() if text != texts[path]}
    write_files(changed)
    return list(changed)


def _badge(image: str, repo: str, ref: str, address: str) -> str:
    """A badge that opens the notebook which this address, an older one perhaps, ends with."""
    found = re.search(r"[\w-]+\.ipynb$", address)
    path = f"notebooks/{found[0] if found else START}"
    name = "Open in Colab" if image == COLAB_IMAGE else "Open in Binder"
    return f"[![{name}]({image})]({TARGETS[image].format(repo=repo, ref=ref, path=path)})"


def _rewrite_cells(path: Path, follow: Callable[[str], str], setup: str) -> str:
    """The notebook's text, as Jupyter itself writes it: the difference is these cells alone."""
    notebook = read_notebook(path)
    for cell in notebook.cells:
        is_setup = cell.cell_type == "code" and cell.source.startswith(SETUP.splitlines()[0])
        cell.source = setup if is_setup else follow(cell.source)
    return writes(notebook) + "\n"

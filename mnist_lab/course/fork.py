"""The repository's address, wherever it stands.

It lives in one place, `[project.urls] Repository` in pyproject.toml. Badges, setup cells and clone
addresses have to repeat it, because Colab, Binder and git are given nothing else:
`rewrite_addresses` makes them follow.
"""

import re
from pathlib import Path

from nbformat import writes

from mnist_lab.course.notebooks import read_notebook
from mnist_lab.files import read_text, write_files
from mnist_lab.validation import UserError

GITHUB = "https://github.com/"
# GitHub's rules, and no '-' or '.' in front of a name: a command takes the one for an option, and
# the other hides a folder.
REPO = re.compile(
    r"(?!.{40,}/)[A-Za-z0-9]+(-[A-Za-z0-9]+)*"  # OWNER
    r"/(?!.{101})\w([\w.-]*[\w-])?(?<!\.git)(?<!\.wiki)",  # NAME
    re.ASCII,
)
# Stricter than git: what means the same in a Colab path, a Binder path and pip's `@ref`.
REF = re.compile(r"\w+([.-]\w+)*", re.ASCII)
REPOSITORY = re.compile(rf'^Repository\s*=\s*"({GITHUB}[^"\n]*)"', re.MULTILINE)
OTHERS = "CONTRIBUTING.md", "CITATION.cff", "docs/*.md"  # which name the repository
# The sentence that leads to them.
SOLUTIONS = re.compile(r"\s*[^.]*\[[^\]]*\]\(solutions/[^)]*\)[^.]*\.")
# Wherever these lead now, they lead to the course.
COLAB = (
    r"(colab-badge\.svg\)\]\(https://colab\.research\.google\.com/github)/[^)\s]*?/blob/[^/)\s]+"
)
BINDER = r"(badge_logo\.svg\)\]\(https://mybinder\.org/v2/gh)/[^?)\s]+"
SETUP = rf"(%pip install [^\n]*git\+{GITHUB})[\w./-]+@[\w.-]+"


def rewrite_addresses(root: Path, repo: str, ref: str = "main") -> list[Path]:
    """Make everything point to `repo` at `ref`, and return the files that changed.

    That is, in pyproject, README, the site's pages and notebooks, badges, setup cells, the site's
    address and the plain one of the repository. Nothing is written unless all can be. Raises
    `UserError` for a name that cannot be one, or a file that cannot be read or written.
    """
    if not REPO.fullmatch(repo):
        raise UserError(f"{repo!r} is not a repository: write OWNER/NAME, as GitHub has it.")
    if not REF.fullmatch(ref):
        raise UserError(
            f"{ref!r} cannot be used as a ref: name a branch, tag or commit that is made of "
            "letters, digits and '_', with single '.' or '-' in between."
        )
    pyproject, folder = root / "pyproject.toml", root / "notebooks"
    notebooks = [*folder.glob("*.ipynb"), *folder.glob("solutions/*.ipynb")]
    others = [path for pattern in OTHERS for path in sorted(root.glob(pattern))]
    # The last is written last: after an interruption, the old address is still known.
    texts = {path: read_text(path) for path in (root / "README.md", *others, *notebooks, pyproject)}
    found = REPOSITORY.search(texts[pyproject])
    if not found:
        raise UserError(f'{pyproject} has no line Repository = "{GITHUB}OWNER/NAME".')
    rules = {
        COLAB: rf"\g<1>/{repo}/blob/{ref}",
        BINDER: rf"\g<1>/{repo}/{ref}",
        SETUP: rf"\g<1>{repo}@{ref}",
        # `name.git` is the same repository; `name-2` or `name.github.io` is another.
        re.escape(found[1]) + r"(?![\w-]|\.(?!git\b)\w)": GITHUB + repo,
        re.escape(site_of(found[1].removeprefix(GITHUB))) + r"(?![\w-]|\.\w)": site_of(repo),
    }
    changed = {}
    for path, text in texts.items():
        for pattern, address in rules.items():
            text = re.sub(pattern, address, text)
        if text != texts[path]:
            changed[path] = text
    write_files(changed)
    return list(changed)


def site_of(repo: str) -> str:
    """Where GitHub Pages shows the site of a repository."""
    owner, _, name = repo.partition("/")
    return f"https://{owner}.github.io/{name}"


def remove_solutions(root: Path) -> list[Path]:
    """Take the solutions out of a copy for students, and return what was changed or removed.

    That is, the notebooks of solutions, the solutions in the exercises' texts, and the sentence
    that leads to them. What is removed is in the repository's history, if this is a clone: hand
    out the files, not the history.
    """
    texts, removed = root / "mnist_lab" / "exercises", []
    for path in [*root.glob("notebooks/solutions/*.ipynb"), *texts.glob("experiments_*.md")]:
        path.unlink()
        removed.append(path)
    changed = {}
    for path in sorted(texts.glob("n[0-9][0-9].md")):
        changed[path] = re.sub(
            r"^### Solution\n.*?(?=^###? )", "", read_text(path), flags=re.M | re.S
        )
    for path in sorted(root.glob("notebooks/*.ipynb")):
        notebook = read_notebook(path)
        for cell in notebook.cells:
            cell.source = SOLUTIONS.sub("", cell.source)
        changed[path] = writes(notebook) + "\n"
    changed = {path: text for path, text in changed.items() if text != read_text(path)}
    write_files(changed)
    return [*removed, *changed]

"""What is done to the site once Sphinx has written it: smaller, and open to screen readers."""

import re
import shutil
from pathlib import Path

from mnist_lab.course.slides import share_images


def finish(app, error) -> None:
    """Called by Sphinx at its end, for `html` only."""
    if error or app.builder.name != "html":
        return
    root = Path(app.outdir)
    shutil.rmtree(root.parent / "jupyter_execute", ignore_errors=True)  # myst-nb's copies
    for path in [*root.glob("_static/**/*.map"), *root.glob("_static/*macros.html")]:
        path.unlink()
    for path in root.rglob("*.html"):
        text = name_landmarks(path.read_text("utf-8"))
        path.write_text(share_images(text, path, root / "_images"), "utf-8")


def name_landmarks(text: str) -> str:
    """The theme leaves things without a name or a role that screen readers ask for.

    And a table that may be wider than its page has to be reached by the keyboard to be scrolled.
    """
    text = text.replace('<table class="', '<table tabindex="0" class="')
    text = text.replace("<summary><span", '<summary aria-label="Show what is in it"><span')
    return re.sub(
        r'(<(?:div|dialog)[^>]*class="bd-sidebar-primary[^"]*")',
        r'\1 role="navigation" aria-label="Site"',
        text,
    )

"""What is done to the site once Sphinx has written it: smaller, and open to screen readers."""

import base64
import hashlib
import os
import re
from pathlib import Path

IMAGE = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=\n]+)")


def finish(app, error) -> None:
    """Called by Sphinx at its end, for `html` only."""
    if error or app.builder.name != "html":
        return
    root = Path(app.outdir)
    for path in [*root.glob("_static/**/*.map"), *root.glob("_static/*macros.html")]:
        path.unlink()
    for path in root.rglob("*.html"):
        text = name_landmarks(path.read_text("utf-8"))
        path.write_text(share_images(text, path, root), "utf-8")


def name_landmarks(text: str) -> str:
    """The theme leaves two things without a name or a role that screen readers ask for."""
    text = text.replace("<summary><span", '<summary aria-label="Show what is in it"><span')
    return re.sub(
        r'(<(?:div|dialog)[^>]*class="bd-sidebar-primary[^"]*")',
        r'\1 role="navigation" aria-label="Site"',
        text,
    )


def share_images(text: str, path: Path, root: Path) -> str:
    """Put the pictures of a page into files: as text they take a third more."""
    folder = root / "_images"

    def share(found: re.Match) -> str:
        content = base64.b64decode(found[1])
        name = f"{hashlib.sha256(content).hexdigest()[:20]}.png"
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        return f"{os.path.relpath(folder, path.parent)}/{name}".replace(os.sep, "/")

    return IMAGE.sub(share, text)

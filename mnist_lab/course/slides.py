"""Slides of the notebooks, for lectures: what students see, a heading or a text on each slide.

nbconvert makes them for reveal.js, whose files are put beside them: no other host is asked.
"""

import base64
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from nbconvert import SlidesExporter
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell
from traitlets.config import Config

from mnist_lab.course.notebooks import find_notebooks, read_notebook
from mnist_lab.files import write_file
from mnist_lab.validation import UserError

REVEAL = ("dist/reveal.js", "dist/reveal.css", "dist/theme/white.css", "plugin/notes/notes.js")
FONTS = re.compile(r"@import\b[^;]*;")  # of the theme: three megabytes, and the system has some
END = ("## Exercises", "## Experiments")
IMAGE = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=\n]+)")
ELSEWHERE = re.compile(r"\[([^\]]*)\]\((?!https?:|#|\d\d\.html)[^)]*\)")  # no page of slides
STYLE = re.compile(r"<style[^>]*>([^<]{5000,})</style>")  # JupyterLab's: 250 kB for every page
# nbconvert's page without the scripts that it would fetch from other hosts.
TEMPLATE = """{%- extends 'reveal/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_css -%}<style>
.reveal .slides section { height: 96vh; overflow-y: auto; text-align: left; }
.reveal .slides > section:has(> section) { overflow: visible; }
.reveal img { max-width: 100%; }
.reveal { --r-heading-text-transform: none; --jp-code-font-size: 16px; }
</style>{%- endblock -%}
{%- block footer_js -%}
<script src="reveal/dist/reveal.js"></script>
<script src="reveal/plugin/notes/notes.js"></script>
<script>
Reveal.initialize({hash: true, center: false, width: 1100, height: 700, slideNumber: true,
                   plugins: [RevealNotes]});
</script>
{%- endblock -%}
"""


def make_slides(root: Path, folder: Path) -> list[Path]:
    """Write a page of slides for every notebook into `folder`; return the pages.

    Their pictures are the site's where it lies around the folder. Raises `UserError` without the
    extra `site`.
    """
    _copy_reveal(folder / "reveal")
    images = folder.parent / "_images"
    images = images if images.is_dir() else folder / "images"
    pages = []
    for path in find_notebooks(root / "notebooks"):
        exporter = SlidesExporter(
            raw_template=TEMPLATE,
            config=Config(
                SlidesExporter={
                    "reveal_url_prefix": "reveal",
                    "reveal_theme": "white",
                    "exclude_anchor_links": True,
                }
            ),
        )
        text, _ = exporter.from_notebook_node(with_slides(read_notebook(path)))
        pages.append(folder / f"{path.name[:2]}.html")
        text = _share_styles(share_images(text, pages[-1], images), folder)
        write_file(pages[-1], text)
    return pages


def share_images(text: str, page: Path, folder: Path) -> str:
    """Put the pictures of a page into files, each once: as text they take a third more."""

    def share(found: re.Match) -> str:
        content = base64.b64decode(found[1])
        path = folder / f"{hashlib.sha256(content).hexdigest()[:20]}.png"
        write_file(path, content)
        return os.path.relpath(path, page.parent).replace(os.sep, "/")

    return IMAGE.sub(share, text)


def _share_styles(text: str, folder: Path) -> str:
    def share(found: re.Match) -> str:
        path = folder / "reveal" / f"{hashlib.sha256(found[1].encode()).hexdigest()[:20]}.css"
        write_file(path, found[1])
        return f'<link rel="stylesheet" href="reveal/{path.name}">'

    return STYLE.sub(share, text)


def with_slides(notebook: NotebookNode) -> NotebookNode:
    """The notebook up to its exercises, each cell told where it stands.

    A heading begins a slide, any other text one below it, and code stays with the text before it.
    """
    cells = []
    for cell in _divided(notebook.cells):
        if cell.source.startswith(END):
            break
        kind = "-" if cell.cell_type == "code" else "subslide"
        kind = "slide" if cell.source.startswith(("# ", "## ")) else kind
        installs = "google.colab" in cell.source and cell.cell_type == "code"
        cell.metadata["slideshow"] = {"slide_type": "skip" if installs else kind}
        cell.source = re.sub(r"^\[!\[.*\n", "", cell.source, flags=re.M)
        cell.source = re.sub(r"\]\((\d\d)_\w+\.ipynb", r"](\1.html", cell.source)
        cell.source = ELSEWHERE.sub(r"\1", cell.source)
        cells.append(cell)
    notebook.cells = cells
    return notebook


def _divided(cells: Sequence[NotebookNode]) -> Iterator[NotebookNode]:
    """The cells; a text goes on in a new one where a heading stands in it."""
    for cell in cells:
        parts = [cell.source]
        if cell.cell_type == "markdown":
            parts = [part for part in re.split(r"^(?=##? )", cell.source, flags=re.M) if part]
        yield from (new_markdown_cell(part) for part in parts[:-1])
        cell.source = parts[-1]
        yield cell


def _copy_reveal(folder: Path) -> None:
    found = find_spec("sphinx_revealjs")
    if found is None:
        raise UserError('slides need reveal.js: pip install "mnist-lab[site]".')
    source = Path(found.origin).parent / "_static" / "revealjs"
    for name in REVEAL:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".css"):
            target.write_text(FONTS.sub("", (source / name).read_text("utf-8")), "utf-8")
        else:
            shutil.copy(source / name, target)

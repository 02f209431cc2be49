"""Slides of the notebooks, for lectures: what students see, a heading or a text on each slide.

nbconvert makes them for reveal.js, whose files are put beside them: no other host is asked.
"""

import re
import shutil
from importlib.util import find_spec
from pathlib import Path

from nbconvert import SlidesExporter
from nbformat import NotebookNode
from traitlets.config import Config

from mnist_lab.course.notebooks import find_notebooks, read_notebook
from mnist_lab.files import write_file
from mnist_lab.validation import UserError

REVEAL = ("dist/reveal.js", "dist/reveal.css", "dist/theme/white.css", "plugin/notes/notes.js")
FONTS = re.compile(r"@import\b[^;]*;")  # of the theme: three megabytes, and the system has some
END = "## Exercises"
# nbconvert's page without the scripts that it would fetch from other hosts.
TEMPLATE = """{%- extends 'reveal/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_css -%}<style>
.reveal .slides section { height: 96vh; overflow-y: auto; text-align: left; }
.reveal .slides > section:has(> section) { overflow: visible; }
.reveal img { max-width: 100%; }
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

    Raises `UserError` without the extra `site`.
    """
    _copy_reveal(folder / "reveal")
    pages = []
    for path in find_notebooks(root / "notebooks"):
        exporter = SlidesExporter(
            raw_template=TEMPLATE, config=Config(SlidesExporter={"reveal_url_prefix": "reveal"})
        )
        text, _ = exporter.from_notebook_node(with_slides(read_notebook(path)))
        pages.append(folder / f"{path.name[:2]}.html")
        write_file(pages[-1], text)
    return pages


def with_slides(notebook: NotebookNode) -> NotebookNode:
    """The notebook up to its exercises, each cell told where it stands.

    A heading begins a slide, any other text one below it, and code stays with the text before it.
    """
    cells = []
    for cell in notebook.cells:
        if cell.source.startswith(END):
            break
        kind = "-" if cell.cell_type == "code" else "subslide"
        kind = "slide" if cell.source.startswith(("# ", "## ")) else kind
        installs = "google.colab" in cell.source and cell.cell_type == "code"
        cell.metadata["slideshow"] = {"slide_type": "skip" if installs else kind}
        cell.source = re.sub(r"^\[!\[.*\n", "", cell.source, flags=re.M)
        cells.append(cell)
    notebook.cells = cells
    return notebook


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

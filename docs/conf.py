"""How Sphinx builds the site: `make site`. Nothing is executed, nothing comes from afar."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from finish import finish
from pages import REPOSITORY, hours, with_links, write_pages

project = "mnist-lab"
author = "the mnist-lab authors"
html_title = "mnist-lab: compact CNNs for MNIST"
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc"]
exclude_patterns = ["made/tables", "pad.html.md"]
root_doc = "index"
myst_enable_extensions = ["substitution"]
myst_substitutions = {"hours": f"About {hours()} hours"}
myst_heading_anchors = 3
nb_execution_mode = "off"  # what is shown is what is stored, and what is stored is checked
nb_ipywidgets_js = {}  # a page has no kernel: its widgets show the text they have stored
suppress_warnings = ["mystnb.unknown_mime_type", "myst.header"]
default_role = "code"  # as docstrings mean it
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True  # as they are written, not as they print
python_use_unqualified_type_names = True

html_theme = "sphinx_book_theme"
html_static_path = ["pad", "static", "made/static", "../mnist_lab/drawing/writing.js"]
html_css_files = ["pad.css", "site.css"]
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system
html_copy_source = False
html_show_sourcelink = False
html_use_index = False
html_last_updated_fmt = None
html_theme_options = {
    "repository_url": REPOSITORY,
    "repository_branch": "main",
    "use_repository_button": True,
    "use_download_button": False,
    "home_page_in_toc": True,
    "show_toc_level": 2,
    "launch_buttons": {
        "binderhub_url": "https://mybinder.org",
        "colab_url": "https://colab.research.google.com",
        "notebook_interface": "jupyterlab",
    },
}

write_pages(Path(__file__).parent)


def link(app, name: str, content: list[str]) -> None:
    content[0] = with_links(content[0])


def setup(app) -> None:
    app.connect("source-read", link)
    app.connect("build-finished", finish)

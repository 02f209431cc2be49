"""One server and one browser for all: `make test-browser`.

Skipped, with the reason, where Playwright or a browser is missing.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab import HEIGHT, Lab
from server import end_kernels, serving

ROOT = Path(__file__).parents[2]
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="session")
def browser():
    """The distribution's Chromium, else Playwright's own."""
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason='no Playwright: pip install -e ".[browser]"'
    )
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    with sync_api.sync_playwright() as playwright:
        if found is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("no browser: apt-get install chromium, or playwright install chromium")
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a student clones: the notebooks and the library."""
    folder = tmp_path_factory.mktemp("served")
    for part in ("notebooks", "mnist_lab"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="session")
def server(served: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    with serving(served, tmp_path_factory.mktemp("private")) as address_and_token:
        yield address_and_token


@pytest.fixture(scope="module")
def open_notebook(browser, server) -> Iterator[Callable[[str], Lab]]:
    """Open a notebook, by its path in the served folder, in a window of 900 pixels.

    The one before is closed, and its kernel ended: there is memory for one.
    """
    contexts = []

    def close() -> None:
        for context in contexts:
            context.close()
        contexts.clear()
        end_kernels(*server)

    def open_one(notebook: str) -> Lab:
        close()
        contexts.append(browser.new_context(viewport={"width": 900, "height": HEIGHT}))
        lab = Lab(contexts[-1], *server)
        lab.open(notebook)
        return lab

    yield open_one
    close()

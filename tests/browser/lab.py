"""A notebook open in JupyterLab, in a real browser: what a student does there, and sees."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

from server import ask

if TYPE_CHECKING:  # where Playwright is missing, the tests are skipped
    from playwright.sync_api import BrowserContext, Locator, Page, Route

RUN_SECONDS = 900
READ = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")
# The badges in a notebook's first cell: pictures of other sites, which a reader can do without.
BADGES = {
    "https://colab.research.google.com/assets/colab-badge.svg",
    "https://mybinder.org/badge_logo.svg",
}
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
HEIGHT = 1600  # of the window, and of a screenshot


@dataclass(frozen=True)
class Output:
    """One output of a cell, or the page that Markdown became."""

    kind: str  # its MIME type
    text: str
    excess: int  # pixels by which it is wider than its page
    alts: list[str]  # the alternative texts of its pictures
    broken: int  # pictures that cannot be shown


@dataclass(frozen=True)
class Cell:
    """A cell as it stands on the page; `count` is what is in its brackets: "7", "*" or ""."""

    code: bool
    source: str
    count: str
    outputs: list[Output]


class Lab:
    """A page of the browser that shows one notebook."""

    def __init__(self, context: BrowserContext, address: str, token: str):
        self.page: Page = context.new_page()
        self.address, self.token = address, token
        self.strays: set[str] = set()  # other hosts that were asked for something
        context.route(re.compile(r"^https?:"), self._at_home_only)

    def _at_home_only(self, route: Route) -> None:
        """The course runs offline: what is not this server's is refused, and remembered."""
        url = route.request.url
        if url.startswith(self.address):
            route.continue_()
            return
        if url not in BADGES:
            self.strays.add(f"{urlsplit(url).scheme}://{urlsplit(url).netloc}")
        route.abort()

    def open(self, notebook: str) -> None:
        """Open a notebook of the served folder by double clicks in the file browser, which stays.

        A fresh workspace, so that JupyterLab does not open what was open before.
        """
        self.page.goto(f"{self.address}/lab/workspaces/{uuid4().hex}?token={self.token}")
        for name in notebook.split("/"):
            entry = self.page.locator(".jp-DirListing-itemText", has_text=exactly(name))
            entry.dblclick(timeout=60_000)
        self.page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for(timeout=120_000)
        self.wait(self.ready, "the kernel is not ready", seconds=120)

    def ready(self) -> bool:
        """Whether the one kernel is connected to the page, and waits for code."""
        kernels = [session["kernel"] for session in ask(self.address, self.token, "api/sessions")]
        return [(k["execution_state"], k["connections"]) for k in kernels] == [("idle", 1)]

    def choose(self, *labels: str) -> None:
        """Choose from the menus at the top: `choose("Run", "Run All Cells")`."""
        menu, *inner, last = labels
        self.page.locator(".lm-MenuBar-itemLabel", has_text=exactly(menu)).click()
        for label in inner:
            self.page.locator(".lm-Menu-itemLabel", has_text=exactly(label)).hover()
        self.page.locator(".lm-Menu-itemLabel", has_text=exactly(last)).click()

    def run_all(self) -> None:
        """Run every cell, and wait until none waits any more: all have run, or one has failed."""
        self.choose("Run", "Run All Cells")
        for _ in range(2):  # once could be the moment before the first starts
            self.page.wait_for_timeout(500)
            self.wait(lambda: not self.waiting() and self.ready(), "cells still wait")

    def waiting(self) -> int:
        """How many cells have a star in their brackets."""
        return sum(cell.count == "*" for cell in self.read())

    def wait(self, until: Callable, complaint: str, seconds: float = RUN_SECONDS) -> None:
        """Wait until `until()` is true. Raises `TimeoutError`, or `RuntimeError` at a dialog."""
        deadline = time.monotonic() + seconds
        while not until():
            dialog = self.page.locator(".jp-Dialog-content")
            if dialog.count():
                raise RuntimeError(f"JupyterLab asks: {dialog.first.inner_text()!r}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {seconds:.0f} seconds {complaint}")
            self.page.wait_for_timeout(300)

    def read(self) -> list[Cell]:
        """Every cell of the notebook, with its outputs, as it stands on the page."""
        return [
            Cell(**cell | {"outputs": [Output(**output) for output in cell["outputs"]]})
            for cell in self.page.evaluate(READ)
        ]

    def look(self, theme: str, width: int) -> None:
        """Show the page in "light" or "dark", in a window of this width."""
        self.page.set_viewport_size({"width": width, "height": HEIGHT})
        if self.page.locator(f"body[data-jp-theme-name='{THEMES[theme]}']").count() == 0:
            self.choose("Settings", "Theme", THEMES[theme])
            self.page.locator(f"body[data-jp-theme-name='{THEMES[theme]}']").wait_for(
                state="attached"
            )
        self.page.wait_for_timeout(1000)  # the stylesheet arrives, editors measure themselves

    def photograph(self, folder: Path, name: str) -> list[Path]:
        """The notebook from top to bottom: `<name>-01.png`, `<name>-02.png`, …"""
        scroller = self.page.locator(".jp-NotebookPanel .jp-WindowedPanel-outer")
        visible, end = scroller.evaluate(
            "e => [e.clientHeight, e.scrollTop + [...e.querySelectorAll('.jp-Cell')].at(-1)"
            ".getBoundingClientRect().bottom - e.getBoundingClientRect().top]"
        )
        files = []
        for number, top in enumerate(range(0, int(end), visible), 1):
            scroller.evaluate("(e, top) => e.scrollTo({top, behavior: 'instant'})", top)
            self.page.wait_for_timeout(100)
            files.append(folder / f"{name}-{number:02}.png")
            self.page.screenshot(path=files[-1])
        return files

    def cell(self, source: str) -> Locator:
        """The code cell that holds this text."""
        return self.page.locator(".jp-CodeCell", has_text=source)

    def retype(self, cell: Locator, line: str, new: str) -> None:
        """Replace the one line of a cell that begins with `line`, on the keyboard."""
        beginning = re.compile(rf"^{re.escape(line)}")
        cell.locator(".cm-line", has_text=beginning).click()
        for key in ("End", "Shift+Home"):
            self.page.keyboard.press(key)
        self.page.keyboard.type(new)

    def run_cell(self, cell: Locator) -> str:
        """Press Shift and Enter in a cell; what it prints."""
        prompt = cell.locator(".jp-InputArea-prompt")
        before = prompt.inner_text()
        cell.locator(".cm-content").press("Shift+Enter")
        self.wait(
            lambda: prompt.inner_text() != before and "*" not in prompt.inner_text(),
            "the cell has not run",
            seconds=120,
        )
        return self.printed(cell)

    def printed(self, cell: Locator) -> str:
        """The outputs of a cell, as text."""
        return "\n".join(cell.locator(".jp-OutputArea-output").all_inner_texts()).strip()


def exactly(label: str) -> re.Pattern:
    return re.compile(rf"^\s*{re.escape(label)}\s*$")

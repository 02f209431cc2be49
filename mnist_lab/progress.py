"""One line per epoch, wherever the training is watched.

A notebook shows one text that is rewritten in place, so that the stored output stays clean; a
terminal shows a bar under the finished lines; a log file gets the lines alone.
"""

import sys
import time

from tqdm import tqdm

REDRAW_SECONDS = 0.5


class EpochLines:
    """Counts batches in an epoch (`step`) and keeps a line for every finished epoch (`line`).

    `heading` stands above the lines.
    """

    def __init__(self, num_batches: int, heading: str, enabled: bool = True):
        self.num_batches, self.enabled = num_batches, enabled
        self.lines: list[str] = []
        self.done, self.drawn = 0, time.monotonic()
        self.handle = _display("") if enabled and _in_notebook() else None
        quiet = not enabled or self.handle is not None or not sys.stderr.isatty()
        self.bar = tqdm(total=num_batches, unit="batch", leave=False, disable=quiet)
        self.line(heading)

    def step(self) -> None:
        self.done += 1
        self.bar.update()
        if self.handle and time.monotonic() - self.drawn > REDRAW_SECONDS:
            self._draw(f"… batch {self.done} of {self.num_batches}")

    def line(self, text: str) -> None:
        self.lines.append(text)
        self.done = 0
        self.bar.reset()
        if self.handle:
            self._draw()
        elif self.enabled:
            tqdm.write(text)

    def close(self) -> None:
        self.bar.close()

    def _draw(self, *unfinished: str) -> None:
        self.drawn = time.monotonic()
        text = "\n".join([*self.lines, *unfinished])
        self.handle.update({"text/plain": text}, raw=True)


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel")


def _display(text: str):
    from IPython.display import display

    return display({"text/plain": text}, raw=True, display_id=True)

"""One line per epoch, wherever the training is watched.

A notebook shows one text that is rewritten in place, so that the stored output stays clean; a
terminal shows a bar under the finished lines; a log file gets the lines alone.
"""

import sys

from tqdm import tqdm


class EpochLines(tqdm):
    """Counts batches in an epoch (`update`) and keeps a line for every finished epoch (`line`).

    `heading` stands above the lines.
    """

    monitor_interval = 0  # no thread beside the training

    def __init__(self, num_batches: int, heading: str, enabled: bool = True):
        ipython = sys.modules.get("IPython")
        in_notebook = enabled and ipython and hasattr(ipython.get_ipython(), "kernel")
        first = {"text/plain": heading}
        self.handle = in_notebook and ipython.display.display(first, raw=True, display_id=True)
        self.lines, self.enabled = [], enabled
        quiet = not in_notebook and not (enabled and sys.stderr.isatty())
        options = {"unit": "batch", "leave": False, "mininterval": 0.5, "miniters": 1}
        super().__init__(total=num_batches, disable=quiet, **options)
        self.line(heading)

    def line(self, text: str) -> None:
        self.lines.append(text)
        self.reset()
        if self.enabled and not self.handle:
            self.write(text)

    def display(self, *args, **options) -> None:
        """Called by tqdm whenever it is time to show how far it is."""
        if not self.handle:
            return super().display(*args, **options)
        batch = [f"… batch {self.n} of {self.total}"] if self.n else []
        self.handle.update({"text/plain": "\n".join([*self.lines, *batch])}, raw=True)

"""The writing pad: a widget on which one writes a digit, and the networks answer as one writes.

The browser's side is `pad.js`; it sends strokes or a photo, and `answer` looks at them here.
"""

import base64
import binascii
from pathlib import Path

import anywidget
import traitlets

from mnist_lab.drawing.images import (
    from_photo,
    load_networks,
    normalize_for,
    prepare,
    rasterize,
    read,
)
from mnist_lab.interpret import class_activation_maps
from mnist_lab.validation import UserError

HERE = Path(__file__).parent


class DrawingPad(anywidget.AnyWidget):
    """A pad for mouse, pen or finger. Works in JupyterLab, Notebook 7, VS Code and Colab.

    `strokes`: lists of points (x, y) in the unit square. `photo`: a picture file in base64, or "".
    `asked` counts what the browser sent, and `answered` what was looked at. `answers`: for each
    network ten probabilities; empty where nothing could be read, and then `message` says why.
    `seen`: the 784 pixels that the networks are given. `where`: GapNet's class activation map for
    its answer, 6×6, from 0 to 1.
    """

    _esm = HERE / "pad.js"
    _css = HERE / "pad.css"
    strokes = traitlets.List().tag(sync=True)
    photo = traitlets.Unicode("").tag(sync=True)
    asked = traitlets.Int(0).tag(sync=True)
    answered = traitlets.Int(0).tag(sync=True)
    answers = traitlets.Dict().tag(sync=True)
    seen = traitlets.List().tag(sync=True)
    where = traitlets.List().tag(sync=True)
    message = traitlets.Unicode("").tag(sync=True)

    def __init__(self, **traits):
        super().__init__(**traits)
        self.readers = load_networks()
        self.observe(lambda _: self.answer(), "asked")

    def answer(self) -> None:
        """Look at what is on the pad, and say what it is read as."""
        with self.hold_sync():
            try:
                self._answer()
                self.message = ""
            except ValueError as error:
                self.answers, self.seen, self.where = {}, [], []
                self.message = str(error) if self.strokes or self.photo else ""
            self.answered = self.asked

    def _answer(self) -> None:
        image = prepare(_photo(self.photo) if self.photo else rasterize(self.strokes))
        chances = read(self.readers, image[None])
        maps = class_activation_maps(self.readers["GapNet"], normalize_for("GapNet", image[None]))[
            0
        ]
        where = maps[int(chances["GapNet"][0].argmax())].clamp(min=0)
        self.where = (where / where.max().clamp(min=1e-6)).tolist()
        self.seen = image.flatten().tolist()
        self.answers = {name: ten[0].tolist() for name, ten in chances.items()}

    def __repr__(self) -> str:
        return "The writing pad: run this cell, then write a digit on it."


def _photo(text: str):
    try:
        return from_photo(base64.b64decode(text, validate=True))
    except binascii.Error as error:
        raise UserError("the photo did not arrive whole: choose it again.") from error

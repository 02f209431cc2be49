"""The writing pad: a widget on which one writes a digit, and the networks answer as one writes.

The browser's side is `writing.js` and `pad.js`; it sends strokes or a photo, and `answer` looks at
them here.
"""

import base64
import binascii
from contextlib import suppress
from pathlib import Path

import anywidget
import torch
import traitlets
from torch import Tensor

from mnist_lab.drawing.images import classify, load_networks, normalize_for, prepare, rasterize
from mnist_lab.drawing.photos import from_photo
from mnist_lab.interpret import class_activation_maps
from mnist_lab.validation import UserError

HERE = Path(__file__).parent


class DrawingPad(anywidget.AnyWidget):
    """A pad for mouse, pen or finger. Works in JupyterLab, Notebook 7, VS Code and Colab.

    `strokes`: lists of points (x, y) in the unit square. `photo`: a picture file in base64, or "".
    `asked` counts what the browser sent, and `answered` what was looked at. `answers`: for each
    network ten probabilities; empty where nothing could be read, and then `message` says why.
    `seen`: the 784 pixels that the networks are given. `where`: a class activation map, 6×6, from 0
    to 1, for the answer of the network `mapped`: the first that has such maps.
    """

    _esm = "".join((HERE / name).read_text("utf-8") for name in ("writing.js", "pad.js"))
    _css = HERE / "pad.css"
    strokes = traitlets.List().tag(sync=True)
    photo = traitlets.Unicode("").tag(sync=True)
    asked = traitlets.Int(0).tag(sync=True)
    answered = traitlets.Int(0).tag(sync=True)
    answers = traitlets.Dict().tag(sync=True)
    seen = traitlets.List().tag(sync=True)
    where = traitlets.List().tag(sync=True)
    mapped = traitlets.Unicode("").tag(sync=True)
    message = traitlets.Unicode("").tag(sync=True)

    def __init__(self, **traits):
        super().__init__(**traits)
        self.networks = load_networks()
        for name in reversed(self.networks):  # so that the first which has maps stays
            with suppress(UserError):
                self._maps(name, torch.zeros(1, 28, 28))
                self.mapped = name
        self.observe(lambda _: self.answer(), "asked")

    def answer(self) -> None:
        """Look at what is on the pad, and say what it is read as."""
        with self.hold_sync():
            self.answers, self.seen, self.where, self.message = {}, [], [], ""
            try:
                self._answer()
            except (UserError, binascii.Error) as error:
                self.message = str(error) if self.strokes or self.photo else ""
            self.answered = self.asked

    def _answer(self) -> None:
        ink = from_photo(base64.b64decode(self.photo)) if self.photo else rasterize(self.strokes)
        image = prepare(ink)
        chances = classify(self.networks, image[None])
        if self.mapped:
            where = self._maps(self.mapped, image)[int(chances[self.mapped].argmax())].clamp(min=0)
            self.where = (where / where.max().clamp(min=1e-6)).tolist()
        self.seen = image.flatten().tolist()
        self.answers = {name: ten[0].tolist() for name, ten in chances.items()}

    def _maps(self, name: str, image: Tensor) -> Tensor:
        return class_activation_maps(self.networks[name], normalize_for(name, image[None]))[0]

    def __repr__(self) -> str:
        return "The writing pad: run this cell, then write a digit on it."

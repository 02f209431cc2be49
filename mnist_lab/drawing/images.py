"""From a hand to 28×28 pixels: strokes or ink, prepared as MNIST's digits were, and read.

MNIST's digits fill a box of 20×20 pixels, and their centre of mass lies in the middle of 28×28
(LeCun et al., doi:10.1109/5.726791, section III-A): so must what a network is given that learned
from them. All images here are uint8, ink bright on black.
"""

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor, nn
from torchvision.transforms.v2.functional import pil_to_tensor

from mnist_lab.augment import normalize
from mnist_lab.pretrained import load_pretrained
from mnist_lab.recipes import NETWORKS
from mnist_lab.validation import UserError, check, one_of

SIZE, BOX = 28, 20  # of the image, and of the box that its digit fills
PAD = 280  # pixels along one side of a drawing
PEN = 0.07  # width of the pen, of the side
READERS = "gap", "bottleneck"  # of `NETWORKS`
BATCH = 50  # pictures that are read at a time: more would take much memory for their maps
DOT = 1.3  # ink that is not so many times as long as it is thick is no digit


def rasterize(strokes: Sequence[Sequence[Sequence[float]]], pen: float = PEN) -> Tensor:
    """Strokes as an image `[280, 280]`. A stroke is a list of points (x, y) in the unit square.

    (0, 0) is the upper left corner; `pen` is the width of the pen. Raises `UserError` for others.
    """
    side = 2 * PAD  # twice as large, then smoothed
    big = np.zeros((side, side), dtype=np.uint8)
    for points in _points(strokes):
        places = side * points
        for start, end in zip([*places[:1], *places], places):  # the first to itself: a dot
            _draw_segment(big, start, end, pen * PAD)
    return torch.from_numpy(_resized(Image.fromarray(big), (PAD, PAD), Image.Resampling.BOX))


def _draw_segment(big: np.ndarray, start: np.ndarray, end: np.ndarray, radius: float) -> None:
    """Ink where a pixel's middle lies no further than `radius` from the segment."""
    first = np.floor(np.minimum(start, end) - radius).clip(0, len(big)).astype(int)
    last = np.ceil(np.maximum(start, end) + radius).clip(0, len(big)).astype(int)
    x = np.arange(first[0], last[0]) + 0.5 - start[0]
    y = (np.arange(first[1], last[1]) + 0.5 - start[1])[:, None]
    across, down = end - start
    squared = across * across + down * down
    along = ((x * across + y * down) / squared).clip(0, 1) if squared > 0 else 0.0
    dx, dy = x - along * across, y - along * down
    near = dx * dx + dy * dy <= radius * radius
    big[first[1] : last[1], first[0] : last[0]][near] = 255


def _points(strokes) -> list[np.ndarray]:
    """Each stroke's points `[N, 2]`; what lies far outside of the pad is brought near to it."""
    with suppress(TypeError, ValueError):
        found = [np.asarray(stroke).reshape(len(stroke), 2) for stroke in strokes]
        if all(points.dtype.kind in "iuf" and np.isfinite(points).all() for points in found):
            return [points.astype(float).clip(-1, 2) for points in found]
    raise UserError("strokes must be lists of points, each a pair of finite numbers (x, y).")


def prepare(image: Tensor) -> Tensor:
    """A drawn digit `[height, width]` as MNIST has its digits, `[1, 28, 28]`.

    The ink is cut out, scaled into 20×20 with its proportions kept, and put on 28×28 so that its
    centre of mass comes to lie in the middle. Raises `UserError` where there is no ink, or a dot.
    """
    picture = Image.fromarray(np.asarray(image, dtype=np.uint8).reshape(image.shape[-2:]))
    if picture.getbbox() is None:
        raise UserError("there is nothing to read: the picture is empty.")
    cut = picture.crop(picture.getbbox())
    ink = np.pad(cut, 1)
    thickness = 2 * ndimage.distance_transform_edt(ink > ink.max() / 2).max()
    if max(cut.size) < DOT * thickness:
        raise UserError("there is too little ink to be a digit: write it larger, in strokes.")
    factor = BOX / max(cut.size)
    size = [max(1, round(side * factor)) for side in cut.size]
    how = Image.Resampling.BOX if factor < 1 else Image.Resampling.BICUBIC
    return _centred(_resized(cut, size, how))


def _resized(picture: Image.Image, size: Sequence[int], how: Image.Resampling) -> np.ndarray:
    """First the columns, then the rows: Pillow's own order is another in another version."""
    width, height = size
    return np.array(picture.resize((picture.width, height), how).resize((width, height), how))


def _centred(digit: np.ndarray) -> Tensor:
    margins = []
    for middle, side in zip(ndimage.center_of_mass(digit.astype(float)), digit.shape):
        # By its digits, MNIST counted pixel 14, the first of the lower right half, as the middle.
        before = min(max(round(SIZE / 2 - middle), 0), SIZE - side)
        margins.append((before, SIZE - side - before))
    return torch.from_numpy(np.pad(digit, margins))[None]


def shrink(image: Tensor) -> Tensor:
    """The whole picture as 28×28, neither cut nor centred: what most demonstrations do."""
    picture = Image.fromarray(np.asarray(image))
    return pil_to_tensor(picture.resize((SIZE, SIZE), Image.Resampling.BOX))


def load_networks() -> dict[str, nn.Module]:
    """The trained networks that read a drawing, by the names of their classes."""
    trained = {name: NETWORKS[name] for name in READERS if NETWORKS[name].weights}
    return {entry.network.__name__: load_pretrained(name) for name, entry in trained.items()}


def normalize_for(name: str, images: Tensor) -> Tensor:
    """Images `[N, 1, 28, 28]` as the network of this class name was trained to see them."""
    recipes = {entry.network.__name__: entry.recipe for entry in NETWORKS.values()}
    recipe = recipes[check("name", name, one_of(*recipes))]
    return normalize(images, recipe.mean, recipe.std)


def classify(networks: dict[str, nn.Module], images: Tensor) -> dict[str, Tensor]:
    """What each of `load_networks()` reads in prepared images `[N, 1, 28, 28]`: probabilities
    `[N, 10]`."""
    parts = images.split(BATCH)
    with torch.no_grad():
        return {name: torch.cat([network(normalize_for(name, part)).softmax(1) for part in parts])
                for name, network in networks.items()}  # fmt: skip

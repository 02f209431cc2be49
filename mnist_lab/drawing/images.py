"""From a hand to 28×28 pixels: strokes or ink, prepared as MNIST's digits were, and read.

A network reads what it has learned to read. MNIST's digits fill a box of 20×20 pixels, and their
centre of mass lies in the middle of 28×28 (LeCun et al., doi:10.1109/5.726791, section III-A): so
must what it is given. All images here are uint8, ink bright on black.
"""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from scipy import ndimage
from torch import Tensor, nn

from mnist_lab.augment import normalize
from mnist_lab.pretrained import load_pretrained
from mnist_lab.recipes import NETWORKS
from mnist_lab.validation import UserError, check, one_of

SIZE, BOX = 28, 20  # of the image, and of the box that its digit fills
PAD = 280  # pixels along one side of a drawing
PEN = 0.07  # width of the pen, of the side
BATCH = 250  # pictures that are read at a time: more would take much memory for their maps
DOT = 1.3  # ink that is not so many times as long as it is thick is no digit


def rasterize(strokes: Sequence[Sequence[Sequence[float]]], pen: float = PEN) -> Tensor:
    """Strokes as an image `[280, 280]`. A stroke is a list of points (x, y) in the unit square.

    (0, 0) is the upper left corner; `pen` is the width of the pen. Raises `UserError` for others.
    """
    scale, big = 2 * PAD, Image.new("L", (2 * PAD, 2 * PAD))  # twice as large, then smoothed
    draw, radius = ImageDraw.Draw(big), pen * PAD
    for stroke in _points(strokes):
        points = [(x * scale, y * scale) for x, y in stroke.tolist()]
        draw.line(points, fill=255, width=max(1, round(2 * radius)))
        for x, y in points:  # round ends and joints
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return _tensor(big.resize((PAD, PAD), Image.Resampling.BOX))


def _points(strokes) -> list[np.ndarray]:
    """Each stroke's points `[N, 2]`; what lies far outside of the pad is brought near to it."""
    try:
        found = [np.asarray(stroke).reshape(len(stroke), 2) for stroke in strokes]
    except (TypeError, ValueError):
        found = [np.array("")]
    if any(stroke.dtype.kind not in "iuf" for stroke in found):
        raise UserError("strokes must be lists of points, each point a pair of numbers (x, y).")
    if not all(np.isfinite(stroke).all() for stroke in found):
        raise UserError("the points of a stroke must be finite numbers.")
    return [stroke.astype(float).clip(-1, 2) for stroke in found]


def prepare(image: Tensor) -> Tensor:
    """A drawn digit `[height, width]` as MNIST has its digits, `[1, 28, 28]`.

    The ink is cut out, scaled into 20×20 with its proportions kept, and put on 28×28 so that its
    centre of mass comes to lie in the middle. Raises `UserError` where there is no ink, or a dot.
    """
    ink = np.asarray(image, dtype=np.uint8).reshape(image.shape[-2:])
    rows, columns = np.nonzero(ink.any(1))[0], np.nonzero(ink.any(0))[0]
    if not len(rows):
        raise UserError("there is nothing to read: the picture is empty.")
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if max(ink.shape) < DOT * _thickness(ink):
        raise UserError("there is too little ink to be a digit: write it larger, in strokes.")
    cut = Image.fromarray(ink)
    factor = BOX / max(cut.size)
    size = tuple(max(1, round(side * factor)) for side in cut.size)
    if factor != 1:
        how = Image.Resampling.BOX if factor < 1 else Image.Resampling.BICUBIC
        cut = cut.resize(size, how)
    return _centred(np.asarray(cut))


def _thickness(ink: np.ndarray) -> float:
    """Of the thickest stroke, in pixels."""
    return 2 * ndimage.distance_transform_edt(np.pad(ink > ink.max() / 2, 1)).max()


def _centred(digit: np.ndarray) -> Tensor:
    placed = np.zeros((SIZE, SIZE), np.uint8)
    corners = []
    for middle, side in zip(ndimage.center_of_mass(digit.astype(float)), digit.shape):
        # By its digits, MNIST counted pixel 14, the first of the lower right half, as the middle.
        corner = round(SIZE / 2 - middle)
        corners.append(min(max(corner, 0), SIZE - side))
    top, left = corners
    placed[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return torch.from_numpy(placed)[None]


def shrink(image: Tensor) -> Tensor:
    """The whole picture as 28×28, neither cut nor centred: what most demonstrations do."""
    small = Image.fromarray(np.asarray(image)).resize((SIZE, SIZE), Image.Resampling.BOX)
    return _tensor(small)[None]


def load_networks() -> dict[str, nn.Module]:
    """The trained networks of the course, by the names of their classes."""
    trained = {name: entry for name, entry in NETWORKS.items() if entry.weights}
    return {entry.network.__name__: load_pretrained(name) for name, entry in trained.items()}


def normalize_for(name: str, images: Tensor) -> Tensor:
    """Images `[N, 1, 28, 28]` as the network of this class name was trained to see them."""
    recipes = {entry.network.__name__: entry.recipe for entry in NETWORKS.values()}
    recipe = recipes[check("name", name, one_of(*recipes))]
    return normalize(images, recipe.mean, recipe.std)


def classify(networks: dict[str, nn.Module], images: Tensor) -> dict[str, Tensor]:
    """What each network reads in prepared images `[N, 1, 28, 28]`: probabilities `[N, 10]`.

    `networks`: by the names of their classes, as `load_networks` gives them.
    """
    parts = images.split(BATCH)
    with torch.no_grad():
        return {name: torch.cat([network(normalize_for(name, part)).softmax(1) for part in parts])
                for name, network in networks.items()}  # fmt: skip


def _tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image).copy())

"""From a hand to 28×28 pixels: strokes or a photo, prepared as MNIST's digits were.

A network reads what it has learned to read. MNIST's digits fill a box of 20×20 pixels, and their
centre of mass lies in the middle of 28×28 (LeCun et al., doi:10.1109/5.726791, section III-A): so
must what it is given. All images here are uint8, ink bright on black.
"""

import io
import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageOps, UnidentifiedImageError
from scipy import ndimage
from torch import Tensor, nn

from mnist_lab.augment import normalize
from mnist_lab.pretrained import load_pretrained
from mnist_lab.recipes import NETWORKS
from mnist_lab.validation import UserError

SIZE, BOX = 28, 20  # of the image, and of the box that its digit fills
PAD = 280  # pixels along one side of a drawing
PEN = 0.07  # width of the pen, of the side
PHOTO = 400  # a photo is shrunk to so many pixels along its longer side
SPECK = 0.05  # what is smaller than this share of the largest blot is a speck
BATCH = 250  # pictures that are read at a time: more would take much memory for their maps
THIN = 0.1  # of a digit's longer side: MNIST's pencils are no thinner


def rasterize(strokes: Sequence[Sequence[Sequence[float]]], pen: float = PEN) -> Tensor:
    """Strokes as an image `[280, 280]`. A stroke is a list of points (x, y) in the unit square.

    (0, 0) is the upper left corner; `pen` is the width of the pen. Raises `ValueError` for strokes
    that are none.
    """
    scale, big = 2 * PAD, Image.new("L", (2 * PAD, 2 * PAD))  # twice as large, then smoothed
    draw, radius = ImageDraw.Draw(big), pen * PAD
    for stroke in _checked(strokes):
        points = [(x * scale, y * scale) for x, y in stroke]
        draw.line(points, fill=255, width=max(1, round(2 * radius)))
        for x, y in points:  # round ends and joints
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return _tensor(big.resize((PAD, PAD), Image.Resampling.BOX))


def _checked(strokes) -> list[list[tuple[float, float]]]:
    try:
        found = [[(float(x), float(y)) for x, y in stroke] for stroke in strokes]
    except (TypeError, ValueError):
        raise UserError("strokes must be lists of points, each point a pair (x, y).") from None
    if not all(math.isfinite(value) for stroke in found for point in stroke for value in point):
        raise UserError("the points of a stroke must be finite numbers.")
    return [[(min(max(x, -1.0), 2.0), min(max(y, -1.0), 2.0)) for x, y in stroke]
            for stroke in found]  # fmt: skip


def prepare(image: Tensor) -> Tensor:
    """A drawn digit `[height, width]` as MNIST has its digits, `[1, 28, 28]`.

    The ink is cut out, scaled into 20×20 with its proportions kept, and put on 28×28 so that its
    centre of mass comes to lie in the middle. Raises `ValueError` where there is no ink.
    """
    ink = np.asarray(image, dtype=np.uint8).reshape(image.shape[-2:])
    rows, columns = np.nonzero(ink.any(1))[0], np.nonzero(ink.any(0))[0]
    if not len(rows):
        raise UserError("there is nothing to read: the picture is empty.")
    cut = Image.fromarray(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    factor = BOX / max(cut.size)
    size = tuple(max(1, round(side * factor)) for side in cut.size)
    if factor != 1:
        how = Image.Resampling.BOX if factor < 1 else Image.Resampling.BICUBIC
        cut = cut.resize(size, how)
    return _centred(np.asarray(cut))


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


def from_photo(photo: bytes | Image.Image) -> Tensor:
    """The ink of a photo of one dark digit on light paper (or light on dark), `[height, width]`.

    Shadows are taken away by comparing each pixel with the paper around it; what is darker than
    Otsu's threshold (doi:10.1109/TSMC.1979.4310076) is ink; specks are dropped. Raises `ValueError`
    for what is no picture.
    """
    try:
        picture = photo if isinstance(photo, Image.Image) else Image.open(io.BytesIO(photo))
        picture = ImageOps.exif_transpose(picture)
        if picture.has_transparency_data:
            picture = Image.alpha_composite(
                Image.new("RGBA", picture.size, "white"), picture.convert("RGBA")
            )
        grey = picture.convert("L")
    except (UnidentifiedImageError, OSError, TypeError, SyntaxError, ValueError,
            Image.DecompressionBombError) as error:  # fmt: skip
        raise UserError("this is no picture that can be read: take a PNG or JPEG.") from error
    grey.thumbnail((PHOTO, PHOTO))
    return torch.from_numpy(_ink(np.asarray(grey, dtype=float)))


def _ink(grey: np.ndarray) -> np.ndarray:
    if np.median(grey) < (grey.min() + grey.max()) / 2:  # more dark than light: chalk on a board
        grey = 255 - grey
    paper = ndimage.gaussian_filter(ndimage.grey_closing(grey, max(grey.shape) // 4), 10)
    dark = np.clip(paper - grey, 0, 255)
    threshold = max(_otsu(dark), 25.0)  # below, it is the grain of the paper
    blots, count = ndimage.label(dark > threshold, structure=np.ones((3, 3)))
    sizes = ndimage.sum_labels(np.ones_like(dark), blots, range(1, count + 1))
    keep = [blot for blot, size in enumerate(sizes, 1) if size > SPECK * sizes.max()]
    ink = _thick_enough(np.where(np.isin(blots, keep), dark, 0))
    return np.clip(ink * 255 / max(ink.max(), 1), 0, 255).astype(np.uint8)


def _thick_enough(ink: np.ndarray) -> np.ndarray:
    """Lines of a fine pen would be lost in 20×20 pixels: widen them."""
    if not ink.any():
        return ink
    side = max(np.ptp(places) + 1 for places in ink.nonzero())
    width = 2 * ndimage.distance_transform_edt(ink).max()
    missing = round((THIN * side - width) / 2)
    if missing < 1:
        return ink
    y, x = np.ogrid[-missing : missing + 1, -missing : missing + 1]
    ink = np.pad(ink, missing)
    return ndimage.grey_dilation(ink, footprint=x**2 + y**2 <= missing**2)


def _otsu(values: np.ndarray) -> float:
    """The threshold that parts the values into two groups as far from each other as can be."""
    counts, edges = np.histogram(values, bins=256)
    middles, below = (edges[:-1] + edges[1:]) / 2, counts.cumsum()
    above = below[-1] - below
    sums = (counts * middles).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(middles[int(np.nan_to_num(apart).argmax())])


def load_networks() -> dict[str, nn.Module]:
    """The trained networks of the course, by the names of their classes."""
    return {kind.__name__: load_pretrained(name) for name, (kind, *_) in NETWORKS.items()}


def normalize_for(name: str, images: Tensor) -> Tensor:
    """Images `[N, 1, 28, 28]` as the network of this class name was trained to see them."""
    recipe = next(recipe for kind, recipe, _ in NETWORKS.values() if kind.__name__ == name)
    return normalize(images, recipe.mean, recipe.std)


def read(readers: dict[str, nn.Module], images: Tensor) -> dict[str, Tensor]:
    """What each network reads in prepared images `[N, 1, 28, 28]`: probabilities `[N, 10]`."""
    parts = images.split(BATCH)
    with torch.no_grad():
        return {name: torch.cat([network(normalize_for(name, part)).softmax(1) for part in parts])
                for name, network in readers.items()}  # fmt: skip


def _tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image).copy())

"""The ink of a photo: of one digit on paper, a board, or a screen's drawing."""

import io

import numpy as np
import torch
from PIL import Image, ImageOps, ImageSequence
from scipy import ndimage
from torch import Tensor

from mnist_lab.validation import UserError

PHOTO = 400  # a photo is shrunk to so many pixels along its longer side
SPECK = 0.05  # what is smaller than this share of the largest blot is a speck
GRAIN = 25  # of 255: paper differs by so much from itself
EDGE = 0.04  # of the photo's longer side: ink that is so near to an edge may touch it
THIN = 0.1  # of a digit's longer side: MNIST's pencils are no thinner
ANIMATIONS = ("GIF", "PNG", "WEBP")  # of other kinds, further pictures are pages or previews
DIAGONAL_TOO = np.ones((3, 3))  # pixels that touch at a corner are of one blot


def from_photo(photo: bytes | Image.Image) -> Tensor:
    """The ink of a photo of one dark digit on light paper (or light on dark), `[height, width]`.

    Shadows are taken away by comparing each pixel with the paper around it; what is darker than
    Otsu's threshold (doi:10.1109/TSMC.1979.4310076) is ink; specks are dropped. Of an animation
    the frame that holds most is taken. Raises `UserError` for what is no picture.
    """
    try:
        picture = photo if isinstance(photo, Image.Image) else Image.open(io.BytesIO(photo))
        grey = _grey(ImageOps.exif_transpose(_fullest_frame(picture)))
    except (OSError, TypeError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError("this is no picture that can be read: take a PNG or JPEG.") from error
    grey.thumbnail((PHOTO, PHOTO))
    return torch.from_numpy(_ink(np.asarray(grey, dtype=float)))


def _fullest_frame(picture: Image.Image) -> Image.Image:
    """An animation's frame in which most differs from the ground."""
    if picture.format not in ANIMATIONS:
        return picture
    return max(ImageSequence.all_frames(picture), key=lambda frame: np.std(_grey(frame)))


def _grey(picture: Image.Image) -> Image.Image:
    """Grey values of 8 bits, what is transparent as paper."""
    if picture.mode == "F" or picture.mode.startswith("I"):  # Pillow would cut all above 255
        values = np.nan_to_num(np.asarray(picture, dtype=float), posinf=0, neginf=0).clip(min=0)
        most = values.max(initial=0)
        white = 2.0 ** np.ceil(np.log2(most + 1)) - 1 if most > 1 else 1  # 1, 255, 4095, 65535, …
        return Image.fromarray((values * (255 / white)).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        grey, opaque = (np.asarray(band) for band in picture.convert("LA").split())
        visible = grey[(opaque == opaque.max()) & (opaque > 0)]
        white_ink = visible.min(initial=255) > 255 - GRAIN
        ground = "black" if white_ink else "white"
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, ground), picture)
    return picture.convert("L")


def _ink(grey: np.ndarray) -> np.ndarray:
    dark = grey < (grey.min() + grey.max()) / 2
    if _is_board(dark):
        grey, dark = 255 - grey, ~dark
    difference = np.clip(_paper(grey, dark) - grey, 0, 255)
    blots, _ = ndimage.label(difference > max(_otsu(difference), GRAIN), DIAGONAL_TOO)
    sizes = np.bincount(blots.flat)
    sizes[0] = 0  # the paper's
    ink = _thick_enough(np.where((sizes > SPECK * sizes.max())[blots], difference, 0))
    return np.clip(ink * 255 / max(ink.max(), 1), 0, 255).astype(np.uint8)


def _is_board(dark: np.ndarray) -> bool:
    """Whether the light pixels are the ink, as chalk on a board is."""
    edge = np.concatenate([dark[0], dark[-1], dark[:, 0], dark[:, -1]]).mean()
    if 0.02 < edge < 0.98:  # ink may touch it: a digit on all four sides cuts the paper into pieces
        one_blot = _largest_blot(~dark) - _largest_blot(dark)
        if abs(one_blot) > 0.2 and all(side.any() and not side.all() for side in _sides(dark)):
            return one_blot > 0
    return edge > 0.5 and dark.mean() > 0.5


def _sides(dark: np.ndarray) -> tuple[np.ndarray, ...]:
    """The strips along the edges: top, bottom, left, right."""
    width = max(1, round(EDGE * max(dark.shape)))
    return dark[:width], dark[-width:], dark[:, :width], dark[:, -width:]


def _largest_blot(mask: np.ndarray) -> float:
    """Its share of the mask."""
    blots, _ = ndimage.label(mask, DIAGONAL_TOO)
    return np.bincount(blots[mask]).max() / mask.sum()


def _paper(grey: np.ndarray, dark: np.ndarray) -> np.ndarray:
    """How light the paper is at each pixel: what is narrow and dark on it is filled."""
    width = max(grey.shape) // 4
    top, bottom, left, right = (side.any() for side in _sides(dark))
    if not ((top and bottom) or (left and right)):
        return ndimage.gaussian_filter(ndimage.grey_closing(grey, width), 10)
    # Cropped tightly: around it there was paper, and the strokes are broad.
    margined = np.pad(grey, width, constant_values=ndimage.uniform_filter(grey, 5).max())
    filled = ndimage.grey_closing(margined, 2 * width)[width:-width, width:-width]
    return ndimage.gaussian_filter(filled, 10)


def _thick_enough(ink: np.ndarray) -> np.ndarray:
    """Lines of a fine pen would be lost in 20×20 pixels: widen them."""
    if not ink.any():
        return ink
    side = max(np.ptp(places) + 1 for places in ink.nonzero())
    width = 2 * ndimage.distance_transform_edt(np.pad(ink, 1)).max()  # paper lies around it
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

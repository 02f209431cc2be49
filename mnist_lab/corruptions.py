"""What spoils a picture but leaves the digit what it is: corruptions at five strengths.

The idea is Mu and Gilmer's, "MNIST-C: A Robustness Benchmark for Computer Vision",
arXiv:1906.02337; that of five strengths is Hendrycks and Dietterich's, arXiv:1903.12261. The
corruptions are the course's own: an accuracy on them is none on MNIST-C. Whoever adds one writes
its function and its entry in `CORRUPTIONS`, and executes notebook 09 anew, which counts them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from mnist_lab.augment import rotate
from mnist_lab.data import check_images
from mnist_lab.validation import Seed, check, one_of, whole

SIDE = 28


@dataclass(frozen=True)
class Corruption:
    """What is counted, how much of it there is at levels 1 to 5, and the function that does it.

    `change(images, strength, generator)` makes new images of uint8 images `[N, 1, 28, 28]`.
    """

    unit: str
    strengths: tuple[float, float, float, float, float]
    change: Callable[[Tensor, float, torch.Generator], Tensor]


def corrupt(images: Tensor, name: str, level: int, seed: int = 0) -> Tensor:
    """Copies of uint8 images `[N, 1, 28, 28]`, spoilt at a level from 1 to 5; 0 spoils nothing.

    `name` is a key of `CORRUPTIONS`. Directions, places and noise are drawn for every image by
    `seed`: the same at all levels, and whatever images follow. What enters a picture is black.
    """
    check("name", name, one_of(*CORRUPTIONS))
    level, seed = check("level", level, whole(0, 5)), check("seed", seed, Seed)
    check_images("images", images, "uint8")
    if level == 0 or not len(images):
        return images.clone()
    corruption = CORRUPTIONS[name]
    generator = torch.Generator().manual_seed(seed)
    return corruption.change(images, corruption.strengths[level - 1], generator)


def _rotation(images: Tensor, degrees: float, generator: torch.Generator) -> Tensor:
    sides = 2 * torch.randint(2, (len(images),), generator=generator) - 1
    return rotate(images, sides * degrees)


def _shift(images: Tensor, pixels: int, generator: torch.Generator) -> Tensor:
    ways = [(y, x) for y in (-pixels, pixels) for x in (-pixels, pixels)]
    moved = [functional.crop(images, y, x, SIDE, SIDE) for y, x in ways]
    return _one_of(moved, generator)


def _scale(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    return functional.center_crop(functional.resize(images, [side, side]), [SIDE, SIDE])


def _shear(images: Tensor, degrees: float, generator: torch.Generator) -> Tensor:
    def slanted(slant: float) -> Tensor:
        return functional.affine(images, 0, [0, 0], 1, [slant, 0], InterpolationMode.BILINEAR)

    return _one_of([slanted(-degrees), slanted(degrees)], generator)


def _gaussian_noise(images: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    noise = torch.randn(images.shape, generator=generator)
    return (images + deviation * noise).round().clamp(0, 255).to(torch.uint8)


def _impulse_noise(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    draws = torch.rand(images.shape, generator=generator)
    return images.masked_fill(draws < share / 2, 0).masked_fill(draws >= 1 - share / 2, 255)


def _blur(images: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    # SciPy's is separable: a tenth of the time that torchvision's takes.
    blurred = gaussian_filter(images.float().numpy(), deviation, mode="constant", axes=(2, 3))
    return torch.from_numpy(blurred).round().to(torch.uint8)


def _contrast(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    return functional.adjust_contrast(images, share)


def _inversion(images: Tensor, columns: int, generator: torch.Generator) -> Tensor:
    # Not a blend of both pictures: half-way between them everything is grey.
    left = torch.arange(SIDE) < columns
    halves = [torch.where(part, 255 - images, images) for part in (left, left.flip(0))]
    return _one_of(halves, generator)


def _occlusion(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    y, x = torch.randint(9, 19, (len(images), 2, 1), generator=generator).unbind(1)  # its centre
    pixels = torch.arange(SIDE)
    rows, columns = (pixels - y).abs() <= side // 2, (pixels - x).abs() <= side // 2
    square = rows[:, None, :, None] & columns[:, None, None, :]
    return images.masked_fill(square, 128)  # on black and on white it is none of the digit


def _lines(images: Tensor, count: int, generator: torch.Generator) -> Tensor:
    most = max(CORRUPTIONS["lines"].strengths)  # all are drawn, so that no image's draws move
    draws = torch.rand(len(images), most, 2, 1, 1, generator=generator)
    x = torch.arange(SIDE) - (SIDE - 1) / 2
    y = x[:, None]
    for draw in draws[:, :count].unbind(1):
        angle, distance = math.pi * draw[:, :1], 16 * draw[:, 1:] - 8  # in pixels, of the centre
        line = (angle.cos() * x + angle.sin() * y - distance).abs() <= 0.5
        images = images.masked_fill(line, 255)
    return images


def _pixelation(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    coarse = functional.resize(images, [side, side])
    return functional.resize(coarse, [SIDE, SIDE], InterpolationMode.NEAREST_EXACT)


def _one_of(versions: list[Tensor], generator: torch.Generator) -> Tensor:
    """Of every image one version, drawn evenly."""
    count = len(versions[0])
    draws = torch.randint(len(versions), (count,), generator=generator)
    return torch.stack(versions)[draws, torch.arange(count)]


# The strengths were chosen by eye on MNIST: a person reads level 3, and most of level 5.
CORRUPTIONS = {
    "rotation": Corruption("degrees, to the left or right", (10, 20, 30, 40, 50), _rotation),
    "shift": Corruption("pixels, both across and down", (1, 2, 3, 4, 6), _shift),
    "scale": Corruption("pixels a side, instead of 28", (24, 20, 16, 14, 12), _scale),
    "shear": Corruption("degrees, to the left or right", (9, 18, 27, 36, 45), _shear),
    "gaussian noise": Corruption(
        "standard deviation, of 255", (25, 50, 75, 100, 130), _gaussian_noise
    ),
    "impulse noise": Corruption("share of pixels", (0.05, 0.1, 0.15, 0.25, 0.35), _impulse_noise),
    "blur": Corruption("standard deviation, in pixels", (0.6, 0.9, 1.2, 1.6, 2.0), _blur),
    "contrast": Corruption("share that is left", (0.6, 0.4, 0.3, 0.2, 0.1), _contrast),
    "inversion": Corruption("columns, from the left or right", (6, 11, 17, 22, 28), _inversion),
    "occlusion": Corruption("pixels a side", (3, 5, 7, 9, 11), _occlusion),
    "lines": Corruption("lines", (1, 2, 3, 4, 5), _lines),
    "pixelation": Corruption("pixels a side, instead of 28", (18, 14, 12, 10, 9), _pixelation),
}

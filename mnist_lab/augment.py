"""What a recipe does to a batch of images before the network sees it.

The published recipes transform one PIL image at a time. Here a whole batch `[N, 1, 28, 28]` of
uint8 images is transformed at once, every image with its own random numbers. They are drawn on the
generator's device: where the images lie there too, a GPU waits for nothing. Each transform knows
its torchvision counterpart for the DataLoader.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision import transforms

from mnist_lab.validation import Fraction, number, validated, whole


@validated
class Rotate:
    """Turn every image by its own angle, drawn evenly from ±`degrees`; the corners stay black."""

    degrees: number("a number from 0 to 180", ge=0, le=180)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return rotate(images, (2 * _draw(images, generator) - 1) * self.degrees)

    def torchvision(self) -> transforms.RandomRotation:
        return transforms.RandomRotation(self.degrees, fill=0)


@validated
class CropAndResize:
    """With probability `p`, enlarge the inner `size`×`size` pixels to the whole image."""

    size: whole(1, 28)
    p: Fraction

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        chosen = _draw(images, generator) < self.p
        if images.device.type != "cpu":  # a GPU would wait to learn how many are chosen
            return torch.where(chosen.view(-1, 1, 1, 1), crop_and_resize(images, self.size), images)
        images = images.clone()
        images[chosen] = crop_and_resize(images[chosen], self.size)
        return images

    def torchvision(self) -> transforms.Compose:
        crop = transforms.RandomApply([transforms.CenterCrop(self.size)], p=self.p)
        return transforms.Compose([crop, transforms.Resize(28)])


@validated
class Shift:
    """Move every image by up to `pixels` in both directions, drawn evenly; what enters is black."""

    pixels: whole(0, 28)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        count, _, height, width = images.shape
        padded = F.pad(images, [self.pixels] * 4)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view: [N, 1, y, x, H, W]
        size, where = (2, count), generator.device
        draws = torch.randint(2 * self.pixels + 1, size, generator=generator, device=where)
        y, x = draws.to(images.device)
        return windows[torch.arange(count, device=images.device), :, y, x]

    def torchvision(self) -> transforms.RandomCrop:
        return transforms.RandomCrop(28, padding=self.pixels)


def _draw(images: Tensor, generator: torch.Generator) -> Tensor:
    """A number from 0 to below 1 for every image, `[N]`."""
    draws = torch.rand(len(images), generator=generator, device=generator.device)
    return draws.to(images.device)


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Turn images `[N, 1, H, W]` (any dtype) counter-clockwise by `degrees` `[N]`.

    Nearest neighbour about the centre, zero fill: what `transforms.RandomRotation` does to a PIL
    image. Every pixel of the result asks which pixel of the source it came from.
    """
    count, _, height, width = images.shape
    margin = math.ceil((math.hypot(height, width) - min(height, width)) / 2)  # a corner's reach
    padded = F.pad(images, [margin] * 4)  # every source is inside
    angle = torch.deg2rad(degrees.to(images.device, torch.float32)).view(-1, 1, 1)
    cos, sin = angle.cos(), angle.sin()
    y = (torch.arange(height, device=images.device) + 0.5 - height / 2).view(1, -1, 1)
    x = (torch.arange(width, device=images.device) + 0.5 - width / 2).view(1, 1, -1)
    source_x = (cos * x - sin * y).add_(width / 2 + margin).floor_()
    source_y = (sin * x + cos * y).add_(height / 2 + margin).floor_()
    index = source_y.mul_(padded.shape[3]).add_(source_x).long().view(count, -1)
    return padded.view(count, -1).gather(1, index).view_as(images)


def crop_and_resize(images: Tensor, size: int) -> Tensor:
    """Enlarge the inner `size`×`size` pixels of uint8 images `[N, 1, H, W]` to `H`×`W`, bilinear:
    `transforms.CenterCrop(size)` and `transforms.Resize(H)`, for a batch."""
    inner = transforms.functional.center_crop(images, size).float()
    return F.interpolate(inner, images.shape[-2:], mode="bilinear").round().to(images.dtype)


def normalize(images: Tensor, mean: float, std: float) -> Tensor:
    """uint8 images to float32: `(image / 255 - mean) / std`, as ToTensor and Normalize do."""
    return images.float() * (1 / (255 * std)) - mean / std


def textbook_transform(augment: tuple, mean: float, std: float) -> transforms.Compose:
    """The same for one PIL image at a time: torchvision's transforms, as published."""
    steps = [transform.torchvision() for transform in augment]
    return transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(mean, std)])

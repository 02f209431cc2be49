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
class Affine:
    """Turn, shift, enlarge and slant every image by its own amounts, drawn evenly; bilinear.

    Up to ±`degrees`, ±`pixels` in both directions, a factor from 1 − `scale` to 1 + `scale`, and a
    slant of ±`shear` degrees. What enters is black.
    """

    degrees: number("a number from 0 to 180", ge=0, le=180) = 0
    pixels: number("a number from 0 to 28", ge=0, le=28) = 0
    scale: number("a number from 0 to below 1", ge=0, lt=1) = 0
    shear: number("a number from 0 to below 90", ge=0, lt=90) = 0

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        draws = [2 * _draw(images, generator) - 1 for _ in range(5)]
        turn, right, down, larger, slant = draws
        shift = self.pixels * torch.stack([right, down], 1)
        return affine(
            images, self.degrees * turn, shift, 1 + self.scale * larger, self.shear * slant
        )

    def torchvision(self) -> transforms.RandomAffine:
        """It rounds the shift to whole pixels."""
        return transforms.RandomAffine(
            self.degrees,
            translate=(self.pixels / 28, self.pixels / 28),
            scale=(1 - self.scale, 1 + self.scale),
            shear=self.shear,
            interpolation=transforms.InterpolationMode.BILINEAR,
        )


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


def affine(images: Tensor, degrees: Tensor, shift: Tensor, scale: Tensor, shear: Tensor) -> Tensor:
    """Turn images `[N, 1, H, W]` of uint8 clockwise by `degrees` `[N]` about the centre, slant them
    by `shear` degrees `[N]`, enlarge by `scale` `[N]`, and shift by so many pixels `[N, 2]` (right,
    down): bilinear, zero fill, as torchvision's `affine` does with one image.
    """
    turn, slant = torch.deg2rad(degrees), torch.deg2rad(shear).tan()
    cos, sin = turn.cos(), turn.sin()
    rows = [cos - sin * slant, cos * slant + sin, -sin, cos]
    inverse = torch.stack(rows, 1).view(-1, 2, 2) / scale.view(-1, 1, 1)
    size = torch.tensor([images.shape[3], images.shape[2]], device=images.device)
    source = inverse @ (shift * 2 / size).unsqueeze(2)  # where the centre comes from, -1 to 1
    grid = F.affine_grid(torch.cat([inverse, -source], 2), images.shape, align_corners=False)
    return F.grid_sample(images.float(), grid, align_corners=False).round().to(images.dtype)


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

"""Digits as strokes and as photos, and what the trained networks read in them."""

import io

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter

from mnist_lab.drawing.images import classify

SEVEN = [[(0.3, 0.2), (0.7, 0.2), (0.55, 0.5), (0.45, 0.85)]]
THREE = [[(0.35, 0.2), (0.55, 0.15), (0.65, 0.3), (0.5, 0.45), (0.65, 0.6), (0.6, 0.8),
          (0.35, 0.8)]]  # fmt: skip


def answers(readers, *images):
    """What each network reads in these prepared images."""
    chances = classify(readers, torch.stack(images))
    return [ten.argmax(1).tolist() for ten in chances.values()]


def photo(light=200, ink=40, mode="L", shadow=True, speck=False):
    """A seven on paper, in a slanting light, with the grain of a camera."""
    y, x = np.mgrid[:350, :450]
    paper = light + (30 * x / 450 - 40 * y / 350) * shadow
    noise = np.random.default_rng(0).normal(0, 4, paper.shape)
    picture = Image.fromarray((paper + noise).clip(0, 255).astype("uint8"))
    draw = ImageDraw.Draw(picture)
    points = [(150, 80), (290, 75), (250, 180), (215, 290)]
    draw.line(points, fill=ink, width=9, joint="curve")
    if speck:
        draw.ellipse((20, 20, 26, 26), fill=ink)
    return picture.filter(ImageFilter.GaussianBlur(1)).convert(mode)


def encoded(picture, kind="JPEG", **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()

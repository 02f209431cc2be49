"""The exercises of notebook 01: the digits."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mnist_lab.exercises.cases import draw, rand, randint, randperm
from mnist_lab.exercises.checks import (
    by_example,
    call_with_copies,
    expect_kind,
    refuse,
)
from mnist_lab.exercises.question import Wrong, exercise


@exercise("An augmentation of your own")
def an_augmentation(shift):
    far, near = (draw.choice((-1, 1)) * draw.randint(*reach) for reach in ((4, 7), (1, 3)))
    steps = [(far, near), (near, far), (-near, -far), (far, 0), (0, near), (0, 0)]
    cases = [(randint(1, 256, count, 1, 28, 28).to(torch.uint8), *step)
             for count, step in zip((3, 2, 1, 2, 2, 2), steps)]  # fmt: skip
    slips = [
        (lambda x, down, right: x.roll((down, right), (-2, -1)),
         "what leaves on one side comes in on the other: what comes in has to be black."),
        (lambda x, down, right: _shifted(x, right, down),
         "rows and columns have changed places: the rows of an image are its dimension 2."),
        (lambda x, down, right: _shifted(x, -down, -right), "it is shifted the other way."),
        (lambda x, down, right: _shifted(x, -down, right), "up and down have changed places."),
        (lambda x, down, right: _shifted(x, down, -right), "left and right have changed places."),
        (lambda x, down, right: _shifted(x, down, 0), "it is not shifted to the right."),
        (lambda x, down, right: _shifted(x, 0, right), "it is not shifted down."),
        (lambda x, down, right: x, "nothing is shifted."),
        (lambda x, down, right: 255 - _shifted(255 - x, down, right),
         "what comes in is white: black is 0."),
        (lambda x, down, right: _shifted(x, abs(down), abs(right)),
         "a negative number shifts the other way, up or to the left."),
    ]  # fmt: skip
    by_example("shift", shift, _shifted, cases, slips)


def _shifted(images: Tensor, down: int, right: int) -> Tensor:
    return F.pad(images, [right, -right, down, -down])


@exercise("One ruler for both")
def one_ruler(standardize):
    cases = [(_random_digits(n), _random_digits(m) // 2) for n, m in ((24, 10), (15, 1))]
    slips = [
        (lambda t, v: (_scaled(t, t), _scaled(v, v)),
         "the validation digits are measured with a ruler of their own (their own mean and "
         "deviation); it has to be that of the training digits."),
        (lambda *parts: tuple(_scaled(part, torch.cat(parts)) for part in parts),
         "mean and deviation were computed from both parts together: that is a leak."),
        (lambda t, v: (_scaled(v, t), _scaled(t, t)), "the two results have changed places."),
        (lambda *parts: tuple(part - parts[0].float().mean() for part in parts),
         "the mean is taken off, but nothing is divided by the deviation."),
        (lambda *parts: tuple(_scaled(p, parts[0]) / parts[0].float().std() for p in parts),
         "it is divided by the variance, the square of the deviation."),
    ]  # fmt: skip
    by_example("standardize", standardize, _standardized, cases, slips, tolerance=3e-4)
    if any(getattr(part, "dtype", None) != torch.float32 for part in standardize(*cases[0])):
        raise Wrong("the values are right; as a type, torch.float32 is expected.")


def _random_digits(count: int) -> Tensor:
    """`[count, 1, 28, 28]`, uint8: as dark as digits, and every picture as bright as it likes."""
    pixels = rand(count, 1, 28, 28) * rand(count, 1, 1, 1)
    return (255 * pixels * (rand(count, 1, 28, 28) < 0.3)).to(torch.uint8)


def _standardized(train: Tensor, validation: Tensor) -> tuple[Tensor, Tensor]:
    return _scaled(train, train), _scaled(validation, train)


def _scaled(pixels: Tensor, ruler: Tensor) -> Tensor:
    return (pixels.float() - ruler.float().mean()) / ruler.float().std()


@exercise("Find the leak")
def find_the_leak(prepare):
    for count, held_out in ((60, 20), (90, 25)):
        names = randperm(100)[:count].sort().values  # every digit is painted with its own number
        images = names.to(torch.uint8).view(-1, 1, 1, 1).repeat(1, 1, 28, 28)
        parts = call_with_copies(prepare, images, names // 10, held_out, lambda x: x + TURNED)
        _expect_parts(parts)
        _expect_no_leak(parts, names, held_out)


TURNED = 100  # how much brighter a turned copy is


def _expect_parts(parts) -> None:
    if not isinstance(parts, (tuple, list)) or len(parts) != 4:
        raise Wrong("`prepare` returns four tensors: images and labels, twice.")
    words = ("training images", "training labels", "validation images", "validation labels")
    for part, what in zip(parts, words):
        expect_kind(part, Tensor, f"what it returns as {what}", "a tensor")
    for images, labels, name in ((*parts[:2], "training"), (*parts[2:], "validation")):
        if list(images.shape[1:]) != [1, 28, 28]:
            raise Wrong(f"the {name} images have the shape {list(images.shape)}: [N, 1, 28, 28]?")
        if list(labels.shape) != [len(images)]:
            raise Wrong(f"there are {len(images)} {name} images, but labels {list(labels.shape)}.")


def _expect_no_leak(parts, names: Tensor, held_out: int) -> None:
    train, validation = (images[:, 0, 0, 0].long() for images in parts[::2])
    written, turned = train[train < TURNED], train[train >= TURNED] - TURNED
    both = set((train % TURNED).tolist()) & set((validation % TURNED).tolist())
    kept, chosen = len(names) - held_out, sorted(validation.tolist())
    whole = len(written.unique()) == len(turned.unique()) == kept and len(train) == 2 * kept
    apart = [
        not torch.equal(digits % TURNED // 10, labels.long())
        for digits, labels in zip((train, validation), parts[1::2])
    ]
    refuse(
        (both, f"{len(both)} digits are in both parts, as written or as a turned copy."),
        ((validation >= TURNED).any(), "there are turned digits in the validation part."),
        (len(validation) != held_out, f"{len(validation)} digits are held out, not {held_out}."),
        (not len(turned), "there is no turned copy in the training part any more."),
        (not len(written), "the training part holds only turned copies, no digits as written."),
        (
            not whole,
            f"the training part has to hold {kept} digits and {kept} turned copies; yours holds "
            f"{len(written)} and {len(turned)}, or some of them twice.",
        ),
        (apart[0], "in the training part, images and labels do not belong together any more."),
        (apart[1], "in the validation part, images and labels do not belong together any more."),
        (
            chosen in (names[:held_out].tolist(), names[kept:].tolist()),
            "the first or the last digits are held out: of sorted ones, the network would never "
            "see some kinds. They have to be a random choice.",
        ),
    )

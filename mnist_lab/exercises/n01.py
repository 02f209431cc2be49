"""The exercises of notebook 01: the digits."""

import torch
from torch import Tensor

from mnist_lab.exercises.cases import rand, randperm
from mnist_lab.exercises.checks import as_number, by_example, call_with_copies, expect_kind
from mnist_lab.exercises.question import Wrong, exercise

MEAN, DEVIATION = 0.1307, 0.3081


@exercise("Black and white")
def black_and_white(black, white):
    for name, value, pixel in (("black", black, 0), ("white", white, 255)):
        _expect_normalised(name, as_number(value, f"`{name}`"), pixel)


def _expect_normalised(name: str, number: float, pixel: int) -> None:
    expected = (pixel / 255 - MEAN) / DEVIATION
    slips = {
        -expected: "it has the wrong sign: the mean is taken off the pixel",
        pixel / 255 - MEAN: "the mean is taken off, but nothing is divided by the deviation",
        (pixel - MEAN) / DEVIATION: "the pixel was not divided by 255 first",
        pixel / 255 / DEVIATION: "the mean was not taken off",
        pixel / 255 - MEAN / DEVIATION: "brackets are missing: it is the difference from the mean "
        "that is divided",
        (pixel / 255 - DEVIATION) / MEAN: "mean and deviation have changed places",
        (1 - pixel / 255 - MEAN) / DEVIATION: "black and white have changed places",
    }
    if abs(number - expected) <= 0.006:
        return
    known = [slip for value, slip in slips.items() if abs(number - value) <= 0.006]
    why = known[0] if known else "what are the two steps from a pixel to what the network sees?"
    raise Wrong(f"`{name}` is {number:.4g}: {why}{'' if why.endswith('?') else '.'}")


@exercise("One ruler for both")
def one_ruler(standardize):
    cases = [(_random_digits(n), _random_digits(m) // 2) for n, m in ((24, 10), (15, 1))]
    slips = [
        (lambda train, validation: (_scaled(train, train), _scaled(validation, validation)),
         "the validation digits are measured with a ruler of their own (their own mean and "
         "deviation); it has to be that of the training digits."),
        (lambda *parts: tuple(_scaled(part, torch.cat(parts)) for part in parts),
         "mean and deviation were computed from both parts together: that is a leak."),
        (lambda train, validation: (_scaled(validation, train), _scaled(train, train)),
         "the two results have changed places."),
        (lambda *parts: tuple(part - parts[0].float().mean() for part in parts),
         "the mean is taken off, but nothing is divided by the deviation."),
        (lambda *parts: tuple(_scaled(p, parts[0]) / parts[0].float().std() for p in parts),
         "it is divided by the variance, the square of the deviation."),
    ]  # fmt: skip
    by_example("standardize", standardize, _standardized, cases, slips, tolerance=3e-4)
    for value, what in zip(standardize(*cases[0]), ("the first result", "the second result")):
        expect_kind(value, Tensor, what, "a tensor")
        if value.dtype != torch.float32:
            raise Wrong(f"{what} is of type {value.dtype}; torch.float32 is expected.")


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
        parts = call_with_copies(prepare, images, names // 10, held_out, _turn)
        _expect_parts(parts)
        _expect_no_leak(parts, names, held_out)


TURNED = 100  # how much brighter a turned copy is


def _turn(images: Tensor) -> Tensor:
    return images + TURNED


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
    both = set((train % TURNED).tolist()) & set((validation % TURNED).tolist())
    if both:
        raise Wrong(
            f"of {len(names)} digits {len(both)} are in both parts, as written or as a turned copy."
        )
    if (validation >= TURNED).any():
        raise Wrong("there are turned digits in the validation part.")
    if len(validation) != held_out:
        raise Wrong(f"{len(validation)} digits are held out; it should be {held_out}.")
    _expect_pairs(train, len(names) - held_out)
    for digits, labels, name in zip((train, validation), parts[1::2], ("training", "validation")):
        if not torch.equal(digits % TURNED // 10, labels.long()):
            raise Wrong(f"in the {name} part, images and labels do not belong together any more.")
    for end, digits in (("first", names[:held_out]), ("last", names[-held_out:])):
        if torch.equal(validation.sort().values, digits):
            raise Wrong(
                f"the {end} digits are held out: of sorted ones, the network would never see some "
                "kinds. They have to be a random choice."
            )


def _expect_pairs(train: Tensor, kept: int) -> None:
    written, turned = train[train < TURNED], train[train >= TURNED] - TURNED
    if not len(turned):
        raise Wrong("there is no turned copy in the training part any more.")
    if not len(written):
        raise Wrong("the training part holds only turned copies, not the digits themselves.")
    whole = len(written.unique()) == len(turned.unique()) == kept
    if not whole or len(train) != 2 * kept:
        raise Wrong(
            f"{kept} digits are not held out, so the training part holds them and {kept} turned "
            f"copies; yours holds {len(written)} and {len(turned)}, or some of them twice."
        )

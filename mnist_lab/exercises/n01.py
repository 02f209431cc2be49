"""The exercises of notebook 01: the digits."""

import torch
from torch import Tensor

from mnist_lab.exercises.checks import as_number, expect_kind, expect_tensor, expect_unchanged
from mnist_lab.exercises.question import Wrong, exercise

MEAN, DEVIATION = 0.1307, 0.3081


@exercise(
    title="Black and white",
    task="""
        What does the network see where a pixel is black (0), and where it is white (255)? Compute
        both, by hand or with Python: the mean is 0.1307 and the deviation 0.3081, as for the GAP
        network. Two decimals are enough.
    """,
    start="""
        black = ...
        white = ...
    """,
    hint="""The mean and the deviation were computed on the scale from 0 to 1, where white is 1.""",
    solution="""
        black = (0 / 255 - 0.1307) / 0.3081
        white = (255 / 255 - 0.1307) / 0.3081
    """,
    right="""
        Black is not 0, but a little below it; white is far above. Zero is now the average pixel.
    """,
)
def black_and_white(black, white):
    for name, value, pixel in (("black", black, 0), ("white", white, 255)):
        _expect_normalised(name, as_number(value, f"`{name}`"), pixel)


def _expect_normalised(name: str, number: float, pixel: int) -> None:
    expected = (pixel / 255 - MEAN) / DEVIATION
    slips = {
        pixel / 255 - MEAN: "the mean is taken off, but nothing is divided by the deviation",
        (pixel - MEAN) / DEVIATION: "the pixel was not divided by 255 first",
        pixel / 255 / DEVIATION: "the mean was not taken off",
        pixel / 255 - MEAN / DEVIATION: "the brackets are missing: the mean comes off first, "
        "and the difference is divided",
        (pixel / 255 - DEVIATION) / MEAN: "mean and deviation have changed places",
        (1 - pixel / 255 - MEAN) / DEVIATION: "black and white have changed places",
    }
    if abs(number - expected) <= 0.006:
        return
    if abs(number + expected) <= 0.006:
        raise Wrong(f"`{name}` has the wrong sign: the mean is taken off the pixel.")
    for value, slip in slips.items():
        if abs(number - value) <= 0.006:
            raise Wrong(f"`{name}` is {number:.4g}: {slip}.")
    raise Wrong(
        f"`{name}` is {number:.4g}; a pixel of {pixel} becomes (pixel / 255 - mean) / deviation."
    )


@exercise(
    title="One ruler for both",
    task="""
        Write `standardize(train, validation)`. Both are tensors `[N, 1, 28, 28]` of `uint8`. Return
        both as `float32`, in this order and of the same shapes, shifted and scaled so that the
        *training* pixels, all of them together, have mean 0 and deviation 1. The validation digits
        are measured with the same ruler: nothing may be learned from them, not even their mean.
    """,
    start="""
        def standardize(train, validation):
            return ...
    """,
    hint="""
        Two numbers are computed, from `train.float()`; both tensors are shifted by the first and
        divided by the second.
    """,
    solution="""
        def standardize(train, validation):
            mean, deviation = train.float().mean(), train.float().std()
            return (train.float() - mean) / deviation, (validation.float() - mean) / deviation
    """,
    right="""
        A pixel means the same in both parts now. Whether you divided by 255 first does not matter,
        by the way: mean and deviation shrink with the pixels.
    """,
)
def one_ruler(standardize):
    for counts in ((24, 10), (15, 1)):
        train, validation = (_random_digits(count) for count in counts)
        validation = validation // 2  # written with a fainter pen: its own mean is another
        before = train.clone(), validation.clone()
        pair = standardize(train, validation)
        expect_unchanged(train, before[0], "`train`")
        expect_unchanged(validation, before[1], "`validation`")
        _expect_standardized(pair, *before)


def _random_digits(count: int) -> Tensor:
    """`[count, 1, 28, 28]`, uint8: as dark as digits, and every picture as bright as it likes."""
    pixels = torch.rand(count, 1, 28, 28) * torch.rand(count, 1, 1, 1)
    return (255 * pixels * (torch.rand(count, 1, 28, 28) < 0.3)).to(torch.uint8)


def _expect_standardized(pair, train: Tensor, validation: Tensor) -> None:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise Wrong("`standardize` returns two tensors: `return train, validation`.")
    for value, what in zip(pair, ("the first result", "the second result")):
        expect_kind(value, Tensor, what, "a tensor")
        if value.dtype != torch.float32:
            raise Wrong(f"{what} is of type {value.dtype}; torch.float32 is expected.")
    train, validation = train.float(), validation.float()
    _explain(pair, train, validation)
    for value, pixels, what in zip(pair, (train, validation), ("training", "validation")):
        expected = (pixels - train.mean()) / train.std()
        expect_tensor(value, expected, f"the {what} result", tolerance=2e-3)


def _explain(pair, train: Tensor, validation: Tensor) -> None:
    """Raise `Wrong` where a known slip explains the results."""
    both = torch.cat([train, validation])
    slips = {
        "the validation digits are measured with a ruler of their own (their own mean and "
        "deviation); it has to be that of the training digits": (
            _scaled(train, train), _scaled(validation, validation)),
        "mean and deviation were computed from both parts together: that is a leak": (
            _scaled(train, both), _scaled(validation, both)),
        "the two results have changed places": (
            _scaled(validation, train), _scaled(train, train)),
        "the mean is taken off, but nothing is divided by the deviation": (
            train - train.mean(), validation - train.mean()),
        "it is divided by the variance, the square of the deviation": (
            (train - train.mean()) / train.var(), (validation - train.mean()) / train.var()),
    }  # fmt: skip
    for slip, wrong in slips.items():
        if all(map(_alike, pair, wrong)):
            raise Wrong(f"{slip}.")


def _scaled(pixels: Tensor, ruler: Tensor) -> Tensor:
    return (pixels - ruler.mean()) / ruler.std()


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-3, atol=1e-3)


@exercise(
    title="Find the leak",
    task="""
        This function makes more digits by turning (`turn` returns a turned copy of a batch), and
        holds some out for validation. A network trained that way reaches a splendid validation
        accuracy, and a much worse one in the world. Find out why, and mend it: the training part
        shall hold every digit that is not held out, and a turned copy of each; the validation part
        the digits that are held out, as they were written, and nothing else.
    """,
    start="""
        import torch


        def prepare(images, labels, held_out, turn):
            images = torch.cat([images, turn(images)])
            labels = torch.cat([labels, labels])
            order = torch.randperm(len(images))
            validation, train = order[:held_out], order[held_out:]
            return images[train], labels[train], images[validation], labels[validation]
    """,
    hint="""
        Follow one digit and its turned copy through the function. Can one of them land in training
        and the other in validation?
    """,
    solution="""
        import torch


        def prepare(images, labels, held_out, turn):
            order = torch.randperm(len(images))
            validation, train = order[:held_out], order[held_out:]
            train_images = torch.cat([images[train], turn(images[train])])
            train_labels = torch.cat([labels[train], labels[train]])
            return train_images, train_labels, images[validation], labels[validation]
    """,
    right="""
        Split first, then augment, and only what is trained on. The same leak comes with frames of
        one film, or scans of one patient, on both sides.
    """,
)
def find_the_leak(prepare):
    for count, held_out in ((60, 20), (90, 25)):
        names = torch.randperm(100)[:count]  # every digit is painted with its own number
        images = names.to(torch.uint8).view(-1, 1, 1, 1).repeat(1, 1, 28, 28)
        labels, before = names % 10, images.clone()
        parts = prepare(images, labels, held_out, _turn)
        expect_unchanged(images, before, "`images`")
        expect_unchanged(labels, names % 10, "`labels`")
        _expect_parts(parts, count, held_out)
        _expect_no_leak(parts, names, held_out)


TURNED = 100  # how much brighter a turned copy is


def _turn(images: Tensor) -> Tensor:
    return images + TURNED


def _expect_parts(parts, count: int, held_out: int) -> None:
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
    _expect_pairs(train, names, held_out)
    for digits, labels, name in zip((train, validation), parts[1::2], ("training", "validation")):
        if not torch.equal(digits % 10, labels.long()):
            raise Wrong(f"in the {name} part, images and labels do not belong together any more.")
    ends = (names[:held_out], names[-held_out:])
    if any(set(validation.tolist()) == set(end.tolist()) for end in ends):
        raise Wrong("the digits held out are no longer a random choice.")


def _expect_pairs(train: Tensor, names: Tensor, held_out: int) -> None:
    kept = len(names) - held_out
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

"""Looking into a network: what its layers answer, what a value sees, and where a digit is found."""

import torch
from torch import Tensor, nn

from mnist_lab.layers import evaluation_mode, list_layers
from mnist_lab.validation import Count, UserError, check, whole

PASSING = (nn.Flatten, nn.Identity, nn.Dropout, nn.Dropout2d, nn.LogSoftmax, nn.Softmax)


def feature_maps(network: nn.Module, images: Tensor, layer: nn.Module) -> Tensor:
    """What `layer`, a module of `network`, answers to normalised images `[N, 1, 28, 28]`.

    Of a layer that is used twice, the last answer. Raises `UserError` if no image passes through.
    """
    with evaluation_mode(network), torch.no_grad():
        return _passed(layer, network, images)[1]


def class_activation_maps(network: nn.Module, images: Tensor) -> Tensor:
    """Class activation maps `[N, 10, h, w]`: how much each place speaks for each digit.

    Zhou et al., "Learning Deep Features for Discriminative Localization", arXiv:1512.04150: behind
    global average pooling a linear layer weighs the channels; weighing them before the pooling
    instead gives a map whose mean is the score of the digit (the logit, before softmax). Raises
    `UserError` for a network that ends otherwise.
    """
    pool, classifier = _pooled_head(network)
    with evaluation_mode(network), torch.no_grad():
        features, _ = _passed(pool, network, images)
        if isinstance(classifier, nn.Linear):
            return classifier(features.movedim(1, -1)).movedim(-1, 1)
        return classifier(features)


def occlusion_map(network: nn.Module, image: Tensor, digit: int, size: int = 7,
                  fill: float | None = None) -> Tensor:  # fmt: skip
    """How far the probability of `digit` falls when a patch of the image is covered, `[28, 28]`.

    `image`: normalised, `[1, 28, 28]`; a square of `size` pixels (odd), centred at each pixel in
    turn, is filled with `fill`, or with its darkest value: that hides a stroke, and its lightest
    hides a gap. It works for every network. Zeiler and Fergus,
    "Visualizing and Understanding Convolutional Networks", arXiv:1311.2901.
    """
    digit, size = check("digit", digit, whole(0, 9)), check("size", size, Count)
    if size % 2 == 0:
        raise UserError(f"size must be odd, so that a patch has a middle, not {size}.")
    height, width = image.shape[-2:]
    places = (torch.arange(length, device=image.device) for length in (height, width))
    rows, columns = ((x[:, None] - x).abs() <= size // 2 for x in places)
    covered = rows[:, None, :, None] & columns[None, :, None, :]  # where the patch is, each pixel
    value = image.min() if fill is None else torch.as_tensor(fill).to(image)
    pictures = torch.where(covered.reshape(-1, 1, height, width), value, image)
    with evaluation_mode(network), torch.no_grad():
        parts = torch.cat([image[None], pictures]).split(250)  # all at once: much memory
        chances = torch.cat([network(part) for part in parts]).softmax(1)[:, digit]
    return (chances[0] - chances[1:]).reshape(height, width)


def measure_receptive_field(network: nn.Module, layer: nn.Module, draws: int = 32) -> Tensor:
    """How far each input pixel moves the middle value of a layer, `[28, 28]`: zero where unseen.

    The mean absolute gradient over `draws` random images, the same ones in each call. One is not
    enough: max pooling and ReLU hide the pixels that did not win. Its non-zero square is the
    receptive field that `list_layers` computes, as far as it lies in the image. Raises `UserError`
    for a layer whose output is no maps.
    """
    like = next(network.parameters(), torch.empty(0))
    draws, generator = check("draws", draws, Count), torch.Generator().manual_seed(0)
    drawn = torch.randn(draws, 1, 28, 28, generator=generator)
    with evaluation_mode(network), torch.enable_grad():
        images = drawn.to(like.device, like.dtype).requires_grad_()
        answer = _passed(layer, network, images)[1]
        if answer.ndim != 4:
            raise UserError(f"the output of {layer} is no maps, so it has no value in the middle.")
        middle = answer[..., answer.shape[-2] // 2, answer.shape[-1] // 2]
        (gradient,) = torch.autograd.grad(middle.abs().sum(), images)
    return gradient.abs().mean((0, 1))


def bounding_box(field: Tensor) -> tuple[int, int, int, int]:
    """The smallest frame around the non-zero values of `[28, 28]`: top, left, height, width."""
    places = field.nonzero()
    if not len(places):
        raise UserError("the field is zero everywhere, so there is nothing to put a frame around.")
    first, size = places.amin(0), places.amax(0) - places.amin(0) + 1
    return *first.tolist(), *size.tolist()


def _pooled_head(network: nn.Module) -> tuple[nn.Module, nn.Module]:
    """The last pooling to one pixel, and the layer that alone weighs its channels."""
    rows = [row for row in list_layers(network) if not isinstance(row.module, PASSING)]
    match [row.module for row in rows[-2:]]:
        case [nn.AvgPool2d() | nn.AdaptiveAvgPool2d() as pool, nn.Conv2d() | nn.Linear() as last]:
            if rows[-2].output[1:] == (1, 1):
                return pool, last
    raise UserError(
        f"{type(network).__name__} does not end in global average pooling and one linear layer, "
        "so it has no class activation maps: use occlusion_map."
    )


def _passed(layer: nn.Module, network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """What `layer` was given last, and what it answered."""
    passed: list[tuple[Tensor, Tensor]] = []
    with layer.register_forward_hook(lambda _, given, answer: passed.append((given[0], answer))):
        network(images)
    if not passed:
        raise UserError(f"nothing passed through {layer}: is it a layer of this network?")
    return passed[-1]

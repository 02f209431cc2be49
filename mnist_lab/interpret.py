"""Looking into a network: what its layers answer, what a value sees, and where a digit is found."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mnist_lab.layers import list_layers
from mnist_lab.validation import UserError

POOLS = (nn.AvgPool2d, nn.AdaptiveAvgPool2d)


def feature_maps(network: nn.Module, images: Tensor, layer: nn.Module) -> Tensor:
    """What `layer`, a module of `network`, answers to normalised images `[N, 1, 28, 28]`.

    In evaluation mode; the network is left in the mode that it was in. Raises `ValueError` when the
    images do not pass through the layer.
    """
    with _evaluating(network), torch.no_grad():
        return _answer_of(layer, network, images)


def class_activation_maps(network: nn.Module, images: Tensor) -> Tensor:
    """Class activation maps `[N, 10, h, w]`: how much each place speaks for each digit.

    Zhou et al., "Learning Deep Features for Discriminative Localization", arXiv:1512.04150: behind
    global average pooling a linear layer weighs the channels; weighing them before the pooling
    instead gives a map whose mean is the score of the digit (the logit, before softmax). Raises
    `ValueError` for a network that ends otherwise.
    """
    pool, classifier = _pooled_head(network)
    features: list[Tensor] = []
    hook = pool.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    try:
        with _evaluating(network), torch.no_grad():
            network(images)
    finally:
        hook.remove()
    weights = classifier.weight.detach().flatten(1)
    maps = torch.einsum("kc,nchw->nkhw", weights, features[0])
    return maps if classifier.bias is None else maps + classifier.bias.detach()[:, None, None]


def occlusion_map(network: nn.Module, image: Tensor, digit: int, size: int = 7) -> Tensor:
    """How far the probability of `digit` falls when a patch of the image is covered, `[28, 28]`.

    `image`: normalised, `[1, 28, 28]`; a square of `size` pixels, centred at each pixel in turn, is
    filled with its darkest value. It works for every network. Zeiler and Fergus, "Visualizing and
    Understanding Convolutional Networks", arXiv:1311.2901. Raises `ValueError` for an even size.
    """
    if size % 2 != 1:
        raise UserError(f"size must be odd, so that a patch has a middle, not {size}.")
    height, width = image.shape[-2:]
    near_rows = _near(height, size)[
        :, None, :, None
    ]  # [28, 1, 28, 1]: row of the patch, of a pixel
    near_columns = _near(width, size)[None, :, None, :]
    covered = (near_rows & near_columns).reshape(-1, 1, height, width)
    pictures = torch.where(covered, image.min(), image)
    with _evaluating(network), torch.no_grad():
        chances = network(torch.cat([image[None], pictures])).softmax(1)[:, digit]
    return (chances[0] - chances[1:]).reshape(height, width)


def measure_receptive_field(network: nn.Module, layer: nn.Module, draws: int = 32) -> Tensor:
    """How far each input pixel moves the middle value of a layer, `[28, 28]`: zero where unseen.

    The mean absolute gradient over `draws` random images, in evaluation mode. One image is not
    enough: max pooling and ReLU hide the pixels that did not win. Its non-zero square is the
    receptive field that `mnist_lab.layers.layers` computes, as far as it lies in the image.
    """
    images = torch.randn(draws, 1, 28, 28, requires_grad=True)
    with _evaluating(network), torch.enable_grad():
        answer = _answer_of(layer, network, images)
        middle = answer[..., answer.shape[-2] // 2, answer.shape[-1] // 2]
        (gradient,) = torch.autograd.grad(middle.abs().sum(), images)
    return gradient.abs().mean((0, 1))


def bounding_box(field: Tensor) -> tuple[int, int, int, int]:
    """The smallest frame around the non-zero values of `[28, 28]`: top, left, height, width."""
    rows, columns = field.any(1).nonzero().flatten(), field.any(0).nonzero().flatten()
    top, left = int(rows[0]), int(columns[0])
    return top, left, int(rows[-1]) - top + 1, int(columns[-1]) - left + 1


def _near(length: int, size: int) -> Tensor:
    """Whether pixel j lies in the patch centred at i, `[length, length]`."""
    places = torch.arange(length)
    return (places[:, None] - places[None]).abs() <= size // 2


def _pooled_head(network: nn.Module) -> tuple[nn.Module, nn.Module]:
    rows = list_layers(network)
    pools = [i for i, row in enumerate(rows)
             if isinstance(row.module, POOLS) and row.output[1:] == (1, 1)]  # fmt: skip
    behind = [row.module for row in rows[pools[-1] + 1 :] if row.parameters] if pools else []
    if len(behind) != 1:
        raise UserError(
            f"{type(network).__name__} does not end in global average pooling and one linear "
            "layer, so it has no class activation maps: use occlusion_map."
        )
    return rows[pools[-1]].module, behind[0]


def _answer_of(layer: nn.Module, network: nn.Module, images: Tensor) -> Tensor:
    answers: list[Tensor] = []
    hook = layer.register_forward_hook(lambda *parts: answers.append(parts[2]))
    try:
        network(images)
    finally:
        hook.remove()
    if not answers:
        raise UserError(f"nothing passed through {layer}: is it a layer of this network?")
    return answers[-1]


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    training = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode

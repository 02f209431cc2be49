"""Looking into a network: what its layers answer, what a value sees, and where a digit is found."""

import torch
from torch import Tensor, nn

from mnist_lab.layers import evaluation_mode, list_layers
from mnist_lab.validation import Count, UserError, check, whole

POOLS = (nn.AvgPool2d, nn.AdaptiveAvgPool2d)
PASSING = (nn.Flatten, nn.Identity, nn.Dropout, nn.Dropout2d, nn.LogSoftmax, nn.Softmax)


def feature_maps(network: nn.Module, images: Tensor, layer: nn.Module) -> Tensor:
    """What `layer`, a module of `network`, answers to normalised images `[N, 1, 28, 28]`.

    In evaluation mode; the network is left in the mode that it was in. Of a layer that is used
    twice it is the last answer. Raises `UserError` when the images do not pass through the layer.
    """
    with evaluation_mode(network), torch.no_grad():
        return _answer_of(layer, network, images)


def class_activation_maps(network: nn.Module, images: Tensor) -> Tensor:
    """Class activation maps `[N, 10, h, w]`: how much each place speaks for each digit.

    Zhou et al., "Learning Deep Features for Discriminative Localization", arXiv:1512.04150: behind
    global average pooling a linear layer weighs the channels; weighing them before the pooling
    instead gives a map whose mean is the score of the digit (the logit, before softmax). Raises
    `UserError` for a network that ends otherwise.
    """
    pool, classifier = _pooled_head(network)
    features: list[Tensor] = []
    hook = pool.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    try:
        with evaluation_mode(network), torch.no_grad():
            network(images)
            if isinstance(classifier, nn.Linear):
                return classifier(features[-1].movedim(1, -1)).movedim(-1, 1)
            return classifier(features[-1])
    finally:
        hook.remove()


def occlusion_map(network: nn.Module, image: Tensor, digit: int, size: int = 7) -> Tensor:
    """How far the probability of `digit` falls when a patch of the image is covered, `[28, 28]`.

    `image`: normalised, `[1, 28, 28]`; a square of `size` pixels, centred at each pixel in turn, is
    filled with its darkest value. It works for every network. Zeiler and Fergus, "Visualizing and
    Understanding Convolutional Networks", arXiv:1311.2901. Raises `UserError` for an even size and
    for what is no digit.
    """
    digit, size = check("digit", digit, whole(0, 9)), check("size", size, Count)
    if size % 2 == 0:
        raise UserError(f"size must be odd, so that a patch has a middle, not {size}.")
    height, width = image.shape[-2:]
    rows, columns = (_near(length, size).to(image.device) for length in (height, width))
    covered = rows[:, None, :, None] & columns[None, :, None, :]  # where the patch is, each pixel
    pictures = torch.where(covered.reshape(-1, 1, height, width), image.min(), image)
    with evaluation_mode(network), torch.no_grad():
        chances = network(torch.cat([image[None], pictures])).softmax(1)[:, digit]
    return (chances[0] - chances[1:]).reshape(height, width)


def measure_receptive_field(network: nn.Module, layer: nn.Module, draws: int = 32) -> Tensor:
    """How far each input pixel moves the middle value of a layer, `[28, 28]`: zero where unseen.

    The mean absolute gradient over `draws` random images, the same ones in each call, in evaluation
    mode. One image is not enough: max pooling and ReLU hide the pixels that did not win. Its
    non-zero square is the receptive field that `mnist_lab.layers.list_layers` computes, as far as
    it lies in the image. Raises `UserError` for a layer whose output is no maps.
    """
    like = next(network.parameters(), torch.empty(0))
    drawn = torch.randn(check("draws", draws, Count), 1, 28, 28,
                        generator=torch.Generator().manual_seed(0))  # fmt: skip
    with evaluation_mode(network), torch.enable_grad():
        images = drawn.to(like.device, like.dtype).requires_grad_()
        answer = _answer_of(layer, network, images)
        if answer.ndim != 4:
            raise UserError(f"the output of {layer} is no maps, so it has no value in the middle.")
        middle = answer[..., answer.shape[-2] // 2, answer.shape[-1] // 2]
        (gradient,) = torch.autograd.grad(middle.abs().sum(), images)
    return gradient.abs().mean((0, 1))


def bounding_box(field: Tensor) -> tuple[int, int, int, int]:
    """The smallest frame around the non-zero values of `[28, 28]`: top, left, height, width.

    Raises `UserError` where all values are zero.
    """
    if not field.any():
        raise UserError("the field is zero everywhere, so there is nothing to put a frame around.")
    rows, columns = field.any(1).nonzero().flatten(), field.any(0).nonzero().flatten()
    top, left = int(rows[0]), int(columns[0])
    return top, left, int(rows[-1]) - top + 1, int(columns[-1]) - left + 1


def _near(length: int, size: int) -> Tensor:
    """Whether pixel j lies in the patch centred at i, `[length, length]`."""
    places = torch.arange(length)
    return (places[:, None] - places[None]).abs() <= size // 2


def _pooled_head(network: nn.Module) -> tuple[nn.Module, nn.Module]:
    """The last pooling to one pixel, and the layer that alone weighs its channels."""
    rows = list_layers(network)
    pools = [i for i, row in enumerate(rows)
             if isinstance(row.module, POOLS) and row.output[1:] == (1, 1)]  # fmt: skip
    behind = [row.module for row in rows[pools[-1] + 1 :]] if pools else []
    weighing = [module for module in behind if not isinstance(module, PASSING)]
    if len(weighing) != 1 or not isinstance(weighing[0], nn.Conv2d | nn.Linear):
        raise UserError(
            f"{type(network).__name__} does not end in global average pooling and one linear "
            "layer, so it has no class activation maps: use occlusion_map."
        )
    return rows[pools[-1]].module, weighing[0]


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

"""The exercises of notebook 03: what a layer sees, the block of the network, its head."""

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_lab.exercises.cases import draw, randn
from mnist_lab.exercises.checks import (
    agrees,
    as_number,
    by_example,
    call_with_copies,
    expect_module,
    expect_number,
    expect_parameters,
    expect_shape,
    expect_tensor,
)
from mnist_lab.exercises.question import Wrong, call, exercise


@exercise("Pool earlier")
def pool_earlier(sees_a, sees_b):
    a, b = as_number(sees_a, "sees_a"), as_number(sees_b, "sees_b")
    if (a, b) == (12, 10):
        raise Wrong("you have both numbers, but A and B are interchanged.")
    if 8 in (a, b):
        raise Wrong(
            "8 would be right if a convolution behind the pooling added 2 pixels, like one before "
            "it: but two neighbours of the pooled map lie 2 pixels apart."
        )
    if (a, b) == (9, 11):
        raise Wrong("the pooling has been left out: it looks at 2×2 values, so it adds a pixel.")
    expect_number(a, 10, "sees_a")
    expect_number(b, 12, "sees_b")


@exercise("What does any chain of layers see?")
def chain_of_layers(receptive_field):
    for layers, remark in (
        ([(3, 1)], "a 3×3 convolution sees 3 pixels."),
        ([(3, 1), (3, 1)], "the second 3×3 convolution adds 2 pixels to the 3 of the first."),
        ([(3, 1), (2, 2)], "a layer's own stride counts for the layers behind it only."),
        ([(2, 2), (3, 1)], "behind a stride of 2, a 3×3 convolution reaches over 4 more pixels."),
        ([(2, 2), (2, 2), (3, 1)], "strides multiply: behind two of 2, neighbours lie 4 apart."),
    ):
        by_example("receptive_field", receptive_field, _field, [(layers,)], otherwise=remark)
    cases = [(_random_layers(),) for _ in range(20)]
    drawn = "the numbers are drawn anew each time."
    by_example("receptive_field", receptive_field, _field, cases, otherwise=drawn)


def _random_layers() -> list[tuple[int, int]]:
    """No stride is larger than its kernel: no pixel is left out between two that are seen."""
    kernels = [draw.randint(1, 7) for _ in range(draw.randint(1, 6))]
    return [(kernel, draw.randint(1, min(kernel, 3))) for kernel in kernels]


def _field(layers: list[tuple[int, int]]) -> int:
    field, jump = 1, 1
    for kernel, stride in layers:
        field, jump = field + (kernel - 1) * jump, jump * stride
    return field


@exercise("The block")
def the_block(conv_block):
    # Each number differs: whoever does not use what is given is wrong at least once.
    shares = draw.uniform(0.1, 0.3), draw.uniform(0.6, 0.8)
    sizes = draw.sample(range(2, 7), 2), draw.sample(range(7, 13), 2)
    for inside, outside, share in zip(*sizes, shares):
        _look_at_block(conv_block(inside, outside, share), inside, outside, share)


def _look_at_block(module, inside: int, outside: int, share: float) -> None:
    what = f"conv_block({inside}, {outside}, {share:.2f})"
    expect_module(module, what)
    images = 30 * randn(8, inside, 12, 12)  # far above 6, where ReLU6 ends
    output = call_with_copies(call(module.eval), images)
    if sum(p.numel() for p in module.parameters()) == 9 * inside * outside + 3 * outside:
        raise Wrong(f"{what} has {outside} parameters too many: has its convolution a bias?")
    expect_parameters(module, 9 * inside * outside + 2 * outside, what)
    if isinstance(output, Tensor) and output.shape[2:] == images.shape[2:]:
        raise Wrong("the maps come out as large as they went in: the convolution is padded.")
    expect_shape(output, (8, outside, 10, 10), f"what {what} returns for {list(images.shape)}")
    norm = _only(module, nn.BatchNorm2d)
    if norm.running_mean is None:
        raise Wrong("its batch norm keeps no running mean: leave `track_running_stats` as it is.")
    maps = F.conv2d(images, _weight(module, (outside, inside, 3, 3))).detach()
    _look_at_order(module, images, maps, norm)
    _look_at_dropout(module, images, maps, norm, share)


def _only(module: nn.Module, kind: type[nn.Module]) -> nn.Module:
    found = [part for part in module.modules() if isinstance(part, kind)]
    if len(found) != 1:
        raise Wrong(f"{len(found)} layers of the kind nn.{kind.__name__} are in it; one is needed.")
    return found[0]


def _weight(module: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """The weight of the convolution, be it a layer's or the module's own."""
    for weight in module.parameters():
        if weight.shape == shape:
            return weight
    raise Wrong(f"no weight in it has the shape {list(shape)}: is its convolution 3×3?")


def _look_at_order(module, images: Tensor, maps: Tensor, norm: nn.BatchNorm2d) -> None:
    """In evaluation mode, with a norm that has seen something, and moves 0 up or down."""
    with torch.no_grad():
        for values in (norm.weight, norm.running_mean, norm.running_var):
            values.uniform_(0.5, 1.5)
        norm.bias.uniform_(4, 5)[::2] *= -1
        output = call(module, images)
        if not torch.equal(output, call(module, images)):
            raise Wrong("in eval() it gives two answers to the same images: dropout still drops.")
        for other, why in (
            (norm(maps).relu(), "ReLU comes behind batch norm; the published order is before it."),
            (norm(maps), "there is no ReLU in it, so that a negative number is not cut off."),
            (norm(maps.relu()).relu(), "a second ReLU, behind batch norm, is one too many."),
            (norm(F.relu6(maps)), "numbers above 6 are cut off, too: that is ReLU6."),
        ):
            if agrees(output, other):
                raise Wrong(why)
        expect_tensor(output, norm(maps.relu()), "in eval(), what comes out of the block", 2e-3)


def _look_at_dropout(module, images, maps, norm: nn.BatchNorm2d, share: float) -> None:
    """In training mode."""
    with torch.no_grad():
        output = call(module.train(), images)
        zero = output == 0
        found = zero.float().mean().item()
        if torch.equal(output, call(module, images)):
            raise Wrong("in train() nothing in it is random: dropout is missing.")
        if found == 0:
            raise Wrong("dropout is not the last layer: what stands behind it moves its zeros.")
        if torch.equal(zero.amin((2, 3)), zero.amax((2, 3))):
            raise Wrong("it drops whole maps, not single values: that is nn.Dropout2d.")
        if abs(found - share) > 0.05:
            raise Wrong(f"in train() {found:.0%} of the values are 0; {share:.0%} are expected.")
        expected = norm.train()(maps.relu()) / (1 - share)
        expect_tensor(output, expected * ~zero, "in train(), what comes out of the block", 1e-3)


@exercise("Two mistakes")
def two_mistakes(Head):
    head = call(Head)
    expect_module(head, "Head()")
    expect_parameters(head, 160, "Head()")
    maps = randn(5, 16, 6, 6) + 1
    with torch.no_grad():
        answers = _answers(call(head.eval), maps)
        if not torch.equal(answers, call(head, maps)):
            raise Wrong("in eval() it still gives two answers to the same maps: what is random?")
        scores = F.conv2d(maps.mean((2, 3), keepdim=True), _weight_of_head(head)).flatten(1)
        for other, why in (
            (
                scores.log_softmax(0),
                "the digits of a batch share the probability: sum over the 10.",
            ),
            (scores, "the ten numbers are no log-probabilities: keep the log-softmax."),
            (scores.softmax(1), "those are probabilities; their logarithms are expected."),
        ):
            if agrees(answers, other):
                raise Wrong(why)
        expect_tensor(answers, F.log_softmax(scores, 1), "the answer of the head")
        expect_tensor(call(head, maps[:1]), answers[:1], "the answer to one digit alone")
        if torch.equal(call_with_copies(call(head.train), maps), call(head, maps)):
            raise Wrong("in train() nothing is dropped any more: keep the dropout.")
        _look_at_means(head)


def _answers(head: nn.Module, maps: Tensor) -> Tensor:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        answers = call_with_copies(head, maps)
    if any("mplicit dimension" in str(warning.message) for warning in said):
        raise Wrong("softmax is not told its `dim`: PyTorch guesses it, and warns of that.")
    expect_shape(answers, (5, 10), "what the head returns for 5 digits")
    return answers


def _weight_of_head(head: nn.Module) -> Tensor:
    return next(iter(head.parameters())).reshape(10, 16, 1, 1)


def _look_at_means(head: nn.Module) -> None:
    """In training mode: the mean of 36 ones of which some are dropped, the others divided by 0.9.

    So 32.4 times it is the number of those kept, and it scatters by about 0.056.
    """
    given = []
    _only(head, nn.Conv2d).register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    call(head, torch.ones(200, 16, 6, 6))
    for maps in given[:1]:
        kept = 32.4 * maps.mean((2, 3))
        if not (agrees(kept, kept.round(), 1e-3) and 0.045 < kept.std() / 32.4 < 0.067):
            raise Wrong("in train() it is another dropout: it was a tenth of each map's values.")

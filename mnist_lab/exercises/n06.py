"""The exercises of notebook 06: the bottleneck, its price, and what a norm makes useless."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_lab.exercises.cases import draw, rand, randn
from mnist_lab.exercises.checks import (
    agrees,
    by_example,
    expect_kind,
    expect_numbers,
    expect_parameters,
    expect_shape,
    only,
    refuse,
)
from mnist_lab.exercises.question import call, exercise


@exercise("The price of a bottleneck")
def price_of_a_bottleneck(direct, with_squeeze):
    weights, biased = (64 * 64 * 9, 64 * 16 + 16 * 64 * 9), 64 * 64 * 9 + 64
    slips = (
        (weights, "these are the weights; the biases are missing, one for each output channel."),
        ((biased, weights[1] + 64), "in with_squeeze, the 16 biases of the squeeze are missing."),
        ((None, 16 * 64 * 9 + 64), "with_squeeze is the 3×3 convolution only: add the squeeze."),
        ((None, 64 * 16 * 9 + 16 + 16 * 64 * 9 + 64), "the squeeze is counted as 3×3; it is 1×1."),
    )
    right = biased, weights[1] + 64 + 16
    expect_numbers({"direct": direct, "with_squeeze": with_squeeze}, right, slips)


@exercise("Write the bottleneck")
def write_the_bottleneck(bottleneck):
    wide, narrow, out = draw.randint(16, 24), draw.randint(4, 6), draw.randint(8, 15)
    # A way around is often taken only where the channels fit.
    for sizes in ((wide, narrow, out), (out, narrow, out), (wide, out, out), (out, out, wide)):
        module = call(bottleneck, *sizes)
        expect_kind(module, nn.Module, "what `bottleneck` returns", "a module of PyTorch")
        images = randn(24, sizes[0], 7, 7)
        with torch.no_grad():
            output = call(module, images)  # lazy layers have no weights before it
            _expect_shapes(module, *sizes, output)
            norm = only(module, nn.BatchNorm2d)
            # It reaches far above 6, and its figures are as if it had seen digits.
            for values in (norm.weight, norm.running_mean, norm.running_var):
                values.copy_(0.5 + rand(sizes[-1]))
            norm.weight *= 8
            norm.bias.copy_(randn(sizes[-1]))
            for bias in set(module.parameters()) - set(norm.parameters()):
                if bias.numel() == max(bias.shape):  # none is 0, so it shows where zeros are put
                    bias.copy_(randn(*bias.shape))
            for training in (False, True):
                _expect_linear_then_norm(call(module.train, training), norm, images)
            _expect_no_way_around(call(module.eval), norm, images)


def _expect_shapes(module: nn.Module, wide: int, narrow: int, out: int, output) -> None:
    what = f"bottleneck({wide}, {narrow}, {out})"
    found = sum(p.numel() for p in module.parameters())
    expected = (wide * narrow + narrow) + (narrow * out * 9 + out) + 2 * out
    less = expected - found
    refuse(
        (less == -2 * narrow, f"{what} has a norm behind the squeeze, too."),
        (less in (narrow, out, narrow + out), f"{what} has {less} parameters too few: a bias?"),
    )
    expect_parameters(module, expected, what)
    smaller = isinstance(output, Tensor) and output.shape[2:] == (5, 5)
    refuse((smaller, "maps of 7×7 come out as 5×5: does the padding keep the size?"))
    expect_shape(output, (24, out, 7, 7), f"what {what} returns for {[24, wide, 7, 7]}")


def _pass_through(module: nn.Module, norm: nn.Module, images: Tensor) -> list[Tensor]:
    """What the norm is given, what it returns, and what the module returns."""
    seen = []
    with norm.register_forward_hook(lambda _, given, made: seen.extend([given[0], made.clone()])):
        output = call(module, images)
    refuse((len(seen) != 2, "the norm has to be used once whenever images pass through."))
    return [*seen, output]


def _expect_linear_then_norm(module: nn.Module, norm: nn.Module, images: Tensor) -> None:
    """Before the norm stands one 3×3 convolution, in whatever form; behind it ReLU."""
    mode = f"in {'training' if module.training else 'evaluation'} mode"
    point = torch.zeros(images.shape[1] + 1, *images.shape[1:])
    for channel, image in enumerate(point[1:]):  # a single pixel: the kernel shows around it
        image[channel, 3, 3] = 1
    maps, normed, output = _pass_through(module, norm, torch.cat([point, images]))
    zero, points, once = maps[:1], maps[1 : len(point)], maps[len(point) :]
    kernel = (points - zero)[:, :, 2:5, 2:5].flip(2, 3).transpose(0, 1)
    same, positive = agrees(output, normed), bool((maps >= 0).all())
    linear = agrees(once - zero, F.conv2d(images, kernel, padding=1))
    refuse(
        (same and positive, "ReLU stands before the norm; here the norm comes first."),
        (same, "there is no ReLU at the end."),
        (not agrees(output, normed.relu()), f"{mode}, it is not the ReLU of what the norm gives."),
        (
            not linear,
            f"{mode}, what comes before the norm is no linear 3×3 convolution with zeros "
            "around the maps: is there a ReLU or dropout behind the squeeze?",
        ),
        (
            agrees(zero[..., 0, 0], zero[..., 3, 3]),
            f"{mode}, the zeros belong around the squeezed maps: pad the 3×3 convolution, not the "
            "squeeze.",
        ),
    )


def _expect_no_way_around(module: nn.Module, norm: nn.Module, images: Tensor) -> None:
    for weight in module.parameters():
        if weight.numel() > images.shape[1] + weight.shape[0]:  # not a bias
            kept = weight.clone()
            weight.zero_()
            maps = _pass_through(module, norm, images)[0]
            weight.copy_(kept)
            around = not agrees(maps - maps[:1], torch.zeros_like(maps))
            refuse((around, "with weights of 0 something still comes through: a way around them?"))


@exercise("A linear layer is a convolution")
def linear_is_a_convolution(as_convolution):
    def answers(linear, channels, size, maps):
        convolution = as_convolution(linear, channels, size)
        expect_kind(convolution, nn.Conv2d, "what `as_convolution` returns", "an nn.Conv2d")
        found = call(nn.Conv2d.forward, convolution, maps)  # its weights, no forward of its own
        expect_shape(found, (5, len(linear.weight), 1, 1), f"the answer to {list(maps.shape)}")
        return found.flatten(1)

    def differences(linear, channels, size, maps):
        found = answers(linear, channels, size, maps)
        return found - found[:1]

    def of(order):
        def right(linear, channels, size, maps):
            return F.linear(order(maps - maps[:1]).flatten(1), linear.weight)

        return right

    slips = [
        (of(lambda maps: maps.transpose(2, 3)), "rows and columns are interchanged."),
        (of(lambda maps: maps.movedim(1, 3)), "the weights are laid out with the channels last."),
    ]
    cases = []
    for _ in range(3):
        channels, size, count = draw.randint(2, 6), draw.randint(2, 5), draw.randint(7, 12)
        linear = nn.Linear(channels * size**2, count).requires_grad_(False)
        for values in linear.parameters():
            values.copy_(randn(*values.shape))
        cases.append((linear, channels, size, randn(5, channels, size, size)))
    by_example("what the weights answer", differences, of(lambda maps: maps), cases, slips)
    by_example("the answer", answers, lambda linear, _, size, maps: linear(maps.flatten(1)), cases,
               otherwise="The weights are right, but the bias is not that of linear.")  # fmt: skip


@exercise("Dead parameters")
def dead_parameters(dead_biases):
    conv, norm, relu = nn.Conv2d(1, 5, 3), nn.BatchNorm2d(5), nn.ReLU()
    bare, more, then = nn.Conv2d(1, 5, 3, bias=False), nn.Conv2d(5, 7, 1), nn.BatchNorm2d(7)
    cases = [
        ([conv, norm, relu], "There is a bias for each output channel."),
        ([conv, relu], "Without a norm a bias counts."),
        ([conv, relu, norm], "A ReLU between cuts off more or less, depending on the bias."),
        ([bare, norm], "This convolution has no bias."),
        ([conv, norm, relu, more], "No norm follows the second convolution."),
        ([conv, norm, more, then], "Both have a norm behind them."),
        ([nn.MaxPool2d(2), conv, norm], "A pair may stand anywhere."),
        ([conv, nn.GroupNorm(1, 5), relu], "This norm is another one: nn.BatchNorm2d is asked."),
        ([conv, norm, nn.BatchNorm2d(5)], "Only a convolution's bias is asked, not a norm's."),
        ([conv, relu, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 7), nn.BatchNorm1d(7)],
         "Only a convolution's bias is asked, not a linear layer's."),
        *((_drawn_layers(), "The layers are drawn anew each time.") for _ in range(5)),
    ]  # fmt: skip
    for layers, why in cases:
        names = " → ".join(type(layer).__name__ for layer in layers)
        otherwise = f"The layers are {names}. {why}"
        case = (nn.Sequential(*layers),)
        by_example("dead_biases", dead_biases, _dead_biases, [case], otherwise=otherwise)


def _dead_biases(network: nn.Sequential) -> int:
    return sum(
        layer.out_channels
        for layer, after in pairwise(network)
        if isinstance(layer, nn.Conv2d) and isinstance(after, nn.BatchNorm2d)
        if layer.bias is not None
    )


def _drawn_layers() -> list[nn.Module]:
    layers, channels = [], 1
    for _ in range(draw.randint(2, 4)):
        out = draw.randint(2, 9)
        behind = draw.sample([nn.BatchNorm2d(out), nn.ReLU()], 2)
        layers += [nn.Conv2d(channels, out, 3, bias=draw.random() < 0.7), *behind]
        channels = out
    return layers

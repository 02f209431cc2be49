"""The exercises of notebook 05: the bottleneck, its price, and what a norm makes useless."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_lab.exercises.cases import draw, rand, randn
from mnist_lab.exercises.checks import (
    agrees,
    as_number,
    by_example,
    call_with_copies,
    expect_function,
    expect_kind,
    expect_module,
    expect_number,
    expect_parameters,
    expect_shape,
    expect_tensor,
)
from mnist_lab.exercises.question import Wrong, call, exercise


@exercise("The price of a bottleneck")
def price_of_a_bottleneck(direct, with_squeeze):
    found = as_number(direct, "direct"), as_number(with_squeeze, "with_squeeze")
    weights = 64 * 64 * 9, 64 * 16 + 16 * 64 * 9
    if found == weights:
        raise Wrong("these are the weights; the biases are missing, one for each output channel.")
    if found == (weights[0] + 64, weights[1] + 64):
        raise Wrong("direct is right; in with_squeeze, the 16 biases of the squeeze are missing.")
    if found[1] == 16 * 64 * 9 + 64:
        raise Wrong("with_squeeze holds the 3×3 convolution only: add the squeeze before it.")
    if found[1] == 64 * 16 * 9 + 16 + 16 * 64 * 9 + 64:
        raise Wrong("in with_squeeze, the squeeze is counted as 3×3; it is 1×1.")
    expect_number(found[0], 64 * 64 * 9 + 64, "direct")
    expect_number(found[1], 64 * 16 + 16 + 16 * 64 * 9 + 64, "with_squeeze")


@exercise("Write the bottleneck")
def write_the_bottleneck(bottleneck):
    expect_function(bottleneck, "`bottleneck`")
    wide, narrow, out = draw.randint(16, 24), draw.randint(4, 6), draw.randint(8, 15)
    # A way around is often taken only where the channels fit.
    for sizes in ((wide, narrow, out), (out, narrow, out), (wide, out, out), (out, out, wide)):
        what = f"bottleneck({', '.join(map(str, sizes))})"
        module = call(bottleneck, *sizes)
        expect_module(module, what)
        images = randn(64, sizes[0], 7, 7)
        with torch.no_grad():
            output = call(module, images)  # lazy layers have no weights before it
            _expect_shapes(module, sizes, output, what)
            norm = _norm_of(module)
            for training in (False, True):
                _look_at_bottleneck(module.train(training), norm, images)
            _look_for_a_way_around(module.eval(), norm, images)


def _expect_shapes(module: nn.Module, sizes, output, what: str) -> None:
    wide, narrow, out = sizes
    found = sum(p.numel() for p in module.parameters())
    expected = (wide * narrow + narrow) + (narrow * out * 9 + out) + 2 * out
    if found == expected + 2 * narrow:
        raise Wrong(f"{what} has a norm behind the squeeze, too: there should be nothing.")
    if found in (expected - narrow, expected - out, expected - narrow - out):
        raise Wrong(f"{what} has {expected - found} parameters too few: is a bias missing?")
    expect_parameters(module, expected, what)
    if isinstance(output, Tensor) and output.shape[2:] == (5, 5):
        raise Wrong("maps of 7×7 come out as 5×5: does the padding keep the size?")
    expect_shape(output, (64, out, 7, 7), f"what {what} returns for {[64, wide, 7, 7]}")


def _norm_of(module: nn.Module) -> nn.BatchNorm2d:
    """Its only norm, with weights that reach far above 6, and figures as if it had seen digits."""
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    if len(norms) != 1:
        raise Wrong(f"it has {len(norms)} layers of the kind nn.BatchNorm2d; one is expected.")
    if norms[0].running_mean is None:
        raise Wrong("its norm keeps no running mean: leave track_running_stats as it is.")
    for values in (norms[0].weight, norms[0].running_mean, norms[0].running_var):
        values.copy_(0.5 + rand(len(values)))
    norms[0].weight *= 8
    norms[0].bias.copy_(randn(len(norms[0].bias)))
    return norms[0]


def _pass_through(module: nn.Module, norm: nn.Module, images: Tensor) -> list[Tensor]:
    """What the norm is given, what it returns, and what the module returns."""
    seen = []
    with norm.register_forward_hook(lambda _, given, made: seen.extend([given[0], made.clone()])):
        output = call(module, images)
    if len(seen) != 2:
        raise Wrong("the norm has to be used once whenever images pass through.")
    return [*seen, output]


def _look_at_bottleneck(module: nn.Module, norm: nn.Module, images: Tensor) -> None:
    """Before the norm stands one 3×3 convolution, in whatever form; behind it ReLU."""
    mode = "training" if module.training else "evaluation"
    point = torch.zeros(images.shape[1] + 1, *images.shape[1:])
    for channel, image in enumerate(point[1:]):  # a single pixel: the kernel shows around it
        image[channel, 3, 3] = 1
    maps, normed, output = _pass_through(module, norm, torch.cat([point, images, 2 * images]))
    if agrees(output, normed):
        relu_first = bool((maps >= 0).all())
        ahead = "ReLU stands before the norm; here the norm comes first."
        raise Wrong(ahead if relu_first else "there is no ReLU at the end.")
    if not agrees(output, normed.relu()):
        raise Wrong(f"in {mode} mode, what comes out is not the ReLU of what the norm gives.")
    zero, points = maps[:1], maps[1 : len(point)]
    once, twice = maps[len(point) :].split(len(images))
    if not agrees(twice - once, once - zero):
        raise Wrong(
            f"in {mode} mode the maps are no linear map of what comes in: is there something "
            "behind the squeeze? Leave it linear, without ReLU or dropout."
        )
    kernel = (points - zero)[:, :, 2:5, 2:5].flip(2, 3).transpose(0, 1)
    if not agrees(once - zero, F.conv2d(images, kernel, padding=1)):
        raise Wrong("what stands before the norm is no 3×3 convolution with zeros around the maps.")


def _look_for_a_way_around(module: nn.Module, norm: nn.Module, images: Tensor) -> None:
    for weight in module.parameters():
        if weight.numel() > images.shape[1] + weight.shape[0]:  # not a bias
            kept = weight.clone()
            weight.zero_()
            maps = _pass_through(module, norm, images)[0]
            weight.copy_(kept)
            if not agrees(maps - maps[:1], torch.zeros_like(maps)):
                raise Wrong("with weights of 0 something still comes through: a way around them?")


@exercise("A linear layer is a convolution")
def linear_is_a_convolution(as_convolution):
    expect_function(as_convolution, "`as_convolution`")
    for _ in range(3):
        channels, size, answers = draw.randint(2, 6), draw.randint(2, 5), draw.randint(7, 12)
        linear, maps = nn.Linear(channels * size**2, answers), randn(5, channels, size, size)
        with torch.no_grad():
            for values in linear.parameters():
                values.copy_(randn(*values.shape))
            what = f"as_convolution(linear, {channels}, {size})"
            convolution = call_with_copies(as_convolution, linear, channels, size)
            expect_kind(convolution, nn.Conv2d, what, "an nn.Conv2d")
            found = call(nn.Conv2d.forward, convolution, maps)  # its weights, no forward of its own
            expect_shape(found, (5, answers, 1, 1), f"the answer to maps {list(maps.shape)}")
            _compare_answers(found.flatten(1), linear, maps)
        expect_parameters(convolution, sum(p.numel() for p in linear.parameters()), what)


def _compare_answers(found: Tensor, linear: nn.Linear, maps: Tensor) -> None:
    expected = linear(maps.flatten(1))
    if agrees(found, expected):
        return
    if agrees(found - found[:1], expected - expected[:1]):
        raise Wrong("the weights are right, but the bias is not that of linear.")
    if agrees(found, linear(maps.transpose(2, 3).flatten(1))):
        raise Wrong("rows and columns are interchanged in the weights.")
    if agrees(found, linear(maps.movedim(1, 3).flatten(1))):
        raise Wrong("the weights are laid out with the channels last.")
    expect_tensor(found, expected, "the answer of the convolution")


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

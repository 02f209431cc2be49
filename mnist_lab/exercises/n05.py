"""The exercises of notebook 05: the bottleneck, its price, and what a norm makes useless."""

import random

import torch
from torch import Tensor, nn

from mnist_lab.exercises.checks import (
    as_number,
    expect_function,
    expect_kind,
    expect_module,
    expect_number,
    expect_parameters,
    expect_shape,
    expect_tensor,
    expect_unchanged,
)
from mnist_lab.exercises.question import Wrong, exercise


@exercise(
    title="The price of a bottleneck",
    task="""
    A 3×3 convolution from 64 to 64 channels, with a bias: how many parameters has it? And how many
    have a 1×1 convolution from 64 to 16 channels and a 3×3 convolution from 16 to 64, with biases,
    together? Predict both; Python may do the arithmetic.
    """,
    start="""
    direct = ...
    with_squeeze = ...
    """,
    hint="""
    Each filter has a weight for every input channel at every place of its window, and one bias; and
    there are as many filters as output channels.
    """,
    solution="""
    direct = 64 * 64 * 9 + 64
    with_squeeze = (64 * 16 + 16) + (16 * 64 * 9 + 64)
    """,
    right="""
    Less than a third, and the same shapes go in and come out. The price: whatever passes must fit
    through 16 channels.
    """,
)
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


@exercise(
    title="Write the bottleneck",
    task="""
    Write `bottleneck(in_channels, squeezed, out_channels)`. It returns a module: a 1×1 convolution
    to `squeezed` channels, nothing behind it, then a 3×3 convolution to `out_channels` that keeps
    the size of the maps, then batch norm, then ReLU. Both convolutions have a bias, as published.
    """,
    start="""
    from torch import nn


    def bottleneck(in_channels, squeezed, out_channels):
        return ...
    """,
    hint="""
    A 3×3 convolution shaves off one pixel at each side; `padding` puts it there before. Section 5
    builds the same with fixed numbers.
    """,
    solution="""
    from torch import nn


    def bottleneck(in_channels, squeezed, out_channels):
        return nn.Sequential(
            nn.Conv2d(in_channels, squeezed, kernel_size=1),
            nn.Conv2d(squeezed, out_channels, kernel_size=3, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )
    """,
    right="""
    With no ReLU behind it the squeeze is linear, and so both convolutions together are one linear
    map: a 3×3 convolution again, but one that may carry no more than fits through the narrow place.
    """,
)
def write_the_bottleneck(bottleneck):
    expect_function(bottleneck, "bottleneck")
    sizes = random.randint(16, 24), random.randint(3, 6), random.randint(8, 15)
    wide, narrow, out = sizes
    what = f"bottleneck({wide}, {narrow}, {out})"
    module = bottleneck(*sizes)
    expect_module(module, what)
    found = sum(p.numel() for p in module.parameters())
    expected = (wide * narrow + narrow) + (narrow * out * 9 + out) + 2 * out
    if found == expected + 2 * narrow:
        raise Wrong(f"{what} has a norm behind the squeeze, too: there should be nothing.")
    if found in (expected - narrow, expected - out, expected - narrow - out):
        raise Wrong(f"{what} has {expected - found} parameters too few: is a bias missing?")
    expect_parameters(module, expected, what)
    images = torch.randn(4, wide, 7, 7)
    output = module.eval()(images)
    if isinstance(output, Tensor) and output.shape[2:] == (5, 5):
        raise Wrong("maps of 7×7 come out as 5×5: does the padding keep the size?")
    expect_shape(output, (4, out, 7, 7), f"what {what} returns for {list(images.shape)}")
    with torch.no_grad():
        _look_at_bottleneck(module, images)


def _look_at_bottleneck(module: nn.Module, images: Tensor) -> None:
    """In evaluation mode, with a norm that has seen something."""
    squeeze = _only(module, "1×1 convolution", lambda part: _is_conv(part, 1))
    conv = _only(module, "3×3 convolution", lambda part: _is_conv(part, 3))
    norm = _only(module, "nn.BatchNorm2d", lambda part: isinstance(part, nn.BatchNorm2d))
    for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        values.uniform_(0.5, 1.5)
    output, maps = module.eval()(images), squeeze(images)
    for other, why in (
        (norm(conv(maps.relu())).relu(), "there is a ReLU behind the squeeze: leave it linear."),
        (norm(conv(maps)), "there is no ReLU at the end."),
        (norm(conv(maps).relu()), "ReLU stands before the norm; here the norm comes first."),
    ):
        if torch.allclose(output, other, atol=1e-4):
            raise Wrong(why)
    expect_tensor(output, norm(conv(maps)).relu(), "what comes out of the bottleneck")


def _is_conv(part: nn.Module, size: int) -> bool:
    return isinstance(part, nn.Conv2d) and part.kernel_size == (size, size)


def _only(module: nn.Module, name: str, is_one) -> nn.Module:
    found = [part for part in module.modules() if is_one(part)]
    if len(found) != 1:
        raise Wrong(f"it has {len(found)} layers of the kind {name}; one is expected.")
    return found[0]


@exercise(
    title="A linear layer is a convolution",
    task="""
    A linear layer behind a flatten is a convolution as large as the map: prove it. Write
    `as_convolution(linear, channels, size)`. `linear` is an `nn.Linear` that has been trained on
    flattened maps, each `[channels, size, size]`. Return an `nn.Conv2d` that gives the same answers
    for the maps themselves, as `[N, answers, 1, 1]`, and leave `linear` as it is.
    """,
    start="""
    import torch
    from torch import nn


    def as_convolution(linear, channels, size):
        return ...
    """,
    hint="""
    `linear.weight` is `[answers, channels · size · size]`. What shape has the weight of a
    convolution, and in which order does `flatten` write the values of a map? `weight.copy_(…)`
    inside `with torch.no_grad():` fills a parameter.
    """,
    solution="""
    import torch
    from torch import nn


    def as_convolution(linear, channels, size):
        convolution = nn.Conv2d(channels, linear.out_features, kernel_size=size)
        with torch.no_grad():
            convolution.weight.copy_(linear.weight.view(-1, channels, size, size))
            convolution.bias.copy_(linear.bias)
        return convolution
    """,
    right="""
    A fully connected head is a convolution in disguise. But unlike the linear layer this one also
    takes a larger map: then it gives an answer for each place.
    """,
)
def linear_is_a_convolution(as_convolution):
    expect_function(as_convolution, "as_convolution")
    for _ in range(3):
        channels, size, answers = random.randint(2, 6), random.randint(2, 5), random.randint(7, 12)
        linear = nn.Linear(channels * size * size, answers)
        before = linear.weight.clone(), linear.bias.clone()
        convolution = as_convolution(linear, channels, size)
        expect_unchanged(linear.weight, before[0], "the weight of linear")
        expect_unchanged(linear.bias, before[1], "the bias of linear")
        what = f"as_convolution(linear, {channels}, {size})"
        expect_kind(convolution, nn.Conv2d, what, "an nn.Conv2d")
        _compare_answers(convolution, linear, torch.randn(5, channels, size, size))
        expect_parameters(convolution, sum(p.numel() for p in linear.parameters()), what)


def _compare_answers(convolution: nn.Module, linear: nn.Linear, maps: Tensor) -> None:
    with torch.no_grad():
        expected, output = linear(maps.flatten(1)), convolution(maps)
        expect_shape(output, (*expected.shape, 1, 1), f"the answer to maps {list(maps.shape)}")
        found = output.flatten(1)
        apart = found - expected
        if not torch.allclose(apart, torch.zeros(()), atol=1e-4):
            if torch.allclose(apart, apart[:1], atol=1e-4):
                raise Wrong("the weights are right, but the bias is not that of linear.")
            for order, name in (
                (maps.transpose(2, 3), "rows and columns are interchanged in the weights."),
                (maps.movedim(1, 3), "the weights are laid out with the channels last."),
            ):
                if torch.allclose(found, linear(order.flatten(1)), atol=1e-4):
                    raise Wrong(name)
        expect_tensor(found, expected, "the answer of the convolution")


@exercise(
    title="Dead parameters",
    task="""
    Batch norm subtracts the mean of each channel, and with it whatever a bias right before it has
    added: in training, such a bias never moves the output. Write `dead_biases(network)`. It is
    given an `nn.Sequential` of layers, and returns how many numbers are such biases: those of every
    convolution (`nn.Conv2d`) that a norm (`nn.BatchNorm2d`) follows *directly*.
    """,
    start="""
    from torch import nn


    def dead_biases(network):
        return ...
    """,
    hint="""
    `zip(network, network[1:])` gives each layer together with the next. A convolution that was made
    with `bias=False` has `None` for its bias.
    """,
    solution="""
    from torch import nn


    def dead_biases(network):
        count = 0
        for layer, following in zip(network, network[1:]):
            if isinstance(layer, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
                count += 0 if layer.bias is None else layer.bias.numel()
        return count
    """,
    right="""
    `dead_biases(bottleneck_network())` is 112, of 16,426 parameters: they are counted and stored,
    and never needed. Do you see why the biases of the squeeze are not among them? (What does the
    padding behind it put around the maps?)
    """,
)
def dead_parameters(dead_biases):
    expect_function(dead_biases, "dead_biases")
    conv, norm, relu = nn.Conv2d(1, 5, 3), nn.BatchNorm2d(5), nn.ReLU()
    cases = (
        ([conv, norm, relu], 5, "there is a bias for each output channel."),
        ([conv, relu], 0, "without a norm a bias counts."),
        ([conv, relu, norm], 0, "a ReLU between cuts off more or less, depending on the bias."),
        ([nn.Conv2d(1, 5, 3, bias=False), norm], 0, "this convolution has no bias."),
        ([conv, norm, relu, nn.Conv2d(5, 7, 1)], 5, "no norm follows the second convolution."),
        ([conv, norm, nn.Conv2d(5, 7, 1), nn.BatchNorm2d(7)], 12, "both have a norm behind them."),
    )
    for layers, expected, why in cases:
        _compare_counts(dead_biases, layers, expected, why)
    for _ in range(5):
        layers, expected = _any_chain()
        _compare_counts(dead_biases, layers, expected, "the layers are drawn anew each time.")


def _any_chain() -> tuple[list[nn.Module], int]:
    layers, expected, channels = [], 0, 1
    for _ in range(random.randint(2, 4)):
        out, bias = random.randint(2, 9), random.random() < 0.7
        behind = [nn.BatchNorm2d(out), nn.ReLU()]
        random.shuffle(behind)
        expected += out if bias and isinstance(behind[0], nn.BatchNorm2d) else 0
        layers += [nn.Conv2d(channels, out, 3, bias=bias), *behind]
        channels = out
    return layers, expected


def _compare_counts(dead_biases, layers: list[nn.Module], expected: int, why: str) -> None:
    network = nn.Sequential(*layers)
    before = nn.utils.parameters_to_vector(network.parameters()).clone()
    found = as_number(dead_biases(network), "what dead_biases returns")
    after = nn.utils.parameters_to_vector(network.parameters())
    if len(network) != len(layers) or not torch.equal(after, before):
        raise Wrong("the network is changed by it: leave it as it is.")
    if found != expected:
        names = " → ".join(type(layer).__name__ for layer in layers)
        raise Wrong(f"for {names} it returns {found:g}; {expected} is expected: {why}")

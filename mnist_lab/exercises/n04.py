"""The exercises of notebook 04: what a layer sees, the block of the network, its head."""

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_lab.exercises.cases import draw, rand, randn
from mnist_lab.exercises.checks import (
    agrees,
    by_example,
    call_with_copies,
    expect_kind,
    expect_numbers,
    expect_parameters,
    expect_shape,
    expect_value,
    only,
    refuse,
)
from mnist_lab.exercises.question import call, exercise


@exercise("Pool earlier")
def pool_earlier(sees_a, sees_b):
    apart = (
        "8 would be right if a convolution behind the pooling added 2 pixels, like one before it: "
        "but two neighbours of the pooled map lie 2 pixels apart."
    )
    slips = (
        ((12, 10), "you have both numbers, but A and B are interchanged."),
        ((8, None), apart),
        ((None, 8), apart),
        ((9, 11), "the pooling has been left out: it looks at 2×2 values, so it adds a pixel."),
    )
    expect_numbers({"sees_a": sees_a, "sees_b": sees_b}, (10, 12), slips)


@exercise("What does any chain of layers see?")
def chain_of_layers(receptive_field):
    drawn = [(_random_layers(), "the numbers are drawn anew each time.") for _ in range(20)]
    for layers, remark in (
        ([(3, 1)], "a 3×3 convolution sees 3 pixels."),
        ([(3, 1), (3, 1)], "the second 3×3 convolution adds 2 pixels to the 3 of the first."),
        ([(3, 1), (2, 2)], "a layer's own stride counts for the layers behind it only."),
        ([(2, 2), (3, 1)], "behind a stride of 2, a 3×3 convolution reaches over 4 more pixels."),
        ([(2, 2), (2, 2), (3, 1)], "strides multiply: behind two of 2, neighbours lie 4 apart."),
        ([(3, 3), (2, 2), (4, 2), (3, 3), (7, 1)], "the strides of all layers before multiply."),
        *drawn,
    ):
        by_example("receptive_field", receptive_field, _field, [(layers,)], otherwise=remark)


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
        module = conv_block(inside, outside, share)
        expect_kind(module, nn.Module, "what `conv_block` returns", "a module of PyTorch")
        with torch.no_grad():
            _expect_block(module, inside, outside, share)


def _expect_block(module: nn.Module, inside: int, outside: int, share: float) -> None:
    def block(images):
        return call(module, images)

    call(module.eval)
    images = 30 * randn(8, inside, 12, 12)  # far above 6, where ReLU6 ends
    output = call_with_copies(block, images)  # lazy layers have no weights before it
    weights = 9 * inside * outside + 2 * outside
    biased = sum(p.numel() for p in module.parameters()) == weights + outside
    padded = isinstance(output, Tensor) and output.shape[2:] == images.shape[2:]
    refuse((biased, f"it has {outside} parameters too many: has its convolution a bias?"))
    expect_parameters(module, weights, f"conv_block({inside}, {outside}, {share:.2f})")
    refuse((padded, "the maps come out as large as they went in: the convolution is padded."))
    expect_shape(output, (8, outside, 10, 10), "what the block returns")
    norm = only(module, nn.BatchNorm2d)
    kernels = [w for w in module.parameters() if w.shape == (outside, inside, 3, 3)]
    refuse((not kernels, f"no weight in it is {[outside, inside, 3, 3]}: is it 3×3?"))
    # As if the norm had seen something, which moves 0 up or down.
    for values in (norm.weight, norm.running_mean, norm.running_var):
        values.copy_(0.5 + rand(outside))
    norm.bias.copy_(4 + rand(outside))[::2] *= -1
    maps = F.conv2d(images, kernels[0])
    slips = [
        (lambda _: norm(maps).relu(), "ReLU comes behind batch norm; published is before it."),
        (lambda _: norm(maps), "there is no ReLU, so that a negative number is not cut off."),
        (lambda _: norm(maps.relu()).relu(), "a second ReLU, behind batch norm, is one too many."),
        (lambda _: norm(F.relu6(maps)), "numbers above 6 are cut off, too: that is ReLU6."),
    ]
    random = not torch.equal(block(images), block(images))
    refuse((random, "in eval() it gives two answers to the same images: dropout still drops."))
    what, right = "what comes out in eval()", norm(maps.relu())
    by_example(what, block, lambda _: right, [(images,)], slips, tolerance=2e-5)

    call(module.train)
    output, right = block(images), norm(maps.relu()) / (1 - share)
    zero = output == 0
    found, whole = zero.float().mean().item(), torch.equal(zero.amin((2, 3)), zero.amax((2, 3)))
    refuse(
        (torch.equal(output, block(images)), "in train() nothing is random: dropout is missing."),
        (found == 0, "dropout is not the last layer: what stands behind it moves its zeros."),
        (whole, "it drops whole maps, not single values: that is nn.Dropout2d."),
        (abs(found - share) > 0.05, f"{found:.0%} of the values are 0; {share:.0%} are expected."),
    )
    expect_value(output, right * ~zero, "what comes out in train()")


@exercise("Two mistakes")
def two_mistakes(Head):
    def answered(maps):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            answers = call(head, maps)
        guessed = any("mplicit dimension" in str(warning.message) for warning in said)
        refuse((guessed, "softmax is not told its `dim`: PyTorch guesses it, and warns of that."))
        return answers

    def scores(maps):
        return maps.mean((2, 3)) @ next(iter(head.parameters())).reshape(10, 16).T

    head = call(Head)
    expect_kind(head, nn.Module, "Head()", "a module of PyTorch")
    expect_parameters(head, 160, "Head()")
    slips = [
        (lambda x: scores(x).log_softmax(0), "the digits of a batch share the probability."),
        (scores, "the ten numbers are no log-probabilities: keep the log-softmax."),
        (lambda x: scores(x).softmax(1), "those are probabilities; take their logarithms."),
    ]
    maps, right = randn(5, 16, 6, 6) + 1, lambda x: scores(x).log_softmax(1)
    with torch.no_grad():
        call(head.eval)
        first = call_with_copies(answered, maps)
        expect_shape(first, (5, 10), "what the head returns for 5 digits")
        random = not torch.equal(first, answered(maps))
        refuse((random, "in eval() it still gives two answers to the same maps: what is random?"))
        by_example("the answer of the head", answered, right, [(maps,), (maps[:1],)], slips)
        call(head.train)
        same = torch.equal(call_with_copies(answered, maps), answered(maps))
        refuse((same, "in train() nothing is dropped any more: keep the dropout."))
        _expect_means_of_a_tenth_less(head)


def _expect_means_of_a_tenth_less(head: nn.Module) -> None:
    """In training mode: the mean of 36 ones of which some are dropped, the others divided by 0.9.

    So 32.4 times it is the number of those kept, and it scatters by about 0.056.
    """
    given = []
    only(head, nn.Conv2d).register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    call(head, torch.ones(200, 16, 6, 6))
    for maps in given[:1]:
        kept = 32.4 * maps.mean((2, 3))
        drops = agrees(kept, kept.round(), 1e-3) and 0.045 < kept.std() / 32.4 < 0.067
        refuse((not drops, "in train() it is another dropout: it was a tenth of the values."))

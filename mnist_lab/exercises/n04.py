"""The exercises of notebook 04: batch norm, what a layer sees, the block, the head, a design."""

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
    expect_parameters,
    expect_shape,
    expect_value,
    only,
    refuse,
    refuse_hidden_weights,
    sides_seen,
)
from mnist_lab.exercises.question import call, exercise


@exercise("Batch norm by hand")
def batch_norm_by_hand(batch_norm):
    def of(dims=(0, 2, 3), divisor=0, kept_divisor=1, share=0.1, eps=1e-5, root=True, after=0.0,
           switched=True, keeps=True, scaled=True):  # fmt: skip
        def norm(maps, weight, bias, mean, var, training):
            def per_channel(values):
                return values[..., :, None, None] if values.dim() < 4 else values

            batch = training if switched else not training
            if batch:
                new = maps.mean(dims, keepdim=dims != (0, 2, 3))
                spread = maps.var(dims, correction=divisor, keepdim=dims != (0, 2, 3))
            else:
                new, spread = mean, var
            size = (per_channel(spread) + eps).sqrt() if root else per_channel(spread) + eps
            out = (maps - per_channel(new)) / (size + after)
            if scaled:
                out = out * per_channel(weight) + per_channel(bias)
            if batch and keeps:
                all_var = maps.var((0, 2, 3), correction=kept_divisor)
                mean = (1 - share) * mean + share * maps.mean((0, 2, 3))
                var = (1 - share) * var + share * all_var
            return out, mean, var

        return norm

    def right(maps, weight, bias, mean, var, training):
        mean, var = mean.clone(), var.clone()
        out = F.batch_norm(maps, mean, var, weight, bias, training, 0.1, 1e-5)
        return out, mean, var

    slips = [
        (of(dims=(0,)), "mean and variance are those over the batch: also over all places."),
        (of(dims=(2, 3)), "each digit has its own mean: one for the whole batch is expected."),
        (of(dims=(1, 2, 3)), "the channels are thrown together: each has its own mean."),
        (of(divisor=1), "here the batch is divided by its variance with the divisor n."),
        (of(kept_divisor=0), "the variance that is kept has the divisor n − 1."),
        (of(divisor=1, kept_divisor=0), "the two divisors are interchanged."),
        (of(share=0.9), "nine tenths of what was kept stay, and one of the new comes in."),
        (of(share=1.0), "what was kept counts, too: with nine tenths."),
        (of(keeps=False), "nothing new is kept."),
        (of(eps=0.0), "the small number 1e-5 is missing."),
        (of(eps=0.0, after=1e-5), "the small number is added to the variance, below the root."),
        (of(root=False), "divide by the root of the variance."),
        (of(scaled=False), "weight and bias of the channels are missing."),
        (of(switched=False), "training and evaluation are interchanged."),
    ]
    still = draw.randrange(3)  # a channel that hardly varies: there the small number counts
    cases = []
    for size, training in (((2, 3, 2, 3), True), ((1, 3, 2, 2), False), ((4, 3, 1, 2), True)):
        maps, channels = 2 * randn(*size) + 3 * randn(3)[:, None, None], randn(2, 3)
        maps[:, still] *= 0.003
        weight, mean = 0.5 + rand(3), randn(3)
        cases.append((maps, weight, channels[0], mean, 0.5 + rand(3), training))
    by_example("batch_norm", batch_norm, right, cases, slips)


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
    inside = draw.randint(2, 6)  # of these, a depthwise convolution can make the others
    sizes = (inside, inside * draw.randint(2, 3)), draw.sample(range(7, 13), 2)
    for (inside, outside), share in zip(sizes, shares):
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

    So 32.4 times it is the number of those kept, and it scatters by about 0.056. With a single
    weight it is the difference of two log-probabilities.
    """
    with torch.no_grad():
        weight = next(iter(head.parameters()))
        weight.zero_().view(10, 16)[0, 0] = 1
    answers = call(head, torch.ones(3_200, 16, 6, 6))
    kept = 32.4 * (answers[:, 0] - answers[:, 1])
    drops = agrees(kept, kept.round(), 1e-3) and 0.045 < kept.std() / 32.4 < 0.067
    refuse((not drops, "in train() it is another dropout: it was a tenth of the values."))


MOST_PARAMETERS, LEAST_CHANNELS, SIDES, SEEN = 4_000, 16, (3, 6), (20, 26)


@exercise("Design under a budget")
def design_under_a_budget(small_body):
    module = call(small_body)
    expect_kind(module, nn.Module, "what `small_body` returns", "a module of PyTorch")

    def asked(images):
        maps = call(module, images)
        expect_kind(maps, Tensor, "what the body returns", "a tensor")
        return maps

    with torch.no_grad():
        call(module.eval)
        shape = list(call_with_copies(asked, randn(2, 1, 28, 28)).shape)
        refuse(
            (len(shape) != 4 or shape[0] != 2, f"for two digits it returns {shape}: maps are "
             "expected, [2, channels, rows, columns]."),
        )  # fmt: skip
        _, channels, *sides = shape
        fits = all(SIDES[0] <= side <= SIDES[1] for side in sides)
        count = sum(parameter.numel() for parameter in module.parameters())
        refuse(
            (channels < LEAST_CHANNELS, f"it has {channels} maps at its end; {LEAST_CHANNELS} or "
             "more are asked for."),
            (not fits, f"its maps are {sides[0]}×{sides[1]} at the end; {SIDES[0]}×{SIDES[0]} to "
             f"{SIDES[1]}×{SIDES[1]} are asked for."),
            (count > MOST_PARAMETERS, f"it has {count:,} parameters, which is above the budget."),
        )  # fmt: skip
        refuse_hidden_weights(module, call(call(small_body).eval), randn(2, 1, 28, 28))
        rows, columns = sides_seen(module)
        seen = f"a value in the middle sees {rows}×{columns} pixels"
        refuse(
            (min(rows, columns) < SEEN[0], f"{seen}, which is too little."),
            (max(rows, columns) > SEEN[1], f"{seen}, which is too much."),
        )
        call(module.double)
        images = randn(4, 1, 28, 28).double()
        bent = asked(images) + asked(-images) - 2 * asked(0 * images)
        straight = bent.abs().max() <= 1e-9 * asked(images).abs().max()
        refuse((straight, "nothing bends the maps: without a ReLU all of it is one linear map."))

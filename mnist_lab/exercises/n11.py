"""The exercises of notebook 11: what a separable convolution saves, weights shared, a budget."""

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn

from mnist_lab.exercises.cases import draw, rand, randn
from mnist_lab.exercises.checks import (
    agrees,
    by_example,
    expect_kind,
    expect_shape,
    refuse,
    refuse_hidden_weights,
    sides_seen,
)
from mnist_lab.exercises.question import call, exercise

BUDGET, SEES = 2_000, 20  # parameters; pixels along one side


@exercise("What does separating save?")
def what_does_separating_save(costs):
    def of(depthwise=lambda i, o, k: i * k**2, pointwise=lambda i, o: i * o,
           full=lambda i, o, k: i * o * k**2, places=lambda side: side**2):  # fmt: skip
        def both(inside, outside, kernel, side):
            weights = full(inside, outside, kernel)
            separable = depthwise(inside, outside, kernel) + pointwise(inside, outside)
            return weights, separable, weights * places(side), separable * places(side)

        return both

    def swapped(inside, outside, kernel, side):
        full, separable, *macs = of()(inside, outside, kernel, side)
        return separable, full, *macs[::-1]

    def in_pairs(inside, outside, kernel, side):
        full, separable, full_macs, separable_macs = of()(inside, outside, kernel, side)
        return full, full_macs, separable, separable_macs

    slips = (
        (of(pointwise=lambda i, o: 0), "the 1×1 convolution that mixes the channels is left out."),
        (of(depthwise=lambda i, o, k: 0), "the 3×3 of each channel by itself is left out."),
        (of(depthwise=lambda i, o, k: o * k**2), "the first step has a window for each channel "
         "that comes in: there are no others yet."),
        (of(depthwise=lambda i, o, k: k**2), "each channel that comes in has a window of its own."),
        (of(depthwise=lambda i, o, k: i * o * k**2), "in the first step no channel sees another."),
        (of(depthwise=lambda i, o, k: i * k), "a window has kernel × kernel weights."),
        (of(full=lambda i, o, k: o * k**2), "full: a filter has a window for every channel that "
         "comes in."),
        (of(places=lambda side: 1), "each weight is used once at every place of the map."),
        (of(places=lambda side: side), "a map has side × side places."),
        (of(places=lambda side: 2 * side**2), "a product and its addition are one "
         "multiply-accumulate."),
        (swapped, "full comes first, separable second, in both pairs."),
        (in_pairs, "first both numbers of weights, then both of multiply-accumulates."),
    )  # fmt: skip
    cases = [(28, 28, 3, 11), (1, 16, 3, 26), (16, 5, 5, 9)]
    for _ in range(5):
        inside, outside, side = draw.sample(range(6, 40), 3)
        cases.append((inside, outside, draw.choice((2, 4, 5)), side))
    by_example("costs", costs, of(), cases, slips)


@exercise("Share a block")
def share_a_block(Shared):  # the class as the student calls it
    for channels, times in ((3, 3), (5, 2), (4, 1)):
        block = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        with torch.no_grad():
            block.weight.copy_(randn(*block.weight.shape))
        network = call(Shared, block, channels, times)
        expect_kind(network, nn.Module, f"Shared(block, {channels}, {times})", "a module")
        norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
        kept = [part for part in network.modules() if part is block]
        own = block.weight.numel()
        count = sum(parameter.numel() for parameter in network.parameters())
        refuse(
            (not kept and count >= own, "the block is copied: its weights would go their own way."),
            (not kept, "the block is not kept as a part of the module."),
            (times > 1 and len(norms) == 1, "there is one norm: each use needs one of its own."),
            (not norms, "no norm is a part of the module: a plain list hides them; nn.ModuleList?"),
            (len(norms) != times, f"there are {len(norms)} norms for {times} uses."),
            (count != own + 2 * channels * times, f"it has {count} parameters; the block and "
             f"{times} norms have {own + 2 * channels * times}."),
        )  # fmt: skip
        _expect_each_use(network, block, norms, randn(6, channels, 7, 7), times)


def _expect_each_use(network, block, norms, images: Tensor, times: int) -> None:
    """In both modes: block, norm, ReLU, and again; each norm used once and by its own figures."""
    used, given = [], []
    hooks = [norm.register_forward_hook(lambda norm, x, y: used.append(norm)) for norm in norms]
    hooks.append(block.register_forward_hook(lambda block, x, y: given.append(x[0].clone())))
    with torch.no_grad():
        call(network.train(), images)
    for hook in hooks:
        hook.remove()
    refuse(
        (len(given) != times, f"the block is used {len(given)} times instead of {times}."),
        (len(used) != times, f"the norms are used {len(used)} times instead of {times}."),
        (len(set(map(id, used))) < times, "one of the norms is used twice, and another never."),
        (len(given) > 1 and agrees(given[0], given[1]), "each use begins with the same images: "
         "it takes what the use before has made."),
    )  # fmt: skip
    with torch.no_grad():
        for norm in used:
            for values in (norm.weight, norm.running_mean, norm.running_var):
                values.copy_(0.5 + rand(len(values)))
            norm.bias.copy_(randn(len(norm.bias)))
        expected, without, before, last = (_by_hand(block, used, images, how) for how in range(4))
        found = call(network.eval(), images)
    expect_shape(found, expected.shape, "what the module returns")
    refuse(
        (agrees(found, without), "there is no ReLU."),
        (agrees(found, before), "ReLU stands before the norm; here the norm comes first."),
        (agrees(found, last), "ReLU is missing behind the last norm."),
        (not agrees(found, expected), "it is not block, norm and ReLU in turn."),
    )


def _by_hand(block: nn.Module, norms: list, x: Tensor, how: int) -> Tensor:
    """Block, norm and ReLU in turn; 1: without ReLU, 2: with ReLU first, 3: without the last."""
    for number, norm in enumerate(copy.deepcopy(norms), 1):
        x = block(x)
        x = norm.eval()(x.relu() if how == 2 else x)
        x = x.relu() if how == 0 or (how == 3 and number < len(norms)) else x
    return x


@exercise("A network for a budget")
def a_network_for_a_budget(design):
    found = call(design)
    pair = isinstance(found, tuple | list) and len(found) == 2
    refuse((not pair, "`design()` returns a pair of modules, (features, head)."))
    features, head = found
    for part, name in ((features, "features"), (head, "head")):
        expect_kind(part, nn.Module, f"`{name}`", "a module")
    images = 4 * rand(24, 1, 1, 1) * rand(24, 1, 28, 28)  # bright ones and dark ones
    with torch.no_grad():
        maps = call(features.eval(), images)
        flat = not isinstance(maps, Tensor) or maps.dim() != 4
        refuse((flat, "what `features` returns are no maps [N, channels, height, width]."))
        refuse((min(maps.shape[2:]) < 2, "its last maps have a single place: leave at least 2×2."))
        logits = call(head.eval(), maps)
        expect_shape(logits, (24, 10), "what `head` returns for 24 images")
        alone = call(head, call(features, images[:1]))
    parameters = {id(p): p for part in (features, head) for p in part.parameters()}.values()
    count = sum(parameter.numel() for parameter in parameters)
    frozen = any(not parameter.requires_grad for parameter in parameters)
    alike = max((one - other).abs().max() for one, other in pairwise(logits))
    refuse(
        (count > BUDGET, f"it has {count:,} parameters; the budget is {BUDGET:,}."),
        (frozen, "a parameter without `requires_grad` learns nothing, and counts all the same."),
        (not agrees(alone, logits[:1], 1e-3), "an image's answer depends on those beside it."),
        (alike < 1e-9, "every image gets the same answer."),
    )
    refuse_hidden_weights(features, call(design)[0].eval(), images[:2])
    seen = min(sides_seen(features))
    refuse(
        (seen < SEES, f"a value of its last maps sees {seen}×{seen} pixels; {SEES}×{SEES} are "
         "asked for: more convolutions, or a pooling earlier."),
    )  # fmt: skip

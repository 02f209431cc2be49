"""What a network is made of: its layers, its parameters, its cost, and what one output sees.

Everything is read off the modules and the tensors that pass through them, never off names.
"""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.flop_counter import FlopCounterMode

from mnist_lab.validation import Count, Fraction, UserError, check

MAX_PARAMETERS, MAX_EPOCHS, MIN_ACCURACY = 20_000, 20, 0.994  # the published assignment
ADAPTIVE = nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d
MIXING = nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, *ADAPTIVE, nn.Linear


@dataclass(frozen=True)
class Layer:
    """One row of the layer table.

    `input`, `output`: shapes without the batch. `parameters`: trainable ones, none of them in a row
    above. `macs`: multiply-accumulates for one image. `field`: the receptive field, in input pixels
    along one side. `jump`: how many input pixels lie between neighbours in this output.
    """

    name: str
    module: nn.Module
    input: tuple[int, ...]
    output: tuple[int, ...]
    parameters: int
    macs: int
    field: int
    jump: int

    @property
    def kind(self) -> str:
        return type(self.module).__name__


def count_parameters(network: nn.Module) -> int:
    """All trainable numbers of a network."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def list_layers(network: nn.Module, image_size: tuple[int, int, int] = (1, 28, 28)) -> list[Layer]:
    """The leaf modules in the order in which one image (channels, height, width) passes them.

    The receptive field grows by `(kernel - 1) × jump` at every convolution and pooling: Araujo et
    al., "Computing Receptive Fields of Convolutional Neural Networks", doi:10.23915/distill.00021.
    A leaf that is used twice has two rows. Raises `UserError` for a network that cannot take such
    an image, and for one whose rows would not be the truth.
    """
    trace = _pass_through(network, image_size)
    if trace.doubts:
        raise UserError(
            f"{type(network).__name__} has no table of layers: the rows would not add up at "
            f"{trace.doubts[0]}. Use {', '.join(kind.__name__ for kind in MIXING)} as modules, one "
            "after the other, with square windows; between them, what works pixel by pixel."
        )
    return trace.rows


def layer_table(network: nn.Module) -> str:
    """The layers as text: kind, output, parameters, multiply-accumulates, receptive field.

    Its 58 columns fit JupyterLab's page in a window of 900 pixels.
    """
    lines = [f"{'layer':<18}{'output':>10}{'parameters':>12}{'MACs':>11}{'sees':>7}"]
    for row in list_layers(network):
        shape, sees = ("×".join(map(str, sides)) for sides in (row.output, [row.field] * 2))
        lines.append(f"{row.kind:<18}{shape:>10}{row.parameters:>12,}{row.macs:>11,}{sees:>7}")
    return "\n".join(lines)


def describe(network: nn.Module) -> str:
    """Where a network stands, in one line: output shape, parameters, receptive field."""
    last = list_layers(network)[-1]
    shape, count = "×".join(map(str, last.output)), count_parameters(network)
    return f"output {shape}, {count:,} parameters, sees {last.field}×{last.field} pixels"


def receptive_field(network: nn.Module) -> int:
    """The side, in input pixels, of what one value of the last layer can see."""
    return list_layers(network)[-1].field


def count_macs(network: nn.Module) -> int:
    """Multiply-accumulates of all convolutions and linear layers, for one 28×28 image."""
    return sum(row.macs for row in list_layers(network))


@dataclass(frozen=True)
class Requirement:
    """What is asked, what was measured, and whether it is met: None if that cannot be told."""

    asked: str
    measured: str
    met: bool | None

    def __str__(self) -> str:
        outcome = {True: "yes", False: "NO", None: "undecided"}[self.met]
        return f"{outcome:<11}{self.asked:<44}{self.measured}"


def check_requirements(
    network: nn.Module, num_epochs: int, accuracy: float, low: float, high: float
) -> list[Requirement]:
    """Hold a network against the published assignment, whose limit is for frozen parameters too.

    Batch norm, dropout and the head are looked for among the modules that an image passes through.
    `accuracy` and the interval around it, `low` to `high`, are fractions: as long as the interval
    holds what is asked for, the row is undecided. Raises `UserError` for what is impossible.
    """
    num_epochs = check("num_epochs", num_epochs, Count)
    fractions = (("accuracy", accuracy), ("low", low), ("high", high))
    accuracy, low, high = (check(name, value, Fraction) for name, value in fractions)
    if not low <= accuracy <= high:
        raise UserError(f"the accuracy {accuracy} must lie in its interval, {low} to {high}.")
    rows = _pass_through(network, (1, 28, 28)).rows
    norms, dropouts, linear, pools = (
        [row for row in rows if isinstance(row.module, kinds)]
        for kinds in (_BatchNorm, _DropoutNd, nn.Linear, nn.AvgPool2d | nn.AdaptiveAvgPool2d)
    )
    pools = [row for row in pools if row.output[-2:] == (1, 1) != row.input[-2:]]
    heads = [f"{row.kind} over {row.input[-2]}×{row.input[-1]}" for row in pools]
    heads += [f"{len(linear)} linear layers"] if linear else []
    parameters = sum(p.numel() for p in network.parameters())
    size = f"{parameters:,}", parameters < MAX_PARAMETERS
    reached = None if low < MIN_ACCURACY <= high else low >= MIN_ACCURACY
    measured = f"{accuracy:.2%} [{low:.2%}, {high:.2%}]", reached
    return [
        Requirement(f"fewer than {MAX_PARAMETERS:,} parameters", *size),
        Requirement(f"fewer than {MAX_EPOCHS} epochs", str(num_epochs), num_epochs < MAX_EPOCHS),
        Requirement("batch norm", f"{len(norms)} layers", bool(norms)),
        Requirement("dropout", f"{len(dropouts)} layers", bool(dropouts)),
        Requirement("global average pooling or a linear head", [*heads, "neither"][0], bool(heads)),
        Requirement(f"accuracy of at least {MIN_ACCURACY:.1%}", *measured),
    ]


class _Trace:
    """Rows, one for each use of a leaf, and doubts: the places where they would not add up.

    In each image of the batch one pixel is NaN, and what is made of it is NaN: so `seen`, `[N,
    height, width]`, says which places of the last map look at this pixel, and until the next window
    it must stay as it is. (Of places that look at the whole image it cannot tell more than that.)
    """

    def __init__(self, network: nn.Module, images: Tensor):
        self.leaves = {m: name for name, m in network.named_modules() if not any(m.children())}
        self.rows, self.doubts, self.parameters = [], [], set()
        self.seen, self.field, self.jump = images.isnan().any(1), 1, 1

    def add_row(self, leaf: nn.Module, args: tuple, kwargs: dict, output: Tensor) -> None:
        """A forward hook of every leaf."""
        place = f"{type(leaf).__name__} {self.leaves[leaf]}"
        given = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
        if len(given) != 1 or not isinstance(output, Tensor):
            self.doubts.append(place)
            return
        known = type(leaf).forward in [kind.forward for kind in MIXING]
        mixes = known and given[0].ndim == (2 if isinstance(leaf, nn.Linear) else 4)
        fits = self.is_last_map(given[0] if mixes else output)
        if mixes:
            fits &= self.look_through(leaf, output)
        self.doubts += [] if fits else [place]
        new = set(leaf.parameters()) - self.parameters
        self.parameters |= new
        trainable = sum(p.numel() for p in new if p.requires_grad)
        multiplies = isinstance(leaf, nn.Conv2d | nn.Linear)  # a product per weight of each output
        macs = leaf.weight[0].numel() * output[0].numel() if multiplies else 0
        shapes = tuple(given[0].shape[1:]), tuple(output.shape[1:])
        row = Layer(self.leaves[leaf], leaf, *shapes, trainable, macs, self.field, self.jump)
        self.rows.append(row)

    def is_last_map(self, x: Tensor) -> bool:
        """Whether x is the last map, or made of it pixel by pixel, flattened or not."""
        batch, *size = self.seen.shape
        shaped = x.shape[:1] == (batch,) and list(x.shape[2:]) in ([], size)
        fits = shaped and x[0].numel() % math.prod(size) == 0
        return fits and torch.equal(x.isnan().reshape(batch, -1, *size).any(1), self.seen)

    def look_through(self, leaf: nn.Module, output: Tensor) -> bool:
        """Follow the windows of a leaf; whether all of them are alike, down and across."""
        size = self.seen.shape[1:]
        self.seen = output.isnan().any(1).reshape(len(output), *(output.shape[2:] or (1, 1)))
        if isinstance(leaf, nn.Linear):
            windows = {(side, 1, 1) for side in size}
        elif isinstance(leaf, ADAPTIVE):
            parts = {n / m for n, m in zip(size, self.seen.shape[1:])}
            windows = {(k, k, 1) for part in parts for k in (math.floor(part), math.ceil(part))}
        else:
            settings = leaf.kernel_size, leaf.stride, getattr(leaf, "dilation", 1)
            windows = set(zip(*(2 * nn.modules.utils._pair(setting) for setting in settings)))
        kernel, stride, dilation = max(windows)
        self.field += (kernel - 1) * dilation * self.jump
        self.jump *= stride
        return len(windows) == 1


def _pass_through(network: nn.Module, image_size: tuple[int, int, int]) -> _Trace:
    """Send marked images through a network; leave it, and the random state, as they were."""
    like = next(network.parameters(), torch.empty(0))
    random = torch.random.fork_rng([like.device] if like.is_cuda else [])
    counter = FlopCounterMode(display=False)
    try:
        marked = range(0, min(image_size[1:]), 3)  # on the diagonal, a pixel an image
        images = torch.ones(len(marked), *image_size, dtype=like.dtype, device=like.device)
        images[range(len(marked)), :, marked, marked] = torch.nan
        trace = _Trace(network, images)
        with ExitStack() as hooks, evaluation_mode(network), torch.no_grad(), random, counter:
            for leaf in trace.leaves:
                hooks.enter_context(leaf.register_forward_hook(trace.add_row, with_kwargs=True))
            output = network(images)
    except Exception as error:
        kind, size = type(network).__name__, "×".join(map(str, image_size))
        reason = str(error).partition("\n")[0]
        raise UserError(f"{kind} cannot take an image of {size}: {reason}") from error
    products = len(images) * sum(row.macs for row in trace.rows)
    adds_up = {
        "its modules, of which it uses none": bool(trace.rows),
        "parameters that are in no layer": trace.parameters.issuperset(network.parameters()),
        "products that are in no layer": counter.get_total_flops() == 2 * products,
        "its output": isinstance(output, Tensor) and trace.is_last_map(output),
    }
    trace.doubts += [place for place, fits in adds_up.items() if not fits]
    return trace


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and each of its modules back into its own afterwards."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training

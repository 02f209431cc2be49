"""What a network is made of: its layers, its parameters, its cost, and what one output sees.

Everything is read off the modules and the tensors that pass through them, never off names. Where
the rows of the table would not be the truth about a network, one sentence says why.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.flop_counter import FlopCounterMode

from mnist_lab.validation import Count, Fraction, UserError, check

MAX_PARAMETERS, MAX_EPOCHS, MIN_ACCURACY = 20_000, 20, 0.994  # the published assignment
Window = tuple[int, int, int]  # kernel, stride, dilation, along one side


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
    A leaf that is used twice has two rows. The network is left as it was.

    Raises `UserError` for a network that cannot take such an image, and for one of which the rows
    would not be the truth: where a layer looks at something else than what the layer before it
    made, or in a way that is unknown here, uneven or not square; where parameters are in no row; or
    where PyTorch's own counter finds more products than the rows.
    """
    trace = _pass_through(network, image_size)
    if trace.doubts:
        raise UserError(f"{type(network).__name__} has no table of layers: {trace.doubts[0]}.")
    return trace.rows


def layer_table(network: nn.Module) -> str:
    """The layers as text: kind, output, parameters, multiply-accumulates, receptive field.

    Its 58 columns fit JupyterLab's page in a window of 900 pixels.
    """
    lines = [f"{'layer':<18}{'output':>10}{'parameters':>12}{'MACs':>11}{'sees':>7}"]
    for row in list_layers(network):
        shape = "×".join(map(str, row.output))
        sees = f"{row.field}×{row.field}"
        lines.append(f"{row.kind:<18}{shape:>10}{row.parameters:>12,}{row.macs:>11,}{sees:>7}")
    return "\n".join(lines)


def describe(network: nn.Module) -> str:
    """Where a network stands, in one line: output shape, parameters, receptive field."""
    last = list_layers(network)[-1]
    return (
        f"output {'×'.join(map(str, last.output))}, {count_parameters(network):,} parameters, "
        f"sees {last.field}×{last.field} pixels"
    )


def receptive_field(network: nn.Module) -> int:
    """The side, in input pixels, of what one value of the last layer can see."""
    return list_layers(network)[-1].field


def count_macs(network: nn.Module) -> int:
    """Multiply-accumulates of all convolutions and linear layers, for one 28×28 image."""
    return sum(row.macs for row in list_layers(network))


@dataclass(frozen=True)
class Requirement:
    """One row of the requirement table: what is asked, what was measured, whether it is met.

    `met` is None where the measurement cannot tell.
    """

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

    Batch norm, dropout and the head are looked for among the modules that an image passes through,
    not among functions. `accuracy` and the interval around it, `low` to `high`, are fractions: as
    long as the interval holds what is asked for, the row is undecided. Raises `UserError` for one
    outside 0 to 1 or out of order, for an epoch count that is no whole number from 1 on, and for a
    network that takes no such image.
    """
    num_epochs = check("num_epochs", num_epochs, Count)
    fractions = (("accuracy", accuracy), ("low", low), ("high", high))
    accuracy, low, high = (check(name, value, Fraction) for name, value in fractions)
    if not low <= accuracy <= high:
        raise UserError(f"the accuracy {accuracy} must lie in its interval, {low} to {high}.")
    rows = _pass_through(network, (1, 28, 28)).rows
    parameters = sum(p.numel() for p in network.parameters())
    pooled = [row for row in rows if _pools_globally(row)]
    linear = [row for row in rows if isinstance(row.module, nn.Linear)]
    head = f"{len(linear)} linear layers" if linear else "neither"
    if pooled:
        head = f"{pooled[0].kind} over {pooled[0].input[-2]}×{pooled[0].input[-1]}"
    return [
        Requirement(f"fewer than {MAX_PARAMETERS:,} parameters", f"{parameters:,}",
                    parameters < MAX_PARAMETERS),
        Requirement(f"fewer than {MAX_EPOCHS} epochs", str(num_epochs), num_epochs < MAX_EPOCHS),
        _has("batch norm", rows, _BatchNorm),
        _has("dropout", rows, _DropoutNd),
        Requirement("global average pooling or a linear head", head, bool(pooled or linear)),
        Requirement(f"accuracy of at least {MIN_ACCURACY:.1%}",
                    f"{accuracy:.2%} [{low:.2%}, {high:.2%}]",
                    None if low < MIN_ACCURACY <= high else low >= MIN_ACCURACY),
    ]  # fmt: skip


def _has(what: str, rows: list[Layer], kind: type[nn.Module]) -> Requirement:
    count = sum(isinstance(row.module, kind) for row in rows)
    return Requirement(what, f"{count} layers", count > 0)


def _pools_globally(row: Layer) -> bool:
    pools = isinstance(row.module, nn.AvgPool2d | nn.AdaptiveAvgPool2d)
    return pools and row.output[-2:] == (1, 1) and row.input[-2:] != (1, 1)


def _fixed(leaf: nn.Module, size: torch.Size, made: torch.Size) -> set[Window]:
    sides = (getattr(leaf, name, 1) for name in ("kernel_size", "stride", "dilation"))
    return set(zip(*(2 * ((side,) if isinstance(side, int) else tuple(side)) for side in sides)))


def _adaptive(leaf: nn.Module, size: torch.Size, made: torch.Size) -> set[Window]:
    return {(k, k, 1) for n, m in zip(size, made) for k in (n // m, -(-n // m))}


def _all(leaf: nn.Module, size: torch.Size, made: torch.Size) -> set[Window]:
    return {(side, 1, 1) for side in size}


# Through which windows a leaf looks at a map of a size, down and across: one, if all are alike.
WINDOWS = {nn.Conv2d: _fixed, nn.MaxPool2d: _fixed, nn.AvgPool2d: _fixed, nn.Linear: _all,
           nn.AdaptiveMaxPool2d: _adaptive, nn.AdaptiveAvgPool2d: _adaptive}  # fmt: skip


class _Trace:
    """Rows, one for each use of a leaf, and doubts: what the rows would not tell.

    In each image of the batch one pixel is NaN, and what is made of it is NaN: so `seen`, `[N,
    height, width]`, says which places of the last map look at this pixel, and until the next window
    it must stay as it is. (Of places that look at the whole image it cannot tell more than that.)
    """

    def __init__(self, network: nn.Module, images: Tensor):
        self.network, self.seen, self.maker = network, images.isnan().any(1), "the image"
        self.leaves = {m: name for name, m in network.named_modules() if not any(m.children())}
        self.rows, self.doubts, self.parameters = [], [], set()
        self.field, self.jump = 1, 1

    def add_row(self, leaf: nn.Module, args: tuple, kwargs: dict, output: Tensor) -> None:
        """A forward hook of every leaf."""
        name = f"{type(leaf).__name__} {self.leaves[leaf]}".rstrip()
        given = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
        if len(given) != 1 or not isinstance(output, Tensor):
            self.doubts.append(f"{name} does not take one tensor and return one")
            return
        kind = next((kind for kind in WINDOWS if type(leaf).forward is kind.forward), None)
        if kind and given[0].ndim == (2 if kind is nn.Linear else 4):
            self.compare(given[0], f"{name} is given")
            self.look_through(WINDOWS[kind], leaf, name, output)
        else:
            self.compare(output, f"{name} returns")
        shapes = (tuple(x.shape[1:]) for x in (*given, output))
        new = set(leaf.parameters()) - self.parameters
        self.parameters |= new
        trainable = sum(p.numel() for p in new if p.requires_grad)
        numbers = trainable, _macs(leaf, output), self.field, self.jump
        self.rows.append(Layer(self.leaves[leaf], leaf, *shapes, *numbers))

    def look_through(self, windows: Callable, leaf: nn.Module, name: str, output: Tensor) -> None:
        made = output.isnan().any(1).reshape(len(output), *(output.shape[2:] or (1, 1)))
        found = windows(leaf, self.seen.shape[1:], made.shape[1:])
        if len(found) > 1:
            self.doubts.append(f"the windows of {name} are not square, alike and evenly spaced")
        kernel, stride, dilation = max(found)
        self.field += (kernel - 1) * dilation * self.jump
        self.jump *= stride
        self.seen, self.maker = made, name

    def compare(self, x: Tensor, what: str) -> None:
        """Doubt what is not the last map, or made of it pixel by pixel, flattened or not."""
        batch, *size = self.seen.shape
        shaped = x.shape[:1] == (batch,) and list(x.shape[2:]) in ([], size)
        fits = shaped and x[0].numel() % math.prod(size) == 0
        if fits and torch.equal(x.isnan().reshape(batch, -1, *size).any(1), self.seen):
            return
        kinds = ", ".join(kind.__name__ for kind in WINDOWS)
        self.doubts.append(
            f"what {what} is not made of {self.maker} alone, pixel by pixel (only the modules "
            f"{kinds} may mix pixels, one after the other, and Linear behind Flatten)"
        )

    def add_up(self, output: Tensor, flops: int) -> None:
        """Doubt rows that are not all of the network."""
        if not self.rows:
            self.doubts.append("an image passes through none of its modules")
        for name, parameter in self.network.named_parameters():
            if parameter not in self.parameters:
                self.doubts.append(f"{name} is in no layer that an image passes through")
        if flops != 2 * len(self.seen) * sum(row.macs for row in self.rows):
            self.doubts.append("it multiplies elsewhere than in modules Conv2d and Linear")
        if isinstance(output, Tensor):
            self.compare(output, "it returns")
        else:
            self.doubts.append(f"it returns a {type(output).__name__}, not one tensor")


def _pass_through(network: nn.Module, image_size: tuple[int, int, int]) -> _Trace:
    """Send marked images through a network; leave it, and the random state, as they were."""
    like = next(network.parameters(), torch.empty(0))
    hooks = []
    try:
        marked = range(0, min(image_size[1:]), 3)  # on the diagonal, a pixel an image
        images = torch.ones(len(marked), *image_size, dtype=like.dtype, device=like.device)
        images[range(len(marked)), :, marked, marked] = torch.nan
        trace = _Trace(network, images)
        for leaf in trace.leaves:
            hooks.append(leaf.register_forward_hook(trace.add_row, with_kwargs=True))
        random = torch.random.fork_rng([like.device] if like.is_cuda else [])
        counter = FlopCounterMode(display=False)
        with evaluation_mode(network), torch.no_grad(), random, counter:
            output = network(images)
    except Exception as error:
        kind, size = type(network).__name__, "×".join(map(str, image_size))
        reason = str(error).partition("\n")[0]
        raise UserError(f"{kind} cannot take an image of {size}: {reason}") from error
    finally:
        for hook in hooks:
            hook.remove()
    trace.add_up(output, counter.get_total_flops())
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


def _macs(leaf: nn.Module, output: Tensor) -> int:
    if not isinstance(leaf, nn.Conv2d | nn.Linear):
        return 0
    return leaf.weight[0].numel() * output[0].numel()  # one product per weight of each output

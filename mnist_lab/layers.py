"""What a network is made of: its layers, its parameters, its cost, and what one output sees.

Everything is read off the modules and the tensors that pass through them, never off names. What
cannot be told truly is refused.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import TorchFunctionMode

from mnist_lab.validation import UserError

MAX_PARAMETERS, MAX_EPOCHS, MIN_ACCURACY = 20_000, 20, 0.994  # the published assignment
# These modules may look at several pixels, for their windows are known: Linear's are flat values.
WINDOWS = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d,
           nn.Linear)  # fmt: skip
# So begin the names of torch's functions that multiply and accumulate.
PRODUCTS = ("conv", "linear", "linalg", "bilinear", "matmul", "mm", "bmm", "addmm", "baddbmm",
            "inner", "tensordot", "einsum", "scaled_dot_product", "rnn", "gru", "lstm")  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """One row of the layer table.

    `output`: shape without the batch. `parameters`: trainable ones, none of them in a row above.
    `macs`: multiply-accumulates for one image. `field`: the receptive field, in input pixels along
    one side. `jump`: how many input pixels lie between neighbours in this output.
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
    """The leaf modules in the order in which one image passes through them.

    The receptive field grows by `(kernel - 1) × jump` at every convolution and pooling: Araujo et
    al., "Computing Receptive Fields of Convolutional Neural Networks", doi:10.23915/distill.00021.
    A leaf that is used twice has two rows. Branches are not followed: the networks of the course
    are chains.

    Raises `ValueError` for a network that cannot take such an image, and for one of which the rows
    would not be the truth: branches, parameters, products or windows outside of the leaves, windows
    that are unknown, uneven or not square, leaves with several tensors.
    """
    windows = _watch(network, image_size, batch=2).windows
    watch = _watch(network, image_size, batch=2 + windows)
    if watch.doubts:
        raise UserError(watch.doubts[0])
    return watch.rows


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
    long as the interval holds what is asked for, the row is undecided. Raises `ValueError` for one
    outside 0 to 1 or out of order, for an epoch count that is no whole number from 1 on, and for a
    network that takes no such image.
    """
    for value in (accuracy, low, high):
        if type(value) is bool or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise UserError(f"accuracy must be a fraction from 0 to 1, not {value!r}.")
    if not low <= accuracy <= high:
        raise UserError(f"the accuracy {accuracy} must lie in its interval, {low} to {high}.")
    if type(num_epochs) is bool or not isinstance(num_epochs, int) or num_epochs < 1:
        raise UserError(f"num_epochs must be a whole number from 1 on, not {num_epochs!r}.")
    rows = _watch(network, (1, 28, 28), batch=2).rows
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


class _Watch(TorchFunctionMode):
    """Notes a row for each use of a leaf, and doubts: sentences on what the rows would not tell.

    Map 0 is the image, map 1 what the first window makes, and so on. All are replaced by ones, but
    the middle pixel of map k is NaN in image k of the batch. What is made of map k must be NaN at
    this pixel of this image, and nowhere else: or pixels were mixed, or older maps had a part.
    """

    def __init__(self, network: nn.Module, size: tuple[int, ...], batch: int):
        super().__init__()
        self.leaves = {m: name for name, m in network.named_modules() if not any(m.children())}
        self.rows, self.doubts, self.parameters, self.products = [], [], set(), 0
        self.batch, self.windows, self.maker = batch, 0, "the image"
        self.size, self.field, self.jump = size, 1, 1

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.products += function.__name__.startswith(PRODUCTS)
        return function(*args, **(kwargs or {}))

    def note(self, leaf: nn.Module, args: tuple, kwargs: dict, output: Tensor) -> Tensor | None:
        """A forward hook, which puts the next map in the place of what a window made."""
        name = f"{type(leaf).__name__} {self.leaves[leaf]}".rstrip()
        given = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
        if len(given) != 1 or not isinstance(output, Tensor):
            self.doubts.append(f"{name} must take one tensor and return one, to have a row.")
            return None
        window = _is_window(leaf, given[0])
        if window:
            self.compare(given[0], f"{name} is given")
            self.look_through(leaf, name, output)
        else:
            self.compare(output, f"{name} returns")
        shapes = (tuple(x.shape[1:]) for x in (*given, output))
        new = set(leaf.parameters()) - self.parameters
        self.parameters |= new
        trainable = sum(p.numel() for p in new if p.requires_grad)
        numbers = trainable, _macs(leaf, output), self.field, self.jump
        self.rows.append(Layer(self.leaves[leaf], leaf, *shapes, *numbers))
        return _mark(output, self.windows) if window else None

    def compare(self, x: Tensor, what: str) -> None:
        """Doubt what is not made of the last map alone: pixel by pixel, or all of it flattened."""
        fits = x.shape[:1] == (self.batch,) and x.shape[2:] in ((), self.size)
        if fits and x[0].numel() % math.prod(self.size) == 0:
            nan = x.isnan().reshape(self.batch, -1, *self.size).any(1, keepdim=True)
            if torch.equal(nan, _mark(nan.float(), self.windows).isnan()):
                return
        known = ", ".join(kind.__name__ for kind in WINDOWS)
        self.doubts.append(
            f"What {what} is not made of {self.maker} alone, pixel by pixel: only the modules "
            f"{known} (behind Flatten) are known to mix pixels, and only in a chain."
        )

    def look_through(self, leaf: nn.Module, name: str, output: Tensor) -> None:
        windows = _windows(leaf, self.size, _size(output))
        if len(windows) > 1:
            self.doubts.append(f"{name} must have square windows, alike and evenly spaced.")
        kernel, stride, dilation = max(windows)
        self.field += (kernel - 1) * dilation * self.jump
        self.jump *= stride
        self.size, self.windows, self.maker = _size(output), self.windows + 1, name

    def add_up(self, network: nn.Module, output: Tensor) -> None:
        """Doubt rows that are not all of a network."""
        kind = type(network).__name__
        if not self.rows:
            self.doubts.append(f"{kind} has no layer that an image passes through.")
        for name, parameter in network.named_parameters():
            if parameter not in self.parameters:
                self.doubts.append(f"{name} is in no layer that an image passes through.")
        if self.products != sum(row.macs > 0 for row in self.rows):
            self.doubts.append(f"{kind} must multiply in Conv2d and Linear only, to be counted.")
        if not isinstance(output, Tensor):
            self.doubts.append(f"{kind} must return one tensor, not a {type(output).__name__}.")
        else:
            self.compare(output, f"{kind} returns")


def _watch(network: nn.Module, image_size: tuple[int, int, int], batch: int) -> _Watch:
    """Send a batch through a network, and leave it as it was."""
    watch = _Watch(network, tuple(image_size[-2:]), batch)
    modes = {module: module.training for module in network.modules()}
    hooks = [leaf.register_forward_hook(watch.note, with_kwargs=True) for leaf in watch.leaves]
    like = next(network.parameters(), torch.empty(0))
    try:
        image = torch.empty(batch, *image_size, dtype=like.dtype, device=like.device)
        with torch.no_grad(), watch:
            output = network.eval()(_mark(image, 0))
    except Exception as error:
        kind, size = type(network).__name__, "×".join(map(str, image_size))
        reason = str(error).partition("\n")[0]
        raise UserError(f"{kind} cannot take an image of {size}: {reason}") from error
    finally:
        for module, training in modes.items():
            module.training = training
        for hook in hooks:
            hook.remove()
    watch.add_up(network, output)
    return watch


def _is_window(leaf: nn.Module, x: Tensor) -> bool:
    known = any(type(leaf).forward is kind.forward for kind in WINDOWS)
    return known and x.ndim == (2 if isinstance(leaf, nn.Linear) else 4)


def _windows(leaf: nn.Module, size: tuple, made: tuple) -> set[tuple[int, int, int]]:
    """Kernel, stride and dilation of all windows, down and across, from one map to another."""
    if isinstance(leaf, nn.Linear):  # it looks at all of the map
        return {(side, 1, 1) for side in size}
    if isinstance(leaf, nn.AdaptiveMaxPool2d | nn.AdaptiveAvgPool2d):  # told what to make, not how
        kernels = {k for side, n in zip(size, made) for k in (side // n, -(-side // n))}
        return {(kernel, kernel, 1) for kernel in kernels}
    sizes = (getattr(leaf, name, 1) for name in ("kernel_size", "stride", "dilation"))
    return set(zip(*(2 * ((size,) if isinstance(size, int) else tuple(size)) for size in sizes)))


def _size(x: Tensor) -> tuple[int, ...]:
    """Rows and columns of a map; flat values are a map of one pixel."""
    return tuple(x.shape[2:]) or (1, 1)


def _mark(x: Tensor, number: int) -> Tensor:
    """Map `number` of `_Watch`, in the shape of `x`."""
    rows, columns = _size(x)
    ones = x.new_ones(*x.shape[:2], rows, columns)
    ones[number : number + 1, :, rows // 2, columns // 2] = torch.nan
    return ones.reshape(x.shape)


def _macs(leaf: nn.Module, output: Tensor) -> int:
    if not isinstance(leaf, nn.Conv2d | nn.Linear):
        return 0
    return leaf.weight[0].numel() * output[0].numel()  # one product per weight of each output

"""What a network is made of: its layers, its parameters, its cost, and what one output sees.

Everything is read off the modules and the tensors that pass through them, never off names.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

MAX_PARAMETERS, MAX_EPOCHS, MIN_ACCURACY = 20_000, 20, 0.994  # the published assignment


@dataclass(frozen=True)
class Layer:
    """One row of the layer table.

    `output`: shape without the batch. `macs`: multiply-accumulates for one image. `field`: the
    receptive field, in input pixels along one side. `jump`: how many input pixels lie between
    neighbours in this output.
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


def layers(network: nn.Module, image_size: tuple[int, int, int] = (1, 28, 28)) -> list[Layer]:
    """The leaf modules in the order in which one image passes through them.

    The receptive field grows by `(kernel - 1) × jump` at every convolution and pooling: Araujo et
    al., "Computing Receptive Fields of Convolutional Neural Networks", doi:10.23915/distill.00021.
    Branches are not followed: the networks of the course are chains.
    """
    calls: list[tuple[nn.Module, Tensor, Tensor]] = []
    leaves = {
        module: name for name, module in network.named_modules() if not any(module.children())
    }
    hooks = [
        leaf.register_forward_hook(lambda leaf, x, y: calls.append((leaf, x[0], y)))
        for leaf in leaves
    ]
    device = next(network.parameters()).device
    modes = {module: module.training for module in network.modules()}
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, *image_size, device=device))
    finally:
        for module, training in modes.items():
            module.training = training
        for hook in hooks:
            hook.remove()
    rows, field, jump, side = [], 1, 1, image_size[-1]
    for leaf, x, y in calls:
        kernel, stride, dilation = _window(leaf, side)
        field += (kernel - 1) * dilation * jump
        jump *= stride
        if y.ndim == 4:
            side = y.shape[-1]
        elif isinstance(leaf, nn.Linear):  # from here on there is no map, only values
            side = 1
        shapes = tuple(x.shape[1:]), tuple(y.shape[1:])
        rows.append(
            Layer(leaves[leaf], leaf, *shapes, count_parameters(leaf), _macs(leaf, y), field, jump)
        )
    return rows


def layer_table(network: nn.Module) -> str:
    """The layers as text: kind, output, parameters, multiply-accumulates, receptive field."""
    lines = [f"{'layer':<20}{'output':>12}{'parameters':>12}{'MACs':>12}{'sees':>8}"]
    for row in layers(network):
        shape = "×".join(map(str, row.output))
        sees = f"{row.field}×{row.field}"
        lines.append(f"{row.kind:<20}{shape:>12}{row.parameters:>12,}{row.macs:>12,}{sees:>8}")
    return "\n".join(lines)


def describe(network: nn.Module) -> str:
    """Where a network stands, in one line: output shape, parameters, receptive field."""
    last = layers(network)[-1]
    return (
        f"output {'×'.join(map(str, last.output))}, {count_parameters(network):,} parameters, "
        f"sees {last.field}×{last.field} pixels"
    )


def receptive_field(network: nn.Module) -> int:
    """The side, in input pixels, of what one value of the last layer can see."""
    return layers(network)[-1].field


def count_macs(network: nn.Module) -> int:
    """Multiply-accumulates of all convolutions and linear layers, for one 28×28 image."""
    return sum(row.macs for row in layers(network))


@dataclass(frozen=True)
class Requirement:
    """One row of the requirement table: what is asked, what was measured, whether it is met."""

    asked: str
    measured: str
    met: bool

    def __str__(self) -> str:
        return f"{'yes' if self.met else 'NO':<5}{self.asked:<44}{self.measured}"


def check_requirements(network: nn.Module, num_epochs: int, accuracy: float) -> list[Requirement]:
    """Hold a network against the published assignment.

    `accuracy` is a fraction. Raises `ValueError` for one outside 0 to 1, or for an epoch count
    below 1.
    """
    if not 0 <= accuracy <= 1:
        raise ValueError(f"accuracy must be a fraction from 0 to 1, not {accuracy!r}.")
    if num_epochs < 1:
        raise ValueError(f"num_epochs must be 1 or more, not {num_epochs!r}.")
    rows = layers(network)
    parameters = count_parameters(network)
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
        Requirement(f"accuracy of at least {MIN_ACCURACY:.1%}", f"{accuracy:.2%}",
                    accuracy >= MIN_ACCURACY),
    ]  # fmt: skip


def _has(what: str, rows: list[Layer], kind: type[nn.Module]) -> Requirement:
    count = sum(isinstance(row.module, kind) for row in rows)
    return Requirement(what, f"{count} layers", count > 0)


def _pools_globally(row: Layer) -> bool:
    pools = isinstance(row.module, nn.AvgPool2d | nn.AdaptiveAvgPool2d)
    return pools and row.output[-2:] == (1, 1) and row.input[-2:] != (1, 1)


def _window(leaf: nn.Module, side: int) -> tuple[int, int, int]:
    """Kernel, stride and dilation along one side, for a layer fed by maps of `side` pixels."""
    if isinstance(leaf, nn.Linear):  # it looks at all of the map
        return side, 1, 1
    if isinstance(leaf, nn.AdaptiveAvgPool2d):  # told what to make, not how
        outputs = leaf.output_size if isinstance(leaf.output_size, int) else leaf.output_size[0]
        return side // outputs, side // outputs, 1
    if not isinstance(leaf, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        return 1, 1, 1
    sizes = (getattr(leaf, name, 1) for name in ("kernel_size", "stride", "dilation"))
    return tuple(size if isinstance(size, int) else size[0] for size in sizes)


def _macs(leaf: nn.Module, output: Tensor) -> int:
    if not isinstance(leaf, nn.Conv2d | nn.Linear):
        return 0
    return leaf.weight[0].numel() * output[0].numel()  # one product per weight of each output

"""Networks as messages: what PyTorch's layers are made with, and what is in other modules."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedTensorMixin

from mnist_lab.studies.rules import Rule

RECORDS = {"Rule": Rule}  # classes of values that pass, by their names


# With which arguments each layer is made again; they are attributes of it, too.
LAYERS = {
    nn.Conv2d: ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation",
                "groups", "bias", "padding_mode"),
    nn.Linear: ("in_features", "out_features", "bias"),
    nn.BatchNorm1d: ("num_features", "eps", "momentum", "affine", "track_running_stats"),
    nn.BatchNorm2d: ("num_features", "eps", "momentum", "affine", "track_running_stats"),
    nn.GroupNorm: ("num_groups", "num_channels", "eps", "affine"),
    nn.ReLU: (),
    nn.Dropout: ("p",),
    nn.Dropout2d: ("p",),
    nn.MaxPool2d: ("kernel_size", "stride", "padding"),
    nn.AvgPool2d: ("kernel_size", "stride", "padding"),
    nn.AdaptiveAvgPool2d: ("output_size",),
    nn.Flatten: ("start_dim", "end_dim"),
}  # fmt: skip
NAMES = {kind.__name__: kind for kind in LAYERS}
LARGEST = 1 << 20  # channels or features of a layer; then its windows and borders
WIDEST = 128
WINDOWS = {"kernel_size", "stride", "padding", "dilation", "output_size"}


def describe(module: nn.Module, number: Callable[[object], int]) -> dict:
    """A module, the modules in it and their tensors; `number` tells objects apart."""
    lazy = any(isinstance(one, UninitializedTensorMixin) for one in module._parameters.values())
    kind = next((kind for kind in LAYERS if isinstance(module, kind) and not lazy), type(module))
    values = {}
    for name in LAYERS.get(kind, ()):
        values[name] = module.bias is not None if name == "bias" else getattr(module, name)
    return {
        "number": number(module),
        "kind": kind.__name__ if kind in LAYERS else "Sequential" if kind is nn.Sequential else "",
        "values": values,
        "training": bool(module.training),
        "tensors": {name: (number(tensor), tensor) for name, tensor in _tensors(module)},
        "gradient": {
            name: tensor.requires_grad
            for name, tensor in _tensors(module)
            if name in module._parameters
        },
        "inside": {name: describe(one, number) for name, one in module.named_children()},
    }


def _tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    own = [*module._parameters.items(), *module._buffers.items()]
    return [
        (name, tensor)
        for name, tensor in own
        if isinstance(tensor, Tensor) and not isinstance(tensor, UninitializedTensorMixin)
    ]


def make(form: dict) -> nn.Module | None:
    """A layer of PyTorch as described, without what is in it; None for another module.

    Raises `ValueError` for values that no layer of an answer has.
    """
    if form["kind"] == "Sequential":
        return nn.Sequential()
    if form["kind"] not in NAMES:
        return None
    kind = NAMES[form["kind"]]
    values = {name: _sound(name, form["values"][name]) for name in LAYERS[kind]}
    with torch.device("meta"):  # its tensors come with the message
        return kind(**values)


def _sound(name: str, value):
    """A value that a layer of an answer can have: a huge one would cost the judge its memory."""
    if isinstance(value, tuple) and len(value) <= 4:
        return tuple(_sound(name, one) for one in value)
    if value is None or isinstance(value, bool | str):
        return value
    most = WIDEST if name in WINDOWS else LARGEST
    if isinstance(value, int | float) and -most <= value <= most:
        return value
    raise ValueError(f"a layer made with {name}={value!r}"[:200])


def rebuild(form: dict, known: dict[int, object], tensors: dict[int, Tensor]) -> nn.Module:
    """A module as described, of layers of PyTorch only.

    `known` gets the modules that were made, and `tensors` their tensors, by their numbers.

    Raises `ValueError` for another module.
    """
    module = make(form)
    if module is None:
        raise ValueError("a module that is none of PyTorch's layers")
    known[form["number"]] = module
    for name, one in form["inside"].items():
        module.add_module(name, rebuild(one, known, tensors))
    load(module, form, tensors)
    return module


def load(module: nn.Module, form: dict, tensors: dict[int, Tensor]) -> None:
    """Give a module's own tensors, its mode and its gradients' switches the described values.

    `tensors`: those that there are, by their numbers; several modules may share one.
    """
    module.training = form["training"]
    for name, (number, tensor) in form["tensors"].items():
        own = getattr(module, name, None)
        if not isinstance(own, Tensor) or own.is_meta:
            module._parameters.pop(name, None)
            module._buffers.pop(name, None)
            if name in form["gradient"]:
                tensors.setdefault(number, nn.Parameter(tensor, False))
                module._parameters[name] = tensors[number]
            else:
                module._buffers[name] = tensors.setdefault(number, tensor)
        elif own.shape == tensor.shape and own.dtype == tensor.dtype:
            with torch.no_grad():
                own.copy_(tensor)
        else:
            own.data = tensor
    for name, wanted in form["gradient"].items():
        if module._parameters[name].is_floating_point():
            module._parameters[name].requires_grad_(wanted)

"""A trained network as data for the site's pad: its layers in order, its weights as float32.

`docs/pad/network.js` computes it. Only what the course's networks are made of is known here.
"""

import base64
import json
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from mnist_lab.pretrained import load_pretrained
from mnist_lab.recipes import NETWORKS
from mnist_lab.validation import UserError, check, one_of

WINDOWS = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
NOTHING = (nn.Dropout, nn.Identity)  # in eval mode
RESHAPES = (torch.flatten, F.log_softmax, F.dropout)  # the pad takes a softmax of what comes out


def to_javascript(name: str) -> str:
    """A script that appends a trained network of `NETWORKS` to `mnistLab.trained`.

    Raises `UserError` for another name, and for a network that comes untrained.
    """
    entry = NETWORKS[check("network", name, one_of(*NETWORKS))]
    layers, weights = describe(load_pretrained(name))
    numbers = torch.cat([part.detach().flatten() for part in weights]).numpy()
    text = {
        "name": entry.network.__name__,
        "mean": entry.recipe.mean,
        "std": entry.recipe.std,
        "layers": layers,
        "weights": base64.b64encode(numbers.astype("<f4").tobytes()).decode(),
    }
    return f"((globalThis.mnistLab ??= {{}}).trained ??= []).push({json.dumps(text)});\n"


def describe(network: nn.Module) -> tuple[list[dict], list[Tensor]]:
    """The layers of a network in the order in which they compute, and their weights.

    A layer refers to its weights by where they begin in the row of all of them, and their number;
    those of a shared layer are there once. Raises `UserError` for a layer that the pad does not
    know, and where a layer takes anything but what the one before has made.
    """
    traced, layers, weights = fx.symbolic_trace(network.eval()), [], {}
    before, *nodes, _ = traced.graph.nodes
    for node in nodes:
        if node.args[:1] != (before,):
            raise UserError(f"the pad computes one layer after the other, not {node.name}.")
        before = node
        module = traced.get_submodule(node.target) if node.op == "call_module" else None
        if (made := _layer(node.target, module)) is not None:
            kind, numbers, tensors = made
            places = {key: _place(tensor, weights) for key, tensor in tensors.items()}
            layers.append({"name": node.target if module else node.name, "kind": kind})
            layers[-1] |= numbers | places
    return layers, [tensor for tensor, _ in weights.values()]


def _place(tensor: Tensor, weights: dict) -> tuple[int, int]:
    """Where a tensor lies in the row of all weights; it is appended if it is new."""
    key = tensor.data_ptr()
    if key not in weights:
        weights[key] = tensor, sum(other.numel() for other, _ in weights.values())
    return weights[key][1], tensor.numel()


def _layer(target: str | Callable, module: nn.Module | None) -> tuple[str, dict, dict] | None:
    """A layer's kind, its sizes and its tensors; None for what does nothing in eval mode."""
    if isinstance(module, WINDOWS) and not _is_plain(module):
        raise UserError(f"the pad knows no stride, dilation or padding such as that of {module}.")
    match module:
        case nn.Conv2d():
            numbers = {"channels": module.out_channels, "size": module.kernel_size[0]}
            numbers |= {"padding": module.padding[0], "groups": module.groups}
            return "convolution", numbers, _tensors(module)
        case nn.Linear():
            return "linear", {"channels": module.out_features}, _tensors(module)
        case nn.BatchNorm2d():
            scale, shift = _affine(module)
            return "norm", {}, {"scale": scale, "shift": shift}
        case nn.MaxPool2d():
            return "maximum", {"size": _whole(module.kernel_size)}, {}
        case nn.AvgPool2d():
            return "mean", {"size": _whole(module.kernel_size)}, {}
        case nn.ReLU():
            return "relu", {}, {}
        case nn.SiLU():
            return "silu", {}, {}
    if target is F.relu:
        return "relu", {}, {}
    if isinstance(module, NOTHING) or target in RESHAPES:
        return None
    raise UserError(f"the pad knows no layer such as {module or target}.")


def _is_plain(module: nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d) -> bool:
    """Whether a convolution moves by one pixel, and a pooling by its size, without a border."""
    if isinstance(module, nn.Conv2d):
        square = len({*module.kernel_size}) == 1 and len({*module.padding}) == 1
        plain = module.stride == module.dilation == (1, 1) and module.padding_mode == "zeros"
        return square and plain
    numbers = module.kernel_size, module.stride, module.padding, getattr(module, "dilation", 1)
    size, stride, padding, dilation = numbers
    return stride == size and padding == 0 and dilation == 1 and not module.ceil_mode


def _tensors(module: nn.Conv2d | nn.Linear) -> dict[str, Tensor]:
    return {"weight": module.weight} | ({} if module.bias is None else {"bias": module.bias})


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What a norm multiplies each channel by in eval mode, and what it adds."""
    weight = 1 if norm.weight is None else norm.weight
    scale = weight / (norm.running_var + norm.eps).sqrt()
    return scale, norm.bias - norm.running_mean * scale


def _whole(size: int | tuple[int, int]) -> int:
    return size if isinstance(size, int) else size[0]

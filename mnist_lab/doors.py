"""What comes in by the doors of `fit`, `predict` and `evaluate`, before it is computed with.

Whatever is wrong raises `ValueError`, in one sentence. Nobody looks at every pixel here.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mnist_lab.data import check_digits, check_split, form  # noqa: F401
from mnist_lab.validation import UserError, shown

ROUNDING = 0.05  # of ten probabilities, added up; in bfloat16 it is a third of that
_in_training: set[Tensor | nn.Module] = set()
_lock = threading.Lock()


def check_kind(name: str, value: object, kind: type, wanted: str) -> None:
    if not isinstance(value, kind):
        raise UserError(f"{name} must be {wanted}, not {shown(value)}.")


def check_network(network: nn.Module) -> None:
    check_kind("network", network, nn.Module, "an nn.Module such as GapNet()")


def check_trainable(network: nn.Module) -> None:
    check_network(network)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise UserError(f"the network {type(network).__name__} has no parameters to train.")


def check_outputs(outputs: Tensor, count: int) -> Tensor:
    """The outputs, if they are ten for each of `count` images: `[count, 10]`."""
    if not isinstance(outputs, Tensor) or outputs.shape != (count, 10):
        wanted = f"a tensor [{count}, 10], ten for each image"
        raise UserError(f"the outputs of the network must be {wanted}, not {form(outputs)}.")
    return outputs


def check_loss(loss: str, outputs: Tensor) -> None:
    """Whether outputs `[N, 10]` are what this loss of a `Recipe` is for.

    Log-probabilities go with "cross_entropy" too: as logits they stand for themselves.
    """
    if loss == "nll" and (outputs.exp().sum(1) - 1).abs().max() > ROUNDING:
        raise UserError(
            "the loss nll needs log-probabilities, and the outputs of the network are none: "
            "end it with log_softmax, or take the loss cross_entropy."
        )
    adds_up = (outputs.sum(1) - 1).abs().max() < ROUNDING
    if loss == "cross_entropy" and outputs.min() >= 0 and adds_up:
        raise UserError(
            "the loss cross_entropy needs logits, and the outputs of the network are "
            "probabilities: leave its softmax out."
        )


def usable(device: str | torch.device) -> torch.device:
    """The device, if something can be computed on it."""
    try:
        torch.zeros(1, device=torch.device(device)).item()
    except (RuntimeError, TypeError, AssertionError):  # AssertionError: PyTorch without CUDA
        raise UserError(
            f"device {device!r} cannot be used here: take 'cpu', or None for the fastest there is."
        ) from None
    return torch.device(device)


class Watched:
    """Batches from elsewhere, each of them looked at, and as many in every epoch as they say."""

    def __init__(self, batches: Iterable[tuple[Tensor, Tensor]]):
        try:
            self.length = len(batches)
        except TypeError:
            raise UserError(
                "batches must have a length and begin anew in every epoch, as a DataLoader does; "
                f"this cannot: {shown(batches)}."
            ) from None
        if not self.length:
            raise UserError("batches is empty: there is nothing to train on.")
        self.batches, self.epoch = batches, 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.epoch += 1
        given = 0
        for given, batch in enumerate(self.batches, 1):
            if given > self.length:
                break
            if not isinstance(batch, tuple | list) or len(batch) != 2:
                raise UserError(f"a batch must be a pair (images, labels), not {shown(batch)}.")
            check_digits("a batch", *batch, "float32")
            yield batch
        if given != self.length:
            raise UserError(
                f"batches has a length of {self.length}, but gave {given} in epoch {self.epoch}: "
                "it must give them all in every epoch, as a DataLoader does."
            )


@contextmanager
def alone(network: nn.Module) -> Iterator[None]:
    """While it lasts, no other `fit` trains this network, or one that shares a part with it.

    Both would pull at the same weights, and the first to end would take away the dropouts of both.
    """
    dropouts = (module for module in network.modules() if isinstance(module, nn.Dropout))
    parts = {*network.parameters(), *dropouts}
    with _lock:
        if parts & _in_training:
            raise UserError(
                "another fit is training this network, or a part of it: wait for its end, or "
                "train a copy."
            )
        _in_training.update(parts)
    try:
        yield
    finally:
        with _lock:
            _in_training.difference_update(parts)

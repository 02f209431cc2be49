"""The trained networks that come with the library: seed 0 of each recipe in `NETWORKS`, on MNIST.

`weights/` holds their weights and their model cards, which say how good they are and what they are
not for. `python -m mnist_lab publish --records` writes both.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from mnist_lab.recipes import NETWORKS
from mnist_lab.validation import UserError, check, one_of

WEIGHTS = Path(__file__).with_name("weights")


def load_pretrained(name: str) -> nn.Module:
    """The trained network of a name in `NETWORKS`, on the CPU and in evaluation mode.

    Its images must be normalised as in its recipe, which `evaluate` and `predict` do. Raises
    `UserError` for any other name, and for a network that comes without weights.
    """
    return load_weights(name, weights_file(name))


def weights_file(name: str) -> Path:
    """Where the weights of a network lie. Raises `UserError` if it comes without."""
    weights = NETWORKS[check("name", name, one_of(*NETWORKS))].weights
    if weights is None:
        raise UserError(f"{name} comes without trained weights: train it, and name their file.")
    return WEIGHTS / weights


def load_weights(name: str, file: Path) -> nn.Module:
    """The same with the weights of a file. Raises `UserError` unless they can be read and fit."""
    found, _ = read_weights(file)
    with torch.random.fork_rng(devices=[]):  # the first weights are drawn, and not needed
        network = NETWORKS[name].network()
    try:
        network.load_state_dict(found)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()  # one of many
        raise UserError(f"{file} does not fit {type(network).__name__}: {reason}") from error
    return network.eval()


def read_weights(file: Path) -> tuple[dict, str | None]:
    """A file's tensors by name, and the file name of their run's record, or None if unknown.

    Raises `UserError` for a file that cannot be read.
    """
    try:
        with safe_open(file, "pt") as weights:
            tensors = {part: weights.get_tensor(part) for part in weights.keys()}  # noqa: SIM118
            return tensors, (weights.metadata() or {}).get("record")
    except (OSError, SafetensorError) as error:
        raise UserError(f"{file} holds no weights that can be read ({error}).") from error

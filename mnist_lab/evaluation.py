"""How good a trained network is: accuracy with its interval, confusion, mistakes, calibration.

Calibration: of the digits of which a network is 90 % sure, are 90 % right? Guo et al., "On
Calibration of Modern Neural Networks", arXiv:1706.04599.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from sklearn.metrics import confusion_matrix
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from mnist_lab.augment import normalize
from mnist_lab.data import Split, check_split
from mnist_lab.recipes import RECIPE, Recipe
from mnist_lab.speed import limit_threads, release_memory
from mnist_lab.statistics import wilson_interval
from mnist_lab.validation import UserError, check, instance, shown

EVALUATION_BATCH = 125  # small enough for its activations to stay in the processor's cache
GPU_BATCH = 2_000  # a GPU waits longer for a call than it computes
EDGES = (0.0, 0.5, 0.7, 0.9, 0.99, 0.999, 1.0)  # closer where a good network gives most answers


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A network's answers to a split: probabilities `[N, 10]`, labels `[N]`, and what follows.

    `low` and `high` bound the accuracy with 95 % confidence (Wilson, doi:10.2307/2276774): how
    far the luck of drawing these `total` digits reaches, not the luck of the seed.
    """

    probabilities: Tensor
    labels: Tensor
    correct: int
    low: float
    high: float

    @property
    def total(self) -> int:
        return len(self.labels)

    @property
    def accuracy(self) -> float:
        return self.correct / self.total

    @property
    def predictions(self) -> Tensor:
        return self.probabilities.argmax(1)

    def confusion(self) -> Tensor:
        """How often digit i (row) was read as digit j (column), `[10, 10]`."""
        counts = confusion_matrix(self.labels, self.predictions, labels=range(10))
        return torch.from_numpy(counts)

    def mistakes(self) -> list["Mistake"]:
        """All wrong answers, the surest first."""
        sure, guesses = self.probabilities.amax(1), self.predictions
        wrong = (guesses != self.labels).nonzero().flatten()
        columns = wrong, self.labels[wrong], guesses[wrong], sure[wrong]
        found = [Mistake(*row) for row in zip(*(column.tolist() for column in columns))]
        return sorted(found, key=lambda mistake: -mistake.guess_probability)

    def __str__(self) -> str:
        return (
            f"{self.accuracy:.2%} ({self.correct:,} of {self.total:,}), "
            f"95 % interval {self.low:.2%} to {self.high:.2%}"
        )


@dataclass(frozen=True)
class Mistake:
    """One wrong answer: its index in the split, both digits, and how sure the network was."""

    index: int
    label: int
    guess: int
    guess_probability: float


def check_network(network: nn.Module, to_train: bool = False) -> None:
    """Raise `UserError` for a network that cannot be asked here, or not be trained (`to_train`)."""
    check("network", network, instance(nn.Module, "an nn.Module such as GapNet()"))
    kind = type(network).__name__
    for name, part in [*network.named_parameters(), *network.named_buffers()]:
        if is_lazy(part):
            flaw = "has no shape yet: show the network a batch first"
        elif part.is_meta:
            flaw = "is on the device meta, where nothing is computed: make the network on the CPU"
        elif part.is_floating_point() and part.dtype != torch.float32:
            flaw = f"is {part.dtype}; networks compute in torch.float32 here: call network.float()"
        elif to_train and part.is_inference():
            flaw = "was made in inference mode and cannot be trained: make it outside of that"
        else:
            continue
        raise UserError(f"{name} of {kind} {flaw}.")
    if to_train and not any(parameter.requires_grad for parameter in network.parameters()):
        raise UserError(f"the network {kind} has no parameters to train.")


def check_outputs(outputs: Tensor, count: int) -> Tensor:
    """The outputs. Raises `UserError` unless they are ten for each of `count` images."""
    found = list(outputs.shape) if isinstance(outputs, Tensor) else shown(outputs)
    if found != [count, 10]:
        wanted = f"a tensor [{count}, 10], ten for each image"
        raise UserError(f"the outputs of the network must be {wanted}, not {found}.")
    return outputs


@torch.no_grad()
def predict(
    network: nn.Module, split: Split, recipe: Recipe, num_threads: int | None = None
) -> Tensor:
    """The network's outputs `[N, 10]` for a split, in evaluation mode and fp32, on the CPU.

    The images are normalised as the recipe says. `num_threads`: see `choose_threads`. The network
    is left in evaluation mode. Raises `UserError` for what cannot be asked, or answers otherwise.
    """
    check_network(network)
    check("recipe", recipe, RECIPE)
    check_split("split", split)
    device = next(network.parameters(), split.images).device
    network.eval()
    size = EVALUATION_BATCH if device.type == "cpu" else GPU_BATCH
    # One tensor for all: a small one from each batch would stay between large buffers that are
    # freed, and leave holes too small for those of the next batch: 200 MB after 10,000 digits.
    outputs = torch.empty(len(split), 10, dtype=torch.float32, device=device)
    with limit_threads(num_threads), torch.autocast(device.type, enabled=False):
        for images, answers in zip(split.images.split(size), outputs.split(size)):
            images = normalize(images.to(device), recipe.mean, recipe.std)
            images = images.to(memory_format=torch.channels_last)
            answers.copy_(check_outputs(network(images), len(answers)))
    release_memory()
    return outputs.cpu()


def evaluate(network: nn.Module, split: Split, recipe: Recipe) -> Evaluation:
    """Ask a trained network about every digit of a split, normalised as in its recipe.

    Outputs may be logits or log-probabilities: softmax turns both into probabilities. Raises
    `UserError` as `predict` does, and for outputs that are not finite.
    """
    probabilities = predict(network, split, recipe).softmax(1)
    labels = split.labels.cpu()
    if lost := int(probabilities.isnan().any(1).sum()):
        raise UserError(
            f"the outputs of the network are not finite for {lost:,} of {len(labels):,} digits: "
            "train it again, at a lower learning rate."
        )
    correct = int((probabilities.argmax(1) == labels).sum())
    return Evaluation(probabilities, labels, correct, *wilson_interval(correct, len(labels)))


@dataclass(frozen=True)
class Bin:
    """The answers whose confidence lies above `lower` and up to `upper`.

    `confidence`: their mean probability. `accuracy`: the share that is right, with its interval.
    """

    lower: float
    upper: float
    count: int
    confidence: float
    accuracy: float
    low: float
    high: float


def reliability(evaluation: Evaluation, edges: Sequence[float] = EDGES) -> list[Bin]:
    """The answers of a network sorted by how sure it was; bins without answers are left out."""
    confidence = evaluation.probabilities.max(1).values.double()
    right = evaluation.predictions == evaluation.labels
    bins = []
    for lower, upper in pairwise(edges):
        inside = (confidence > lower) & (confidence <= upper)
        count, correct = int(inside.sum()), int((right & inside).sum())
        if count:
            mean = float(confidence[inside].mean())
            interval = wilson_interval(correct, count)
            bins.append(Bin(lower, upper, count, mean, correct / count, *interval))
    return bins


def calibration_error(bins: Sequence[Bin]) -> float:
    """The expected calibration error: how far each bin's confidence and accuracy lie apart, weighed
    by its count."""
    total = sum(bin.count for bin in bins)
    return sum(bin.count * abs(bin.confidence - bin.accuracy) for bin in bins) / total

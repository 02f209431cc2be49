"""How good a trained network is: accuracy with its interval, confusion, the mistakes."""

from dataclasses import dataclass

import torch
from sklearn.metrics import confusion_matrix
from torch import Tensor, nn

from mnist_lab.data import Split
from mnist_lab.intervals import wilson_interval
from mnist_lab.speed import give_memory_back
from mnist_lab.training import Recipe, predict


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
        wrong = (self.predictions != self.labels).nonzero().flatten()
        surest = self.probabilities.max(1).values[wrong].argsort(descending=True)
        return [self._mistake(int(index)) for index in wrong[surest]]

    def _mistake(self, index: int) -> "Mistake":
        chances, label = self.probabilities[index], int(self.labels[index])
        guess = int(chances.argmax())
        return Mistake(index, label, guess, float(chances[guess]), float(chances[label]))

    def __str__(self) -> str:
        return (
            f"{self.accuracy:.2%} ({self.correct:,} of {self.total:,}), "
            f"95 % interval {self.low:.2%} to {self.high:.2%}"
        )


@dataclass(frozen=True)
class Mistake:
    """One wrong answer: its index in the split, both digits, and the probability given to each."""

    index: int
    label: int
    guess: int
    guess_probability: float
    label_probability: float


def evaluate(network: nn.Module, split: Split, recipe: Recipe) -> Evaluation:
    """Ask a trained network about every digit of a split, normalised as in its recipe.

    Outputs may be logits or log-probabilities: softmax turns both into probabilities. Raises
    `ValueError` as `predict` does, and for outputs that are not finite.
    """
    probabilities = predict(network, split, recipe).softmax(1)
    give_memory_back()
    labels = split.labels.cpu()
    lost = int(probabilities.isnan().any(1).sum())
    if lost:
        raise ValueError(
            f"the outputs of the network are not finite for {lost:,} of {len(labels):,} digits: "
            "train it again, at a lower learning rate."
        )
    correct = int((probabilities.argmax(1) == labels).sum())
    return Evaluation(probabilities, labels, correct, *wilson_interval(correct, len(labels)))

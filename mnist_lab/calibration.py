"""Calibration: of the digits of which a network is 90 % sure, are 90 % right?

Guo et al., "On Calibration of Modern Neural Networks", arXiv:1706.04599.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from mnist_lab.evaluation import Evaluation
from mnist_lab.intervals import wilson_interval

EDGES = (0.0, 0.5, 0.7, 0.9, 0.99, 0.999, 1.0)  # closer where a good network gives most answers


@dataclass(frozen=True)
class Bin:
    """The answers whose confidence lies above `lower` and up to `upper`.

    `confidence` is their mean probability, `accuracy` the share that is right, and `low` and `high`
    bound that with 95 % confidence (Wilson).
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
    """The expected calibration error: |confidence − accuracy| of each bin, weighed by its count."""
    total = sum(bin.count for bin in bins)
    return sum(bin.count * abs(bin.confidence - bin.accuracy) for bin in bins) / total

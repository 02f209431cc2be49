"""What each idea behind the small networks is worth: undo one, or add one, and train again.

A budget's cases are its network as it was chosen, and the same with one change; all with the same
seeds, so that they are compared in pairs. Judged by the validation digits after the last epoch.
"""

import statistics
from collections.abc import Sequence
from dataclasses import replace

import torch

from mnist_lab.augment import Affine
from mnist_lab.layers import count_parameters
from mnist_lab.recipes import NETWORKS, OneCycle, shortened
from mnist_lab.statistics import paired_interval, seed_interval
from mnist_lab.studies.candidates import build
from mnist_lab.studies.measuring import conditions, digits
from mnist_lab.training import fit
from mnist_lab.validation import Count, check, one_of

PRECISION = "fp32"
AS_CHOSEN = "as chosen"  # the first of every budget


def rate(max_lr: float) -> dict:
    """The change of a recipe to this highest rate."""
    return {"schedule": OneCycle(max_lr, 0.2, cycle_momentum=False)}


# Of each budget: the change of the network, a line of `candidates`, and of its recipe.
CASES: dict[str, dict[str, tuple[str, dict]]] = {
    "8k": {
        AS_CHOSEN: ("plain 10 12p 16 16p 16s", {}),
        "pooling behind the first convolution": ("plain 10p 15 15 15p 16s", {}),
    },
}

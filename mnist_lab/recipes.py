"""`Recipe`: every hyperparameter of a run. `NETWORKS`: the networks that the course trains.

Whoever adds a network writes its class in `networks.py` and its row in `NETWORKS`.
"""

from dataclasses import replace
from math import ceil
from typing import Annotated, NamedTuple

import torch.nn.functional as F
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from mnist_lab.augment import Affine, CropAndResize, Rotate
from mnist_lab.networks import BottleneckNet, GapNet, Net2k, Net8k, Net20k, Net700
from mnist_lab.validation import (
    Count,
    Fraction,
    FractionBelow1,
    Positive,
    Seed,
    Switch,
    UserError,
    instance,
    number,
    one_of,
    validated,
)

ROUNDING = 0.05  # of ten probabilities, added up; in bfloat16 it is a third of that


@validated
class OneCycle:
    """Learning rate up to `max_lr`, then down, stepped per batch. Smith, arXiv:1708.07120."""

    max_lr: Positive
    pct_start: number("a number between 0 and 1", gt=0, lt=1)
    cycle_momentum: Switch = True  # Adam's first beta: from 0.95 to 0.85 and back, as torch does

    def check_steps(self, steps: int) -> None:
        """Raise `UserError` if so many batches are too few for the learning rate to rise in."""
        if self.pct_start * steps <= 1:  # torch would divide by zero, or step before the start
            raise UserError(
                f"OneCycle cannot rise within {self.pct_start:.0%} of {steps} batches: take more "
                "epochs, more digits or smaller batches."
            )


@validated
class StepDown:
    """Learning rate times `gamma` after every `step_size` epochs (torch's StepLR)."""

    step_size: Count
    gamma: number("a number above 0 and up to 1", gt=0, le=1)


def _transform(value: object) -> object:
    """Something that changes batches, or tells its torchvision counterpart; not a class of them."""
    if isinstance(value, type) or not (callable(value) or hasattr(value, "torchvision")):
        raise ValueError("no transform")
    return value


Betas = Annotated[
    tuple[FractionBelow1, FractionBelow1],
    Field(description="a tuple of two numbers from 0 to below 1"),
]
Schedule = Annotated[
    OneCycle | StepDown | None, Field(description="a OneCycle(…), a StepDown(…) or None")
]
Transforms = Annotated[
    tuple[Annotated[object, AfterValidator(_transform)], ...],
    Field(description="a tuple of transforms such as (Rotate(7),)"),
]


@validated
class Recipe:
    """Every hyperparameter of a run. Raises `UserError` for a wrong value, by its name.

    `loss`: "nll" for log-probabilities, "cross_entropy" for logits. `augment`: transforms of
    `mnist_lab.augment`, applied in order to the training images. `mean`, `std`: of the pixels,
    on the scale 0 to 1. `seed` fixes the order of the digits, the augmentation and the dropout.
    """

    num_epochs: Count
    batch_size: Count
    lr: Positive
    optimizer: one_of("adam", "adamw", "sgd") = "adam"
    weight_decay: number("a number from 0 on", ge=0) = 0.0
    momentum: FractionBelow1 = 0.0  # sgd only
    betas: Betas = (0.9, 0.999)  # adam and adamw
    schedule: Schedule = None
    loss: one_of("nll", "cross_entropy") = "cross_entropy"
    label_smoothing: FractionBelow1 = 0.0  # cross_entropy only
    ema_decay: FractionBelow1 = 0.0  # a step; the network ends as the average of its weights
    augment: Transforms = ()
    mean: Fraction = 0.1307
    std: Positive = 0.3081
    seed: Seed = 0

    def __post_init__(self):
        companions = {
            "momentum": ["sgd"],
            "betas": ["adam", "adamw"],
            "label_smoothing": ["cross_entropy"],
        }
        for name, those in companions.items():
            used = self.optimizer in those or self.loss in those
            if not used and getattr(self, name) != getattr(Recipe, name):
                raise UserError(f"{name} goes with {' or '.join(those)} only.")

    def check_digits(self, count: int) -> None:
        """Raise `UserError` if so many training digits are too few for the schedule."""
        if isinstance(self.schedule, OneCycle):
            self.schedule.check_steps(self.num_epochs * ceil(count / self.batch_size))

    def loss_of(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The mean training loss of a batch: outputs `[B, 10]`; labels `[B]`, or probabilities."""
        if self.loss == "nll":
            return F.nll_loss(outputs.float(), labels)
        return F.cross_entropy(outputs.float(), labels, label_smoothing=self.label_smoothing)

    def check_loss(self, outputs: Tensor) -> None:
        """Raise `UserError` unless outputs `[N, 10]` are what this loss is for.

        Log-probabilities go with "cross_entropy" too: as logits they stand for themselves.
        """
        chances = outputs.exp() if self.loss == "nll" else outputs
        off = (chances.sum(1) - 1).abs().max()
        if self.loss == "nll" and off > ROUNDING:
            raise UserError(
                "the loss nll needs log-probabilities: end the network with log_softmax, or take "
                "the loss cross_entropy."
            )
        if self.loss == "cross_entropy" and chances.min() >= 0 and off < ROUNDING:
            raise UserError("the loss cross_entropy needs logits: leave the network's softmax out.")


RECIPE = instance(Recipe, "a Recipe such as GAP_RECIPE")

GAP_RECIPE = Recipe(
    num_epochs=19,
    batch_size=128,
    lr=0.0005,  # where Adam would start; OneCycle sets its own from the first batch on
    weight_decay=1e-4,
    schedule=OneCycle(max_lr=0.005, pct_start=0.2),
    loss="nll",
    augment=(Rotate(7),),
    mean=0.1307,
    std=0.3081,
)

BOTTLENECK_RECIPE = Recipe(
    num_epochs=20,
    batch_size=64,
    lr=0.001,
    schedule=StepDown(step_size=15, gamma=0.1),
    loss="cross_entropy",
    augment=(CropAndResize(22, p=0.1), Rotate(15)),
    mean=0.1407,  # as published; notebook 01 computes 0.1307 and 0.3081
    std=0.4081,
)


# Found on validation digits; OneCycle sets the rate. Each is frozen: no test digit had been read by
# its network before.
RECIPE_20K = Recipe(
    num_epochs=19,
    batch_size=64,
    lr=0.001,
    optimizer="adamw",
    weight_decay=0.0001,
    betas=(0.9, 0.99),
    schedule=OneCycle(max_lr=0.015, pct_start=0.25, cycle_momentum=False),
    label_smoothing=0.05,
    ema_decay=0.998,
    augment=(Affine(degrees=5, pixels=1.5, scale=0.08, shear=6),),
)

RECIPE_8K = replace(
    RECIPE_20K,
    batch_size=128,
    weight_decay=0.003,
    schedule=OneCycle(max_lr=0.09, pct_start=0.2, cycle_momentum=False),
    label_smoothing=0.03,
    augment=(Affine(degrees=3, pixels=1, scale=0.12, shear=5),),
)

RECIPE_2K = replace(
    RECIPE_20K,
    num_epochs=60,
    batch_size=256,
    weight_decay=0.002,
    schedule=OneCycle(max_lr=0.04, pct_start=0.2, cycle_momentum=False),
    label_smoothing=0.01,
    augment=(Affine(degrees=5, pixels=1, scale=0.05, shear=4),),
)

RECIPE_700 = replace(
    RECIPE_2K,
    num_epochs=100,
    batch_size=128,
    label_smoothing=0.0,
    ema_decay=0.0,
    augment=(),
)


class Entry(NamedTuple):
    """A network of the course: its class, the recipe that trains it, and its trained weights.

    `weights`: the file's name in `mnist_lab/weights`; None for a network that comes untrained.
    """

    network: type[nn.Module]
    recipe: Recipe
    weights: str | None = None


NETWORKS = {
    "gap": Entry(GapNet, GAP_RECIPE, "gap.safetensors"),
    "bottleneck": Entry(BottleneckNet, BOTTLENECK_RECIPE, "bottleneck.safetensors"),
    "20k": Entry(Net20k, RECIPE_20K, "20k.safetensors"),
    "8k": Entry(Net8k, RECIPE_8K, "8k.safetensors"),
    "2k": Entry(Net2k, RECIPE_2K, "2k.safetensors"),
    "700": Entry(Net700, RECIPE_700, "700.safetensors"),
}


def shortened(recipe: Recipe, num_epochs: int) -> Recipe:
    """The recipe for fewer epochs, its schedule in proportion, so that it still ends calmly."""
    schedule = recipe.schedule
    if isinstance(schedule, StepDown):
        step_size = max(1, round(schedule.step_size * num_epochs / recipe.num_epochs))
        schedule = replace(schedule, step_size=step_size)
    return replace(recipe, num_epochs=num_epochs, schedule=schedule)

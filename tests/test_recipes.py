"""Recipes: the published ones, what they refuse, and the registry of networks."""

import re
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from mnist_lab.augment import CropAndResize, Rotate, Shift
from mnist_lab.networks import BottleneckNet, GapNet
from mnist_lab.recipes import (
    BOTTLENECK_RECIPE,
    GAP_RECIPE,
    NETWORKS,
    OneCycle,
    Recipe,
    StepDown,
    shortened,
)
from mnist_lab.validation import UserError

PLAIN = Recipe(num_epochs=3, batch_size=32, lr=0.01)


def test_the_recipes_are_the_published_ones():
    assert repr(GAP_RECIPE) == (
        "Recipe(num_epochs=19, batch_size=128, lr=0.0005, optimizer='adam', weight_decay=0.0001, "
        "momentum=0.0, betas=(0.9, 0.999), schedule=OneCycle(max_lr=0.005, pct_start=0.2, "
        "cycle_momentum=True), loss='nll', label_smoothing=0.0, ema_decay=0.0, "
        "augment=(Rotate(degrees=7),), mean=0.1307, std=0.3081, seed=0)"
    )
    assert repr(BOTTLENECK_RECIPE) == (
        "Recipe(num_epochs=20, batch_size=64, lr=0.001, optimizer='adam', weight_decay=0.0, "
        "momentum=0.0, betas=(0.9, 0.999), schedule=StepDown(step_size=15, gamma=0.1), "
        "loss='cross_entropy', label_smoothing=0.0, ema_decay=0.0, "
        "augment=(CropAndResize(size=22, p=0.1), Rotate(degrees=15)), mean=0.1407, std=0.4081, "
        "seed=0)"
    )
    assert NETWORKS["gap"][:2] == (GapNet, GAP_RECIPE)
    assert NETWORKS["bottleneck"][:2] == (BottleneckNet, BOTTLENECK_RECIPE)


WRONG = {  # what the kind of each field refuses, and its neighbours take
    "num_epochs": [0, 1.5],
    "batch_size": [0, 1.5],
    "lr": [0],
    "optimizer": ["lion", None],
    "weight_decay": [-1e-4],
    "momentum": [1, -0.1],
    "betas": [(0.9, 1), ("0.9", 0.9), [0.9, 0.999], (0.9, 0.99, 0.999)],
    "schedule": ["onecycle", OneCycle, {"step_size": 1, "gamma": 0.1}],
    "loss": ["mse"],
    "label_smoothing": [1, -0.1],
    "ema_decay": [1, -0.1],
    "augment": [None, (5,), [Rotate(7)], Rotate(7), (Rotate,)],
    "mean": [-0.1, 33.3],  # on the scale 0 to 255
    "std": [0.0],
    "seed": [-1, 2**64, 1.0],
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_refused_by_name(name):
    for value in WRONG[name]:
        with pytest.raises(UserError, match=rf"^{name} must be .*{re.escape(repr(value))}\.$"):
            replace(GAP_RECIPE, **{name: value})


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: OneCycle(0, 0.2), "max_lr must be a number above 0, not 0."),
        (lambda: OneCycle(1, 0), "pct_start must be a number between 0 and 1, not 0."),
        (lambda: OneCycle(1, 1), "pct_start must be a number between 0 and 1, not 1."),
        (lambda: OneCycle(1, 0.2, "no"), "cycle_momentum must be True or False, not 'no'."),
        (lambda: StepDown(0, 0.1), "step_size must be a whole number from 1 on, not 0."),
        (lambda: StepDown(1, 0), "gamma must be a number above 0 and up to 1, not 0."),
        (lambda: StepDown(1, 1.1), "gamma must be a number above 0 and up to 1, not 1.1."),
        # What would be ignored.
        (lambda: replace(PLAIN, loss="nll", label_smoothing=0.1), "label_smoothing goes with"),
        (lambda: replace(PLAIN, momentum=0.9), "momentum goes with sgd only"),
        (lambda: replace(PLAIN, optimizer="sgd", betas=(0.7, 0.9)), "betas goes with adam or adam"),
    ],
)
def test_a_wrong_schedule_or_combination_is_refused(make, sentence):
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}"):
        make()


@pytest.mark.parametrize(
    "changes",
    [
        {"lr": 1, "std": 2, "mean": 0, "weight_decay": 0, "seed": 2**64 - 1, "betas": (0.0, 0.9)},
        {"mean": 1.0, "optimizer": "sgd", "momentum": 0.9, "schedule": StepDown(1, 1)},
        {"schedule": OneCycle(1, 0.01, False), "label_smoothing": 0,
         "augment": (CropAndResize(28, 1), Shift(0), lambda images, generator: images)},
    ],
    ids=lambda changes: ", ".join(changes),
)  # fmt: skip
def test_a_right_value_is_kept_as_it_was_given(changes):
    recipe = replace(PLAIN, **changes)
    assert {name: repr(getattr(recipe, name)) for name in changes} == {
        name: repr(value) for name, value in changes.items()
    }
    assert replace(recipe, seed=1) == replace(recipe, seed=1) and hash(recipe) == hash(recipe)


# The loss, and the outputs that it is for


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_is_pytorchs(smoothing):
    outputs, labels = torch.randn(6, 10).bfloat16(), torch.arange(6)
    recipe = replace(PLAIN, label_smoothing=smoothing)
    expected = F.cross_entropy(outputs.float(), labels, label_smoothing=smoothing)
    assert recipe.loss_of(outputs, labels) == expected
    logs = outputs.float().log_softmax(1)
    assert replace(PLAIN, loss="nll").loss_of(logs, labels) == F.nll_loss(logs, labels)


LOGITS = torch.randn(8, 10, generator=torch.Generator().manual_seed(0))
TENTHS = LOGITS - LOGITS.mean(1, keepdim=True) + 0.1  # they add up to 1, but are below 0 too


@pytest.mark.parametrize(
    ("outputs", "loss", "fits"),
    [
        (LOGITS.log_softmax(1), "nll", True),
        (LOGITS.softmax(1), "nll", False),
        (LOGITS.log_softmax(1) - 1, "nll", False),
        (LOGITS.log_softmax(1), "cross_entropy", True),  # they are their own logits
        (LOGITS.sigmoid(), "cross_entropy", True),
        (LOGITS.softmax(1) / 2, "cross_entropy", True),
        (TENTHS, "cross_entropy", True),
        (LOGITS.softmax(1), "cross_entropy", False),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_loss_knows_the_outputs_that_it_is_for(outputs, loss, fits, dtype):
    recipe = replace(PLAIN, loss=loss)
    if fits:
        recipe.check_loss(outputs.to(dtype))
    else:
        with pytest.raises(UserError, match=f"the loss {loss} needs log"):
            recipe.check_loss(outputs.to(dtype))


# Shortened recipes, and the registry


@pytest.mark.parametrize(
    ("step", "epochs", "shorter"), [(15, 20, 15), (15, 5, 4), (15, 1, 1), (2, 5, 1)]
)
def test_a_shortened_recipe_steps_down_in_proportion(step, epochs, shorter):
    recipe = replace(BOTTLENECK_RECIPE, schedule=StepDown(step, 0.1))
    expected = replace(recipe, num_epochs=epochs, schedule=StepDown(shorter, 0.1))
    assert shortened(recipe, epochs) == expected
    # OneCycle is in proportion already.
    assert shortened(GAP_RECIPE, epochs) == replace(GAP_RECIPE, num_epochs=epochs)


def test_too_few_digits_for_the_schedule_are_refused():
    recipe = Recipe(1, batch_size=128, lr=0.001, schedule=OneCycle(0.005, pct_start=0.2))
    with pytest.raises(UserError, match="20% of 5 batches"):
        recipe.check_digits(5 * 128)
    recipe.check_digits(5 * 128 + 1)  # a sixth batch
    replace(recipe, num_epochs=2).check_digits(5 * 128)
    replace(recipe, schedule=StepDown(1, 0.1)).check_digits(1)

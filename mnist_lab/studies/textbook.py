"""The textbook way of training, as most tutorials write it: the yardstick for `fit`.

torchvision's transforms on one PIL image at a time, a DataLoader, fp32, and PyTorch's own memory
format, dropout and optimizer loop. Nothing in the course trains this way but to be compared.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.profiler import record_function
from torch.utils.data import DataLoader

from mnist_lab.augment import textbook_transform
from mnist_lab.data import Digits
from mnist_lab.recipes import Recipe
from mnist_lab.training import make_optimizer

PLAIN_OPTIMIZER = partial(make_optimizer, fused=False)


def textbook_batches(data: Digits, recipe: Recipe) -> tuple[DataLoader, DataLoader]:
    """Shuffled, augmented training batches, and plain validation batches of 1,000."""
    augmented = textbook_transform(recipe.augment, recipe.mean, recipe.std)
    plain = textbook_transform((), recipe.mean, recipe.std)
    train = DataLoader(data.train.dataset(augmented), recipe.batch_size, shuffle=True)
    return train, DataLoader(data.validation.dataset(plain), 1000)


@torch.no_grad()
def textbook_accuracy(network: nn.Module, batches: DataLoader) -> float:
    """The share of digits read correctly, in evaluation mode."""
    network.eval()
    correct = sum((network(images).argmax(1) == labels).sum().item() for images, labels in batches)
    return correct / len(batches.dataset)


def textbook_fit(
    network: nn.Module,
    data: Digits,
    recipe: Recipe,
    optimizer_of: Callable = PLAIN_OPTIMIZER,
) -> list[float]:
    """Train `network` in place; the validation accuracy after each epoch, as fractions.

    `optimizer_of` makes what `make_optimizer` does, of network, recipe and number of batches. The
    caller's random state stays as it was.
    """
    train, validation = textbook_batches(data, recipe)
    optimizer, per_batch, per_epoch = optimizer_of(network, recipe, len(train))
    accuracies = []
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(recipe.seed)
        for _ in range(recipe.num_epochs):
            network.train()
            for images, labels in train:
                with record_function("forward"):  # its name in a profile
                    loss = recipe.loss_of(network(images), labels)
                with record_function("backward"):
                    optimizer.zero_grad()
                    loss.backward()
                with record_function("optimizer"):
                    optimizer.step()
                per_batch.step()
            per_epoch.step()
            accuracies.append(textbook_accuracy(network, validation))
    return accuracies

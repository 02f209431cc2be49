"""The textbook way of training, as most tutorials write it: the yardstick for `fit`.

torchvision's transforms on one PIL image at a time, a DataLoader, fp32, and PyTorch's own memory
format, dropout and optimizer loop. Nothing in the course trains this way but to be compared.
"""

from collections.abc import Callable, Iterable

import torch
from torch import nn
from torch.profiler import record_function
from torch.utils.data import DataLoader

from mnist_lab.augment import textbook_transform
from mnist_lab.data import Digits
from mnist_lab.recipes import Recipe
from mnist_lab.training import make_optimizer


def textbook_batches(data: Digits, recipe: Recipe) -> tuple[DataLoader, DataLoader]:
    """Shuffled, augmented training batches, and plain validation batches of 1,000."""
    augmented = textbook_transform(recipe.augment, recipe.mean, recipe.std)
    plain = textbook_transform((), recipe.mean, recipe.std)
    train = DataLoader(data.train.dataset(augmented), recipe.batch_size, shuffle=True)
    return train, DataLoader(data.validation.dataset(plain), 1000)


def textbook_epoch(
    network: nn.Module, batches: Iterable, optimizer, loss_of: Callable, schedule=None
) -> None:
    """One pass over the training batches; `schedule`, if there is one, is stepped after each."""
    network.train()
    for images, labels in batches:
        with record_function("forward"):  # its name in a profile
            loss = loss_of(network(images), labels)
        with record_function("backward"):
            optimizer.zero_grad()
            loss.backward()
        with record_function("optimizer"):
            optimizer.step()
        if schedule:
            schedule.step()


@torch.no_grad()
def textbook_accuracy(network: nn.Module, batches: DataLoader) -> float:
    """The share of digits read correctly, in evaluation mode."""
    network.eval()
    correct = sum((network(images).argmax(1) == labels).sum().item() for images, labels in batches)
    return correct / len(batches.dataset)


def textbook_fit(network: nn.Module, data: Digits, recipe: Recipe) -> list[float]:
    """Train `network` in place; the validation accuracy after each epoch, as fractions.

    The caller's random state stays as it was.
    """
    train, validation = textbook_batches(data, recipe)
    optimizer, per_batch, per_epoch = make_optimizer(network, recipe, len(train), fused=False)
    accuracies = []
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(recipe.seed)
        for _ in range(recipe.num_epochs):
            textbook_epoch(network, train, optimizer, recipe.loss_of, per_batch)
            per_epoch.step()
            accuracies.append(textbook_accuracy(network, validation))
    return accuracies

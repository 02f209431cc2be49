"""The yardstick is what it says: the plain way of training, against loops written out here."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset
from torchvision import transforms

from mnist_lab.augment import Rotate
from mnist_lab.data import Digits, Split, load_data
from mnist_lab.recipes import OneCycle, Recipe, StepDown
from mnist_lab.studies import textbook
from mnist_lab.studies.textbook import (
    textbook_accuracy,
    textbook_batches,
    textbook_epoch,
    textbook_fit,
)

PLAIN = Recipe(num_epochs=3, batch_size=32, lr=0.01)


@pytest.fixture(scope="module")
def few():
    """80 digits in batches of 32, 32 and 16."""
    small = load_data("digits")
    return Digits("few digits", small.train.first(80), small.validation.first(30), small.test)


def tiny():
    torch.manual_seed(7)
    return nn.Sequential(
        nn.Conv2d(1, 4, 5, stride=3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)
    )


def normal(images, recipe):
    return (images / 255 - recipe.mean) / recipe.std


# The batches


class QuarterTurn:
    """An augmentation that leaves nothing to chance."""

    def torchvision(self):
        return transforms.RandomRotation((90, 90))


def test_training_digits_are_augmented_and_shuffled(few):
    recipe = Recipe(1, 32, 0.01, augment=(QuarterTurn(),), mean=0.2, std=0.5)
    batches, _ = textbook_batches(few, recipe)
    epochs = [list(batches) for _ in range(2)]
    assert [len(labels) for _, labels in epochs[0]] == [32, 32, 16]
    images, labels = (torch.cat(parts) for parts in zip(*epochs[0]))
    expected = normal(few.train.images.rot90(dims=(2, 3)), recipe)
    distances = (images - expected.transpose(0, 1)).abs().flatten(2).amax(2)
    nearest, which = distances.min(1)
    assert nearest.max() < 1e-5, "an image is no quarter turn of any digit"
    assert sorted(which.tolist()) == list(range(80)), "every digit is shown once"
    assert torch.equal(labels, few.train.labels[which])
    assert not torch.equal(labels, few.train.labels)
    assert not torch.equal(labels, torch.cat([labels for _, labels in epochs[1]]))


def test_validation_digits_are_neither_augmented_nor_shuffled(few):
    recipe = Recipe(1, 32, 0.01, augment=(QuarterTurn(), Rotate(15)), mean=0.2, std=0.5)
    _, batches = textbook_batches(few, recipe)
    for _ in range(2):
        ((images, labels),) = batches
        torch.testing.assert_close(images, normal(few.validation.images, recipe))
        assert torch.equal(labels, few.validation.labels)


def test_validation_batches_hold_a_thousand(few):
    many = Split(few.train.images[:1].repeat(1_200, 1, 1, 1), few.train.labels[:1].repeat(1_200))
    _, batches = textbook_batches(Digits("many", few.train, many, few.test), PLAIN)
    assert [len(labels) for _, labels in batches] == [1_000, 200]


# An epoch


def falling(optimizer):
    return lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)


def test_an_epoch_is_one_pass_with_a_schedule_stepped_per_batch(few):
    images, labels = normal(few.train.images, PLAIN), few.train.labels
    batches = list(zip(images.split(32), labels.split(32)))
    ours, plain = tiny().eval(), tiny()
    optimizer = torch.optim.SGD(ours.parameters(), lr=0.2)
    textbook_epoch(ours, batches, optimizer, F.cross_entropy, falling(optimizer))
    assert ours.training
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.2 * 0.5**3)
    rate = 0.2
    for part, (images, labels) in enumerate(batches):
        loss = F.cross_entropy(plain(images), labels)
        parameters = list(plain.parameters())
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients):
                parameter -= rate * 0.5**part * gradient
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)


def test_an_epoch_follows_the_loss_it_is_given(few):
    images, labels = normal(few.train.images, PLAIN), few.train.labels
    seen, network = [], tiny()

    def loss_of(outputs, labels):
        seen.append(labels)
        return 0 * outputs.sum()

    before = copy.deepcopy(list(network.parameters()))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.2)
    batches = zip(images.split(32), labels.split(32))
    textbook_epoch(network, batches, optimizer, loss_of)
    assert torch.equal(torch.cat(seen), labels)
    assert all(map(torch.equal, before, network.parameters())), "this loss has no slope"


# Accuracy


class ReadsCorner(nn.Module):
    """Guesses the number that the first pixel holds; in training mode always 9."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images):
        self.outputs = self.scale * F.one_hot(images[:, 0, 0, 0].long(), 10)
        return torch.eye(10)[[9] * len(images)] if self.training else self.outputs


def test_accuracy_is_the_share_read_correctly_in_evaluation_mode():
    guesses, labels = torch.tensor([3, 1, 4, 1, 5, 9, 2]), torch.tensor([3, 1, 4, 1, 0, 0, 0])
    images = guesses.view(-1, 1, 1, 1) * torch.ones(7, 1, 28, 28)
    network = ReadsCorner().train()
    batches = DataLoader(TensorDataset(images, labels), batch_size=3)  # and one alone at the end
    assert textbook_accuracy(network, batches) == pytest.approx(4 / 7)
    assert not network.training
    assert not network.outputs.requires_grad, "a gradient was prepared for"


# A run


def test_a_run_gives_an_accuracy_per_epoch_and_ends_with_that_of_the_trained_network(few):
    network = tiny()
    accuracies = textbook_fit(network, few, PLAIN)
    assert len(accuracies) == 3
    _, validation = textbook_batches(few, PLAIN)
    assert accuracies[-1] == textbook_accuracy(network, validation)
    network.eval()
    guesses = network(normal(few.validation.images, PLAIN)).argmax(1)
    assert accuracies[-1] == pytest.approx((guesses == few.validation.labels).double().mean())
    assert accuracies[-1] > 0.5, "nothing was learnt"


@pytest.mark.parametrize("what", ["order", "augmentation"])
def test_the_seed_decides_order_and_augmentation(few, what):
    def trained(seed):
        batch_size, augment = (32, ()) if what == "order" else (80, (Rotate(15),))
        network = tiny()
        torch.seed()  # what was drawn before a run has no say
        textbook_fit(network, few, Recipe(2, batch_size, 0.01, augment=augment, seed=seed))
        return network[-1].weight

    first = trained(0)
    assert torch.equal(first, trained(0))
    assert not torch.allclose(first, trained(1), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "schedule", [None, OneCycle(0.05, pct_start=0.4), StepDown(1, gamma=0.1)], ids=str
)
def test_a_run_is_the_loop_of_every_tutorial(few, schedule):
    recipe = Recipe(3, 32, 0.01, schedule=schedule, weight_decay=1e-2, label_smoothing=0.1, seed=3)
    ours, plain = tiny(), tiny()
    textbook_fit(ours, few, recipe)

    torch.manual_seed(3)
    splits = [
        TensorDataset(normal(split.images, recipe), split.labels)
        for split in (few.train, few.validation)
    ]
    train, validation = DataLoader(splits[0], 32, shuffle=True), DataLoader(splits[1], 1_000)
    optimizer = torch.optim.Adam(plain.parameters(), lr=0.01, weight_decay=1e-2)
    one_cycle = step_lr = None
    if isinstance(schedule, OneCycle):
        one_cycle = lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=9, pct_start=0.4)
    if isinstance(schedule, StepDown):
        step_lr = lr_scheduler.StepLR(optimizer, 1, gamma=0.1)
    for _ in range(3):
        plain.train()
        for images, labels in train:
            optimizer.zero_grad()
            F.cross_entropy(plain(images), labels, label_smoothing=0.1).backward()
            optimizer.step()
            if one_cycle:
                one_cycle.step()
        if step_lr:
            step_lr.step()
        list(validation)  # a DataLoader takes a number from the generator whenever it starts

    for name, value in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-3, atol=1e-5)


def test_a_run_leaves_the_random_state_of_its_caller(few):
    network, before = tiny(), torch.get_rng_state()
    textbook_fit(network, few, replace(PLAIN, num_epochs=1, augment=(Rotate(15),)))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_run_uses_none_of_what_makes_fit_fast(few, monkeypatch):
    optimizers, real = [], textbook.make_optimizer

    def remember(*arguments, **options):
        optimizers.append(real(*arguments, **options))
        return optimizers[-1]

    monkeypatch.setattr(textbook, "make_optimizer", remember)
    seen = []
    network = nn.Sequential(nn.Conv2d(1, 4, 5, stride=3), nn.Dropout(0.5), nn.Flatten(),
                            nn.Linear(256, 10))  # fmt: skip
    network[1].register_forward_hook(
        lambda layer, x, y: seen.append(("forward" in vars(layer), y.is_contiguous(), y.dtype))
    )
    textbook_fit(network, few, Recipe(1, 32, 0.01))
    assert set(seen) == {(False, True, torch.float32)}
    assert [optimizer.defaults["fused"] for optimizer, _, _ in optimizers] == [False]

"""The yardstick is what it says: the plain way of training, against a loop written out here."""

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
from mnist_lab.studies.textbook import textbook_accuracy, textbook_batches, textbook_fit


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


def test_validation_digits_come_a_thousand_at_a_time_as_they_are(few):
    recipe = Recipe(1, 32, 0.01, augment=(QuarterTurn(), Rotate(15)), mean=0.2, std=0.5)
    many = Split(
        few.train.first(77).images.repeat(13, 1, 1, 1), few.train.first(77).labels.repeat(13)
    )
    _, batches = textbook_batches(Digits("many", few.train, many, few.test), recipe)
    images, labels = zip(*batches)
    assert [len(part) for part in labels] == [1_000, 1]
    torch.testing.assert_close(torch.cat(images), normal(many.images, recipe))
    assert torch.equal(torch.cat(labels), many.labels)


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


@pytest.mark.parametrize("what", ["order", "augmentation"])
def test_the_seed_decides_order_and_augmentation_and_leaves_the_callers_state(few, what):
    def trained(seed):
        batch_size, augment = (32, ()) if what == "order" else (80, (Rotate(15),))
        network = tiny()
        torch.seed()  # what was drawn before a run has no say
        before = torch.get_rng_state()
        textbook_fit(network, few, Recipe(2, batch_size, 0.01, augment=augment, seed=seed))
        assert torch.equal(torch.get_rng_state(), before)
        return network[-1].weight

    first = trained(0)
    assert torch.equal(first, trained(0))
    assert not torch.allclose(first, trained(1), rtol=1e-3, atol=1e-4)


def sgd(network, recipe, num_batches):
    assert num_batches == 3
    optimizer = torch.optim.SGD(network.parameters(), recipe.lr)
    return optimizer, lr_scheduler.StepLR(optimizer, 1, 0.9), lr_scheduler.StepLR(optimizer, 1, 0.5)


@pytest.mark.parametrize("schedule", [None, OneCycle(0.05, pct_start=0.4), StepDown(1, 0.1), sgd])
def test_a_run_is_the_loop_of_every_tutorial(few, schedule):
    own = {"optimizer_of": sgd} if schedule is sgd else {}
    recipe = Recipe(3, 32, 0.01, schedule=None if own else schedule, weight_decay=1e-2,
                    label_smoothing=0.1, seed=3)  # fmt: skip
    ours, plain = tiny().eval(), tiny()
    accuracies = textbook_fit(ours, few, recipe, **own)

    torch.manual_seed(3)
    splits = [
        TensorDataset(normal(split.images, recipe), split.labels)
        for split in (few.train, few.validation)
    ]
    train, validation = DataLoader(splits[0], 32, shuffle=True), DataLoader(splits[1], 1_000)
    optimizer = torch.optim.Adam(plain.parameters(), lr=0.01, weight_decay=1e-2)
    per_batch, per_epoch = [], []
    if schedule is sgd:
        optimizer, one, other = sgd(plain, recipe, 3)
        per_batch, per_epoch = [one], [other]
    if isinstance(schedule, OneCycle):
        per_batch = [lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=9, pct_start=0.4)]
    if isinstance(schedule, StepDown):
        per_epoch = [lr_scheduler.StepLR(optimizer, 1, gamma=0.1)]
    for _ in range(3):
        plain.train()
        for images, labels in train:
            optimizer.zero_grad()
            F.cross_entropy(plain(images), labels, label_smoothing=0.1).backward()
            optimizer.step()
            for one in per_batch:
                one.step()
        for one in per_epoch:
            one.step()
        ((images, labels),) = validation  # it takes a number from the generator when it starts
        right = plain.eval()(images).argmax(1) == labels

    for name, value in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-3, atol=1e-5)
    assert len(accuracies) == 3 and accuracies[-1] == pytest.approx(right.double().mean())


def test_a_run_uses_none_of_what_makes_fit_fast(few):
    seen = []
    network = nn.Sequential(nn.Conv2d(1, 4, 5, stride=3), nn.Dropout(0.5), nn.Flatten(),
                            nn.Linear(256, 10))  # fmt: skip
    network[1].register_forward_hook(lambda _, x, y: seen.append((y.is_contiguous(), y.dtype)))
    with torch.profiler.profile() as profile:
        textbook_fit(network, few, Recipe(1, 32, 0.01))
    assert set(seen) == {(True, torch.float32)}
    kernels = {event.key for event in profile.key_averages()}
    assert "aten::dropout" in kernels and not any("fused" in kernel for kernel in kernels)

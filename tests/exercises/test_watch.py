"""What is seen of an answer from beside it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mnist_lab.exercises import watch
from mnist_lab.exercises.question import Wrong

SCORES, LABELS = torch.randn(5, 10), torch.arange(5)
BATCHES = [(torch.randn(4, 1, 4, 4), torch.arange(4)), (torch.randn(4, 1, 4, 4), torch.arange(4))]
WEIGHT = torch.randn(10, 16)


def by_hand(scores, labels):
    return (scores.logsumexp(1) - scores[torch.arange(len(labels)), labels]).mean()


def step(network, optimizer, images, labels):
    network.train()
    loss = F.cross_entropy(network(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def test_the_slopes_of_a_loss_are_autograds():
    scores = SCORES.clone().requires_grad_()
    F.cross_entropy(scores, LABELS).backward()
    torch.testing.assert_close(watch.gradient_of_loss(by_hand, SCORES, LABELS), scores.grad)


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (F.cross_entropy, "ready-made loss"),
        (lambda *case: by_hand(*case).item(), "a tensor"),
        (lambda *case: by_hand(*case).detach(), "cannot go backward"),
        (lambda scores, labels: torch.ones(1, requires_grad=True), "not to the scores"),
    ],
)
def test_a_loss_that_is_none_is_told(loss, said):
    with pytest.raises(Wrong, match=said):
        watch.gradient_of_loss(loss, SCORES, LABELS)


def test_the_moves_of_a_step_are_the_optimizers():
    moves = watch.moves_of(step, "SGD", {"lr": 0.5}, WEIGHT, BATCHES)
    network = nn.Linear(16, 10, bias=False)
    network.weight.data = WEIGHT.clone()
    loss = F.cross_entropy(network(BATCHES[0][0].flatten(1)), BATCHES[0][1])
    (slopes,) = torch.autograd.grad(loss, network.weight)
    torch.testing.assert_close(moves[0], -0.5 * slopes)
    assert len(watch.losses_of(step, "SGD", {"lr": 0.5}, WEIGHT, BATCHES)) == 2


def idle(network, optimizer, images, labels):
    return network(images).sum()


def evaluating(network, optimizer, images, labels):
    network.eval()
    network(images).sum().backward()
    optimizer.step()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda *_: None, "never asks the network"),
        (idle, "`eval\\(\\)` while it learns"),
        (evaluating, "`eval\\(\\)` while it learns"),
    ],
)
def test_a_step_that_is_none_is_told(answer, said):
    with pytest.raises(Wrong, match=said):
        watch.moves_of(answer, "SGD", {"lr": 0.5}, WEIGHT, BATCHES)


def test_a_loss_with_its_graph_is_told():
    def keeps(*case):
        step(*case)
        return case[0](case[2]).sum()

    with pytest.raises(Wrong, match="all that it was computed from"):
        watch.losses_of(keeps, "SGD", {"lr": 0.5}, WEIGHT, BATCHES)


def test_the_rates_that_an_optimizer_stepped_with_are_seen():
    def rates(optimizer, batches, epochs, max_lr, share):
        for k in range(batches * epochs):
            optimizer.param_groups[0]["lr"] = k
            optimizer.step()
        return "found"

    assert watch.rates_of(rates, 2, 3, 0.1, 0.2) == ("found", [0, 1, 2, 3, 4, 5])
    with pytest.raises(Wrong, match="takes no step"):
        watch.rates_of(lambda *_: None, 2, 3, 0.1, 0.2)


def test_a_network_asked_in_training_mode_is_told():
    network = nn.Sequential(
        nn.Flatten(), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 10)
    )

    def accuracy(network, batches):
        for images, _ in batches:
            network(images)
        return 0.5

    with pytest.raises(Wrong, match="in training mode"):
        watch.accuracy_of(accuracy, network.train(), BATCHES)
    assert watch.accuracy_of(accuracy, network.eval(), BATCHES) == 0.5 and network.training

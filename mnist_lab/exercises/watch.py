"""What is seen of an answer from beside it: where an optimizer, a network or a gradient is asked.

Each takes the answer first, then numbers, texts, tensors or rows of them, and returns such. When
answers are graded, only this runs in their process; a check compares elsewhere. So nothing here
knows what is right.
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mnist_lab.exercises.checks import call_with_copies, expect_kind, refuse
from mnist_lab.exercises.question import Wrong


def loss_by_hand(cross_entropy, scores: Tensor, labels: Tensor):
    """The loss, computed without one of PyTorch's."""
    with _WithoutReadyMadeLosses():
        return cross_entropy(scores, labels)


def gradient_of_loss(cross_entropy, scores: Tensor, labels: Tensor) -> Tensor:
    """The slopes of the loss by the scores, `[N, 10]`."""
    scores = scores.clone().requires_grad_()
    loss = loss_by_hand(cross_entropy, scores, labels)
    expect_kind(loss, Tensor, "the loss", "a tensor")
    refuse((not loss.requires_grad, "the loss cannot go backward(): item(), detach(), …?"))
    (found,) = torch.autograd.grad(loss.sum(), scores, allow_unused=True)
    refuse((found is None, "the loss goes backward(), but not to the scores."))
    return found


class _WithoutReadyMadeLosses(TorchFunctionMode):
    """PyTorch's losses are refused, by whatever name they are called."""

    LOSSES = frozenset({"cross_entropy", "cross_entropy_loss", "nll_loss", "nll_loss_nd", "kl_div"})

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if getattr(function, "__name__", "") in self.LOSSES:
            raise Wrong("it asks a ready-made loss of PyTorch: do it with exp, log and sum.")
        return function(*args, **(kwargs or {}))


def moves_of(train_step, optimizer: str, settings: dict, weight: Tensor, batches: list) -> list:
    """What each batch adds to the weights of a network: see `run_steps`. Steps are watched."""
    return run_steps(_watching(train_step), optimizer, settings, weight, batches)[0]


def losses_of(train_step, optimizer: str, settings: dict, weight: Tensor, batches: list) -> list:
    """What `train_step` returns for each batch; nothing that hangs on the graph."""
    found = run_steps(_watching(train_step), optimizer, settings, weight, batches)[1]
    attached = any(isinstance(loss, Tensor) and loss.requires_grad for loss in found)
    refuse((attached, "it returns the loss with all that it was computed from."))
    return found


def run_steps(
    step, optimizer: str, settings: dict, weight: Tensor, batches: list
) -> tuple[list, list]:
    """What each batch adds to the weights of a new network, and what `step` returns for it.

    `optimizer`: the name of one of PyTorch's; `weight`: `[10, 16]`, of the network's only layer.
    """
    network = _Recording(weight)
    stepping = getattr(torch.optim, optimizer)(network.parameters(), **settings)
    moves, returned = [], []
    for batch in batches:
        before = network.weight.detach().clone()
        returned.append(step(network, stepping, *batch))
        moves.append(network.weight.detach() - before)
    return moves, returned


class _Recording(nn.Linear):
    """Ten scores for pictures of 4×4, and the mode of each time that they were asked for."""

    def __init__(self, weight: Tensor):
        super().__init__(16, 10, bias=False)
        self.weight.data = weight.clone()  # large, so that every step is
        self.modes: list[bool] = []

    def forward(self, images: Tensor) -> Tensor:
        self.modes.append(self.training)
        return super().forward(images.flatten(1))


def _watching(train_step):
    def watched(network, optimizer, images, labels):
        network.eval()
        network.modes.clear()
        steps, before = [], network.weight.detach().clone()
        counting = optimizer.register_step_post_hook(lambda *_: steps.append(1))
        loss = call_with_copies(partial(train_step, network, optimizer), images, labels)
        counting.remove()
        still, gradient = torch.equal(network.weight, before), network.weight.grad
        forgotten = gradient is None or not gradient.any()
        refuse(
            (not network.modes, "it never asks the network: `network(images)`."),
            (not all(network.modes), "the network is in `eval()` while it learns: no dropout."),
            (not steps, "the optimizer takes no step: `optimizer.step()`."),
            (still and forgotten, "the gradient is forgotten before the step."),
            (still, "the step comes before backward(): this batch has no gradient yet."),
        )
        return loss

    return watched


def rates_of(rates, batches: int, epochs: int, max_lr: float, share: float) -> tuple:
    """What `rates` returns, and which rates its optimizer stepped with."""
    used, optimizer = [], torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=0.5)
    hook = optimizer.register_step_pre_hook(
        lambda one, *_: used.append(float(one.param_groups[0]["lr"]))
    )
    found = rates(optimizer, batches, epochs, max_lr, share)
    hook.remove()
    count = batches * epochs
    refuse(
        (not used, "the optimizer takes no step."),
        (len(used) != count, f"{len(used)} steps are taken; it is {epochs} epochs of {batches} "
         f"batches, {count} in all."),
    )  # fmt: skip
    return found, used


def accuracy_of(accuracy, network: nn.Sequential, batches: list):
    """What `accuracy` returns; the second and the fourth layer are in evaluation mode meanwhile."""
    modes = []
    for part in (network[1], network[3]):
        part.register_forward_hook(lambda part, *_: modes.append(part.training))
    found = accuracy(network, batches)
    refuse((any(modes), "the network, or its norm or dropout, is in training mode meanwhile."))
    network.train()  # how it is left is not asked
    return found

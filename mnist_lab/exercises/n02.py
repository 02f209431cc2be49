"""The exercises of notebook 02: a first network."""

import copy
import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode

from mnist_lab.exercises.cases import draw, randint, randn
from mnist_lab.exercises.checks import agrees, as_number, by_example, expect_kind, expect_unchanged
from mnist_lab.exercises.question import Wrong, exercise


@exercise("How large is the map?")
def size_of_a_map(size_after):
    # The remainders of the steps are 0, 1/2, 0, 0, 1/3, 3/4, 2/3 and 1/2.
    cases = [(28, 5, 1, 0), (28, 3, 2, 0), (13, 3, 2, 0), (28, 3, 1, 1), (28, 5, 3, 1),
             (10, 3, 4, 0), (11, 3, 3, 0), (9, 2, 2, 0)]  # fmt: skip
    cases += [_random_window() for _ in range(20)]
    not_whole = "A step that does not fit whole is not made."
    slips = [
        (lambda size, kernel, stride, padding: (size + 2 * padding - kernel) / stride + 1,
         not_whole),
        (lambda size, kernel, stride, padding: (size + 2 * padding - kernel) // stride,
         "Is the first place counted, too?"),
        (lambda size, kernel, stride, padding: (size + padding - kernel) // stride + 1,
         "There is padding on both sides."),
        (lambda size, kernel, stride, padding: (size - kernel) // stride + 1,
         "Where does the padding come in?"),
        (lambda size, kernel, stride, padding: size + 2 * padding - kernel + 1,
         "Where does the stride come in?"),
        (lambda size, kernel, stride, padding: (size + 2 * padding) // stride,
         "A part of the window may not stick out of the picture."),
        (lambda size, kernel, stride, padding: -(-(size + 2 * padding - kernel) // stride) + 1,
         not_whole),
        (lambda size, kernel, stride, padding: round((size + 2 * padding - kernel) / stride) + 1,
         not_whole),
        (lambda size, kernel, stride, padding:
         math.floor((size + 2 * padding - kernel) / stride + 0.5) + 1, not_whole),
    ]  # fmt: skip
    draw_one = "Draw a small one on paper, such as 5 pixels and a window of 3."
    by_example("size_after", size_after, _measured, cases, slips, otherwise=draw_one)


def _random_window() -> tuple[int, ...]:
    kernel = draw.randint(1, 7)
    return draw.randint(kernel, 39), kernel, draw.randint(1, 4), draw.randint(0, 3)


def _measured(size: int, kernel: int, stride: int, padding: int) -> int:
    picture, window = torch.zeros(1, 1, size, size), torch.zeros(1, 1, kernel, kernel)
    return F.conv2d(picture, window, stride=stride, padding=padding).shape[-1]


@exercise("Cross-entropy that bears large scores")
def stable_cross_entropy(cross_entropy):
    @functools.wraps(cross_entropy)
    def by_hand(scores, labels):
        with _WithoutReadyMadeLosses():
            return cross_entropy(scores, labels)

    def gradient(scores, labels):
        scores = scores.requires_grad_()
        loss = by_hand(scores, labels)
        expect_kind(loss, Tensor, "the loss", "a tensor")
        if not loss.requires_grad:
            raise Wrong("the loss cannot go backward(): it was cut off, by item(), detach(), ….")
        (found,) = torch.autograd.grad(loss.sum(), scores, allow_unused=True)
        if found is None:
            raise Wrong("the loss goes backward(), but not to the scores: it is cut off before.")
        return found

    def right_gradient(scores, labels):
        return (scores.softmax(1) - F.one_hot(labels, 10)) / len(labels)

    batches = [(2 * randn(size, 10), randint(0, 10, size)) for size in (8, 1, 5)]
    by_example("cross_entropy", by_hand, F.cross_entropy, batches, SLIPS_OF_THE_LOSS)
    for where, scores, labels in _large_scores():
        by_example("cross_entropy", by_hand, _in_double, [(scores, labels)], tolerance=1e-3,
                   otherwise=f"There, {where}.")  # fmt: skip
    name = "the gradient of cross_entropy"
    for scores, labels in batches:
        found = gradient(scores.clone(), labels)
        if not agrees(found, right_gradient(scores, labels)):
            raise Wrong(f"{name} has other values than expected: is a part of it cut off?")


class _WithoutReadyMadeLosses(TorchFunctionMode):
    """PyTorch's losses are refused, by whatever name they are called."""

    LOSSES = frozenset({"cross_entropy", "cross_entropy_loss", "nll_loss", "nll_loss_nd", "kl_div"})

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if getattr(function, "__name__", "") in self.LOSSES:
            raise Wrong("it asks a ready-made loss of PyTorch: do it with exp, log and sum.")
        return function(*args, **(kwargs or {}))


def _probabilities(scores: Tensor, labels: Tensor, over: int = 1) -> Tensor:
    """What softmax gives the right digit of each row."""
    return scores.softmax(over).gather(1, labels[:, None])


SLIPS_OF_THE_LOSS = [
    (lambda s, y: -F.cross_entropy(s, y),
     "it has the wrong sign: the log of a probability is negative."),
    (lambda s, y: F.cross_entropy(s, y, reduction="sum"),
     "it is the sum over the batch, not the mean."),
    (lambda s, y: F.cross_entropy(s, y, reduction="none"),
     "one number is expected, the mean."),
    (lambda s, y: F.cross_entropy(s, y) / math.log(2),
     "it is the log to the base 2; the natural one is asked for."),
    (lambda s, y: F.cross_entropy(s, y) / math.log(10),
     "it is the log to the base 10; the natural one is asked for."),
    (lambda s, y: -_probabilities(s, y, over=0).log().mean(),
     "softmax runs over the batch; it has to run over the ten scores of each digit."),
    (lambda s, y: -_probabilities(s, y).mean().log(),
     "it is the log of the mean; the mean of the logs is asked for."),
    (lambda s, y: F.cross_entropy(s.softmax(1), y), "softmax was taken twice."),
    (lambda s, y: -s.log_softmax(1).mean(),
     "it is a mean over all ten classes; only the right one counts."),
    (lambda s, y: -s.gather(1, y[:, None]).mean(),
     "a score is not yet a probability: where is the softmax?"),
]  # fmt: skip


def _in_double(scores: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(scores.double(), labels)


def _large_scores() -> list[tuple[str, Tensor, Tensor]]:
    scores, labels, all_rows = randn(6, 10), randint(0, 10, 6), torch.arange(6)
    rows = torch.tensor([1_000.0, -1_000, 0, 300, -300, 0])[:, None]
    large = torch.tensor(1_000.0)
    return [
        ("all scores of some rows are near 1,000", scores + rows.abs(), labels),
        ("all scores of some rows are near -1,000", scores - rows.abs(), labels),
        ("one row lies near 1,000 and another near -1,000", scores + rows, labels),
        ("a wrong digit has a score of 1,000",
         scores.index_put((all_rows, (labels + 1) % 10), large), labels),
        ("the right digit has a score of 1,000", scores.index_put((all_rows, labels), large),
         labels),
    ]  # fmt: skip


@exercise("Find three mistakes")
def three_mistakes(train_step):
    for kind in (
        lambda weights: torch.optim.SGD(weights, lr=draw.uniform(0.02, 0.3), momentum=0.9),
        lambda weights: torch.optim.Adam(weights, lr=draw.uniform(0.02, 0.3), eps=0.1),
    ):
        network = _Recording()
        optimizer = kind(network.parameters())
        for _ in range(2):
            _expect_a_step(train_step, network, optimizer)


class _Recording(nn.Module):
    """Ten scores for pictures of 4×4, and the mode of each time that they were asked for."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(16, 10)
        self.linear.weight.data = randn(10, 16)  # large, so that every step is
        self.modes: list[bool] = []

    def forward(self, images: Tensor) -> Tensor:
        self.modes.append(self.training)
        return self.linear(images.flatten(1))


def _expect_a_step(train_step, network: _Recording, optimizer: Optimizer) -> None:
    size = draw.randint(10, 20)
    images, labels = randn(size, 1, 4, 4), randint(0, 10, size)
    network.eval()
    network.modes.clear()
    before = _copied(network, optimizer)
    given = images.clone(), labels.clone()
    steps: list[int] = []
    counting = optimizer.register_step_post_hook(lambda *_: steps.append(1))
    loss = train_step(network, optimizer, *given)
    counting.remove()
    expect_unchanged(given[0], images, "`images`")
    expect_unchanged(given[1], labels, "`labels`")
    if not network.modes:
        raise Wrong("it never asks the network: `network(images)`.")
    if not all(network.modes):
        raise Wrong("the network is in `eval()` while it learns: its dropout would be off.")
    if not steps:
        raise Wrong("the optimizer takes no step: `optimizer.step()`.")
    _expect_its_weights(network, before, images, labels)
    if isinstance(loss, Tensor) and loss.requires_grad:
        raise Wrong("it returns the loss with all that it was computed from; a number is expected.")
    expected = F.cross_entropy(before[0](images), labels).item()
    if not agrees(as_number(loss, "what `train_step` returns"), expected):
        raise Wrong(f"it returns {float(loss):.4f}; the loss before the step was {expected:.4f}.")


def _expect_its_weights(network: _Recording, before: tuple, images: Tensor, labels: Tensor) -> None:
    """The weights moved from what they were `before` as they do in a right step."""

    def moved(to: nn.Module) -> Tensor:
        return (to.linear.weight - before[0].linear.weight).detach()

    def by(order: str, softmax: bool = False) -> Tensor:
        stepped, optimizer = _copied(*before)
        _step(stepped, optimizer, images, labels, order, softmax)
        return moved(stepped)

    found, gradient = moved(network), network.linear.weight.grad
    if agrees(found, by("zero, backward, step"), 1e-3):
        return
    twice = "softmax is taken twice: cross_entropy wants the scores."
    added = "the step follows the batch before, too: gradients add up until forgotten."
    early = "the step comes before backward(): the gradient of this batch is not there yet."
    if not found.any():
        forgotten = gradient is None or not gradient.any()
        raise Wrong("the gradient is forgotten before the step." if forgotten else early)
    for expected, why in (
        (by("zero, backward, step", softmax=True), twice),
        (by("backward, step"), added),
        (by("backward, step", softmax=True), added),
        (by("step"), early),
        (by("zero, backward, step, step"), "it takes two steps."),
    ):
        if agrees(found, expected, 1e-3):
            raise Wrong(why)
    raise Wrong("the step does not follow the gradient of the mean cross-entropy, downwards.")


def _copied(network: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
    """Copies that belong to each other; a parameter's own copy would have no gradient."""
    copies = copy.deepcopy((network, optimizer))
    for now, before in zip(copies[0].parameters(), network.parameters()):
        now.grad = None if before.grad is None else before.grad.clone()
    return copies


def _step(network, optimizer, images, labels, order: str, softmax: bool) -> None:
    scores = network.train()(images)
    loss = F.cross_entropy(scores.softmax(1) if softmax else scores, labels)
    calls = {"zero": optimizer.zero_grad, "backward": loss.backward, "step": optimizer.step}
    for name in order.split(", "):
        calls[name]()

"""The exercises of notebook 02: a first network."""

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_lab.exercises.checks import as_number, expect_kind, expect_tensor, expect_unchanged
from mnist_lab.exercises.question import Wrong, exercise


@exercise(
    title="How large is the map?",
    task="""
        A window of `kernel` × `kernel` slides over a picture of `size` × `size` pixels, `stride`
        pixels at a time. Before that, `padding` rows and columns of zeros are put around the
        picture, on every side. How many places does the window have in a row? Write a function that
        knows it for any numbers. In the table of section 2, 28 became 13, and 13 became 6.
    """,
    start="""
        def size_after(size, kernel, stride, padding):
            return ...
    """,
    hint="""
        At first the window lies at the left edge. How many pixels are left on its right, and how
        many whole steps fit into them?
    """,
    solution="""
        def size_after(size, kernel, stride, padding):
            return (size + 2 * padding - kernel) // stride + 1
    """,
    right="""
        The first place, and one more for each step that fits. What is left over at the edge is
        never seen, which is why 28 and 27 pixels both become 13.
    """,
)
def size_of_a_map(size_after):
    fixed = [(28, 5, 1, 0), (28, 3, 2, 0), (13, 3, 2, 0), (28, 3, 1, 1), (28, 5, 3, 1)]
    for size, kernel, stride, padding in fixed + [_random_window() for _ in range(20)]:
        found = as_number(size_after(size, kernel, stride, padding), "what `size_after` returns")
        expected = _measured(size, kernel, stride, padding)
        if found != expected:
            asked = f"size {size}, kernel {kernel}, stride {stride}, padding {padding}"
            why = _why(found, size, kernel, stride, padding)
            raise Wrong(f"for {asked} it says {found:.4g}; a convolution makes {expected}. {why}")


def _random_window() -> tuple[int, ...]:
    kernel = int(torch.randint(1, 8, ()))
    size = int(torch.randint(kernel, 40, ()))
    return size, kernel, int(torch.randint(1, 5, ())), int(torch.randint(0, 4, ()))


def _measured(size: int, kernel: int, stride: int, padding: int) -> int:
    picture, window = torch.zeros(1, 1, size, size), torch.zeros(1, 1, kernel, kernel)
    return F.conv2d(picture, window, stride=stride, padding=padding).shape[-1]


def _why(found: float, size: int, kernel: int, stride: int, padding: int) -> str:
    """What may have gone wrong where one of the known slips gives the same number."""
    steps = (size + 2 * padding - kernel) // stride
    slips = {
        (size + 2 * padding - kernel) / stride + 1: "A step that does not fit whole is not made.",
        float(steps): "Is the first place counted, too?",
        (size + padding - kernel) // stride + 1: "There is padding on both sides.",
        (size - kernel) // stride + 1: "Where does the padding come in?",
        (size + 2 * padding - kernel) + 1: "Where does the stride come in?",
        (size + 2 * padding) // stride: "A part of the window may not stick out of the picture.",
        -(-(size + 2 * padding - kernel) // stride) + 1: "A step that does not fit is not made.",
    }
    return slips.get(found, "Draw a small one on paper, such as 5 pixels and a window of 3.")


@exercise(
    title="Cross-entropy that bears large scores",
    task="""
        Write `cross_entropy(scores, labels)` for scores `[B, 10]` and labels `[B]`: the mean of
        −log(probability that softmax gives the right digit), a tensor of one number on which
        `backward()` can be called. Do it with `exp`, `log`, `sum` and the like, not with PyTorch's
        ready-made losses. The two lines of section 3 are right, but only nearly always: what do
        they make of a score of 1,000? Yours must be right there, too.
    """,
    start="""
        import torch


        def cross_entropy(scores, labels):
            return ...
    """,
    hint="""
        Softmax stays the same when one number is taken off all ten scores of a row, such as the
        largest. And the log of a quotient is a difference, in which no exp is left above.
    """,
    solution="""
        import torch


        def cross_entropy(scores, labels):
            scores = scores - scores.max(1, keepdim=True).values
            right = scores[torch.arange(len(labels)), labels]
            return (scores.exp().sum(1).log() - right).mean()
    """,
    right="""
        This is why PyTorch wants the scores, and no probabilities: the exp of a large one does not
        fit into 32 bits, and the log of a small probability is lost.
    """,
)
def stable_cross_entropy(cross_entropy):
    for batch in (8, 1):
        scores, labels = 2 * torch.randn(batch, 10), torch.randint(10, (batch,))
        before = scores.clone(), labels.clone()
        loss = cross_entropy(scores, labels)
        expect_unchanged(scores, before[0], "`scores`")
        expect_unchanged(labels, before[1], "`labels`")
        _expect_loss(loss, *before)
    _expect_large_scores(cross_entropy)
    _expect_gradient(cross_entropy)


def _expect_loss(loss, scores: Tensor, labels: Tensor) -> None:
    expect_kind(loss, Tensor, "the loss", "a tensor")
    if loss.numel() != 1:
        raise Wrong(f"the loss has the shape {list(loss.shape)}: one number is expected, the mean.")
    loss, expected = loss.detach().double().reshape(()), F.cross_entropy(scores, labels)
    other_way = scores.softmax(0)[torch.arange(len(labels)), labels]
    slips = {
        "it has the wrong sign: the log of a probability is negative": -expected,
        "it is the sum over the batch, not the mean": expected * len(labels),
        "it is the log to the base 2; the natural one is meant": expected / math.log(2),
        "it is the log to the base 10; the natural one is meant": expected / math.log(10),
        "softmax runs over the batch; it has to run over the ten scores of each digit":
            -other_way.log().mean(),
        "it is the log of the mean; the mean of the logs is meant":
            -(-F.cross_entropy(scores, labels, reduction="none")).exp().mean().log(),
        "softmax was taken twice": F.cross_entropy(scores.softmax(1), labels),
        "it is a mean over all ten classes; only the right one counts":
            -scores.log_softmax(1).mean(),
        "a score is not yet a probability: where is the softmax?":
            -scores.gather(1, labels[:, None]).mean(),
    }  # fmt: skip
    if _near(loss, expected):
        return
    for slip, value in slips.items():
        if _near(loss, value):
            raise Wrong(f"{slip}.")
    raise Wrong(f"for ordinary scores the loss is {loss:.4f}; {expected:.4f} is expected.")


def _near(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs() <= 1e-4 * (1 + other.abs()))


def _expect_large_scores(cross_entropy) -> None:
    scores, labels = torch.randn(6, 10), torch.randint(10, (6,))
    rows = torch.tensor([1_000.0, -1_000, 0, 300, -300, 0])[:, None]
    cases = {
        "all scores of some rows are near 1,000": scores + rows.abs(),
        "all scores of some rows are near -1,000": scores - rows.abs(),
        "one row lies near 1,000 and another near -1,000": scores + rows,
        "a wrong digit has a score of 1,000": scores.index_put(
            (torch.arange(6), (labels + 1) % 10), torch.tensor(1_000.0)
        ),
        "the right digit has a score of 1,000": scores.index_put(
            (torch.arange(6), labels), torch.tensor(1_000.0)
        ),
    }
    for case, large in cases.items():
        loss = cross_entropy(large.clone(), labels)
        expect_kind(loss, Tensor, "the loss", "a tensor")
        loss, expected = loss.detach().double().sum(), F.cross_entropy(large.double(), labels)
        if not _near(loss, expected):
            raise Wrong(f"where {case}, the loss is {loss:.4g}; {expected:.4g} is expected.")


def _expect_gradient(cross_entropy) -> None:
    scores, labels = torch.randn(5, 10, requires_grad=True), torch.randint(10, (5,))
    loss = cross_entropy(scores, labels)
    if not loss.requires_grad:
        raise Wrong("the loss cannot go backward(): it was cut off, by item(), detach() or numpy.")
    (gradient,) = torch.autograd.grad(loss.sum(), scores, allow_unused=True)
    if gradient is None:
        raise Wrong("the loss goes backward(), but not to the scores: it is cut off on the way.")
    (expected,) = torch.autograd.grad(F.cross_entropy(scores, labels), scores)
    expect_tensor(gradient, expected, "the gradient of the loss", tolerance=1e-5)


@exercise(
    title="Find three mistakes",
    task="""
        `train_step` is to take one step with one batch, and to return the loss from before that
        step as a number. It raises no error, and a network trained with it even learns something.
        But three lines are wrong, missing or in the wrong place. Mend them. (`optimizer` may be any
        optimizer of the parameters of `network`; and somebody may have used the network before, in
        `eval()`.)
    """,
    start="""
        import torch.nn.functional as F


        def train_step(network, optimizer, images, labels):
            network.eval()
            probabilities = network(images).softmax(dim=1)
            loss = F.cross_entropy(probabilities, labels)
            loss.backward()
            optimizer.step()
            return loss.item()
    """,
    hint="""
        Compare it with the loop of section 4, line by line. And read what `F.cross_entropy` wants:
        scores or probabilities?
    """,
    solution="""
        import torch.nn.functional as F


        def train_step(network, optimizer, images, labels):
            network.train()
            loss = F.cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.item()
    """,
    right="""
        None of the three raises an error, and each makes a network worse: that is what
        makes them hard to find. Comparing a step with one computed by hand finds them all.
    """,
)
def three_mistakes(train_step):
    network = _Recording()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(3):
        network.eval()
        network.modes.clear()
        images, labels = torch.randn(16, 1, 4, 4), torch.randint(10, (16,))
        before, left = copy.deepcopy(network), _gradient_of(network)
        loss = train_step(network, optimizer, images.clone(), labels.clone())
        if not network.modes:
            raise Wrong("it never asks the network: `network(images)`.")
        if not all(network.modes):
            raise Wrong("the network is in `eval()` while it learns: its dropout would be off.")
        _expect_step(network, before, left, images, labels)
        expected = F.cross_entropy(before(images), labels).item()
        if abs(as_number(loss, "what `train_step` returns") - expected) > 1e-4:
            raise Wrong(
                f"it returns {float(loss):.4f}; the loss before the step was {expected:.4f}."
            )


class _Recording(nn.Module):
    """Ten scores for pictures of 4×4, and the mode of each time that they were asked for."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(16, 10)
        nn.init.normal_(self.linear.weight)  # large, so that every step is
        self.modes: list[bool] = []

    def forward(self, images: Tensor) -> Tensor:
        self.modes.append(self.training)
        return self.linear(images.flatten(1))


def _expect_step(network, before, left: Tensor, images: Tensor, labels: Tensor) -> None:
    """The weights moved from `before` by 0.1 times the gradient of this batch, downwards.

    `left`: the gradient that the batch before left behind.
    """
    move = (before.linear.weight - network.linear.weight).detach() / 0.1
    scores = before(images)
    right = _gradient(before, F.cross_entropy(scores, labels))
    twice = _gradient(before, F.cross_entropy(scores.softmax(1), labels))
    if _close(move, right):
        return
    if not move.any() and _gradient_of(network).any():
        raise Wrong("the weights do not move, for the step comes before there is a gradient.")
    if not move.any():
        raise Wrong("the weights do not move: no step is taken, or there is no gradient by then.")
    if _close(move, twice):
        raise Wrong("softmax is taken twice: cross_entropy wants the scores, and takes it itself.")
    if _close(move, left + right) or _close(move, left + twice):
        raise Wrong("the step follows the batch before, too: gradients add up until forgotten.")
    raise Wrong("the step is not lr times the gradient of the mean cross-entropy, downwards.")


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, atol=1e-4)


def _gradient(network: nn.Module, loss: Tensor) -> Tensor:
    return torch.autograd.grad(loss, network.linear.weight, retain_graph=True)[0]


def _gradient_of(network: nn.Module) -> Tensor:
    """What the network's weights have as their gradient at the moment."""
    weight = network.linear.weight
    return torch.zeros_like(weight) if weight.grad is None else weight.grad.clone()

"""The exercises of notebook 02: a first network."""

import functools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mnist_lab.exercises import watch
from mnist_lab.exercises.cases import draw, rand, randint, randn
from mnist_lab.exercises.checks import by_example
from mnist_lab.exercises.question import exercise, watched


@exercise("How large is the map?")
def size_of_a_map(size_after):
    def measured(size, kernel, stride, padding):
        picture, window = torch.zeros(1, 1, size, size), torch.zeros(1, 1, kernel, kernel)
        return F.conv2d(picture, window, stride=stride, padding=padding).shape[-1]

    def rounded(whole):
        return lambda n, k, s, p: whole((n + 2 * p - k) / s) + 1

    not_whole = "A step that does not fit whole is not made."
    slips = [
        (lambda n, k, s, p: (n + 2 * p - k) // s, "Is the first place counted, too?"),
        (lambda n, k, s, p: (n + p - k) // s + 1, "There is padding on both sides."),
        (lambda n, k, s, p: (n - k) // s + 1, "Where does the padding come in?"),
        (lambda n, k, s, p: n + 2 * p - k + 1, "Where does the stride come in?"),
        (
            lambda n, k, s, p: (n + 2 * p) // s,
            "No part of the window may stick out of the picture.",
        ),
        (rounded(float), not_whole),
        (rounded(math.ceil), not_whole),
        (rounded(round), not_whole),
        (rounded(lambda steps: math.floor(steps + 0.5)), not_whole),
    ]
    # The remainders of the steps are 0, 1/2, 0, 0, 1/3, 3/4, 2/3 and 1/2.
    cases = [(28, 5, 1, 0), (28, 3, 2, 0), (13, 3, 2, 0), (28, 3, 1, 1), (28, 5, 3, 1)]
    cases += [(10, 3, 4, 0), (11, 3, 3, 0), (9, 2, 2, 0)]
    for kernel in [draw.randint(1, 7) for _ in range(20)]:
        cases.append((draw.randint(kernel, 39), kernel, draw.randint(1, 4), draw.randint(0, 3)))
    draw_one = "Draw a small one on paper, such as 5 pixels and a window of 3."
    by_example("size_after", size_after, measured, cases, slips, otherwise=draw_one)


@exercise("Cross-entropy that bears large scores")
def stable_cross_entropy(cross_entropy):
    def by_hand(scores, labels):
        return watched(watch.loss_by_hand, cross_entropy, scores, labels)

    def gradient(scores, labels):
        return watched(watch.gradient_of_loss, cross_entropy, scores, labels)

    def right_gradient(scores, labels):
        return (scores.softmax(1) - F.one_hot(labels, 10)) / len(labels)

    def in_double(scores, labels):
        return F.cross_entropy(scores.double(), labels)

    def of_labels(s, y):  # the scores, or probabilities, of the right digits
        return s.gather(1, y[:, None])

    slips = [
        (lambda s, y: -F.cross_entropy(s, y), "it has the wrong sign: a log below 1 is negative."),
        (lambda s, y: F.cross_entropy(s, y, reduction="sum"), "it is the sum over the batch."),
        (lambda s, y: F.cross_entropy(s, y, reduction="none"), "one number is expected, the mean."),
        (lambda s, y: F.cross_entropy(s, y) / math.log(2), "it is the log to the base 2."),
        (lambda s, y: F.cross_entropy(s, y) / math.log(10), "it is the log to the base 10."),
        (lambda s, y: -of_labels(s.log_softmax(0), y).mean(), "softmax runs over the batch."),
        (lambda s, y: -of_labels(s.softmax(1), y).mean().log(), "it is the log of the mean."),
        (lambda s, y: F.cross_entropy(s.softmax(1), y), "softmax was taken twice."),
        (lambda s, y: -s.log_softmax(1).mean(), "of all ten classes only the right one counts."),
        (lambda s, y: -of_labels(s, y).mean(), "a score is not yet a probability: softmax?"),
    ]
    batches = [(2 * randn(size, 10), randint(0, 10, size)) for size in (8, 1, 5)]
    by_example("cross_entropy", by_hand, F.cross_entropy, batches, slips)
    scores, rows = randn(6, 10), torch.arange(6)
    labels = scores.argmin(1)  # far from the loss of equal scores, which is what clamped ones have
    apart, large = torch.tensor([[1e3], [-1e3], [0], [300], [-300], [0]]), torch.tensor(1e3)
    for large_scores, where in (
        (scores + apart.abs(), "all scores of some rows are near 1,000"),
        (scores - apart.abs(), "all scores of some rows are near -1,000"),
        (scores + apart, "one row lies near 1,000 and another near -1,000"),
        (scores.index_put((rows, (labels + 1) % 10), large), "a wrong digit has a score of 1,000"),
        (scores.index_put((rows, labels), large), "the right digit has a score of 1,000"),
    ):
        case, there = (large_scores, labels), f"There, {where}."
        by_example("cross_entropy", by_hand, in_double, [case], tolerance=1e-3, otherwise=there)
    otherwise = "Is a part of it cut off?"
    by_example("the gradient", gradient, right_gradient, batches, otherwise=otherwise)


@exercise("Find three mistakes")
def three_mistakes(train_step):
    def moves(step):
        return lambda *case: watch.run_steps(step, *case)[0]

    added = "the step follows the batch before, too: gradients add up until forgotten."
    twice = "softmax is taken twice: cross_entropy wants the scores."
    slips = [
        (moves(_step("zero backward step", softmax=True)), twice),
        (moves(_step("backward step")), added),
        (moves(_step("backward step", softmax=True)), added),
        (moves(_step("zero backward step step")), "it takes two steps."),
    ]
    right = _step("zero backward step")
    momentum = "SGD", {"lr": draw.uniform(0.02, 0.3), "momentum": 0.9}
    adam = "Adam", {"lr": draw.uniform(0.02, 0.3), "eps": 0.1}
    cases = [(*kind, randn(10, 16), [_batch(), _batch()]) for kind in (momentum, adam)]
    way, before = "Does it follow the gradient, downwards?", "It is the loss before the step."
    by_example(
        "the way of the weights",
        lambda *case: watched(watch.moves_of, train_step, *case),
        moves(right),
        cases,
        slips,
        tolerance=1e-3,
        otherwise=way,
    )
    by_example(
        "the loss",
        lambda *case: watched(watch.losses_of, train_step, *case),
        lambda *case: watch.run_steps(right, *case)[1],
        cases,
        otherwise=before,
    )


def _batch() -> tuple[Tensor, Tensor]:
    size = draw.randint(10, 20)
    return randn(size, 1, 4, 4), randint(0, 10, size)


def _step(order: str, softmax: bool = False) -> Callable:
    """A step of training in this order."""

    def step(network, optimizer, images, labels):
        scores = network.train()(images)
        loss = F.cross_entropy(scores.softmax(1) if softmax else scores, labels)
        calls = {"zero": optimizer.zero_grad, "backward": loss.backward, "step": optimizer.step}
        for name in order.split():
            calls[name]()
        return loss.detach()

    return step


@exercise("A step of Adam")
def step_of_adam(next_adam):
    def adam(
        g_share=0.1,
        fair=lambda mean, beta, step: mean / (1 - beta**step),
        fair_size=None,
        move=lambda mean, size: mean / (size.sqrt() + 1e-8),
        sign=1,
        keep_fair=False,
        momentum_of=lambda mean, gradient: mean,
    ):
        def step_with(weight, gradient, momentum, size, step, lr):
            momentum = 0.9 * momentum + g_share * gradient
            size = 0.999 * size + 0.001 * gradient**2
            mean = fair(momentum, 0.9, step)
            fair_one = (fair_size or fair)(size, 0.999, step)
            weight = weight - sign * lr * move(momentum_of(mean, gradient), fair_one)
            return (weight, mean, fair_one) if keep_fair else (weight, momentum, size)

        return step_with

    def as_it_is(mean, beta, step):
        return mean

    right = adam()
    slips = [
        (adam(sign=-1), "it goes uphill: the step is taken off."),
        (adam(fair=as_it_is), "both means begin at 0: divide them by 1 - 0.9**step and so on."),
        (adam(fair_size=as_it_is), "the mean of the squares is too small at first, too."),
        (
            adam(fair=as_it_is, fair_size=lambda mean, beta, step: mean / (1 - beta**step)),
            "the momentum is too small at first, too.",
        ),
        (
            adam(fair=lambda mean, beta, step: mean / (1 - beta ** (step + 1))),
            "the first step has the number 1.",
        ),
        (adam(move=lambda mean, size: mean / (size + 1e-8)), "divide by the root of the size."),
        (adam(g_share=1.0), "of the new gradient a tenth enters the momentum."),
        (adam(keep_fair=True), "what is remembered is the means before the two divisions."),
        (adam(momentum_of=lambda mean, gradient: gradient), "it steps by the momentum."),
    ]
    cases = [_adam_case(step) for step in (3, 1, 2, 10, draw.randint(4, 40))]
    by_example("next_adam", next_adam, right, cases, slips)
    still = torch.zeros(4)
    nothing, tiny = (still, still, still, still, 1, 0.1), 3e-5 * torch.tensor([1.0, -1, 1, -1])
    zero = "There, all gradients are 0: the small number below keeps the step at 0, too."
    by_example("next_adam", next_adam, right, [nothing], otherwise=zero)
    where = "There, the gradients are tiny: 1e-8 is added to the root of the corrected size."
    small = (still, tiny, still, still, 1, 0.1)
    by_example("next_adam", next_adam, right, [small], otherwise=where)


def _adam_case(step: int) -> tuple:
    """Weights near 0, so that it is the step that counts, and what is remembered after some. No
    gradient is near 0, where the small number below would count."""
    remembered = (torch.zeros(6), torch.zeros(6)) if step == 1 else (randn(6), rand(6) + 0.2)
    gradient = randn(6).sign() * (rand(6) + 0.3)
    return (randn(6) / 10, gradient, *remembered, step, draw.uniform(0.05, 0.3))


@exercise("Find three mistakes in the way back")
def mistakes_in_the_way_back(slopes):
    def back(x, wanted, w1, b1, w2, b2, twice=2, relu=True, through=True):
        z = w1 * x + b1
        h = max(z, 0.0)
        d_y = twice * (w2 * h + b2 - wanted)
        d_z = d_y * (w2 if through else h)
        d_z = d_z if z > 0 or not relu else 0.0
        return d_z * x, d_z, d_y * h, d_y

    square = "the slope of a square is twice what is squared."
    factor = "h enters y times w2: how much does y grow when h does?"
    closed = "where z is below 0, ReLU lets no slope through."
    slips = [
        (functools.partial(back, twice=twice, relu=relu, through=through), sentence)
        for twice, relu, through, sentence in (
            (1, True, True, square),
            (2, True, False, factor),
            (2, False, True, closed),
            (1, True, False, square),
            (1, False, True, square),
            (2, False, False, factor),
            (1, False, False, square),
        )
    ]
    cases = [_toy_case(above) for above in (True, False, True, False)]
    by_example("slopes", slopes, back, cases, slips, otherwise="Follow section 4 line by line.")


def _toy_case(above: bool) -> tuple:
    """Numbers for the toy of section 4, with z above 0 or below; w2 is below 0, as h never is."""
    x, w1 = draw.choice([-1, 1]) * draw.uniform(0.6, 2), draw.uniform(0.6, 2)
    w1 = w1 if (x > 0) == above else -w1
    b1, w2, b2 = draw.uniform(-0.2, 0.2), -draw.uniform(0.5, 2), draw.uniform(-1, 1)
    y = w2 * max(w1 * x + b1, 0.0) + b2
    return x, y + draw.choice([-1, 1]) * draw.uniform(0.5, 2), w1, b1, w2, b2


@exercise("What will a training cost?")
def cost_of_training(estimate):
    def right(digits, batch_size, epochs, macs, per_second):
        return -(-digits // batch_size) * epochs, 3 * macs * digits * epochs / per_second

    def slip(steps=lambda d, b, e: -(-d // b) * e, macs=lambda d, b, e: 3 * d * e):
        return lambda d, b, e, m, s: (steps(d, b, e), macs(d, b, e) * m / s)

    slips = [
        (slip(lambda d, b, e: d // b * e), "the last batch is smaller, but it is a step, too."),
        (slip(lambda d, b, e: -(-d * e // b)), "each epoch ends with a smaller batch."),
        (slip(lambda d, b, e: d * e / b), "there are only whole steps."),
        (slip(lambda d, b, e: -(-d // b)), "those are the steps of one epoch."),
        (slip(macs=lambda d, b, e: d * e), "where is the way back?"),
        (slip(macs=lambda d, b, e: 2 * d * e), "the way back costs two more: how many in all?"),
        (slip(macs=lambda d, b, e: 3 * d), "those are the seconds of one epoch."),
        (slip(macs=lambda d, b, e: 3 * -(-d // b) * b * e), "the last batch is not full."),
        (slip(macs=lambda d, b, e: 3 * -(-d // b) * e), "a step asks for a batch, not a digit."),
    ]
    cases = [(10_000, 128, 2, 59_400, 2e9), (1_000, 300, 3, 7_840, 1e9)]
    for _ in range(4):
        batch_size, epochs = draw.randint(20, 300), draw.randint(2, 20)
        digits = batch_size * draw.randint(5, 100) + draw.randint(1, batch_size - 1)
        cases.append((digits, batch_size, epochs, draw.randint(10_000, 900_000), 1e9))
    cases.append((1_280, 128, 1, 50_000, 1e9))  # no batch is smaller
    by_example("estimate", estimate, right, cases, slips)

"""The exercises of notebook 06: a stepwise schedule, calibration, a map in two steps, looks."""

import random
from itertools import pairwise

import torch

from mnist_lab.exercises.checks import (
    as_number,
    expect_function,
    expect_kind,
    expect_number,
    expect_shape,
    expect_tensor,
)
from mnist_lab.exercises.question import Wrong, exercise


@exercise(
    title="Down by steps",
    task="""
    Write `lr_at(epoch, lr, step_size, gamma)`: the learning rate in `epoch` 1, 2, 3, … of a
    schedule that begins with `lr` and multiplies it by `gamma` after every `step_size` epochs.
    """,
    start="""
    def lr_at(epoch, lr, step_size, gamma):
        return ...
    """,
    hint="""
    How often has it been multiplied in epoch 15 of the recipe, with a step of 15, and how often in
    epoch 16? Whole-number division, `//`, counts.
    """,
    solution="""
    def lr_at(epoch, lr, step_size, gamma):
        return lr * gamma ** ((epoch - 1) // step_size)
    """,
    right="""
    Off by one is the usual mistake here: the fifteenth epoch still has the old rate.
    """,
)
def down_by_steps(lr_at):
    expect_function(lr_at, "lr_at")
    _compare_rates(lr_at, 1, 0.001, 15, 0.1, "nothing has been multiplied in the first epoch.")
    _compare_rates(lr_at, 15, 0.001, 15, 0.1, "the fifteenth epoch still has the first rate.")
    _compare_rates(lr_at, 16, 0.001, 15, 0.1, "after 15 epochs the rate falls to a tenth.")
    _compare_rates(lr_at, 31, 0.001, 15, 0.1, "after 30 epochs it falls once more.")
    for _ in range(20):
        numbers = random.randint(1, 60), random.uniform(0.01, 1), random.randint(1, 9)
        _compare_rates(lr_at, *numbers, random.uniform(0.1, 0.9), "other schedules are asked, too.")


def _compare_rates(lr_at, epoch: int, lr: float, step_size: int, gamma: float, why: str) -> None:
    call = f"lr_at({epoch}, {lr:.4g}, {step_size}, {gamma:.3g})"
    found, expected = as_number(lr_at(epoch, lr, step_size, gamma), call), lr
    for _ in range((epoch - 1) // step_size):
        expected *= gamma
    if not abs(found - expected) < 1e-6 * expected:
        raise Wrong(f"{call} is {found:.6g}; {expected:.6g} is expected: {why}")


@exercise(
    title="How much is its certainty worth?",
    task="""
    Write `calibration_error(confidence, right, edges)`. `confidence` is a tensor of probabilities,
    `right` a tensor of True and False of the same length, and `edges` a list such as
    `[0.0, 0.5, 0.9, 1.0]`. A bin holds the answers whose confidence is above one edge and up to the
    next. For each bin that holds answers, take the distance between their mean confidence and the
    share that is right; return the mean of these distances, each weighed by how many answers its
    bin holds. This is the *expected calibration error*.
    """,
    start="""
    def calibration_error(confidence, right, edges):
        return ...
    """,
    hint="""
    `zip(edges[:-1], edges[1:])` gives the two ends of each bin.
    `inside = (confidence > low) & (confidence <= high)` is True for the answers of one bin, and
    `confidence[inside]` are their probabilities.
    """,
    solution="""
    def calibration_error(confidence, right, edges):
        error = 0.0
        for low, high in zip(edges[:-1], edges[1:]):
            inside = (confidence > low) & (confidence <= high)
            if inside.any():
                gap = confidence[inside].mean() - right[inside].float().mean()
                error += inside.sum() / len(confidence) * gap.abs()
        return error
    """,
    right="""
    It says how far a probability can be taken at its word. An accurate network can be badly
    calibrated, and one that only guesses can be perfect.
    """,
)
def how_much_is_its_certainty_worth(calibration_error):
    expect_function(calibration_error, "calibration_error")
    edges = [0.0, 0.5, 0.6, 0.7, 0.9, 1.0]  # the second bin stays empty
    for _ in range(5):
        sure = torch.cat(
            [torch.rand(3) * 0.4, 0.9 + torch.rand(40) * 0.1, torch.tensor([0.7, 0.9])]
        )
        right = (sure < 0.5) | (torch.rand(len(sure)) < 0.6)  # some gaps up, some down
        gaps, counts = _gaps(sure, right, edges)
        found = calibration_error(sure.clone(), right.clone(), list(edges))
        if found != found:
            raise Wrong("the error is NaN: a bin without answers has no mean; leave it out.")
        found = as_number(found, "the error")
        expected = (gaps.abs() * counts).sum() / counts.sum()
        for other, why in (
            (gaps.abs().mean(), "every bin counts the same; weigh it by its number of answers."),
            ((gaps * counts).sum() / counts.sum(), "gaps above and below cancel each other."),
            ((gaps.abs() * counts).sum(), "it is a sum over the answers; divide by their number."),
        ):
            if abs(found - other) < 1e-5 < abs(other - expected):
                raise Wrong(why)
        expect_number(found, float(expected), "the error", tolerance=1e-4)


def _gaps(sure, right, edges):
    inside = [(sure > low) & (sure <= high) for low, high in pairwise(edges)]
    inside = [bin for bin in inside if bin.any()]
    gaps = [sure[bin].mean() - right[bin].float().mean() for bin in inside]
    return torch.stack(gaps), torch.tensor([bin.sum().item() for bin in inside])


@exercise(
    title="A bottleneck, from a matrix",
    task="""
    Write `squeeze(matrix, width)`. `matrix` is `[out, in]`: what a 1×1 convolution does to the
    channels of each pixel. Return two matrices, `down` `[width, in]` and `up` `[out, width]`, so
    that `up @ down` is as near to `matrix` as two 1×1 convolutions with `width` channels between
    them can come (in the sum of squares).
    """,
    start="""
    import torch


    def squeeze(matrix, width):
        return ...
    """,
    hint="""
    `u, s, v = torch.linalg.svd(matrix, full_matrices=False)` writes it as `u @ diag(s) @ v`, the
    most important directions first. Keep `width` of them (Eckart and Young, 1936).
    """,
    solution="""
    import torch


    def squeeze(matrix, width):
        u, s, v = torch.linalg.svd(matrix, full_matrices=False)
        return v[:width], u[:, :width] * s[:width]
    """,
    right="""
    Nothing between the two convolutions of the bottleneck bends the map, no norm and no ReLU: so
    they are one matrix, whose rank is the number of channels in the middle.
    """,
)
def a_bottleneck_from_a_matrix(squeeze):
    expect_function(squeeze, "squeeze")
    for rows, columns, width in ((6, 9, 2), (9, 6, 3), (5, 8, 5)):
        matrix = torch.randn(rows, columns)
        found = squeeze(matrix.clone(), width)
        expect_kind(found, (tuple, list), "what squeeze returns", "a pair of matrices")
        if len(found) != 2:
            raise Wrong(f"squeeze returns {len(found)} things; `down, up` are expected.")
        down, up = found
        shapes = [list(getattr(one, "shape", ())) for one in found]
        if shapes == [[rows, width], [width, columns]]:
            raise Wrong("the two matrices are interchanged: `down` is applied first.")
        expect_shape(down, (width, columns), "`down`")
        expect_shape(up, (rows, width), "`up`")
        u, s, v = torch.linalg.svd(matrix, full_matrices=False)
        best, product = u[:, :width] * s[:width] @ v[:width], (up @ down).detach()
        for other, why in (
            (u[:, :width] @ v[:width], "the singular values `s` are left out of both matrices."),
            (u[:, :width] * s[:width] ** 2 @ v[:width], "the singular values `s` are in twice."),
            (u[:, -width:] * s[-width:] @ v[-width:], "the least important directions are kept."),
        ):
            if torch.allclose(product, other, atol=1e-3) and width < len(s):
                raise Wrong(why)
        expect_tensor(product, best, "`up @ down`", tolerance=1e-3)


@exercise(
    title="The epoch that was chosen",
    task="""
    `report(history, test)` is given the validation accuracies and the test accuracies of a run, a
    number for each epoch, and returns the test accuracy that is reported. As it stands, it makes
    every network look better than it is. Mend it: the epoch is chosen on the validation digits, the
    *first* one if several are equally good, and the test digits have no say.
    """,
    start="""
    def report(history, test):
        return max(test)
    """,
    hint="""
    `history.index(value)` says where a value stands first.
    """,
    solution="""
    def report(history, test):
        return test[history.index(max(history))]
    """,
    right="""
    The best of 20 looks at a test set is the claim of 99.58 % in small: it tells of luck as well
    as of the network.
    """,
)
def the_epoch_that_was_chosen(report):
    expect_function(report, "report")
    for _ in range(20):
        history = [round(random.uniform(0.98, 0.99), 4) for _ in range(8)]
        test = [round(random.uniform(0.97, 0.999), 6) for _ in range(8)]
        history[5] = history[2] = 0.995
        test[6] = 0.9999
        found = as_number(report(list(history), list(test)), "report(…)")
        for other, why in (
            (test[6], "it is still the best of the test accuracies."),
            (0.995, "it is the accuracy on validation; the test accuracy of that epoch is asked."),
            (test[5], "of two equally good epochs it takes the later one."),
            (test[-1], "it takes the last epoch: a good rule, but not the one asked for here."),
            (2, "it is the number of the epoch; its test accuracy is asked for."),
        ):
            if found == other != test[2]:
                raise Wrong(why)
        expect_number(found, test[2], "report(…)", tolerance=1e-9)

"""Bins of confidence, worked out by hand."""

import pytest
import torch

from mnist_lab.evaluation import Evaluation, calibration_error, reliability
from mnist_lab.statistics import wilson_interval


def evaluation(sure, right):
    """Answers of given confidence for digit 0, the rest shared; right or not."""
    sure = torch.tensor(sure)
    chances = ((1 - sure) / 9)[:, None].repeat(1, 10)
    chances[:, 0] = sure
    labels = torch.tensor([0 if one else 1 for one in right])
    return Evaluation(chances, labels, sum(right), 0.0, 1.0)


def test_answers_fall_into_the_bin_of_their_confidence():
    bins = reliability(evaluation([0.6, 0.65, 0.95, 1.0], [True, False, True, True]))
    assert [(bin.lower, bin.upper, bin.count) for bin in bins] == [
        (0.5, 0.7, 2), (0.9, 0.99, 1), (0.999, 1.0, 1)
    ]  # fmt: skip
    assert bins[0].accuracy == 0.5 and bins[0].confidence == pytest.approx(0.625)
    assert (bins[0].low, bins[0].high) == wilson_interval(1, 2)


def test_the_upper_edge_belongs_to_a_bin_and_the_edges_can_be_chosen():
    bins = reliability(evaluation([0.25, 0.5, 0.75], [True] * 3), edges=(0, 0.5, 1))
    assert [bin.count for bin in bins] == [2, 1]


def test_the_error_weighs_each_bin_by_its_count():
    bins = reliability(evaluation([0.6] * 3 + [0.8], [True, True, True, False]))
    assert calibration_error(bins) == pytest.approx((3 * 0.4 + 1 * 0.8) / 4)
    calibrated = reliability(evaluation([0.8] * 5, [True] * 4 + [False]))
    assert calibration_error(calibrated) == pytest.approx(0, abs=1e-6)

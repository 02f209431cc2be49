"""How good a network is, on outputs that are known beforehand."""

import copy
import re
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch import nn

from mnist_lab.augment import normalize
from mnist_lab.data import Split, load_data
from mnist_lab.evaluation import (
    Evaluation,
    calibration_error,
    check_network,
    evaluate,
    predict,
    reliability,
)
from mnist_lab.networks import GapNet
from mnist_lab.recipes import GAP_RECIPE, Recipe
from mnist_lab.statistics import wilson_interval
from mnist_lab.validation import UserError

RECIPE = Recipe(num_epochs=1, batch_size=1, lr=1, mean=0.5, std=2.0)
SMALL = load_data("digits")
FEW = SMALL.validation.first(30)
#               digit, read as, how sure
ANSWERS = [(3, 3, 0.9), (3, 5, 0.7), (1, 1, 0.6), (8, 0, 0.95), (5, 5, 0.8), (3, 5, 0.55)]


def network():
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(784, 10))


class Answers(nn.Module):
    """Answers by heart: the first pixel of an image says which row of a table to give."""

    def __init__(self, outputs):
        super().__init__()
        self.outputs = nn.Parameter(outputs)

    def forward(self, x):
        return self.outputs[((x[:, 0, 0, 0] * 2 + 0.5) * 255).round().long()]


def asked(outputs, rows, labels):
    """The evaluation of answers that are known: to each image a row of `outputs`."""
    images = torch.zeros(len(rows), 1, 28, 28, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.as_tensor(rows)
    return evaluate(Answers(outputs), Split(images, torch.as_tensor(labels)), RECIPE)


def evaluation(shift=0.0):
    probabilities = torch.zeros(len(ANSWERS), 10)
    for row, (_, guess, sure) in zip(probabilities, ANSWERS):
        row.fill_((1 - sure) / 9)[guess] = sure
    return asked(probabilities.log() + shift, range(6), [label for label, _, _ in ANSWERS])


@pytest.mark.parametrize("shift", [0.0, 7.0])
def test_logits_and_log_probabilities_become_the_same_answers(shift):
    result = evaluation(shift)
    assert (result.correct, result.total, result.accuracy) == (3, 6, 0.5)
    assert result.predictions.tolist() == [guess for _, guess, _ in ANSWERS]
    torch.testing.assert_close(result.probabilities.sum(1), torch.ones(6))
    sure = torch.tensor([sure for _, _, sure in ANSWERS])
    torch.testing.assert_close(result.probabilities.max(1).values, sure)
    assert (result.low, result.high) == wilson_interval(3, 6)
    assert str(result) == "50.00% (3 of 6), 95 % interval 18.76% to 81.24%"


def test_the_confusion_has_a_row_for_every_digit_written():
    confusion = evaluation().confusion()
    assert confusion.shape == (10, 10) and confusion.sum() == 6
    assert confusion.diagonal().sum() == 3
    assert confusion[3].tolist() == [0, 0, 0, 1, 0, 2, 0, 0, 0, 0]
    assert confusion[:, 3].sum() == 1 and confusion[8, 0] == 1


def test_the_mistakes_come_with_the_surest_first():
    mistakes = evaluation().mistakes()
    assert [mistake.index for mistake in mistakes] == [3, 1, 5]
    assert [(mistake.label, mistake.guess) for mistake in mistakes] == [(8, 0), (3, 5), (3, 5)]
    assert [mistake.guess_probability for mistake in mistakes] == pytest.approx([0.95, 0.7, 0.55])


@pytest.mark.parametrize("lost", [torch.nan, torch.inf, -torch.inf])
def test_outputs_that_are_not_finite_are_no_answers(lost):
    outputs = torch.eye(3, 10)
    outputs[1] = lost
    with pytest.raises(UserError, match="of the network are not finite for 2 of 3 digits: train"):
        asked(outputs, [0, 1, 1], [0, 0, 0])
    outputs[1, 4] = 0  # the others may be impossible
    if lost < 0:
        assert asked(outputs, [1], [0]).predictions.tolist() == [4]


# predict


def test_predict_is_a_plain_forward_in_evaluation_mode_and_fp32():
    network = GapNet().train()
    state = copy.deepcopy(network.state_dict())
    recipe = replace(GAP_RECIPE, mean=0.3, std=0.6)
    outputs = predict(network, SMALL.validation, recipe)  # 300: a whole batch and a rest
    assert not network.training
    assert outputs.dtype == torch.float32 and not outputs.requires_grad
    plain = network(normalize(SMALL.validation.images, 0.3, 0.6))
    torch.testing.assert_close(outputs, plain, rtol=1e-4, atol=1e-5)
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name]), "predicting changed the network"
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(predict(network, SMALL.validation, recipe), outputs)


def inferred():
    with torch.inference_mode():
        return network()


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (GapNet, "network must be an nn.Module such as GapNet(), not <class 'mnist"),
        (network().half(), "2.weight of Sequential is torch.float16"),
        (network().to("meta"), "2.weight of Sequential is on the device meta"),
        (nn.LazyLinear(10), "weight of LazyLinear has no shape yet"),
        (nn.BatchNorm2d(1).requires_grad_(False), "the network BatchNorm2d has no parameters to"),
        (inferred(), "2.weight of Sequential was made in inference mode"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_network_that_cannot_be_asked_or_trained_is_named(made, words):
    only_to_train = "parameters to" in words or "inference" in words
    for to_train in (True, False):
        refuses = to_train or not only_to_train
        with pytest.raises(UserError, match=re.escape(words)) if refuses else nullcontext():
            check_network(made, to_train)


@pytest.mark.parametrize("ask", [predict, evaluate])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": GapNet}, "network must be an nn.Module"),
        ({"split": SMALL}, "split must be a Split such as data.test, not Digits(name="),
        ({"split": Split(FEW.images[:0], FEW.labels[:0])}, "split holds no digits"),
        ({"recipe": None}, "recipe must be a Recipe such as GAP_RECIPE, not None."),
    ],
    ids=["network", "split", "no digits", "recipe"],
)
def test_predict_and_evaluate_refuse_what_they_cannot_use(ask, changes, words):
    with pytest.raises(UserError, match=re.escape(words)):
        ask(**{"network": network(), "split": FEW, "recipe": RECIPE} | changes)


@pytest.mark.parametrize(
    ("end", "found"),
    [
        (lambda y: y[:, :9], "[30, 9]"),
        (lambda y: y[:3], "[3, 10]"),
        (lambda y: y[:, :, None, None], "[30, 10, 1, 1]"),
        (lambda y: (y, y), "(tensor([["),
    ],
)
def test_outputs_of_another_form_are_refused(end, found):
    class Ends(nn.Sequential):
        def forward(self, x):
            return end(super().forward(x))

    words = "the outputs of the network must be a tensor [30, 10], ten for each image, not "
    with pytest.raises(UserError, match=re.escape(words + found)):
        predict(Ends(*network()), FEW, RECIPE)


def test_a_network_without_parameters_can_be_asked():
    network = nn.Sequential(nn.AdaptiveAvgPool2d((2, 5)), nn.Flatten())
    assert predict(network, FEW, RECIPE).shape == (30, 10)


# Calibration, worked out by hand


def answered(sure, right, **edges):
    """The bins of answers of given confidence for digit 0, the rest shared; right or not."""
    sure = torch.tensor(sure)
    chances = ((1 - sure) / 9)[:, None].repeat(1, 10)
    chances[:, 0] = sure
    labels = torch.tensor([0 if one else 1 for one in right])
    return reliability(Evaluation(chances, labels, sum(right), 0.0, 1.0), **edges)


def test_answers_fall_into_the_bin_of_their_confidence():
    bins = answered([0.6, 0.65, 0.95, 1.0], [True, False, True, True])
    assert [(bin.lower, bin.upper, bin.count) for bin in bins] == [
        (0.5, 0.7, 2), (0.9, 0.99, 1), (0.999, 1.0, 1)
    ]  # fmt: skip
    assert bins[0].accuracy == 0.5 and bins[0].confidence == pytest.approx(0.625)
    assert (bins[0].low, bins[0].high) == wilson_interval(1, 2)
    bins = answered([0.25, 0.5, 0.75], [True] * 3, edges=(0, 0.5, 1))
    assert [bin.count for bin in bins] == [2, 1], "the upper edge belongs to a bin"


def test_the_error_weighs_each_bin_by_its_count():
    bins = answered([0.6] * 3 + [0.8], [True, True, True, False])
    assert calibration_error(bins) == pytest.approx((3 * 0.4 + 1 * 0.8) / 4)
    calibrated = answered([0.8] * 5, [True] * 4 + [False])
    assert calibration_error(calibrated) == pytest.approx(0, abs=1e-6)

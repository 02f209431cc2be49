"""How good a network is, on outputs that are known beforehand."""

import copy
import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from mnist_lab import evaluation as evaluation_module
from mnist_lab.augment import normalize
from mnist_lab.data import Split, load_data
from mnist_lab.evaluation import Evaluation, calibration_error, evaluate, predict, reliability
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


def refuses(sentence):
    return pytest.raises(UserError, match=f"^{re.escape(sentence)}")


class Answers(nn.Module):
    """Answers by heart: the first pixel of an image says which row of a table to give."""

    def __init__(self, outputs):
        super().__init__()
        self.outputs = nn.Parameter(outputs)

    def forward(self, x):
        return self.outputs[((x[:, 0, 0, 0] * 2 + 0.5) * 255).round().long()]


def evaluation(shift=0.0):
    probabilities = torch.zeros(len(ANSWERS), 10)
    for row, (_, guess, sure) in zip(probabilities, ANSWERS):
        row.fill_((1 - sure) / 9)[guess] = sure
    images = torch.zeros(len(ANSWERS), 1, 28, 28, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(len(ANSWERS))
    labels = torch.tensor([label for label, _, _ in ANSWERS])
    return evaluate(Answers(probabilities.log() + shift), Split(images, labels), RECIPE)


def test_accuracy_counts_the_right_answers():
    result = evaluation()
    assert (result.correct, result.total, result.accuracy) == (3, 6, 0.5)
    assert result.predictions.tolist() == [guess for _, guess, _ in ANSWERS]


@pytest.mark.parametrize("shift", [0.0, 7.0])
def test_logits_and_log_probabilities_become_the_same_probabilities(shift):
    probabilities = evaluation(shift).probabilities
    torch.testing.assert_close(probabilities.sum(1), torch.ones(6))
    torch.testing.assert_close(
        probabilities.max(1).values, torch.tensor([sure for _, _, sure in ANSWERS])
    )


@pytest.mark.parametrize(("correct", "total"), [(3, 6), (6, 6), (0, 6), (99, 100)])
def test_the_interval_is_wilsons(correct, total):
    z = 1.959963984540054  # 97.5 % of a normal distribution lie below
    images = torch.zeros(total, 1, 28, 28, dtype=torch.uint8)
    labels = torch.zeros(total, dtype=torch.int64)
    images[correct:, 0, 0, 0] = 1  # row 1 says one, row 0 says zero
    result = evaluate(Answers(torch.eye(2, 10)), Split(images, labels), RECIPE)
    p = correct / total
    centre = (p + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * (p * (1 - p) / total + z**2 / (4 * total**2)) ** 0.5
    assert result.low == pytest.approx(centre - half, abs=1e-9)
    assert result.high == pytest.approx(centre + half, abs=1e-9)


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
    expected = [0.05 / 9, 0.3 / 9, 0.45 / 9]
    assert [mistake.label_probability for mistake in mistakes] == pytest.approx(expected)


@pytest.mark.parametrize("lost", [torch.nan, torch.inf, -torch.inf])
def test_outputs_that_are_not_finite_are_no_answers(lost):
    outputs = torch.eye(3, 10)
    outputs[1] = lost
    with pytest.raises(ValueError, match="of the network are not finite for 2 of 3 digits: train"):
        ask(outputs, rows=[0, 1, 1])


def test_a_probability_of_nothing_is_an_answer():
    outputs = torch.full((1, 10), -torch.inf)
    outputs[0, 4] = 0
    assert ask(outputs, rows=[0]).predictions.tolist() == [4]


def ask(outputs, rows):
    images = torch.zeros(len(rows), 1, 28, 28, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.tensor(rows)
    return evaluate(Answers(outputs), Split(images, torch.zeros(len(rows)).long()), RECIPE)


def test_an_evaluation_reads_as_one_line():
    assert str(evaluation()) == "50.00% (3 of 6), 95 % interval 18.76% to 81.24%"


# predict


def test_predict_is_a_plain_forward_in_evaluation_mode(monkeypatch):
    monkeypatch.setattr(
        evaluation_module, "EVALUATION_BATCH", 7
    )  # 30 digits: four batches and a rest
    network = GapNet().train()
    state = copy.deepcopy(network.state_dict())
    recipe = replace(GAP_RECIPE, mean=0.3, std=0.6)
    outputs = predict(network, FEW, recipe)
    assert not network.training
    assert outputs.dtype == torch.float32 and not outputs.requires_grad
    plain = network(normalize(FEW.images, 0.3, 0.6))
    torch.testing.assert_close(outputs, plain, rtol=1e-4, atol=1e-5)
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name]), "predicting changed the network"


def test_predict_is_in_fp32_whatever_surrounds_it():
    network = GapNet()
    expected = predict(network, FEW, GAP_RECIPE)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(predict(network, FEW, GAP_RECIPE), expected)


@pytest.mark.parametrize("ask", [predict, evaluate])
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"network": GapNet}, "network must be an nn.Module such as GapNet(), not <class 'mnist"),
        ({"split": SMALL}, "split must be a Split such as data.test, not Digits(name="),
        ({"network": network().half()}, "2.weight of Sequential is torch.float16; networks"),
        ({"recipe": None}, "recipe must be a Recipe such as GAP_RECIPE, not None."),
    ],
    ids=lambda value: None if isinstance(value, str) else str(*value),
)
def test_predict_and_evaluate_refuse_what_is_of_another_kind(ask, changes, sentence):
    with refuses(sentence):
        ask(**{"network": network(), "split": FEW, "recipe": RECIPE} | changes)


def test_a_network_without_parameters_can_be_asked():
    class Counts(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :10]

    assert predict(Counts(), FEW, RECIPE).shape == (30, 10)


# Calibration, worked out by hand


def answered(sure, right):
    """Answers of given confidence for digit 0, the rest shared; right or not."""
    sure = torch.tensor(sure)
    chances = ((1 - sure) / 9)[:, None].repeat(1, 10)
    chances[:, 0] = sure
    labels = torch.tensor([0 if one else 1 for one in right])
    return Evaluation(chances, labels, sum(right), 0.0, 1.0)


def test_answers_fall_into_the_bin_of_their_confidence():
    bins = reliability(answered([0.6, 0.65, 0.95, 1.0], [True, False, True, True]))
    assert [(bin.lower, bin.upper, bin.count) for bin in bins] == [
        (0.5, 0.7, 2), (0.9, 0.99, 1), (0.999, 1.0, 1)
    ]  # fmt: skip
    assert bins[0].accuracy == 0.5 and bins[0].confidence == pytest.approx(0.625)
    assert (bins[0].low, bins[0].high) == wilson_interval(1, 2)


def test_the_upper_edge_belongs_to_a_bin_and_the_edges_can_be_chosen():
    bins = reliability(answered([0.25, 0.5, 0.75], [True] * 3), edges=(0, 0.5, 1))
    assert [bin.count for bin in bins] == [2, 1]


def test_the_error_weighs_each_bin_by_its_count():
    bins = reliability(answered([0.6] * 3 + [0.8], [True, True, True, False]))
    assert calibration_error(bins) == pytest.approx((3 * 0.4 + 1 * 0.8) / 4)
    calibrated = reliability(answered([0.8] * 5, [True] * 4 + [False]))
    assert calibration_error(calibrated) == pytest.approx(0, abs=1e-6)

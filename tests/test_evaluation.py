"""How good a network is, on outputs that are known beforehand."""

import pytest
import torch
from torch import nn

from mnist_lab.data import Split
from mnist_lab.evaluation import evaluate
from mnist_lab.recipes import Recipe

RECIPE = Recipe(num_epochs=1, batch_size=1, lr=1, mean=0.5, std=2.0)
#               digit, read as, how sure
ANSWERS = [(3, 3, 0.9), (3, 5, 0.7), (1, 1, 0.6), (8, 0, 0.95), (5, 5, 0.8), (3, 5, 0.55)]


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

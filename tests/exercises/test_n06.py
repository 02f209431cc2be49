import pytest
from answers import Case, answers

RATE = "def lr_at(epoch, lr, step_size, gamma):\n    return {}"
ERROR = """
def calibration_error(confidence, right, edges):
    error, total = 0.0, len(confidence)
    for low, high in zip(edges, edges[1:]):
        inside = (confidence > low) & (confidence <= high)
        {guard}
        gap = confidence[inside].mean() - right[inside].float().mean()
        error += {term}
    return {result}
"""


def error(guard="if not inside.any(): continue", term="abs(gap) * inside.sum() / total",
          result="error"):  # fmt: skip
    return ERROR.format(guard=guard, term=term, result=result)


SQUEEZE = """
import torch
def squeeze(matrix, width):
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    return {}
"""
REPORT = "def report(history, test):\n    return {}"

CASES = {
    "down_by_steps": Case(
        other=[
            """
def lr_at(epoch, lr, step_size, gamma):
    for done in range(1, epoch):
        if done % step_size == 0:
            lr *= gamma
    return lr
""",
            "import numpy as np\n" + RATE.format("np.float64(lr) * gamma ** int((epoch - 1) "
                                                "/ step_size)"),
        ],
        wrong={
            RATE.format("lr * gamma ** (epoch // step_size)"): "the fifteenth epoch still has",
            RATE.format("lr * gamma ** ((epoch - 1) // 15)"): "other schedules",
            RATE.format("lr if epoch <= step_size else lr * gamma"): "falls once more",
            RATE.format("lr"): "falls to a tenth",
            RATE.format("lr * gamma ** epoch"): "in the first epoch",
            RATE.format("print(lr)"): "is None",
        },
    ),
    "how_much_is_its_certainty_worth": Case(
        other=[
            error(),
            """
import numpy as np
def calibration_error(confidence, right, edges):
    sure, right = confidence.numpy(), right.numpy()
    place = np.searchsorted(edges, sure)
    return sum(abs((sure - right)[place == k].sum()) for k in set(place)) / len(sure)
""",
        ],
        wrong={
            error(guard=""): "is NaN",
            error(term="abs(gap) / 4"): "every bin counts the same",
            error(term="gap * inside.sum() / total"): "cancel each other",
            error(term="abs(gap) * inside.sum()"): "divide by their number",
            error(result="error / 2"): "too low",
            error(result="100 * error"): "too high",
            error(result="None"): "is None",
        },
    ),
    "a_bottleneck_from_a_matrix": Case(
        other=[
            SQUEEZE.format("[torch.diag(s[:width]) @ v[:width], u[:, :width]]"),
            SQUEEZE.format("(s[:width].sqrt()[:, None] * v[:width], "
                           "u[:, :width] * s[:width].sqrt())"),
        ],
        wrong={
            SQUEEZE.format("u[:, :width] * s[:width], v[:width]"): "interchanged",
            SQUEEZE.format("v[:width], u[:, :width]"): "left out",
            SQUEEZE.format("s[:width, None] * v[:width], u[:, :width] * s[:width]"): "in twice",
            SQUEEZE.format("v[-width:], u[:, -width:] * s[-width:]"): "least important",
            SQUEEZE.format("v, u * s"): "`down` has the shape",
            SQUEEZE.format("matrix[:width], torch.eye(len(matrix))[:, :width]"): "other values",
            SQUEEZE.format("u[:, :width] * s[:width] @ v[:width]"): "a Tensor; a pair",
            SQUEEZE.format("u, s, v"): "returns 3 things",
        },
    ),
    "the_epoch_that_was_chosen": Case(
        other=[
            "import numpy as np\n" + REPORT.format("np.array(test)[np.argmax(history)]"),
            REPORT.format("max(zip(history, [-i for i in range(len(test))], test))[2]"),
        ],
        wrong={
            REPORT.format("sorted(test)[-1]"): "still the best of the test accuracies",
            REPORT.format("max(history)"): "the accuracy on validation",
            REPORT.format("max(zip(history, range(99), test))[2]"): "the later one",
            REPORT.format("test[-1]"): "takes the last epoch",
            REPORT.format("history.index(max(history))"): "the number of the epoch",
            REPORT.format("test[0]"): "too",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("answer", answers("06", CASES))
def test_every_answer_gets_its_verdict(answer):
    answer.prove()

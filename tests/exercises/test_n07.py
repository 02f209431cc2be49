import pytest
from answers import Case, proofs

RATE = "def lr_at(epoch, lr, step_size, gamma):\n    return {}"
ERROR = """
import torch
def ece(confidence, right, edges):
    edges = {edges}
    error, total = 0.0, len(confidence)
    for low, high in zip(edges, edges[1:]):
        inside = {inside}
        {guard}
        gap = confidence[inside].mean() - right[inside].float().mean()
        error += {term}
    return {result}
"""
SKIP = "if not inside.any(): continue"


def error(guard=SKIP, term="abs(gap) * inside.sum() / total", result="error", edges="edges",
          inside="(confidence > low) & (confidence <= high)"):  # fmt: skip
    return ERROR.format(guard=guard, term=term, result=result, edges=edges, inside=inside)


LOW_RANK = """
import torch
def low_rank(matrix, width):
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
            "import torch\n" + RATE.format("torch.tensor([lr]) * gamma ** ((epoch - 1) "
                                           "// step_size)"),
        ],
        wrong={
            RATE.format("lr * gamma ** (epoch // step_size)"): "the fifteenth epoch still has",
            RATE.format("lr * gamma ** ((epoch - 1) // 15)"): "other steps than 15",
            RATE.format("lr * 0.1 ** ((epoch - 1) // step_size)"): "other factors than 0.1",
            RATE.format("lr if epoch <= step_size else lr * gamma"): "falls once more",
            RATE.format("lr"): "falls to a tenth",
            RATE.format("lr * gamma ** epoch"): "in the first epoch",
            RATE.format("lr * gamma ** ((epoch - 1) / step_size)"): "lr_at(15, 0.001, 15, 0.1)",
            RATE.format("lr * gamma ** min((epoch - 1) // step_size, 2)"): "is expected",
            RATE.format("round(lr * gamma ** ((epoch - 1) // step_size), 6)"): "is expected",
            RATE.format("None"): "is None",
        },
    ),
    "how_much_is_its_certainty_worth": Case(
        other=[
            error(),
            error(guard="confidence = confidence.double()\n        " + SKIP),
            error(result="torch.tensor([float(error)])"),
            """
import numpy as np
def ece(confidence, right, edges):
    sure, right = confidence.numpy(), right.numpy()
    place = np.searchsorted(edges, sure)
    return sum(abs((sure - right)[place == k].sum()) for k in set(place)) / len(sure)
""",
        ],
        wrong={
            error(guard=""): "a bin without answers",
            error(term="abs(gap) / 4"): "each bin by its number",
            error(term="gap * inside.sum() / total"): "cancel each other",
            error(result="abs(error)", term="gap * inside.sum() / total"): "cancel each",
            error(term="abs(gap) * inside.sum()"): "divide by their number",
            error(term="max(0, abs(gap) - error)"): "not the largest",
            error(term="gap**2 * inside.sum() / total", result="error**0.5"): "not squares",
            error(inside="(confidence >= low) & (confidence < high)"): "on an edge belongs",
            error(edges="[0.0, 0.5, 0.9, 1.0]"): "are the edges fixed",
            error(edges="[0.0, 0.5, 0.6, 0.7, 0.9, 1.0]"): "ece(",
            error(edges="torch.linspace(0, 1, 11).tolist()"): "ece(",
            error(edges="torch.linspace(0, 1, 101).tolist()"): "ece(",
            error(edges="[0.0, 1.0]"): "cancel each other",
            error(edges="edges[1:]"): "ece(",
            error(result="error / 2"): "is expected",
            error(result="100 * error"): "in percent",
            error(result="None"): "is None",
            error(result="torch.tensor([error, error])"): "a number is expected",
            error(result="[error]"): "]; a number is expected",
            error(result="confidence.zero_().sum()"): "`confidence` is changed",
        },
    ),
    "a_bottleneck_from_a_matrix": Case(
        other=[
            LOW_RANK.format("[torch.diag(s[:width]) @ v[:width], u[:, :width]]"),
            LOW_RANK.format("(s[:width].sqrt()[:, None] * v[:width], "
                            "u[:, :width] * s[:width].sqrt())"),
            LOW_RANK.format("v[:width].double(), (u[:, :width] * s[:width]).double()"),
            LOW_RANK.format("v[:width], (u[:, :width] * s[:width]).double()"),
            LOW_RANK.format("v[:width].numpy(), (u[:, :width] * s[:width]).numpy()"),
            """
import numpy as np
def low_rank(matrix, width):
    u, s, v = np.linalg.svd(matrix)
    return v[:width], u[:, :width] * s[:width]
""",
        ],
        wrong={
            LOW_RANK.format("u[:, :width] * s[:width], v[:width]"): "interchanged",
            LOW_RANK.format("v[:width], u[:, :width]"): "left out",
            LOW_RANK.format("s[:width, None] * v[:width], u[:, :width] * s[:width]"): "in twice",
            LOW_RANK.format("v[-width:], u[:, -width:] * s[-width:]"): "least important",
            LOW_RANK.format("v, u * s"): "[6, 9]; a tensor of the shape [2, 9]",
            LOW_RANK.format("matrix[:width], torch.eye(len(matrix))[:, :width]"): "other values",
            LOW_RANK.format("u[:, :width] * s[:width] @ v[:width]"): "a pair of matrices",
            LOW_RANK.format("u, s, v"): "returns 3 things",
            LOW_RANK.format("v[:width].tolist(), u[:, :width].tolist()"): "[a list, a list]",
            LOW_RANK.format("v[:width], matrix.zero_()[:, :width]"): "`matrix` is changed",
        },
    ),
    "the_epoch_that_was_chosen": Case(
        other=[
            "import numpy as np\n" + REPORT.format("np.array(test)[np.argmax(history)]"),
            "import torch\n" + REPORT.format("torch.tensor(test)[torch.tensor(history).argmax()]"),
            REPORT.format("max(zip(history, [-i for i in range(len(test))], test))[2]"),
        ],
        wrong={
            REPORT.format("sorted(test)[-1]"): "still the best of the test accuracies",
            REPORT.format("max(history)"): "the accuracy on validation",
            REPORT.format("max(zip(history, range(99), test))[2]"): "the later one",
            REPORT.format("max(zip(history, test))[1]"): "the luckier one",
            REPORT.format("min((-a, b) for a, b in zip(history, test))[1]"): "report(",
            REPORT.format("test[-1]"): "the last epoch",
            REPORT.format("history.index(max(history))"): "the place of the epoch",
            REPORT.format("history.index(max(history)) + 1"): "the number of the epoch",
            REPORT.format("test[0]"): "report(",
            REPORT.format("test[2]"): "report(",
            REPORT.format("test[history.index(max(history)) - 1]"): "report(",
            REPORT.format("history.sort() or test[history.index(max(history))]"):
                "`history` is changed",
            REPORT.format("test.sort() or test[-1]"): "`test` is changed",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("proof", proofs("07", CASES))
def test_every_answer_gets_its_verdict(proof):
    proof()

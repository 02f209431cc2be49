import pytest
from answers import Case, proofs

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
MEND = """
from scipy.optimize import minimize_scalar
from torch.nn.functional import cross_entropy
def mend(outputs, labels, test):
    def loss(temperature):
        return cross_entropy({scores}, labels).item()
    temperature = minimize_scalar(loss, bounds=(0.2, {upper}), method="bounded").x
    return {result}
"""


def mending(scores="outputs / temperature", upper="5", result="(test / temperature).softmax(1)"):
    return MEND.format(scores=scores, upper=upper, result=result)


TWICE = "(outputs / temperature).softmax(1)"
TIMES = "(test * temperature).softmax(1)"
FALL = """
import torch
def fall_map(answer, image, size, ink):
    height, width = image.shape[1] - size + 1, image.shape[2] - size + 1
    before = answer(image[None]).item()
    falls = torch.zeros({shape})
    {first}
    for row in range(height):
        for column in range(width):
            copy = {copy}
            copy[{square}] = {ink}
            after = answer({asked}).item()
            falls[row, column] = {fall}
    return {result}
"""


def falls(shape="height, width", first="", copy="image.clone()", ink="ink", asked="copy[None]",
          square="0, row:row + size, column:column + size", fall="before - after",
          result="falls"):  # fmt: skip
    return FALL.format(shape=shape, first=first, copy=copy, square=square, ink=ink, asked=asked,
                       fall=fall, result=result)  # fmt: skip


CASES = {
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
    "three_mistakes_in_a_mending": Case(
        other=[
            mending(),
            mending(upper="5.0", result="torch.softmax(test.double() / temperature, dim=1)",
                    ).replace("def mend", "import torch\ndef mend"),
            """
import numpy as np
import torch
def mend(outputs, labels, test):
    right = lambda t: (outputs / t).log_softmax(1)[torch.arange(len(labels)), labels].sum()
    best = max(np.arange(0.2, 5, 0.01), key=lambda t: right(float(t)))
    return (test / float(best)).softmax(1).numpy()
""",
            """
import torch
def mend(outputs, labels, test):
    scale = torch.ones(1, requires_grad=True)
    optimizer = torch.optim.LBFGS([scale], max_iter=100, line_search_fn="strong_wolfe")
    def closure():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(outputs * scale, labels)
        loss.backward()
        return loss
    optimizer.step(closure)
    return (test * scale).softmax(1)
""",
        ],
        wrong={
            mending(scores=TWICE): "takes the softmax itself",
            mending(upper="1"): "a temperature above 1",
            mending(result=TIMES): "are to be divided",
            mending(result="test.softmax(1)"): "with the temperature 1",
            mending(result="(test / temperature).log_softmax(1)"): "logarithms",
            mending(result="test / temperature"): "other values than expected",
            mending(result="temperature"): "a tensor of the shape [40, 10] is expected",
            mending(result="(outputs / temperature).softmax(1)"): "[200, 10]",
            mending(result="(test / temperature).softmax(0)"): "other values than expected",
            mending(result="(test / temperature**2).softmax(1)"): "other values than expected",
            mending(result="test.div_(temperature).softmax(1)"): "`test` is changed",
            mending(result="None"): "is None",
        },
        alike={
            mending(scores=TWICE, upper="1"): "takes the softmax itself",
            mending(scores=TWICE, result=TIMES): "takes the softmax itself",
            mending(upper="1", result=TIMES): "are to be divided",
        },
    ),
    "cover_it_and_look": Case(
        other=[
            falls(),
            falls(result="falls.numpy()"),
            falls(shape="height, width, dtype=torch.float64"),
            falls(copy="image[None].clone()", asked="copy",
                  square="..., row:row + size, column:column + size"),
            """
import torch
def fall_map(answer, image, size, ink):
    rows, columns = (side - size + 1 for side in image.shape[1:])
    batch = image.repeat(rows * columns, 1, 1, 1)
    for place in range(rows * columns):
        row, column = divmod(place, columns)
        batch[place, 0, row:row + size, column:column + size] = ink
    return (answer(image[None]) - answer(batch)).view(rows, columns)
""",
        ],
        wrong={
            falls(fall="after - before"): "the sign is turned",
            falls(fall="after"): "not how far it falls",
            falls(fall="max(0, before - after)"): "a rise is a negative fall",
            falls(fall="(before - after) / before"): "not to be divided",
            falls(ink="0"): "not with 0",
            falls(first="again = image.clone()", copy="again"): "begin with a fresh copy",
            falls(copy="image"): "`image` is changed",
            falls(result="falls.T"): "a tensor of the shape [7, 5] is expected",
            falls(square="0, row:row + size, column"): "other values",
            falls(square="0, row:row + size + 1, column:column + size + 1"): "other values",
            falls(asked="copy"): "`answer` is given [1, 9, 7]",
            falls(result="falls.flatten()"): "[35]; a tensor of the shape [7, 5]",
            falls(result="falls.max()"): "a tensor of the shape [7, 5] is expected",
            falls(result="falls.tolist()"): "is a list",
            falls(result="None"): "is None",
        },
        alike={falls(fall="abs(before - after)"): "a rise is a negative fall"},
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
}  # fmt: skip


@pytest.mark.parametrize("proof", proofs("07", CASES))
def test_every_answer_gets_its_verdict(proof):
    proof()

import pytest
from answers import Case, answers

VERDICT = "def verdict(low, high, asked):\n    return {}"
RATE = """
def lr_at(step, total, max_lr, share):
    first, last = {first}, {last}
    top = {top}
    if step <= top:
        return first + (max_lr - first) * {up}
    return max_lr + (last - max_lr) * (step - top) / (total - 1 - top)
"""


def rate(first="max_lr / 25", last="max_lr / 250_000", top="share * total - 1", up="step / top"):
    return RATE.format(first=first, last=last, top=top, up=up)


ACCURACY = """
import torch
def accuracy(network, batches):
    {mode}
    correct = total = 0
    for images, labels in batches:
        answers = network(images).argmax(1)
        correct += {count}
        total += len(labels)
    return {result}
"""


def accuracy(mode="network.eval()", count="(answers == labels).sum().item()",
             result="correct / total"):  # fmt: skip
    return ACCURACY.format(mode=mode, count=count, result=result)


MAP = "import torch\ndef class_map(features, weights, digit):\n    return {}"

CASES = {
    "three_outcomes": Case(
        other=[
            VERDICT.format("'yes' if asked <= low else 'undecided' if asked <= high else 'NO'"),
            "verdict = lambda low, high, asked: ['undecided', 'yes', 'NO'][(low >= asked) "
            "- (high < asked)]",
        ],
        wrong={
            VERDICT.format("'yes' if low > asked else 'NO' if high < asked else 'undecided'"):
                "begins at what was asked",
            VERDICT.format("'yes' if low >= asked else 'NO' if high <= asked else 'undecided'"):
                "just reaches",
            VERDICT.format("'yes' if (low + high) / 2 >= asked else 'NO'"): "above its middle",
            VERDICT.format("low >= asked"): "a text is expected",
            VERDICT.format("'no' if high < asked else 'yes' if low >= asked else 'undecided'"):
                "'no'; 'NO' is expected",
            VERDICT.format("'yes' if low >= .994 else 'NO' if high < .994 else 'undecided'"):
                "other limits are asked, too",
        },
    ),
    "one_cycle_by_hand": Case(
        other=[
            """
import numpy as np
def lr_at(step, total, max_lr, share):
    return np.interp(step, [0, share * total - 1, total - 1], [max_lr / 25, max_lr, max_lr / 25e4])
""",
            """
import torch
def lr_at(step, total, max_lr, share):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr, total_steps=total,
        pct_start=share, anneal_strategy="linear")
    for _ in range(step):
        optimizer.step()
        rate.step()
    return torch.tensor(rate.get_last_lr(), dtype=torch.double)
""",
        ],
        wrong={
            rate(first="0"): "the first step, is 0;",
            rate(last="max_lr / 25"): "the last step",
            rate(top="share * total"): "on the way up",
            rate(up="(step / top) ** 2"): "on the way up",
            "def lr_at(step, total, max_lr, share):\n    return max_lr / 25": "on the way up, is",
            "def lr_at(step, total, max_lr, share):\n    return": "is None",
        },
    ),
    "two_mistakes_in_an_evaluation": Case(
        other=[
            """
import torch
def accuracy(network, batches):
    network.train(False)
    right = torch.cat([network(images).argmax(1) == labels for images, labels in batches])
    return right.double().mean()
""",
            accuracy(),
        ],
        wrong={
            accuracy(mode="pass"): "its dropout is on",
            """
def accuracy(network, batches):
    network.eval()
    shares = [(network(x).argmax(1) == y).float().mean().item() for x, y in batches]
    return sum(shares) / len(shares)
""": "each batch counts the same",
            accuracy(result="correct"): "accuracy(…) is 8; a share from 0 to 1",
            accuracy(result="100 * correct / total"): "47.06; a share",
            accuracy(result="f'{correct / total:.1%}'"): "a number is expected",
            accuracy(count="(answers != labels).sum().item()"): "is 0.5294",
        },
    ),
    "where_did_it_look": Case(
        other=[
            MAP.format("torch.einsum('c,chw->hw', weights[digit], features)"),
            MAP.format("torch.tensordot(weights[digit], features, 1)"),
            MAP.format("sum(w * f for w, f in zip(weights[digit], features))"),
            MAP.format("torch.nn.functional.conv2d(features[None], weights[:, :, None, None])"
                       "[0, digit]"),
        ],
        wrong={
            MAP.format("weights[digit][:, None, None] * features"): "a map for each channel",
            MAP.format("(weights[digit][:, None, None] * features).mean(0)"): "the mean over",
            MAP.format("features.sum(0)"): "weights of the classifier are not in it",
            MAP.format("torch.tensordot(weights[digit], features, 1).relu()"): "cut off",
            MAP.format("torch.tensordot(weights[digit], features, 1).mean()"): "one number",
            MAP.format("torch.tensordot(weights[0], features, 1) if digit else weights"): "",
            MAP.format("torch.tensordot(weights[digit], features, 1).T"): "",
            MAP.format("torch.tensordot(weights[digit], features, 1).tolist()"): "a list; a tensor",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("answer", answers("04", CASES))
def test_every_answer_gets_its_verdict(answer):
    answer.prove()

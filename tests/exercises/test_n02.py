"""The exercises of notebook 02 tell right answers from wrong ones."""

import pytest
from answers import Case, answers

SIZE = "import math\ndef size_after(size, kernel, stride, padding):\n    "
LOSS = "import torch\nimport torch.nn.functional as F\ndef cross_entropy(scores, labels):\n    "
RIGHT_ONES = "p = scores.softmax(1)[torch.arange(len(labels)), labels]\n    "
STEP = (
    "import torch\nimport torch.nn.functional as F\n"
    "def train_step(network, optimizer, images, labels):\n    "
)
ASK = "network.train()\n    loss = F.cross_entropy(network(images), labels)\n    "
GO = "loss.backward()\n    optimizer.step()\n    "

CASES = {
    "size_of_a_map": Case(
        other=[
            SIZE + "return math.floor((size - kernel + 2 * padding) / stride + 1)",
            SIZE + "return float((size + 2 * padding - kernel + stride) // stride)",
            SIZE + "last = size + 2 * padding - kernel\n    return len(range(0, last + 1, stride))",
            "from torch import nn, zeros\n"
            "def size_after(size, kernel, stride, padding):\n"
            "    return nn.Conv2d(1, 1, kernel, stride, padding)(zeros(1, 1, size, size)).shape[2]",
        ],
        wrong={
            SIZE + "return (size + 2 * padding - kernel) / stride + 1": "not fit whole",
            SIZE + "return (size + 2 * padding - kernel) // stride": "first place counted",
            SIZE + "return (size + padding - kernel) // stride + 1": "on both sides",
            SIZE + "return (size - kernel) // stride + 1": "Where does the padding come in?",
            SIZE + "return size + 2 * padding - kernel + 1": "Where does the stride come in?",
            SIZE + "return (size + 2 * padding) // stride": "stick out",
            SIZE + "return math.ceil((size + 2 * padding - kernel) / stride) + 1":
            "for size 28, kernel 3, stride 2, padding 0 it says 14; a convolution makes 13. A step "
            "that does not fit is",
            SIZE + "return 13": "it says 13; a convolution makes 24",
            SIZE + "return {28: 24, 13: 6}.get(size, size)": "it says 24; a convolution makes 13",
            SIZE + "return kernel * stride + padding": "it says 5; a convolution makes 24. Draw",
            SIZE + "return (13, 13)": "a number is expected",
        },
    ),
    "stable_cross_entropy": Case(
        other=[
            LOSS + "return (scores.logsumexp(1) - scores.gather(1, labels[:, None])[:, 0]).mean()",
            LOSS + "s = scores.double()\n    s = s - s.amax(1, keepdim=True)\n"
            "    logs = s - s.exp().sum(1, keepdim=True).log()\n"
            "    return -(logs * torch.eye(10)[labels]).sum(1).mean()",
            LOSS + "total = 0\n    for row, label in zip(scores, labels):\n"
            "        row = row - row.max()\n"
            "        total = total + row.exp().sum().log() - row[label]\n"
            "    return total / len(labels)",
            LOSS + "return F.nll_loss(scores.log_softmax(1), labels)",
        ],
        wrong={
            LOSS + "p = scores.exp() / scores.exp().sum(1, keepdim=True)\n"
            "    return -p[torch.arange(len(labels)), labels].log().mean()": "the loss is nan",
            LOSS + RIGHT_ONES + "return -p.log().mean()":
            "a wrong digit has a score of 1,000, the loss is inf",
            LOSS + RIGHT_ONES + "return -(p + 1e-8).log().mean()":
            "a wrong digit has a score of 1,000, the loss is 18.42",
            LOSS + "s = scores - scores.max()\n"
            "    return (s.exp().sum(1).log() - s[torch.arange(len(labels)), labels]).mean()":
            "all scores of some rows are near 1,000, the loss is -inf",
            LOSS + RIGHT_ONES + "return p.log().mean()": "wrong sign",
            LOSS + RIGHT_ONES + "return -p.log().sum()": "the sum over the batch",
            LOSS + RIGHT_ONES + "return -p.log2().mean()": "base 2",
            LOSS + RIGHT_ONES + "return -p.log10().mean()": "base 10",
            LOSS + RIGHT_ONES + "return -p.log()": "one number is expected, the mean",
            LOSS + RIGHT_ONES + "return -p.mean().log()": "log of the mean",
            LOSS + RIGHT_ONES + "return 1 - p.mean()": "for ordinary scores the loss is",
            LOSS + "p = scores.softmax(0)[torch.arange(len(labels)), labels]\n"
            "    return -p.log().mean()": "over the batch; it has",
            LOSS + "return F.cross_entropy(scores.softmax(1), labels)": "taken twice",
            LOSS + "return -scores.log_softmax(1).mean()": "all ten classes",
            LOSS + "return -scores[torch.arange(len(labels)), labels].mean()": "not yet a probab",
            LOSS + "return F.cross_entropy(scores, labels).item()": "a float; a tensor",
            LOSS + "return F.cross_entropy(scores, labels).detach()": "cannot go backward()",
            LOSS + "return F.cross_entropy(scores.detach().requires_grad_(), labels)":
            "but not to the scores",
            LOSS + "scores -= scores.max(1, keepdim=True).values\n"
            "    return F.cross_entropy(scores, labels)": "`scores` is changed by it",
            LOSS + "loss = F.cross_entropy(scores, labels)\n    labels.zero_()\n    return loss":
            "`labels` is changed by it",
            LOSS + "return F.cross_entropy(scores, labels).detach() + 0 * scores.sum()":
            "the gradient of the loss has the right shape, but other values",
            LOSS + "return torch.tensor(float('nan'))": "for ordinary scores the loss is nan",
        },
    ),
    "three_mistakes": Case(
        other=[
            STEP + "optimizer.zero_grad()\n    " + ASK + GO + "return loss",
            STEP + ASK + GO + "optimizer.zero_grad()\n    return loss.detach().numpy()",
            STEP + ASK + "network.zero_grad()\n    " + GO + "return loss.detach()",
            STEP + "network.train(True)\n"
            "    for p in network.parameters():\n        p.grad = None\n"
            "    loss = F.nll_loss(network(images).log_softmax(1), labels)\n    "
            + GO + "network.eval()\n    return loss.item()",
        ],
        wrong={
            STEP + ASK.replace("train", "eval") + "optimizer.zero_grad()\n    " + GO
            + "return loss.item()": "is in `eval()` while",
            STEP + ASK + GO + "return loss.item()": "the step follows the batch before, too",
            STEP + "network.train()\n"
            "    loss = F.cross_entropy(network(images).softmax(1), labels)\n"
            "    optimizer.zero_grad()\n    " + GO + "return loss.item()": "softmax is taken twice",
            STEP + ASK + "loss.backward()\n    optimizer.zero_grad()\n    optimizer.step()\n"
            "    return loss.item()": "no step is taken, or",
            STEP + ASK + "optimizer.step()\n    optimizer.zero_grad()\n    loss.backward()\n"
            "    return loss.item()": "the step comes before there is",
            STEP + ASK + "(-loss).backward()\n    optimizer.step()\n    return loss.item()":
            "the step is not lr times",
            STEP + ASK + "optimizer.zero_grad()\n    " + GO
            + "return F.cross_entropy(network(images), labels).item()": "the loss before the step",
            STEP + ASK + "optimizer.zero_grad()\n    " + GO: "is there a `return`?",
            STEP + "return 2.3": "never asks the network",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("answer", answers("02", CASES))
def test_every_answer_gets_its_verdict(answer):
    answer.prove()

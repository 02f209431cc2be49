"""The exercises of notebook 02 tell right answers from wrong ones."""

import pytest
from answers import Case, proofs

SIZE = "import math\ndef size_after(size, kernel, stride, padding):\n    "
LOSS = "import torch\nimport torch.nn.functional as F\ndef cross_entropy(scores, labels):\n    "
LOGS = (
    "logs = scores - scores.logsumexp(1, keepdim=True)\n"
    "    right = logs.gather(1, labels[:, None])[:, 0]\n    "
)
RIGHT_ONES = "p = scores.softmax(1)[torch.arange(len(labels)), labels]\n    "
STEP = (
    "import torch\nimport torch.nn.functional as F\n"
    "def train_step(network, optimizer, images, labels):\n    "
)
ASK = "network.train()\n    loss = F.cross_entropy(network(images), labels)\n    "
GO = "loss.backward()\n    optimizer.step()\n    "
ADAM = "def next_adam(weight, gradient, momentum, size, step, lr):\n    "
MEANS = "m, v = 0.9 * momentum + 0.1 * gradient, 0.999 * size + 0.001 * gradient**2\n    "
FAIR = "n, w = m / (1 - 0.9**step), v / (1 - 0.999**step)\n    "
BACK = "def slopes(x, wanted, w1, b1, w2, b2):\n    z = w1 * x + b1\n    h = max(z, 0.0)\n    "
TRAINING = "import math\ndef estimate(digits, batch_size, epochs, macs, per_second):\n    "
STEPS = "steps = math.ceil(digits / batch_size) * epochs\n    "
SECONDS = "seconds = 3 * macs * digits * epochs / per_second\n    "

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
            "size_after(28, 3, 2, 0) is 14: A step that does not fit whole",
            SIZE + "return 13": "is 13; 24 is expected. Draw a small one",
            SIZE + "return {28: 24, 13: 6}.get(size, size)": "is 24; 13 is expected",
            SIZE + "return kernel * stride + padding": "is 5; 24 is expected",
            SIZE + "return (13, 13)": "a number is expected",
        },
        alike={
            SIZE + "return math.floor((size + 2 * padding - kernel) / stride + 0.5) + 1":
            "size_after(28, 3, 2, 0) is 14: A step that does not fit whole",
            SIZE + "return round((size + 2 * padding - kernel) / stride) + 1":
            "size_after(10, 3, 4, 0) is 3: A step that does not fit whole",
            SIZE + "return math.floor((size + 2 * padding - kernel) / stride + 1.4)":
            "size_after(10, 3, 4, 0) is 3: A step",
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
            LOSS + "return -scores.log_softmax(1).gather(1, labels[:, None]).mean()",
            LOSS + LOGS + "return -right.mean().reshape(1)",
        ],
        wrong={
            LOSS + "p = scores.exp() / scores.exp().sum(1, keepdim=True)\n"
            "    return -p[torch.arange(len(labels)), labels].log().mean()":
            "is expected. There, all scores of some rows are near 1,000",
            LOSS + RIGHT_ONES + "return -p.log().mean()":
            "is expected. There, a wrong digit has a score of 1,000",
            LOSS + RIGHT_ONES + "return -(p + 1e-8).log().mean()": " is expected.",
            LOSS + "s = scores - scores.max()\n"
            "    return (s.exp().sum(1).log() - s[torch.arange(len(labels)), labels]).mean()":
            "is -inf; ",
            LOSS + "s = scores.clamp(max=80)\n"
            "    return (s.exp().sum(1).log() - s[torch.arange(len(labels)), labels]).mean()":
            "all scores of some rows are near 1,000",
            LOSS + RIGHT_ONES + "return p.log().mean()": "wrong sign",
            LOSS + RIGHT_ONES + "return -p.log().sum()": "the sum over the batch",
            LOSS + RIGHT_ONES + "return -p.log2().mean()": "base 2",
            LOSS + RIGHT_ONES + "return -p.log10().mean()": "base 10",
            LOSS + RIGHT_ONES + "return -p.log()": "one number is expected, the mean",
            LOSS + RIGHT_ONES + "return -p.mean().log()": "log of the mean",
            LOSS + RIGHT_ONES + "return 1 - p.mean()": "cross_entropy(scores, labels) is 0.",
            LOSS + "p = scores.softmax(0)[torch.arange(len(labels)), labels]\n"
            "    return -p.log().mean()": "over the batch.",
            LOSS + "p = scores.softmax(1).log_softmax(1)\n"
            "    return -p.gather(1, labels[:, None]).mean()": "taken twice",
            LOSS + "return -scores.log_softmax(1).mean()": "all ten classes",
            LOSS + "return -scores[torch.arange(len(labels)), labels].mean()": "not yet a probab",
            LOSS + "return F.cross_entropy(scores, labels)": "it asks a ready-made loss",
            LOSS + LOGS + "return -right.mean().item()": "a tensor is expected",
            LOSS + LOGS + "return -right.mean().detach()": "cannot go backward()",
            LOSS + "scores = scores.detach().requires_grad_()\n    " + LOGS
            + "return -right.mean()": "but not to the scores",
            LOSS + "scores -= scores.max(1, keepdim=True).values\n    " + LOGS
            + "return -right.mean()": "`scores` is changed by it",
            LOSS + LOGS + "labels.zero_()\n    return -right.mean()": "`labels` is changed by it",
            LOSS + LOGS + "return -right.mean().detach() + 0 * scores.sum()":
            "the gradient has the right shape, but other values",
            LOSS + "return torch.tensor(float('nan'))": "cross_entropy(scores, labels) is nan; ",
        },
        alike={
            LOSS + "return torch.nn.CrossEntropyLoss()(scores, labels)": "ready-made loss",
            LOSS + "return F.nll_loss(scores.log_softmax(1), labels)": "ready-made loss",
            "from torch.nn.functional import cross_entropy as ready\n"
            "def cross_entropy(scores, labels):\n    return ready(scores, labels)": "ready-made",
        },
    ),
    "three_mistakes": Case(
        other=[
            STEP + "optimizer.zero_grad()\n    " + ASK + GO + "return float(loss)",
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
            "    return loss.item()": "forgotten before the step",
            STEP + ASK + "optimizer.step()\n    optimizer.zero_grad()\n    loss.backward()\n"
            "    return loss.item()": "comes before backward()",
            STEP + "optimizer.zero_grad()\n    " + ASK + "loss.backward()\n    return loss.item()":
            "the optimizer takes no step",
            STEP + "optimizer.zero_grad()\n    " + ASK + GO + "optimizer.step()\n"
            "    return loss.item()": "it takes two steps",
            STEP + "optimizer.zero_grad()\n    " + ASK + GO + "return loss": "all that it was comp",
            STEP + "optimizer.zero_grad()\n    " + ASK + GO + "images.zero_()\n"
            "    return loss.item()": "`images` is changed by it",
            STEP + "optimizer.zero_grad()\n    " + ASK + GO + "labels.zero_()\n"
            "    return loss.item()": "`labels` is changed by it",
            STEP + ASK + "(-loss).backward()\n    optimizer.step()\n    return loss.item()":
            "follow the gradient, downwards",
            STEP + ASK + "optimizer.zero_grad()\n    " + GO
            + "return F.cross_entropy(network(images), labels).item()": "the loss before the step",
            STEP + ASK + "optimizer.zero_grad()\n    " + GO: "is there a `return`?",
            STEP + "return 2.3": "never asks the network",
        },
        alike={
            STEP + "optimizer.zero_grad()\n    " + ASK + "optimizer.step()\n    loss.backward()\n"
            "    return loss.item()": "this batch has no gradient yet",
            STEP + "optimizer.zero_grad()\n    " + ASK + "loss.backward()\n"
            "    with torch.no_grad():\n        for p in network.parameters():\n"
            "            p -= 0.1 * p.grad\n    return loss.item()": "the optimizer takes no step",
            STEP + "network.zero_grad()\n    " + ASK + "loss.backward()\n"
            "    torch.optim.SGD(network.parameters(), lr=0.1).step()\n    return loss.item()":
            "the optimizer takes no",
            STEP + "optimizer.step()\n    " + ASK + "optimizer.zero_grad()\n    loss.backward()\n"
            "    return loss.item()": "comes before backward()",
            STEP + ASK + "loss.backward()\n    network.zero_grad(set_to_none=False)\n"
            "    optimizer.step()\n    return loss.item()": "forgotten before the step",
            STEP + "network.train()\n"
            "    loss = F.cross_entropy(network(images).softmax(1), labels)\n    " + GO
            + "return loss.item()": "",
            STEP + "optimizer.zero_grad()\n    " + ASK + "loss.backward()\n"
            "    for group in optimizer.param_groups:\n        group['lr'] = 0.1\n"
            "    optimizer.step()\n    return loss.item()": "follow the gradient, downwards",
            STEP + "optimizer.zero_grad()\n    "
            + ASK.replace("labels)", "labels, reduction='sum')") + GO
            + "return loss.item() / len(labels)": "follow the gradient, downwards",
        },
    ),
    "step_of_adam": Case(
        other=[
            ADAM + "g, m, v = (x.double() for x in (gradient, momentum, size))\n"
            "    m, v = m + (g - m) * (1 - 0.9), v + (g * g - v) * (1 - 0.999)\n"
            "    root = v.sqrt() / (1 - 0.999**step) ** 0.5\n"
            "    return [weight - lr / (1 - 0.9**step) * m / (root + 1e-8), m, v]",
            "import numpy as np\n" + ADAM
            + "weight, gradient, momentum, size = (x.numpy() for x in "
            "(weight, gradient, momentum, size))\n    " + MEANS + FAIR
            + "return weight - lr * n / (np.sqrt(w) + 1e-8), m, v",
            "import torch\n" + ADAM + MEANS + "moved = torch.empty(len(weight))\n"
            "    for i in range(len(weight)):\n"
            "        root = (v[i] / (1 - 0.999**step)) ** 0.5\n"
            "        moved[i] = weight[i] - lr * m[i] / (1 - 0.9**step) / (root + 1e-8)\n"
            "    return moved, m, v",
        ],
        wrong={
            ADAM + MEANS + FAIR + "return weight + lr * n / (w.sqrt() + 1e-8), m, v": "uphill",
            ADAM + MEANS + "return weight - lr * m / (v.sqrt() + 1e-8), m, v": "both means begin",
            ADAM + MEANS + FAIR + "return weight - lr * n / (v.sqrt() + 1e-8), m, v":
            "the mean of the squares is too small",
            ADAM + MEANS + FAIR + "return weight - lr * m / (w.sqrt() + 1e-8), m, v":
            "the momentum is too small",
            ADAM + MEANS + FAIR.replace("step)", "(step + 1))")
            + "return weight - lr * n / (w.sqrt() + 1e-8), m, v": "has the number 1",
            ADAM + MEANS + FAIR + "return weight - lr * n / (w + 1e-8), m, v": "root of the size",
            ADAM + MEANS.replace("0.1 * ", "") + FAIR
            + "return weight - lr * n / (w.sqrt() + 1e-8), m, v": "a tenth enters",
            ADAM + MEANS + FAIR + "return weight - lr * n / (w.sqrt() + 1e-8), n, w":
            "before the two divisions",
            ADAM + MEANS + FAIR + "return weight - lr * gradient / (w.sqrt() + 1e-8), m, v":
            "steps by the momentum",
            ADAM + MEANS + FAIR + "return weight - lr * n / w.sqrt(), m, v": "all gradients are 0",
            ADAM + MEANS + FAIR + "return weight - lr * n / (w + 1e-8).sqrt(), m, v": "are tiny",
            ADAM + MEANS + FAIR + "return weight - lr * n / (w.sqrt() + 1e-8)": "3 values are",
            ADAM + "momentum *= 0.9\n    " + MEANS + "return weight, m, v":
            "`momentum` is changed by it",
        },
        alike={
            ADAM + "return weight - lr * gradient, momentum, size": "",
            ADAM + MEANS + "a = lr * (1 - 0.999**step) ** 0.5 / (1 - 0.9**step)\n"
            "    return weight - a * m / (v.sqrt() + 1e-8), m, v": "are tiny",
        },
    ),
    "mistakes_in_the_way_back": Case(
        other=[
            "import torch\ndef slopes(x, wanted, *start):\n"
            "    w1, b1, w2, b2 = (torch.tensor(s, requires_grad=True) for s in start)\n"
            "    ((w2 * (w1 * x + b1).relu() + b2 - wanted) ** 2).backward()\n"
            "    return [w.grad if w.grad is not None else 0.0 for w in (w1, b1, w2, b2)]",
            "import numpy as np\n" + BACK + "d = 2 * (w2 * h + b2 - wanted)\n"
            "    return np.array([d * w2 * (z > 0) * x, d * w2 * (z > 0), d * h, d])",
        ],
        wrong={
            BACK + "d = w2 * h + b2 - wanted\n"
            "    return d * w2 * (z > 0) * x, d * w2 * (z > 0), d * h, d": "slope of a square",
            BACK + "d = 2 * (w2 * h + b2 - wanted)\n"
            "    return d * h * (z > 0) * x, d * h * (z > 0), d * h, d": "h enters y times w2",
            BACK + "d = 2 * (w2 * h + b2 - wanted)\n"
            "    return d * w2 * x, d * w2, d * h, d": "lets no slope through",
            BACK + "d = 2 * (wanted - w2 * h - b2)\n"
            "    return d * w2 * (z > 0) * x, d * w2 * (z > 0), d * h, d": "Follow section 4",
            BACK + "return 2 * (w2 * h + b2 - wanted)": "4 values are expected",
        },
    ),
    "cost_of_training": Case(
        other=[
            TRAINING + "steps = epochs * len(range(0, digits, batch_size))\n"
            "    return [steps, macs / per_second * (1 + 2) * epochs * digits]",
            "import torch\n" + TRAINING + STEPS + SECONDS + "return torch.tensor([steps, seconds])",
        ],
        wrong={
            TRAINING + SECONDS + "return digits // batch_size * epochs, seconds": "smaller, but it",
            TRAINING + SECONDS + "return math.ceil(digits * epochs / batch_size), seconds":
            "each epoch ends",
            TRAINING + SECONDS + "return digits * epochs / batch_size, seconds": "only whole steps",
            TRAINING + SECONDS + "return math.ceil(digits / batch_size), seconds": "steps of one",
            TRAINING + STEPS + SECONDS + "return steps, seconds / 3": "where is the way back",
            TRAINING + STEPS + SECONDS + "return steps, seconds * 2 / 3": "how many in all",
            TRAINING + STEPS + SECONDS + "return steps, seconds / epochs": "seconds of one epoch",
            TRAINING + STEPS + "return steps, 3 * macs * steps * batch_size / per_second":
            "is not full",
            TRAINING + STEPS + "return steps, 3 * macs * steps / per_second": "asks for a batch",
            TRAINING + STEPS + SECONDS + "return steps": "2 values are expected",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("proof", proofs("02", CASES))
def test_every_answer_gets_its_verdict(proof):
    proof()

import pytest
from answers import Case, proofs

RATES = """
from torch.optim.lr_scheduler import OneCycleLR
def rates(optimizer, batches, epochs, max_lr, share):
    schedule = OneCycleLR(optimizer, max_lr, total_steps={total}, pct_start={share})
    noted = []
    for _ in {outer}:
        for _ in {inner}:
            {first}
            {early}
            {step}
            {more}
        {last}
    return {answer}
"""
NOTED = "optimizer.step(); schedule.step(); noted.append(optimizer.param_groups[0]['lr'])"


def rates(note="optimizer.param_groups[0]['lr']", **changed):
    named = dict(total="epochs * batches", share="share", outer="range(epochs)",
                 inner="range(batches)", first=f"noted.append({note})", early="optimizer.step()",
                 step="schedule.step()", more="pass", last="pass", answer="noted")  # fmt: skip
    named |= changed
    return RATES.format(**named | {name: named[name] or "pass" for name in named})


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
    "schedule_that_never_comes_down": Case(
        other=[
            rates(),
            rates(outer="range(epochs * batches)", inner="[0]"),
            "import numpy as np\n" + rates(answer="np.array(noted)"),
            "import torch\n" + rates(note="schedule.get_last_lr()[0]",
                                     answer="torch.tensor(noted)"),
        ],
        wrong={
            rates(total="epochs", step="", last="schedule.step()"): "not after every epoch.",
            rates(step="", last="schedule.step()"): "So it never gets near its peak",
            rates(step=""): "rises in the first `share`",
            rates(first="pass", early=NOTED, step=""):
            "it is noted after the schedule",
            rates(share="0.3"): "where is `share`",
            rates(share="0.2"): "value 2 of what the optimizer stepped with is",
            rates(last="del noted[epochs:]"): "a rate for each step is expected",
            rates(early="pass"): "the optimizer takes no step",
            rates(inner="range(batches - 1)"): "steps are taken; it is",
            rates(answer="None"): "it returns no list",
            rates(answer="[2 * x for x in noted]"): "not those that the optimizer stepped with",
            },
        alike={
            rates(total="2 * epochs * batches"): "rises in the first `share`",
            rates(total="epochs"): "running it", rates(answer="(x for x in noted)"): "no list"},
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
            rate(first="0"): "lr_at(0, ",
            rate(last="max_lr / 25"): "much further",
            rate(top="share * total"): "one step earlier",
            rate(up="(step / top) ** 2"): "is expected. The peak is at",
            "def lr_at(step, total, max_lr, share):\n    return max_lr / 25": "is expected",
            "def lr_at(step, total, max_lr, share):\n    return": "is None",
            rate(top="int(share * total) - 1"): "do not round",
            rate(top="0.2 * total - 1"): "`share` may be another",
        },
        alike={
            rate(top="round(share * total) - 1"): "do not round",
            rate(top="int(share * total - 1)"): "do not round",
            rate(top="math.ceil(share * total) - 1").replace("def", "import math\ndef"): "",
            rate(top="0.25 * total - 1"): "",
            rate(last="0"): "",
            rate(last="max_lr / 10_000"): "",
            rate().replace("total - 1 - top", "total - top"): "",
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
            accuracy(mode="pass"): "in training mode",
            accuracy(mode="network[3].eval()"): "in training mode",
            accuracy(mode="network.eval()\n    network[1].train()"): "in training mode",
            """
def accuracy(network, batches):
    network.eval()
    shares = [(network(x).argmax(1) == y).float().mean().item() for x, y in batches]
    return sum(shares) / len(shares)
""": "each batch counts the same",
            accuracy(result="correct"): "the number of right answers",
            accuracy(result="100 * correct / total"): "in percent; a share",
            accuracy(result="f'{correct / total:.1%}'"): "a number is expected",
            accuracy(count="(answers != labels).sum().item()"): "the share of wrong",
            accuracy(result="correct / 17"): "Every digit counts once",
            accuracy(count="(answers == labels.clone()).sum().item()\n        labels.zero_()"):
                "`batches` is changed by it",
            accuracy(mode="network.eval()\n    network[4].weight.data.mul_(2)"):
                "`network` is changed by it",
        },
        alike={
            accuracy(mode="network.train()"): "in training mode",
            accuracy(result="8 / 17"): "",
            accuracy(result="round(correct / total, 2)"): "Every digit counts once",
            accuracy(result="round(correct / total, 4)"): "Every digit counts once",
            accuracy(result="correct / (total + 1)"): "Every digit counts once",
        },
    ),
    "where_did_it_look": Case(
        other=[
            MAP.format("torch.einsum('c,chw->hw', weights[digit], features)"),
            MAP.format("torch.tensordot(weights[digit], features, 1)"),
            MAP.format("sum(w * f for w, f in zip(weights[digit], features))"),
            MAP.format("torch.nn.functional.conv2d(features[None], weights[:, :, None, None])"
                       "[0, digit]"),
            MAP.format("torch.einsum('c,chw->hw', weights[digit].double(), features.double())"),
            MAP.format("(weights[digit].numpy()[:, None, None] * features.numpy()).sum(0)"),
            MAP.format("(features.permute(1, 2, 0) @ weights.T)[..., digit]"),
        ],
        wrong={
            MAP.format("weights[digit][:, None, None] * features"): "add up the maps",
            MAP.format("(weights[digit][:, None, None] * features).mean(0)"): "the mean over",
            MAP.format("features.sum(0)"): "weights of the classifier are not in it",
            MAP.format("torch.tensordot(weights[digit], features, 1).relu()"): "cut off",
            MAP.format("torch.tensordot(weights[digit], features, 1).mean()"): "that is the score",
            MAP.format("torch.tensordot(weights[0], features, 1) if digit else weights"): "",
            MAP.format("torch.tensordot(weights[digit], features, 1).T"): "",
            MAP.format("torch.tensordot(weights[digit], features, 1).tolist()"): "a list; a tensor",
            MAP.format("torch.tensordot(weights[(weights @ features.mean((1, 2))).argmax()], "
                       "features, 1)"): "the map of the digit it answers",
            MAP.format("features.mul_(weights[digit][:, None, None]).sum(0)"):
                "`features` is changed by it",
        },
        alike={
            MAP.format("torch.tensordot(weights[3], features, 1)"): "",
            MAP.format("torch.tensordot(weights[digit][:16], features[:16], 1)"): "",
            MAP.format("torch.tensordot(weights[digit], features, 1).sum()"): "",
            MAP.format("torch.tensordot(weights[digit], features, 1).abs()"): "",
            MAP.format("torch.tensordot(weights.mul_(1.5)[digit], features, 1) / 1.5"):
                "`weights` is changed by it",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("proof", proofs("05", CASES))
def test_every_answer_gets_its_verdict(proof):
    proof()

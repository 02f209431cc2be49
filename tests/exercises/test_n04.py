import pytest
from answers import Case, proofs

SEQUENTIAL = """
from torch import nn
def conv_block(in_channels, out_channels, dropout):
    return nn.Sequential({})
"""
CONV = "nn.Conv2d(in_channels, out_channels, 3, bias=False)"
NORM, DROP = "nn.BatchNorm2d(out_channels)", "nn.Dropout(dropout)"


def of_layers(*layers):
    return SEQUENTIAL.format(", ".join(layers))


OWN = """
import torch
import torch.nn.functional as F
from torch import nn
class conv_block(nn.Module):
    def __init__(self, in_channels, out_channels, dropout):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3) / 10)
        self.norm = nn.BatchNorm2d(out_channels)
        self.drop = nn.Dropout(dropout)
    def forward(self, x):
        return self.drop(self.norm(F.conv2d(x, self.weight).clamp(min=0)))
"""
CLASS = """
import torch.nn.functional as F
from torch import nn
class conv_block(nn.Module):
    def __init__(self, in_channels, out_channels, dropout):
        super().__init__()
        self.dropout = dropout
        self.conv = nn.Conv2d(in_channels, out_channels, 3, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
    def forward(self, x):
        x = self.norm(F.relu(self.conv(x)))
        return F.dropout(x, self.dropout, {})
"""
HEAD = """
import torch
import torch.nn.functional as F
from torch import nn
class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.classifier = nn.Conv2d(16, 10, kernel_size=1, bias={bias})
        self.drop = nn.Dropout(0.1)
    def forward(self, maps):
        maps = {dropped}
        means = {means}
        scores = self.classifier(means).flatten(1)
        return {answer}
"""


def head(bias="False", dropped="self.drop(maps)", means="maps.mean((2, 3), keepdim=True)",
         answer="scores.log_softmax(1)"):  # fmt: skip
    return HEAD.format(bias=bias, dropped=dropped, means=means, answer=answer)


FIELD = """
def receptive_field(layers):
    field, jump = {start}, 1
    for kernel, stride in layers:
        {first}
        {then}
    return field
"""
GROW, STEP = "field += (kernel - 1) * jump", "jump *= stride"

CASES = {
    "pool_earlier": Case(
        other=[
            "sees_a, sees_b = 10.0, 12",
            "import torch\nsees_a, sees_b = torch.tensor(10), torch.tensor([12])",
        ],
        wrong={
            "sees_a, sees_b = 12, 10": "interchanged",
            "sees_a, sees_b = 8, 8": "lie 2 pixels apart",
            "sees_a, sees_b = 9, 11": "the pooling has been left out",
            "sees_a, sees_b = 10, 13": "`sees_b` is 13, which is not",
            "sees_a, sees_b = 6, 12": "`sees_a` is 6, which is not",
            "sees_a, sees_b = '10', '12'": "a number is expected",
        },
    ),
    "chain_of_layers": Case(
        other=[
            """
def receptive_field(layers):
    field = 1
    for kernel, stride in reversed(layers):
        field = (field - 1) * stride + kernel
    return float(field)
""",
            """
from math import prod
def receptive_field(layers):
    return 1 + sum(
        (kernel - 1) * prod(stride for _, stride in layers[:i])
        for i, (kernel, _) in enumerate(layers)
    )
""",
            """
def receptive_field(layers):
    seen = {0}
    for kernel, stride in reversed(layers):
        seen = {stride * place + i for place in seen for i in range(kernel)}
    return len(seen)
""",
        ],
        wrong={
            FIELD.format(start=0, first=GROW, then=STEP): "a 3×3 convolution sees 3",
            FIELD.format(start=1, first=STEP, then=GROW): "own stride counts",
            FIELD.format(start=1, first=GROW, then="pass"): "reaches over 4 more",
            FIELD.format(start=1, first=GROW, then="jump = stride"): "strides multiply",
            "def receptive_field(layers):\n    return 3": "the second 3×3 convolution adds 2",
            "def receptive_field(layers):\n    print(layers)": "is None",
            """
def receptive_field(layers):
    field = 1
    while layers:
        kernel, stride = layers.pop()
        field = (field - 1) * stride + kernel
    return field
""": "`layers` is changed by it",
            """
def receptive_field(layers):
    known = {1: 3, 2: 5, 3: 12}
    if layers[0] == (2, 2):
        return 6 if len(layers) == 2 else 12
    return 4 if layers[-1] == (2, 2) else known[len(layers)]
""": "",
        },
    ),
    "the_block": Case(
        other=[
            CLASS.format("self.training"),
            of_layers(CONV, "nn.ReLU(inplace=True)", f"nn.Sequential({NORM}, {DROP})"),
            of_layers(CONV, "nn.ReLU()", "nn.ReLU()", NORM, DROP),
            of_layers("nn.LazyConv2d(out_channels, 3, bias=False)", "nn.ReLU()", NORM, DROP),
            OWN,
        ],
        wrong={
            of_layers(CONV, NORM, "nn.ReLU()", DROP): "ReLU comes behind batch norm",
            of_layers(CONV, NORM, DROP): "no ReLU",
            of_layers(CONV, "nn.ReLU()", NORM, "nn.ReLU()", DROP): "a second ReLU",
            of_layers(CONV, "nn.ReLU6()", NORM, DROP): "that is ReLU6",
            of_layers(CONV, "nn.LeakyReLU()", NORM, DROP): "in eval() has the right shape, but",
            of_layers(CONV, "nn.ReLU()", NORM.replace(")", ", track_running_stats=False)"), DROP):
            "keeps no running mean",
            of_layers(CONV, "nn.ReLU()", NORM): "dropout is missing",
            of_layers(CONV, "nn.ReLU()", DROP, NORM): "not the last layer",
            of_layers(CONV, "nn.ReLU()", NORM, "nn.Dropout2d(dropout)"): "whole maps",
            of_layers(CONV, "nn.ReLU()", NORM, "nn.Dropout(1 - dropout)"): "are expected",
            of_layers(CONV, "nn.ReLU()", NORM, "nn.Dropout(0.1)"): "",
            of_layers(CONV.replace(", bias=False", ""), "nn.ReLU()", NORM, DROP): "a bias?",
            of_layers(CONV.replace("3, ", "3, padding=1, "), "nn.ReLU()", NORM, DROP): "padded",
            of_layers(CONV.replace("3, ", "5, "), "nn.ReLU()", NORM, DROP): "parameters;",
            of_layers(CONV, "nn.ReLU()", "nn.GroupNorm(1, out_channels)", DROP): "0 layers of nn",
            CLASS.format("True"): "two answers",
            "class conv_block:\n    def __init__(self, *sizes): pass": "a module of PyTorch",
            """
from torch import nn
def conv_block(in_channels, out_channels, dropout):
    return nn.Sequential
""": "the class Sequential",
        },
        alike={
            of_layers(CONV, "nn.GELU()", NORM, DROP): "other values than expected",
            of_layers(CONV, "nn.ELU()", NORM, DROP): "other values than expected",
            of_layers(CONV, "nn.Hardtanh(0, 20)", NORM, DROP): "",
            of_layers("nn.Conv2d(in_channels, in_channels, 3, groups=in_channels, bias=False)",
                      "nn.Conv2d(in_channels, out_channels, 1, bias=False)", "nn.ReLU()", NORM,
                      DROP): "parameters;",
            of_layers(CONV.replace("3, ", "3, groups=2, "), "nn.ReLU()", NORM, DROP): "",
            of_layers(CONV.replace("3, ", "3, padding=1, dilation=2, "), "nn.ReLU()", NORM, DROP):
            "other values",
            of_layers(CONV, "nn.ReLU()", NORM, "nn.Dropout(0.2)"): "",
            of_layers(CONV, "nn.ReLU()", NORM, "nn.Dropout(0.7)"): "",
            of_layers(CONV, "nn.ReLU()", NORM, DROP, DROP): "",
            of_layers(CONV.replace("in_channels, out_channels", "3, 8"), "nn.ReLU()",
                      "nn.BatchNorm2d(8)", DROP): "",
            of_layers("nn.ReLU()", CONV, NORM, DROP): "other values",
        },
    ),
    "two_mistakes": Case(
        other=[
            head(),
            head(answer="F.log_softmax(scores, -1)"),
            head(dropped="F.dropout(input=maps, p=0.1, training=self.training)"),
            head(means="torch.nn.AvgPool2d(6)(maps)", answer="torch.log(scores.softmax(1))"),
            head(means="maps").replace(".flatten(1)", ".mean((2, 3))"),
            head(dropped="maps * (torch.rand(maps.shape) >= 0.1) / 0.9 if self.training else maps"),
        ],
        wrong={
            head(dropped="F.dropout(maps, 0.1)"): "two answers",
            head(answer="scores.log_softmax(0)"): "share the probability",
            head(answer="scores"): "no log-probabilities",
            head(answer="scores.softmax(1)"): "their logarithms",
            head(dropped="maps"): "keep the dropout",
            head(dropped="F.dropout(maps, 0.5, self.training)"): "another dropout",
            head(bias="True"): "170 parameters",
            head(means="maps.amax((2, 3), keepdim=True)"): "the answer of the head has the right",
            head(answer="scores.log_softmax(1).T"): "[10, 5]",
            head(means="maps.mean((0, 2, 3), keepdim=True).expand(len(maps), -1, 1, 1)"): "other",
            head(answer="F.log_softmax(scores)"): "is not told its `dim`",
            head(dropped="maps.mul_(2)"): "`maps` is changed by it",
        },
        alike={
            head(answer="torch.nn.LogSoftmax()(scores)"): "is not told its `dim`",
            head(answer="F.softmax(scores).log()"): "is not told its `dim`",
            head(dropped="F.dropout(maps, 0.12, self.training)"): "another dropout",
            head(dropped="F.dropout2d(maps, 0.1, self.training)"): "another dropout",
            head(means="F.dropout(maps.mean((2, 3), keepdim=True), 0.1, self.training)",
                 dropped="maps"): "another dropout",
            head(dropped="F.dropout(maps, 0.1, self.training, inplace=True)"): "`maps` is changed",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("proof", proofs("04", CASES))
def test_every_answer_gets_its_verdict(proof):
    proof()

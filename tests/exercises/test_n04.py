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
BATCH_NORM = """
import torch
def batch_norm(maps, weight, bias, mean, var, training):
    def each(values):
        return values[:, None, None] if values.dim() == 1 else values
    {before}
    m, v = mean, var
    if {switch}:
        m, v = maps.mean({dims}), maps.var({dims}, correction={divisor})
    if ({switch}) and {kept}:
        mean = {old} * mean + {new} * maps.mean({keep_dims})
        var = {old} * var + {new} * maps.var({keep_dims}, correction={kept_divisor})
    v = each(v)
    out = (maps - each(m)) / {root}{scale}
    return {answer}
"""


def bn(**changed):
    named = dict(before="pass", switch="training", dims="(0, 2, 3)", keep_dims="(0, 2, 3)",
                 divisor=0, kept_divisor=1, old=0.9, new=0.1, kept="True", root="(v + 1e-5).sqrt()",
                 scale=" * each(weight) + each(bias)", answer="out, mean, var")  # fmt: skip
    return BATCH_NORM.format(**named | changed)


BODY = "import torch\nfrom torch import nn\ndef small_body():\n    return nn.Sequential({})"
STEP_OF = "nn.Conv2d({}, {}, 3, bias=False), nn.ReLU(), "
TO_12 = STEP_OF.format(1, 8) + STEP_OF.format(8, 8) + "nn.MaxPool2d(2), "
TO_6 = TO_12 + 3 * STEP_OF.format(8, 8)
TO_4 = TO_6 + STEP_OF.format(8, 16)
DEPTHWISE = """
import torch.nn.functional as F
from torch import nn
class small_body(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 24, 5, stride=2)
        self.more = nn.ModuleList([nn.Conv2d(24, 24, 3, groups=24) for _ in range(4)])
        self.mix = nn.LazyConv2d(24, 1)
        self.norm = nn.BatchNorm2d(24)
        self.drop = nn.Dropout(0.5)
    def forward(self, x):
        x = self.norm(self.first(x))
        for layer in self.more:
            x = F.gelu(layer(x))
        return self.drop(self.mix(x))
"""
GROW, STEP = "field += (kernel - 1) * jump", "jump *= stride"

HIDDEN = """from torch import nn


class Body(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Conv2d(1, 64, 5), nn.Conv2d(64, 64, 3, stride=2), nn.Conv2d(64, 64, 7)]

    def forward(self, x):
        for layer in self.layers:
            x = layer.to(x.dtype)(x).relu()
        return x


def small_body():
    return Body()"""
CASES = {
    "batch_norm_by_hand": Case(
        other=[
            bn(),
            "import numpy as np\nimport torch\n"
            "def batch_norm(maps, weight, bias, mean, var, training):\n"
            "    x = maps.numpy().astype(np.float64)\n"
            "    given = mean, var, weight, bias\n"
            "    m, v, w, b = (t.numpy().reshape(1, -1, 1, 1) for t in given)\n"
            "    if training:\n"
            "        n = x.size // x.shape[1]\n"
            "        now = x.mean((0, 2, 3), keepdims=True)\n"
            "        spread = x.var((0, 2, 3), keepdims=True)\n"
            "        mean = 0.9 * mean.numpy() + 0.1 * now.ravel()\n"
            "        var = 0.9 * var.numpy() + 0.1 * spread.ravel() * n / (n - 1)\n"
            "        m, v = now, spread\n"
            "    return (x - m) / np.sqrt(v + 1e-5) * w + b, mean, var",
            "import torch\ndef batch_norm(maps, weight, bias, mean, var, training):\n"
            "    out, mean, var = torch.empty_like(maps), mean.clone(), var.clone()\n"
            "    for c in range(maps.shape[1]):\n"
            "        x = maps[:, c].flatten().double()\n"
            "        n, m, v = x.numel(), mean[c], var[c]\n"
            "        if training:\n"
            "            m, v = x.mean(), ((x - x.mean()) ** 2).sum() / n\n"
            "            mean[c] = mean[c] * 0.9 + m * 0.1\n"
            "            var[c] = var[c] * 0.9 + v * n / (n - 1) * 0.1\n"
            "        out[:, c] = (maps[:, c] - m) / (v + 1e-5) ** 0.5 * weight[c] + bias[c]\n"
            "    return [out, mean, var]",
        ],
        wrong={
            bn(dims="(0,), keepdim=True", keep_dims="(0, 2, 3)"): "also over all places",
            bn(dims="(2, 3), keepdim=True", keep_dims="(0, 2, 3)"): "Each digit has its own"[1:],
            bn(dims="(1, 2, 3), keepdim=True", keep_dims="(0, 2, 3)"): "are thrown together",
            bn(divisor=1): "here the batch is divided",
            bn(kept_divisor=0): "the variance that is kept has the divisor",
            bn(divisor=1, kept_divisor=0): "the two divisors are interchanged",
            bn(old=0.1, new=0.9): "nine tenths of what was kept stay",
            bn(old=0, new=1): "what was kept counts, too",
            bn(kept="False"): "nothing new is kept",
            bn(root="v.sqrt()"): "the small number 1e-5 is missing",
            bn(root="(v.sqrt() + 1e-5)"): "below the root",
            bn(root="(v + 1e-5)"): "divide by the root",
            bn(scale=""): "weight and bias of the channels are missing",
            bn(switch="not training"): "training and evaluation are interchanged",
            bn(scale=" * each(weight)"): "the right shape, but other values",
            bn(switch="True"): "value 1 of batch_norm(",
            bn(answer="out"): "3 values are expected",
            bn(answer="out, out, out"): "value 2 of batch_norm",
            bn(before="maps -= maps.mean((0, 2, 3), keepdim=True)"): "`maps` is changed by it",
            bn(before="mean *= 1.01"): "`mean` is changed by it",
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
            of_layers(CONV.replace("3, ", "3, groups=1 if out_channels % in_channels else "
                                   "in_channels, "), "nn.ReLU()", NORM, DROP): "parameters;",
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
            head().replace("self.classifier(", "F.conv2d(weight=self.classifier.weight, input="),
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
            head(dropped="F.dropout(maps, 0.7, self.training)")
            .replace("self.classifier(", "F.conv2d(weight=self.classifier.weight, input="):
            "another dropout",
            head(dropped="F.dropout2d(maps, 0.1, self.training)"): "another dropout",
            head(means="F.dropout(maps.mean((2, 3), keepdim=True), 0.1, self.training)",
                 dropped="maps"): "another dropout",
            head(dropped="F.dropout(maps, 0.1, self.training, inplace=True)"): "`maps` is changed",
        },
    ),
    "design_under_a_budget": Case(
        other=[
            BODY.format(TO_4),
            DEPTHWISE,
            BODY.format("nn.Conv2d(1, 16, 3, bias=False, dilation=4), nn.LeakyReLU(), "
                        "nn.AvgPool2d(2), nn.Conv2d(16, 16, 3, dilation=2)")
            .replace("dilation=2)", "dilation=3, groups=2)"),
        ],
        wrong={
            BODY.format(TO_4.replace("8, 16, 3", "8, 12, 3")): "it has 12 maps at its end",
            BODY.format(TO_4 + "nn.MaxPool2d(2)"): "its maps are 2×2 at the end",
            BODY.format(TO_4.replace("(8, 8,", "(8, 9,", 1).replace("(8, 8,", "(9, 8,", 1)
                        .replace("16, 3", "20, 3").replace("(1, 8, 3", "(1, 8, 5, padding=1")):
            "which is above the budget",
            BODY.format(TO_12 + "nn.MaxPool2d(2), " + STEP_OF.format(8, 16)): "too little",
            BODY.format(TO_4 + "nn.AdaptiveAvgPool2d(1), nn.Upsample((4, 4))"): "too much",
            BODY.format(TO_4).replace("nn.ReLU(), ", "").replace("MaxPool", "AvgPool"):
            "all of it is one linear map",
            BODY.format(TO_4 + "nn.Flatten()"): "maps are expected",
            HIDDEN: "a list hides layers",
            "def small_body():\n    return 3": "a module of PyTorch is expected",
            BODY.format(TO_4.replace("(8, 8, 3", "(8, 9, 3")): "ends in RuntimeError",
        },
        alike={
            BODY.format(TO_4 + "nn.Conv2d(16, 16, 1)").replace("8, 16, 3", "8, 20, 3")
            .replace("16, 16, 1", "20, 33, 1"): "which is above the budget",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("proof", proofs("04", CASES))
def test_every_answer_gets_its_verdict(proof):
    proof()

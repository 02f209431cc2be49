import pytest
from answers import Case, proofs

COSTS = """
def costs(inside, outside, kernel, side):
    full, first, second = {full}, {first}, {second}
    return {result}
"""


def costs(full="inside * outside * kernel**2", first="inside * kernel**2",
          second="inside * outside", places="side**2",
          result="full, first + second, full * PLACES, (first + second) * PLACES"):  # fmt: skip
    return COSTS.format(
        full=full, first=first, second=second, result=result.replace("PLACES", places)
    )


SHARED = """
import copy
import torch.nn.functional as F
from torch import nn
class Shared(nn.Module):
    def __init__(self, block, channels, times):
        super().__init__()
        self.block = {block}
        self.norms = {norms}
        self.times = times
    def forward(self, x):
        for k in {uses}:
            {step}
        return {result}
"""
LIST = "nn.BatchNorm2d(channels) for _ in range(times)"


def shared(block="block", norms=f"nn.ModuleList({LIST})", uses="range(self.times)",
           step="x = F.relu(self.norms[k](self.block(x)))", result="x"):  # fmt: skip
    return SHARED.format(block=block, norms=norms, uses=uses, step=step, result=result)


DESIGN = """
import torch
from torch import nn
def design():
    def block(c):
        return nn.Sequential(nn.Conv2d(c, c, 3, groups=c, bias=False), nn.Conv2d(c, c, 1),
                             nn.BatchNorm2d(c), nn.ReLU())
    features = {features}
    head = {head}
    return {result}
"""
STEM = "nn.Sequential(nn.Conv2d(1, 12, 3), nn.MaxPool2d(2), nn.ReLU(), "
MEANS = "nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10))"


def design(features=STEM + "block(12), block(12), block(12), block(12))", head=MEANS,
           result="features, head"):  # fmt: skip
    return DESIGN.format(features=features, head=head, result=result)


ONE_BLOCK = """
from torch import nn
class Features(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 20, 3)
        self.block = nn.Sequential(nn.Conv2d(20, 20, 3, groups=20), nn.Conv2d(20, 20, 1))
    def forward(self, x):
        x = nn.functional.max_pool2d(self.stem(x), 2)
        for _ in range(4):
            x = self.block(x.relu())
        return x
def design():
    return [Features(), nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(10))]
"""

HIDDEN = """
import torch
from torch import nn
class Features(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Conv2d(1, 64, 5), nn.Conv2d(64, 12, 5, stride=2), nn.Conv2d(12, 12, 5)]
    def forward(self, x):
        for layer in self.layers:
            x = layer.to(x.dtype)(x).relu()
        return x
def design():
    return Features(), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10))
"""

CASES = {
    "what_does_separating_save": Case(
        other=[
            costs(),
            "import torch\n" + costs(result="torch.tensor([full, first + second, full * PLACES, "
                                            "(first + second) * PLACES])"),
            "from torch import nn\n" + costs(
                full="sum(p.numel() for p in nn.Conv2d(inside, outside, kernel, bias=False)"
                     ".parameters())",
                first="nn.Conv2d(inside, inside, kernel, groups=inside, bias=False).weight.numel()",
            ),
        ],
        wrong={
            costs(second="0"): "that mixes the channels is left out",
            costs(first="0"): "of each channel by itself is left out",
            costs(first="outside * kernel**2"): "there are no others yet",
            costs(first="kernel**2"): "has a window of its own",
            costs(first="inside * outside * kernel**2"): "no channel sees another",
            costs(first="inside * kernel"): "kernel × kernel weights",
            costs(full="outside * kernel**2"): "for every channel that comes in",
            costs(places="1"): "at every place of the map",
            costs(places="side"): "side × side places",
            costs(places="2 * side**2"): "are one multiply-accumulate",
            costs(result="first + second, full, (first + second) * PLACES, full * PLACES"):
                "full comes first",
            costs(result="full, full * PLACES, first + second, (first + second) * PLACES"):
                "then both of multiply-accumulates",
            costs(result="full, first + second"): "4 values are expected",
            costs(places="(side - 2) ** 2"): "is expected",
        },
    ),
    "share_a_block": Case(
        other=[
            shared(),
            shared(uses="self.norms", step="x = k(self.block(x)).relu()"),
            shared(norms=f"nn.Sequential(*[{LIST}])",
                   step="x = nn.ReLU()(self.norms[k](self.block(x)))"),
            shared(norms=f"nn.ModuleList({LIST})[:times]",
                   step="x = self.block(x); x = self.norms[-1 - k](x); x = F.relu(x)"),
        ],
        wrong={
            shared(block="copy.deepcopy(block)"): "the block is copied",
            shared(block="[block]", step="x = F.relu(self.norms[k](self.block[0](x)))"):
                "not kept as a part",
            shared(norms="nn.BatchNorm2d(channels)", step="x = F.relu(self.norms(self.block(x)))"):
                "one of its own",
            shared(norms=f"[{LIST}]"): "nn.ModuleList?",
            shared(norms="nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(times + 1))"):
                "4 norms for 3 uses",
            shared(norms="nn.ModuleList(nn.BatchNorm2d(channels, affine=False) "
                         "for _ in range(times))"): "parameters; the block and 3 norms have",
            shared(uses="range(self.times - 1)"): "used 2 times instead of 3",
            shared(step="self.block(x); x = F.relu(self.norms[k](self.block(x)))"):
                "used 6 times instead of 3",
            shared(step="x = self.block(x); x = self.norms[k](x); x = F.relu(x); "
                        "x = self.norms[k](x)"): "norms are used 6 times",
            shared(step="x = F.relu(self.norms[0](self.block(x)))"): "and another never",
            shared(step="y = F.relu(self.norms[k](self.block(x)))", result="y"):
                "begins with the same images",
            shared(step="x = self.norms[k](self.block(x))"): "there is no ReLU",
            shared(step="x = self.norms[k](F.relu(self.block(x)))"): "ReLU stands before the norm",
            shared(step="x = self.norms[k](self.block(F.relu(x) if k else x))"):
                "missing behind the last norm",
            shared(step="x = x + F.relu(self.norms[k](self.block(x)))"):
                "not block, norm and ReLU in turn",
            shared(result="x.mean((2, 3))"): "a tensor of the shape",
        },
    ),
    "a_network_for_a_budget": Case(
        other=[
            design(),
            ONE_BLOCK,
            design(features="nn.Sequential(nn.Conv2d(1, 12, 5, stride=2), nn.ReLU(), block(12), "
                            "block(12), nn.MaxPool2d(2), block(12))"),
        ],
        wrong={
            design(features=STEM + "block(12), block(12), block(12), nn.Conv2d(12, 12, 3))"):
                "the budget is 2,000",
            design(features=STEM + "block(12), block(12))"): "pixels; 20×20 are asked for",
            design(features="nn.Sequential(nn.Flatten(), nn.Linear(784, 1))"): "are no maps",
            design(features=STEM + "*[block(12)] * 6)"): "leave at least 2×2",
            design(head="nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())"):
                "a tensor of the shape [24, 10]",
            design(result="features"): "a pair of modules",
            design(result="features, None"): "a module is expected",
            design(features=STEM + "block(12), block(12), block(12), block(12))"
                            ".requires_grad_(False)"): "learns nothing",
            design(features=STEM + "block(12), block(12), block(12), block(12), "
                            "nn.BatchNorm2d(12, track_running_stats=False))"):
                "depends on those beside it",
            HIDDEN: "a list hides layers",
            design(head="nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10), "
                        "nn.Hardtanh(-1e-12, 1e-12))"): "the same answer",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("proof", proofs("11", CASES))
def test_every_answer_gets_its_verdict(proof):
    proof()

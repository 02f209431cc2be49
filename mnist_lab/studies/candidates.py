"""Networks to choose from, each described by one line, so that a record can hold what was tried.

`build("plain 16p 24 24 24p 24s")`: convolutions 3×3 to so many channels; "s" keeps the size of the
maps with a border of zeros ("same"), "p" is a max pooling behind it.
`build("shared 28p . . . . .")`: a convolution 3×3 to 28 channels, then one separable block (a 3×3
convolution of each channel by itself, and a 1×1 that mixes them: Howard et al., "MobileNets",
arXiv:1704.04861) used once for each ".", with "s" and "p" as above.

Words may follow:
- "full": the shared block is a full 3×3 convolution; "own": there is a block for each use;
- "tied": the norms share one scale and one shift for each channel; "shift": they have no scale;
  "none": neither;
- "learned": instead of its mean, each map becomes a weighted sum, whose weights its channel learns;
- "stem": the first convolution has the shared block's filters, and none of its own;
- "headless": the means of ten of the maps are the answer, without a linear layer;
- "dropout": 10 % behind every ReLU;
- "silu": x · sigmoid(x) instead of ReLU (Elfwing et al., arXiv:1702.03118).
"""

import re

import torch.nn.functional as F
from torch import Tensor, nn

from mnist_lab.validation import UserError

PLAN = r"plain(?: [1-9]\d*s?p?)+|shared [1-9]\d*s?p?(?: \.s?p?)+"
WORDS = ["full", "own", "tied", "shift", "none", "learned", "stem", "headless", "dropout", "silu"]
LINE = re.compile(rf"(?P<plan>{PLAN})(?P<words>(?: {'| '.join(WORDS)})*)")


def build(line: str) -> nn.Module:
    """The network that a line describes. Raises `UserError` for any other line."""
    found = LINE.fullmatch(line)
    try:
        return Candidate(found["plan"].split()[1:], found["words"].split())
    except (TypeError, ValueError) as error:
        example = "'plain 16p 24 24 24p 24s'"
        raise UserError(f"a network must be a line such as {example}, not {line!r}.") from error


class Candidate(nn.Module):
    """Convolution, pooling if there is one, batch norm, ReLU, and so on; a mean; a linear layer.

    Input `[N, 1, 28, 28]`, output logits `[N, 10]`.
    """

    def __init__(self, plan: list[str], words: list[str]):
        super().__init__()
        self.plan, self.convs = plan, nn.ModuleList()
        widths, side = [1], 28
        for step in plan:
            before, after = widths[-1], int(step.rstrip("sp")) if step[0] != "." else widths[-1]
            if step[0] != ".":
                conv = nn.Conv2d(before, after, 3, bias=False)
            elif len(self.convs) == 1 or "own" in words:
                conv = full(after) if "full" in words else separable(after)
            self.convs.append(conv)
            widths.append(after)
            side = (side - 2 * ("s" not in step)) // (2 if "p" in step else 1)
        self.norms = norms(widths[1:], words)
        if "stem" in words:
            self.convs[0].weight = self.convs[1][0].weight
        self.act = nn.SiLU() if "silu" in words else nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.1) if "dropout" in words else nn.Identity()
        if side < 1:
            raise ValueError("no map is left")
        self.mean = nn.AvgPool2d(side)
        if "learned" in words:
            self.mean = nn.Conv2d(after, after, side, groups=after, bias=False)
        self.head = None if "headless" in words else nn.Linear(after, 10)

    def forward(self, x: Tensor) -> Tensor:
        for index, (step, conv, norm) in enumerate(zip(self.plan, self.convs, self.norms)):
            x = self.drop(self.act(x)) if index else x
            x = conv(F.pad(x, [1, 1, 1, 1]) if "s" in step else x)
            x = norm(F.max_pool2d(x, 2) if "p" in step else x)
        if self.head is None:
            return self.mean(x).flatten(1)[:, :10]
        return self.head(self.mean(self.drop(self.act(x))).flatten(1))


def norms(widths: list[int], words: list[str]) -> nn.ModuleList:
    """A batch norm for each number of channels, with the parameters that the words leave it."""
    made = nn.ModuleList(nn.BatchNorm2d(width, affine="none" not in words) for width in widths)
    for norm in made:
        if "tied" in words:
            norm.weight, norm.bias = made[0].weight, made[0].bias
        if "shift" in words:
            norm.weight.requires_grad_(False)
    return made


def full(channels: int) -> nn.Conv2d:
    """A 3×3 convolution of all channels."""
    return nn.Conv2d(channels, channels, 3, bias=False)


def separable(channels: int) -> nn.Sequential:
    """A 3×3 convolution of each channel by itself, then a 1×1 convolution that mixes them."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
    )

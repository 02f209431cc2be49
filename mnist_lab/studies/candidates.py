"""Networks to choose from, each described by one line, so that a record can hold what was tried.

`build("plain 16p 24 24 24p 24s")`: convolutions 3×3 to so many channels; "s" keeps the size of the
maps with a border of zeros ("same"), "p" is a max pooling behind it.
`build("shared 28p . . . . .")`: a convolution 3×3 to 28 channels, then one separable block (a 3×3
convolution of each channel by itself, and a 1×1 that mixes them: Howard et al., "MobileNets",
arXiv:1704.04861) used once for each ".", with "s" and "p" as above.

Words may follow. "tied": the norms share one scale and one shift for each channel, "shift": they
have no scale, "none": neither. "learned": instead of its mean, each map becomes a weighted sum,
whose weights its channel learns. "stem": the first convolution has the shared block's filters, and
none of its own. "headless": the means of ten of the maps are the answer, without a linear layer.
"""

import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_lab.validation import UserError

PLAN = r"plain(?: [1-9]\d*s?p?)+|shared [1-9]\d*s?p?(?: \.s?p?)+"
LINE = re.compile(rf"(?P<plan>{PLAN})(?P<words>(?: tied| shift| none| learned| stem| headless)*)")


def build(line: str) -> nn.Module:
    """The network that a line describes. Raises `UserError` for any other line."""
    found = LINE.fullmatch(line)
    try:
        return Candidate(found["plan"].split()[1:], found["words"].split())
    except (TypeError, RuntimeError) as error:  # RuntimeError: a map too small to be convolved
        example = "'plain 16p 24 24 24p 24s'"
        raise UserError(f"a network must be a line such as {example}, not {line!r}.") from error


class Candidate(nn.Module):
    """Convolution, pooling if there is one, batch norm, ReLU, and so on; a mean; a linear layer.

    Input `[N, 1, 28, 28]`, output logits `[N, 10]`.
    """

    def __init__(self, plan: list[str], words: list[str]):
        super().__init__()
        self.plan, self.convs, self.norms = plan, nn.ModuleList(), nn.ModuleList()
        channels = 1
        for step in plan:
            width = channels if step[0] == "." else int(step.rstrip("sp"))
            if step[0] != ".":
                conv = nn.Conv2d(channels, width, 3, bias=False)
            elif len(self.convs) == 1:  # the shared block, used here for the first time
                conv = separable(width)
            self.convs.append(conv)
            self.norms.append(nn.BatchNorm2d(width, affine="none" not in words))
            channels = width
        if "stem" in words:
            self.convs[0].weight = self.convs[1][0].weight
        for norm in self.norms:
            if "tied" in words:
                norm.weight, norm.bias = self.norms[0].weight, self.norms[0].bias
            if "shift" in words:
                norm.weight.requires_grad_(False)
        with torch.no_grad():
            side = self.maps(torch.zeros(1, 1, 28, 28), norm=False).shape[-1]
        self.mean = nn.AvgPool2d(side)
        if "learned" in words:
            self.mean = nn.Conv2d(channels, channels, side, groups=channels, bias=False)
        self.head = None if "headless" in words else nn.Linear(channels, 10)

    def maps(self, x: Tensor, norm: bool = True) -> Tensor:
        """What comes to the last ReLU; without the norms, only of the right form."""
        for index, (step, conv, own_norm) in enumerate(zip(self.plan, self.convs, self.norms)):
            x = F.relu(x, inplace=True) if index else x
            x = conv(F.pad(x, [1, 1, 1, 1]) if "s" in step else x)
            x = F.max_pool2d(x, 2) if "p" in step else x
            x = own_norm(x) if norm else x
        return x

    def forward(self, x: Tensor) -> Tensor:
        maps = self.maps(x)
        if self.head is None:
            return self.mean(maps).flatten(1)[:, :10]
        return self.head(self.mean(F.relu(maps, inplace=True)).flatten(1))


def separable(channels: int) -> nn.Sequential:
    """A 3×3 convolution of each channel by itself, then a 1×1 convolution that mixes them."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
    )

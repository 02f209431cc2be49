"""The networks of the course: the two published ones, written to read like their tables, and ours.

All take images `[N, 1, 28, 28]`. Nothing here trains, loads or draws.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv_block(in_channels: int, out_channels: int, padding: int = 0) -> nn.Sequential:
    """Conv 3×3 without bias → ReLU → batch norm → dropout, in the published order."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=padding, bias=False),
        nn.ReLU(),
        nn.BatchNorm2d(out_channels),
        nn.Dropout(0.1),
    )


class GapNet(nn.Module):
    """The 13,808-parameter network that ends in global average pooling.

    Input `[N, 1, 28, 28]`, output log-probabilities `[N, 10]`. Global average pooling
    instead of a fully connected head: Lin et al., "Network In Network", arXiv:1312.4400.
    """

    def __init__(self):
        super().__init__()
        self.convblock1 = conv_block(1, 16)  # 16×26×26
        self.convblock2 = conv_block(16, 32)  # 32×24×24
        self.convblock3 = nn.Conv2d(32, 10, kernel_size=1, bias=False)  # 10×24×24, transition
        self.pool1 = nn.MaxPool2d(2, 2)  # 10×12×12
        self.convblock4 = conv_block(10, 16)  # 16×10×10
        self.convblock5 = conv_block(16, 16)  # 16×8×8
        self.convblock6 = conv_block(16, 16)  # 16×6×6
        self.convblock7 = conv_block(16, 16, padding=1)  # 16×6×6
        self.gap = nn.AvgPool2d(kernel_size=6)  # 16×1×1
        self.convblock8 = nn.Conv2d(16, 10, kernel_size=1, bias=False)  # 10×1×1, classifier

    def forward(self, x: Tensor) -> Tensor:
        x = self.convblock2(self.convblock1(x))
        x = self.pool1(self.convblock3(x))
        x = self.convblock5(self.convblock4(x))
        x = self.convblock7(self.convblock6(x))
        x = self.convblock8(self.gap(x))
        return F.log_softmax(torch.flatten(x, 1), dim=1)


class BottleneckNet(nn.Module):
    """The 16,426-parameter network that squeezes 32 channels to 8 before its last convolutions.

    Input `[N, 1, 28, 28]`, output logits `[N, 10]`. The 1×1 bottleneck: He et al., "Deep
    Residual Learning for Image Recognition", arXiv:1512.03385, figure 5.
    """

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, kernel_size=3)  # 16×26×26
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 16, kernel_size=3)  # 16×24×24
        self.bn2 = nn.BatchNorm2d(16)
        self.pool1 = nn.MaxPool2d(2, 2)  # 16×12×12
        self.conv3 = nn.Conv2d(16, 16, kernel_size=3)  # 16×10×10
        self.bn3 = nn.BatchNorm2d(16)
        self.conv4 = nn.Conv2d(16, 32, kernel_size=3)  # 32×8×8
        self.bn4 = nn.BatchNorm2d(32)
        self.pool2 = nn.MaxPool2d(2, 2)  # 32×4×4
        self.conv5 = nn.Conv2d(32, 8, kernel_size=1)  # 8×4×4, the bottleneck: no norm, no ReLU
        self.conv6 = nn.Conv2d(8, 16, kernel_size=3, padding=1)  # 16×4×4
        self.bn6 = nn.BatchNorm2d(16)
        self.conv7 = nn.Conv2d(16, 16, kernel_size=3)  # 16×2×2
        self.bn7 = nn.BatchNorm2d(16)
        self.fc1 = nn.Linear(16 * 2 * 2, 40)
        self.drop = nn.Dropout(0.1)
        self.fc2 = nn.Linear(40, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.pool1(F.relu(self.bn2(self.conv2(x))))
        x = F.relu(self.bn3(self.conv3(x)))
        x = self.pool2(F.relu(self.bn4(self.conv4(x))))
        x = self.conv5(x)
        x = F.relu(self.bn6(self.conv6(x)))
        x = F.relu(self.bn7(self.conv7(x)))
        x = self.drop(F.relu(self.fc1(torch.flatten(x, 1))))
        return self.fc2(x)


def norm_block(
    in_channels: int, out_channels: int, padding: int = 0, pool: bool = False
) -> nn.Sequential:
    """Conv 3×3 without bias → max pooling, if asked for → batch norm → SiLU.

    Pooled first, there is a quarter of the values to normalise. SiLU: x · sigmoid(x), Elfwing et
    al., arXiv:1702.03118.
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=padding, bias=False),
        *[nn.MaxPool2d(2, 2)] * pool,
        nn.BatchNorm2d(out_channels),
        nn.SiLU(),
    )


class PlainNet(nn.Module):
    """Five 3×3 convolutions and two poolings, then the mean of each map.

    Input `[N, 1, 28, 28]`, output logits `[N, 10]`. `a` to `e`: the channels of the convolutions.
    """

    def __init__(self, a: int, b: int, c: int, d: int, e: int):
        super().__init__()
        self.block1 = norm_block(1, a)  # a×26×26
        self.block2 = norm_block(a, b, pool=True)  # b×12×12
        self.block3 = norm_block(b, c)  # c×10×10
        self.block4 = norm_block(c, d, pool=True)  # d×4×4
        self.block5 = norm_block(d, e, padding=1)  # e×4×4
        self.gap = nn.AvgPool2d(4)  # e×1×1
        self.fc = nn.Linear(e, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block2(self.block1(x))
        x = self.block4(self.block3(x))
        x = self.gap(self.block5(x))
        return self.fc(torch.flatten(x, 1))


class Net20k(PlainNet):
    """18,850 parameters."""

    def __init__(self):
        super().__init__(16, 16, 26, 26, 26)


class Net8k(PlainNet):
    """7,816 parameters."""

    def __init__(self):
        super().__init__(10, 12, 16, 16, 16)


def shift_norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm that learns a shift for each channel, and no scale."""
    norm = nn.BatchNorm2d(channels)
    norm.register_parameter("weight", None)
    return norm


class SharedNet(nn.Module):
    """One separable convolution, used five times, each time with a batch norm of its own.

    Input `[N, 1, 28, 28]`, output logits `[N, 10]`. Separable: a 3×3 convolution of each of the
    `c` channels by itself, then a 1×1 convolution that mixes them (Howard et al., "MobileNets",
    arXiv:1704.04861). Each use takes a border of one pixel away. `norm` makes the norms.
    """

    def __init__(self, c: int, norm: Callable[[int], nn.Module] = nn.BatchNorm2d):
        super().__init__()
        self.conv = nn.Conv2d(1, c, kernel_size=3, bias=False)  # c×26×26
        self.pool = nn.MaxPool2d(2, 2)  # c×13×13
        self.depthwise = nn.Conv2d(c, c, kernel_size=3, groups=c, bias=False)  # c×11×11, …, c×3×3
        self.pointwise = nn.Conv2d(c, c, kernel_size=1, bias=False)  # as large
        self.norms = nn.ModuleList(norm(c) for _ in range(6))
        self.silu = nn.SiLU()
        self.gap = nn.AvgPool2d(3)  # c×1×1
        self.fc = nn.Linear(c, 10)

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.norms
        x = self.silu(first(self.pool(self.conv(x))))
        for norm in others:
            x = self.silu(norm(self.pointwise(self.depthwise(x))))
        return self.fc(torch.flatten(self.gap(x), 1))


class Net2k(SharedNet):
    """1,914 parameters."""

    def __init__(self):
        super().__init__(28)


class Net700(SharedNet):
    """682 parameters."""

    def __init__(self):
        super().__init__(14, shift_norm)

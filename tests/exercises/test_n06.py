import pytest
from answers import Case, proofs
from torch import nn

from mnist_lab import BottleneckNet, list_layers
from mnist_lab.exercises import exercises

BLOCK = """
from torch import nn
def bottleneck(in_channels, squeezed, out_channels):
    return nn.Sequential({})
"""
SQUEEZE = "nn.Conv2d(in_channels, squeezed, 1)"
CONV = "nn.Conv2d(squeezed, out_channels, 3, padding=1)"
CONV_ALONE = "nn.Conv2d(squeezed, out_channels, 3)"
NORM, RELU = "nn.BatchNorm2d(out_channels)", "nn.ReLU()"


def of_layers(*parts):
    return BLOCK.format(", ".join(parts))


BLOCK_CLASS = """
import torch.nn.functional as F
from torch import nn
class bottleneck(nn.Module):
    def __init__(self, in_channels, squeezed, out_channels):
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, squeezed, 1)
        self.conv = nn.Conv2d(squeezed, out_channels, 3, padding="same")
        self.norm = nn.BatchNorm2d(out_channels)
        self.out = out_channels
    def forward(self, x):
        z = self.squeeze(x)
        y = self.norm(self.conv(z))
        return F.relu(y)
"""
BLOCK_EINSUM = """
import torch
from torch import nn
class Block(nn.Module):
    def __init__(self, in_channels, squeezed, out_channels):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(in_channels, squeezed))
        self.bias = nn.Parameter(torch.randn(1, squeezed, 1, 1))
        self.rest = nn.Sequential(
            nn.Conv2d(squeezed, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels), nn.ReLU()
        )
    def forward(self, x):
        return self.rest(torch.einsum("nihw,is->nshw", x, self.weight) + self.bias)
def bottleneck(in_channels, squeezed, out_channels):
    return Block(in_channels, squeezed, out_channels)
"""
AS_CONVOLUTION = """
import torch
from torch import nn
def as_convolution(linear, channels, size):
    convolution = nn.Conv2d(channels, linear.out_features, size)
    convolution.weight.data = linear.weight.data.{weight}
    convolution.bias.data = {bias}
    return convolution
"""


def convolution(weight="view(-1, channels, size, size).clone()", bias="linear.bias.data.clone()"):
    return AS_CONVOLUTION.format(weight=weight, bias=bias)


DEAD = """
from torch import nn
def dead_biases(network):
    layers = list(network)
    count = 0
    for i, layer in enumerate(layers{until}):
        if isinstance(layer, nn.Conv2d) and {condition}:
            count += {number}
    return count
"""


def dead(condition="isinstance(layers[i + 1], nn.BatchNorm2d)", until="[:-1]",
         number="layer.out_channels * (layer.bias is not None)"):  # fmt: skip
    return DEAD.format(condition=condition, until=until, number=number)


CASES = {
    "price_of_a_bottleneck": Case(
        other=[
            "direct, with_squeeze = 36_928, 10_320.0",
            """
from torch import nn
from mnist_lab import count_parameters
direct = count_parameters(nn.Conv2d(64, 64, 3))
with_squeeze = count_parameters(nn.Sequential(nn.Conv2d(64, 16, 1), nn.Conv2d(16, 64, 3)))
""",
        ],
        wrong={
            "direct, with_squeeze = 36_864, 10_240": "the biases are missing",
            "direct, with_squeeze = 36_928, 10_304": "16 biases of the squeeze",
            "direct, with_squeeze = 36_928, 9_280": "add the squeeze",
            "direct, with_squeeze = 36_928, 18_512": "it is 1×1",
            "direct, with_squeeze = 10_320, 36_928": "`direct` is 10,320, which is not",
            "direct, with_squeeze = 36_928, 10_321": "`with_squeeze` is 10,321, which is not",
            "direct, with_squeeze = 36_928, None": "`with_squeeze` is None",
        },
    ),
    "write_the_bottleneck": Case(
        other=[
            BLOCK_CLASS,
            BLOCK_EINSUM,
            of_layers(f"nn.Sequential({SQUEEZE}, {CONV})", NORM, RELU),
            of_layers(SQUEEZE, f"nn.Sequential(nn.ZeroPad2d(1), {CONV_ALONE})", NORM, RELU),
            of_layers(SQUEEZE, CONV, NORM, "nn.ReLU(inplace=True)"),
            of_layers(SQUEEZE, CONV, NORM.replace(")", ", eps=1e-3, momentum=None)"), RELU),
            of_layers("nn.LazyConv2d(squeezed, 1)", "nn.LazyConv2d(out_channels, 3, padding=1)",
                      "nn.LazyBatchNorm2d()", RELU),
            of_layers(SQUEEZE, CONV, NORM, RELU, RELU),
        ],
        wrong={
            **{of_layers(SQUEEZE, CONV, NORM, end): "not the ReLU" for end in
               ("nn.ReLU6()", "nn.LeakyReLU()", "nn.GELU()", f"{RELU}, nn.Dropout(0.1)",
                "nn.Dropout2d(0.1), nn.ReLU()", f"{RELU}, nn.Sigmoid()")},
            of_layers("nn.Dropout2d(0.1)", SQUEEZE, CONV, NORM, RELU): "in training mode",
            of_layers(SQUEEZE, "nn.Dropout(0.1)", CONV, NORM, RELU): "in training mode",
            of_layers(SQUEEZE, "nn.Tanh()", CONV, NORM, RELU): "is there a ReLU or",
            of_layers(SQUEEZE, "nn.BatchNorm2d(squeezed, affine=False)", CONV, NORM, RELU):
                "2 layers of nn.BatchNorm2d",
            of_layers(SQUEEZE, CONV.replace("=1", "=2, dilation=2"), NORM, RELU): "no linear 3×3",
            of_layers(SQUEEZE, CONV.replace("=1", "=1, padding_mode='reflect'"), NORM, RELU):
                "no linear 3×3",
            of_layers(SQUEEZE, CONV, NORM.replace(")", ", track_running_stats=False)"), RELU):
                "track_running_stats",
            **{BLOCK_CLASS.replace(old, new): part for old, new, part in (
                ("return F.relu(y)", "y = F.relu(y)\n        "
                 "return y + x if x.shape == y.shape else y", "not the ReLU"),
                ("return F.relu(y)",
                 "return F.relu(y + x[:, :y.shape[1]])", "not the ReLU"),
                ("self.conv(z)", "self.conv(z) + (x if x.shape[1] == self.out else 0)", "way"),
                ("self.conv(z)", "self.conv(z) + (z if z.shape[1] == self.out else 0)", "way"),
                ("= self.squeeze(x)", "= self.squeeze(x)\n        "
                 "z = z + x if x.shape == z.shape else z", "way"),
            )},
            of_layers(SQUEEZE, RELU, CONV, NORM, RELU): "is there a ReLU or",
            of_layers(SQUEEZE.replace("1)", "1, padding=1)"), CONV_ALONE, NORM, RELU):
                "zeros belong around the squeezed",
            of_layers(SQUEEZE, CONV, NORM): "no ReLU at the end",
            of_layers(SQUEEZE, CONV, RELU, NORM): "the norm comes first",
            of_layers(SQUEEZE, "nn.BatchNorm2d(squeezed)", CONV, NORM, RELU): "norm behind the",
            of_layers(SQUEEZE, CONV.replace(", padding=1", ""), NORM, RELU): "come out as 5×5",
            of_layers(SQUEEZE, CONV.replace("1)", "1, bias=False)"), NORM, RELU): "too few",
            of_layers("nn.Conv2d(in_channels, out_channels, 3, padding=1)", NORM, RELU): "expected",
            of_layers(CONV, SQUEEZE, NORM, RELU): "RuntimeError",
            of_layers(SQUEEZE, CONV, "nn.GroupNorm(1, out_channels)", RELU): "BatchNorm2d; one",
            "from torch import nn\nbottleneck = nn.Sequential": "TypeError",
        },
    ),
    "linear_is_a_convolution": Case(
        other=[
            convolution(),
            convolution("reshape(linear.out_features, channels, size, size)", "linear.bias.data"),
            """
from torch import nn
def as_convolution(linear, channels, size):
    result = nn.Conv2d(channels, linear.out_features, (size, size))
    weight = linear.weight.detach().unflatten(1, (channels, size, size))
    result.load_state_dict({"weight": weight, "bias": linear.bias.detach()})
    return result
""",
        ],
        wrong={
            convolution("view(-1, channels, size, size).mT"): "rows and columns",
            convolution("view(-1, size, size, channels).movedim(3, 1)"): "channels last",
            convolution("view(-1, channels, size, size).flip(0)"): "other values",
            convolution(bias="0 * linear.bias.data"): "the bias is not that of linear",
            convolution("zero_().view(-1, channels, size, size)"): "`linear` is changed",
            convolution("view(-1, channels, size * size)"): "RuntimeError",
            convolution("view(-1, channels, size, size)", "linear.eval().bias"): "changed",
            """
from torch import nn
class Hidden(nn.Conv2d):
    def forward(self, x):
        return self.linear(x.flatten(1))[:, :, None, None]
def as_convolution(linear, channels, size):
    hidden = Hidden(channels, linear.out_features, size)
    hidden.linear = linear
    return hidden
""": "other values",
            """
from torch import nn
def as_convolution(linear, channels, size):
    return nn.Sequential(nn.Flatten(), linear)
""": "an nn.Conv2d is expected",
            """
from torch import nn
def as_convolution(linear, channels, size):
    return nn.Conv2d(channels, linear.out_features, 1)
""": "is expected",
        },
    ),
    "dead_parameters": Case(
        other=[
            dead(),
            """
import torch
def dead_biases(network):
    from copy import deepcopy
    images, count = torch.randn(16, 1, 40, 40), 0
    network = deepcopy(network)
    before = network.train()(images)
    for i, layer in enumerate(network):
        if getattr(layer, "bias", None) is not None and layer.weight.ndim == 4:
            moved = deepcopy(network)
            moved[i].bias.data += torch.rand(layer.out_channels)
            if torch.allclose(moved(images), before, atol=1e-4):
                count += layer.out_channels
    return torch.tensor(count)
""",
        ],
        wrong={
            dead(condition="True", until=""): "Without a norm a bias counts",
            dead(number="1"): "is 1; 5 is expected",
            dead(number="layer.out_channels"): "This convolution has no bias",
            dead(condition="any(isinstance(x, nn.BatchNorm2d) for x in layers[i + 1:i + 3])",
                 number="(layer.bias is not None and layer.bias.numel())"): "A ReLU between",
            dead(number="layer.weight.numel()"): "is 45; 5 is expected",
            dead("isinstance(layers[i + 1], nn.BatchNorm2d) and i == 0"): "Both have a norm",
            "def dead_biases(network):\n    return [5]": "a number is expected",
            """
from torch import nn
def dead_biases(network):
    for layer in network:
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            layer.bias.data += 1
    return 5
""": "`network` is changed",
            dead().replace("nn.Conv2d)", "(nn.Conv2d, nn.Linear))")
                  .replace("nn.BatchNorm2d", "NORMS")
                  .replace("count = 0", "count, NORMS = 0, (nn.BatchNorm1d, nn.BatchNorm2d)")
                  .replace("layer.out_channels", "len(layer.weight)"): "not a linear layer's",
            dead().replace("isinstance(layer, nn.Conv2d)",
                           "getattr(layer, 'bias', None) is not None")
                  .replace("layer.out_channels", "len(layer.bias)"): "not a norm's",
            dead("'Norm' in type(layers[i + 1]).__name__"): "This norm is another one",
            dead("i % 2 == 0 and isinstance(layers[i + 1], nn.BatchNorm2d)"): "anywhere",
            """
def dead_biases(network):
    network.eval()
    return 5
""": "`network` is changed",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("proof", proofs("06", CASES))
def test_every_answer_gets_its_verdict(proof):
    proof()


def test_the_published_network_has_the_dead_parameters_that_are_said():
    found = exercises("06")[-1]
    namespace: dict = {}
    exec(found.solution, namespace)
    chain = nn.Sequential(*(row.module for row in list_layers(BottleneckNet())))
    assert f"is {namespace['dead_biases'](chain)}, of 16,426" in found.right

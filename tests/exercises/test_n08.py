import pytest
from answers import Case, answers

MACS = "def macs(in_channels, out_channels, kernel, height, width):\n    return {}"
RATIO = """
import statistics
def ratio(old, new, clock, pairs):
    def seconds(work):
        start = clock()
        work()
        return clock() - start
    {warm}
    ratios = {ratios}
    return {result}
"""


def ratio(warm="old(), new()", ratios="[seconds(old) / seconds(new) for _ in range(pairs)]",
          result="statistics.median(ratios)"):  # fmt: skip
    return RATIO.format(warm=warm, ratios=ratios, result=result)


FOLD = """
import copy
import torch
from torch import nn
def fold(conv, norm):
    scale = {scale}
    bias = 0 if conv.bias is None else conv.bias
    folded = copy.deepcopy(conv)
    with torch.no_grad():
        folded.weight *= {weight}
        folded.bias = nn.Parameter({bias})
    return {result}
"""


def fold(scale="norm.weight / torch.sqrt(norm.running_var + norm.eps)",
         weight="scale[:, None, None, None]",
         bias="(bias - norm.running_mean) * scale + norm.bias", result="folded"):  # fmt: skip
    return FOLD.format(scale=scale, weight=weight, bias=bias, result=result)


CASES = {
    "how_much_work": Case(
        other=[
            MACS.format("height * width * out_channels * kernel**2 * in_channels"),
            """
from torch import nn
def macs(in_channels, out_channels, kernel, height, width):
    weights = nn.Conv2d(in_channels, out_channels, kernel, bias=False).weight
    return float(weights.numel() * height * width)
""",
        ],
        wrong={
            MACS.format("in_channels * out_channels * kernel**2"): "works at every place",
            MACS.format("in_channels * out_channels * kernel * height * width"): "kernel × kernel",
            MACS.format("out_channels * kernel**2 * height * width"): "macs(32, 10, 1, 24, 24)",
            MACS.format("in_channels * kernel**2 * height * width"): "every output channel",
            MACS.format("2 * in_channels * out_channels * kernel**2 * height * width"): "as one",
            MACS.format("(in_channels * kernel**2 + 1) * out_channels * height * width"): "no prod",
            MACS.format("97_344"): "97,344; 184,320 is expected",
        },
    ),
    "a_stopwatch_that_cheats": Case(
        other=[
            ratio(),
            ratio(warm="new(); old(); old(); new()"),
            ratio(result="sorted(ratios)[pairs // 2]"),
        ],
        wrong={
            ratio(warm="pass"): "calls for",
            ratio(warm="[seconds(old), seconds(new)]",
                  ratios="[a / b for a, b in zip([seconds(old) for _ in range(pairs)], "
                         "[seconds(new) for _ in range(pairs)])]"): "do not alternate",
            ratio(result="sum(ratios) / pairs"): "a single hiccup",
            ratio(ratios="[seconds(new) and seconds(old) for _ in range(pairs)]"): "alternate",
            ratio(result="1 / statistics.median(ratios)"): "turn it round",
            ratio(result="ratios"): "a list; a number",
            ratio(result="statistics.median(ratios) - 1"): "is 3; 4 is expected",
        },
    ),
    "a_layer_that_can_be_left_out": Case(
        other=[
            fold(),
            fold(weight="scale.view(-1, 1, 1, 1)",
                 bias="scale * bias + (norm.bias - scale * norm.running_mean)"),
            "from torch.nn.utils.fusion import fuse_conv_bn_eval\n"
            "def fold(conv, norm):\n    return fuse_conv_bn_eval(conv.eval(), norm.eval())",
        ],
        wrong={
            fold(result="conv"): "the given convolution itself",
            "import copy\ndef fold(conv, norm):\n    return copy.copy(conv)": "without the norm",
            fold(scale="norm.weight / norm.running_var.sqrt()"): "eps is left out",
            fold(bias="bias * scale + norm.bias"): "the running mean is left out",
            fold(bias="(bias - norm.running_mean) * scale"): "the shift",
            fold(bias="bias * scale - norm.running_mean + norm.bias"): "to be scaled, too",
            fold(bias="norm.bias - norm.running_mean * scale"): "own bias is left out",
            fold(bias="bias - norm.running_mean * scale + norm.bias"): "own bias has to be scaled",
            fold(scale="norm.weight / (norm.running_var + norm.eps)"): "its square root",
            fold(result="nn.Sequential(conv, norm)"): "a Sequential; an nn.Conv2d",
            fold(result="conv if conv.weight.data.mul_(2) is None else folded"): "are changed",
            fold(result="nn.Conv2d(conv.in_channels, conv.out_channels, 1)"): "are stride",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("answer", answers("08", CASES))
def test_every_answer_gets_its_verdict(answer):
    answer.prove()

import pytest
from answers import Case, proofs

ESTIMATE = """
def estimate(inside, outside, kernel, side, macs_per_second, bytes_per_second):
    p, w = side * side, inside * outside * kernel**2
    c, m = ({macs}) / macs_per_second, {size} * ({moved}) / bytes_per_second
    {answer}
"""


def estimate(answer="return max(c, m), WORD", macs="w * p", size="4",
             moved="inside * p + outside * p + w"):  # fmt: skip
    answer = answer.replace("WORD", "'computing' if c > m else 'memory'")
    return ESTIMATE.format(macs=macs, size=size, moved=moved, answer=answer)


SPEEDUP = """
import statistics
def speedup(old, new, clock, pairs):
    def seconds(*works):
        start = clock()
        for work in works:
            work()
        return clock() - start
    {warm}
    times = {times}
    ratios = [a / b for a, b in times]
    olds, news = zip(*times)
    return {result}
"""


def speedup(result="statistics.median(ratios)", warm="old(), new()",
            times="[(seconds(old), seconds(new)) for _ in range(pairs)]"):  # fmt: skip
    return SPEEDUP.format(warm=warm, times=times, result=result)


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


HOOKED = """
import copy
from torch import nn
class Folded(nn.Conv2d):
    def forward(self, x):
        return self.norm(super().forward(x))
def fold(conv, norm):
    folded = Folded(conv.in_channels, conv.out_channels, conv.kernel_size, bias=conv.bias is not None)
    folded.load_state_dict(conv.state_dict())
    folded.norm = copy.deepcopy(norm)
    return folded.eval()
"""  # noqa: E501
BY_NAME = """
import torch
from torch import nn
def fold(conv, norm):
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    folded = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, {named})
    bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias
    folded.weight.data = conv.weight.detach() * scale.detach().view(-1, 1, 1, 1)
    folded.bias.data = ((bias - norm.running_mean) * scale + norm.bias).detach()
    return folded
"""
NAMED = "stride=conv.stride, padding=conv.padding, dilation=conv.dilation, groups=conv.groups"

CASES = {
    "what_does_it_wait_for": Case(
        other=[
            estimate(),
            "import numpy as np\n" + estimate(
                "longest = np.array([c, m])\n    "
                "return [longest.max(), ('computing', 'memory')[longest.argmax()]]"),
            "import torch\nfrom torch import nn\n" + estimate(
                "n = nn.Conv2d(inside, outside, kernel, bias=False).weight.numel()\n"
                "    c, m = n * side**2 / macs_per_second, m\n"
                "    return torch.tensor(max(c, m)), 'memory' if m > c else 'computing'"),
        ],
        wrong={
            estimate("return c + m, WORD"): "the longer of the two counts",
            estimate("return min(c, m), WORD"): "has to wait for the longer",
            estimate("return c, WORD"): "moving the numbers takes its time",
            estimate(size="1"): "32 bits is 4 bytes.",
            estimate(size="32"): "4 bytes, not 32",
            estimate(moved="outside * p + w"): "that come in have to be read",
            estimate(moved="inside * p + w"): "that go out have to be written",
            estimate(moved="inside * p + outside * p"): "the weights have to be read",
            estimate(macs="inside * outside * kernel * p"): "a window has kernel × kernel weights",
            estimate(macs="2 * w * p"): "are one multiply-accumulate",
            estimate("return max(c, m), 'computing' if c < m else 'memory'"): "interchanged",
            estimate("return max(c, m), 'compute' if c > m else 'memory'"): "the words are",
            estimate("return max(c, m)"): "2 values are expected",
            estimate("return WORD, max(c, m)"): "('computing', 6.63552e-05)",
            estimate("return 1000 * max(c, m), WORD"): "is expected",
        },
        alike={estimate("return m, WORD"): "has to wait for the longer"},
    ),
    "a_stopwatch_that_cheats": Case(
        other=[
            speedup(),
            speedup(warm="new(), old()"),
            "import numpy as np\n" + speedup(result="np.median(np.array(olds) / np.array(news))"),
            "import torch\n" + speedup(result="torch.tensor(ratios).quantile(0.5)"),
            speedup(result="(sorted(ratios)[(pairs - 1) // 2] + sorted(ratios)[pairs // 2]) / 2"),
        ],
        wrong={
            speedup(warm="pass"): "calls for",
            speedup(warm="seconds(old), seconds(new), old(), new()"): "calls for",
            speedup(times="[(seconds(old), seconds(new)) for _ in range(pairs + 1)]"): "calls for",
            speedup(times="[(seconds(old), seconds(new)) for _ in range(pairs - 1)]"): "calls for",
            speedup(times="[(old(), new(), seconds(old), seconds(new))[2:] for _ in range(pairs)]"):
                "calls for",
            speedup(warm="pass", times="[(seconds(old, new, old), seconds(new))] + "
                    "[(seconds(old), seconds(new)) for _ in range(pairs - 1)]"): "warm-up timed",
            speedup(warm="old()", times="[(seconds(new, old), seconds(new))] + "
                    "[(seconds(old), seconds(new)) for _ in range(pairs - 1)]"): "warm-up timed",
            speedup(warm="pass", times="[(seconds(old), seconds(new)) for _ in range(pairs + 1)]"):
                "what speedup returns is",
            speedup(times="list(zip([seconds(old) for _ in range(pairs)], "
                          "[seconds(new) for _ in range(pairs)]))"): "do not alternate",
            speedup(times="[(seconds(new), seconds(old))[::-1] for _ in range(pairs)]"):
                "do not alternate",
            speedup("sum(ratios) / pairs"): "moves the mean",
            speedup("max(ratios)"): "the largest",
            speedup("min(ratios)"): "the smallest",
            speedup("ratios[0]"): "",
            speedup("ratios[-1]"): "",
            speedup("sum(olds) / sum(news)"): "within each pair",
            speedup("statistics.median(olds) / statistics.median(news)"): "within each pair",
            speedup("min(olds) / min(news)"): "",
            speedup("statistics.median(a / b for a in olds for b in news)"): "within each pair",
            speedup("statistics.median_low(ratios)"): "the middle two",
            speedup("sorted(ratios)[pairs // 2]"): "the middle two",
            "import torch\n" + speedup("torch.tensor(ratios).median()"): "the middle two",
            speedup("statistics.mean(sorted(ratios)[1:-1])"): "is expected",
            speedup("statistics.geometric_mean(ratios)"): "is expected",
            speedup("1 / statistics.median([b / a for a, b in times])"): "old over new",
            speedup("1 / statistics.median(ratios)"): "turn it round",
            speedup("statistics.median(b / a for a, b in times)"): "turn it round",
            speedup("round(statistics.median(ratios), 4)"): "rounded",
            speedup("round(statistics.median(ratios), 2)"): "rounded",
            speedup("ratios"): "; a number",
            speedup("statistics.median"): "a function; a number",
            speedup("statistics.median(ratios) - 1"): "is expected",
            speedup("4"): "is expected",
            speedup().replace("work()", "work"): "with brackets",
            speedup().replace("clock()", "clock"): "with brackets",
            speedup(warm="import time; clock = time.time; old(), new()"): "",
        },
    ),
    "a_layer_that_can_be_left_out": Case(
        other=[
            fold(),
            fold(weight="scale.view(-1, 1, 1, 1)",
                 bias="scale * bias + (norm.bias - scale * norm.running_mean)"),
            fold(result="folded.double()"),
            BY_NAME.format(named=NAMED + ", padding_mode=conv.padding_mode"),
            "import copy\nfrom torch.nn.utils.fusion import fuse_conv_bn_eval\n"
            "def fold(conv, norm):\n"
            "    return fuse_conv_bn_eval(copy.deepcopy(conv).eval(), copy.deepcopy(norm).eval())",
        ],
        wrong={
            fold(result="conv"): "without the norm",
            "import copy\ndef fold(conv, norm):\n    return copy.copy(conv)": "without the norm",
            fold(scale="norm.weight / norm.running_var.sqrt()"): "eps is left out",
            fold(scale="norm.weight / (norm.running_var + 1e-5).sqrt()"): "eps is left out",
            fold(bias="bias * scale + norm.bias"): "the running mean is left out",
            fold(bias="(bias - norm.running_mean) * scale"): "the shift",
            fold(bias="bias * scale - norm.running_mean + norm.bias"): "mean is not scaled",
            fold(bias="norm.bias - norm.running_mean * scale"): "bias is left out",
            fold(bias="bias - norm.running_mean * scale + norm.bias"): "bias is not scaled",
            fold(scale="norm.weight / (norm.running_var + norm.eps)"): "the variance's root",
            fold(scale="norm.weight.abs() / (norm.running_var + norm.eps).sqrt()"): "values",
            fold(result="nn.Sequential(conv, norm)"): "a Sequential; an nn.Conv2d",
            fold(result="conv.weight.data.mul_(2) is None or folded"): "`conv` is changed",
            fold(result="norm.eval() and folded"): "`norm` is changed",
            fold(result="norm(conv(torch.randn(2, conv.in_channels, 9, 9))) is None or folded"):
                "`norm` is changed",
            fold(result="nn.Conv2d(conv.in_channels, conv.out_channels, 1)"): "is expected",
            fold(result="folded.register_forward_hook(print) and conv"): "without the norm",
            HOOKED: "without the norm",
            BY_NAME.format(named="conv.stride, conv.padding"): "",
            BY_NAME.format(named="padding=conv.padding, dilation=conv.dilation, "
                           "groups=conv.groups"): "the convolution's stride",
            BY_NAME.format(named="conv.stride, conv.padding, conv.dilation"): "",
            BY_NAME.format(named="conv.stride, conv.padding, groups=conv.groups"):
                "padding, dilation, groups",
            BY_NAME.format(named=NAMED): "padding_mode",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("proof", proofs("10", CASES))
def test_every_answer_gets_its_verdict(proof):
    proof()

"""Both ways of training are measured in turns, and each figure is in its own place."""

import mmap
import sys
import time
from concurrent.futures import Future

import psutil
import pytest
import torch
from stand_ins import InProcess
from torch import nn

from mnist_lab.networks import BottleneckNet
from mnist_lab.recipes import NETWORKS, Entry, Recipe
from mnist_lab.studies import epoch_time
from mnist_lab.studies.epoch_time import EPOCH, INFERENCE, WAYS, affordable, cases, run, table
from mnist_lab.studies.roofline import Peak, step_cost

PARTS = ["data", "augmentation", "forward", "dropout", "backward", "optimizer", "the rest"]


def test_the_networks_share_the_minutes():
    one = {"pairs": 5, "minutes": 5.0, "precision": "fp32"}
    assert cases(precision="fp32") == [{"network": name} | one for name in ("gap", "bottleneck")]
    assert cases("gap", precision="fp32") == [{"network": "gap"} | one | {"minutes": 10}]
    assert cases("gap")[0]["precision"] in ("fp32", "bf16")


def test_quick_is_never_longer_than_what_was_asked_for():
    (case,) = cases("gap", pairs=5, minutes=10, quick=True)
    assert (case["pairs"], case["minutes"]) == (2, 0.1)
    (case,) = cases("gap", pairs=1, minutes=0.01, quick=True)
    assert (case["pairs"], case["minutes"]) == (1, 0.01)


@pytest.mark.parametrize(
    ("seconds", "available", "count"),
    [(5, 50_000, 2_500), (1, 50_000, 1_280), (1_000, 50_000, 50_000), (1, 100, 100)],
)
def test_an_epoch_is_never_longer_than_the_digits_nor_shorter_than_the_warm_up(
    seconds, available, count
):
    assert affordable(seconds, 0.002, available) == count


def test_the_ways_take_turns_in_processes_of_their_own(few, monkeypatch):
    asked = []

    class Process(InProcess):
        """It answers as if an epoch took 4 s in textbook's way, and 1 s in fit's."""

        def submit(self, work, *arguments):
            if work is epoch_time._peak_bytes:
                return super().submit(work)
            way, *others = arguments
            asked.append((self, work.__name__, way))
            assert others == ["bottleneck", 100, "fp32"]
            seconds = {"textbook": 4.0, "fit": 1.0}[way]
            figures = {name: seconds * factor for factor, name in enumerate(PARTS, 1)}
            figures |= {"images_per_second": 10 / seconds, "latency": seconds}
            answer = Future()
            epoch = seconds + len(asked) // 2
            answer.set_result(epoch if work is epoch_time._epoch else {"epoch": epoch} | figures)
            return answer

    monkeypatch.setattr(epoch_time, "own_process", Process)
    result = run("bottleneck", 2, minutes=1, precision="fp32")
    (one, *_), (other, *_), *_ = asked
    assert one is not other
    assert asked == [
        (process, work, way)
        for work in ("_epoch", "_figures", "_figures")
        for process, way in ((one, "textbook"), (other, "fit"))
    ]
    assert result["digits_per_epoch"] == 100 and result["pairs"] == 2
    assert result["seconds_per_epoch"] == {"textbook": [5.0, 6.0], "fit": [3.0, 4.0]}
    assert list(result["seconds_per_batch"]) == PARTS
    assert result["seconds_per_batch"]["forward"] == {"textbook": [12.0] * 2, "fit": [3.0] * 2}
    assert result["inference"] == {
        "images_per_second": {"textbook": [2.5] * 2, "fit": [10.0] * 2},
        "latency": {"textbook": [4.0] * 2, "fit": [1.0] * 2},
    }
    assert all(result["peak_bytes"][way] > 50e6 for way in WAYS)
    assert (result["network"], result["batch_size"]) == ("BottleneckNet", 64)
    assert (result["digits"], result["precision"]) == ("few digits", "fp32")
    assert result["threads"] == torch.get_num_threads() and result["peak"]["operations"] > 0
    peak = Peak(**result["peak"])
    assert result["least_per_batch"] == step_cost(BottleneckNet(), 64, peak)._asdict()
    assert "scaled" in table([result])


class SlowBackward(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        time.sleep(0.06)
        return gradient


class Slow(nn.Sequential):
    """Forward takes 20 ms for a batch and 1 ms for an image, and dropout more; backward 60 ms."""

    def __init__(self):
        super().__init__(nn.Flatten(), nn.Dropout(0.1), nn.Linear(784, 10))

    def forward(self, x):
        time.sleep(0.02 + 0.001 * len(x))
        if self.training:
            self[1](torch.ones(3_000_000))
        return SlowBackward.apply(super().forward(x))


class SlowTransform:
    """Takes 5 ms for a batch of ten, however it is asked."""

    def __call__(self, images, draws):
        time.sleep(0.005)
        return images

    def torchvision(self):
        return lambda image: (time.sleep(0.0005), image)[1]


@pytest.mark.parametrize("way", WAYS)
def test_parts_and_inference_are_where_the_time_goes(few, monkeypatch, way):
    recipe = Recipe(num_epochs=7, batch_size=10, lr=0.01, augment=(SlowTransform(),))
    monkeypatch.setitem(NETWORKS, "slow", Entry(Slow, recipe))
    parts = epoch_time._figures(way, "slow", 20, "fp32")
    assert list(parts) == ["epoch", *PARTS, *INFERENCE]
    assert min(parts.values()) > 0, "something was counted twice, so too little is left"
    # Two batches of ten, and eight digits to validate.
    seconds = parts["epoch"] * 20 / EPOCH
    assert 2 * (0.005 + 0.03 + 0.06) + 0.028 <= seconds < 1
    assert 0.005 <= parts["augmentation"] < 0.03 <= parts["forward"] < 0.06 <= parts["backward"]
    assert max(parts["data"], parts["optimizer"]) < 0.03
    assert 0.021 <= parts["latency"] < 0.06
    assert 100 < parts["images_per_second"] <= 40 / 0.06


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak in /proc")
def test_the_peak_remembers_memory_that_was_given_back():
    before, now = epoch_time._peak_bytes(), psutil.Process().memory_info().rss
    size = max(0, before - now) + 2**27
    with mmap.mmap(-1, size) as fresh:  # malloc may give out pages that an earlier test has used
        fresh[:: mmap.PAGESIZE] = bytes(-(-size // mmap.PAGESIZE))
    assert before + 2**26 < epoch_time._peak_bytes() < before + 2**28


RUN = {
    "network": "SomeNet",
    "batch_size": 125,
    "digits": "MNIST",
    "precision": "bf16",
    "processor": "P",
    "torch": "2",
    "threads": 3,
    "peak": {"operations": 216e9, "bytes": 26e9},
    "digits_per_epoch": EPOCH,
    # The median of the ratios 9, 4 and 6 is not the ratio of the medians, 5.
    "seconds_per_epoch": {"textbook": [90, 100, 120], "fit": [10, 25, 20]},
    "seconds_per_batch": {
        "data": {"textbook": [0.04, 0.05, 0.09], "fit": [0.002, 0.001, 0.003]},
        "forward": {"textbook": [2.0, 2.0, 2.0], "fit": [0.5, 0.5, 0.5]},
        "dropout": {"textbook": [0.004, 0.005, 0.006], "fit": [0.001, 0.0, 0.001]},
    },
    "inference": {
        "images_per_second": {"textbook": [1_000, 2_000, 1_500], "fit": [4_000, 3_000, 7_500]},
        "latency": {"textbook": [0.004, 0.004, 0.008], "fit": [0.001, 0.002, 0.001]},
    },
    "peak_bytes": {"textbook": 1_412e6, "fit": 300.6e6},
    "least_per_batch": {"operations": 2.5e9, "bytes": 50e6, "seconds": 0.01},
}


def test_a_row_has_both_medians_and_the_ratio_of_each_pair_with_its_spread():
    heading, head, *lines, limit = table([RUN]).splitlines()
    assert heading == ("SomeNet on MNIST; bf16, P, torch 2, threads: 3; peak 216 GFLOP/s, 26 GB/s")
    assert head.split() == ["textbook", "fit", "ratio", "spread"]
    assert {line[:34].strip(): line[34:].split() for line in lines} == {
        "epoch of 50,000, s": ["100.00", "20.00", "6.00", "4.00", "to", "9.00"],
        "data, ms per batch of 125": ["50.00", "2.00", "30.00", "20.00", "to", "50.00"],
        "forward, ms per batch of 125": ["2,000", "500.00", "4.00", "4.00", "to", "4.00"],
        "dropout, ms per batch of 125": ["5.00", "1.00", "-"],  # there is no ratio to nothing
        # Here more is better: the ratio says how many times as many.
        "images per second, inference": ["1,500", "4,000", "4.00", "1.50", "to", "5.00"],
        "latency of one image, ms": ["4.00", "1.00", "4.00", "2.00", "to", "8.00"],
        "peak memory, MB": ["1,412", "301"],
    }
    # 400 batches of 125 digits: 400 * 0.01 s = 4 s, and fit takes 20 s.
    assert limit == (
        "limit: 2.50 GFLOP and 50 MB per batch take at least 10.0 ms, 4.0 s per epoch; "
        "fit takes 5.0 times as long"
    )
    assert table([RUN, RUN]).split("\n\n") == [table([RUN])] * 2


@pytest.mark.parametrize(("digits", "scaled"), [(EPOCH, False), (EPOCH - 1, True)])
def test_scaled_seconds_are_marked(digits, scaled):
    text = table([RUN | {"digits_per_epoch": digits}])
    assert ("epoch of 50,000, s, scaled" in text) == scaled == ("scaled" in text)


@pytest.mark.slow
def test_a_case_is_measured_in_two_real_processes():
    (case,) = cases("bottleneck", pairs=1, minutes=1e-6, precision="fp32")
    result = run(**case)
    assert result["digits"] == "small digits" and result["network"] == "BottleneckNet"
    assert len(result["seconds_per_epoch"]["fit"]) == 1
    assert result["peak_bytes"]["textbook"] != result["peak_bytes"]["fit"]
    assert table([result]).startswith("BottleneckNet on small digits; fp32, ")

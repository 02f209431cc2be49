"""Both ways of training are measured in turns, and each figure is in its own place."""

import mmap
import sys
from dataclasses import replace
from types import SimpleNamespace

import psutil
import pytest
import torch
from stand_ins import InProcess
from torch import nn

from mnist_lab.networks import BottleneckNet
from mnist_lab.recipes import BOTTLENECK_RECIPE, NETWORKS, Entry, Recipe
from mnist_lab.studies import epoch_time, roofline
from mnist_lab.studies.epoch_time import EPOCH, WAYS, cases, run, table

PARTS = ["data", "augmentation", "forward", "dropout", "backward", "optimizer", "the rest"]
PLAIN = Recipe(num_epochs=7, batch_size=10, lr=0.01)


def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


# The cases


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


# A run


@pytest.fixture
def measured(few, time, monkeypatch):
    """A run of ways that take 3 s and 1 s for a digit; and what was asked of which process."""
    asked, workers = [], []
    pace = {"textbook": 3, "fit": 1}

    class Worker(InProcess):
        def submit(self, work, *arguments):
            asked.append((self, *arguments))
            return super().submit(work, *arguments)

    def own_process():
        workers.append(Worker())
        return workers[-1]

    def training(way):
        def train(network, data, recipe, **options):
            assert (way == "fit") == (options.get("precision") == "fp32")
            assert recipe == replace(PLAIN, num_epochs=1) and type(network) is nn.Sequential
            count = len(data.train)
            assert torch.equal(data.train.images, few.train.images[:count])
            expected = few.validation.images[: max(1, round(0.4 * count))]
            assert torch.equal(data.validation.images, expected)
            asked.append((way, count))
            time.takes(count * pace[way])

        return train

    def parts(way, name, precision):
        return {part: position + pace[way] for position, part in enumerate(PARTS)}

    def inference(way, name):
        return {"images_per_second": 10 / pace[way], "latency": pace[way]}

    def run_for(minutes, pairs=2):
        result = run("gap", pairs, minutes, "fp32")
        for worker, way, *_ in (one for one in asked if isinstance(one[0], Worker) and one[1:]):
            assert worker is workers[WAYS.index(way)], "each way must keep to its own process"
        return result, [one for one in asked if one[0] in WAYS]

    monkeypatch.setitem(NETWORKS, "gap", Entry(linear, PLAIN, ""))
    monkeypatch.setattr(roofline, "REPEATS", 1)
    monkeypatch.setattr(epoch_time, "time", time)
    monkeypatch.setattr(epoch_time, "own_process", own_process)
    monkeypatch.setattr(epoch_time, "textbook_fit", training("textbook"))
    monkeypatch.setattr(epoch_time, "fit", training("fit"))
    monkeypatch.setattr(epoch_time, "_parts", parts)
    monkeypatch.setattr(epoch_time, "_inference", inference)
    monkeypatch.setattr(epoch_time, "WARM_UP_DIGITS", 5)
    return run_for


def test_the_ways_take_turns_and_share_the_time(measured):
    result, trained = measured(minutes=8 / 60 * 20)  # 20 digits for each of two pairs
    assert trained == [("textbook", 5), ("fit", 5)] + [("textbook", 20), ("fit", 20)] * 2
    assert result["digits_per_epoch"] == 20
    assert result["seconds_per_epoch"] == {"textbook": [3 * EPOCH] * 2, "fit": [EPOCH] * 2}
    assert list(result["seconds_per_batch"]) == PARTS
    assert result["seconds_per_batch"]["forward"] == {"textbook": [5, 5], "fit": [3, 3]}
    assert result["inference"]["latency"] == {"textbook": [3, 3], "fit": [1, 1]}
    assert result["network"] == "function" or result["network"] == "linear"
    assert (result["batch_size"], result["pairs"], result["digits"]) == (10, 2, "few digits")
    assert all(result["peak_bytes"][way] > 50e6 for way in WAYS)
    assert result["peak"]["operations"] > 0 and result["least_per_batch"]["seconds"] > 0
    assert "scaled" in table([result])


@pytest.mark.parametrize(("minutes", "digits"), [(1e9, 100), (1e-9, 5)])
def test_an_epoch_is_never_longer_than_the_digits_nor_shorter_than_the_warm_up(
    measured, minutes, digits
):
    result, _ = measured(minutes, pairs=1)
    assert result["digits_per_epoch"] == digits
    assert result["seconds_per_epoch"]["fit"] == [EPOCH]


# The parts of a step


@pytest.mark.parametrize(
    ("way", "precision"), [("textbook", "fp32"), ("fit", "fp32"), ("fit", "bf16")]
)
def test_the_parts_of_a_real_step_are_all_there_and_make_up_the_step(
    few, monkeypatch, way, precision
):
    took, real = [], epoch_time._train

    def train(way, name, data, recipe, precision):
        took.append(real(way, name, data, recipe, precision))
        return took[-1]

    recipe = replace(BOTTLENECK_RECIPE, batch_size=10)
    monkeypatch.setitem(epoch_time.PROFILED_STEPS, way, 2)  # bf16 may be emulated
    monkeypatch.setitem(NETWORKS, "bottleneck", Entry(BottleneckNet, recipe, ""))
    monkeypatch.setattr(epoch_time, "_train", train)
    parts = epoch_time._parts(way, "bottleneck", precision)
    assert list(parts) == PARTS
    assert all(seconds > 0 for seconds in parts.values())
    assert 2 * sum(parts.values()) == pytest.approx(took[0])


@pytest.mark.parametrize("way", WAYS)
def test_each_part_is_what_its_name_has_in_the_profile(few, monkeypatch, way):
    """Of four steps; in the textbook way digits are augmented while they are fetched."""
    names = epoch_time.NAMES[way]
    fetched = 4e6 * (13 + 2 * (way == "textbook"))
    events = {names["data"]: fetched, "augmentation": 8e6, "forward": 16e6, "backward": 28e6}
    events |= {names["dropout"]: 4e6, "optimizer": 44e6, "aten::conv2d": 1e9}
    monkeypatch.setitem(epoch_time.PROFILED_STEPS, way, 4)

    class Profile:
        def __init__(self, **_):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def key_averages(self):
            return [SimpleNamespace(key=k, cpu_time_total=v) for k, v in events.items()]

    monkeypatch.setattr(epoch_time, "profile", Profile)
    monkeypatch.setattr(epoch_time, "_train", lambda *_: 4 * 50)
    monkeypatch.setitem(NETWORKS, "gap", Entry(linear, PLAIN, ""))
    parts = epoch_time._parts(way, "gap", "fp32")
    assert list(parts.values()) == pytest.approx([13, 2, 3, 1, 7, 11, 50 - 37])
    del events["augmentation"], events[names["dropout"]]  # a recipe and a network without
    assert epoch_time._parts(way, "gap", "fp32")["dropout"] == 0


# Inference and memory


@pytest.mark.parametrize("way", WAYS)
def test_inference_is_timed_after_a_warm_up(few, time, monkeypatch, way):
    class Reads(nn.Module):
        """Takes half a second for an image and a quarter to begin with; cold, far longer."""

        def __init__(self):
            super().__init__()
            self.fc, self.read = nn.Linear(784, 10), 0

        def forward(self, x):
            assert not self.training
            time.takes(0.5 * len(x) + 0.25 + (1_000 if self.read < 40 else 0))
            self.read += len(x)
            return self.fc(x.flatten(1))

    monkeypatch.setattr(epoch_time, "time", time)
    monkeypatch.setitem(NETWORKS, "gap", Entry(Reads, PLAIN, ""))
    for asked in (40, 1_000):  # there are no more than 40
        figures = epoch_time._inference(way, "gap", asked)
        assert figures == {"images_per_second": 40 / 20.25, "latency": 0.75}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak in /proc")
def test_the_peak_remembers_memory_that_was_given_back():
    before, now = epoch_time._peak_bytes(), psutil.Process().memory_info().rss
    size = max(0, before - now) + 2**27
    with mmap.mmap(-1, size) as fresh:  # malloc may give out pages that an earlier test has used
        fresh[:: mmap.PAGESIZE] = bytes(-(-size // mmap.PAGESIZE))
    assert before + 2**26 < epoch_time._peak_bytes() < before + 2**28


def test_without_proc_the_present_memory_is_told(monkeypatch):
    monkeypatch.setattr(epoch_time.Path, "exists", lambda path: False)
    assert epoch_time._peak_bytes() == pytest.approx(psutil.Process().memory_info().rss, rel=0.1)


# The table


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


# Everything together


@pytest.mark.slow
def test_a_case_is_measured_in_two_real_processes(monkeypatch):
    monkeypatch.setenv("MNIST_LAB_SOURCE", "digits")
    monkeypatch.setattr(roofline, "REPEATS", 1)
    (case,) = cases("bottleneck", pairs=1, minutes=1e-6, precision="fp32")
    result = run(**case)
    assert result["digits"] == "small digits" and result["network"] == "BottleneckNet"
    by_way = [result["seconds_per_epoch"], *result["seconds_per_batch"].values()]
    for figures in (*by_way, *result["inference"].values()):
        assert set(figures) == set(WAYS)
        assert all(len(values) == 1 for values in figures.values())
    assert all(result["peak_bytes"][way] > 50e6 for way in WAYS)
    assert table([result]).startswith("BottleneckNet on small digits; fp32, ")

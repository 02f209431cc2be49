"""The benchmark: what it times, what it leaves out, and that its table is right arithmetic."""

import json
import math
import mmap
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import psutil
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from stand_ins import FakeTime, InProcess
from torch import Tensor, nn

from mnist_lab import records
from mnist_lab.__main__ import main as command
from mnist_lab.augment import CropAndResize, Rotate
from mnist_lab.data import Digits, load_data
from mnist_lab.networks import BottleneckNet, GapNet
from mnist_lab.recipes import Recipe
from mnist_lab.studies import epoch_time as epochs
from mnist_lab.studies import roofline as limits
from mnist_lab.studies.epoch_time import EPOCH, PARTS, WAYS, table

PLAIN = Recipe(num_epochs=7, batch_size=4, lr=0.01)


@pytest.fixture
def few(monkeypatch):
    """80 training digits and 40 for validation, in the place of all."""
    small = load_data("digits")
    data = Digits("few digits", small.train.first(80), small.validation.first(40), small.test)
    monkeypatch.setattr(epochs, "_data", lambda: data)
    return data


@pytest.fixture
def time(monkeypatch):
    time = FakeTime()
    monkeypatch.setattr(epochs, "time", time)
    return time


def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


# The table


RECORD = {
    "digits_per_epoch": EPOCH,
    # The median of the ratios 9, 4 and 6 is not the ratio of the medians, 5.
    "seconds_per_epoch": {"textbook": [90, 100, 120], "fit": [10, 25, 20]},
    "seconds_per_batch": {
        "data": {"textbook": [0.04, 0.05, 0.09], "fit": [0.002, 0.001, 0.003]},
        "forward": {"textbook": [2.0, 2.0, 2.0], "fit": [0.5, 0.5, 0.5]},
    },
    "inference": {
        "images_per_second": {"textbook": [1_000, 2_000, 1_500], "fit": [4_000, 3_000, 7_500]},
        "latency": {"textbook": [0.004, 0.004, 0.008], "fit": [0.001, 0.002, 0.001]},
    },
    "peak_bytes": {"textbook": 1_412e6, "fit": 300.6e6},
    "least_per_batch": {"operations": 2.5e9, "bytes": 50e6, "seconds": 0.01},
}


def test_a_row_has_both_medians_and_the_ratio_of_each_pair_with_its_spread():
    lines = table("SomeNet", 125, RECORD).splitlines()
    assert lines[1].split() == ["SomeNet", "textbook", "fit", "ratio", "spread"]
    rows = {line[:34].strip(): line[34:].split() for line in lines[2:-1]}
    assert rows == {
        "epoch of 50,000, s": ["100.00", "20.00", "6.00", "4.00", "to", "9.00"],
        "data, ms per batch of 125": ["50.00", "2.00", "30.00", "20.00", "to", "50.00"],
        "forward, ms per batch of 125": ["2,000", "500.00", "4.00", "4.00", "to", "4.00"],
        # Here more is better: the ratio says how many times as many.
        "images per second, inference": ["1,500", "4,000", "4.00", "1.50", "to", "5.00"],
        "latency of one image, ms": ["4.00", "1.00", "4.00", "2.00", "to", "8.00"],
        "peak memory, MB": ["1,412", "301"],
    }


def test_the_last_line_says_how_far_the_limit_is():
    # 400 batches of 125 digits: 400 * 0.01 s = 4 s, and fit takes 20 s.
    assert table("SomeNet", 125, RECORD).splitlines()[-1] == (
        "limit: 2.50 GFLOP and 50 MB per batch take at least 10.0 ms, 4.0 s per epoch; "
        "fit takes 5.0 times as long"
    )


@pytest.mark.parametrize(("digits", "scaled"), [(EPOCH, False), (EPOCH - 1, True)])
def test_scaled_seconds_are_marked(digits, scaled):
    text = table("SomeNet", 125, RECORD | {"digits_per_epoch": digits})
    assert ("epoch of 50,000, s, scaled" in text) == scaled == ("scaled" in text)


# What is measured, and how often


@pytest.mark.parametrize(
    "wrong", [{"pairs": 0}, {"pairs": -1}, {"minutes": 0}, {"minutes": -0.5}], ids=str
)
def test_no_pairs_or_no_time_are_refused_before_anything_starts(wrong, monkeypatch):
    monkeypatch.setattr(epochs, "load_data", lambda: pytest.fail("too late"))
    with pytest.raises(ValueError, match=r"^pairs and minutes must be above 0, not .*\.$"):
        epochs.main("gap", **wrong)


def ask(monkeypatch, seconds, pairs):
    """`_measure` of ways that take 3 ms and 1 ms per digit; its record, and who was asked what."""
    asked = []

    class Worker(InProcess):
        def submit(self, work, *arguments):
            asked.append((self, work, *arguments))
            return super().submit(work, *arguments)

    workers = {way: Worker() for way in WAYS}
    pace = {"textbook": 0.003, "fit": 0.001}

    def epoch(way, name, digits, precision):
        return digits * pace[way]

    def parts(way, name, precision):
        return {part: position + pace[way] for position, part in enumerate(PARTS)}

    def inference(way, name):
        return {"images_per_second": 1 / pace[way], "latency": pace[way]}

    for work in (epoch, parts, inference):
        monkeypatch.setattr(epochs, f"_{work.__name__}", work)
    monkeypatch.setattr(epochs, "_available", lambda: EPOCH)
    monkeypatch.setattr(epochs, "_peak_bytes", lambda: 5)
    record = epochs._measure("gap", workers, pairs, seconds, "fp32")
    for worker, work, *arguments in asked:
        if work in (epoch, parts, inference):
            assert worker is workers[arguments[0]], "each way must keep to its own process"
    return record, [(work.__name__, *arguments) for _, work, *arguments in asked]


def test_the_time_is_shared_out_and_short_epochs_are_scaled_to_whole_ones(monkeypatch):
    record, _ = ask(monkeypatch, seconds=40, pairs=2)
    assert record["digits_per_epoch"] == pytest.approx(40 / 2 / 0.004, abs=1)
    assert record["seconds_per_epoch"]["textbook"] == pytest.approx([150, 150])
    assert record["seconds_per_epoch"]["fit"] == pytest.approx([50, 50])
    assert set(record["seconds_per_batch"]) == set(PARTS)
    assert record["seconds_per_batch"]["backward"]["fit"] == [4.001, 4.001]
    assert record["seconds_per_batch"]["data"]["textbook"] == [0.003, 0.003]
    assert record["inference"]["latency"] == {"textbook": [0.003] * 2, "fit": [0.001] * 2}
    assert record["peak_bytes"] == {"textbook": 5, "fit": 5}


@pytest.mark.parametrize(("seconds", "digits"), [(1e9, EPOCH), (1e-9, epochs.WARM_UP_DIGITS)])
def test_an_epoch_is_never_longer_than_the_whole_nor_shorter_than_the_warm_up(
    monkeypatch, seconds, digits
):
    record, _ = ask(monkeypatch, seconds, pairs=1)
    assert record["digits_per_epoch"] == digits
    assert record["seconds_per_epoch"]["fit"] == pytest.approx([EPOCH * 0.001])


def test_the_ways_alternate_pair_by_pair(monkeypatch):
    _, asked = ask(monkeypatch, seconds=40, pairs=3)
    epochs = [way for work, way, *_ in (call for call in asked if call[0] == "epoch")]
    assert epochs == [*WAYS] * (1 + 3), "one round warms up, three are measured"
    kinds = [work for work, *_ in asked[-2 - 18 : -2]]
    assert kinds == ["epoch", "epoch", "parts", "parts", "inference", "inference"] * 3


# An epoch


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("asked", "train", "validation"), [(20, 20, 10), (80, 80, 40), (1_000, 80, 40), (1, 1, 1)]
)
def test_an_epoch_is_one_epoch_of_the_asked_share_of_both_splits(
    few, monkeypatch, way, asked, train, validation
):
    seen = []

    def spy(original):
        def train(network, data, recipe, **options):
            before = [parameter.clone() for parameter in network.parameters()]
            result = original(network, data, recipe, **options)
            assert any(not torch.equal(*pair) for pair in zip(before, network.parameters()))
            seen.append((original.__name__, data, recipe, options.get("precision")))
            return result

        return train

    for original in (epochs.fit, epochs.textbook_fit):
        monkeypatch.setattr(epochs, original.__name__, spy(original))
    monkeypatch.setitem(epochs.NETWORKS, "gap", (linear, PLAIN, None))
    assert epochs._epoch(way, "gap", asked, "bf16") > 0
    ((name, data, recipe, precision),) = seen
    assert (name, precision) == (("fit", "bf16") if way == "fit" else ("textbook_fit", None))
    assert recipe == replace(PLAIN, num_epochs=1)
    assert torch.equal(data.train.images, few.train.images[:train])
    assert torch.equal(data.train.labels, few.train.labels[:train])
    assert torch.equal(data.validation.images, few.validation.images[:validation])
    assert torch.equal(data.validation.labels, few.validation.labels[:validation])


@pytest.mark.parametrize("way", WAYS)
def test_the_seconds_of_an_epoch_are_those_of_the_training_alone(few, time, monkeypatch, way):
    monkeypatch.setitem(epochs.NETWORKS, "gap", (lambda: time.takes(100), PLAIN, None))
    monkeypatch.setattr(epochs, "fit", lambda *_, **__: time.takes(3))
    monkeypatch.setattr(epochs, "textbook_fit", lambda *_: time.takes(5))
    assert epochs._epoch(way, "gap", 20, "fp32") == {"fit": 3, "textbook": 5}[way]


# The parts of a step


@dataclass(frozen=True)
class Blacken:
    """A transform that takes two seconds for a batch of four, and leaves nothing of an image."""

    time: FakeTime

    def __call__(self, images, generator):
        self.time.takes(2)
        return torch.zeros_like(images)

    def torchvision(self):
        def alone(image):
            self.time.takes(0.5)
            return Image.new(image.mode, image.size)

        return alone


class Costly(nn.Module):
    """Forward takes 3 s and backward 7 s; with dropout 1 s and 4 s more. The start is slow."""

    def __init__(self, time):
        super().__init__()
        self.drop, self.fc = nn.Dropout(0.5), nn.Linear(784, 10)
        self.time, self.calls = time, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        assert self.training and torch.equal(x, torch.full_like(x, -0.5 / 0.25)), "not augmented"
        more = 1 if self.drop.training else 0
        self.time.takes(3 + more + (1_000 if self.calls <= 2 else 0))
        outputs = self.fc(self.drop(x.flatten(1)))
        outputs.register_hook(lambda gradient: self.time.takes(7 + 4 * more))
        return outputs


@dataclass(frozen=True)
class Slow:
    """Batches that take 13 seconds each to come by."""

    batches: object
    time: FakeTime

    def __iter__(self):
        for batch in self.batches:
            self.time.takes(13)
            yield batch


@pytest.mark.parametrize("way", WAYS)
def test_every_second_of_a_step_is_counted_for_its_part(few, time, monkeypatch, way):
    recipe = replace(PLAIN, augment=(Blacken(time),), mean=0.5, std=0.25)
    monkeypatch.setitem(epochs.NETWORKS, "gap", (lambda: Costly(time), recipe, None))
    batches, textbook, optimizers = epochs.Batches, epochs.textbook_batches, epochs.make_optimizer
    monkeypatch.setattr(epochs, "Batches", lambda *a: Slow(batches(*a), time))
    monkeypatch.setattr(epochs, "textbook_batches", lambda *a: (Slow(textbook(*a)[0], time), None))

    def slow_optimizer(*arguments, **options):
        optimizer, *schedules = optimizers(*arguments, **options)
        optimizer.register_step_post_hook(lambda *_: time.takes(11))
        return optimizer, *schedules

    monkeypatch.setattr(epochs, "make_optimizer", slow_optimizer)
    assert epochs._parts(way, "gap", "fp32", steps=4) == {
        "data": 13,
        "augmentation": 2,
        "forward": 3,
        "dropout": 1 + 4,
        "backward": 7,
        "optimizer": 11,
    }


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_parts_of_a_real_step_are_all_there(few, monkeypatch, way, precision):
    recipe = replace(epochs.NETWORKS["bottleneck"].recipe, batch_size=8)
    monkeypatch.setitem(epochs.NETWORKS, "bottleneck", (BottleneckNet, recipe, None))
    parts = epochs._parts(way, "bottleneck", precision, steps=2)
    assert tuple(parts) == PARTS
    assert all(math.isfinite(seconds) for seconds in parts.values())
    # Dropout is a difference of two timings: noise can make it negative.
    assert all(seconds > 0 for part, seconds in parts.items() if part != "dropout")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_parts_are_computed_as_each_way_computes_them(few, monkeypatch, way, precision):
    seen = []

    class Look(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.drop = nn.Conv2d(1, 10, 28), nn.Dropout(0.5)

        def forward(self, x):
            y = self.drop(self.conv(x))
            seen.append((y.dtype, "forward" in vars(self.drop), self.drop.training))
            return y.flatten(1)

    monkeypatch.setitem(epochs.NETWORKS, "gap", (Look, PLAIN, None))
    epochs._parts(way, "gap", precision, steps=2)
    low = way == "fit" and precision == "bf16"
    dtype = torch.bfloat16 if low else torch.float32
    assert seen == [(dtype, way == "fit", on) for on in (True, False)] * 2


def test_only_dropout_is_switched():
    network = GapNet().train()
    dropouts = {module for module in network.modules() if isinstance(module, nn.Dropout)}
    assert dropouts
    for on in (False, True):
        epochs._dropout(network, on)
        assert all(module.training == on for module in dropouts)
        assert all(module.training for module in network.modules() if module not in dropouts)


@pytest.mark.parametrize("transform", [Rotate(15), CropAndResize(22, p=0.5)], ids=str)
def test_a_timed_transform_does_what_it_did(transform):
    clock = epochs._Clock()
    timed, images = epochs._Timed(transform, clock), load_data("digits").train.images[:20]
    results = [each(images, torch.Generator().manual_seed(3)) for each in (transform, timed)]
    assert torch.equal(*results) and not torch.equal(results[0], images)
    batch = clock.seconds["augmentation"]
    assert batch > 0

    alone = []
    for each in (transform, timed):
        torch.manual_seed(3)
        one_by_one = each.torchvision()
        alone.append([one_by_one(Image.fromarray(image[0].numpy())) for image in images])
    assert [image.tobytes() for image in alone[0]] == [image.tobytes() for image in alone[1]]
    assert clock.seconds["augmentation"] > batch and set(clock.seconds) == {"augmentation"}


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

    monkeypatch.setitem(epochs.NETWORKS, "gap", (Reads, PLAIN, None))
    assert epochs._inference(way, "gap", 40) == {"images_per_second": 40 / 20.25, "latency": 0.75}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", epochs.NETWORKS)
def test_real_networks_have_a_latency_and_a_throughput(few, way, name):
    figures = epochs._inference(way, name, 10)
    assert set(figures) == {"images_per_second", "latency"}
    assert all(0 < figure < math.inf for figure in figures.values())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak in /proc")
def test_the_peak_remembers_memory_that_was_given_back():
    before, now = epochs._peak_bytes(), psutil.Process().memory_info().rss
    size = max(0, before - now) + 2**27
    with mmap.mmap(-1, size) as fresh:  # malloc may give out pages that an earlier test has used
        fresh[:: mmap.PAGESIZE] = bytes(-(-size // mmap.PAGESIZE))
    peak = epochs._peak_bytes()
    assert before + 2**26 < peak < before + 2**28
    assert epochs._peak_bytes() >= peak


def test_without_proc_the_present_memory_is_told(monkeypatch):
    monkeypatch.setattr(epochs.Path, "exists", lambda path: False)
    assert epochs._peak_bytes() == pytest.approx(psutil.Process().memory_info().rss, rel=0.1)


# Where there are fewer digits than are asked for


def test_seconds_are_scaled_from_the_digits_that_were_trained_on(few, time, monkeypatch):
    monkeypatch.setattr(epochs, "fit", lambda n, data, r, **_: time.takes(len(data.train)))
    monkeypatch.setattr(epochs, "textbook_fit", lambda n, data, r: time.takes(len(data.train)))
    monkeypatch.setattr(epochs, "_parts", lambda *_: dict.fromkeys(PARTS, 1.0))
    monkeypatch.setattr(epochs, "_inference", lambda *_: {"latency": 1.0})
    record = epochs._measure("gap", {way: InProcess() for way in WAYS}, 1, 1e6, "fp32")
    assert record["digits_per_epoch"] == len(few.train)
    assert record["seconds_per_epoch"]["fit"] == pytest.approx([EPOCH])


@pytest.mark.parametrize("way", WAYS)
def test_the_steps_go_on_when_the_digits_are_through(few, monkeypatch, way):
    monkeypatch.setitem(epochs.NETWORKS, "gap", (linear, replace(PLAIN, batch_size=8), None))
    epochs._parts(way, "gap", "fp32", steps=6)


@pytest.mark.parametrize("way", WAYS)
def test_the_throughput_counts_the_digits_that_were_read(few, time, monkeypatch, way):
    class Reads(nn.Linear):
        def forward(self, x):
            time.takes(len(x))
            return super().forward(x.flatten(1))

    monkeypatch.setitem(epochs.NETWORKS, "gap", (lambda: Reads(784, 10), PLAIN, None))
    assert epochs._inference(way, "gap", 1_000)["images_per_second"] == 1


# Everything together


def test_the_command_measures_both_ways_and_writes_a_record(tmp_path, monkeypatch):
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    asked = []

    def share(workers, context):  # a real process, but one for both: it takes seconds to start
        asked.append((workers, context.get_start_method()))
        return pool

    monkeypatch.setattr(epochs, "ProcessPoolExecutor", share)
    monkeypatch.setenv("MNIST_LAB_SOURCE", "digits")
    monkeypatch.setattr(records, "project_root", lambda: tmp_path)
    monkeypatch.setattr(limits, "REPEATS", 1)
    monkeypatch.setattr(epochs, "WARM_UP_DIGITS", 64)
    monkeypatch.setattr(epochs, "QUICK_MINUTES", 1e-6)
    options = ["--network", "bottleneck", "--pairs", "1", "--precision", "fp32", "--quick"]
    result = CliRunner().invoke(command, ["bench", *options])
    assert result.exit_code == 0, result.output
    assert [workers for workers, _ in asked] == [1, 1], "each way must have a process of its own"
    assert {method for _, method in asked} <= {"spawn", "forkserver"}, "a fork is no fresh process"
    (path,) = (tmp_path / "runs" / "bench").iterdir()
    record = json.loads(path.read_text())
    assert f"written: {path.relative_to(tmp_path)}" in result.output
    assert (record["digits"], record["precision"], record["pairs"]) == ("small digits", "fp32", 1)
    assert all(record["peak"][figure] > 0 for figure in ("operations", "bytes"))
    assert "gap" not in record
    measured = record["bottleneck"]
    assert measured["digits_per_epoch"] == 64
    assert set(measured["seconds_per_batch"]) == set(PARTS)
    by_way = [measured["seconds_per_epoch"], *measured["seconds_per_batch"].values()]
    by_way += measured["inference"].values()
    for figures in by_way:
        assert set(figures) == set(WAYS)
        assert all(len(values) == 1 for values in figures.values())
    assert all(measured["peak_bytes"][way] > 50e6 for way in WAYS)
    assert measured["least_per_batch"]["seconds"] > 0
    assert table("BottleneckNet", 64, measured) in result.output

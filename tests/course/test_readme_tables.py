"""The README's tables, from records worked out by hand."""

import json

import pytest
import torch

from mnist_lab.course.execute import Outcome
from mnist_lab.course.readme_tables import cost_line, notebook_table, results_table, speed_tables
from mnist_lab.data import load_writers
from mnist_lab.statistics import seed_interval, writer_interval

BENCH = {
    "precision": "bf16",
    "threads": 2,
    "processor": "A fast one, AVX512",
    "gap": {
        "digits_per_epoch": 50_000,
        "seconds_per_epoch": {"textbook": [80.0, 60.0, 70.0], "fit": [20.0, 20.0, 20.0]},
    },
}
BUSY = {
    "chosen": 1,
    "cores": 2,
    "precision": "fp32",
    "processor": "P",
    "bottleneck": {
        "1": {"alone": [0.03] * 3, "busy": [0.01, 0.04, 0.05], "second": [9.0]},
        "2": {"alone": [0.02] * 3, "busy": [0.1] * 3, "second": [9.0]},
    },
}
COMPARE = {
    "network": "GapNet",
    "num_epochs": 3,
    "precision": "bf16",
    "validation": {"textbook": [0.99, 0.98], "fit": [0.991, 0.983]},
}
SPRINT = {"goal": 0.99, "test": [0.991, 0.992], "seeds": 2, "ratio": 500.4, "precision": "bf16",
          "seconds": [2.0, 4.0], "example_seconds": [1400.0, 1401.0]}  # fmt: skip
RACE = {"sprints": [SPRINT], "example": [[0.98, 0.991], [0.985, 0.99]]}


@pytest.fixture
def tables(tmp_path):
    def made(*records):
        for number, record in enumerate(records):
            (tmp_path / f"{number}.json").write_text(json.dumps(record))
        return speed_tables(tmp_path)

    return made


def test_the_cost_of_a_notebook_in_words_and_in_a_table():
    quick = Outcome("00_start_here", "ok", 12.4, 2, 1345, "MNIST")
    slow = Outcome("04_training", "ok", 130.0, 1, 345, "MNIST")
    assert "about 12 seconds and 1,345 MB of memory on 2 cores, measured" in cost_line(quick)
    assert notebook_table([quick, slow]).splitlines()[2:] == [
        "| [00 start here](notebooks/00_start_here.ipynb) | 12 seconds | 2 cores | 1,345 MB |",
        "| [04 training](notebooks/04_training.ipynb) | 2 minutes | 1 core | 345 MB |",
    ]


def test_each_unit_has_a_table_and_each_table_its_columns(tables):
    found = tables(BENCH, BUSY, COMPARE, RACE).split("\n\n")
    units = [table.split("|")[1].strip() for table in found]
    assert units == [
        "seconds per epoch", "milliseconds per step", "validation accuracy", "seconds to the goal"
    ]  # fmt: skip
    for table in found:
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_what_was_not_measured_has_no_table(tables):
    assert tables(COMPARE).startswith("| validation accuracy |")
    assert tables(COMPARE).count("|---|---|---|---|") == 1


def test_epochs_have_medians_and_the_range_of_the_ratios(tables):
    row = "| GapNet, bf16, threads: 2, A fast one, AVX512 | 70.0 | 20.0 | 3.5 (3.0 to 4.0) |"
    assert tables(BENCH).splitlines()[2:] == [row]
    few = BENCH | {"gap": BENCH["gap"] | {"digits_per_epoch": 10_000}}
    assert "AVX512, scaled |" in tables(few)


def test_beside_other_work_every_core_stands_against_the_choice(tables):
    (row,) = tables(BUSY).splitlines()[2:]
    assert row == "| BottleneckNet, fp32, threads: 2 or 1, P | 20 | 100 | 30 | 40 |"


def test_accuracies_have_the_interval_of_their_difference(tables):
    (row,) = tables(COMPARE).splitlines()[2:]
    assert row.startswith("| GapNet, bf16, 3 epochs, 2 paired seeds | 98.50% | 98.70% | +0.200 [")


def test_the_race_counts_the_example_to_its_end_and_to_the_goal(tables):
    (row,) = tables(RACE).splitlines()[2:]
    # The example has a mean of 99 % after the second of its 14 epochs.
    assert row.startswith("| 99.0% of the test digits, bf16; reached: 99.15% [")
    assert row.endswith("2 seeds | 1,400 | 200 (mean of 2 seeds) | 3.0 | 500 (71) |")
    (row,) = tables(RACE | {"sprints": [SPRINT | {"goal": 0.994}]}).splitlines()[2:]
    assert row.endswith("| 1,400 | not in the 2 epochs that were seen | 3.0 | 500 |")
    (row,) = tables({"sprints": [SPRINT]}).splitlines()[2:]
    assert row.endswith("| 1,400 | not measured | 3.0 | 500 |")


# The trainings


def record(
    network, digits, validation, correct, interval=(0.1, 0.9), precision="fp32", split="random"
):
    return {
        "network": network,
        "digits": digits,
        "parameters": 13_808,
        "recipe": {"num_epochs": 19},
        "split": {"name": split, "train": 50},
        "precision": precision,
        "validation_accuracy": [0.1, validation],
        "test": {"correct": correct, "total": 1_000, "interval": interval},
    }


def test_a_table_has_a_row_for_each_kind_of_run():
    rows = results_table(
        [
            record("GapNet", "MNIST", 0.99, 990),
            record("GapNet", "small digits", 0.95, 950, (0.93, 0.961)),
            record("GapNet", "MNIST", 0.98, 980),
            record("GapNet", "MNIST", 0.98, 980, precision="bf16"),
            record("BottleneckNet", "MNIST", 0.97, 970, (0.95, 0.98)),
            record("GapNet", "MNIST", 0.97, 970, split="by writer"),
            record("GapNet", "MNIST", 0.97, 970, split="as published"),
        ]
    ).splitlines()
    assert rows[0].split(" | ")[5:8] == ["seeds", "validation", "test"]
    low, high = seed_interval([0.99, 0.98])
    bounds = "| 97.00% | 10.00% to 90.00%"
    assert [row.removesuffix(" | unknown |").replace(" 13,808 |", "") for row in rows[2:]] == [
        f"| GapNet | 50 of MNIST | fp32 | 19 | 2 | 98.50% | 98.50% | {low:.2%} to {high:.2%}",
        "| GapNet | 50 of small digits | fp32 | 19 | 1 | 95.00% | 95.00% | 93.00% to 96.10%",
        "| GapNet | 50 of MNIST | bf16 | 19 | 1 | 98.00% | 98.00% | 10.00% to 90.00%",
        "| BottleneckNet | 50 of MNIST | fp32 | 19 | 1 | 97.00% | 97.00% | 95.00% to 98.00%",
        f"| GapNet | 50 of MNIST, by writer | fp32 | 19 | 1 | 97.00% {bounds}",
        f"| GapNet | 50 of MNIST, as published | fp32 | 19 | 1 | none {bounds}",
    ]
    assert len({row.count("|") for row in rows}) == 1, "not a Markdown table"


def test_the_interval_over_writers_takes_all_seeds_of_a_writer_together():
    writers, _ = load_writers(train=False)
    runs = [record("GapNet", "MNIST", 0.99, 9_990) for _ in range(2)]
    for run, wrong in zip(runs, (range(10), range(5, 15))):
        run["test"] |= {"total": 10_000, "wrong": [[index, 3, 0.5] for index in wrong]}
    correct = torch.ones(2, 10_000, dtype=torch.bool)
    correct[0, :10] = correct[1, 5:15] = False
    low, high = writer_interval(correct.flatten(), torch.cat([writers, writers]))
    assert results_table(runs).splitlines()[2].endswith(f"| {low:.2%} to {high:.2%} |")
    assert low < 0.999 < high

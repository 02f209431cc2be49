"""What several studies need."""

import os

import pytest
import torch

from mnist_lab.data import load_data
from mnist_lab.recipes import NETWORKS
from mnist_lab.records import processor
from mnist_lab.studies.measuring import chosen_networks, conditions, digits, own_process
from mnist_lab.validation import UserError


def test_the_digits_are_read_once(few):
    assert digits() is few and digits() is digits()


def test_a_result_says_what_it_was_measured_with():
    assert conditions(load_data("digits"), "bf16") == {
        "digits": "small digits",
        "precision": "bf16",
        "processor": processor(),
        "torch": torch.__version__,
    }


def test_without_a_network_all_are_chosen():
    assert chosen_networks(None) == ["gap", "bottleneck"]
    assert chosen_networks("gap") == ["gap"]
    with pytest.raises(UserError, match=f"must be one of {', '.join(NETWORKS)}, not"):
        chosen_networks("lenet")


def test_a_process_is_another_and_stays_the_same():
    with own_process() as process:
        first, second = (process.submit(os.getpid).result() for _ in range(2))
        assert first == second != os.getpid()

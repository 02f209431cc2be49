"""What cases are drawn from: not what the student has seeded, and moved by nobody else."""

import random

import torch

from mnist_lab.exercises import cases


def drawn():
    tensors = cases.randn(2, 3), cases.rand(2, 3), cases.randint(0, 1000, 3), cases.randperm(30)
    return [cases.draw.random(), *(tensor.tolist() for tensor in tensors)]


def test_seeds_of_the_student_change_nothing_and_are_not_moved():
    random.seed(0), torch.manual_seed(0)
    states = random.getstate(), torch.get_rng_state()
    first = drawn()
    assert random.getstate() == states[0] and torch.equal(torch.get_rng_state(), states[1])
    random.seed(0), torch.manual_seed(0)
    assert all(a != b for a, b in zip(first, drawn()))


def test_shapes_and_ranges():
    assert cases.randn(2, 3).shape == cases.rand(2, 3).shape == (2, 3)
    assert set(cases.randint(2, 4, 200).tolist()) == {2, 3}
    assert sorted(cases.randperm(5).tolist()) == [0, 1, 2, 3, 4]
    assert cases.rand(100).min() >= 0 and cases.rand(100).max() < 1

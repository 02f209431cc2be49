"""Who wrote which of MNIST's digits, and in which of NIST's two collections.

`writers.npz` was made from the label files of QMNIST (Yadav and Bottou, "Cold Case: The Lost MNIST
Digits", arXiv:1905.10498; repository facebookresearch/qmnist): the columns series and writer of
the first 60,000 rows of its training file and of the first 10,000 of its test file, which are
MNIST's digits in MNIST's order; the classes in these rows are MNIST's 70,000 labels. The MD5s:

    qmnist-train-labels-idx2-int.gz    0058f8dd561b90ffdd0f734c6a30e5e4
    qmnist-test-labels-idx2-int.gz     5b5b05890a5e13444e108efe57b788aa

QMNIST: Copyright (c) Facebook, Inc. and its affiliates. All rights reserved. Its BSD licence lies
in the file too: `np.load("writers.npz")["licence"]`.
"""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

FILE = Path(__file__).with_name("writers.npz")


def who_wrote(train: bool) -> tuple[Tensor, Tensor]:
    """The writers and the series of MNIST's 60,000 digits (`train`) or of its 10,000, in MNIST's
    order: two tensors `[N]` (int64).

    Series 0 was written by Census employees, series 4 by high-school students. Nobody wrote in
    both series, or in both parts.
    """
    part = slice(60_000) if train else slice(60_000, None)
    return _column("writers")[part], _column("series")[part]


def held_out_writers() -> Tensor:
    """The 90 writers `[90]` (int64), of the 539 who wrote the 60,000 digits, that a validation
    split by writer holds out; the same for everybody.

    Of six folds that share no writer, this is the first: scikit-learn 1.9.1's
    `StratifiedGroupKFold(6, shuffle=True, random_state=0)`, stratified by series and digit. It is
    kept in the file because older versions shuffle wrongly (scikit-learn/scikit-learn#32540).
    """
    return _column("held_out")


def _column(name: str) -> Tensor:
    return torch.from_numpy(_file()[name].astype(np.int64))


@cache
def _file() -> dict[str, np.ndarray]:
    with np.load(FILE) as file:
        return dict(file)

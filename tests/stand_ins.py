"""What several tests put in the place of processes, of records and of files."""

from concurrent.futures import Future

import numpy as np


class InProcess:
    """A pool that works at once, where it is: nothing must start."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, work, *arguments):
        future = Future()
        future.set_result(work(*arguments))
        return future


def training(seed=0, **changes) -> dict:
    """A whole record of a short training, as `save_record` writes it."""
    curves = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy",
              "seconds_per_epoch")  # fmt: skip
    return {
        "kind": "training", "network": "GapNet", "parameters": 13_808, "digits": "MNIST",
        "split": {"name": "random", "train": 50_000}, "seed": seed,
        "recipe": {"num_epochs": 1, "mean": 0.5, "std": 0.25, "seed": seed},
        **{curve: [0.5] for curve in curves},
        "test": {"correct": 9_900 + seed, "total": 10_000, "interval": [0.4, 0.6], "wrong": []},
        "precision": "fp32",
    } | changes  # fmt: skip


def idx(array) -> bytes:
    """An array of bytes in MNIST's file format."""
    sizes = b"".join(side.to_bytes(4, "big") for side in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()

"""Imported once where the answers' processes are forked from: what is slow, or slow at first.

That is what the notebooks import, and for example PyTorch's optimizers: every answer would wait for
it, more than a second.
"""

import matplotlib.pyplot
import numpy
import scipy.optimize
import scipy.stats
import sklearn.metrics
import torch.profiler
import torchsummary  # noqa: F401

import mnist_lab.drawing.pad
import mnist_lab.interpret
import mnist_lab.plots
import mnist_lab.studies.textbook  # noqa: F401

matplotlib.use("agg")
parameter = torch.nn.Parameter(torch.zeros(1))
torch.optim.Adam([parameter])
numpy.random.default_rng(0)
scipy.stats.t.ppf(0.975, 4)
sklearn.metrics.accuracy_score([0], [0])

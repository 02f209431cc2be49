"""Imported once where the answers' processes are forked from: what PyTorch loads at its first use.

An optimizer's takes more than a second, and every answer would wait for it.
"""

import matplotlib
import numpy
import scipy.stats
import sklearn.metrics
import torch

matplotlib.use("agg")
parameter = torch.nn.Parameter(torch.zeros(1))
torch.optim.Adam([parameter])
numpy.random.default_rng(0)
scipy.stats.t.ppf(0.975, 4)
sklearn.metrics.accuracy_score([0], [0])

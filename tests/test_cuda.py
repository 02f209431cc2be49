"""What CUDA needs. Most of it can be seen on a GPU only: these tests run where there is one."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector

from mnist_lab.cuda import CapturedStep, deterministic_convolutions
from mnist_lab.data import Digits, load_data
from mnist_lab.networks import BottleneckNet, GapNet
from mnist_lab.recipes import BOTTLENECK_RECIPE, GAP_RECIPE
from mnist_lab.training import fit

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
BOTH = pytest.mark.parametrize(
    ("make", "recipe"), [(GapNet, GAP_RECIPE), (BottleneckNet, BOTTLENECK_RECIPE)]
)


def trained(make, recipe, **options):
    small = load_data("digits")
    few = Digits("few digits", small.train.first(500), small.validation.first(50), small.test)
    torch.manual_seed(0)
    network = make()
    history = fit(network, few, replace(recipe, num_epochs=2), progress=False, **options)
    return history, parameters_to_vector(network.parameters()).detach()


def test_cudnns_settings_come_back_after_an_error():
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    with pytest.raises(KeyError), deterministic_convolutions():
        assert (cudnn.deterministic, cudnn.benchmark) == (True, False)
        raise KeyError
    assert (cudnn.deterministic, cudnn.benchmark) == before


@on_a_gpu
@BOTH
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_seed_gives_the_same_weights_to_the_bit(make, recipe, precision):
    runs = [trained(make, recipe, device="cuda", precision=precision) for _ in range(2)]
    assert torch.equal(runs[0][1], runs[1][1])
    assert runs[0][0].batch_loss == runs[1][0].batch_loss
    other = trained(make, replace(recipe, seed=1), device="cuda", precision=precision)
    assert not torch.equal(runs[0][1], other[1])


@on_a_gpu
@BOTH
def test_the_captured_step_trains_as_the_plain_one_does(make, recipe, monkeypatch):
    recipe = replace(recipe, batch_size=64)  # 500 digits: the last batch is smaller
    captured = trained(make, recipe, device="cuda", precision="fp32")
    monkeypatch.setattr(CapturedStep, "of", lambda step, network, batch_size: step)
    plain = trained(make, recipe, device="cuda", precision="fp32")
    assert captured[0].batch_loss == pytest.approx(plain[0].batch_loss, rel=1e-3)


@on_a_gpu
def test_a_network_that_looks_at_a_value_is_trained_step_by_step():
    class Looks(nn.Sequential):
        def forward(self, x):
            return super().forward(x) * (2 if x.sum().item() > 0 else 1)

    def make():
        return Looks(nn.Flatten(), nn.Dropout(0.1), nn.Linear(784, 10))

    history, _ = trained(make, BOTTLENECK_RECIPE, device="cuda")
    assert history.train_loss[1] < history.train_loss[0]


@on_a_gpu
def test_the_random_state_of_the_gpu_stays_the_callers():
    before = torch.cuda.get_rng_state()
    trained(GapNet, GAP_RECIPE, device="cuda")
    assert torch.equal(torch.cuda.get_rng_state(), before)

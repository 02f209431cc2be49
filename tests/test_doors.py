"""What `fit`, `predict` and `evaluate` refuse, each in one sentence, and what they leave behind."""

import copy
import re
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from mnist_lab.augment import normalize, textbook_transform
from mnist_lab.data import Digits, Split, load_data
from mnist_lab.evaluation import evaluate, predict
from mnist_lab.networks import BottleneckNet, GapNet
from mnist_lab.recipes import BOTTLENECK_RECIPE, GAP_RECIPE, Recipe
from mnist_lab.training import Batches, fit

RECIPE = Recipe(num_epochs=2, batch_size=4, lr=0.01)
QUIET = {"device": "cpu", "precision": "fp32", "progress": False}
SMALL = load_data("digits")
DATA = Digits("few digits", SMALL.train.first(12), SMALL.validation.first(10), SMALL.test)
IMAGES, LABELS = DATA.train.images, DATA.train.labels
FLOATS = normalize(IMAGES, RECIPE.mean, RECIPE.std)
NONE = Split(IMAGES[:0], LABELS[:0])


def network(*end, dropout=0.5):
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(784, 10), *end)


class Ends(nn.Module):
    """A network whose outputs are changed by a function at the end."""

    def __init__(self, change):
        super().__init__()
        self.body, self.change = network(), change

    def forward(self, x):
        return self.change(self.body(x))


class Tenths(nn.Module):
    """Logits that add up to 1, as probabilities do, but are below 0 too."""

    def forward(self, x):
        return x - x.mean(1, keepdim=True) + 0.1


def refuses(sentence):
    return pytest.raises(ValueError, match=f"^{re.escape(sentence)}")


def relabelled(label):
    labels = LABELS.clone()
    labels[5] = label
    return Split(IMAGES, labels)


# Arguments of another kind


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"network": GapNet}, "network must be an nn.Module such as GapNet(), not <class 'mnist"),
        ({"network": None}, "network must be an nn.Module such as GapNet(), not None."),
        ({"network": nn.Flatten()}, "the network Flatten has no parameters to train."),
        ({"network": network().requires_grad_(False)}, "the network Sequential has no parameters"),
        ({"data": None}, "data must be Digits, as load_data() gives them, not None."),
        ({"data": DATA.train}, "data must be Digits, as load_data() gives them, not Split(images="),
        ({"recipe": {"lr": 1}}, "recipe must be a Recipe such as GAP_RECIPE, not {'lr': 1}."),
        ({"recipe": Recipe}, "recipe must be a Recipe such as GAP_RECIPE, not <class 'mnist"),
        ({"device": "gpu"}, "device 'gpu' cannot be used here: take 'cpu', or None for"),
        ({"device": ""}, "device '' cannot be used here: take 'cpu', or None for"),
        ({"device": "meta"}, "device 'meta' cannot be used here: take 'cpu', or None for"),
        ({"device": 1.5}, "device 1.5 cannot be used here: take 'cpu', or None for"),
        ({"precision": None}, "precision must be one of auto, fp32, bf16, not None."),
    ],
    ids=lambda value: None if isinstance(value, str) else str(*value),
)
def test_fit_refuses_what_is_of_another_kind(changes, sentence):
    with refuses(sentence):
        fit(**{"network": network(), "data": DATA, "recipe": RECIPE} | QUIET | changes)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_fit_refuses_a_device_that_is_not_there():
    with refuses(
        "device 'cuda' cannot be used here: take 'cpu', or None for the fastest there is."
    ):
        fit(network(), DATA, RECIPE, **QUIET | {"device": "cuda"})


@pytest.mark.parametrize("ask", [predict, evaluate])
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"network": GapNet}, "network must be an nn.Module such as GapNet(), not <class 'mnist"),
        ({"split": DATA}, "split must be a Split such as data.test, not Digits(name="),
        ({"recipe": None}, "recipe must be a Recipe such as GAP_RECIPE, not None."),
    ],
    ids=lambda value: None if isinstance(value, str) else str(*value),
)
def test_predict_and_evaluate_refuse_what_is_of_another_kind(ask, changes, sentence):
    with refuses(sentence):
        ask(**{"network": network(), "split": DATA.test, "recipe": RECIPE} | changes)


# Digits


FLAWS = [
    (NONE, "{} holds no digits: it needs one at least."),
    (None, "{} must be a Split such as data.test, not None."),
    (
        Split(FLOATS, LABELS),
        "the images of {} must be a tensor uint8 [12, 1, 28, 28], not float32 [12, 1, 28, 28].",
    ),
    (
        Split(IMAGES[:, 0], LABELS),
        "the images of {} must be a tensor uint8 [12, 1, 28, 28], not uint8 [12, 28, 28].",
    ),
    (
        Split(IMAGES[..., :20], LABELS),
        "the images of {} must be a tensor uint8 [12, 1, 28, 28], not uint8 [12, 1, 28, 20].",
    ),
    (
        Split(IMAGES.numpy(), LABELS),
        "the images of {} must be a tensor uint8 [N, 1, 28, 28], not array([[[[",
    ),
    (
        Split(IMAGES, LABELS[:11]),
        "the labels of {}, one for each image, must be a tensor int64 [12], not int64 [11].",
    ),
    (
        Split(IMAGES, LABELS.float()),
        "the labels of {}, one for each image, must be a tensor int64 [12], not float32 [12].",
    ),
    (
        Split(IMAGES, np.zeros(12)),
        "the labels of {}, one for each image, must be a tensor int64 [12], not array([0., 0.",
    ),
    (relabelled(10), "the labels of {} must be from 0 to 9, not 10."),
    (relabelled(-100), "the labels of {} must be from 0 to 9, not -100."),  # torch would skip it
]


@pytest.mark.parametrize(
    ("split", "sentence"), FLAWS, ids=lambda value: value[:60] if isinstance(value, str) else None
)
def test_flawed_digits_are_refused_at_every_door(split, sentence):
    for part in ("train", "validation"):
        with refuses(sentence.format(f"data.{part}")):
            fit(network(), replace(DATA, **{part: split}), RECIPE, **QUIET)
    for ask in (predict, evaluate):
        with refuses(sentence.format("split")):
            ask(network(), split, RECIPE)


def test_the_test_digits_are_no_business_of_fit():
    fit(network(), replace(DATA, test=None), RECIPE, **QUIET)


# Batches from elsewhere


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(FLOATS, LABELS))


class Gives:
    """A source with a length, that gives so many batches in its first epoch, its second, and on."""

    def __init__(self, length, *given):
        self.length, self.given = length, list(given)

    def __len__(self):
        return self.length

    def __iter__(self):
        return iter([(FLOATS, LABELS)] * self.given.pop(0))


@pytest.mark.parametrize(
    ("batches", "sentence"),
    [
        (iter([(FLOATS, LABELS)]), "batches must have a length and begin anew in every epoch"),
        (((FLOATS, LABELS) for _ in range(3)), "batches must have a length and begin anew"),
        (DataLoader(Stream()), "batches must have a length and begin anew in every epoch"),
        (5, "batches must have a length and begin anew in every epoch, as a DataLoader does; this"),
        ([], "batches is empty: there is nothing to train on."),
        (Gives(3, 0), "batches has a length of 3, but gave 0 in epoch 1: it must give them all"),
        (Gives(3, 3, 0), "batches has a length of 3, but gave 0 in epoch 2: it must give them all"),
        (Gives(3, 2), "batches has a length of 3, but gave 2 in epoch 1: it must give them all"),
        (Gives(1, 9), "batches has a length of 1, but gave 2 in epoch 1: it must give them all"),
        ([FLOATS], "a batch must be a pair (images, labels), not tensor([[[["),
        ([{"images": FLOATS}], "a batch must be a pair (images, labels), not {'images': tensor("),
        (DATA.train.dataset(textbook_transform((), 0, 1)),
         "the images of a batch must be a tensor float32 [1, 1, 28, 28], not float32 [1, 28, 28]."),
        ([(IMAGES, LABELS)],
         "the images of a batch must be a tensor float32 [12, 1, 28, 28], not uint8 [12, 1, 28,"),
        ([(FLOATS, LABELS[:3])], "the labels of a batch, one for each image, must be a tensor int"),
        ([(FLOATS[:0], LABELS[:0])], "a batch holds no digits: it needs one at least."),
        ([(FLOATS, LABELS), (FLOATS, LABELS + 5)], "the labels of a batch must be from 0 to 9"),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else "",
)  # fmt: skip
def test_flawed_batches_are_refused(batches, sentence):
    with refuses(sentence):
        fit(network(), DATA, RECIPE, batches=batches, **QUIET)


def test_batches_from_elsewhere_are_trained_on_as_they_are():
    ours, theirs = network(), network()
    own = Batches(DATA.train, RECIPE, torch.Generator().manual_seed(RECIPE.seed))
    first = fit(ours, DATA, RECIPE, **QUIET)
    # With batches of their own, the training digits are not looked at.
    second = fit(theirs, replace(DATA, train=NONE), RECIPE, batches=own, **QUIET)
    assert len(first.batch_loss) == len(second.batch_loss) == 6
    assert fit(network(), DATA, RECIPE, batches=[[FLOATS, LABELS]], **QUIET).batch_loss


# Outputs, and the loss that goes with them


@pytest.mark.parametrize(
    ("change", "got"),
    [
        (lambda y: torch.cat([y, y], 1), "float32 [{0}, 20]"),
        (lambda y: y[:, :9], "float32 [{0}, 9]"),
        (lambda y: y[:3], "float32 [3, 10]"),
        (lambda y: y[:, :, None, None], "float32 [{0}, 10, 1, 1]"),
        (lambda y: y.argmax(1), "int64 [{0}]"),
        (lambda y: (y, y), "(tensor([["),
        (lambda y: None, "None."),
    ],
)
def test_outputs_of_another_form_are_refused(change, got):
    wanted = "the outputs of the network must be a tensor [{0}, 10], ten for each image, not "
    with refuses((wanted + got).format(4)):
        fit(Ends(change), DATA, RECIPE, **QUIET)
    for ask in (predict, evaluate):
        with refuses((wanted + got).format(10)):
            ask(Ends(change), DATA.validation, RECIPE)


def test_a_last_batch_of_one_that_loses_its_first_dimension_is_refused():
    with refuses("the outputs of the network must be a tensor [1, 10], ten for each image, not "):
        fit(Ends(torch.squeeze), DATA, replace(RECIPE, batch_size=11), **QUIET)


@pytest.mark.parametrize(
    ("end", "loss", "sentence"),
    [
        (nn.Identity(), "nll", "the loss nll needs log-probabilities, and the outputs of the"),
        (nn.Softmax(1), "nll", "the loss nll needs log-probabilities, and the outputs of the"),
        (nn.LogSigmoid(), "nll", "the loss nll needs log-probabilities, and the outputs of the"),
        (nn.Softmax(1), "cross_entropy", "the loss cross_entropy needs logits, and the outputs"),
    ],
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_loss_that_does_not_fit_the_outputs_is_refused_before_a_step(
    end, loss, sentence, precision
):
    net = network(end)
    before = copy.deepcopy(net.state_dict())
    with refuses(sentence):
        fit(net, DATA, replace(RECIPE, loss=loss), **QUIET | {"precision": precision})
    assert all(torch.equal(before[name], now) for name, now in net.state_dict().items())


@pytest.mark.parametrize(
    ("end", "loss"),
    [
        (nn.LogSoftmax(1), "nll"),
        (nn.LogSoftmax(1), "cross_entropy"),  # log-probabilities are their own logits
        (nn.Identity(), "cross_entropy"),
        (nn.ReLU(), "cross_entropy"),
        (nn.Sigmoid(), "cross_entropy"),
        (Tenths(), "cross_entropy"),
    ],
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_loss_that_fits_is_taken(end, loss, precision):
    recipe = replace(RECIPE, loss=loss)
    history = fit(network(end), DATA, recipe, **QUIET | {"precision": precision})
    assert len(history.validation_loss) == 2


@pytest.mark.parametrize(
    ("make", "recipe"), [(GapNet, GAP_RECIPE), (BottleneckNet, BOTTLENECK_RECIPE)]
)
def test_the_published_networks_and_recipes_pass_every_door(make, recipe):
    torch.manual_seed(0)
    net, recipe = make(), replace(recipe, num_epochs=2, batch_size=3)
    history = fit(net, DATA, recipe, **QUIET | {"precision": "bf16"})
    assert len(history.batch_loss) == 8
    assert evaluate(net, DATA.validation, recipe).total == 10


# One fit at a time, and nothing left behind


BUSY = "another fit is training this network, or a part of it: wait for its end, or train a copy."


class Meanwhile(Gives):
    """One batch, before which other networks are trained."""

    def __init__(self, *networks):
        self.networks, self.length = networks, 1

    def __iter__(self):
        for each in self.networks:
            fit(each, DATA, RECIPE, **QUIET)
        yield FLOATS, LABELS


@pytest.mark.parametrize("share", ["all", "around", "weights", "dropout"])
def test_a_fit_within_a_fit_of_the_same_network_is_refused(share):
    net, other = network(), network()
    other[1] = net[1] if share == "dropout" else other[1]
    other[2].weight = net[2].weight if share == "weights" else other[2].weight
    inner = {"all": net, "around": nn.Sequential(net)}.get(share, other)
    with refuses(BUSY):
        fit(net, DATA, RECIPE, batches=Meanwhile(network(), inner), **QUIET)
    fit(inner, DATA, RECIPE, **QUIET)  # and afterwards it may


def test_a_fit_within_a_fit_of_another_network_is_none_of_its_business():
    history = fit(network(), DATA, RECIPE, batches=Meanwhile(network()), **QUIET)
    assert len(history.batch_loss) == 2


def test_a_second_thread_is_refused_and_the_first_goes_on_with_its_dropout():
    net, started, refused, seen = network(), threading.Event(), threading.Event(), []

    class Waits(Gives):
        def __iter__(self):
            started.set()
            assert refused.wait(60)
            seen.append("forward" in vars(net[1]))
            yield FLOATS, LABELS

    run = threading.Thread(
        target=fit, args=(net, DATA, RECIPE), kwargs={"batches": Waits(1)} | QUIET
    )
    run.start()
    assert started.wait(60)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    with refuses(BUSY):
        fit(net, DATA, RECIPE, **QUIET)
    assert torch.equal(state, torch.get_rng_state()), "the refused run has drawn or seeded"
    refused.set()
    run.join()
    assert seen == [True, True], "the refused run took the cheap dropout away"
    assert "forward" not in vars(net[1])


class Gone(Gives):
    def __iter__(self):
        yield FLOATS, LABELS
        raise OSError("the disk is full")


@pytest.mark.parametrize(
    ("batches", "error"), [(Gives(2, 1), ValueError), (Gone(2), OSError), ([5], ValueError)]
)
def test_a_network_can_be_trained_again_after_a_run_that_failed(batches, error):
    net, clean = network(), network()
    clean.load_state_dict(net.state_dict())
    with pytest.raises(error):
        fit(net, DATA, RECIPE, batches=batches, **QUIET)
    assert "forward" not in vars(net[1]) and not net._forward_hooks
    net.load_state_dict(clean.state_dict())
    losses = [fit(each, DATA, RECIPE, **QUIET).batch_loss for each in (net, clean)]
    assert losses[0] == losses[1]


def test_a_network_without_parameters_can_be_asked():
    class Counts(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :10]

    assert predict(Counts(), DATA.validation, RECIPE).shape == (10, 10)

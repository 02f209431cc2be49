"""The loop that follows a recipe: against a plain PyTorch loop, on a few digits."""

import copy
import random
import re
from contextlib import nullcontext
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parameters_to_vector
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, IterableDataset

from mnist_lab.augment import Rotate, normalize, textbook_transform
from mnist_lab.data import Digits, Split, load_data
from mnist_lab.evaluation import evaluate
from mnist_lab.networks import BottleneckNet
from mnist_lab.recipes import BOTTLENECK_RECIPE, OneCycle, Recipe, StepDown
from mnist_lab.speed import has_native_bf16
from mnist_lab.training import (
    HEADING,
    Batches,
    History,
    choose_device,
    choose_precision,
    fit,
    make_optimizer,
)
from mnist_lab.validation import UserError

PLAIN = Recipe(num_epochs=3, batch_size=32, lr=0.01)
FP32 = {"device": "cpu", "precision": "fp32", "progress": False}
SMALL = load_data("digits")
# 80 digits in batches of 32, 32 and 16.
FEW = Digits("few digits", SMALL.train.first(80), SMALL.validation.first(30), SMALL.test)
# 12 digits, as one batch.
IMAGES = normalize(SMALL.train.images[:12], PLAIN.mean, PLAIN.std)
LABELS = SMALL.train.labels[:12]


def tiny(dropout=0.0):
    torch.manual_seed(7)
    middle = [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(
        nn.Conv2d(1, 4, 5, stride=3), nn.ReLU(), *middle, nn.Flatten(), nn.Linear(256, 10)
    )


def refuses(sentence):
    return pytest.raises(UserError, match=f"^{re.escape(sentence)}")


# The batches


def test_an_epoch_shows_every_digit_once_in_a_new_order_each_time():
    recipe = replace(PLAIN, mean=0.0, std=1.0)
    batches = Batches(FEW.train, recipe, torch.Generator().manual_seed(0))
    assert len(batches) == 3
    epochs = [list(batches) for _ in range(2)]
    assert [len(labels) for _, labels in epochs[0]] == [32, 32, 16]
    images, labels = (torch.cat(parts) for parts in zip(*epochs[0]))
    matches = ((images * 255).round() == FEW.train.images.transpose(0, 1)).flatten(2).all(2)
    assert torch.equal(matches.sum(0), torch.ones(80, dtype=torch.long))
    assert torch.equal(labels, FEW.train.labels[matches.long().argmax(1)])
    assert not torch.equal(labels, FEW.train.labels)
    assert not torch.equal(labels, torch.cat([labels for _, labels in epochs[1]]))


def test_batches_are_augmented_in_the_order_of_the_recipe_and_then_normalised():
    halve = [lambda images, draws: images // 2, lambda images, draws: images // 2 + 9]
    recipe = replace(PLAIN, augment=tuple(halve), mean=0.2, std=0.5)
    images, _ = next(iter(Batches(FEW.train, recipe, torch.Generator().manual_seed(3))))
    chosen = torch.randperm(80, generator=torch.Generator().manual_seed(3))[:32]
    expected = normalize(FEW.train.images[chosen] // 2 // 2 + 9, 0.2, 0.5)
    torch.testing.assert_close(images, expected)


# fit against the loop of every tutorial


def plain_loop(network, data, recipe):
    """Nothing of the library: what `fit` must do, written out. Returns losses and rates."""
    parameters, decay = network.parameters(), recipe.weight_decay
    if recipe.optimizer == "sgd":
        optimizer = torch.optim.SGD(parameters, recipe.lr, recipe.momentum, weight_decay=decay)
    else:
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer]
        optimizer = kind(parameters, recipe.lr, recipe.betas, weight_decay=decay)
    per_batch = per_epoch = lr_scheduler.ConstantLR(optimizer, factor=1)
    if isinstance(recipe.schedule, OneCycle):
        settings = asdict(recipe.schedule) | {"epochs": recipe.num_epochs, "steps_per_epoch": 3}
        settings["cycle_momentum"] &= recipe.optimizer != "sgd"
        per_batch = lr_scheduler.OneCycleLR(optimizer, **settings)
    if isinstance(recipe.schedule, StepDown):
        per_epoch = lr_scheduler.StepLR(optimizer, **asdict(recipe.schedule))
    smoothed = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    criterion = nn.NLLLoss() if recipe.loss == "nll" else smoothed
    images = (data.train.images / 255 - recipe.mean) / recipe.std
    generator = torch.Generator().manual_seed(recipe.seed)
    losses, rates = [], []
    network.train()
    for _ in range(recipe.num_epochs):
        order = torch.randperm(len(images), generator=generator)
        for chosen in order.split(recipe.batch_size):
            optimizer.zero_grad()
            loss = criterion(network(images[chosen]), data.train.labels[chosen])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            rates.append(optimizer.param_groups[0]["lr"])
            per_batch.step()
        per_epoch.step()
    return losses, rates


def smooth(loss):
    """Without a ReLU: at its kink, a rounding can turn a gradient, and two right loops part."""
    network = tiny()
    network[1] = nn.Tanh()
    return nn.Sequential(*network, nn.LogSoftmax(1)) if loss == "nll" else network


SGD = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-2}


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "nll", "weight_decay": 1e-2, "seed": 3},
        {"schedule": OneCycle(0.05, pct_start=0.4), "label_smoothing": 0.3},
        {"schedule": OneCycle(0.05, 0.4, cycle_momentum=False), "betas": (0.6, 0.95)},
        {"schedule": StepDown(2, gamma=0.1), "betas": (0.6, 0.95), "seed": 1},
        {
            "optimizer": "adamw",
            "weight_decay": 0.3,
            "betas": (0.6, 0.95),
            "schedule": OneCycle(0.05, 0.4),
        },
        SGD,
        SGD | {"schedule": OneCycle(0.05, pct_start=0.4), "loss": "nll"},
        SGD | {"schedule": StepDown(1, gamma=0.5)},
    ],
    ids=str,
)
def test_fit_is_the_plain_loop(changes):
    recipe = replace(PLAIN, **changes)
    start, ours, plain = (smooth(recipe.loss) for _ in range(3))
    history = fit(ours, FEW, recipe, **FP32)
    losses, rates = plain_loop(plain, FEW, recipe)
    assert history.batch_loss == pytest.approx(losses, rel=1e-4)
    assert history.batch_lr == pytest.approx(rates, rel=1e-9)
    # Rounding parts the two by 2e-6 of their way, a learning rate that is 1 % off by 9e-3.
    start, ours, plain = (parameters_to_vector(net.parameters()) for net in (start, ours, plain))
    assert (ours - plain).norm() < 1e-4 * (plain - start).norm()


def test_the_history_holds_what_the_epochs_were():
    network, modes = tiny(), []
    # One batch, so that its loss is the untrained network's. Labels are smoothed in training only.
    recipe = replace(PLAIN, batch_size=80, num_epochs=2, label_smoothing=0.2)
    images, labels = normalize(FEW.train.images, recipe.mean, recipe.std), FEW.train.labels
    untrained = network(images)
    hook = network.register_forward_hook(lambda net, x, y: modes.append((net.training, len(y))))
    history = fit(network, FEW, recipe, **FP32)
    hook.remove()
    assert modes == [(True, 80), (False, 30)] * 2
    assert history.train_loss == pytest.approx(history.batch_loss)
    loss = F.cross_entropy(untrained, labels, label_smoothing=0.2)
    assert history.train_loss[0] == pytest.approx(loss.item())
    assert history.train_accuracy[0] == (untrained.argmax(1) == labels).float().mean()
    outputs = network(normalize(FEW.validation.images, recipe.mean, recipe.std))
    labels = FEW.validation.labels
    assert history.validation_loss[1] == pytest.approx(F.cross_entropy(outputs, labels).item())
    accuracy = (outputs.argmax(1) == labels).float().mean().item()
    assert history.validation_accuracy[1] == pytest.approx(accuracy)
    assert len(history.train_seconds) == len(history.seconds) == len(history.validation_loss) == 2
    assert all(0 < part < whole for part, whole in zip(history.train_seconds, history.seconds))
    assert (history.network, history.digits) == ("Sequential", "few digits")
    assert (history.recipe, history.device, history.precision) == (recipe, "cpu", "fp32")
    assert history.threads == 1


def test_after_each_epoch_one_is_told_and_may_end_the_training():
    seen = []
    fit(tiny(), FEW, replace(PLAIN, num_epochs=3), **FP32, after_epoch=lambda history: seen.append(
        (len(history.seconds), len(history.validation_accuracy))
    ))  # fmt: skip
    assert seen == [(1, 1), (2, 2), (3, 3)]

    def stop(history):
        if len(history.seconds) == 2:
            raise KeyError("enough")

    network = tiny()
    threads = torch.get_num_threads()
    with pytest.raises(KeyError, match="enough"):
        fit(network, FEW, replace(PLAIN, num_epochs=3), **FP32, after_epoch=stop)
    assert torch.get_num_threads() == threads


def test_a_teachers_probabilities_are_learned_in_place_of_the_labels():
    """With a teacher that knows the labels it is the same training, with another another."""
    images = normalize(FEW.train.images, PLAIN.mean, PLAIN.std).flatten(1)

    class Knows(nn.Module):
        def forward(self, batch):
            assert not torch.is_grad_enabled()
            which = torch.cdist(batch.flatten(1), images).argmin(1)
            return F.one_hot(FEW.train.labels[which], 10).float()

    usual, taught, misled = tiny(), tiny(), tiny()
    plain = fit(usual, FEW, PLAIN, **FP32)
    same = fit(taught, FEW, PLAIN, **FP32, teacher=Knows())
    assert same.batch_loss == pytest.approx(plain.batch_loss, rel=1e-4)
    assert same.train_accuracy == plain.train_accuracy, "it is counted by the labels"
    other = fit(misled, FEW, PLAIN, **FP32, teacher=lambda batch: torch.full((len(batch), 10), 0.1))
    assert min(other.batch_loss) > 2.2
    with refuses("a teacher's probabilities go with the loss cross_entropy"):
        fit(smooth("nll"), FEW, replace(PLAIN, loss="nll"), **FP32, teacher=Knows())


def test_averaged_weights_are_the_moving_average_of_those_after_each_step():
    """Weights and running means; every epoch's validation sees what the average is by then."""
    recipe = replace(PLAIN, num_epochs=2, ema_decay=0.9)
    network = nn.Sequential(nn.BatchNorm2d(1), *tiny())
    plain, states = copy.deepcopy(network), []

    class Watched(torch.optim.Adam):
        def step(self, *args):
            super().step(*args)
            states.append({k: v.clone() for k, v in plain.state_dict().items()})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim, "Adam", Watched)
        fit(plain, FEW, replace(recipe, ema_decay=0.0), **FP32)
    history = fit(network, FEW, recipe, **FP32)
    assert len(states) == 6
    expected = states[0]
    for state in states[1:]:
        expected = {k: 0.9 * v + 0.1 * state[k] for k, v in expected.items()}
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6)
    found = evaluate(network, FEW.validation, recipe)
    assert history.validation_accuracy[-1] == pytest.approx(found.correct / found.total)


def test_the_training_loss_counts_every_digit_once():
    recipe = replace(PLAIN, num_epochs=1, batch_size=79, lr=1e-9)
    history = fit(tiny(), FEW, recipe, **FP32)
    images = normalize(FEW.train.images, recipe.mean, recipe.std)
    expected = F.cross_entropy(tiny()(images), FEW.train.labels).item()
    assert history.train_loss == pytest.approx([expected], rel=1e-4)
    assert sum(history.batch_loss) / 2 != pytest.approx(expected, rel=1e-3)


def test_a_line_is_printed_for_every_epoch_unless_told_otherwise(capsys):
    history = fit(tiny(), FEW, PLAIN, **FP32 | {"progress": True})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and lines[0] == HEADING and lines[-1] == history.last_line()
    assert lines[1].startswith("  1/3 ")
    assert f"{history.validation_accuracy[-1]:.2%}" in lines[-1] and " 1.0e-02 " in lines[-1]
    fit(tiny(), FEW, PLAIN, **FP32)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("epochs", "loss", "accuracy", "seconds", "text"),
    [(3, 0.01234, 0.1, 0.1, "0.0123"), (999, 9.99996, 1.0, 999.9, "10.000"),
     (19, 1234.56, 0.9951, 40.0, "1234.6"), (19, 99999.9, 0.1, 1.0, "1.00e5"),
     (3, 3e12, 0.1, 1.0, "3.0e12")],
)  # fmt: skip
def test_a_line_has_58_columns_which_stay_in_their_place(epochs, loss, accuracy, seconds, text):
    recipe = replace(PLAIN, num_epochs=epochs)
    history = History("net", "digits", recipe, "cpu", "fp32", 1, [loss], [accuracy], [loss],
                      [accuracy], [seconds] * epochs, [seconds], [loss], [0.1])  # fmt: skip
    line = history.last_line()
    assert len(line) == len(HEADING) == 58
    columns = [HEADING.index(name) for name in ("training", "validation", "rate")]
    assert columns == [9, 26, 43]
    assert all(line[column] != " " and line[column - 1] == " " for column in columns)
    assert line[9:15] == line[26:32] == text


# Seeds


def test_the_same_seed_gives_the_same_run_and_another_seed_another():
    def run(seed):
        torch.rand(5)  # what was drawn before a run has no say
        torch.manual_seed(9)
        network = BottleneckNet()
        torch.rand(torch.randint(9, (1,)))
        recipe = replace(BOTTLENECK_RECIPE, num_epochs=1, batch_size=27, seed=seed)
        history = fit(network, FEW, recipe, **FP32)
        return history.batch_loss + history.validation_loss

    first = run(0)
    assert run(0) == first != pytest.approx(run(1), rel=1e-3)


@pytest.mark.parametrize("what", ["nothing", "order", "augmentation", "dropout"])
def test_the_seed_decides_order_augmentation_and_dropout(what):
    # All digits in one batch, untouched: then the seed must not matter.
    size, augment = 40 if what == "order" else 80, (Rotate(15),) * (what == "augmentation")
    recipe = replace(PLAIN, num_epochs=1, batch_size=size, augment=augment)
    losses = [
        fit(tiny(0.3 * (what == "dropout")), FEW, replace(recipe, seed=seed), **FP32).batch_loss
        for seed in (0, 1)
    ]
    assert (losses[0] == pytest.approx(losses[1], rel=1e-5)) == (what == "nothing")


def test_a_layer_of_ones_own_that_draws_follows_the_seed():
    class Noise(nn.Module):
        def forward(self, x):
            return x + torch.rand_like(x) if self.training else x

    def losses(seed):
        torch.rand(3)
        made = nn.Sequential(Noise(), *tiny())
        return fit(made, FEW, replace(PLAIN, batch_size=80, seed=seed), **FP32).batch_loss

    assert losses(0) == losses(0) != losses(1)


# Other batches


def test_a_dataloader_of_pil_images_trains_as_the_split_in_memory_does():
    recipe = replace(PLAIN, batch_size=80)
    dataset = FEW.train.dataset(textbook_transform((), recipe.mean, recipe.std))
    theirs = fit(tiny(), FEW, recipe, batches=DataLoader(dataset, batch_size=80), **FP32)
    ours = fit(tiny(), FEW, recipe, **FP32)
    assert theirs.batch_loss == pytest.approx(ours.batch_loss, rel=1e-4)
    assert theirs.validation_loss == pytest.approx(ours.validation_loss, rel=1e-4)


def test_a_shuffled_augmented_dataloader_follows_the_seed():
    recipe = replace(BOTTLENECK_RECIPE, num_epochs=1, batch_size=10)
    transform = textbook_transform(recipe.augment, recipe.mean, recipe.std)

    def losses(seed):
        loader = DataLoader(FEW.train.first(30).dataset(transform), 10, shuffle=True)
        return fit(tiny(), FEW, replace(recipe, seed=seed), batches=loader, **FP32).batch_loss

    assert losses(0) == losses(0) != losses(1)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(IMAGES, LABELS))


class Gives:
    """A source with a length, that gives so many batches in its first epoch, its second, and on."""

    def __init__(self, length, *given, images=IMAGES):
        self.length, self.given, self.images = length, list(given), images

    def __len__(self):
        return self.length

    def __iter__(self):
        return iter([(self.images, LABELS)] * self.given.pop(0))


@pytest.mark.parametrize(
    ("batches", "sentence"),
    [
        (iter([(IMAGES, LABELS)]), "batches must have a length and begin anew in every epoch"),
        (DataLoader(Stream()), "batches must have a length and begin anew in every epoch"),
        ([], "batches must have a length"),
        (Gives(3, 0), "batches has a length of 3, but gave 0 in an epoch"),
        (Gives(3, 3, 2), "batches has a length of 3, but gave 2 in an epoch"),
        (Gives(1, 9), "batches has a length of 1, but gave 2 in an epoch"),
        ([IMAGES], "a batch must be a pair (images, labels), not tensor([[[["),
        ([(IMAGES, LABELS)[::-1]], "the images of a batch must be a tensor float32"),
        ([(IMAGES, LABELS), (IMAGES, LABELS + 5)], "the labels of a batch must be from 0 to 9"),
    ],
)
def test_flawed_batches_are_refused(batches, sentence):
    with refuses(sentence):
        fit(tiny(), FEW, PLAIN, batches=batches, **FP32)


# What is left behind


class Moves(nn.Sequential):
    """Remembers where it was sent."""

    def to(self, *args, **kwargs):
        self.__dict__.setdefault("places", []).append(torch.device(args[0]))
        return super().to(*args, **kwargs)


def test_the_network_comes_home_and_stays_trained():
    network = Moves(*tiny())
    before = copy.deepcopy(network.state_dict())
    fit(network, FEW, PLAIN, **FP32)
    assert len(network.places) == 2 and network.places[-1] == torch.device("cpu")
    assert all(not torch.equal(before[name], now) for name, now in network.state_dict().items())


@pytest.mark.parametrize("bad", [1, 4])
def test_a_loss_that_is_not_finite_stops_the_run_and_says_where(bad):
    class Spoilt(list):
        """One batch, in the second epoch, holds a pixel that is not a number."""

        epoch = 0

        def __iter__(self):
            self.epoch += 1
            for number, (images, labels) in enumerate(super().__iter__(), 1):
                lost = torch.nan if (self.epoch, number) == (2, bad) else 0
                yield images + lost, labels

    network, recipe = Moves(*tiny(0.5)), replace(PLAIN, schedule=StepDown(1, gamma=0.1))
    where = f"became nan in epoch 2, batch {bad}, at the learning rate 0.001: lower it"
    with pytest.raises(FloatingPointError, match=where):
        fit(network, FEW, recipe, batches=Spoilt([(IMAGES, LABELS)] * 4), **FP32)
    assert len(network.places) == 2, "the network was not sent home"


@pytest.mark.parametrize("fails", [False, True])
def test_a_fit_leaves_the_random_state_of_its_caller(fails):
    recipe = replace(PLAIN, lr=1e30, optimizer="sgd") if fails else PLAIN
    network, failed = tiny(dropout=0.3), pytest.raises(FloatingPointError, match=r"batch 2.*1e\+30")
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    with failed if fails else nullcontext():
        fit(network, FEW, recipe, **FP32)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == states[1:]


def test_cudnn_is_deterministic_meanwhile_and_left_as_it_was():
    cudnn, seen, network = torch.backends.cudnn, [], tiny()
    before = cudnn.deterministic, cudnn.benchmark
    network.register_forward_hook(lambda *_: seen.append((cudnn.deterministic, cudnn.benchmark)))
    fit(network, FEW, PLAIN, **FP32)
    assert (cudnn.deterministic, cudnn.benchmark) == before != (True, False) == seen[0]


# What surrounds a fit


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "context",
    [lambda: torch.autocast("cpu", torch.bfloat16), torch.no_grad, torch.inference_mode],
    ids=["autocast", "no_grad", "inference_mode"],
)
def test_what_surrounds_a_fit_changes_nothing(context, precision):
    """An autocast that lasts keeps the first cast of each weight: then nothing would be learned."""

    def losses(context):
        network = tiny(dropout=0.3)
        with context:
            return fit(network, FEW, PLAIN, **FP32 | {"precision": precision}).batch_loss

    assert losses(context()) == losses(nullcontext())


# Precision and device


def test_bf16_learns_as_fp32_does():
    networks = {precision: tiny() for precision in ("fp32", "bf16")}
    full, half = (
        fit(network, FEW, PLAIN, **FP32 | {"precision": precision})
        for precision, network in networks.items()
    )
    assert half.precision == "bf16" and half.batch_loss != full.batch_loss, "bf16 was not used"
    assert half.batch_loss == pytest.approx(full.batch_loss, rel=0.02)
    assert full.batch_loss[-1] < 0.8 * full.batch_loss[0]
    assert {parameter.dtype for parameter in networks["bf16"].parameters()} == {torch.float32}


def test_adam_takes_one_call_for_all_parameters_unless_told_otherwise():
    assert make_optimizer(tiny(), PLAIN, 3)[0].defaults["fused"] is True
    assert make_optimizer(tiny(), PLAIN, 3, fused=False)[0].defaults["fused"] is False


def test_auto_takes_bf16_on_a_processor_that_has_it_and_fp32_on_a_gpu():
    cpu = torch.device("cpu")
    assert choose_precision("auto", cpu) == ("bf16" if has_native_bf16(cpu) else "fp32")
    assert choose_precision("auto", torch.device("cuda")) == "fp32"
    assert choose_precision("bf16", torch.device("cuda")) == "bf16"


def test_mps_has_to_be_asked_for(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


# What is refused

NONE = Split(SMALL.train.images[:0], SMALL.train.labels[:0])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"network": None}, "network must be an nn.Module such as GapNet(), not None."),
        ({"network": nn.Flatten()}, "the network Flatten has no parameters to train."),
        ({"data": FEW.train}, "data must be Digits, as load_data() gives them, not Split(images="),
        ({"data": replace(FEW, train=NONE)}, "data.train holds no digits"),
        ({"data": replace(FEW, validation=NONE)}, "data.validation holds no digits"),
        ({"recipe": {"lr": 1}}, "recipe must be a Recipe such as GAP_RECIPE, not {'lr': 1}."),
        ({"recipe": replace(PLAIN, num_epochs=1, schedule=OneCycle(0.1, pct_start=0.2))},
         "OneCycle cannot rise within 20% of 3 batches"),
        ({"device": "gpu"}, "device 'gpu' cannot be used here: take 'cpu', or None for"),
        ({"device": "meta"}, "device 'meta' cannot be used here: take 'cpu', or None for"),
        ({"device": 1.5}, "device 1.5 cannot be used here: take 'cpu', or None for"),
        ({"precision": "fp16"}, "precision must be one of auto, fp32, bf16, not 'fp16'."),
        ({"num_threads": True}, "num_threads must be a whole number from 1 on, not True."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_fit_refuses_what_it_cannot_use(changes, sentence):
    with refuses(sentence):
        fit(**{"network": tiny(), "data": FEW, "recipe": PLAIN} | FP32 | changes)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_fit_refuses_a_device_that_is_not_there():
    with refuses("device 'cuda' cannot be used here: take 'cpu', or None for the fastest there is"):
        fit(tiny(), FEW, PLAIN, **FP32 | {"device": "cuda"})


def test_digits_that_are_not_needed_are_not_looked_at():
    data = replace(FEW, train=NONE, test=None)
    assert fit(tiny(), data, PLAIN, batches=[[IMAGES, LABELS]], **FP32).batch_loss


def test_a_last_batch_of_one_that_loses_its_first_dimension_is_refused():
    class Squeezed(nn.Sequential):
        def forward(self, x):
            return super().forward(x).squeeze()

    with refuses("the outputs of the network must be a tensor [1, 10], ten for each image, not "):
        fit(Squeezed(*tiny()), FEW, replace(PLAIN, batch_size=79), **FP32)


def test_a_loss_that_does_not_fit_the_outputs_is_refused_before_a_step():
    network = nn.Sequential(*tiny(), nn.Softmax(1))
    before = copy.deepcopy(network.state_dict())
    for loss, wanted in (("nll", "log-probabilities"), ("cross_entropy", "logits")):
        with refuses(f"the loss {loss} needs {wanted}"):
            fit(network, FEW, replace(PLAIN, loss=loss), **FP32)
    assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())

"""`Recipe`: every hyperparameter of a run. `fit`: the loop that follows it. `History`: what it saw.

The loop itself is `_train_epoch`; the two published recipes stand under `Recipe`.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import AfterValidator, Field
from torch import Tensor, nn
from torch.optim import lr_scheduler

from mnist_lab import doors
from mnist_lab.augment import CropAndResize, Rotate, normalize
from mnist_lab.checked import Count, Fraction, NotNegative, Positive, Seed, Share, Switch, checked
from mnist_lab.data import Digits, Split
from mnist_lab.progress import EpochLines
from mnist_lab.speed import cheap_dropout, few_threads, has_native_bf16, keep_freed_memory

# Loss and accuracy, twice. 58 columns fit JupyterLab's page in a window of 900 pixels.
HEADING = "  epoch  training         validation       rate    seconds"
EVALUATION_BATCH = 250  # small enough for its activations to stay in the processor's cache
PRECISIONS = ("auto", "fp32", "bf16")


@checked
class OneCycle:
    """Learning rate up to `max_lr`, then down, stepped per batch. Smith, arXiv:1708.07120."""

    max_lr: Positive
    pct_start: Annotated[float, Field(gt=0, lt=1, description="a number between 0 and 1")]
    cycle_momentum: Switch = True  # Adam's first beta: from 0.95 to 0.85 and back, as torch does


@checked
class StepDown:
    """Learning rate times `gamma` after every `step_size` epochs (torch's StepLR)."""

    step_size: Count
    gamma: Annotated[float, Field(gt=0, le=1, description="a number above 0 and up to 1")]


def _transform(value: object) -> object:
    """Something that changes batches, or tells its torchvision counterpart; not a class of them."""
    if isinstance(value, type) or not (callable(value) or hasattr(value, "torchvision")):
        raise ValueError("no transform")
    return value


Optimizer = Annotated[Literal["adam", "sgd"], Field(description="one of adam, sgd")]
Loss = Annotated[Literal["nll", "cross_entropy"], Field(description="one of nll, cross_entropy")]
Betas = Annotated[
    tuple[Share, Share], Field(description="a tuple of two numbers from 0 to below 1")
]
Schedule = Annotated[
    OneCycle | StepDown | None, Field(description="a OneCycle(…), a StepDown(…) or None")
]
Transforms = Annotated[
    tuple[Annotated[object, AfterValidator(_transform)], ...],
    Field(description="a tuple of transforms such as (Rotate(7),)"),
]


@checked
class Recipe:
    """Every hyperparameter of a run. Raises `ValueError` for values that cannot be meant.

    `loss`: "nll" for log-probabilities, "cross_entropy" for logits. `augment`: transforms of
    `mnist_lab.augment`, applied in order to the training images. `mean`, `std`: of the pixels,
    on the scale 0 to 1. `seed` fixes the order of the digits, the augmentation and the dropout.
    """

    num_epochs: Count
    batch_size: Count
    lr: Positive
    optimizer: Optimizer = "adam"
    weight_decay: NotNegative = 0.0
    momentum: Share = 0.0  # sgd only
    betas: Betas = (0.9, 0.999)  # adam only
    schedule: Schedule = None
    loss: Loss = "cross_entropy"
    label_smoothing: Share = 0.0  # cross_entropy only
    augment: Transforms = ()
    mean: Fraction = 0.1307
    std: Positive = 0.3081
    seed: Seed = 0

    def __post_init__(self):
        for name, companion, chosen in (
            ("momentum", "sgd", self.optimizer),
            ("betas", "adam", self.optimizer),
            ("label_smoothing", "cross_entropy", self.loss),
        ):
            if companion != chosen and getattr(self, name) != getattr(Recipe, name):
                raise ValueError(f"{name} goes with {companion}, not with {chosen}.")
        if self.seed >= 2**64:
            raise ValueError(f"seed must be below 2**64, not {self.seed}.")

    def loss_of(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The mean training loss of a batch: outputs `[B, 10]`, labels `[B]`."""
        outputs = doors.check_outputs(outputs, len(labels)).float()
        if self.loss == "nll":
            return F.nll_loss(outputs, labels)
        return F.cross_entropy(outputs, labels, label_smoothing=self.label_smoothing)


GAP_RECIPE = Recipe(
    num_epochs=19,
    batch_size=128,
    lr=0.0005,  # where Adam would start; OneCycle sets its own from the first batch on
    weight_decay=1e-4,
    schedule=OneCycle(max_lr=0.005, pct_start=0.2),
    loss="nll",
    augment=(Rotate(7),),
    mean=0.1307,
    std=0.3081,
)

BOTTLENECK_RECIPE = Recipe(
    num_epochs=20,
    batch_size=64,
    lr=0.001,
    schedule=StepDown(step_size=15, gamma=0.1),
    loss="cross_entropy",
    augment=(CropAndResize(22, p=0.1), Rotate(15)),
    mean=0.1407,  # as published; notebook 01 computes 0.1307 and 0.3081
    std=0.4081,
)


@dataclass
class History:
    """What a run saw. Lists per epoch, and per batch; losses are means, accuracies fractions."""

    network: str
    digits: str
    recipe: Recipe
    device: str
    precision: str
    threads: int
    train_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    train_seconds: list[float] = field(default_factory=list)  # without the validation
    batch_loss: list[float] = field(default_factory=list)
    batch_lr: list[float] = field(default_factory=list)

    def last_line(self) -> str:
        """The last epoch, under `HEADING`: losses, accuracies, learning rate, seconds."""
        train, validation = (
            f"{run[-1]:.4f}"[:6] for run in (self.train_loss, self.validation_loss)
        )
        return (
            f"{len(self.seconds):3}/{self.recipe.num_epochs:<3}"
            f"  {train} {self.train_accuracy[-1]:7.2%}"
            f"   {validation} {self.validation_accuracy[-1]:7.2%}"
            f"   {self.batch_lr[-1]:.1e} {self.seconds[-1]:7.1f}"
        )


class Batches:
    """Shuffled, augmented, normalised batches of a split that is held in memory.

    Yields images `[B, 1, 28, 28]` (float32) and labels `[B]`. Indexing one big uint8 tensor and
    transforming a batch at a time costs a small part of what a DataLoader of PIL images costs.
    """

    def __init__(self, split: Split, recipe: Recipe, generator: torch.Generator):
        self.split, self.recipe, self.generator = split, recipe, generator

    def __len__(self) -> int:
        return -(-len(self.split) // self.recipe.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.split), generator=self.generator)
        for chosen in order.to(self.split.labels.device).split(self.recipe.batch_size):
            images = self.split.images[chosen]
            for transform in self.recipe.augment:
                images = transform(images, self.generator)
            yield normalize(images, self.recipe.mean, self.recipe.std), self.split.labels[chosen]


def choose_device() -> torch.device:
    """CUDA if there is one, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def choose_precision(precision: str, device: torch.device) -> str:
    """ "fp32" or "bf16": for "auto", bf16 where the processor has it.

    Raises `ValueError` for any other word.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}.")
    if precision == "auto":
        return "bf16" if has_native_bf16(device) else "fp32"
    return precision


def fit(
    network: nn.Module,
    data: Digits,
    recipe: Recipe,
    *,
    batches: Iterable[tuple[Tensor, Tensor]] | None = None,
    device: str | torch.device | None = None,
    precision: str = "auto",
    num_threads: int | None = None,
    progress: bool = True,
) -> History:
    """Train `network` in place on `data.train`, and validate it after each epoch.

    `batches`: another source of training batches than the split in memory, such as a DataLoader;
    it must have a length, and begin anew in every epoch. `device`: see `choose_device`; the network
    comes back to the device it came from. `precision`: see `choose_precision`; validation is always
    in fp32. `num_threads`: see `choose_threads`. The same seed gives the same result twice on one
    machine.

    Raises `ValueError` for whatever cannot be trained, or trained on; `FloatingPointError` when the
    loss is no longer finite, saying at which epoch, batch and learning rate.
    """
    doors.check_trainable(network)
    doors.check_kind("data", data, Digits, "Digits, as load_data() gives them")
    doors.check_kind("recipe", recipe, Recipe, "a Recipe such as GAP_RECIPE")
    doors.check_split("data.validation", data.validation)
    device = doors.usable(choose_device() if device is None else device)
    precision = choose_precision(precision, device)
    generator = torch.Generator().manual_seed(recipe.seed)
    if batches is None:
        doors.check_split("data.train", data.train)
        batches = Batches(_to(data.train, device), recipe, generator)
    else:
        batches = doors.Watched(batches)
    validation = _to(data.validation, device)
    lines, home = EpochLines(len(batches), HEADING, progress), next(network.parameters()).device
    keep_freed_memory()
    with (
        closing(lines),
        few_threads(num_threads) as threads,
        doors.alone(network),
        cheap_dropout(network, generator),
    ):
        history = History(
            type(network).__name__, data.name, recipe, device.type, precision, threads
        )
        torch.manual_seed(recipe.seed)
        try:
            # Convolutions run faster in this memory format.
            network.to(device, memory_format=torch.channels_last)
            optimizer, per_batch, per_epoch = make_optimizer(network, recipe, len(batches))
            for _ in range(recipe.num_epochs):
                start = time.perf_counter()
                _train_epoch(network, batches, optimizer, per_batch, history, lines)
                per_epoch.step()
                history.train_seconds.append(time.perf_counter() - start)
                outputs = predict(network, validation, recipe, threads)
                loss, accuracy = _score(outputs, validation, recipe)
                history.validation_loss.append(loss)
                history.validation_accuracy.append(accuracy)
                history.seconds.append(time.perf_counter() - start)
                lines.line(history.last_line())
        finally:
            network.to(home)
    return history


def _train_epoch(network, batches, optimizer, schedule, history, lines) -> None:
    """One pass over the batches: the loop of every PyTorch tutorial, and its bookkeeping."""
    device = next(network.parameters()).device
    network.train()
    losses, correct, count = [], 0, 0
    for images, labels in batches:
        images = images.to(device, memory_format=torch.channels_last)
        labels = labels.to(device)
        with _autocast(device, history.precision):
            outputs = network(images)
        loss = history.recipe.loss_of(outputs, labels)
        if not history.batch_lr:  # the first batch tells
            doors.check_loss(history.recipe.loss, outputs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.batch_lr.append(optimizer.param_groups[0]["lr"])
        schedule.step()
        losses.append(loss.detach())
        correct = correct + (outputs.argmax(1) == labels).sum()
        count += len(labels)
        if device.type == "cpu":  # on an accelerator a look at the loss would stop the pipeline
            _check_finite(losses[-1:], history, len(losses))
        lines.step()
    losses = torch.stack(losses).cpu()
    _check_finite(losses, history, 1)
    history.batch_loss.extend(losses.tolist())
    history.train_loss.append(losses.mean().item())
    history.train_accuracy.append(int(correct) / count)


def _check_finite(losses, history: History, first_batch: int) -> None:
    for batch, loss in enumerate(losses, first_batch):
        if not torch.isfinite(loss):
            done = len(history.batch_loss)
            raise FloatingPointError(
                f"the loss became {loss.item()} in epoch {len(history.seconds) + 1}, batch "
                f"{batch}, at the learning rate {history.batch_lr[done + batch - 1]:.3g}: lower it."
            )


def make_optimizer(network: nn.Module, recipe: Recipe, num_batches: int, fused: bool = True):
    """The optimizer, the schedule stepped per batch, and the one stepped per epoch.

    `fused`: Adam in one call for all parameters instead of several for each. It buys something
    where there are many small parameters and short steps, as in `BottleneckNet`.
    """
    parameters, decay = network.parameters(), recipe.weight_decay
    if recipe.optimizer == "adam":
        optimizer = torch.optim.Adam(
            parameters, recipe.lr, recipe.betas, weight_decay=decay, fused=fused
        )
    else:
        optimizer = torch.optim.SGD(parameters, recipe.lr, recipe.momentum, weight_decay=decay)
    per_batch = per_epoch = lr_scheduler.ConstantLR(optimizer, factor=1)
    if isinstance(recipe.schedule, OneCycle):
        cycle, steps = recipe.schedule, recipe.num_epochs * num_batches
        if cycle.pct_start * steps <= 1:  # torch would divide by zero, or step before the start
            raise ValueError(
                f"OneCycle cannot rise within {cycle.pct_start:.0%} of {steps} batches: take more "
                "epochs or smaller batches."
            )
        per_batch = lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=cycle.max_lr,
            pct_start=cycle.pct_start,
            total_steps=steps,
            # sgd keeps the momentum of its recipe
            cycle_momentum=cycle.cycle_momentum and recipe.optimizer == "adam",
        )
    elif isinstance(recipe.schedule, StepDown):
        step = recipe.schedule
        per_epoch = lr_scheduler.StepLR(optimizer, step_size=step.step_size, gamma=step.gamma)
    return optimizer, per_batch, per_epoch


@torch.no_grad()
def predict(
    network: nn.Module, split: Split, recipe: Recipe, num_threads: int | None = None
) -> Tensor:
    """The network's outputs `[N, 10]` for a split, in evaluation mode and fp32, on the CPU.

    The images are normalised as the recipe says. `num_threads`: see `choose_threads`. The network
    is left in evaluation mode. Raises `ValueError` for a split without digits or not as `Split`
    says, or for outputs of another form.
    """
    doors.check_network(network)
    doors.check_kind("recipe", recipe, Recipe, "a Recipe such as GAP_RECIPE")
    doors.check_split("split", split)
    device = next(network.parameters(), split.images).device
    network.eval()
    # One tensor for all: a small one from each batch would stay between large buffers that are
    # freed, and leave holes too small for those of the next batch: 200 MB after 10,000 digits.
    outputs = torch.empty(len(split), 10, device=device)
    batches = zip(split.images.split(EVALUATION_BATCH), outputs.split(EVALUATION_BATCH))
    with few_threads(num_threads):
        for images, answers in batches:
            images = normalize(images.to(device), recipe.mean, recipe.std)
            images = images.to(memory_format=torch.channels_last)
            answers.copy_(doors.check_outputs(network(images), len(answers)))
    return outputs.cpu()


def _score(outputs: Tensor, split: Split, recipe: Recipe) -> tuple[float, float]:
    labels = split.labels.cpu()
    loss = replace(recipe, label_smoothing=0.0).loss_of(outputs, labels).item()
    return loss, (outputs.argmax(1) == labels).float().mean().item()


def _to(split: Split, device: torch.device) -> Split:
    return replace(split, images=split.images.to(device), labels=split.labels.to(device))


def _autocast(device: torch.device, precision: str):
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)

"""`Recipe`: every hyperparameter of a run. `fit`: the loop that follows it. `History`: what it saw.

The loop itself is `_train_epoch`; the two published recipes stand under `Recipe`.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from mnist_lab import doors
from mnist_lab.augment import normalize
from mnist_lab.data import Digits, Split
from mnist_lab.evaluation import predict
from mnist_lab.progress import EpochLines
from mnist_lab.recipes import OneCycle, Recipe, StepDown
from mnist_lab.speed import fast_dropout, has_native_bf16, keep_freed_memory, limit_threads
from mnist_lab.validation import UserError

# Loss and accuracy, twice. 58 columns fit JupyterLab's page in a window of 900 pixels.
HEADING = "  epoch  training         validation       rate    seconds"
PRECISIONS = ("auto", "fp32", "bf16")


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
        raise UserError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}.")
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
        limit_threads(num_threads) as threads,
        doors.alone(network),
        fast_dropout(network, generator),
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
            raise UserError(
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

"""`fit`: the loop that follows a recipe. `Batches`: what it trains on. `History`: what it saw.

The loop itself is `_train_epoch` over `_gradients`; all else is bookkeeping.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from math import isfinite

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.profiler import record_function

from mnist_lab.augment import normalize
from mnist_lab.cuda import CapturedStep, deterministic_convolutions
from mnist_lab.data import Digits, Split, check_digits, check_split
from mnist_lab.evaluation import check_network, check_outputs, predict
from mnist_lab.progress import EpochLines
from mnist_lab.recipes import RECIPE, OneCycle, Recipe, StepDown
from mnist_lab.speed import FastDropout, has_native_bf16, keep_freed_memory, limit_threads
from mnist_lab.validation import UserError, check, instance, one_of, shown

# Loss and accuracy, twice. 58 columns fit JupyterLab's page in a window of 900 pixels.
HEADING = "  epoch  training         validation       rate    seconds"
PRECISIONS = ("auto", "fp32", "bf16")
GPU_BLOCK = 16_384  # digits that a GPU augments at once: a call waits longer than it computes


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
        train, validation = map(_six_characters, (self.train_loss[-1], self.validation_loss[-1]))
        return (
            f"{len(self.seconds):3}/{self.recipe.num_epochs:<3}"
            f"  {train} {self.train_accuracy[-1]:7.2%}"
            f"   {validation} {self.validation_accuracy[-1]:7.2%}"
            f"   {self.batch_lr[-1]:.1e} {self.seconds[-1]:7.1f}"
        )


def _six_characters(loss: float) -> str:
    """With as many digits as there is room for: 0.0123, 12.345, 1234.6, then 1.23e6."""
    texts = [f"{loss:.{decimals}f}" for decimals in (4, 3, 2, 1)]
    texts += [f"{loss:.{decimals}e}".replace("e+0", "e").replace("e+", "e") for decimals in (2, 1)]
    return next((text for text in texts if len(text) <= 6), texts[-1])


class Batches:
    """Shuffled, augmented, normalised batches of a split that is held in memory.

    Yields images `[B, 1, 28, 28]` (float32) and labels `[B]`, on the split's device; `generator`
    draws, on its own. Transforming a batch at a time costs a small part of what a DataLoader of PIL
    images costs. A GPU transforms many batches at a time; a processor keeps one in its cache.
    """

    def __init__(self, split: Split, recipe: Recipe, generator: torch.Generator):
        self.split, self.recipe, self.generator = split, recipe, generator
        on_cpu = split.images.device.type == "cpu"
        self.at_once = 1 if on_cpu else max(1, GPU_BLOCK // recipe.batch_size)

    def __len__(self) -> int:
        return -(-len(self.split) // self.recipe.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        recipe, draws = self.recipe, self.generator
        order = torch.randperm(len(self.split), generator=draws, device=draws.device)
        order = order.to(self.split.labels.device)
        for chosen in order.split(self.at_once * recipe.batch_size):
            with record_function("data"):
                images, labels = self.split.images[chosen], self.split.labels[chosen]
            with record_function("augmentation"):
                for transform in recipe.augment:
                    images = transform(images, draws)
            with record_function("data"):
                images = normalize(images, recipe.mean, recipe.std)
            yield from zip(images.split(recipe.batch_size), labels.split(recipe.batch_size))


class CheckedBatches:
    """Batches from elsewhere, each of them checked, and as many in every epoch as they say."""

    def __init__(self, batches: Iterable[tuple[Tensor, Tensor]]):
        self.batches, self.length = batches, 0
        with suppress(TypeError):
            self.length = len(batches)
        if not self.length:
            raise UserError(
                "batches must have a length and begin anew in every epoch, as a DataLoader does; "
                f"this cannot: {shown(batches)}."
            )

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        given = 0
        for given, batch in enumerate(self.batches, 1):
            if given > self.length:
                break
            if not isinstance(batch, tuple | list) or len(batch) != 2:
                raise UserError(f"a batch must be a pair (images, labels), not {shown(batch)}.")
            check_digits("a batch", *batch, "float32")
            yield batch
        if given != self.length:
            raise UserError(
                f"batches has a length of {self.length}, but gave {given} in an epoch: it must "
                "give them all in every epoch, as a DataLoader does."
            )


def choose_device(device: str | torch.device | None = None) -> torch.device:
    """This device; without one CUDA, else the CPU. `UserError` where nothing can be computed.

    Apple's MPS has to be asked for: nobody has measured this course on it.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=device).item()
        return torch.device(device)
    except (RuntimeError, TypeError, AssertionError):  # AssertionError: PyTorch without CUDA
        raise UserError(
            f"device {device!r} cannot be used here: take 'cpu', or None for the fastest there is."
        ) from None


def choose_precision(precision: str, device: torch.device) -> str:
    """ "fp32" or "bf16": for "auto", bf16 on a processor that has it.

    On an H100 a step of these networks is faster in fp32: bf16 needs more launches.
    """
    check("precision", precision, one_of(*PRECISIONS))
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
    teacher: Callable[[Tensor], Tensor] | None = None,
    after_epoch: Callable[[History], None] = lambda history: None,
) -> History:
    """Train `network` in place on `data.train`, and validate it after each epoch.

    `batches`: another source of training batches than the split in memory, such as a DataLoader.
    `device`, `precision`, `num_threads`: see `choose_device`, `choose_precision`, `choose_threads`;
    validation is always in fp32, and the network comes back to the device it came from.
    `teacher`: gives for a batch's images the probabilities `[B, 10]` that are learned instead of
    its labels (distillation: Hinton et al., arXiv:1503.02531).
    `after_epoch` is called with what was seen so far; what it raises ends the training.

    The same seed gives the same result twice on one machine, whatever surrounds the call. The
    caller's random state stays as it was. One thing changes for the whole process: memory that was
    freed is kept for the next step (`keep_freed_memory`).

    Raises `UserError` for whatever cannot be trained, or trained on; `FloatingPointError` when the
    loss is no longer finite, saying at which epoch, batch and learning rate.
    """
    check_network(network, to_train=True)
    check("data", data, instance(Digits, "Digits, as load_data() gives them"))
    check("recipe", recipe, RECIPE)
    if teacher is not None and recipe.loss == "nll":
        raise UserError("a teacher's probabilities go with the loss cross_entropy only.")
    check_split("data.validation", data.validation)
    device, home = choose_device(device), next(network.parameters()).device
    precision = choose_precision(precision, device)
    draws = torch.Generator(device if device.type == "cuda" else "cpu").manual_seed(recipe.seed)
    if batches is None:
        check_split("data.train", data.train)
        batches = Batches(data.train.to(device), recipe, draws)
    else:
        batches = CheckedBatches(batches)
    lines = EpochLines(len(batches), HEADING, progress)
    keep_freed_memory()
    with ExitStack() as stack:
        stack.enter_context(lines)
        threads = stack.enter_context(limit_threads(num_threads))
        stack.enter_context(_own_conditions(recipe.seed, device))
        stack.callback(network.to, home)
        network.to(device, memory_format=torch.channels_last)  # convolutions are faster so
        name = type(network).__name__
        history = History(name, data.name, recipe, device.type, precision, threads)
        dropout = FastDropout(draws) if device.type == "cpu" else nullcontext()
        step = partial(_gradients, network, recipe, precision, dropout, teacher)
        validation = data.validation.to(device)
        for _ in _epochs(network, batches, step, validation, history, lines):
            after_epoch(history)
    return history


def _epochs(network, batches, step, validation: Split, history: History, lines) -> Iterator[None]:
    """All epochs, one by one. What is validated is what the network will be at the end."""
    recipe, labels = history.recipe, validation.labels.cpu()
    optimizer, per_batch, per_epoch = make_optimizer(network, recipe, len(batches))
    average = _average_of(network, recipe, optimizer) if recipe.ema_decay else network
    if history.device == "cuda":
        step = CapturedStep.of(step, network, recipe.batch_size)
    for _ in range(recipe.num_epochs):
        start = time.perf_counter()
        network.train()
        _train_epoch(step, batches, optimizer, per_batch, history, lines)
        per_epoch.step()
        history.train_seconds.append(time.perf_counter() - start)
        outputs = predict(average, validation, recipe, history.threads)
        loss = replace(recipe, label_smoothing=0.0).loss_of(outputs, labels)
        history.validation_loss.append(loss.item())
        history.validation_accuracy.append((outputs.argmax(1) == labels).float().mean().item())
        history.seconds.append(time.perf_counter() - start)
        lines.line(history.last_line())
        yield
    if recipe.ema_decay:
        network.load_state_dict(average.state_dict())


def _average_of(network: nn.Module, recipe: Recipe, optimizer) -> nn.Module:
    """A copy whose weights and norms follow the network's, by their exponential moving average."""
    copy = AveragedModel(
        network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema_decay), use_buffers=True
    )
    optimizer.register_step_post_hook(lambda *_: copy.update_parameters(network))
    return copy.module


def _gradients(
    network: nn.Module, recipe: Recipe, precision: str, dropout, teacher, images, labels
) -> tuple[Tensor, Tensor]:
    """Forward and backward: a batch's loss `[]` and outputs `[B, 10]`; the gradients are set."""
    with record_function("forward"):
        # Without its cache: an autocast around `fit` would keep the first cast of each weight.
        low = torch.autocast(images.device.type, torch.bfloat16, precision == "bf16", False)
        with low, dropout:
            outputs = network(images)
        targets = labels
        if teacher is not None:
            with torch.no_grad():
                targets = teacher(images)
        loss = recipe.loss_of(check_outputs(outputs, len(labels)), targets)
    with record_function("backward"):
        network.zero_grad()
        loss.backward()
    return loss.detach(), outputs.detach()


def _train_epoch(step: Callable, batches, optimizer, schedule, history: History, lines) -> None:
    """One pass over the batches: the loop of every PyTorch tutorial, and its bookkeeping."""
    losses, counts, correct = [], [], 0
    for images, labels in batches:
        images = images.to(history.device, memory_format=torch.channels_last)
        labels = labels.to(history.device)
        loss, outputs = step(images, labels)
        if not history.batch_lr:  # the first batch tells
            history.recipe.check_loss(outputs)
        with record_function("optimizer"):
            optimizer.step()
        history.batch_lr.append(optimizer.param_groups[0]["lr"])
        schedule.step()
        losses.append(loss.clone())
        counts.append(len(labels))
        correct = correct + (outputs.argmax(1) == labels).sum()
        if history.device == "cpu":  # elsewhere a look at the loss would stop the pipeline
            _check_finite(losses[-1:], history, len(losses))
        lines.update()
    losses = torch.stack(losses).tolist()
    _check_finite(losses, history, 1)
    history.batch_loss.extend(losses)
    # The last batch may be smaller: every digit counts once.
    history.train_loss.append(float(np.average(losses, weights=counts)))
    history.train_accuracy.append(int(correct) / sum(counts))


def _check_finite(losses, history: History, first_batch: int) -> None:
    for batch, loss in enumerate(map(float, losses), first_batch):
        if not isfinite(loss):
            rate = history.batch_lr[len(history.batch_loss) + batch - 1]
            raise FloatingPointError(
                f"the loss became {loss} in epoch {len(history.seconds) + 1}, batch {batch}, at "
                f"the learning rate {rate:.3g}: lower it."
            )


def make_optimizer(network: nn.Module, recipe: Recipe, num_batches: int, fused: bool = True):
    """The optimizer, the schedule stepped per batch, and the one stepped per epoch.

    `fused`: Adam in one call for all parameters instead of several for each. It buys something
    where there are many small parameters and short steps, as in `BottleneckNet`.
    """
    kind, options = torch.optim.SGD, {"momentum": recipe.momentum}
    if recipe.optimizer in ("adam", "adamw"):
        kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
        options = {"betas": recipe.betas, "fused": fused}
    parameters, decay = network.parameters(), recipe.weight_decay
    optimizer = kind(parameters, recipe.lr, weight_decay=decay, **options)
    per_batch = per_epoch = lr_scheduler.ConstantLR(optimizer, factor=1)
    if isinstance(recipe.schedule, OneCycle):
        steps, options = recipe.num_epochs * num_batches, dict(vars(recipe.schedule))
        recipe.schedule.check_steps(steps)
        options["cycle_momentum"] &= recipe.optimizer != "sgd"  # sgd keeps that of its recipe
        per_batch = lr_scheduler.OneCycleLR(optimizer, total_steps=steps, **options)
    elif isinstance(recipe.schedule, StepDown):
        per_epoch = lr_scheduler.StepLR(optimizer, **vars(recipe.schedule))
    return optimizer, per_batch, per_epoch


@contextmanager
def _own_conditions(seed: int, device: torch.device) -> Iterator[None]:
    """Random numbers, gradients and precision as `fit` wants them, whatever surrounds it."""
    with (
        torch.cuda.device(device) if device.type == "cuda" else nullcontext(),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(device.type, enabled=False),
        deterministic_convolutions(),
        torch.random.fork_rng(devices=[]),
        ExitStack() as stack,
    ):
        torch.default_generator.manual_seed(seed)  # what a network draws besides its dropout
        if device.type != "cpu":
            accelerator = getattr(torch, device.type)
            stack.callback(accelerator.set_rng_state, accelerator.get_rng_state())
            accelerator.manual_seed(seed)
        yield

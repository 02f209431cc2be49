"""Three public networks below 20,000 parameters, trained again: what was one run becomes several.

Written afresh from their descriptions, with their authors' recipes where those are published and
do not listen to the test digits. Trained on all 60,000 as theirs were. The test digits are read
after every epoch, which nothing here decides by: so a run's last epoch can be held against its
best, which is what two of the three published.
"""

from dataclasses import replace
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_lab.augment import Affine, CropAndResize, Rotate
from mnist_lab.data import Digits, load_data
from mnist_lab.layers import count_parameters
from mnist_lab.recipes import OneCycle, Recipe, StepDown, shortened
from mnist_lab.studies.measuring import conditions, mean_text
from mnist_lab.training import fit
from mnist_lab.validation import Count, check

PRECISION = "fp32"


class Net697(nn.Sequential):
    """697 parameters: a convolution to 6 channels, a pooling, four separable convolutions, a mean.

    Input `[N, 1, 28, 28]`, output logits `[N, 10]`. Source: JoshWarn/Parameter-Efficient-MNIST.
    """

    def __init__(self):
        layers = [nn.Conv2d(1, 6, 3, padding=1), nn.LeakyReLU(0.2), nn.MaxPool2d(2)]  # 6×14×14
        for before, after in ((6, 5), (5, 9), (9, 10), (10, 8)):
            layers += [*separable(before, after), nn.LeakyReLU(0.2), nn.Dropout(0.05)]
        super().__init__(*layers[:-1], nn.AvgPool2d(6), nn.Flatten(), nn.Linear(8, 10))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)


class WholeNorm(nn.Module):
    """Each image's values, all channels together, to mean 0 and deviation 1: `[N, …]` as it came.

    One learned scale and one learned shift for all of them.
    """

    def __init__(self):
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(())), nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]  # group_norm takes a scale for each: here they are one
        return F.group_norm(x, 1, self.scale.expand(channels), self.shift.expand(channels))


class Net1936(nn.Module):
    """1,936 parameters: a separable block to 26 channels, another that is used three times.

    Input `[N, 1, 28, 28]`, output logits `[N, 10]`. Source: ruslangrimov/mnist-minimal-model.
    """

    def __init__(self):
        super().__init__()

        def after() -> list[nn.Module]:
            return [nn.ReLU(), WholeNorm(), nn.Dropout(0.1)]

        self.stem = nn.Sequential(
            *[nn.Conv2d(1, 8, 3), *after()[:2], nn.MaxPool2d(2), nn.Dropout(0.1)],  # 8×13×13
            *[*separable(8, 26), *after()],  # 26×11×11
        )
        self.shared = nn.Sequential(*separable(26, 26, padding=1))
        self.after = nn.ModuleList(nn.Sequential(*after()) for _ in range(3))
        self.head = nn.Sequential(
            *[nn.AvgPool2d(11), nn.Flatten(), nn.Linear(26, 16), *after(), nn.Linear(16, 10)]
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for after in self.after:
            x = after(self.shared(x))
        return self.head(x)


class Net15794(nn.Sequential):
    """15,794 parameters: a 1×1 squeeze before the pooling, and a linear layer over 28 maps.

    Input `[N, 1, 28, 28]`, output logits `[N, 10]`. Source: divya-r-kamat/EfficientMnist-Under20K,
    fourth iteration.
    """

    def __init__(self):
        layers: list[nn.Module] = []
        for before, after, size in ((1, 8, 3), (8, 10, 3), (10, 16, 3), (16, 8, 1)):
            layers += [nn.Conv2d(before, after, size), nn.BatchNorm2d(after), nn.ReLU()]
        layers += [nn.MaxPool2d(2)]  # 8×11×11
        for before, after in ((8, 10), (10, 16)):
            layers += [nn.Conv2d(before, after, 3), nn.BatchNorm2d(after), nn.ReLU()]
        layers += [nn.Conv2d(16, 28, 3), nn.ReLU(), nn.Flatten(), nn.Linear(28 * 5 * 5, 10)]
        super().__init__(*layers)


def separable(before: int, after: int, padding: int = 0) -> list[nn.Module]:
    """A 3×3 convolution of each channel by itself, then a 1×1 that mixes them, with a bias."""
    return [
        nn.Conv2d(before, before, 3, padding=padding, groups=before, bias=False),
        nn.Conv2d(before, after, 1),
    ]


class Anchor(NamedTuple):
    """What was published of a network: parameters, accuracy on the test digits, and how it came."""

    parameters: int
    accuracy: float
    protocol: str
    source: str


ANCHORS = (  # not all that there is; those whose source we know
    Anchor(697, 0.9903, "best of about 700 runs, best epoch on the test digits",
           "JoshWarn/Parameter-Efficient-MNIST"),
    Anchor(1_936, 0.9910, "one run", "ruslangrimov/mnist-minimal-model"),
    Anchor(3_197, 0.9925, "one run, its best epoch", "ruslangrimov/mnist-minimal-model"),
    Anchor(7_918, 0.9952, "one run, best epoch on the test digits", "snehanshu-raj/ERA"),
    Anchor(15_794, 0.9959, "one run", "divya-r-kamat/EfficientMnist-Under20K"),
    Anchor(326_000, 0.9965, "mean of 1,500 runs", "cdeotte/MNIST-CNN-99.75"),
)  # fmt: skip


class Case(NamedTuple):
    """A network, and the recipe that trains it here."""

    network: type[nn.Module]
    recipe: Recipe


CASES = {
    "697": Case(
        Net697,
        # Its rate fell to a quarter when the loss on the test digits had not fallen for 50 epochs,
        # of 2,000 at most; here it falls every 50.
        Recipe(
            num_epochs=200, batch_size=256, lr=0.01, optimizer="adamw", weight_decay=1e-6,
            schedule=StepDown(50, 0.25), mean=0.0, std=1.0,
        ),
    ),
    "1,936": Case(
        Net1936,
        # Its training is not published, but that it was augmented, and took 75 epochs.
        Recipe(
            num_epochs=75, batch_size=128, lr=0.001, schedule=OneCycle(0.01, 0.25, False),
            augment=(Affine(10, 1.5, 0.1),),
        ),
    ),
    "15,794": Case(
        Net15794,
        Recipe(
            num_epochs=20, batch_size=128, lr=0.001, schedule=StepDown(15, 0.1),
            augment=(CropAndResize(22, 0.1), Rotate(15)),
        ),
    ),
}  # fmt: skip


def anchor(network: str) -> Anchor:
    """What was published of a network of `CASES`."""
    size = int(network.replace(",", ""))
    return next(one for one in ANCHORS if one.parameters == size)


@cache
def all_digits() -> Digits:
    """Trained on all 60,000; validated on the test digits."""
    return load_data(split="as published")


def cases(seeds: int = 5, num_epochs: int | None = None) -> list[dict]:
    """Every network with every seed; `num_epochs`: another length than its recipe's."""
    if num_epochs is not None:
        check("num_epochs", num_epochs, Count)
    return [
        {"network": name, "seed": seed, "num_epochs": num_epochs or case.recipe.num_epochs}
        for seed in range(check("seeds", seeds, Count))
        for name, case in CASES.items()
    ]


def run(network: str, seed: int, num_epochs: int) -> dict:
    """Train one network with one seed; its accuracy on the test digits after every epoch."""
    case, data = CASES[network], all_digits()
    recipe = replace(shortened(case.recipe, num_epochs), seed=seed)
    torch.manual_seed(seed)
    net = case.network()
    history = fit(net, data, recipe, device="cpu", precision=PRECISION, progress=False)
    return {
        "network": network,
        "source": anchor(network).source,
        "seed": seed,
        "num_epochs": num_epochs,
        "train": len(data.train),
        "parameters": count_parameters(net),
        "recipe": repr(recipe),
        "test_accuracy": history.validation_accuracy,
        "train_accuracy": history.train_accuracy,
        "seconds": sum(history.seconds),
        **conditions(data, PRECISION),
    }


def table(runs: list[dict]) -> str:
    """A row for each network: what was published, our last epochs, and our best on the test."""
    lines = [
        f"{'parameters':>10}{'published':>11}{'seeds':>7}   {'last epoch [95 % interval]':<28}"
        f"{'best epoch':>10}{'best run, best epoch':>22}"
    ]
    for name in CASES:
        mine = [run["test_accuracy"] for run in runs if run["network"] == name]
        if mine:
            last, best = [values[-1] for values in mine], [max(values) for values in mine]
            lines.append(
                f"{name:>10}{anchor(name).accuracy:>11.2%}{len(mine):>7}   {mean_text(last):<28}"
                f"{sum(best) / len(best):>10.2%}{max(best):>22.2%}"
            )
    return "\n".join(lines)

"""What each idea behind the small networks is worth: undo one, or add one, and train again.

A network's cases are the network and recipe as chosen (`NETWORKS`), and the same with one change;
all with the same seeds, so that they are compared in pairs. The validation digits judge, after the
last epoch; the test digits are never looked at.
"""

import statistics
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from mnist_lab.augment import Affine
from mnist_lab.layers import count_parameters
from mnist_lab.pretrained import load_pretrained
from mnist_lab.recipes import NETWORKS, Recipe, shortened
from mnist_lab.statistics import paired_interval, seed_interval
from mnist_lab.studies.ablations import PER_EPOCH
from mnist_lab.studies.candidates import build
from mnist_lab.studies.measuring import conditions, digits
from mnist_lab.training import fit
from mnist_lab.validation import Count, check, one_of

PRECISION = "fp32"
AS_CHOSEN = "as chosen"
LINES = {  # the networks of the registry, as `candidates` describes them
    "20k": "plain 16 16p 26 26p 26s silu",
    "8k": "plain 10 12p 16 16p 16s silu",
    "2k": "shared 28p . . . . . silu",
    "700": "shared 14p . . . . . shift silu",
}
# Of each network, by case: another network, or else changes of its recipe.
CASES: dict[str, dict[str, str | dict]] = {
    "20k": {
        AS_CHOSEN: {},
        "ReLU instead of SiLU": "plain 16 16p 26 26p 26s",
        "no averaging of the weights": {"ema_decay": 0.0},
        "no label smoothing": {"label_smoothing": 0.0},
        "rotation only, ±7°": {"augment": (Affine(7),)},
    },
    "8k": {
        AS_CHOSEN: {},
        "ReLU instead of SiLU": "plain 10 12p 16 16p 16s",
        "no averaging of the weights": {"ema_decay": 0.0},
        "no weight decay": {"weight_decay": 0.0},
        "no label smoothing": {"label_smoothing": 0.0},
        "a third of the rate": {"max_lr": 0.03},
        "taught by two larger networks": {"teachers": ("gap", "bottleneck")},
        "no augmentation": {"augment": ()},
    },
    "2k": {
        AS_CHOSEN: {},
        "a full convolution, shared": "shared 13p . . . . . full silu",
        "a block of its own for each use": "shared 13p . . . . . own silu",
        "pooling between the uses": "shared 28 .p . .p .s .s silu",
        "no linear layer": "shared 32p . . . . . headless silu",
        "norms without a scale": "shared 30p . . . . . shift silu",
        "a learned mean": "shared 26p . . . . . learned silu",
        "ReLU instead of SiLU": "shared 28p . . . . .",
        "no averaging of the weights": {"ema_decay": 0.0},
        "label smoothing 0.1": {"label_smoothing": 0.1},
        "no augmentation": {"augment": ()},
        "taught by two larger networks": {"teachers": ("gap", "bottleneck")},
    },
    "700": {
        AS_CHOSEN: {},
        "norms with scale and shift": "shared 13p . . . . . silu",
        "norms with neither": "shared 15p . . . . . none silu",
        "ReLU instead of SiLU": "shared 14p . . . . . shift",
        "averaging of the weights": {"ema_decay": 0.998},
        "a little augmentation": {"augment": (Affine(3, 0.4, 0.01, 2),)},
        "taught by two larger networks": {"teachers": ("gap", "bottleneck")},
    },
}


def cases(
    networks: Sequence[str] = (),
    seeds: int = 5,
    num_epochs: int | None = None,
    only: Sequence[str] = (),
) -> list[dict]:
    """Every case of these networks, or of all, with every seed; or `only` these, and as chosen.

    `num_epochs`: another length. Raises `UserError` for what is none of them.
    """
    names = [check("a network", name, one_of(*CASES)) for name in networks] or CASES
    there = dict.fromkeys(case for name in names for case in CASES[name])
    wanted = {AS_CHOSEN, *(check("a case", case, one_of(*there)) for case in only)}
    if num_epochs is not None:
        check("num_epochs", num_epochs, Count)
    return [
        {"network": name, "case": case, "seed": seed, "num_epochs": num_epochs or length(name)}
        for seed in range(check("seeds", seeds, Count))
        for name in dict.fromkeys(names)
        for case in CASES[name]
        if not only or case in wanted
    ]


def length(network: str) -> int:
    """The epochs of the chosen recipe."""
    return NETWORKS[network].recipe.num_epochs


def run(network: str, case: str, seed: int, num_epochs: int) -> dict:
    """Train one case with one seed, in fp32 on the CPU.

    `PER_EPOCH` have an entry for each epoch. If the loss is no longer finite, `diverged` is True
    and they are empty.
    """
    change, data = CASES[network][case], digits()
    line, change = (change, {}) if isinstance(change, str) else (LINES[network], dict(change))
    teacher = Teachers(change.pop("teachers")) if "teachers" in change else None
    recipe = changed(NETWORKS[network].recipe, change)
    recipe = replace(shortened(recipe, num_epochs), seed=seed)
    torch.manual_seed(seed)
    net = build(line)
    result = {
        "network": network,
        "case": case,
        "seed": seed,
        "num_epochs": num_epochs,
        "parameters": count_parameters(net),
        "recipe": repr(recipe),
        **conditions(data, PRECISION),
        "diverged": False,
    }
    options = {"device": "cpu", "precision": PRECISION, "progress": False}
    try:
        history = fit(net, data, recipe, **options, teacher=teacher)
    except FloatingPointError:
        return result | {name: [] for name in PER_EPOCH} | {"diverged": True}
    return result | {name: getattr(history, name) for name in PER_EPOCH}


class Teachers:
    """The mean probabilities `[B, 10]` of trained networks, for the same turned digits.

    Each reads the images `[B, 1, 28, 28]` normalised as it has learned them; they come with the
    mean and deviation of `Recipe`.
    """

    def __init__(self, names: Sequence[str]):
        self.networks = [load_pretrained(name) for name in names]
        self.recipes = [NETWORKS[name].recipe for name in names]

    def __call__(self, images: Tensor) -> Tensor:
        pixels, chances = images * Recipe.std + Recipe.mean, 0
        for network, recipe in zip(self.networks, self.recipes):
            chances = chances + network((pixels - recipe.mean) / recipe.std).softmax(1)
        return chances / len(self.networks)


def changed(recipe: Recipe, changes: dict) -> Recipe:
    """The recipe with these fields, or with another `max_lr` of its schedule."""
    fields = dict(changes)
    if "max_lr" in fields:
        fields["schedule"] = replace(recipe.schedule, max_lr=fields.pop("max_lr"))
    return replace(recipe, **fields)


def table(runs: list[dict]) -> str:
    """A block for each network and length, a row for each case.

    Validation accuracy after the last epoch: the mean over seeds, and its 95 % interval from two
    on; then what the change costs or buys, in points, over the seeds that both have.
    """
    blocks = []
    for network, epochs in dict.fromkeys((run["network"], run["num_epochs"]) for run in runs):
        ends = {
            case: {
                run["seed"]: run["validation_accuracy"][-1]
                for run in runs
                if (run["network"], run["num_epochs"], run["case"]) == (network, epochs, case)
                and not run["diverged"]
            }
            for case in CASES[network]
        }
        lines = [
            f"{f'{network}, {epochs} epochs':<40}{'validation accuracy':<28}points from {AS_CHOSEN}"
        ]
        lines += [f"{case:<40}{_row(mine, ends[AS_CHOSEN])}" for case, mine in ends.items() if mine]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _row(mine: dict[int, float], chosen: dict[int, float]) -> str:
    values, both = list(mine.values()), sorted(mine.keys() & chosen.keys())
    text = f"{statistics.mean(values):.3%}"
    if len(values) > 1:
        text += " [{:.2%}, {:.2%}]".format(*seed_interval(values))
    if mine is chosen or len(both) < 2:
        return text
    pairs = [[100 * side[seed] for seed in both] for side in (chosen, mine)]
    found = paired_interval(*pairs)
    return f"{text:<28}{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"

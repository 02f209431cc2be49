"""What a part of either network is worth at the end of a whole training.

Each case is trained as published, on the 50,000 digits of the random split, in fp32, with one thing
changed, and as published: seeds 0 to 11. What each misreads at the end is kept, so that its luck
with the writers can be told. The rules that judge these runs (`rules.toml`) were committed before
the first of a changed network was published; both networks as published had been seen.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from mnist_lab.evaluation import evaluate
from mnist_lab.layers import count_parameters
from mnist_lab.networks import GapNet
from mnist_lab.recipes import NETWORKS, shortened
from mnist_lab.records import PUBLISHED, load_published
from mnist_lab.statistics import seed_interval
from mnist_lab.studies.ablations import PER_EPOCH, PRECISION, BottleneckVariant
from mnist_lab.studies.measuring import conditions, digits
from mnist_lab.training import fit
from mnist_lab.validation import Count, UserError, check

FILE = "full"  # in mnist_lab/published


def gap_without(kind: type[nn.Module]) -> GapNet:
    """`GapNet` without its layers of one kind; the others begin with the same weights."""
    network = GapNet()
    for name, block in network.named_children():
        if isinstance(block, nn.Sequential):
            kept = [layer for layer in block if not isinstance(layer, kind)]
            setattr(network, name, nn.Sequential(*kept))
    return network


class Case(NamedTuple):
    """A network that is trained, by its recipe's name in `NETWORKS`."""

    network: str
    make: Callable[[], nn.Module]


def _bottleneck(**changes) -> Case:
    return Case("bottleneck", partial(BottleneckVariant, **changes))


CASES = {
    "bottleneck as published": _bottleneck(),
    "gap as published": Case("gap", GapNet),
    "bottleneck without dropout": _bottleneck(dropout="none"),
    "bottleneck with dropout throughout": _bottleneck(dropout="throughout"),
    "bottleneck with a direct 3×3": _bottleneck(without=["conv5"]),
    "bottleneck without batch norm": _bottleneck(norm=False),
    "bottleneck without conv4": _bottleneck(without=["conv4"]),
    "bottleneck without conv6": _bottleneck(without=["conv6"]),
    "gap without dropout": Case("gap", partial(gap_without, nn.Dropout)),
    "gap without batch norm": Case("gap", partial(gap_without, nn.BatchNorm2d)),
}


def cases(seeds: int = 12, num_epochs: int | None = None) -> list[dict]:
    """Every case of every seed that is not published yet, all cases of a seed together.

    Raises `UserError` if each is published, and for options that make no sense.
    """
    seeds = check("seeds", seeds, Count)
    if num_epochs is not None:
        check("num_epochs", num_epochs, Count)
    done = set()
    if num_epochs is None and (PUBLISHED / f"{FILE}.json").exists():
        whole = {case: NETWORKS[CASES[case].network].recipe.num_epochs for case in CASES}
        runs = load_published(FILE)["runs"]
        done = {(r["case"], r["seed"]) for r in runs if r["num_epochs"] == whole[r["case"]]}
    left = [
        {"case": case, "seed": seed, "num_epochs": num_epochs}
        for seed in range(seeds)
        for case in CASES
        if (case, seed) not in done
    ]
    if not left:
        raise UserError(f"{seeds} seeds of every case are published: ask for more seeds.")
    return left


def run(case: str, seed: int, num_epochs: int | None = None) -> dict:
    """Train one case with one seed: the published recipe, or a shorter one.

    `PER_EPOCH` have an entry for each epoch, `wrong` is which validation digits it misreads at the
    end. If the loss is no longer finite, `diverged` is True and all of them are empty.
    """
    (name, make), data = CASES[case], digits()
    recipe = NETWORKS[name].recipe
    recipe = replace(shortened(recipe, num_epochs or recipe.num_epochs), seed=seed)
    torch.manual_seed(seed)
    network = make()
    result = {
        "case": case,
        "seed": seed,
        "num_epochs": recipe.num_epochs,
        "train": len(data.train),
        "validation": len(data.validation),
        "parameters": count_parameters(network),
        "recipe": repr(recipe),
        **conditions(data, PRECISION),
        "diverged": False,
    }
    try:
        history = fit(network, data, recipe, device="cpu", precision=PRECISION, progress=False)
    except FloatingPointError:
        nothing = {name: [] for name in (*PER_EPOCH, "wrong")}
        return result | nothing | {"diverged": True}
    wrong = evaluate(network, data.validation, recipe).mistakes()
    return (
        result
        | {name: getattr(history, name) for name in PER_EPOCH}
        | {"wrong": sorted(mistake.index for mistake in wrong)}
    )


def table(runs: list[dict]) -> str:
    """A row for each case: its seeds, parameters, and validation accuracy after the last epoch,
    with the interval of its mean from two seeds on. A run that diverged counts as 10 %.
    """
    lines = [f"{'full trainings':<38}{'seeds':>6}{'parameters':>12}   validation accuracy"]
    for case in CASES:
        mine = [run for run in runs if run["case"] == case]
        if mine:
            ends = [0.1 if run["diverged"] else run["validation_accuracy"][-1] for run in mine]
            mean = f"{sum(ends) / len(ends):.2%}"
            if len(ends) > 1:
                mean += " [{:.2%}, {:.2%}]".format(*seed_interval(ends))
            lines.append(f"{case:<38}{len(mine):>6}{mine[0]['parameters']:>12,}   {mean}")
    return "\n".join(lines)

"""Does a network that practises on spoilt digits read spoilt digits, and what does it pay for that?

The bottleneck network is trained briefly, as in the short ablations, on digits as they are and on
digits of which half are spoilt, by six of the twelve corruptions. Each of the six has a relative
among the other six, which no training sees. Both sides begin alike, and read the same validation
digits. That training on one kind of spoilt pictures does not carry over to others is Geirhos et
al.'s finding, "Generalisation in humans and deep neural networks", arXiv:1808.08750.
"""

import statistics
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mnist_lab.corruptions import CORRUPTIONS, corrupt
from mnist_lab.evaluation import evaluate
from mnist_lab.networks import BottleneckNet
from mnist_lab.statistics import seed_interval
from mnist_lab.studies.ablations import NUM_DIGITS, PRECISION, SHORT_RECIPE
from mnist_lab.studies.measuring import conditions, digits
from mnist_lab.training import fit
from mnist_lab.validation import Count, check

NUM_VALIDATION_DIGITS = 2_500
LEVEL = 3  # at which both sides are asked
# What is practised, and what is like it and is not.
RELATIVES = {
    "shift": "scale",
    "shear": "rotation",
    "gaussian noise": "impulse noise",
    "blur": "pixelation",
    "contrast": "inversion",
    "occlusion": "lines",
}


@dataclass(frozen=True)
class Spoil:
    """Spoil half of the images, each by one of `kinds`, drawn evenly, as are the levels 1 to 5.

    Those of a batch that are spoilt in the same way are spoilt at the same level.
    """

    kinds: tuple[str, ...] = tuple(RELATIVES)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        images = images.clone()
        draws = torch.randint(2 * len(self.kinds), (len(images),), generator=generator)
        levels = torch.randint(5, (len(self.kinds),), generator=generator).tolist()
        for number, (kind, level) in enumerate(zip(self.kinds, levels)):
            chosen, corruption = draws == number, CORRUPTIONS[kind]
            if chosen.any():
                strength = corruption.strengths[level]
                images[chosen] = corruption.change(images[chosen], strength, generator)
        return images


CASES = {"as published": (), "with spoilt digits": (Spoil(),)}


def cases(seeds: int = 6) -> list[dict]:
    """Both sides of every seed."""
    return [
        {"case": case, "seed": seed} for seed in range(check("seeds", seeds, Count))
        for case in CASES
    ]  # fmt: skip


def run(case: str, seed: int) -> dict:
    """Train one side with one seed, in fp32 on the CPU.

    `accuracy` has that on validation digits as they are ("none") and under each corruption.
    """
    data = digits()
    recipe = replace(SHORT_RECIPE, augment=(*SHORT_RECIPE.augment, *CASES[case]), seed=seed)
    validation = data.validation.first(NUM_VALIDATION_DIGITS)
    few = replace(data, train=data.train.first(NUM_DIGITS), validation=validation)
    torch.manual_seed(seed)
    network = BottleneckNet()
    history = fit(network, few, recipe, device="cpu", precision=PRECISION, progress=False)
    spoilt = {kind: corrupt(validation.images, kind, LEVEL) for kind in CORRUPTIONS}
    every = {"none": validation.images} | spoilt
    asked = {kind: replace(validation, images=images) for kind, images in every.items()}
    return {
        "case": case,
        "seed": seed,
        "num_digits": len(few.train),
        "validation": len(validation),
        "level": LEVEL,
        "recipe": repr(recipe),
        **conditions(data, PRECISION),
        "accuracy": {
            kind: evaluate(network, split, recipe).accuracy for kind, split in asked.items()
        },
        "train_seconds": history.train_seconds,
    }


def table(runs: list[dict]) -> str:
    """A row for each corruption: the mean accuracy of both sides, and what practice has changed,
    with its interval over the seeds that both have, if there are two. `*`: was practised.
    """
    sides = [{run["seed"]: run["accuracy"] for run in runs if run["case"] == case}
             for case in CASES]  # fmt: skip
    seeds = sorted(sides[0].keys() & sides[1].keys())
    lines = [f"{'spoilt by':<18}{'as published':>14}{'with spoilt':>14}   points"]
    for kind in ("none", *CORRUPTIONS):
        without, practised = ([side[seed][kind] for seed in seeds] for side in sides)
        gains = [100 * (b - a) for a, b in zip(without, practised)]
        if gains:
            name = f"{kind}{' *' * (kind in RELATIVES)}"
            means = "".join(f"{statistics.mean(side):>14.2%}" for side in (without, practised))
            line = f"{name:<18}{means}   {statistics.mean(gains):+.2f}"
            if len(gains) > 1:
                line += " [{:+.2f}, {:+.2f}]".format(*seed_interval(gains))
            lines.append(line)
    return "\n".join(lines)

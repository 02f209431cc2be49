"""The best trial of each search again, with fresh seeds: how much its validation had flattered it.

What is best of many was also lucky: with its seed, and with the digits that judged it. Fresh seeds
leave out the first luck; test digits, which have judged no trial, the second as well. They are read
once in each run, at its end, and nothing is chosen by them.
"""

from functools import cache

import torch

from mnist_lab.data import Digits, load_data
from mnist_lab.evaluation import evaluate
from mnist_lab.layers import count_parameters
from mnist_lab.records import load_published
from mnist_lab.studies.candidates import build
from mnist_lab.studies.measuring import conditions, mean_text
from mnist_lab.studies.search import CANDIDATES, load_optuna, recipe_of
from mnist_lab.training import fit
from mnist_lab.validation import Count, check

PRECISION = "fp32"
FIRST_SEED = 1_000  # a trial's seed is its number


def best_trial(budget: str) -> dict:
    """Of the published trials of a budget the complete one that is best after its last epoch."""
    trials = load_published(f"search-{budget}")["runs"]
    complete = [trial for trial in trials if trial["state"] == "complete"]
    return max(complete, key=lambda trial: trial["validation_accuracy"][-1])


@cache
def digits() -> Digits:
    """Read once in each process; with the test digits, unlike those of a search."""
    return load_data()


def cases(seeds: int = 5) -> list[dict]:
    """Every budget with every seed. Raises `UserError` if there is none."""
    check("seeds", seeds, Count)
    return [
        {"budget": budget, "seed": FIRST_SEED + number}
        for number in range(seeds)
        for budget in CANDIDATES
    ]


def run(budget: str, seed: int) -> dict:
    """Train the best trial's network by its recipe; "before" is what its own run had come to."""
    best, data = best_trial(budget), digits()
    chosen = load_optuna().trial.FixedTrial(best["chosen"])
    recipe = recipe_of(chosen, budget, best["num_epochs"], seed)
    torch.manual_seed(seed)
    network = build(best["network"])
    history = fit(network, data, recipe, device="cpu", precision=PRECISION, progress=False)
    return {
        "budget": budget,
        "seed": seed,
        "num_epochs": best["num_epochs"],
        "trial": best["trial"],
        "network": best["network"],
        "parameters": count_parameters(network),
        "recipe": repr(recipe),
        "before": best["validation_accuracy"][-1],
        "validation_accuracy": history.validation_accuracy,
        "test_accuracy": evaluate(network, data.test, recipe).accuracy,
        **conditions(data, PRECISION),
    }


def table(runs: list[dict]) -> str:
    """A row for each budget: the best trial, and with fresh seeds validation and test digits."""
    lines = [f"{'budget':<8}{'best trial':>11}{'seeds':>7}   {'validation':<28}test"]
    for budget in dict.fromkeys(run["budget"] for run in runs):
        mine = [run for run in runs if run["budget"] == budget]
        validation = mean_text([run["validation_accuracy"][-1] for run in mine])
        test = mean_text([run["test_accuracy"] for run in mine])
        lines.append(
            f"{budget:<8}{mine[0]['before']:>11.2%}{len(mine):>7}   {validation:<28}{test}"
        )
    return "\n".join(lines)

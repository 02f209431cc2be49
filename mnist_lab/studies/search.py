"""Look for a network under a budget of parameters, and for its recipe: on validation digits alone.

Each case is one trial. Optuna (arXiv:1907.10902; the extra `search`) chooses what it tries from
what the earlier ones came to, and ends it early if it lies among the worst. The trials share a
journal, `runs/search/<budget>.log`, so several can run side by side. Every trial is in the record,
those that were ended early, too. The test digits are never looked at.
"""

from collections import Counter

import torch

from mnist_lab.augment import Affine
from mnist_lab.files import project_root
from mnist_lab.layers import count_parameters
from mnist_lab.recipes import OneCycle, Recipe
from mnist_lab.studies.candidates import build
from mnist_lab.studies.measuring import conditions, digits
from mnist_lab.training import History, fit
from mnist_lab.validation import Count, UserError, check, one_of

CANDIDATES = {  # by budget
    "20k": (
        "plain 16 16 16p 24 24p 24s",
        "plain 16 16p 26 26p 26s",
        "plain 12 18p 26 26p 30s",
        "plain 12 16p 22 22 22p 22s",
        "plain 16p 24 24 24p 24s",
    ),
    "8k": (
        "plain 10 12p 16 16p 16s",
        "plain 10p 15 15 15p 16s",
        "plain 10p 15 15 15p 16",
        "plain 8 10p 14 14 14p 16s",
        "plain 10p 14 14 14p 16s learned",
    ),
    "2k": (
        "shared 28 .p . .p .s .s",
        "shared 28 .p . .p .s .s silu",
        "shared 28p . . . . .",
        "shared 28p . . . . . silu",
        "shared 32p . . . . . tied silu",
    ),
    "700": (
        "shared 13 .p . .p .s .s silu",
        "shared 13p . . . . .",
        "shared 13p . . . . . silu",
        "shared 15p . . . . . tied silu",
    ),
}
RATES = {"8k": (0.003, 0.1)}  # searched first; the best of it came near the upper end
# Of the largest turns, shifts, … and of the smoothing. The first trials of the smallest budget had
# the whole range, and lost to hand-made ones with hardly any.
SHARES = {"2k": 0.4, "700": 0.4}
PRECISION = "fp32"


def cases(budget: str, trials: int = 20, num_epochs: int = 10) -> list[dict]:
    """A case for each trial. Raises `UserError` for an unknown budget, and for other nonsense."""
    check("budget", budget, one_of(*CANDIDATES))
    check("num_epochs", num_epochs, Count)
    return [
        {"budget": budget, "num_epochs": num_epochs, "trial": trial}
        for trial in range(check("trials", trials, Count))
    ]


def run(budget: str, num_epochs: int, trial: int) -> dict:
    """One trial: what it chose, and its accuracy on the validation digits after each epoch.

    `state`: "complete", "pruned" (ended early), or "fail" (the loss was no longer finite).
    """
    optuna = load_optuna()
    states, seen = optuna.trial.TrialState, []
    study = _study(optuna, budget, num_epochs, trial)
    asked = study.ask()

    def report(history: History) -> None:
        seen.append(history.validation_accuracy[-1])
        asked.report(seen[-1], len(seen))
        if len(seen) < num_epochs and asked.should_prune():
            raise optuna.TrialPruned

    torch.manual_seed(trial)
    recipe = recipe_of(asked, budget, num_epochs, seed=trial)
    line = asked.suggest_categorical("network", CANDIDATES[budget])
    network, state = build(line), states.COMPLETE
    options = {"device": "cpu", "precision": PRECISION, "progress": False}
    try:
        fit(network, digits(), recipe, **options, after_epoch=report)
    except optuna.TrialPruned:
        state = states.PRUNED
    except FloatingPointError:
        state = states.FAIL
    study.tell(asked, seen[-1] if state == states.COMPLETE else None, state)
    return {
        "budget": budget,
        "num_epochs": num_epochs,
        "trial": trial,
        "network": line,
        "parameters": count_parameters(network),
        "recipe": repr(recipe),
        "chosen": asked.params,
        "state": state.name.lower(),
        "validation_accuracy": seen,
        **conditions(digits(), PRECISION),
    }


def recipe_of(trial, budget: str, num_epochs: int, seed: int) -> Recipe:
    """The recipe that an Optuna trial chooses; what is fixed here was fixed for all trials."""
    share = SHARES.get(budget, 1)
    return Recipe(
        num_epochs=num_epochs,
        batch_size=trial.suggest_categorical("batch_size", (64, 128, 256)),
        lr=0.001,  # where AdamW would start; OneCycle sets its own
        optimizer="adamw",
        weight_decay=trial.suggest_float("weight_decay", 1e-4, 0.1, log=True),
        betas=(0.9, 0.99),
        schedule=OneCycle(
            max_lr=trial.suggest_float("max_lr", *RATES.get(budget, (0.01, 0.3)), log=True),
            pct_start=trial.suggest_float("pct_start", 0.1, 0.4),
            cycle_momentum=False,
        ),
        label_smoothing=trial.suggest_float("label_smoothing", 0, 0.1 * share),
        ema_decay=trial.suggest_categorical("ema_decay", (0.0, 0.99, 0.998)),
        augment=(
            Affine(
                degrees=trial.suggest_float("degrees", 0, 12 * share),
                pixels=trial.suggest_float("pixels", 0, 2 * share),
                scale=trial.suggest_float("scale", 0, 0.15 * share),
                shear=trial.suggest_float("shear", 0, 10 * share),
            ),
        ),
        seed=seed,
    )


def _study(optuna, budget: str, num_epochs: int, seed: int):
    """The study in its journal: what tries next learns from all that came before."""
    path = project_root() / "runs" / "search" / f"{budget}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    return optuna.create_study(
        study_name=f"{budget}, {num_epochs} epochs",
        storage=storage,
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=6, constant_liar=True),
        pruner=optuna.pruners.PercentilePruner(
            50, n_startup_trials=8, n_warmup_steps=num_epochs // 2
        ),
        direction="maximize",
        load_if_exists=True,
    )


def load_optuna():
    """Optuna, told to be quiet. Raises `UserError` where it is not installed."""
    try:
        import optuna
    except ImportError:
        raise UserError(
            "a search needs Optuna, which is not installed: pip install -e '.[search]'."
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def table(runs: list[dict]) -> str:
    """A block for each budget: how many trials came to what, and the best of them, best first."""
    blocks = []
    for budget, num_epochs in dict.fromkeys((run["budget"], run["num_epochs"]) for run in runs):
        mine = [r for r in runs if (r["budget"], r["num_epochs"]) == (budget, num_epochs)]
        states = Counter(run["state"] for run in mine)
        best = sorted(
            (run for run in mine if run["state"] == "complete"),
            key=lambda run: -run["validation_accuracy"][-1],
        )
        lines = [
            f"{budget}, {num_epochs} epochs: {len(mine)} trials, "
            + ", ".join(f"{count} {state}" for state, count in states.items()),
            f"{'validation':>10}{'parameters':>12}{'max rate':>10}{'batch':>7}   network",
        ]
        lines += [
            f"{run['validation_accuracy'][-1]:>10.2%}{run['parameters']:>12,}"
            f"{run['chosen']['max_lr']:>10.3f}{run['chosen']['batch_size']:>7}   {run['network']}"
            for run in best[:10]
        ]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)

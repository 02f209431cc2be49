"""Every study is `cases`, `run` and `table`, and what was published is of these studies."""

import inspect
import json
import pkgutil
from importlib import import_module

import pytest
import torch

from mnist_lab import studies
from mnist_lab.records import PUBLISHED
from mnist_lab.studies import measuring
from mnist_lab.validation import UserError

HELPERS = {"candidates", "measuring", "roofline", "rules", "textbook", "verdicts"}
NAMES = [module.name for module in pkgutil.iter_modules(studies.__path__)]
STUDIES = {
    name: import_module(f"mnist_lab.studies.{name}") for name in NAMES if name not in HELPERS
}
RECORDS = [*PUBLISHED.glob("speed/*.json"), *PUBLISHED.glob("search-*.json")]
NAMED = "ablate", "best-trials", "full", "ideas", "public", "remedies", "steps", "strangers"
RECORDS += [PUBLISHED / f"{name}.json" for name in NAMED]
REQUIRED = {
    "fit_accuracy": {"network": "gap"},
    "full_ablations": {"seeds": 99},
    "search": {"budget": "8k"},
}


@pytest.fixture
def mnist(monkeypatch):
    """What the cases ask of the digits, as if MNIST were here."""

    class MNIST:
        name, is_mnist = "MNIST", True

    monkeypatch.setattr(measuring, "load_data", MNIST)
    measuring.digits.cache_clear()
    yield
    measuring.digits.cache_clear()


@pytest.mark.parametrize("name", STUDIES)
def test_the_cases_are_arguments_of_run_that_json_can_hold(mnist, name):
    study = STUDIES[name]
    cases = study.cases(**REQUIRED.get(name, {}))
    assert cases and json.loads(json.dumps(cases)) == cases
    for case in cases:
        inspect.signature(study.run).bind(**case)
    assert len({json.dumps(case) for case in cases}) == len(cases), "one comes twice"
    assert list(inspect.signature(study.table).parameters) == ["runs"]


def test_the_cases_of_what_needs_mnist(mnist):
    race, writers = STUDIES["time_to_accuracy"], STUDIES["unseen_writers"]
    threads = {"threads": torch.get_num_threads()}
    ours = [{"goal": goal, "seed": seed} | threads for goal in (0.99, 0.994) for seed in (0, 1)]
    theirs = [{"example_epochs": 4, "seed": seed} | threads for seed in (0, 1, 2)]
    assert race.cases(2) == ours and race.cases(2, 4) == ours + theirs
    folds = [{"network": "gap", "fold": fold, "num_epochs": 7} for fold in range(6)]
    assert writers.cases("gap", 7) == folds


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_published_record_is_of_a_study_and_says_what_it_was_measured_with(path):
    record = json.loads(path.read_text(encoding="utf-8"))
    assert set(record) == {"kind", "digits", "runs"}
    conditions = {"digits", "precision", "processor", "torch"}
    for run in record["runs"]:
        assert run.keys() >= conditions and run["digits"] == record["digits"]
    assert STUDIES[record["kind"]].table(record["runs"]).count("\n") >= 1


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ablations", {"studies": ["depth"]}),
        ("ablations", {"seeds": 0}),
        ("contention", {"network": "lenet"}),
        ("contention", {"rounds": 0}),
        ("contention", {"precision": "fp16"}),
        ("epoch_time", {"network": "lenet"}),
        ("epoch_time", {"pairs": 0}),
        ("epoch_time", {"pairs": 1.5}),
        ("epoch_time", {"minutes": 0}),
        ("epoch_time", {"precision": "fp16"}),
        ("fit_accuracy", {"network": "lenet"}),
        ("fit_accuracy", {"seeds": 1}),
        ("fit_accuracy", {"num_epochs": 0}),
        ("remedies", {"seeds": 0}),
        ("time_to_accuracy", {"seeds": 1}),
        ("time_to_accuracy", {"example_epochs": -1}),
        ("unseen_writers", {"network": "lenet"}),
        ("unseen_writers", {"num_epochs": 0}),
    ],
)
def test_an_option_that_cannot_be_used_is_named(mnist, name, options):
    (option,) = options
    word = "a study" if option == "studies" else option
    with pytest.raises(UserError, match=f"^{word} must be .*, not "):
        STUDIES[name].cases(**REQUIRED.get(name, {}) | options)


@pytest.mark.parametrize("name", ["time_to_accuracy", "unseen_writers"])
def test_what_needs_mnist_says_so(few, name):
    with pytest.raises(UserError, match=r"MNIST.* set MNIST_LAB_DATA\b"):
        STUDIES[name].cases()

"""The commands that measure: options go where they belong, bad ones end in one sentence."""

import inspect

import pytest
from click.testing import CliRunner
from stand_ins import InProcess

from mnist_lab import records
from mnist_lab.__main__ import main
from mnist_lab.course import studies
from mnist_lab.studies import epoch_time as epochs


@pytest.mark.parametrize(
    ("module", "line", "expected"),
    [
        (epochs, "bench", {"network": "both", "pairs": 5, "minutes": 10, "precision": "auto"}),
        (
            epochs,
            "bench --network gap --pairs 2 --minutes 0.5 --precision bf16",
            {"network": "gap", "pairs": 2, "minutes": 0.5, "precision": "bf16"},
        ),
        (
            epochs,
            "bench --quick --network bottleneck",
            {
                "network": "bottleneck",
                "pairs": epochs.QUICK_PAIRS,
                "minutes": epochs.QUICK_MINUTES,
                "precision": "auto",
            },
        ),
        (
            studies,
            "compare --network gap",
            {"network": "gap", "seeds": 5, "num_epochs": 3, "jobs": None, "cluster": None},
        ),
        (
            studies,
            "compare --network bottleneck --seeds 7 --epochs 2 --jobs 3 --cluster tcp://a:1",
            {
                "network": "bottleneck",
                "seeds": 7,
                "num_epochs": 2,
                "jobs": 3,
                "cluster": "tcp://a:1",
            },
        ),
        (studies, "race", {"seeds": 10, "example_epochs": 0}),
        (studies, "race --seeds 4 --example-epochs 3", {"seeds": 4, "example_epochs": 3}),
        (studies, "ablate", {"studies": (), "seeds": 3, "jobs": None, "cluster": None}),
        (
            studies,
            "ablate norm optimizer --seeds 1 --jobs 3 --cluster tcp://a:1",
            {"studies": ("norm", "optimizer"), "seeds": 1, "jobs": 3, "cluster": "tcp://a:1"},
        ),
        (
            studies,
            "strangers",
            {"network": "bottleneck", "num_epochs": 20, "jobs": None, "cluster": None},
        ),
        (
            studies,
            "strangers --network gap --epochs 5 --jobs 2 --cluster tcp://a:1",
            {"network": "gap", "num_epochs": 5, "jobs": 2, "cluster": "tcp://a:1"},
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_options_of_a_command_are_passed_on(module, line, expected, monkeypatch):
    name = "main" if module is epochs else line.split()[0]
    seen, signature = [], inspect.signature(getattr(module, name))

    def spy(*arguments, **named):
        call = signature.bind(*arguments, **named)
        call.apply_defaults()
        seen.append(call.arguments)

    monkeypatch.setattr(module, name, spy)
    result = CliRunner().invoke(main, line.split())
    assert (result.exit_code, seen) == (0, [expected]), result.output


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("bench --pairs 0", "pairs and minutes must be above 0, not 0 and 10.0."),
        ("bench --minutes 0", "pairs and minutes must be above 0, not 5 and 0.0."),
        ("bench --minutes -1", "pairs and minutes must be above 0, not 5 and -1.0."),
        ("bench --quick --pairs -1", "pairs and minutes must be above 0, not -1 and 0."),
        ("compare --network gap --seeds 1", "seeds must be 2 or more, not 1."),
        ("compare --network gap --epochs 0", "num_epochs must be a whole number from 1 on, not 0."),
        ("race --seeds 1", "seeds must be 2 or more, not 1."),
        ("race --example-epochs -1", "example_epochs must be 0 or more, not -1."),
        ("ablate width", "there is no study 'width'; there are: layers, "),
        ("ablate --seeds 0", "Invalid value for '--seeds': 0 is not in the range x>=1."),
        ("compare --network gap --jobs 0", "Invalid value for '--jobs': 0 is not in the range"),
        ("bench --network dense", "Invalid value for '--network': 'dense' is not one of"),
        ("bench --pairs two", "Invalid value for '--pairs': 'two' is not a valid integer."),
        ("bench --precision fp16", "Invalid value for '--precision': 'fp16' is not one of"),
        ("compare", "Missing option '--network'."),
        ("compare --network both", "Invalid value for '--network': 'both' is not one of"),
        ("race --seeds many", "Invalid value for '--seeds': 'many' is not a valid integer."),
    ],
)
def test_a_bad_value_ends_in_one_sentence(line, sentence, monkeypatch, tmp_path):
    monkeypatch.setenv("MNIST_LAB_SOURCE", "digits")
    monkeypatch.setattr(epochs, "ProcessPoolExecutor", InProcess)  # nothing may start elsewhere
    monkeypatch.setattr(studies, "sweep", lambda *_: pytest.fail("too late"))
    monkeypatch.setattr(records, "project_root", lambda: tmp_path)
    result = CliRunner().invoke(main, line.split())
    assert result.exit_code == 2, result.output
    (error,) = (line for line in result.output.splitlines() if line.startswith("Error: "))
    assert error.startswith(f"Error: {sentence}") and "Traceback" not in result.output
    assert not list(tmp_path.iterdir()), "a record was written"


def test_digits_that_cannot_be_used_end_in_one_sentence(monkeypatch):
    monkeypatch.setenv("MNIST_LAB_SOURCE", "cifar")
    for line in ("bench", "race"):
        result = CliRunner().invoke(main, [line])
        assert result.exit_code == 2 and "Error: unknown source 'cifar'" in result.output

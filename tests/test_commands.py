"""The commands that measure: options go where they belong, bad ones end in one sentence."""

import inspect

import pytest
from click.testing import CliRunner
from stand_ins import InProcess

from mnist_lab import records
from mnist_lab.__main__ import main
from mnist_lab.bench import accuracy, epochs, race


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
        (accuracy, "compare --network gap", {"network": "gap", "seeds": 5, "num_epochs": 3}),
        (
            accuracy,
            "compare --network bottleneck --seeds 7 --epochs 2",
            {"network": "bottleneck", "seeds": 7, "num_epochs": 2},
        ),
        (race, "race", {"seeds": 10, "example_epochs": 0}),
        (race, "race --seeds 4 --example-epochs 3", {"seeds": 4, "example_epochs": 3}),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_options_of_a_command_are_passed_on(module, line, expected, monkeypatch):
    seen, signature = [], inspect.signature(module.main)

    def spy(*arguments, **named):
        call = signature.bind(*arguments, **named)
        call.apply_defaults()
        seen.append(call.arguments)

    monkeypatch.setattr(module, "main", spy)
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
    for module in (epochs, accuracy, race):  # nothing may start in a process of its own
        monkeypatch.setattr(module, "ProcessPoolExecutor", InProcess)
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

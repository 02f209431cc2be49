"""A model card says what the records say, and nothing that is not so."""

import re
from importlib import import_module

import pytest

from mnist_lab.course.model_card import model_card
from mnist_lab.course.publish import published_kind
from mnist_lab.course.tables import results_table
from mnist_lab.pretrained import WEIGHTS
from mnist_lab.recipes import NETWORKS
from mnist_lab.records import kind_of_run, load_records, record_name


@pytest.fixture(params=[name for name, entry in NETWORKS.items() if entry.weights])
def case(request):
    """A network's name, the record of its seed 0, and all its published records."""
    kind = published_kind(request.param)
    records = {record_name(record): record for record in load_records()}
    runs = {file: record for file, record in records.items() if kind_of_run(record) == kind}
    (first,) = (file for file, record in runs.items() if record["seed"] == 0)
    return request.param, first, runs


def test_it_says_what_was_trained_how_and_how_good_it_is(case):
    name, first, runs = case
    text, record = model_card(name, first, runs), runs[first]
    for word, value in record["recipe"].items():
        assert f"\n| {word} | {value} |\n" in text
    test = record["test"]
    low, high = test["interval"]
    accuracy = f"{test['correct'] / 10_000:.2%} ({test['correct']:,} of 10,000)"
    assert f"**Test:** {accuracy}, 95 % interval {low:.2%} to {high:.2%}\n" in text
    assert f"**Validation:** {record['validation_accuracy'][-1]:.2%} (9," in text
    assert f"\n{results_table(list(runs.values()))}\n" in text and len(runs) > 1
    for said in ("license: mit", "10.1109/5.726791", "28×28", record["processor"], "torch 2"):
        assert said in text
    assert ("log-probabilities" in text) == (name == "gap")
    assert f"{record['parameters']:,} parameters" in text and "with seed 0" in text


def test_its_links_and_its_code_lead_somewhere(case):
    name, first, runs = case
    text = model_card(name, first, runs)
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (WEIGHTS / link).resolve().is_file(), link
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    compile(code, "card", "exec")
    for module, names in re.findall(r"from (\S+) import (.*)", code):
        assert all(hasattr(import_module(module), word) for word in names.split(", "))
    assert f'NETWORKS["{name}"].recipe\n' in code and f'load_pretrained("{name}")' in code
    assert f"`{NETWORKS[name].network.__module__}.{NETWORKS[name].network.__name__}`" in text
    assert f"`{name}.safetensors`" in text and f"export {name}`" in text

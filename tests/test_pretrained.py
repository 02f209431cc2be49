"""The networks that come trained: whole, of the published runs, and as good as these say."""

import tomllib
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, load_file, save_file

from conftest import ROOT, on_mnist
from mnist_lab.course.publish import pretrained_files, published_kind
from mnist_lab.data import WRITERS, load_data
from mnist_lab.evaluation import evaluate
from mnist_lab.layers import count_parameters
from mnist_lab.networks import BottleneckNet, GapNet
from mnist_lab.pretrained import WEIGHTS, load_pretrained, load_weights, read_weights
from mnist_lab.recipes import NETWORKS, Entry
from mnist_lab.records import PUBLISHED, RECORDS, load_record
from mnist_lab.validation import UserError

RUNS = {path.name: load_record(path) for path in sorted(PUBLISHED.glob(RECORDS))}
TRAINED = [name for name, entry in NETWORKS.items() if entry.weights]
each_network = pytest.mark.parametrize("name", TRAINED)


@pytest.mark.parametrize(
    ("name", "kind", "count"),
    [("gap", GapNet, 13_808), ("bottleneck", BottleneckNet, 16_426)],
)
def test_a_trained_network_is_ready_to_be_asked(name, kind, count):
    before = torch.get_rng_state()
    network = load_pretrained(name)
    assert torch.equal(torch.get_rng_state(), before), "loading has drawn random numbers"
    assert type(network) is kind and count_parameters(network) == count
    assert not any(part.training for part in network.modules())
    images = torch.linspace(-1, 3, 5 * 784).view(5, 1, 28, 28)
    answers = network(images)
    assert answers.shape == (5, 10) and answers.isfinite().all()
    for parameter in load_pretrained(name).parameters():
        parameter.data.zero_()  # another's copy, which is not this one
    assert torch.equal(load_pretrained(name)(images), answers)


def test_other_names_and_a_network_without_weights_are_refused(monkeypatch):
    recipe = replace(NETWORKS["gap"].recipe, num_epochs=1)
    monkeypatch.setitem(NETWORKS, "new", Entry(type("NewNet", (BottleneckNet,), {}), recipe))
    for name in ("GAP", None):
        with pytest.raises(UserError, match=r"name must be one of .*gap.*, not"):
            load_pretrained(name)
    with pytest.raises(UserError, match="new comes without trained weights"):
        load_pretrained("new")
    assert published_kind("new") not in {published_kind(name) for name in TRAINED}
    assert {path.stem for path in pretrained_files(WEIGHTS, {}, RUNS)} == set(TRAINED)


def test_the_weights_are_of_the_published_runs_and_the_cards_say_what_the_records_say():
    files = pretrained_files(WEIGHTS, {}, RUNS)
    assert {path.name for path in files} == {
        f"{name}.{ending}" for name in TRAINED for ending in ("safetensors", "md")
    }, "publish --records has not found the weights of every network"
    for path, content in files.items():
        if path.suffix == ".md":
            assert path.read_text(encoding="utf-8") == content, "publish --records makes it anew"


def test_weights_records_and_writers_are_small_and_are_installed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["mnist_lab"]
    package, records = ROOT / "mnist_lab", set(PUBLISHED.rglob("*.json"))
    weights = {WEIGHTS / f"{name}.{end}" for name in TRAINED for end in ("safetensors", "md")}
    installed = {path for pattern in patterns for path in package.glob(pattern)}
    assert weights | records | {WRITERS} <= installed
    assert all(path.stat().st_size < 100_000 for path in weights)
    assert sum(path.stat().st_size for path in records) < 2_000_000


# Files of weights


@pytest.fixture
def file(tmp_path):
    """The weights of an untrained GapNet, which has seen something all the same."""
    network = GapNet()
    network(torch.rand(8, 1, 28, 28))  # the batch norms count and measure
    save_file(network.state_dict(), tmp_path / "some.safetensors", {"record": "some-seed3.json"})
    return tmp_path / "some.safetensors"


def test_weights_are_read_as_they_were_saved(file):
    tensors, record = read_weights(file)
    assert record == "some-seed3.json"
    loaded = load_weights("gap", file)
    assert not loaded.training
    state = loaded.state_dict()
    assert state.keys() == tensors.keys() == load_file(file).keys()
    assert all(torch.equal(state[part], tensors[part]) for part in state)
    nameless = file.with_name("nameless.safetensors")
    save_file(tensors, nameless)
    assert read_weights(nameless)[1] is None


def change(part, tensor):
    """Put another tensor into a file, or take one out of it."""

    def changed(file):
        tensors = load(file.read_bytes()) | {part: tensor}
        save_file({name: w for name, w in tensors.items() if w is not None}, file)

    return changed


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda file: file.unlink(), "holds no weights that can be read (No such file"),
        (lambda file: file.write_bytes(file.read_bytes()[:-9]), "holds no weights that can be"),
        (change("convblock2.0.weight", None), "does not fit GapNet: Missing key(s) in state_dict"),
        (change("convblock2.0.weight", torch.zeros(32, 16, 9)),
         "does not fit GapNet: size mismatch for convblock2.0.weight"),
        (change("fc", torch.zeros(2)), "does not fit GapNet: Unexpected key(s) in state_dict"),
    ],
    ids=["missing", "cut", "less", "other shape", "more"],
)  # fmt: skip
def test_weights_that_do_not_fit_are_refused_in_one_sentence(file, damage, sentence):
    damage(file)
    with pytest.raises(UserError) as refusal:
        load_weights("gap", file)
    assert str(refusal.value).startswith(f"{file} {sentence}")
    assert "\n" not in str(refusal.value)


# On MNIST itself


@each_network
@pytest.mark.skipif(not on_mnist(), reason="the trained networks are judged on MNIST only")
def test_the_test_digits_are_read_as_the_record_says(name):
    _, source = read_weights(WEIGHTS / f"{name}.safetensors")
    expected = {index for index, *_ in RUNS[source]["test"]["wrong"]}
    answers = evaluate(load_pretrained(name), load_data("mnist").test, NETWORKS[name].recipe)
    wrong = {mistake.index for mistake in answers.mistakes()}
    # Another processor adds up in another order, which may turn an answer that was undecided.
    assert len(wrong ^ expected) <= 1

"""Export: onnxruntime gives PyTorch's answers, from pixels, and nothing half is left behind."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from stand_ins import training

from conftest import ROOT
from mnist_lab.course import export as exporting
from mnist_lab.data import load_data
from mnist_lab.evaluation import predict
from mnist_lab.pretrained import WEIGHTS, load_pretrained, load_weights
from mnist_lab.recipes import NETWORKS
from mnist_lab.validation import UserError


def copy_weights(name, folder):
    return Path(shutil.copy(WEIGHTS / f"{name}.safetensors", folder))


@pytest.fixture(scope="module", params=[name for name, entry in NETWORKS.items() if entry.weights])
def exported(request, tmp_path_factory):
    """A network, the recipe it was trained with, and its ONNX file.

    The bottleneck network's record says that its recipe was another; the others have none.
    """
    name, folder = request.param, tmp_path_factory.mktemp("export")
    weights, recipe = copy_weights(name, folder), NETWORKS[name].recipe
    if name == "bottleneck":
        weights.with_suffix(".json").write_text(json.dumps(training()))
        recipe = replace(recipe, mean=0.5, std=0.25)
    target = folder / "new" / "some.onnx"
    assert exporting.export(name, weights, target) == target
    assert [path.name for path in target.parent.iterdir()] == ["some.onnx"]
    return load_weights(name, weights), recipe, target


@pytest.mark.slow
def test_onnxruntime_gives_the_same_answers_to_batches_of_any_size(exported):
    network, recipe, file = exported
    digits, session = load_data("digits").train, onnxruntime.InferenceSession(file)
    for count in (1, 2, 300):
        chosen = digits.first(count)
        expected = predict(network, chosen, recipe).numpy()
        (answers,) = session.run(None, {"images": chosen.images.numpy()})
        assert answers.dtype == np.float32
        np.testing.assert_allclose(answers, expected, rtol=1e-4, atol=1e-3)
    assert np.ptp(expected, axis=0).max() > 1, "every answer is the same"


@pytest.mark.slow
def test_the_file_says_what_goes_in_and_what_comes_out(exported):
    network, recipe, file = exported
    session = onnxruntime.InferenceSession(file)
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    assert (taken.name, taken.type) == ("images", "tensor(uint8)")
    assert taken.shape == ["batch", 1, 28, 28]
    answers = "log_probabilities" if recipe.loss == "nll" else "logits"
    assert (given.name, given.shape) == (answers, ["batch", 10])
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    for word in (type(network).__name__, "uint8", answers, f"- {recipe.mean}) / {recipe.std}."):
        assert word in model.doc_string
    assert str(ROOT).encode() not in file.read_bytes(), "a path of this machine"


def take_anothers_weights(weights, target):
    shutil.copy(WEIGHTS / "bottleneck.safetensors", weights)
    return "gap.safetensors does not fit GapNet"


def damage_the_record(weights, target):
    weights.with_suffix(".json").write_text("{")
    return "gap.json cannot be read"


def put_a_folder_there(weights, target):
    target.unlink()
    target.mkdir()
    return "some.onnx cannot be written"


@pytest.mark.parametrize("flaw", [take_anothers_weights, damage_the_record, put_a_folder_there])
def test_what_hinders_is_named_and_changes_nothing(flaw, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "to_onnx", lambda model, loss: loss.encode())
    weights, target = copy_weights("gap", tmp_path), tmp_path / "some.onnx"
    target.write_text("an older one")
    name = flaw(weights, target)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=name):
        exporting.export("gap", weights, target)
    assert sorted(tmp_path.rglob("*")) == before
    assert target.is_dir() or target.read_text() == "an older one"


def test_without_weights_and_target_the_pretrained_go_into_this_folder(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(exporting, "to_onnx", lambda model, loss: given.append(model) or b"onnx")
    monkeypatch.chdir(tmp_path)
    assert exporting.export("gap").read_bytes() == (tmp_path / "gap.onnx").read_bytes() == b"onnx"
    digits, pretrained = load_data("digits").train.first(9), load_pretrained("gap")
    expected = predict(pretrained, digits, NETWORKS["gap"].recipe)
    assert not given[0].training
    torch.testing.assert_close(given[0](digits.images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_the_command_writes_the_file_or_names_the_extra_that_it_lacks(tmp_path):
    def run(code):
        done = subprocess.run([sys.executable, "-c", f"{code}from mnist_lab.__main__ import main; "
                               "main(['export', 'gap', '--to', 'a.onnx'])"],
                              cwd=tmp_path, capture_output=True, text=True)  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    code, out, error = run("import sys; sys.modules['onnx'] = sys.modules['onnxscript'] = None; ")
    assert (code, out) == (2, "") and 'pip install "mnist-lab[onnx]"' in error
    assert "Traceback" not in error and not list(tmp_path.iterdir())
    said = "written: a.onnx (pixels normalised with mean 0.1307, std 0.3081)\n"
    assert run("") == (0, said, "")
    onnxruntime.InferenceSession(tmp_path / "a.onnx")

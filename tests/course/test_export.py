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
from safetensors.torch import save_file
from stand_ins import training

from conftest import ROOT
from mnist_lab.course import export as exporting
from mnist_lab.data import Split, load_data
from mnist_lab.evaluation import predict
from mnist_lab.pretrained import WEIGHTS, load_weights
from mnist_lab.recipes import NETWORKS
from mnist_lab.validation import UserError


@pytest.fixture(scope="module")
def digits():
    return load_data("digits").train.first(300)


def copy_weights(name, folder):
    return Path(shutil.copy(WEIGHTS / f"{name}.safetensors", folder))


@pytest.fixture(scope="module", params=["gap", "bottleneck"])
def exported(request, tmp_path_factory):
    """A network, the recipe it was trained with, and its ONNX file.

    The GAP network has no record; the bottleneck network's says that its recipe was another.
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


@pytest.mark.parametrize("count", [1, 2, 300])
def test_onnxruntime_gives_the_same_answers_to_batches_of_any_size(exported, digits, count):
    network, recipe, file = exported
    chosen = Split(digits.images[-count:], digits.labels[-count:])
    expected = predict(network, chosen, recipe).numpy()
    (answers,) = onnxruntime.InferenceSession(file).run(None, {"images": chosen.images.numpy()})
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers, expected, rtol=1e-4, atol=1e-3)
    assert (answers.argmax(1) == expected.argmax(1)).all()
    assert count == 1 or np.ptp(expected, axis=0).max() > 1, "every answer is the same"


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
    save_file({"fc": torch.zeros(2)}, weights)
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
    with pytest.raises(UserError, match=name) as refusal:
        exporting.export("gap", weights, target)
    assert "\n" not in str(refusal.value) and sorted(tmp_path.rglob("*")) == before
    assert target.is_dir() or target.read_text() == "an older one"


def test_without_weights_and_target_the_pretrained_go_into_this_folder(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(exporting, "to_onnx", lambda model, loss: given.append(model) or b"onnx")
    monkeypatch.chdir(tmp_path)
    assert exporting.export("gap").read_bytes() == (tmp_path / "gap.onnx").read_bytes() == b"onnx"
    pretrained = load_weights("gap", WEIGHTS / "gap.safetensors").state_dict()
    assert all(torch.equal(pretrained[k], v) for k, v in given[0].network.state_dict().items())


def run(folder, *command):
    return subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True)


@pytest.mark.slow
def test_the_command_writes_the_file_and_says_so_in_one_line(tmp_path):
    weights = copy_weights("gap", tmp_path)
    done = run(tmp_path, "-m", "mnist_lab", "export", "gap", "--weights", str(weights))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "written: gap.onnx (pixels normalised with mean 0.1307, std 0.3081)\n"
    onnxruntime.InferenceSession(tmp_path / "gap.onnx")


@pytest.mark.slow
def test_without_the_extra_it_is_named(tmp_path):
    code = (
        "import sys; sys.modules['onnx'] = sys.modules['onnxscript'] = None; "
        "from mnist_lab.__main__ import main; main(['export', 'gap'])"
    )
    done = run(tmp_path, "-c", code)
    assert (done.returncode, done.stdout) == (2, "")
    assert 'pip install "mnist-lab[onnx]"' in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())

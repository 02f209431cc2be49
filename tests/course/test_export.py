"""Export: onnxruntime gives PyTorch's answers, from pixels, and nothing half is left behind."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from conftest import ROOT
from mnist_lab.__main__ import main
from mnist_lab.course import export as exporting
from mnist_lab.data import Split, load_data
from mnist_lab.evaluation import predict
from mnist_lab.pretrained import load_weights
from mnist_lab.recipes import NETWORKS


@pytest.fixture(scope="module")
def digits():
    return load_data("digits").train.first(300)


def save_some(name, folder, digits):
    """Weights of a network that has learned nothing, but whose answers differ."""
    torch.manual_seed(0)
    network = NETWORKS[name].network()
    for _ in range(20):  # the batch norms measure
        network(digits.images[:100] / 255)
    file = folder / f"{name}.safetensors"
    save_file(network.state_dict(), file)
    return file


def write_record(weights, **recipe):
    record = {"recipe": {"num_epochs": 1} | recipe, "validation_accuracy": [0.5]}
    weights.with_suffix(".json").write_text(json.dumps(record | {"test": {"total": 1}}))


@pytest.fixture(scope="module", params=NETWORKS)
def exported(request, tmp_path_factory, digits):
    """A network, the recipe it was trained with, and its ONNX file.

    The GAP network has no record; the bottleneck network's says that its recipe was another.
    """
    name, folder = request.param, tmp_path_factory.mktemp("export")
    weights, recipe = save_some(name, folder, digits), NETWORKS[name].recipe
    if name == "bottleneck":
        recipe = replace(recipe, mean=0.5, std=0.25)
        write_record(weights, mean=0.5, std=0.25)
    target = folder / "new" / "some.onnx"
    assert exporting.export(name, weights, target) == target
    assert [path.name for path in target.parent.iterdir()] == ["some.onnx"]
    return load_weights(name, weights), recipe, target


@pytest.mark.parametrize("count", [1, 2, 7, 300])
def test_onnxruntime_gives_the_same_answers_to_batches_of_any_size(exported, digits, count):
    network, recipe, file = exported
    chosen = Split(digits.images[-count:], digits.labels[-count:])
    expected = predict(network, chosen, recipe).numpy()
    (answers,) = onnxruntime.InferenceSession(file).run(None, {"images": chosen.images.numpy()})
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers, expected, rtol=0, atol=1e-4)
    assert (answers.argmax(1) == expected.argmax(1)).all()
    assert count == 1 or np.ptp(expected, axis=0).max() > 0.01, "every answer is the same"


def test_the_file_says_what_goes_in_and_what_comes_out(exported):
    network, recipe, file = exported
    (taken,) = onnxruntime.InferenceSession(file).get_inputs()
    (given,) = onnxruntime.InferenceSession(file).get_outputs()
    assert (taken.name, taken.type, taken.shape) == (
        "images",
        "tensor(uint8)",
        ["batch", 1, 28, 28],
    )
    answers = "log_probabilities" if recipe.loss == "nll" else "logits"
    assert (given.name, given.shape) == (answers, ["batch", 10])
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    for word in (type(network).__name__, "uint8", answers, f"- {recipe.mean}) / {recipe.std}."):
        assert word in model.doc_string
    assert str(ROOT).encode() not in file.read_bytes(), "a path of this machine"


def test_the_command_writes_the_file_and_says_so_in_one_line(tmp_path, digits):
    weights = save_some("gap", tmp_path, digits)
    command = [sys.executable, "-m", "mnist_lab", "export", "gap", "--weights", str(weights)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == "written: gap.onnx (pixels normalised with mean 0.1307, std 0.3081)\n"
    onnxruntime.InferenceSession(tmp_path / "gap.onnx")


def test_without_the_extra_it_is_named(tmp_path, digits):
    weights = save_some("gap", tmp_path, digits)
    code = (
        "import sys; sys.modules['onnx'] = sys.modules['onnxscript'] = None; "
        "from mnist_lab.__main__ import main; main(['export', 'gap', '--weights', sys.argv[1]])"
    )
    command = [sys.executable, "-c", code, str(weights)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.endswith('Error: export needs onnx: pip install "mnist-lab[onnx]".\n')
    assert list(tmp_path.iterdir()) == [weights]


def take_anothers_weights(weights, target):
    save_file({"fc": torch.zeros(2)}, weights)


def damage_the_record(weights, target):
    weights.with_suffix(".json").write_text("{")


def put_a_folder_there(weights, target):
    target.unlink()
    target.mkdir()


@pytest.mark.parametrize(
    ("flaw", "sentence"),
    [
        (take_anothers_weights, "gap.safetensors does not fit GapNet: convblock1.0.weight must be"),
        (damage_the_record, "gap.json cannot be read"),
        (put_a_folder_there, "some.onnx cannot be written ("),
    ],
)
def test_what_hinders_ends_in_one_sentence_and_changes_nothing(flaw, sentence, tmp_path, digits):
    weights, target = save_some("gap", tmp_path, digits), tmp_path / "some.onnx"
    target.write_text("an older one")
    flaw(weights, target)
    before = sorted(tmp_path.rglob("*"))
    line = ["export", "gap", "--weights", str(weights), "--to", str(target)]
    result = CliRunner().invoke(main, line)
    assert result.exit_code == 2, result.output
    (error,) = (line for line in result.output.splitlines() if line.startswith("Error: "))
    assert sentence in error and "Traceback" not in result.output
    assert sorted(tmp_path.rglob("*")) == before
    assert target.is_dir() or target.read_text() == "an older one"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("export", "Missing argument '{gap|bottleneck}'."),
        ("export dense", "Invalid value for '{gap|bottleneck}': 'dense' is not one of"),
        ("export gap --weights nowhere", "Invalid value for '--weights': File 'nowhere' does not"),
    ],
)
def test_a_bad_value_ends_in_one_sentence(line, sentence):
    result = CliRunner().invoke(main, line.split())
    assert result.exit_code == 2 and f"Error: {sentence}" in result.output


def test_without_weights_and_target_the_pretrained_go_into_this_folder(
    tmp_path, digits, monkeypatch
):
    save_some("gap", tmp_path, digits)
    monkeypatch.setattr(exporting, "WEIGHTS", tmp_path)
    monkeypatch.setattr(exporting, "to_onnx", lambda model, loss: loss.encode())
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, ["export", "gap"]).exit_code == 0
    assert (tmp_path / "gap.onnx").read_text() == "nll"

"""A trained network as an ONNX file, which programs without PyTorch run: pixels in, answers out."""

from pathlib import Path

import torch
from torch import Tensor, nn

from mnist_lab.augment import normalize
from mnist_lab.files import write_file
from mnist_lab.pretrained import load_weights, weights_file
from mnist_lab.recipes import NETWORKS
from mnist_lab.records import load_record
from mnist_lab.validation import UserError, check, one_of


class FromPixels(nn.Module):
    """A network behind its normalisation. Input uint8 `[N, 1, 28, 28]`, output the network's."""

    def __init__(self, network: nn.Module, mean: float, std: float):
        super().__init__()
        self.network, self.mean, self.std = network, mean, std

    def forward(self, images: Tensor) -> Tensor:
        return self.network(normalize(images, self.mean, self.std))


def export(name: str, weights: Path | None = None, target: Path | None = None) -> Path:
    """Write a network of `NETWORKS` to `target`, by default `<name>.onnx`, and say where.

    `weights`: a run's, by default the pretrained. Pixels are normalised as the record beside them
    says, or as in the network's recipe where there is none. Raises `UserError` for weights of
    another network, for a damaged record, for what cannot be written, and without the extra `onnx`.
    """
    check("network", name, one_of(*NETWORKS))
    weights, target = weights or weights_file(name), target or Path(f"{name}.onnx")
    recipe, beside = vars(NETWORKS[name].recipe), weights.with_suffix(".json")
    used = load_record(beside)["recipe"] if beside.exists() else recipe
    model = FromPixels(load_weights(name, weights), used["mean"], used["std"]).eval()
    write_file(target, to_onnx(model, recipe["loss"]))
    print(f"written: {target} (pixels normalised with mean {model.mean}, std {model.std})")
    return target


def to_onnx(model: FromPixels, loss: str) -> bytes:
    """The content of an ONNX file with batches of any size; `loss` as in the network's recipe."""
    answers = "log_probabilities" if loss == "nll" else "logits"
    try:
        program = torch.onnx.export(
            model,
            (torch.zeros(2, 1, 28, 28, dtype=torch.uint8),),
            input_names=["images"],
            output_names=[answers],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,  # PyTorch 2.6 would still take the older way
            verbose=False,
        )
    except ImportError:
        raise UserError('export needs onnx: pip install "mnist-lab[onnx]".') from None
    proto = program.model_proto
    for node in proto.graph.node:  # where in whose files its line stands is nobody's business
        node.ClearField("metadata_props")
    proto.doc_string = (
        f"mnist_lab's {type(model.network).__name__}. images: uint8 [batch, 1, 28, 28], 0 black to "
        f"255 white, a white digit on black; {answers}: float32 [batch, 10], digits 0 to 9. "
        f"The pixels are normalised inside: (images / 255 - {model.mean}) / {model.std}."
    )
    return proto.SerializeToString()

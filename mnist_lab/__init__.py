"""The helper library of the course: one idea a file.

data → augment → training → evaluation; `anatomy` and `figures` look at what these make. A notebook
imports these. `bench` stands on them and measures speed; `course` stands on both, and executes and
publishes the notebooks. Nothing imports what stands above it.
"""

from mnist_lab.anatomy import (
    check_requirements,
    count_macs,
    count_parameters,
    describe,
    layer_table,
    layers,
    receptive_field,
)
from mnist_lab.augment import CropAndResize, Rotate, Shift, normalize, rotate, textbook_transform
from mnist_lab.data import DataError, Digits, Split, load_data
from mnist_lab.evaluation import Evaluation, evaluate
from mnist_lab.networks import BottleneckNet, GapNet, StridedNet
from mnist_lab.records import save_record
from mnist_lab.training import (
    BOTTLENECK_RECIPE,
    GAP_RECIPE,
    Batches,
    History,
    OneCycle,
    Recipe,
    StepDown,
    choose_device,
    fit,
    predict,
)

__version__ = "0.1.0"
__all__ = [
    "BOTTLENECK_RECIPE",
    "GAP_RECIPE",
    "Batches",
    "BottleneckNet",
    "CropAndResize",
    "DataError",
    "Digits",
    "Evaluation",
    "GapNet",
    "History",
    "OneCycle",
    "Recipe",
    "Rotate",
    "Shift",
    "Split",
    "StepDown",
    "StridedNet",
    "check_requirements",
    "choose_device",
    "count_macs",
    "count_parameters",
    "describe",
    "evaluate",
    "fit",
    "layer_table",
    "layers",
    "load_data",
    "normalize",
    "predict",
    "receptive_field",
    "rotate",
    "save_record",
    "textbook_transform",
]

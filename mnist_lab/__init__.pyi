# What `import mnist_lab` offers, and from which room.
from .anatomy import (
    check_requirements as check_requirements,
)
from .anatomy import (
    count_macs as count_macs,
)
from .anatomy import (
    count_parameters as count_parameters,
)
from .anatomy import (
    describe as describe,
)
from .anatomy import (
    layer_table as layer_table,
)
from .anatomy import (
    layers as layers,
)
from .anatomy import (
    receptive_field as receptive_field,
)
from .augment import (
    CropAndResize as CropAndResize,
)
from .augment import (
    Rotate as Rotate,
)
from .augment import (
    Shift as Shift,
)
from .augment import (
    normalize as normalize,
)
from .augment import (
    rotate as rotate,
)
from .augment import (
    textbook_transform as textbook_transform,
)
from .corrupt import CORRUPTIONS as CORRUPTIONS
from .corrupt import Corruption as Corruption
from .corrupt import corrupted as corrupted
from .data import DataError as DataError
from .data import Digits as Digits
from .data import Split as Split
from .data import load_data as load_data
from .evaluation import Evaluation as Evaluation
from .evaluation import evaluate as evaluate
from .intervals import Difference as Difference
from .intervals import Disagreement as Disagreement
from .intervals import expected_scatter as expected_scatter
from .intervals import mcnemar as mcnemar
from .intervals import next_interval as next_interval
from .intervals import paired_interval as paired_interval
from .intervals import seed_interval as seed_interval
from .intervals import seeds_needed as seeds_needed
from .intervals import smallest_difference as smallest_difference
from .intervals import wilson_interval as wilson_interval
from .intervals import writer_difference as writer_difference
from .intervals import writer_interval as writer_interval
from .networks import BottleneckNet as BottleneckNet
from .networks import GapNet as GapNet
from .networks import StridedNet as StridedNet
from .pretrained import load_pretrained as load_pretrained
from .records import save_record as save_record
from .training import (
    BOTTLENECK_RECIPE as BOTTLENECK_RECIPE,
)
from .training import (
    GAP_RECIPE as GAP_RECIPE,
)
from .training import (
    Batches as Batches,
)
from .training import (
    History as History,
)
from .training import (
    OneCycle as OneCycle,
)
from .training import (
    Recipe as Recipe,
)
from .training import (
    StepDown as StepDown,
)
from .training import (
    choose_device as choose_device,
)
from .training import (
    fit as fit,
)
from .training import (
    predict as predict,
)

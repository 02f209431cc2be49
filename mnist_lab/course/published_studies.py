"""The studies in `mnist_lab/published`: which file a run belongs in, and which run it replaces."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from mnist_lab.records import load_measurement

ENOUGH = 5  # pairs or rounds of a timing: fewer are a quick look, and are not published


class Study(NamedTuple):
    """How the runs of a study are laid into files."""

    file: str  # how the files' names begin
    shared: tuple[str, ...]  # what the runs of one file have in common
    case: tuple[str, ...]  # what tells two runs of a file apart


STUDIES = {  # by their kinds; the names of the files are older than those of the studies
    "ablations": Study("ablate", (), ("study", "case", "seed")),
    "full_ablations": Study("full", (), ("num_epochs", "case", "seed")),
    "steps": Study("steps", (), ("notebook", "step", "seed")),

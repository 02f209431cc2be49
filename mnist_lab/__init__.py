"""The helper library of the course: one idea a file.

data → augment → training → evaluation; `layers`, `interpret` and `plots` look at what these make. A
notebook imports these. `studies` stand on them and measure; `course` stands on both, and executes
and publishes the notebooks. Nothing imports what stands above it.
"""

import lazy_loader

__version__ = "0.1.0"

# The names stand in `__init__.pyi`, for editors too. Each is imported when it is first asked for:
# `python -m mnist_lab --help` need not wait for PyTorch.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

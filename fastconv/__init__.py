"""Compiled kernels of convolution, pooling, normalisation and linear layers, torch-like layers, a tape of gradients.

>>> import numpy as np, fastconv as fc, fastconv.functional as F
>>> F.conv2d(np.ones((1, 3, 8, 8), np.float32), np.ones((4, 3, 3, 3), np.float32)).shape
(1, 4, 6, 6)
"""

from importlib import import_module

from fastconv import functional
from fastconv.autograd import Tensor, is_grad_enabled, no_grad, tensor
from fastconv.backends import (
    available_backends,
    get_backend,
    get_num_threads,
    set_backend,
    set_num_threads,
    use_backend,
)
from fastconv.errors import (
    BackendUnavailableError,
    DTypeError,
    FastconvError,
    FormatError,
    ShapeError,
    UnsafeFileError,
    UnsupportedError,
)
from fastconv.explain import explain
from fastconv.functional import cat
from fastconv.precision import get_precision, set_precision, use_precision
from fastconv.rng import manual_seed

concat = cat  # torch's second name for it
__version__ = "0.1.0"
__all__ = [
    "BackendUnavailableError",
    "DTypeError",
    "FastconvError",
    "FormatError",
    "ShapeError",
    "Tensor",
    "UnsafeFileError",
    "UnsupportedError",
    "available_backends",
    "cat",
    "concat",
    "explain",
    "functional",
    "get_backend",
    "get_num_threads",
    "get_precision",
    "is_grad_enabled",
    "manual_seed",
    "no_grad",
    "set_backend",
    "set_num_threads",
    "set_precision",
    "tensor",
    "use_backend",
    "use_precision",
]

# Rooms that cost import time and that not every user enters: loaded when they are first named.
_LAZY = ("datasets", "estimator", "models", "nn", "optim", "plots", "scanning", "training", "weights")
# Functions that live in one of them.
_LAZY_FUNCTIONS = {
    "freeze": "nn",
    "fully_convolutional": "nn",
    "fuse": "nn",
    "localize": "scanning",
    "replace_head": "nn",
    "sizes": "layer_sizes",
    "summary": "summaries",
    "unfreeze": "nn",
}


def __getattr__(name: str):
    if name in _LAZY:
        return import_module(f"fastconv.{name}")
    if name in _LAZY_FUNCTIONS:
        return getattr(import_module(f"fastconv.{_LAZY_FUNCTIONS[name]}"), name)
    raise AttributeError(f"module 'fastconv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY, *_LAZY_FUNCTIONS])

"""Weight files: dictionaries from names to NumPy arrays, in formats that hold no code.

The format follows from the suffix of the path: `.safetensors` or `.npz` are written and read, PyTorch's `.pth`, `.pt`
and `.bin` and Keras' `.keras` and `.h5` are read.
"""

import importlib
import os
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from fastconv.weights.atomic import atomic_write

__all__ = ["atomic_write", "is_keras", "load", "load_metadata", "save", "suffixes"]

_KERAS = "fastconv.weights.keras_file"
_WRITTEN = {".safetensors": "fastconv.weights.safetensors_file", ".npz": "fastconv.weights.npz_file"}
_READ = {
    **_WRITTEN,
    **dict.fromkeys((".pth", ".pt", ".bin"), "fastconv.weights.torch_file"),
    **dict.fromkeys((".keras", ".h5", ".hdf5"), _KERAS),
}


def save(state: Mapping[str, Any], path: str | os.PathLike, metadata: Mapping[str, str] | None = None) -> None:
    """Write the named arrays, and optional texts about them, to `path`; an old file gives way only to a whole new one.

    Values may be anything that `np.asarray` takes or that has `.numpy()`: float64/32/16, signed and unsigned
    integers, bool.

    Raises ValueError for an unknown suffix or an unusable name, TypeError for a state or metadata that is no mapping of
    names, DTypeError for other dtypes, BackendUnavailableError (an ImportError) when `.safetensors` is asked for
    without the package, OSError from the file system.

    >>> import numpy as np, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save({"0.weight": np.ones((2, 3), np.float32)}, f"{folder}/model.npz", {"epoch": "3"})
    ...     load(f"{folder}/model.npz")["0.weight"].shape
    (2, 3)
    """
    name = os.fsdecode(path)
    _format_of(name, _WRITTEN).save(state, name, metadata)


def load(path: str | os.PathLike, *, writable: bool = False, **limits: Any) -> dict[str, np.ndarray]:
    """The named arrays in a weight file; nothing in the file is ever executed.

    Arrays are read-only views of the mapped file, with `writable=True` views whose changes the file never sees; copies
    are those of `.npz`, of compressed parts, and of bfloat16, which is widened to float32.
    A checkpoint of PyTorch gives its state dict alone. Keras' names and layouts stay (`conv1.kernel`, HWIO):
    the constructors of `fastconv.models` translate them. `limits` raises what a reader accepts: `max_bytes`, and
    `max_ratio` for archives, `max_header_bytes` for `.safetensors`, `max_pickle_bytes` for PyTorch's.

    Raises ValueError for an unknown suffix, FormatError for a damaged or foreign file, UnsafeFileError for one above a
    limit or with anything executable, OSError from the file system.
    """
    name = os.fsdecode(path)
    return _format_of(name, _READ).load(name, writable=writable, **limits)


def load_metadata(path: str | os.PathLike, **limits: Any) -> dict[str, str]:
    """The texts that were saved with the arrays; empty if there are none. Raises what `load` raises."""
    name = os.fsdecode(path)
    return _format_of(name, _READ).load_metadata(name, **limits)


def is_keras(path: str | os.PathLike) -> bool:
    """Whether the suffix is one of Keras', whose weights have other names and layouts.

    >>> is_keras("resnet50.weights.h5"), is_keras("resnet50.safetensors")
    (True, False)
    """
    return _READ.get(_suffix(os.fsdecode(path))) == _KERAS


def suffixes() -> tuple[str, ...]:
    """Those of all formats that can be read.

    >>> ".npz" in suffixes()
    True
    """
    return tuple(_READ)


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _format_of(path: str, formats: Mapping[str, str]) -> ModuleType:
    suffix = _suffix(path)
    if suffix not in formats:
        raise ValueError(f"unknown suffix {suffix!r} of {path!r}; supported are {', '.join(formats)}")
    return importlib.import_module(formats[suffix])

"""Reading the pickled batches of CIFAR-10 without unpickling them: a dict of bytes, lists of integers and one array."""

import math
import os
from typing import Any

import numpy as np

from fastconv.errors import FormatError
from fastconv.files.pickle_machine import Buildable, Constructor, Dialect, Machine, interpret

_MAX_RANK = 8


class _Array(Buildable):
    """A uint8 array in the making: rebuilt empty, filled once its state has been checked."""

    values: np.ndarray | None = None

    def set_state(self, state: Any) -> None:
        """Take (version, shape, dtype, Fortran order, bytes), as NumPy pickles an array."""
        if not (isinstance(state, tuple) and len(state) == 5):
            raise FormatError("an array is described by something else than five values")
        _, shape, dtype, fortran, content = state
        if not isinstance(dtype, _Uint8) or not isinstance(content, bytes):
            raise FormatError("an array is not of dtype uint8")
        if not isinstance(shape, tuple) or len(shape) > _MAX_RANK or any(type(n) is not int or n < 0 for n in shape):
            raise FormatError(f"the shape of an array is not a tuple of at most {_MAX_RANK} sizes")
        if math.prod(shape) != len(content) or not content:
            raise FormatError(f"an array of shape {shape} comes with {len(content)} bytes")
        self.values = np.frombuffer(content, np.uint8).reshape(shape, order="F" if fortran else "C")


class _Uint8(Buildable):
    """The only dtype of a batch; the state that NumPy writes for it has nothing to say."""


def _reconstruct(machine: Machine, arguments: tuple) -> _Array:
    if len(arguments) != 3 or arguments[0] is not _NDARRAY:
        raise FormatError("an array subclass is asked for")
    return _Array()


def _dtype(machine: Machine, arguments: tuple) -> _Uint8:
    if not arguments or arguments[0] not in ("u1", b"u1", "|u1", b"|u1"):
        raise FormatError("an array is not of dtype uint8")
    return _Uint8()


def _encode(machine: Machine, arguments: tuple) -> bytes:
    match arguments:
        case (str(text), "latin1" | b"latin1"):
            machine.charge(len(text))
            return text.encode("latin-1")
    raise FormatError("a text is encoded as something else than latin1")


_NDARRAY = object()
_BATCH = Dialect(
    "a batch",
    {
        "numpy ndarray": _NDARRAY,
        "numpy dtype": Constructor(_dtype),
        "numpy.core.multiarray _reconstruct": Constructor(_reconstruct),
        "numpy._core.multiarray _reconstruct": Constructor(_reconstruct),
        "_codecs encode": Constructor(_encode),
    },
)


def read_batch(program: bytes, where: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, 3072) and labels uint8 (N,) of one pickled batch; `where` names it in errors.

    Raises UnsafeFileError when the pickle asks for anything but the parts of a batch (nothing of it is executed) and
    FormatError when it is damaged or holds something else.
    """
    batch = interpret(program, _BATCH, where)
    try:
        return _images_and_labels(batch)
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from error


def _images_and_labels(batch: Any) -> tuple[np.ndarray, np.ndarray]:
    if type(batch) is not dict:
        raise FormatError(f"holds a {type(batch).__name__}, not a dict")
    parts = {key.decode("latin-1") if type(key) is bytes else key: value for key, value in batch.items()}
    images, labels = parts.get("data"), parts.get("labels")
    if type(images) is not _Array or images.values is None or images.values.shape[1:] != (3072,):
        raise FormatError("'data' is not an array of shape (N, 3072)")
    if type(labels) is not list or any(type(label) is not int or not 0 <= label <= 9 for label in labels):
        raise FormatError("'labels' is not a list of integers in 0..9")
    if len(labels) != len(images.values):
        raise FormatError(f"{len(labels)} labels for {len(images.values)} images")
    return images.values, np.array(labels, np.uint8)

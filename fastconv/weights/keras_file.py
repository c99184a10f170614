"""Keras' weights: HDF5 files of both generations, and the `.keras` archives around them.

Only the weights are read, never the description of the model. They are named `layer.role` as Keras names them, and keep
its layouts: `conv1.kernel` (kH, kW, C, K), `fc.kernel` (inputs, outputs), `bn.gamma`, `bn.moving_mean`.
"""

import contextlib
import io
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastconv.errors import FormatError, missing_extra
from fastconv.files import zip_archive
from fastconv.files.region import Region
from fastconv.files.zip_archive import MAX_BYTES, MAX_RATIO
from fastconv.weights import hdf5
from fastconv.weights.entries import check_is_file, name_error

_WEIGHTS_MEMBER = "model.weights.h5"
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MODEL_GROUP = "model_weights"
_ROLES = {
    **dict.fromkeys(("conv2d", "depthwise_conv2d", "dense"), ("kernel", "bias")),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}
_NORM = "batch_normalization"
# Not of the network: what an optimiser remembers, and the states of random generators.
_ASIDE = ("optimizer", "seed_generator")


def load(
    path: str | os.PathLike, max_bytes: int = MAX_BYTES, max_ratio: float = MAX_RATIO, writable: bool = True
) -> dict[str, np.ndarray]:
    """The weights as copies, which can be written to whatever ``writable`` says.

    Raises FormatError when the file is damaged or foreign or holds other things than numbers, UnsafeFileError for links
    other than plain ones, for data in other files, for filters that HDF5 would look for elsewhere, and when it unpacks
    to more than ``max_bytes``, or to more than 64 MiB and ``max_ratio`` times its own size; BackendUnavailableError (an
    ImportError) without h5py, OSError from the file system.
    """
    with _opened(path, max_bytes, max_ratio) as reader:
        root = reader.group("/")
        named = _by_position(reader, root) if "layers" in reader.names(root) else _by_name(reader, root)
        arrays: dict[str, np.ndarray] = {}
        for name, dataset in named:
            if reason := name_error(name):
                raise FormatError(f"{path}: {reason}")
            if name in arrays:
                raise FormatError(f"{path}: the weight {name!r} occurs twice")
            arrays[name] = reader.array(dataset)
        return arrays


def load_metadata(path: str | os.PathLike, max_bytes: int = MAX_BYTES, max_ratio: float = MAX_RATIO) -> dict[str, str]:
    """The version of Keras where the file says it; raises what `load` raises for the structure."""
    with _opened(path, max_bytes, max_ratio) as reader:
        version = reader.text(reader.group("/"), "keras_version")
        return {} if version is None else {"keras_version": version}


@contextlib.contextmanager
def _opened(path: str | os.PathLike, max_bytes: int, max_ratio: float) -> Iterator["hdf5.Reader"]:
    check_is_file(path)
    try:
        import h5py  # noqa: F401
    except ImportError as error:
        raise missing_extra("h5py", "keras", "reading a file of Keras") from error
    with open(path, "rb") as file:
        if file.read(4) != b"PK\3\4":
            with hdf5.Reader.opened(_checked(file, path), path, max_bytes, max_ratio) as reader:
                yield reader
            return
        with zip_archive.opened(path, max_bytes, max_ratio) as archive:
            if _WEIGHTS_MEMBER not in archive.NameToInfo:
                raise FormatError(f"{path}: a zip archive, but not of Keras: it lacks {_WEIGHTS_MEMBER}")
            info = archive.getinfo(_WEIGHTS_MEMBER)
            if info.compress_type:
                source: Any = io.BytesIO(archive.read(info))
            else:
                source = Region(file, zip_archive.place(file, info, path))
            with hdf5.Reader.opened(_checked(source, path), path, max_bytes, max_ratio) as reader:
                yield reader


def _checked(file: Any, path: str | os.PathLike) -> Any:
    file.seek(0)
    if file.read(len(_SIGNATURE)) != _SIGNATURE:
        raise FormatError(f"{path}: not a file of Keras: it does not begin as HDF5 does")
    return file


def _by_position(reader: "hdf5.Reader", group: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """The weights of Keras 3: groups named by class and position; the layer's own name is an attribute."""
    for key in reader.names(group):
        if key.startswith(_ASIDE) or not reader.is_group(group, key):
            continue
        child = reader.child(group, key)
        if "vars" in reader.names(child) and reader.names(variables := reader.child(child, "vars")):
            layer = reader.text(variables, "name")
            if layer is None:
                raise FormatError(
                    f"{reader.path}: {key} has weights but no name, as early versions of Keras 3 wrote: "
                    "load it with Keras and save the whole model as .h5"
                )
            count = len(reader.names(variables))
            for position, role in enumerate(_roles(key.rstrip("0123456789").rstrip("_"), count)):
                yield f"{layer}.{role}", reader.child(variables, str(position))
        yield from _by_position(reader, child, reader.deeper(depth))


def _roles(kind: str, count: int) -> tuple[str, ...]:
    """What the variables of a layer are; a normalisation of three has no scale."""
    roles = _ROLES.get(kind, ())
    if kind == _NORM and count == len(roles) - 1:
        roles = roles[1:]
    return roles[:count] if count <= len(roles) else tuple(map(str, range(count)))


def _by_name(reader: "hdf5.Reader", root: Any) -> Iterator[tuple[str, Any]]:
    """The weights of Keras 2: attributes list the layers, and the paths of each one's weights."""
    group = reader.child(root, _MODEL_GROUP) if _MODEL_GROUP in reader.names(root) else root
    layers = reader.texts(group, "layer_names")
    if layers is None:
        raise FormatError(f"{reader.path}: HDF5, but without weights that Keras wrote: neither layers nor layer_names")
    for layer in layers:
        child = reader.child(group, layer)
        paths = [path.split("/") for path in reader.texts(child, "weight_names") or ()]
        nested = len(Counter(tuple(parts[:-1]) for parts in paths)) > 1  # a model as a layer names its own layers
        for parts in paths:
            dataset = child
            for part in parts:
                dataset = reader.child(dataset, part)
            owner = parts[-2] if nested and len(parts) > 1 else layer
            yield f"{owner}.{parts[-1].partition(':')[0]}", dataset

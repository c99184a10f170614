"""Keras' weights: HDF5 files of both generations, and the `.keras` archives around them.

Only the weights are read, never the description of the model. They are named `layer.role` as Keras names them, and keep
its layouts: `conv1.kernel` (kH, kW, C, K), `fc.kernel` (inputs, outputs), `bn.gamma`, `bn.moving_mean`.
"""

import os
from collections.abc import Iterator

import numpy as np

from fastconv.errors import FormatError, UnsafeFileError
from fastconv.files import zip_archive
from fastconv.files.zip_archive import MAX_BYTES, MAX_RATIO
from fastconv.weights import hdf5
from fastconv.weights.entries import check_is_file, name_error
from fastconv.weights.hdf5 import Limits, Node

_WEIGHTS_MEMBER = "model.weights.h5"
_MODEL_GROUP = "model_weights"
_ROLES = {
    **dict.fromkeys(("conv2d", "depthwise_conv2d", "dense"), ("kernel", "bias")),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}
_NORM = "batch_normalization"
# Not of the network: what an optimiser remembers, and the states of random generators.
_ASIDE = ("optimizer", "seed_generator")
_MAX_DEPTH = 16


def load(
    path: str | os.PathLike, max_bytes: int = MAX_BYTES, max_ratio: float = MAX_RATIO, writable: bool = False
) -> dict[str, np.ndarray]:
    """The weights as views of the mapped file, read-only unless ``writable``; copies of those that are compressed.

    Raises FormatError when the file is damaged or foreign or holds other things than numbers, UnsafeFileError for links
    to elsewhere, data in other files, structure in circles, and when it unpacks to more than ``max_bytes``, or to more
    than 64 MiB and ``max_ratio`` times its own size; OSError from the file system.
    """
    root = _root(path, max_bytes, max_ratio, writable)
    arrays: dict[str, np.ndarray] = {}
    for name, node in _by_position(root, path) if "layers" in root.names else _by_name(root, path):
        if reason := name_error(name):
            raise FormatError(f"{path}: {reason}")
        if name in arrays:
            raise FormatError(f"{path}: the weight {name!r} occurs twice")
        arrays[name] = node.array()
    return arrays


def load_metadata(path: str | os.PathLike, max_bytes: int = MAX_BYTES, max_ratio: float = MAX_RATIO) -> dict[str, str]:
    """The version of Keras where the file says it; raises what `load` raises for the structure."""
    version = _root(path, max_bytes, max_ratio, False).texts("keras_version")
    return {"keras_version": version[0]} if version else {}


def _root(path: str | os.PathLike, max_bytes: int, max_ratio: float, writable: bool) -> Node:
    content = _content(path, max_bytes, max_ratio, writable)
    if content[: len(hdf5.SIGNATURE)].tobytes() != hdf5.SIGNATURE:
        raise FormatError(f"{path}: not a file of Keras: it does not begin as HDF5 does")
    return hdf5.root(content, path, Limits(max_bytes, max_ratio))


def _content(path: str | os.PathLike, max_bytes: int, max_ratio: float, writable: bool) -> np.ndarray:
    """The bytes of HDF5, which a `.keras` archive has as a member."""
    check_is_file(path)
    with open(path, "rb") as file:
        is_archive = file.read(4) == b"PK\3\4"
        if not os.fstat(file.fileno()).st_size:
            raise FormatError(f"{path}: empty")
        mapped = np.memmap(file, np.uint8, "c" if writable else "r").view(np.ndarray)
        if not is_archive:
            return mapped
        with zip_archive.opened(path, max_bytes, max_ratio) as archive:
            if _WEIGHTS_MEMBER not in archive.NameToInfo:
                raise FormatError(f"{path}: a zip archive, but not of Keras: it lacks {_WEIGHTS_MEMBER}")
            info = archive.getinfo(_WEIGHTS_MEMBER)
            if info.compress_type:
                unpacked = np.frombuffer(zip_archive.unpacked(archive, info, path), np.uint8)
                return unpacked.copy() if writable else unpacked
            place = zip_archive.place(file, info, path)
            return mapped[place.start : place.stop]


def _by_position(group: Node, path: str | os.PathLike, depth: int = 0) -> Iterator[tuple[str, Node]]:
    """The weights of Keras 3: groups named by class and position; the layer's own name is an attribute."""
    if depth > _MAX_DEPTH:
        raise UnsafeFileError(f"{path}: groups lie more than {_MAX_DEPTH} deep in each other")
    for key in group.names:
        child = group.child(key)
        if key.startswith(_ASIDE) or not child.is_group:
            continue
        variables = child.child("vars") if "vars" in child.names else None
        if variables and variables.names:
            layer = variables.texts("name")
            if not layer:
                raise FormatError(
                    f"{path}: {key} has weights but no name, as early versions of Keras 3 wrote: "
                    "load it with Keras and save the whole model as .h5"
                )
            for position, role in enumerate(_roles(key.rstrip("0123456789").rstrip("_"), len(variables.names))):
                yield f"{layer[0]}.{role}", variables.child(str(position))
        yield from _by_position(child, path, depth + 1)


def _roles(kind: str, count: int) -> tuple[str, ...]:
    """What the variables of a layer are; a normalisation of three has no scale."""
    roles = _ROLES.get(kind, ())
    if kind == _NORM and count == len(roles) - 1:
        roles = roles[1:]
    return roles[:count] if count <= len(roles) else tuple(map(str, range(count)))


def _by_name(root: Node, path: str | os.PathLike) -> Iterator[tuple[str, Node]]:
    """The weights of Keras 2: attributes list the layers, and the paths of each one's weights."""
    group = root.child(_MODEL_GROUP) if _MODEL_GROUP in root.names else root
    layers = group.texts("layer_names")
    if layers is None:
        raise FormatError(f"{path}: HDF5, but without weights that Keras wrote: neither layers nor layer_names")
    for layer in layers:
        child = group.child(layer)
        paths = [name.split("/") for name in child.texts("weight_names") or ()]
        is_nested = len({tuple(parts[:-1]) for parts in paths}) > 1  # a model as a layer names its own layers
        for parts in paths:
            node = child
            for part in parts:
                node = node.child(part)
            owner = parts[-2] if is_nested and len(parts) > 1 else layer
            yield f"{owner}.{parts[-1].partition(':')[0]}", node

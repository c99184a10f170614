"""Files that hold a network's weights and say which network it is and what its classes are called."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import NamedTuple

from fastconv import models, weights
from fastconv.errors import FormatError
from fastconv.models import pretrained
from fastconv.nn import Module


class NetworkFile(NamedTuple):
    """A network with its weights; ``classes`` is None where the file does not name them."""

    model: Module
    name: str
    classes: list[str] | None


def save_network(path: str | os.PathLike, model: Module, name: str, classes: Sequence[str]) -> None:
    """Write the weights of the network ``name`` of ``fastconv.models`` with the names of its classes.

    Raises what ``weights.save`` raises.
    """
    weights.save(model.state_dict(), path, {"model": name, "classes": json.dumps(list(classes))})


def load_network(path: str | os.PathLike, name: str | None = None) -> NetworkFile:
    """The network whose weights the file, or a name on the hub, holds, of as many classes as these have.

    ``name`` is one of ``fastconv.models.names()``, needed where the file does not say it. Raises ValueError for an
    unknown or missing name, FormatError for damage, ShapeError where the weights are another network's, OSError.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_network(f"{folder}/net.npz", models.lenet5(3), "lenet5", ["ham", "eggs", "spam"])
    ...     loaded = load_network(f"{folder}/net.npz")
    >>> loaded.name, loaded.classes, loaded.model.fc3.out_features
    ('lenet5', ['ham', 'eggs', 'spam'], 3)
    """
    path = pretrained.located(path)
    texts = weights.load_metadata(path)
    name = texts.get("model") if name is None else name
    if name is None:
        raise ValueError(f"{os.fsdecode(path)} does not say which network its weights are of; it must be named")
    classes = _classes(texts.get("classes"), path)
    options = {} if classes is None else {"num_classes": len(classes)}
    return NetworkFile(models.create(name, weights=path, **options), name, classes)


def _classes(text: str | None, path) -> list[str] | None:
    if text is None:
        return None
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise FormatError(f"{os.fsdecode(path)}: the classes are no list of names: {text:.100}")
    return names

"""Files that hold a network's weights and say which network it is and what its classes are called."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from fastconv import models, weights
from fastconv.errors import FastconvError, FormatError
from fastconv.models import pretrained, registry
from fastconv.nn import Module

# Options are below it, whatever a file asks for.
_MOST = 2**31


class NetworkFile(NamedTuple):
    """A network with its weights; ``classes`` is None where the file does not name them."""

    model: Module
    name: str
    classes: list[str] | None


def save_network(path: str | os.PathLike, model: Module, name: str, classes: Sequence[str]) -> None:
    """Write the weights of the network ``name`` of ``fastconv.models`` with the names of its classes.

    The other numbers that its constructor was told, by its caller or by the file of its first weights, are written
    too. Raises what ``weights.save`` raises.
    """
    texts = {"model": name, "classes": json.dumps(list(classes))}
    options = {option: value for option, value in registry.options_of(model).items() if _is_kept(option, value)}
    weights.save(model.state_dict(), path, texts | ({"options": json.dumps(options)} if options else {}))


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
    options = {} if name not in (None, texts.get("model")) else _options(texts.get("options", "{}"), path)
    name = texts.get("model") if name is None else name
    if name is None:
        raise ValueError(f"{os.fsdecode(path)} does not say which network its weights are of; it must be named")
    classes = _classes(texts.get("classes"), path)
    options |= {} if classes is None else {"num_classes": len(classes)}
    try:
        return NetworkFile(models.create(name, weights=path, **options), name, classes)
    except FastconvError:
        raise
    except TypeError as error:
        raise FormatError(f"{os.fsdecode(path)}: {name} has no such options: {error}") from error


def _is_kept(option: str, value: Any) -> bool:
    """Whether a file may say it: a moderate number, but not how many classes there are, which their names say."""
    return option not in ("num_classes", "weights") and isinstance(value, (bool, int, float)) and abs(value) < _MOST


def _options(text: str, path) -> dict[str, Any]:
    """What the constructor was told; raises FormatError for what it cannot have been."""
    try:
        options = json.loads(text)
    except (ValueError, RecursionError):
        options = None
    if not isinstance(options, dict) or not all(itertools.starmap(_is_kept, options.items())):
        raise FormatError(f"{os.fsdecode(path)}: the options of the network are no numbers by names: {text:.100}")
    return options


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

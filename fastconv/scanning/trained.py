"""The digit finder with its weights: those of a file, or taught here once and kept."""

from __future__ import annotations

import contextlib
import os
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

from fastconv import nn
from fastconv.errors import FastconvError
from fastconv.files.cache import home
from fastconv.nn import Module
from fastconv.scanning.lessons import RECIPE, Recipe, train_finder
from fastconv.training import load_network, save_network

NAME = "digit_finder"
CLASSES = (*"0123456789", "background")


def load_finder(
    weights: str | os.PathLike | None = None,
    *,
    recipe: Recipe = RECIPE,
    progress: bool | None = None,
    announce: Callable[[str], object] | None = None,
) -> Module:
    """A digit finder, frozen: with the weights of a file, else with those of the recipe.

    These are taught when they are first wanted, in about 15 seconds, and kept under ``FASTCONV_HOME``; a file there
    that cannot be used is written anew. ``announce`` is told what takes its time. Raises what ``training.load_network``
    raises for ``weights``.
    """
    if weights is not None:
        return nn.freeze(load_network(weights, NAME).model)
    path = kept_at(recipe)
    if path.exists():
        try:
            return nn.freeze(load_network(path, NAME).model)
        except (FastconvError, OSError) as error:
            warnings.warn(f"{path} cannot be used and is made anew: {error}", stacklevel=2)
    if announce is not None:
        announce(f"teaching a digit finder, once; it is kept as {path}")
    model = train_finder(recipe, progress=progress)
    with _kept_if_possible(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        save_network(path, model, NAME, CLASSES)
    return model


def kept_at(recipe: Recipe = RECIPE) -> Path:
    """Where the weights of a recipe are kept: every recipe has a file of its own.

    >>> kept_at().suffix
    '.npz'
    """
    return home() / "trained" / f"{NAME}-{zlib.crc32(repr(recipe).encode()):08x}.npz"


@contextlib.contextmanager
def _kept_if_possible(path: Path):
    try:
        yield
    except OSError as error:
        warnings.warn(f"{path} cannot be written, so the next call teaches again: {error}", stacklevel=4)

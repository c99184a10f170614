"""The page's data: the picture, the filters, and what the engine answers for every setting that the page offers."""

from __future__ import annotations

import base64
import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np

from fastconv import functional, parameters
from fastconv.errors import ShapeError
from fastconv.pages import embedding
from fastconv.pages.explain_conv import filters, picture

SIZES = range(3, 13)
STRIDES = (1, 2, 3, 4)
PADDINGS = (0, 1, 2, 3)
LARGEST_FILTER = 8
FIRST = {"F": 3, "S": 2, "P": 1, "K": 2}
STYLES = ("style.css", "volumes.css")
SCRIPTS = (
    *("values.js", "explanations.js", "grids.js", "volumes.js", "arithmetic.js"),
    *("choices.js", "player.js", "keys.js", "main.js"),
)


def save(path: str | os.PathLike, **options: Any) -> Path:
    """Write the page, with the options of ``render``; an old file gives way only to a whole new one."""
    from fastconv.weights import atomic_write

    text = render(**options)
    with atomic_write(path) as file:
        file.write(text.encode("utf-8"))
    return Path(path)


def render(
    image: str | os.PathLike | None = None,
    *,
    size: int = 7,
    weights: str | os.PathLike | None = None,
    seed: int = 0,
) -> str:
    """The page as text: a filter that slides over ``image``, reduced to size x size pixels, and its numbers.

    Without ``image`` it is the one that comes with the package. ``weights`` is a file in a format of
    ``fastconv.weights`` whose first convolution gives filters beside those drawn by hand, those learned from the
    picture and those of ``seed``.

    Raises ValueError for a size outside 3 to 12 or a negative seed, FormatError for files that are no image or no
    weights of a convolution, OSError from the file system, ImportError where Pillow is absent and an image is given.
    """
    if parameters.positive_int("size", size) not in SIZES:
        raise ValueError(f"size must be from {SIZES[0]} to {SIZES[-1]}, got {size}")
    if parameters.integer("seed", seed) < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    shown = picture.bundled() if image is None else picture.read(image)
    own = None if weights is None else filters.of_file(weights)
    data = _data(shown, size, own, seed)
    return embedding.render(__package__, STYLES, SCRIPTS, title="Convolution, step by step", data=data)


def _data(shown: picture.Picture, size: int, own: filters.FilterSet | None, seed: int) -> dict[str, Any]:
    from fastconv import __version__

    channels = 3 if own is None else next(iter(own.banks.values())).weight.shape[1]
    sizes = range(1, min(size + 1, LARGEST_FILTER) + 1)
    volume = shown.volume(size, channels)
    sets = [
        filters.drawn(channels, sizes),
        filters.learned(shown, channels, sizes),
        filters.random(seed, channels, sizes),
    ]
    if own is not None:
        sets.insert(0, own)
    return {
        "version": __version__,
        "size": size,
        "channels": picture.CHANNELS[channels],
        "brightest": picture.BRIGHTEST,
        "values": volume.reshape(channels, -1).tolist(),
        "caption": shown.caption,
        "photo": {"side": picture.SIDE, "rgb": base64.b64encode(shown.pixels.tobytes()).decode()},
        "strides": STRIDES,
        "paddings": PADDINGS,
        "first": FIRST,
        "sets": [_set(chosen, volume) for chosen in sets],
    }


def _set(chosen: filters.FilterSet, volume: np.ndarray) -> dict[str, Any]:
    settings = itertools.product(chosen.banks.items(), STRIDES, PADDINGS)
    return {
        "title": chosen.title,
        "note": chosen.note,
        "banks": {size: _bank(bank) for size, bank in chosen.banks.items()},
        "answers": {f"{size},{s},{p}": answer(volume, bank, s, p) for (size, bank), s, p in settings},
    }


def _bank(bank: filters.Bank) -> dict[str, Any]:
    rows = bank.weight.reshape(*bank.weight.shape[:2], -1)
    return {"names": bank.names, "weight": rows.tolist(), "bias": bank.bias.tolist()}


def answer(volume: np.ndarray, bank: filters.Bank, stride: int, padding: int) -> dict[str, Any]:
    """What the engine computes, filter by filter and row by row, or why it refuses to.

    >>> bank = filters.drawn(3, [2]).banks[2]
    >>> answer(np.ones((3, 3, 3), np.int64), bank, stride=1, padding=0)["shape"]
    (4, 2, 2)
    """
    x, weight, bias = (array.astype(np.float32) for array in (volume, bank.weight, bank.bias))
    try:
        out = functional.conv2d(x, weight, bias, stride=stride, padding=padding)
    except ShapeError as error:
        return {"refusal": str(error)}
    # Whole numbers this small are exact in float32, in whichever order they are summed.
    return {"shape": out.shape, "values": [int(value) for value in out.ravel()]}

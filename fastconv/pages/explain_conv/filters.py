"""Filters of whole numbers: drawn by hand, learned from the picture, drawn by lot, or those of a trained network."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fastconv.errors import FormatError
from fastconv.pages.explain_conv.picture import BRIGHTEST, CHANNELS, Picture

# So many filters can be shown side by side.
MOST = 4
LARGEST_OF_FILE = 11
_GREATEST_LEARNED = 4
_GREATEST_OF_FILE = 9
# Sums up to 2^24 are exact in float32.
_GREATEST_BIAS = 1e6
_DETAIL = 24


@dataclass(frozen=True, slots=True)
class Bank:
    """Filters of one size: ``weight`` int64 (K, C, F, F), ``bias`` int64 (K,), and what each looks for."""

    weight: np.ndarray
    bias: np.ndarray
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FilterSet:
    """Filters of one kind, for every filter size F that it has."""

    title: str
    note: str
    banks: dict[int, Bank]


def drawn(channels: int, sizes: Iterable[int]) -> FilterSet:
    """Edges, spots and differences of colour, as they are drawn by hand.

    >>> drawn(3, [3]).banks[3].weight[0, 0].tolist()
    [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
    """
    note = "Edges, spots and colours, drawn by hand. The weights of an edge or a spot are the same in every channel."
    return FilterSet("edges, spots, colours", note, {size: _drawn_bank(channels, size) for size in sizes})


def learned(picture: Picture, channels: int, sizes: Iterable[int]) -> FilterSet:
    """The principal components of the picture's own windows: what tells them apart best, their mean in the bias."""
    pixels = picture.volume(_DETAIL, channels)
    note = (
        "Learned from the windows of this picture: the four patterns in which they differ most (principal components, "
        f"rounded to whole numbers up to {_GREATEST_LEARNED}). The bias takes away what an average window gives."
    )
    return FilterSet("learned from this picture", note, {size: _learned_bank(pixels, size) for size in sizes})


def random(seed: int, channels: int, sizes: Iterable[int]) -> FilterSet:
    """Weights from -1 to 1 and biases from -2 to 2, as before any training."""
    rng = np.random.default_rng(seed)
    banks = {}
    for size in sizes:
        weight = rng.integers(-1, 2, (MOST, channels, size, size))
        banks[size] = Bank(weight, rng.integers(-2, 3, MOST), ("drawn by lot",) * MOST)
    return FilterSet("random", f"Drawn by lot (seed {seed}), as the weights of a layer are before it learns.", banks)


def of_file(path: str | os.PathLike) -> FilterSet:
    """The strongest filters of the first convolution in a weight file, scaled so that the largest weight is 9.

    Raises FormatError where no convolution there reads images of one or three channels, or has numbers that cannot be
    scaled so, and what ``fastconv.weights.load`` raises.
    """
    from fastconv import weights

    file, state = os.fsdecode(path), weights.load(path)
    convolutions = _convolutions(state, weights.is_keras(path))
    name = _first_of_images(convolutions, file)
    weight = convolutions[name].astype(np.float64)
    bias = state.get(name.removesuffix("weight").removesuffix("kernel") + "bias", np.zeros(len(weight)))
    strength = np.abs(weight).sum((1, 2, 3))
    chosen = np.sort(np.argsort(-strength, kind="stable")[:MOST])
    with np.errstate(all="ignore"):  # what goes wrong is seen in the numbers
        scale = _GREATEST_OF_FILE / (np.abs(weight[chosen]).max() or 1)
        # A pixel of 1 is BRIGHTEST here, and so much greater is what a bias is added to.
        biases = bias[chosen].astype(np.float64) * scale * BRIGHTEST if bias.shape == strength.shape else None
    if biases is None or not (np.isfinite(scale * weight).all() and (np.abs(biases) < _GREATEST_BIAS).all()):
        raise FormatError(f"{file}: {name!r} has weights that are not finite, or a bias that does not fit to them")
    bank = Bank(
        np.round(weight[chosen] * scale).astype(np.int64),
        np.round(biases).astype(np.int64),
        tuple(f"number {index + 1} of {len(weight)}" for index in chosen),
    )
    size = weight.shape[-1]
    note = (
        f"{name!r} of {os.path.basename(file)}: of its {len(weight)} filters those with the largest weights, scaled "
        f"and rounded to whole numbers up to {_GREATEST_OF_FILE}. Their size is given: {size} × {size}."
    )
    return FilterSet(f"from {os.path.basename(file)}", note, {size: bank})


def _convolutions(state: dict[str, np.ndarray], is_keras: bool) -> dict[str, np.ndarray]:
    """The weights (K, C, kH, kW) in a file; Keras has HWIO."""
    four = {name: array for name, array in state.items() if array.ndim == 4}
    return {name: array.transpose(3, 2, 0, 1) for name, array in four.items()} if is_keras else four


def _first_of_images(convolutions: dict[str, np.ndarray], file: str) -> str:
    """The name of the weights that read images: colour ones rather than grey ones."""
    for channels in sorted(CHANNELS, reverse=True):
        for name, array in convolutions.items():
            filters, depth, rows, columns = array.shape
            if filters and depth == channels and rows == columns <= LARGEST_OF_FILE:
                return name
    found = ", ".join(f"{name} {array.shape}" for name, array in list(convolutions.items())[:4]) or "none"
    raise FormatError(
        f"{file}: expected the weights of a convolution that reads 1 or 3 channels in windows of F x F, "
        f"F from 1 to {LARGEST_OF_FILE}; of convolutions it has {found}"
    )


def _drawn_bank(channels: int, size: int) -> Bank:
    across = np.broadcast_to(_edge(size), (channels, size, size))
    filters = {
        "dark left, bright right": (across, 1),
        "dark above, bright below": (across.transpose(0, 2, 1), 0),
        "red rather than blue" if channels == 3 else "brightness": (_tint(channels, size), -2),
        "a bright spot": (np.broadcast_to(_spot(size), (channels, size, size)), 1),
    }
    if size == 1:  # a window of one pixel has no edges: what is left are mixtures of channels
        mixtures = ((-1, 2, -1), (1, 1, 1), (1, 0, -1), (2, -1, -1)) if channels == 3 else ((1,), (-1,), (2,), (-2,))
        names = ("greenness", "brightness", "red rather than blue", "redness")
        names = names if channels == 3 else ("the pixel", "its negative", "twice the pixel", "twice its negative")
        filters = {
            name: (np.reshape(mixture, (channels, 1, 1)), bias)
            for name, mixture, bias in zip(names, mixtures, (1, 0, -2, 1), strict=True)
        }
    weights, biases = zip(*filters.values(), strict=True)
    return Bank(np.stack(weights).astype(np.int64), np.array(biases), tuple(filters))


def _edge(size: int) -> np.ndarray:
    """Minus in the left half, plus in the right one, the rows in the middle counting twice."""
    places = np.arange(size)
    rows = np.minimum(np.minimum(places, size - 1 - places) + 1, 2)
    return np.outer(rows, np.sign(2 * places - (size - 1)))


def _tint(channels: int, size: int) -> np.ndarray:
    shares = (1, 0, -1) if channels == 3 else (1,)
    return np.broadcast_to(np.reshape(shares, (channels, 1, 1)), (channels, size, size))


def _spot(size: int) -> np.ndarray:
    """Minus on the border, so much plus inside that an even picture gives about nothing."""
    if size == 2:
        return np.array([[1, -1], [-1, 1]])
    spot = np.full((size, size), -1)
    spot[1:-1, 1:-1] = max(1, round((4 * size - 4) / (size - 2) ** 2))
    return spot


def _learned_bank(pixels: np.ndarray, size: int) -> Bank:
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (size, size), (1, 2))
    rows = windows.transpose(1, 2, 0, 3, 4).reshape(-1, len(pixels) * size * size)
    mean = rows.mean(0)
    _, _, directions = np.linalg.svd(rows - mean, full_matrices=False)
    found = np.zeros((MOST, rows.shape[1]))
    found[: len(directions)] = directions[:MOST]
    largest = np.take_along_axis(found, np.abs(found).argmax(1)[:, None], 1)
    scaled = np.round(_GREATEST_LEARNED * np.divide(found, largest, where=largest != 0, out=np.zeros_like(found)))
    weight = scaled.astype(np.int64).reshape(MOST, len(pixels), size, size)
    names = tuple(f"component {number + 1}" for number in range(MOST))
    return Bank(weight, -np.round(scaled @ mean).astype(np.int64), names)

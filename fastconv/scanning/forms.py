"""Forms: pages on which digits stand at random places, with the list of what stands where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fastconv import parameters
from fastconv.errors import ShapeError

# Rows and columns of a digit.
SIZE = 8


class Digit(NamedTuple):
    """A digit of a form: its value, and the pixel of its upper left corner."""

    value: int
    top: int
    left: int


@dataclass(frozen=True)
class Form:
    """``ink`` (H, W), 0 where the paper is blank and 1 where it is covered, and the ``digits`` on it."""

    ink: np.ndarray
    digits: tuple[Digit, ...]


def compose_form(images, labels, *, shape=(120, 160), count: int = 40, gap: int = 1, seed: int = 0) -> Form:
    """Put ``count`` of the images (N, 1, 8, 8) at random places of a blank page, ``gap`` or more pixels apart.

    No image is used twice. Raises ShapeError for images or a page of other shapes, ValueError where so many digits are
    not there or find no room.

    >>> from fastconv.datasets import load_digits
    >>> form = compose_form(*load_digits("test"), shape=(40, 60), count=5, seed=1)
    >>> form.ink.shape, len(form.digits)
    ((40, 60), 5)
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if images.shape[1:] != (1, SIZE, SIZE) or len(images) != len(labels):
        raise ShapeError(f"expected images (N, 1, {SIZE}, {SIZE}) and N labels, got {images.shape} and {labels.shape}")
    count, gap = parameters.positive_int("count", count), parameters.integer("gap", gap)
    if count > len(images):
        raise ValueError(f"count={count} digits were asked for, but there are {len(images)} images")
    if gap < 0:
        raise ValueError(f"gap must not be negative, got {gap}")
    generator = np.random.default_rng(seed)
    ink = np.zeros(_page(shape), np.float32)
    digits = []
    rows = generator.permutation(len(images))[:count]
    for row, (top, left) in zip(rows, _places(ink.shape, count, SIZE + gap, generator), strict=True):
        ink[top : top + SIZE, left : left + SIZE] = images[row, 0]
        digits.append(Digit(int(labels[row]), top, left))
    return Form(ink, tuple(digits))


def _page(shape) -> tuple[int, int]:
    height, width = (parameters.positive_int("an extent of shape", extent) for extent in shape)
    if min(height, width) < SIZE:
        raise ShapeError(f"a form must be at least {SIZE}x{SIZE} pixels, got {height}x{width}")
    return height, width


def _places(shape, count: int, spacing: int, generator) -> list[tuple[int, int]]:
    """Corners that differ by ``spacing`` or more in one of the axes, each drawn from all that are still free."""
    is_free = np.ones((shape[0] - SIZE + 1, shape[1] - SIZE + 1), bool)
    places: list[tuple[int, int]] = []
    while len(places) < count:
        free = np.flatnonzero(is_free)
        if not free.size:
            raise ValueError(
                f"only {len(places)} of {count} digits found room on {shape[0]}x{shape[1]} pixels; ask for fewer, or "
                "for a larger page"
            )
        top, left = map(int, divmod(generator.choice(free), is_free.shape[1]))
        is_free[max(top - spacing + 1, 0) : top + spacing, max(left - spacing + 1, 0) : left + spacing] = False
        places.append((top, left))
    return places

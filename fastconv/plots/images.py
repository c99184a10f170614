"""Images beside each other, each with its name and its size."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fastconv.errors import ShapeError
from fastconv.plots import canvas, tiles

_GAP = 0.04


def images(named: Mapping[str, np.ndarray], axes=None, *, limits: tuple[float, float] | None = None):
    """Draw images (C, H, W) or planes (H, W) side by side at one height, and below each its name and size.

    Three channels are drawn in colour, others as their mean. Each image is scaled to its own range, or all to the
    ``limits``, black and white. Where a grey one has values below zero, zero is white, below it is blue and above it
    red, by its own range in any case. Returns the matplotlib axes. Raises ValueError where there are none, ShapeError
    for what is no image.

    >>> axes = images({"eye": np.eye(4), "light": np.ones((3, 4, 8))})
    >>> [text.get_text() for text in axes.texts]
    ['eye\\n4×4', 'light\\n4×8×3']
    """
    volumes = {name: np.asarray(image, dtype=np.float64) for name, image in named.items()}
    if not volumes:
        raise ValueError("there must be at least one image to draw")
    for name, volume in volumes.items():
        if volume.ndim not in (2, 3) or not volume.size:
            raise ShapeError(f"image {name!r} must be (H, W) or (C, H, W), not empty, got shape {volume.shape}")
    widths = [volume.shape[-1] / volume.shape[-2] for volume in volumes.values()]
    ends = np.cumsum([width + _GAP for width in widths])
    axes = canvas.axes_or_new(axes, figsize=(1.7 * ends[-1] + 0.2, 2.3))
    for (name, volume), width, end in zip(volumes.items(), widths, ends, strict=True):
        left, right = end - _GAP - width, end - _GAP
        axes.imshow(_coloured(volume, limits), extent=(left, right, 1, 0), interpolation="nearest")
        label = f"{name}\n{_size(volume)}"
        axes.text((left + right) / 2, 1.04, label, ha="center", va="top", fontsize=9, color=canvas.INK)
    axes.set(xlim=(0, ends[-1] - _GAP), ylim=(1.28, 0), aspect="equal")
    axes.set_axis_off()
    return axes


def _size(volume: np.ndarray) -> str:
    """H×W×C, as volumes are written in the other pictures."""
    return "×".join(map(str, (*volume.shape[-2:], *volume.shape[:-2])))


def _coloured(volume: np.ndarray, limits: tuple[float, float] | None) -> np.ndarray:
    """(H, W, 3 or 4)."""
    channels = volume.reshape(-1, *volume.shape[-2:])
    plane = channels.mean(axis=0)
    if len(channels) != 3 and plane.min() < 0:
        return canvas.matplotlib("pyplot").colormaps["RdBu_r"](0.5 + 0.5 * plane / np.abs(plane).max())
    if limits is None:
        return tiles.displayed(channels)
    low, high = limits
    shown = channels if len(channels) == 3 else plane[None].repeat(3, axis=0)
    return np.clip((shown - low) / (high - low), 0, 1).transpose(1, 2, 0)

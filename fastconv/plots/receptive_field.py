"""What of an image one unit of a network sees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from fastconv import arrays
from fastconv.autograd import tensor
from fastconv.errors import ShapeError
from fastconv.explain import expected_kind
from fastconv.nn.module import watching
from fastconv.plots import canvas, tiles
from fastconv.receptive_fields import AxisFields, Fields, receptive_fields
from fastconv.training.modes import mode


def receptive_field(model, layer: str, image, unit: tuple[int, int] | None = None, axes=None, *, effective=False):
    """Draw the box of pixels that a unit (row, column) of a layer sees over an image, with its arithmetic.

    ``image`` is (C, H, W), as the model takes it; the unit in the middle is taken by default. What lies in the padding
    is dashed. With ``effective`` the pixels are coloured by how much the unit's values change with them: the gradient
    of their sum over the maps. Returns the matplotlib axes. Raises ValueError for an unknown layer, IndexError for a
    unit that is not there, ShapeError for an image that the model does not take.

    >>> from fastconv import models
    >>> axes = receptive_field(models.lenet5(), "conv2", np.eye(28, dtype=np.float32)[None], (3, 5))
    >>> axes.get_title()
    'unit (3, 5) of conv2 (10×10 units) sees 14×14 pixels'
    >>> axes.get_xlabel()
    'columns: size 14, jump 2, start -2 + 5·2 = 8, end 8 + 14 - 1 = 21'
    """
    image = np.asarray(image)
    if image.ndim != 3:
        raise ShapeError(f"an image has a shape (C, H, W), got {image.shape}")
    found = receptive_fields(model, image.shape)
    if layer not in found:
        raise ValueError(f"no layer {layer!r}; there are {', '.join(found)}")
    fields = found[layer]
    row, col = (count // 2 for count in fields.shape) if unit is None else unit
    top, left, bottom, right = fields.box(row, col)
    axes = canvas.axes_or_new(axes, figsize=(6, 6.5))
    picture = tiles.displayed(image)
    axes.imshow(0.6 + 0.4 * picture if effective else picture, interpolation="nearest")
    if effective:
        _draw_effective(axes, _gradient(model, layer, image, row, col))
    is_cut = _draw_theoretical(axes, fields, row, col, image.shape[1:])
    _draw_box(axes, (top, left, bottom, right), canvas.RED, "-")
    height, width = fields.shape
    seen = f"{max(bottom - top, 0)}×{max(right - left, 0)}"
    dashed = "\n(dashed: with the padding)" if is_cut else ""
    axes.set_title(f"unit ({row}, {col}) of {layer} ({height}×{width} units) sees {seen} pixels{dashed}")
    axes.set_xlabel(_arithmetic("columns", fields.cols, col), fontsize=8)
    axes.set_ylabel(_arithmetic("rows", fields.rows, row), fontsize=8)
    return axes


def _draw_box(axes, box, colour: str, style: str) -> None:
    """Edges between pixels, with a light line below, so that it shows on any image."""
    top, left, bottom, right = box
    rectangle = canvas.matplotlib("patches").Rectangle
    effects = canvas.matplotlib("patheffects")
    patch = rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=2)
    patch.set(
        linestyle=style, clip_on=False, path_effects=[effects.Stroke(linewidth=4, foreground="white"), effects.Normal()]
    )
    axes.add_patch(patch)


def _draw_theoretical(axes, fields: Fields, row: int, col: int, extents) -> bool:
    """The box by the formula, where it goes beyond the image; there is space for it, then. Whether it does."""
    rows, cols = fields.rows.progression, fields.cols.progression
    if rows is None or cols is None:
        return False
    (top, bottom), (left, right) = rows.at(row), cols.at(col)
    height, width = extents
    is_cut = top < 0 or left < 0 or bottom > height or right > width
    if is_cut:
        _draw_box(axes, (top, left, bottom, right), canvas.ORANGE, "--")
        edge = 0.5 + 0.03 * max(bottom - top, right - left)
        axes.set_xlim(min(left, 0) - edge - 0.5, max(right, width) + edge - 0.5)
        axes.set_ylim(max(bottom, height) + edge - 0.5, min(top, 0) - edge - 0.5)
        axes.set_facecolor(canvas.FAINT)
    return is_cut


def _draw_effective(axes, gradient: np.ndarray) -> None:
    share = gradient / (gradient.max() or 1.0)
    colour = canvas.matplotlib("colors").to_rgb(canvas.BLUE)
    axes.imshow(np.dstack([np.broadcast_to(colour, (*share.shape, 3)), 0.9 * np.sqrt(share)]), interpolation="nearest")


def _arithmetic(name: str, fields: AxisFields, number: int) -> str:
    if fields.progression is None:
        return f"{name}: {fields.begins[number]} to {fields.ends[number] - 1}"
    size, jump, start = fields.progression
    begin, end = fields.progression.at(number)
    first = f"start {start} + {number}·{jump} = {begin}"
    return f"{name}: size {size}, jump {jump}, {first}, end {begin} + {size} - 1 = {end - 1}"


def _gradient(model, layer: str, image: np.ndarray, row: int, col: int) -> np.ndarray:
    """(H, W): how much the sum of a unit's values over the maps changes with each pixel."""
    dtype, device = expected_kind(model)
    given = tensor(arrays.moved(image[None].astype(dtype), device), requires_grad=True)
    names = {id(module): name for name, module in model.named_modules()}
    results = {}

    def watch(module, run):
        results[names.get(id(module))] = result = run()
        return result

    with watching(watch), mode(model, False), _without_gradients(model):
        model(given)
    result = results[layer]
    (result[:, :, row, col] if result.ndim == 4 else result).sum().backward()
    return np.zeros(image.shape[1:]) if given.grad is None else np.abs(given.grad.cpu().numpy()[0]).sum(axis=0)


@contextmanager
def _without_gradients(model) -> Iterator[None]:
    """The parameters ask for none inside the block, so that none are left in them."""
    asking = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in asking:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in asking:
            parameter.requires_grad_(True)

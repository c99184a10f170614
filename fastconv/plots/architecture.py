"""A network as a row of volumes."""

from __future__ import annotations

from fastconv.plots import canvas, volumes
from fastconv.plots.volumes import Block
from fastconv.summaries import summary

_COLOURS = {
    volumes.INPUT: canvas.GREY,
    volumes.CONVOLUTION: canvas.BLUE,
    volumes.POOLING: canvas.ORANGE,
    volumes.CONNECTED: canvas.GREEN,
    volumes.OTHER: canvas.PURPLE,
}
# Inches for the title, the legend, arcs above the volumes, a line of a label, and around all of it.
_TITLE, _LEGEND, _ARCS, _LINE, _MARGIN = 0.5, 0.4, 0.2, 0.14, 0.15


def architecture(model, input_shape: tuple[int, ...], axes=None, *, title: str | None = None):
    """Draw a network as the volumes that its layers make: height and depth are rows and columns, thickness channels.

    ``input_shape`` is (C, H, W). Layers that make the same volume stand one behind the other; those that keep a volume
    (rectifiers, normalisation) are not drawn; of networks of more than thirty layers all volumes of one size of maps
    are one. Windows show the filters in their proportion to the volume that they slide over, arcs what goes round
    residual blocks. Lengths grow with the power 0.6 of the sizes, so that small volumes can be seen. Returns the
    matplotlib axes. Raises what ``fastconv.summary`` raises.

    >>> from fastconv import models
    >>> axes = architecture(models.lenet5(), (1, 28, 28), title="LeNet-5")
    >>> [text.get_text() for text in axes.texts][:3]
    ['28×28×1', '28×28×6\\nconv 5×5', '14×14×6\\nmax 2×2']
    """
    found = summary(model, input_shape)
    groups = volumes.groups_of(found)
    skips = volumes.skips_of(found, groups)
    blocks = [block for group in groups for block in group.blocks]
    bottom, top = min(block.y for block in blocks), max(block.top for block in blocks)
    lines = max(group.label.count("\n") for group in groups) + 1
    right = max(group.right for group in groups) + _MARGIN
    low, high = bottom - lines * _LINE - _MARGIN, top + (_ARCS if skips else 0) + _LEGEND
    axes = canvas.axes_or_new(axes, figsize=(right + 0.1, high - low + _TITLE))
    for start, end in skips:
        _draw_skip(axes, start, end)
    for group in groups:
        for block in group.blocks:
            _draw_block(axes, block, _COLOURS[group.kind])
        axes.text(group.middle, bottom - 0.12, group.label, ha="center", va="top", fontsize=7, color=canvas.INK)
    for start, end, shares in volumes.windows_of(groups):
        _draw_window(axes, start, end, shares)
    axes.set(xlim=(0, right), ylim=(low, high), aspect="equal")
    axes.set_axis_off()
    _draw_legend(axes, dict.fromkeys(group.kind for group in groups), bool(skips))
    axes.set_title(_title(title, found), fontsize=10, color=canvas.INK)
    return axes


def _title(title: str | None, found) -> str:
    counts = f"{found.parameters:,} parameters, {found.multiply_adds:,} multiply-adds"
    return f"{title}: {counts}" if title else counts


def _draw_block(axes, block: Block, colour: str) -> None:
    """Front, top and right side; each further from the light."""
    x, y, far_x, far_y = block.x, block.y, *block.recess
    right, top = x + block.thickness, y + block.height
    faces = {
        0.75: [(x, y), (right, y), (right, top), (x, top)],
        0.45: [(x, top), (right, top), (right + far_x, top + far_y), (x + far_x, top + far_y)],
        0.6: [(right, y), (right + far_x, y + far_y), (right + far_x, top + far_y), (right, top)],
    }
    mixed = canvas.matplotlib("colors").to_rgb(colour)
    for strength, corners in faces.items():
        tint = [1 - strength * (1 - part) for part in mixed]
        axes.fill(*zip(*corners, strict=True), facecolor=tint, edgecolor=canvas.INK, linewidth=0.5, joinstyle="round")


def _draw_window(axes, start: Block, end: Block, shares: tuple[float, float]) -> None:
    """What one unit of ``end`` sees, on the right side of ``start``, and lines from there to it."""
    high, deep = shares[0] * start.height, shares[1]
    x = start.x + start.thickness + (1 - deep) / 2 * start.recess[0]
    y = start.y + (start.height - high) / 2 + (1 - deep) / 2 * start.recess[1]
    far_x, far_y = deep * start.recess[0], deep * start.recess[1]
    corners = [(x, y), (x + far_x, y + far_y), (x + far_x, y + far_y + high), (x, y + high)]
    axes.fill(*zip(*corners, strict=True), facecolor="white", alpha=0.75, edgecolor=canvas.INK, linewidth=0.6)
    tip = end.x, end.y + end.height / 2
    for corner in corners[1:3]:
        axes.plot(*zip(corner, tip, strict=True), color=canvas.INK, linewidth=0.5)


def _draw_skip(axes, start: Block, end: Block) -> None:
    tops = [(block.x + (block.thickness + block.recess[0]) / 2, block.top) for block in (start, end)]
    style = {"arrowstyle": "-|>", "mutation_scale": 6, "connectionstyle": "arc3,rad=-0.5"}
    arrow = canvas.matplotlib("patches").FancyArrowPatch(*tops, color=canvas.RED, linewidth=0.9, **style)
    axes.add_patch(arrow)


def _draw_legend(axes, kinds, has_skips: bool) -> None:
    patch, line = canvas.matplotlib("patches").Patch, canvas.matplotlib("lines").Line2D
    handles: list = [patch(facecolor=_COLOURS[kind], edgecolor=canvas.INK, linewidth=0.5, label=kind) for kind in kinds]
    if has_skips:
        handles.append(line([], [], color=canvas.RED, label="residual"))
    axes.legend(handles=handles, loc="upper center", borderaxespad=0.2, ncols=len(handles), frameon=False, fontsize=8)

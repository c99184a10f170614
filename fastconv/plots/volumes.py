"""Where the volumes of a network stand in its drawing: groups of layers, and their places in inches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from fastconv.summaries import Layer, Summary

INPUT, CONVOLUTION, POOLING, CONNECTED, OTHER = "input", "convolution", "pooling", "fully connected", "other"

# More layers than these are drawn as one volume for each size of maps.
_MOST = 30
# Inches of the highest and the thickest volume, of a fully connected layer's thickness, and of the least of all.
_HEIGHT, _THICKNESS, _BAR, _LEAST = 2.6, 0.4, 0.09, 0.05
# Large maps and small ones are both to be seen: sizes are raised to this power.
_POWER = 0.6
# How far what recedes goes to the right and up, as a part of its length.
_ACROSS, _UP = 0.34, 0.24
# Inches between the volumes of a group, between groups, and of a letter of a label.
_STEP, _GAP, _LETTER = 0.05, 0.22, 0.068


@dataclass(frozen=True)
class Block:
    """One volume: the lower left corner of its front, the inches of its channels, rows and columns (x and y)."""

    x: float
    y: float
    thickness: float
    height: float
    recess: tuple[float, float]

    @property
    def right(self) -> float:
        """Where it ends."""
        return self.x + self.thickness + self.recess[0]

    @property
    def top(self) -> float:
        """The height of its upper edge at the back."""
        return self.y + self.height + self.recess[1]


@dataclass
class Group:
    """Layers of one kind that make the same volume (H, W, D), or (n,) values, and where they stand."""

    kind: str
    volume: tuple[int, ...]
    layers: list[Layer]
    makers: list[str] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The volume, and below it what makes it."""
        return "\n".join(["×".join(map(str, self.volume)), *self.makers])

    @property
    def middle(self) -> float:
        """Where the label stands."""
        return (self.blocks[0].x + self.blocks[-1].right) / 2

    @property
    def label_width(self) -> float:
        """The inches that it needs."""
        return _LETTER * max(map(len, self.label.split("\n")))

    @property
    def right(self) -> float:
        """Where the last block, or the label, ends."""
        return max(self.blocks[-1].right, self.middle + self.label_width / 2)


def groups_of(found: Summary) -> list[Group]:
    """The input and all layers that make a volume of their own, in the order of the calls."""
    _, depth, height, width = found.input_shapes[0]
    drawn = list(_drawn(found.layers, (height, width, depth)))
    is_deep = len(drawn) > _MOST
    groups = [Group(INPUT, (height, width, depth), [])]
    for kind, volume, layer in drawn:
        last = groups[-1]
        if is_deep and len(volume) == 3 and last.layers and last.volume[:2] == volume[:2]:
            last.layers.append(layer)
            last.volume = max(last.volume, volume)
            last.kind = CONVOLUTION if kind == CONVOLUTION else last.kind
        elif (kind, volume) == (last.kind, last.volume) and kind != CONNECTED:
            last.layers.append(layer)
        else:
            groups.append(Group(kind, volume, [layer]))
    for group in groups:
        group.makers = _counted(group.layers) if is_deep else _written(group.layers)
    _place(groups, is_deep)
    return groups


def _drawn(layers: Sequence[Layer], before: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...], Layer]]:
    """Kind, volume and layer; a layer that keeps the volume and has no windows is none of them."""
    for layer in layers:
        if layer.volume is None:
            continue
        _, *extents = layer.volume
        volume = (*extents[1:], extents[0]) if len(extents) == 3 else (extents[-1],)
        kind = _kind(layer, volume, before)
        if kind:
            before = volume
            yield kind, volume, layer


def _kind(layer: Layer, volume, before) -> str | None:
    if layer.filters is not None:
        return CONVOLUTION if len(volume) == 3 else CONNECTED
    if len(volume) < 3 or (layer.filter_size in (None, (1, 1)) and volume == before):
        return None
    return OTHER if layer.filter_size is None else POOLING


def _written(layers: Sequence[Layer]) -> list[str]:
    """A line for each filter size and stride, and how often it comes."""
    counts = Counter(_setting(layer) for layer in layers if layer.filter_size is not None)
    return [f"{count} × {setting}" if count > 1 else setting for setting, count in counts.items()]


def _setting(layer: Layer) -> str:
    """A convolution with its stride, or a pooling, whose stride the volumes show."""
    size = "×".join(map(str, layer.filter_size or ()))
    if layer.filters is None:
        return f"{'max' if layer.kind.startswith('Max') else 'mean'} {size}"
    stride = max(layer.stride or (1,))
    return f"conv {size} /{stride}" if stride > 1 else f"conv {size}"


def _counted(layers: Sequence[Layer]) -> list[str]:
    """How many convolutions there are: of deep networks no more can be said in a line."""
    count = sum(layer.filters is not None and layer.filter_size is not None for layer in layers)
    pools = sum(layer.filters is None and layer.filter_size is not None for layer in layers)
    named = ((count, "conv"), (pools, "pool"))
    return [f"{count} × {name}" if count > 1 else name for count, name in named if count]


def _place(groups: list[Group], is_deep: bool) -> None:
    """Side by side: nothing hides what is of another group, and labels have space."""
    planes = [group.volume for group in groups if len(group.volume) == 3]
    most = [max(max(extents), 1) for extents in zip(*planes, strict=True)]
    longest = max((group.volume[0] for group in groups if group.kind == CONNECTED), default=1)
    end = label_end = 0.0
    for group in groups:
        size = _size(group, max(most[:2]), most[2], longest)
        thickness, height, recess = size
        count = 1 if is_deep or not group.layers else len(group.layers)
        width = count * thickness + (count - 1) * _STEP + recess[0]
        x = max(end + _GAP, label_end + _GAP / 2 + (group.label_width - width) / 2)
        for number in range(count):
            group.blocks.append(Block(x + number * (thickness + _STEP), -(height + recess[1]) / 2, *size))
        end, label_end = x + width, group.middle + group.label_width / 2


def _size(group: Group, largest: int, deepest: int, longest: int) -> tuple[float, float, tuple[float, float]]:
    """Thickness, height and what recedes."""
    if len(group.volume) == 1:
        height = max(_HEIGHT * (group.volume[0] / longest) ** _POWER, 2 * _LEAST)
        return _BAR, height, (_BAR * _ACROSS, _BAR * _UP)
    rows, cols, depth = group.volume
    height, width = (max(_HEIGHT * (extent / largest) ** _POWER, _LEAST) for extent in (rows, cols))
    thickness = max(_THICKNESS * (depth / deepest) ** _POWER, _LEAST)
    return thickness, height, (width * _ACROSS, width * _UP)


def skips_of(found: Summary, groups: Sequence[Group]) -> list[tuple[Block, Block]]:
    """From where to where what goes round a residual block goes; of blocks that are drawn layer by layer."""
    standing = [
        (layer.name, block)
        for group in groups
        if len(group.blocks) == len(group.layers)
        for layer, block in zip(group.layers, group.blocks, strict=True)
    ]
    skips = []
    for layer in found.layers:
        if "residual" not in layer.kind:
            continue
        inside = f"{layer.name.rpartition('.')[0]}."
        places = [number for number, (name, _) in enumerate(standing) if name.startswith(inside)]
        if places and places[0] > 0:
            skips.append((standing[places[0] - 1][1], standing[places[-1]][1]))
    return skips


def windows_of(groups: Sequence[Group]) -> Iterator[tuple[Block, Block, tuple[float, float]]]:
    """For each step from a volume to one that windows make of it: both, and the share of rows and columns under one."""
    for before, group in pairwise(groups):
        layer = group.layers[0]
        if layer.filter_size is not None and len(before.volume) == 3:
            shares = [min(taps / extent, 1.0) for taps, extent in zip(layer.filter_size, before.volume, strict=False)]
            yield before.blocks[-1], group.blocks[0], (shares[0], shares[1])

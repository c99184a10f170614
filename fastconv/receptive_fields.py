"""What of an image a unit of a network sees: receptive fields, computed from geometries alone.

Behind a layer whose windows span F units, with stride S and padding P, on units that see ``size`` pixels each, ``jump``
pixels apart, the first from ``start`` on (of the image itself: 1, 1 and 0):

    size' = size + (F - 1) * jump        start' = start - P * jump        jump' = jump * S
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from fastconv import arrays, backends, device_arrays
from fastconv.autograd import Tensor, tensor
from fastconv.errors import ShapeError, UnsupportedError
from fastconv.explain import expected_kind
from fastconv.functional.conv_transpose2d import ConvTranspose2d
from fastconv.geometry import AdaptiveAxis, Axis, Conv2dGeometry, PaddedAxis, PadGeometry, Pool2dGeometry
from fastconv.nn.module import Module, watching
from fastconv.training.modes import mode


class Progression(NamedTuple):
    """Fields as a formula: unit o sees ``size`` pixels from ``start + o * jump`` on, those in the padding counted."""

    size: int
    jump: int
    start: int

    def behind(self, extent: int, stride: int, low: int) -> Progression:
        """The fields of units whose windows span so many of these."""
        return Progression(self.size + (extent - 1) * self.jump, self.jump * stride, self.start - low * self.jump)

    def at(self, unit: int) -> tuple[int, int]:
        """Where the field of a unit begins, and where it ends, without that."""
        begin = self.start + unit * self.jump
        return begin, begin + self.size

    def joined(self, other: Progression | None) -> Progression | None:
        """Of units that see through both; None where they drift apart."""
        if other is None or other.jump != self.jump:
            return None
        start = min(self.start, other.start)
        return Progression(max(self.start + self.size, other.start + other.size) - start, self.jump, start)


@dataclass(frozen=True)
class AxisFields:
    """Fields along one axis of the image: unit o sees the pixels from ``begins[o]`` up to, without, ``ends[o]``.

    That of a unit that sees nothing but padding is empty. ``progression`` is None where no formula holds for all.
    """

    extent: int
    begins: np.ndarray
    ends: np.ndarray
    progression: Progression | None = None

    @classmethod
    def of_image(cls, extent: int) -> AxisFields:
        """Each pixel sees itself."""
        positions = np.arange(extent)
        return cls(extent, positions, positions + 1, Progression(1, 1, 0))

    def under(self, taps: np.ndarray, progression: Progression | None = None) -> AxisFields:
        """Of units that see those whose numbers are in ``taps`` (units, taps); negative ones are padding."""
        begins = np.where(taps < 0, self.extent, self.begins[taps]).min(axis=1)
        ends = np.where(taps < 0, 0, self.ends[taps]).max(axis=1)
        return AxisFields(self.extent, begins, ends, progression)

    def whole(self, count: int) -> AxisFields:
        """Of ``count`` units that see all of these."""
        return self.under(np.tile(np.arange(len(self.begins)), (count, 1)))

    def joined(self, other: AxisFields) -> AxisFields:
        """Of units that see through both."""
        progression = self.progression and self.progression.joined(other.progression)
        begins, ends = np.minimum(self.begins, other.begins), np.maximum(self.ends, other.ends)
        return AxisFields(self.extent, begins, ends, progression)


@dataclass(frozen=True)
class Fields:
    """The receptive fields of the units of a layer."""

    rows: AxisFields
    cols: AxisFields

    @property
    def shape(self) -> tuple[int, int]:
        """(OH, OW) of the layer; (1, 1) where its units have no places."""
        return len(self.rows.begins), len(self.cols.begins)

    def box(self, row: int, col: int) -> tuple[int, int, int, int]:
        """(top, left, bottom, right) of the pixels that a unit sees, without row bottom and column right.

        Raises IndexError for a unit that is not there.
        """
        height, width = self.shape
        if not (0 <= row < height and 0 <= col < width):
            raise IndexError(f"no unit ({row}, {col}): the layer has {height} x {width} of them, counted from 0")
        edges = self.rows.begins[row], self.cols.begins[col], self.rows.ends[row], self.cols.ends[col]
        top, left, bottom, right = map(int, edges)
        return top, left, bottom, right

    def joined(self, other: Fields) -> Fields:
        """Of units that see through both."""
        return Fields(self.rows.joined(other.rows), self.cols.joined(other.cols))


def receptive_fields(model: Module, input_shape: tuple[int, ...]) -> dict[str, Fields]:
    """The receptive fields of every layer, by its name, in the order of the calls; of one called twice the last.

    ``input_shape`` is (C, H, W). The model runs once, in evaluation mode, on zeros; kernels do not. A box holds
    everything that the unit sees: dilation leaves gaps in it, and of two ways through a network both count.

    Raises TypeError, ShapeError, what ``forward`` raises, and UnsupportedError for an operation that moves pixels in
    another way than windows do.

    >>> from fastconv import models
    >>> fields = receptive_fields(models.alexnet(), (3, 224, 224))
    >>> fields["features.12"].rows.progression
    Progression(size=195, jump=32, start=-66)
    >>> fields["features.12"].shape, fields["features.12"].box(0, 5)
    ((6, 6), (0, 94, 129, 224))
    """
    if not isinstance(model, Module):
        raise TypeError(f"model must be a fastconv.nn.Module, got {type(model).__name__}")
    if not isinstance(input_shape, (tuple, list)) or len(input_shape) != 3:
        raise ShapeError(f"an image has a shape (C, H, W), got {input_shape!r}")
    dtype, device = expected_kind(model)
    image = tensor(arrays.moved(arrays.zeros((1, *input_shape), dtype), device), requires_grad=True)
    names = {id(module): name for name, module in model.named_modules()}
    walk = _Walk(image)
    found: dict[str, Fields] = {}

    def watch(module: Module, run):
        result = run()
        fields = walk.fields(result) if isinstance(result, Tensor) else None
        name = names.get(id(module))
        if fields is not None and name:
            found.pop(name, None)
            found[name] = fields
        return result

    with backends.listening(_NoKernels()), watching(watch), mode(model, False), np.errstate(all="ignore"):
        model(image)
    return found


class _NoKernels(backends.Listener):
    """Zeros in the place of all results."""

    def replaced(self, task, operands) -> bool:
        for out in task.outputs(operands):
            with device_arrays.beside(out):
                out[...] = 0
        return True


class _Walk:
    """Fields of Tensors by way of what made them: the tape has every operation, whether a kernel runs it or NumPy."""

    def __init__(self, image: Tensor):
        self._image = image
        self._fields: dict[Any, Fields | None] = {}

    def fields(self, result: Tensor) -> Fields | None:
        """Of the units of a result; None where they do not depend on the image."""
        return self._of(result.grad_fn, result)

    def _of(self, node, leaf) -> Fields | None:
        if node is None:
            return Fields(*map(AxisFields.of_image, leaf.shape[2:])) if leaf is self._image else None
        # The layer before was asked for its fields, too: few steps remain.
        if node not in self._fields:
            shape = node.outputs[0][0]
            sources = [(edge, self._of(edge.node, edge.leaf)) for edge in node.edges if edge is not None]
            seen = [_stepped(node, shape, edge.shape, fields) for edge, fields in sources if fields is not None]
            self._fields[node] = reduce(Fields.joined, seen) if seen else None
        return self._fields[node]


def _stepped(node, shape, source_shape, source: Fields) -> Fields:
    """Fields behind one operation, of units of ``shape`` on units of ``source_shape``."""
    counts, source_counts = _places(shape), _places(source_shape)
    geometry = getattr(getattr(node.context, "call", node.context), "geometry", None)
    axes = _axes(geometry, source_counts)
    is_transposed = node.function is ConvTranspose2d
    sizes, outs = ([getattr(axis, name) for axis in axes] for name in ("size", "out"))
    before, behind = (outs, sizes) if is_transposed else (sizes, outs)
    if axes and (tuple(before), tuple(behind)) == (source_counts, counts):
        if is_transposed:
            rows, cols = (part.under(_transposed_taps(axis)) for part, axis in zip(_parts(source), axes, strict=True))
        else:
            how = getattr(geometry, "padding_mode", getattr(geometry, "mode", "zeros"))
            rows, cols = (_under(part, axis, how) for part, axis in zip(_parts(source), axes, strict=True))
        return Fields(rows, cols)
    if counts == source_counts:
        return source
    if len(shape) < 4 or (1, 1) in (counts, source_counts):
        return Fields(source.rows.whole(counts[0]), source.cols.whole(counts[1]))
    raise UnsupportedError(f"{node} makes {counts[0]} x {counts[1]} units of {source_counts[0]} x {source_counts[1]}")


def _parts(fields: Fields) -> tuple[AxisFields, AxisFields]:
    return fields.rows, fields.cols


def _places(shape) -> tuple[int, int]:
    """Rows and columns of units; what has no axes for them has one of each."""
    return tuple(shape[-2:]) if len(shape) >= 4 else (1, 1)


def _axes(geometry, source_counts) -> tuple[Any, ...]:
    """How windows lie on rows and columns; nothing where there are no windows."""
    if isinstance(geometry, (Conv2dGeometry, Pool2dGeometry)):
        return geometry.rows, geometry.cols
    if isinstance(geometry, PadGeometry):
        unpadded = [PaddedAxis(count, 0, 0) for count in source_counts]
        return (*unpadded[: 2 - len(geometry.axes)], *geometry.axes)[-2:]
    return ()


def _under(fields: AxisFields, axis, how: str) -> AxisFields:
    """Of units whose windows lie on those of these fields, with padding of this kind."""
    progression = fields.progression
    if isinstance(axis, PaddedAxis):
        return fields.under(_padded_sources(axis, how)[:, None], progression and progression.behind(1, 1, axis.low))
    taps = axis.position(np.arange(axis.out)[:, None], np.arange(axis.kernel))
    if isinstance(axis, AdaptiveAxis):
        return fields.under(np.where(taps < axis.end(np.arange(axis.out))[:, None], taps, -1))
    sources = _padded_sources(PaddedAxis(axis.size, axis.low, axis.high), how)
    inside = taps + axis.low < len(sources)  # a window rounded up to may reach behind the padding
    taps = np.where(inside, sources[np.where(inside, taps + axis.low, 0)], -1)
    return fields.under(taps, progression and progression.behind(axis.extent, axis.stride, axis.low))


def _padded_sources(axis: PaddedAxis, how: str) -> np.ndarray:
    """For each position of the padded axis, that whose value it has; -1 where it has none."""
    sources = np.full(axis.out, -1)
    sources[axis.kept] = np.arange(axis.size)[axis.seen]
    if how not in ("zeros", "constant"):
        for position, source in axis.added(how):
            sources[position] = source
    return sources


def _transposed_taps(axis: Axis) -> np.ndarray:
    """For each position, the units of the transposed convolution's input that reach it, or -1."""
    distances = np.arange(axis.size)[:, None] - axis.position(0, np.arange(axis.kernel))
    units, rest = np.divmod(distances, axis.stride)
    return np.where((rest == 0) & (units >= 0) & (units < axis.out), units, -1)

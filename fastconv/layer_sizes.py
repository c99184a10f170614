"""Sizes on paper: the volumes that a stack of layers makes of one, by which formula, and what the layers need."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from fastconv.errors import ShapeError
from fastconv.geometry import Axis, Conv2dGeometry, Pool2dGeometry
from fastconv.tables import table


@dataclass(frozen=True, slots=True)
class Size:
    """One layer as it was written, and the volume (H, W, D), or the values (n,), that it makes.

    ``formula`` is the arithmetic of the size; ``fan_in`` the weights of one neuron, written out as ``fan_in_formula``
    and 0 where there are none; ``parameters`` counts those of a layer whose neurons share them, ``unshared`` those of
    one whose neurons have their own, with a bias each. ``note`` explains a stride that does not divide.
    """

    layer: str
    volume: tuple[int, ...]
    formula: str = ""
    fan_in: int = 0
    fan_in_formula: str = ""
    parameters: int = 0
    unshared: int = 0
    multiply_adds: int = 0
    note: str = ""

    @property
    def neurons(self) -> int:
        """The values of the volume."""
        return math.prod(self.volume)


@dataclass(frozen=True, slots=True)
class Sizes:
    """The input and the layers behind it; prints as a table with the notes below it."""

    sizes: tuple[Size, ...]

    @property
    def parameters(self) -> int:
        """Parameters of all layers, weights shared."""
        return sum(size.parameters for size in self.sizes)

    @property
    def unshared(self) -> int:
        """Parameters if every neuron had its own."""
        return sum(size.unshared for size in self.sizes)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds for one image, padded taps counted; they are as many without sharing."""
        return sum(size.multiply_adds for size in self.sizes)

    def __str__(self) -> str:
        head = ("layer", "size", "volume", "neurons", "weights of one", "parameters", "unshared", "multiply-adds")
        notes = [f"{size.layer}: {size.note}" for size in self.sizes if size.note]
        total = (
            f"{self.parameters:,} parameters with shared weights, {self.unshared:,} without sharing (a bias each); "
            f"{self.multiply_adds:,} multiply-adds"
        )
        return "\n".join([table(head, [_cells(size) for size in self.sizes], left=(0, 1, 2)), total, *notes])

    __repr__ = __str__


def sizes(volume: str, *layers: str) -> Sizes:
    """Follow a volume, "HxWxD", through layers such as "conv:96,11,4,0", "relu" and "pool:3,2".

    ``conv:K,F,S,P`` has K filters of F x F, stride S (1 where it is left out) and padding P (0; "same" keeps the size);
    ``pool:F,S,P`` and ``avgpool:F,S,P`` stride F (and no padding) by default; ``avgpool`` alone averages the plane;
    ``fc:K`` has K neurons that see all values; ``flatten``, ``relu``, ``lrn``, ``softmax`` and ``dropout`` have none.

    Raises ValueError for what is no volume or layer, ShapeError where a layer does not fit, both of which name the
    layer; TypeError for what is no text.

    >>> found = sizes("227x227x3", "conv:96,11,4,0", "relu", "pool:3,2")
    >>> [size.volume for size in found.sizes]
    [(227, 227, 3), (55, 55, 96), (55, 55, 96), (27, 27, 96)]
    >>> found.sizes[1].formula, found.parameters, found.unshared
    ('(227 - 11 + 2*0)/4 + 1 = 55', 34944, 105705600)
    """
    found = [Size("input", _volume(volume))]
    for layer in layers:
        found.append(_follow(found[-1].volume, layer))
    return Sizes(tuple(found))


def _follow(before: tuple[int, ...], layer: str) -> Size:
    if not isinstance(layer, str):
        raise TypeError(f"a layer is a text, such as 'conv:96,11,4,0', got {layer!r}")
    name, _, text = layer.partition(":")
    kind = _KINDS.get(name)
    if kind is None:
        raise ValueError(f"no layer {layer!r}: expected {', '.join(map(_form, _KINDS))}")
    try:
        words = text.split(",") if text else []
        if not kind.least <= len(words) <= len(kind.names):
            raise ValueError(f"expected {_form(name)}")
        arguments = [_argument(letter, word, name) for letter, word in zip(kind.names, words, strict=False)]
        if kind.needs_plane and len(before) != 3:
            raise ShapeError(f"needs a volume, but the layer before it gives {before[0]:,} values")
        return kind.size(layer, before, *arguments)
    except ShapeError as error:
        raise ShapeError(f"{layer} on {_joined(before)}: {error}") from None
    except ValueError as error:
        raise ValueError(f"{layer}: {error}") from None


def _conv(layer: str, before, filters, size, stride=1, padding=0) -> Size:
    H, W, D = before

    def geometry(stride, padding) -> Conv2dGeometry:
        return Conv2dGeometry.of((1, D, H, W), (filters, D, size, size), stride=stride, padding=padding)

    found = geometry(stride, padding)
    fan_in = math.prod(found.weight_shape[1:])
    volume = _after(found)
    return Size(
        layer,
        volume,
        _formula(found, shows_padding=True),
        fan_in,
        f"{size}*{size}*{D}",
        filters * (fan_in + 1),
        math.prod(volume) * (fan_in + 1),
        found.flops // 2,
        _note(geometry, stride, padding),
    )


def _pool(layer: str, before, size, stride=None, padding=0) -> Size:
    H, W, D = before
    stride = size if stride is None else stride

    def geometry(stride, padding) -> Pool2dGeometry:
        return Pool2dGeometry.of((1, D, H, W), size, stride, padding)

    found = geometry(stride, padding)
    return Size(layer, _after(found), _formula(found, padding > 0), note=_note(geometry, stride, padding))


def _average(layer: str, before, *arguments) -> Size:
    if arguments:
        return _pool(layer, before, *arguments)
    H, W, D = before
    return Size(layer, (1, 1, D), f"the mean of {H}*{W}")


def _fully_connected(layer: str, before, neurons) -> Size:
    fan_in = math.prod(before)
    parameters = neurons * (fan_in + 1)
    formula = "*".join(map(str, before))
    return Size(layer, (neurons,), "", fan_in, formula, parameters, parameters, neurons * fan_in)


def _flatten(layer: str, before) -> Size:
    return Size(layer, (math.prod(before),), "*".join(map(str, before)) if len(before) > 1 else "")


def _same(layer: str, before, *arguments) -> Size:
    return Size(layer, before)


class _Kind(NamedTuple):
    """Which numbers a layer is written with, how many of them it needs, and what makes a Size of it."""

    names: str
    least: int
    needs_plane: bool
    size: Callable[..., Size]


_KINDS = {
    "conv": _Kind("KFSP", 2, True, _conv),
    "pool": _Kind("FSP", 1, True, _pool),
    "avgpool": _Kind("FSP", 0, True, _average),
    "fc": _Kind("K", 1, False, _fully_connected),
    "flatten": _Kind("", 0, False, _flatten),
    "relu": _Kind("", 0, False, _same),
    "lrn": _Kind("N", 0, True, _same),
    "softmax": _Kind("", 0, False, _same),
    "dropout": _Kind("", 0, False, _same),
}


def _form(name: str) -> str:
    """How a layer is written, what may be left out in brackets.

    >>> _form("conv"), _form("avgpool")
    ('conv:K,F[,S[,P]]', 'avgpool[:F[,S[,P]]]')
    """
    kind = _KINDS[name]
    parts = [f"{',' if position else ':'}{letter}" for position, letter in enumerate(kind.names)]
    return (
        name
        + "".join(parts[: kind.least])
        + "".join(f"[{part}" for part in parts[kind.least :])
        + "]" * (len(parts) - kind.least)
    )


def _volume(text: str) -> tuple[int, ...]:
    if not isinstance(text, str):
        raise TypeError(f"a volume is a text, HxWxD, such as '227x227x3', got {text!r}")
    extents = tuple(int(word) if word.isdecimal() else 0 for word in text.lower().split("x"))
    if len(extents) != 3 or min(extents) < 1:
        raise ValueError(f"a volume is HxWxD, such as 227x227x3, got {text!r}")
    return extents


def _argument(letter: str, word: str, name: str) -> int | str:
    if letter == "P" and word == "same" and name == "conv":
        return word
    least = 0 if letter == "P" else 1
    if not word.isdecimal() or int(word) < least:
        raise ValueError(f"{letter} must be an integer of at least {least}, got {word!r} in {_form(name)}")
    return int(word)


def _after(geometry) -> tuple[int, ...]:
    _, depth, height, width = geometry.out_shape
    return (height, width, depth)


def _formula(geometry, shows_padding: bool) -> str:
    """Of both axes where they differ."""
    axes = (geometry.rows, geometry.cols)
    formulas = [f"{_quotient(axis, shows_padding)} = {_rounded(axis)}{axis.out}" for axis in axes]
    return " by ".join(dict.fromkeys(formulas))


def _quotient(axis: Axis, shows_padding: bool = True) -> str:
    """(n - F + 2P)/S + 1, in numbers."""
    pads = f" + 2*{axis.low}" if axis.low == axis.high else f" + {axis.low} + {axis.high}"
    return f"({axis.size} - {axis.kernel}{pads if shows_padding else ''})/{axis.stride} + 1"


def _rounded(axis: Axis) -> str:
    """Before what is rounded down to: the number itself."""
    return f"{_exact(axis)}, so " if _unread(axis) else ""


def _exact(axis: Axis) -> str:
    return f"{(axis.padded - axis.extent) / axis.stride + 1:.2f}".rstrip("0").rstrip(".")


def _unread(axis: Axis) -> int:
    """The positions, padding among them, behind the last that a window covers."""
    return axis.size + axis.high - 1 - axis.position(axis.out - 1, axis.kernel - 1)


def _note(geometry: Callable[..., Any], stride: int, padding) -> str:
    """Why a setting does not divide, what becomes of the rest, and which settings near it would."""
    found = geometry(stride, padding)
    axes = {"row": found.rows, "column": found.cols}
    rests = {name: _unread(axis) for name, axis in axes.items() if _unread(axis)}
    if not rests:
        return ""
    name = next(iter(rests))
    axis = axes[name]
    lost = {name: rest - axes[name].high for name, rest in rests.items() if rest > axes[name].high}
    if lost:
        ends = (name if count == 1 else f"{count} {name}s" for name, count in lost.items())
        never = f"the last {' and the last '.join(ends)} would never be read"
        what = f" and ignore {' and '.join(_counted(count, name) for name, count in lost.items())}"
    else:
        never, what = "all pixels are read, but not all zeros behind them", ""
    return (
        f"{_quotient(axis)} = {_exact(axis)}: {never}; fastconv and torch round down to {axis.out}{what}"
        f"{_alternatives(geometry, stride, padding)}"
    )


def _alternatives(geometry: Callable[..., Any], stride: int, padding: int) -> str:
    found = geometry(stride, padding)
    axis, rest = found.rows, _unread(found.rows)
    paddings = _fitting(lambda other: geometry(stride, other), padding, range(axis.kernel))
    strides = _fitting(lambda other: geometry(other, padding), stride, range(1, axis.kernel + 1))
    ways = [f"{letter}={' or '.join(map(str, few))}" for letter, few in (("P", paddings), ("S", strides)) if few]
    if axis == found.cols:
        ways.append(f"an input of {axis.size - rest} or {axis.size - rest + axis.stride}")
    return f"; {', or '.join(ways)} would fit exactly" if ways else ""


def _fitting(geometry, now: int, candidates) -> list[int]:
    """At most two settings, the nearest ones, that leave nothing unread."""
    fits = []
    for other in sorted(candidates, key=lambda candidate: abs(candidate - now)):
        try:
            found = geometry(other)
        except ShapeError:
            continue
        if not _unread(found.rows) and not _unread(found.cols):
            fits.append(other)
    return fits[:2]


def _counted(count: int, name: str) -> str:
    return f"{count} {name}{'s' if count > 1 else ''}"


def _joined(volume: tuple[int, ...]) -> str:
    return "x".join(map(str, volume))


def _cells(size: Size) -> tuple[Any, ...]:
    weights = f"{size.fan_in_formula} = {size.fan_in:,}" if "*" in size.fan_in_formula else f"{size.fan_in:,}"
    counts = [f"{count:,}" if count else "" for count in (size.parameters, size.unshared, size.multiply_adds)]
    shown = weights if size.fan_in else ""
    return (size.layer, size.formula, _joined(size.volume), f"{size.neurons:,}", shown, *counts)

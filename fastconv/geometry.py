"""The only shape arithmetic: immutable, hashable descriptors of a convolution and of a pooling, checked once.

Output size of one axis, for input size n, kernel k, stride s, dilation d and padding (low, high):

    out = floor((n + low + high - d*(k - 1) - 1) / s) + 1

Of an adaptive pooling out is given; output o has the inputs floor(o*n / out) .. ceil((o + 1)*n / out) - 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from fastconv import parameters
from fastconv.errors import ShapeError

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Axis:
    """One spatial axis: ``size`` input positions, ``out`` output positions."""

    size: int
    kernel: int
    stride: int
    low: int
    high: int
    dilation: int
    out: int

    @property
    def extent(self) -> int:
        """The positions that a window spans: d*(k - 1) + 1."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def padded(self) -> int:
        """The input positions with padding."""
        return self.size + self.low + self.high

    def position(self, output, tap):
        """The input position under a tap of an output, or under each of arrays of them; it may be in the padding."""
        return output * self.stride - self.low + tap * self.dilation

    def count(self, output: int, include_pad: bool) -> int:
        """The positions under an output that an average counts, of a window without gaps."""
        first = self.position(output, 0)
        low, high = (self.low, self.high) if include_pad else (0, 0)
        return min(first + self.kernel, self.size + high) - max(first, -low)

    @classmethod
    def of(cls, size, kernel, stride, padding, dilation, *, ceil_mode=False) -> Axis:
        """The axis with its output size; ``out`` below 1 means that the window does not fit."""
        low, high = padding
        room = size + low + high - dilation * (kernel - 1) - 1
        out = (-(-room // stride) if ceil_mode else room // stride) + 1
        if ceil_mode and (out - 1) * stride >= size + low:
            out -= 1
        return cls(size, kernel, stride, low, high, dilation, out)

    @classmethod
    def transposed(cls, out: int, kernel: int, stride: int, padding, dilation: int, extra: int) -> Axis:
        """The axis on which so many windows fit, and ``extra`` positions behind them."""
        low, high = padding
        size = (out - 1) * stride - low - high + dilation * (kernel - 1) + extra + 1
        return cls(size, kernel, stride, low, high, dilation, out)


@dataclass(frozen=True, slots=True)
class AdaptiveAxis:
    """One spatial axis cut into ``out`` windows of nearly equal size, which may overlap by one position."""

    size: int
    out: int

    @property
    def kernel(self) -> int:
        """The positions of the largest window."""
        return 1 + -(-(self.size - math.gcd(self.size, self.out)) // self.out)

    def begin(self, output):
        """The first position under an output, or under each of an array of them: floor(output * size / out)."""
        return output * self.size // self.out

    def end(self, output):
        """The position after the last one: ceil((output + 1) * size / out)."""
        return -(-(output + 1) * self.size // self.out)

    def position(self, output, tap):
        """The position under a tap of an output, or under each of arrays of them."""
        return self.begin(output) + tap

    def count(self, output: int, include_pad: bool) -> int:
        """The positions under an output; there is no padding."""
        return self.end(output) - self.begin(output)

    @classmethod
    def of(cls, size: int, out: int) -> Axis | AdaptiveAxis:
        """An ordinary axis where all windows are of one size and none overlap."""
        kernel, rest = divmod(size, out)
        return cls(size, out) if rest else Axis(size, kernel, kernel, 0, 0, 1, out)


@dataclass(frozen=True, slots=True)
class PaddedAxis:
    """One axis that grows by ``low`` and ``high`` positions, or loses some where these are negative."""

    size: int
    low: int
    high: int

    @property
    def out(self) -> int:
        """The positions with padding."""
        return self.size + self.low + self.high

    @property
    def seen(self) -> slice:
        """The positions of the input that are in the output, too."""
        return slice(max(-self.low, 0), self.size - max(-self.high, 0))

    @property
    def kept(self) -> slice:
        """Where they are in the output."""
        return slice(max(self.low, 0), self.out - max(self.high, 0))

    def added(self, mode: str) -> list[tuple[int, int]]:
        """(position in the output, position in the input whose value it gets) of everything else."""
        around = (*range(max(self.low, 0)), *range(self.out - max(self.high, 0), self.out))
        return [(position, self._source(position - self.low, mode)) for position in around]

    def _source(self, position, mode):
        if mode == "circular":
            # Of what is left where the other end is cut, as torch has it.
            first, last = self.seen.start, self.seen.stop
            return first + (position - first) % (last - first)
        edge = 0 if position < 0 else self.size - 1
        return edge if mode == "replicate" else 2 * edge - position


@dataclass(frozen=True, slots=True)
class PadGeometry:
    """A checked padding: of which axes, the last ones, and how.

    >>> PadGeometry.of((1, 3, 224, 224), (2, 3, 2, 3), "constant").out_shape
    (1, 3, 229, 229)
    """

    outer: Shape
    axes: tuple[PaddedAxis, ...]
    mode: str

    @classmethod
    def of(cls, shape: Shape, pad: tuple[int, ...], mode: str) -> PadGeometry:
        """Of (left, right, top, bottom, ...), the last axis first; raises ShapeError."""
        count = len(pad) // 2
        if count > len(shape):
            raise ShapeError(f"pad {pad} is of {count} axes, but input has shape {shape}")
        if mode != "constant" and not (1 <= count <= 3 and count < len(shape) <= count + 2):
            raise ShapeError(f"mode {mode!r} pads 1 axis of 2 or 3, 2 of 3 or 4, 3 of 4 or 5; got pad {pad} of {shape}")
        before = len(shape) - count
        ends = list(zip(pad[::2], pad[1::2], strict=True))[::-1]
        axes = tuple(PaddedAxis(size, *pair) for size, pair in zip(shape[before:], ends, strict=True))
        for number, axis in enumerate(axes, before):
            _check_pad(number, axis, mode, shape)
        return cls(shape[:before], axes, mode)

    @property
    def x_shape(self) -> Shape:
        """What is padded."""
        return (*self.outer, *(axis.size for axis in self.axes))

    @property
    def out_shape(self) -> Shape:
        """What comes out."""
        return (*self.outer, *(axis.out for axis in self.axes))

    @property
    def seen(self) -> tuple:
        """The index of what of the input is in the output."""
        return (..., *(axis.seen for axis in self.axes))

    @property
    def kept(self) -> tuple:
        """The index of where that is in the output."""
        return (..., *(axis.kept for axis in self.axes))


@dataclass(frozen=True, slots=True)
class Conv2dGeometry:
    """A checked 2-d convolution: (N, C, H, W), (K, C/groups, kH, kW) -> (N, K, OH, OW).

    >>> Conv2dGeometry.of((1, 3, 227, 227), (96, 3, 11, 11), stride=4).out_shape
    (1, 96, 55, 55)
    """

    N: int
    C: int
    K: int
    groups: int
    rows: Axis
    cols: Axis
    padding_mode: str

    @classmethod
    def of(
        cls,
        x_shape: Shape,
        weight_shape: Shape,
        bias_shape: Shape | None = None,
        *,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        padding_mode="zeros",
    ) -> Conv2dGeometry:
        """Check everything and compute every size; raises ShapeError, ValueError or TypeError."""
        N, C, H, W = x_shape
        if len(weight_shape) != 4:
            raise ShapeError(f"weight must have shape (K, C/groups, kH, kW), got shape {weight_shape}")
        K, C_g, kH, kW = weight_shape
        groups = parameters.positive_int("groups", groups)
        _check_channels(C, K, C_g, groups, x_shape, weight_shape)
        _check_extents("input", x_shape)
        _check_extents("weight", (1, *weight_shape[1:]))
        kernel = parameters.kernel_size((kH, kW))
        stride = parameters.stride(stride)
        dilation = parameters.dilation(dilation)
        pads = parameters.conv_padding(padding, kernel, stride, dilation)
        padding_mode = parameters.padding_mode(padding_mode)
        rows = Axis.of(H, kH, stride[0], pads[0], dilation[0])
        cols = Axis.of(W, kW, stride[1], pads[1], dilation[1])
        _check_fits(rows, cols)
        _check_wraps(rows, cols, padding_mode)
        if bias_shape is not None and bias_shape != (K,):
            raise ShapeError(f"bias must have shape ({K},), one value per output channel, got {bias_shape}")
        return cls(N, C, K, groups, rows, cols, padding_mode)

    @classmethod
    def transposed(
        cls,
        shape: Shape,
        weight_shape: Shape,
        bias_shape: Shape | None = None,
        *,
        stride=1,
        padding=0,
        output_padding=0,
        dilation=1,
        groups=1,
    ) -> Conv2dGeometry:
        """The convolution whose results have ``shape`` and whose inputs the transposed one makes of them.

        Raises ShapeError, ValueError or TypeError.

        >>> Conv2dGeometry.transposed((1, 96, 55, 55), (96, 3, 11, 11), stride=4).x_shape
        (1, 3, 227, 227)
        """
        N, K, *sizes = shape
        if len(weight_shape) != 4:
            raise ShapeError(f"weight must have shape (C, K/groups, kH, kW), got shape {weight_shape}")
        K_w, C_g, *kernel = weight_shape
        groups = parameters.positive_int("groups", groups)
        if K % groups or K_w != K:
            raise ShapeError(
                f"given transposed=True and groups={groups}, weight of shape {weight_shape} expects input to have "
                f"{K_w} channels, a multiple of groups, but got input of shape {shape}"
            )
        _check_extents("input", shape)
        _check_extents("weight", (1, *weight_shape[1:]))
        kernel_size = parameters.kernel_size(tuple(kernel))
        stride, dilation = parameters.stride(stride), parameters.dilation(dilation)
        pads = parameters.explicit_padding(padding)
        extra = parameters.output_padding(output_padding, stride, dilation)
        rows, cols = map(Axis.transposed, sizes, kernel_size, stride, pads, dilation, extra)
        if rows.size < 1 or cols.size < 1:
            raise ShapeError(
                f"output size (size - 1) * stride - padding + dilation * (kernel - 1) + output_padding + 1 = "
                f"({rows.size} x {cols.size}) is too small, for input of shape {shape} and weight of {weight_shape}"
            )
        C = C_g * groups
        if bias_shape is not None and bias_shape != (C,):
            raise ShapeError(f"bias must have shape ({C},), one value per output channel, got {bias_shape}")
        return cls(N, C, K, groups, rows, cols, "zeros")

    @property
    def C_g(self) -> int:
        """Input channels per group."""
        return self.C // self.groups

    @property
    def K_g(self) -> int:
        """Output channels per group."""
        return self.K // self.groups

    @property
    def x_shape(self) -> Shape:
        """(N, C, H, W)."""
        return (self.N, self.C, self.rows.size, self.cols.size)

    @property
    def weight_shape(self) -> Shape:
        """(K, C/groups, kH, kW)."""
        return (self.K, self.C_g, self.rows.kernel, self.cols.kernel)

    @property
    def out_shape(self) -> Shape:
        """(N, K, OH, OW)."""
        return (self.N, self.K, self.rows.out, self.cols.out)

    @property
    def flops(self) -> int:
        """Floating-point operations of one pass, padded taps counted: 2 N K OH OW C_g kH kW."""
        return 2 * self.N * self.K * self.rows.out * self.cols.out * self.C_g * self.rows.kernel * self.cols.kernel


@dataclass(frozen=True, slots=True)
class Pool2dGeometry:
    """A checked 2-d pooling: (N, C, H, W) -> (N, C, OH, OW).

    With ``ceil_mode`` the size rounds up, but every window starts inside the input or its low padding.

    >>> Pool2dGeometry.of((1, 96, 55, 55), 3, 2).out_shape
    (1, 96, 27, 27)
    """

    N: int
    C: int
    rows: Any  # Axis, or AdaptiveAxis where the windows are unlike
    cols: Any

    @classmethod
    def of(cls, x_shape: Shape, kernel_size, stride=None, padding=0, dilation=1, *, ceil_mode=False) -> Pool2dGeometry:
        """Check everything and compute every size; raises ShapeError, ValueError or TypeError."""
        N, C, H, W = x_shape
        kernel = parameters.kernel_size(kernel_size)
        stride = kernel if stride is None else parameters.stride(stride)
        dilation = parameters.dilation(dilation)
        pads = parameters.pool_padding(padding, kernel)
        ceil_mode = parameters.flag("ceil_mode", ceil_mode)
        _check_extents("input", x_shape)
        rows = Axis.of(H, kernel[0], stride[0], pads[0], dilation[0], ceil_mode=ceil_mode)
        cols = Axis.of(W, kernel[1], stride[1], pads[1], dilation[1], ceil_mode=ceil_mode)
        if rows.out < 1 or cols.out < 1:
            _check_fits(rows, cols)
        return cls(N, C, rows, cols)

    @classmethod
    def adaptive(cls, x_shape: Shape, output_size) -> Pool2dGeometry:
        """Windows that cut the plane into ``output_size`` parts; None keeps the size of an axis.

        Raises ShapeError, ValueError or TypeError.

        >>> Pool2dGeometry.adaptive((1, 512, 7, 9), (4, None)).out_shape
        (1, 512, 4, 9)
        """
        N, C, *sizes = x_shape
        wanted = parameters.output_size(output_size)
        _check_extents("input", x_shape)
        rows, cols = (AdaptiveAxis.of(n, n if out is None else out) for n, out in zip(sizes, wanted, strict=True))
        parameters.kernel_size((rows.kernel, cols.kernel))
        return cls(N, C, rows, cols)

    @property
    def taps(self) -> int:
        """Inputs under one output, at most: kH * kW."""
        return self.rows.kernel * self.cols.kernel

    @property
    def x_shape(self) -> Shape:
        """(N, C, H, W)."""
        return (self.N, self.C, self.rows.size, self.cols.size)

    @property
    def out_shape(self) -> Shape:
        """(N, C, OH, OW)."""
        return (self.N, self.C, self.rows.out, self.cols.out)

    @property
    def flops(self) -> int:
        """Comparisons (or additions) of one pass: N C OH OW kH kW."""
        return self.N * self.C * self.rows.out * self.cols.out * self.taps


@dataclass(frozen=True, slots=True)
class ChannelsGeometry:
    """A pass over values that belong to channels: (N, C, H, W), or (N, C) as (N, C, 1, 1).

    >>> ChannelsGeometry.of((8, 16, 7, 7)).count
    392
    """

    N: int
    C: int
    H: int
    W: int

    @classmethod
    def of(cls, x_shape: Shape) -> ChannelsGeometry:
        """From a shape with channels and at most two more axes; raises ShapeError."""
        if not 2 <= len(x_shape) <= 4:
            raise ShapeError(f"expected 2D, 3D or 4D input with its channels second, got shape {x_shape}")
        _check_extents("input", x_shape)
        return cls(*x_shape[:2], *(1,) * (4 - len(x_shape)), *x_shape[2:])

    @property
    def pixels(self) -> int:
        """Values of one channel of one image."""
        return self.H * self.W

    @property
    def count(self) -> int:
        """Values of one channel."""
        return self.N * self.pixels

    @property
    def x_shape(self) -> Shape:
        """(N, C, H, W)."""
        return (self.N, self.C, self.H, self.W)

    out_shape = x_shape

    @property
    def flops(self) -> int:
        """Values: what is done to each depends on the operation."""
        return self.count * self.C


@dataclass(frozen=True, slots=True)
class ElementsGeometry:
    """A pass over arrays of one shape, element by element."""

    shape: Shape

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def x_shape(self) -> Shape:
        """The shape."""
        return self.shape

    out_shape = x_shape
    flops = size


@dataclass(frozen=True, slots=True)
class ClassesGeometry:
    """A pass over the classes of N images of so many pixels: (N, C, pixels)."""

    N: int
    C: int
    pixels: int

    @classmethod
    def of(cls, shape: Shape, axis: int) -> ClassesGeometry:
        """The classes lie along one axis of a shape; raises ShapeError where it has none or no class."""
        if not -len(shape) <= axis < len(shape):
            raise ShapeError(f"axis {axis} is out of range for shape {shape}")
        axis %= len(shape)
        if shape[axis] == 0:
            raise ShapeError(f"input of shape {shape} has no class along axis {axis}")
        return cls(math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))

    @property
    def x_shape(self) -> Shape:
        """(N, C, pixels)."""
        return (self.N, self.C, self.pixels)

    out_shape = x_shape

    @property
    def flops(self) -> int:
        """Values, of each of which the exponential is taken."""
        return math.prod(self.x_shape)


@dataclass(frozen=True, slots=True)
class ResponseGeometry:
    """A pass over (N, C, pixels) in which a channel sees those from ``before`` it to ``behind`` it."""

    N: int
    C: int
    pixels: int
    before: int
    behind: int

    @classmethod
    def of(cls, shape: Shape, axis: int, size: int) -> ResponseGeometry:
        """The channels lie along one axis of a shape; of an even ``size`` the odd one is before."""
        outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
        return cls(outer, shape[axis], inner, size // 2, (size - 1) // 2)

    @property
    def x_shape(self) -> Shape:
        """(N, C, pixels)."""
        return (self.N, self.C, self.pixels)

    out_shape = x_shape

    @property
    def flops(self) -> int:
        """Multiplications and additions of the squares; what is done with their sums depends on the exponent."""
        return 2 * math.prod(self.x_shape) * min(self.before + self.behind + 1, self.C)


@dataclass(frozen=True, slots=True)
class PartGeometry:
    """Rows of ``width`` values that become a part, from ``offset`` on, of rows of ``pitch`` values."""

    rows: int
    width: int
    pitch: int
    offset: int

    @property
    def x_shape(self) -> Shape:
        """(rows, width)."""
        return (self.rows, self.width)

    @property
    def out_shape(self) -> Shape:
        """(rows, pitch)."""
        return (self.rows, self.pitch)

    @property
    def flops(self) -> int:
        """Values."""
        return self.rows * self.width


def batched_shape(operation: str, shape: Shape) -> Shape:
    """(N, C, H, W) of a batched or unbatched input; raises ShapeError for any other rank."""
    if len(shape) == 4:
        return shape
    if len(shape) == 3:
        return (1, *shape)
    raise ShapeError(f"expected 3D (unbatched) or 4D (batched) input to {operation}, got shape {shape}")


def _check_channels(C, K, C_g, groups, x_shape, weight_shape):
    if C % groups:
        raise ShapeError(f"in_channels must be divisible by groups, got in_channels={C} and groups={groups}")
    if K % groups or K < 1:
        raise ShapeError(f"out_channels must be divisible by groups, got out_channels={K} and groups={groups}")
    if C_g * groups != C:
        raise ShapeError(
            f"given groups={groups}, weight of shape {weight_shape} expects input {x_shape} "
            f"to have {C_g * groups} channels, but got {C} channels instead"
        )


def _check_extents(name, shape):
    if 0 in shape[1:]:
        raise ShapeError(f"{name} of shape {shape} has a zero extent; only the batch may be empty")


def _check_fits(rows, cols):
    if rows.padded >= rows.extent and cols.padded >= cols.extent:
        return
    raise ShapeError(
        f"kernel size can't be greater than the padded input: padded input ({rows.padded} x {cols.padded}) = size + "
        f"padding, effective kernel ({rows.extent} x {cols.extent}) = dilation * (kernel - 1) + 1; "
        f"output size floor((padded - effective kernel) / stride) + 1 = ({rows.out} x {cols.out}) is too small"
    )


def _check_pad(number, axis, mode, shape):
    low, high, size = axis.low, axis.high, axis.size
    limits = {"reflect": size - 1, "circular": size + min(low, 0) + min(high, 0)}
    if max(low, high) > limits.get(mode, math.inf):
        raise ShapeError(
            f"padding ({low}, {high}) of axis {number} must be at most {limits[mode]} for mode {mode!r} "
            f"and input of shape {shape}"
        )
    # Where both ends are cut, the cuts may not meet; what is not filled has something to take values from.
    if axis.out < 0 or min(size + low, size + high) < 0 or (mode != "constant" and min(size, axis.out) < 1):
        raise ShapeError(f"padding ({low}, {high}) of axis {number} leaves nothing of input of shape {shape}")


def _check_wraps(rows, cols, padding_mode):
    limits = {"reflect": -1, "circular": 0}
    if padding_mode not in limits:
        return
    for name, axis in (("height", rows), ("width", cols)):
        limit = axis.size + limits[padding_mode]
        if max(axis.low, axis.high) > limit:
            raise ShapeError(
                f"padding ({axis.low}, {axis.high}) of the {name} must be at most {limit} "
                f"for padding_mode={padding_mode!r} and an input {name} of {axis.size}"
            )

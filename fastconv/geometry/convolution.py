"""A checked convolution, and the transposed one."""

from __future__ import annotations

from dataclasses import dataclass

from fastconv import parameters
from fastconv.errors import ShapeError
from fastconv.geometry.axes import Axis
from fastconv.geometry.shapes import Shape, check_extents, check_fits


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
        check_extents("input", x_shape)
        check_extents("weight", (1, *weight_shape[1:]))
        kernel = parameters.kernel_size((kH, kW))
        stride = parameters.stride(stride)
        dilation = parameters.dilation(dilation)
        pads = parameters.conv_padding(padding, kernel, stride, dilation)
        padding_mode = parameters.padding_mode(padding_mode)
        rows = Axis.of(H, kH, stride[0], pads[0], dilation[0])
        cols = Axis.of(W, kW, stride[1], pads[1], dilation[1])
        check_fits(rows, cols)
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
        check_extents("input", shape)
        check_extents("weight", (1, *weight_shape[1:]))
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
